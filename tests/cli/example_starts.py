"""Commands that end before anything is trained: their start-up is measured and their imports are checked."""

from dataclasses import dataclass

__all__ = ["STARTS", "TORCH", "Start"]

TORCH = ("-c", "import torch")
"""The reference for the goals in seconds."""


@dataclass(frozen=True)
class Start:
    """Arguments of the Python interpreter, and the imports, time and memory allowed to the program."""

    python: tuple[str, ...]
    torch: bool = False
    """Whether the program may import torch."""
    data: bool = False
    """Whether the program reads the digits, for which it imports nothing heavy either."""
    seconds: float = 1.0
    """The goal without torch; with torch the goal is torch's own import and 0.3 s, with data 4 s."""
    megabytes: float | None = None
    """The goal for the peak memory."""

    def goal(self, torch_seconds: float) -> float:
        if self.data:
            return 4.0
        return torch_seconds + 0.3 if self.torch else self.seconds


def darl(*arguments: str, **allowed: float | bool | None) -> Start:
    return Start(("-m", "darl.cli", *arguments), **allowed)  # type: ignore[arg-type]


def sweep(name: str, *arguments: str, data: bool = False) -> Start:
    return Start((f"sweeps/{name}.py", *arguments), torch=True, data=data)


STARTS = {
    "import darl": Start(("-c", "import darl"), seconds=0.5, megabytes=80),
    "darl --help": darl("--help", seconds=0.5, megabytes=80),
    "darl report --help": darl("report", "--help"),
    "darl doctor --help": darl("doctor", "--help"),
    "darl evaluate --help": darl("evaluate", "--help"),
    "darl generate --help": darl("generate", "--help"),
    "darl pretrain --help": darl("pretrain", "--help", torch=True),
    "noise_schedule.py --help": sweep("noise_schedule", "--help"),
    "transfer.py --help": sweep("transfer", "--help"),
    "noise_schedule.py --patch-size 3": sweep("noise_schedule", "--patch-size", "3"),
    "noise_schedule.py --set optim.clp=1": sweep("noise_schedule", "--set", "optim.clp=1"),
    "noise_schedule.py --workers 3": sweep("noise_schedule", "--workers", "3"),
    "noise_schedule.py --name ../elsewhere": sweep("noise_schedule", "--name", "../elsewhere"),
    "objective.py --objective-metric val_loss": sweep("objective", "--objective-metric", "val_loss"),
    "noise_schedule.py --batch-size 5000": sweep("noise_schedule", "--batch-size", "5000", data=True),
}
