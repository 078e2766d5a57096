"""A noise schedule that makes a trial fail in the way that `mode` names."""

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from darl.model.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Bad(Noise):
    """Uniform, unless `mode` is `nan`, `memory` or `crash`."""

    kind: ClassVar[str] = "bad"
    mode: str = "fine"

    def density(self, gamma: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(gamma)

    def quantile(self, probability: Tensor) -> Tensor:
        """The probability itself."""
        if self.mode == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "memory":
            raise MemoryError("cannot allocate 1 TiB")
        return probability * torch.nan if self.mode == "nan" else probability
