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
    """The goal for the whole program, where it is not the next one."""
    beyond_torch: float | None = None
    """The goal in seconds beyond those of `import torch`."""
    megabytes: float | None = None
    """The goal for the peak memory."""


def darl(*arguments: str, **allowed: float | bool | None) -> Start:
    return Start(("-m", "darl.cli", *arguments), **allowed)  # type: ignore[arg-type]


def sweep(name: str, *arguments: str, data: bool = False) -> Start:
    goal: dict[str, float] = {"seconds": 4.0} if data else {"beyond_torch": 0.3}
    return Start((f"sweeps/{name}.py", *arguments), torch=True, data=data, **goal)


STARTS = {
    "import darl": Start(("-c", "import darl"), seconds=0.5, megabytes=80),
    "darl --help": darl("--help", seconds=0.5, megabytes=80),
    "darl report --help": darl("report", "--help"),
    "darl doctor --help": darl("doctor", "--help"),
    "darl evaluate --help": darl("evaluate", "--help"),
    "darl export --help": darl("export", "--help"),
    "darl generate --help": darl("generate", "--help"),
    "darl pretrain --help": darl("pretrain", "--help", torch=True, beyond_torch=0.3),
    "noise_schedule.py --help": sweep("noise_schedule", "--help"),
    "transfer.py --help": sweep("transfer", "--help"),
    "noise_schedule.py --patch-size 3": sweep("noise_schedule", "--patch-size", "3"),
    "noise_schedule.py --set optim.clp=1": sweep("noise_schedule", "--set", "optim.clp=1"),
    "noise_schedule.py --workers 3": sweep("noise_schedule", "--workers", "3"),
    "noise_schedule.py --name ../elsewhere": sweep("noise_schedule", "--name", "../elsewhere"),
    "objective.py --objective-metric val_loss": sweep("objective", "--objective-metric", "val_loss"),
    "noise_schedule.py --batch-size 5000": sweep("noise_schedule", "--batch-size", "5000", data=True),
}
