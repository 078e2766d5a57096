"""The driver's signal to its workers to save a checkpoint and end: an actor whose `wait` returns once it is sent."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import ray

__all__ = ["StopSignal", "forwarding", "poll"]


@ray.remote(num_cpus=0)
class StopSignal:
    """An event between processes: the driver sets it once, the workers wait for it."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    async def send(self) -> None:
        """Release all present and future waiters."""
        self.sent.set()

    async def wait(self) -> None:
        """Return once the signal is sent."""
        await self.sent.wait()


def poll(signal: Any) -> Callable[[], bool]:
    """For a worker: a function that says whether the signal has been sent, without asking another process."""
    waiting = signal.wait.remote()
    return lambda: bool(ray.wait([waiting], timeout=0)[0])


@contextmanager
def forwarding(terminated: threading.Event, signal: Any) -> Generator[None]:
    """For the driver: send the signal once `terminated` is set. In a thread, since the main thread waits for Ray."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if terminated.is_set():
                signal.send.remote()
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
