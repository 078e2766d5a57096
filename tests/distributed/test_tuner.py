"""The runners of sweeps."""

from darl.distributed.tuner import _KINDS
from darl.sweep.record import KINDS


def test_every_kind_of_sweep_that_can_be_recorded_can_be_run() -> None:
    assert set(KINDS.values()) == set(_KINDS)
