"""Termination by SIGTERM, which Slurm, Kubernetes and spot machines send before they kill a process.

A pretraining checks after each step whether the signal has come, and then saves a checkpoint. A signal during an
evaluation is noticed when the evaluation ends. A machine that dies without a signal, or before the step ends, loses the
steps since the last checkpoint (`save_every`). A sweep ends as by Ctrl-C: its tables and its trials' checkpoints are
written while it runs.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["EXIT_CODE", "Terminated", "interrupted_by_termination", "noted_terminations"]

EXIT_CODE = 128 + signal.SIGTERM
"""The exit code that shells report for a process ended by SIGTERM."""


@contextmanager
def noted_terminations() -> Generator[threading.Event]:
    """Within, SIGTERM sets the event instead of ending the process. For the main thread only (Python's rule)."""
    received = threading.Event()
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, earlier)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; handled as Ctrl-C is, except for the exit code."""


@contextmanager
def interrupted_by_termination() -> Generator[None]:
    """Within, SIGTERM raises `Terminated` in the main thread. Enter it after the start of Ray, which sets a handler."""
    received = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.set()
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:  # libraries may have raised one of their own in its place
        if received.is_set():
            raise Terminated from None
        raise
    finally:
        signal.signal(signal.SIGTERM, earlier)
