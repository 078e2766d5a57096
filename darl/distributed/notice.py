"""The driver's word to its workers that they shall save a checkpoint and end: an actor that they wait for."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import ray

__all__ = ["Notice", "forwarded", "question"]


@ray.remote(num_cpus=0)
class Notice:
    """Given once, by the driver."""

    def __init__(self) -> None:
        self.given = asyncio.Event()

    async def give(self) -> None:
        """Tell all who wait, and all who will."""
        self.given.set()

    async def wait(self) -> None:
        """Return once it is given."""
        await self.given.wait()


def question(notice: Any) -> Callable[[], bool]:
    """For a worker: whether the notice has been given, at the cost of a look at its own memory."""
    waiting = notice.wait.remote()
    return lambda: bool(ray.wait([waiting], timeout=0)[0])


@contextmanager
def forwarded(terminated: threading.Event, notice: Any) -> Generator[None]:
    """For the driver: give the notice once `terminated` is set. In a thread, since the main one waits for Ray."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if terminated.is_set():
                notice.give.remote()
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
