"""What follows an acknowledgement in the same process."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0  # a mint under way is given its time: what it made must be written down


class Background:
    """Holds running tasks, so that none is lost half-way; `drain` waits for them at shutdown."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the work now, beside everything else. What it raises is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background work failed", exc_info=error)

    async def drain(self) -> None:
        """Waits until nothing runs any more, at most `DRAIN_SECONDS`; then cancels."""
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_SECONDS
        while self._tasks and loop.time() < until:
            await asyncio.wait(set(self._tasks), timeout=until - loop.time())
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
