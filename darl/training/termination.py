"""Termination by SIGTERM, which Slurm, Kubernetes and spot machines send before they kill a process.

A run checks after each step whether the signal has come, and then saves a checkpoint. A signal during an evaluation is
noticed when the evaluation ends. A machine that dies without a signal, or before the step ends, loses the steps since
the last checkpoint (`save_every`).
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["EXIT_CODE", "noted_terminations"]

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
