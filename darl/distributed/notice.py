"""The driver's notice to its workers to save a checkpoint and end: an actor whose `wait` returns once it is given."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import ray

__all__ = ["Notice", "forwarded", "question"]


@ray.remote(num_cpus=0)
class Notice:
    """An event between processes: the driver sets it once, the workers wait for it."""

    def __init__(self) -> None:
        self.given = asyncio.Event()

    async def give(self) -> None:
        """Release all present and future waiters."""
        self.given.set()

    async def wait(self) -> None:
        """Return once the notice is given."""
        await self.given.wait()


def question(notice: Any) -> Callable[[], bool]:
    """For a worker: a function that says whether the notice has been given, without asking another process."""
    waiting = notice.wait.remote()
    return lambda: bool(ray.wait([waiting], timeout=0)[0])


@contextmanager
def forwarded(terminated: threading.Event, notice: Any) -> Generator[None]:
    """For the driver: give the notice once `terminated` is set. In a thread, since the main thread waits for Ray."""
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
