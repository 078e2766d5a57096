"""The most memory that a worker has held while it trained: of its GPU, or of its process.

It is measured over the training steps alone, without the evaluations, which hold features of whole data sets. On a GPU
it is what torch has allocated (`torch.cuda.max_memory_allocated`). On a CPU it is the resident set of the process, so
Python and its libraries are in it, and memory that an earlier evaluation has not given back.
"""

from pathlib import Path

import torch

__all__ = ["PeakMemory", "gibibytes"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory held between `start` and `stop`, over all such spans.

    device: the device that trains. A CPU's is measured on Linux only.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.most: int | None = None
        """Bytes; None where nothing was measured."""
        self._running = False

    def start(self) -> None:
        """Forget what was held before."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._running = True
        else:
            self._running = _forget_largest_resident_set()

    def stop(self) -> None:
        """Count what has been held since `start`; nothing without it."""
        if self._running:
            cuda = self.device.type == "cuda"
            held = torch.cuda.max_memory_allocated(self.device) if cuda else _largest_resident_set()
            self.most, self._running = max(held, self.most or 0), False


def gibibytes(number: float) -> str:
    """Bytes as text, in GiB."""
    return f"{number / 2**30:.2f} GiB"


def _forget_largest_resident_set() -> bool:
    """Set the kernel's record of the largest resident set to the present one (proc(5)); whether that was possible."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _largest_resident_set() -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])
