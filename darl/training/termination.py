"""SIGTERM, as Slurm, Kubernetes and spot machines send it before they kill: a question that a run asks after each step.

What is not covered: a signal during an evaluation is heeded when the evaluation ends, and a machine that dies without a
signal, or sooner than a step takes, loses the steps since the last checkpoint (`save_every`).
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["EXIT_CODE", "noted_terminations"]

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell shows of a process that SIGTERM has ended."""


@contextmanager
def noted_terminations() -> Generator[threading.Event]:
    """Within, SIGTERM sets the event and ends nothing. In the main thread only, where Python runs signal handlers."""
    came = threading.Event()
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: came.set())
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, earlier)
