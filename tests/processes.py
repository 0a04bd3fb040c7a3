"""Desks as processes of their own, to be killed: `app.py`'s composition with a clock that the test turns.

A fork server has everything imported already, so a desk is up within a few hundred milliseconds, and a SIGKILL is a
real one.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import app
from bot import logs
from bot.settings import Settings

READY_SECONDS = 120.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "app",
        "tests.processes",
        "tests.promises.dying",
        # What a desk's libraries import only once it runs.
        "anyio._backends._asyncio",
        "apscheduler.executors.asyncio",
        "apscheduler.triggers.interval",
        "httpcore",
        "httpcore2",
        "truststore",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
    ]
)


class SharedClock:
    """Now, plus what the test has added; the same in every process that was given it, or one that goes with it.

    One that goes `with_` another shows what that shows, and may be `off` for itself.
    """

    def __init__(self, *, with_: "SharedClock | None" = None) -> None:
        # No lock: a desk that is killed while it looks at the clock would keep it, and everybody else would wait for ever.
        self._ahead: Any = with_._ahead if with_ else _FORKS.Value("d", 0.0, lock=False)
        self._off: Any = _FORKS.Value("d", 0.0, lock=False)

    @property
    def ahead(self) -> timedelta:
        """How far from the real time."""
        return timedelta(seconds=self._ahead.value)

    @ahead.setter
    def ahead(self, ahead: timedelta) -> None:
        self._ahead.value = ahead.total_seconds()

    @property
    def off(self) -> timedelta:
        """How far this one is from those that it goes with."""
        return timedelta(seconds=self._off.value)

    @off.setter
    def off(self, off: timedelta) -> None:
        self._off.value = off.total_seconds()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead + self.off


@dataclass
class DeskProcess:
    """A desk in a process of its own. `prepare` runs in it before the desk is put together."""

    settings: Settings
    clock: SharedClock
    log: Path
    prepare: Callable[[], None] | None = None
    _process: Any = field(init=False, default=None)
    _line: Connection = field(init=False)

    async def start(self) -> None:
        """Returns once it serves. Raises `AssertionError` with its log where it does not come to that."""
        ours, theirs = _FORKS.Pipe()
        self._line = ours
        self._process = _FORKS.Process(target=_serve, args=(self.settings, self.clock, self.log, self.prepare, theirs))
        self._process.start()
        theirs.close()
        assert await self._hear() == "ready", f"the desk did not start:\n{self.said()}"

    async def sweep(self, which: str = "reconcile") -> None:
        """Makes this sweep of its watch once. Raises `EOFError` when it died of it, or of the scheduler's own sweep just before."""
        try:
            self._line.send(which)
        except BrokenPipeError:
            raise EOFError("the desk was dead already") from None
        if await self._hear() != "swept":
            raise EOFError("the desk died while it swept")

    async def _hear(self) -> str | None:
        try:
            there = await asyncio.to_thread(self._line.poll, READY_SECONDS)
            return str(self._line.recv()) if there else None
        except (EOFError, ConnectionResetError):
            return None

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return bool(self._process.is_alive())

    @property
    def exit_code(self) -> int | None:
        """What it ended with, a signal's number below zero; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def said(self) -> str:
        """All that it logged or printed, tracebacks included."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL: it gets no chance to put anything in order."""
        self._process.kill()
        self._process.join()

    async def died(self, within: float = 15.0) -> bool:
        """Whether it dies by itself in this time."""
        await asyncio.to_thread(self._process.join, within)
        return not self.alive

    async def stop(self) -> None:
        """SIGTERM, as an operator stops it; it is killed where that takes too long."""
        if self._process is None:
            return
        if self.alive:
            self._process.terminate()
            await self.died()
        self.kill()
        self._line.close()
        self._process.close()
        self._process = None


@asynccontextmanager
async def desk_process(
    settings: Settings, clock: SharedClock, log: Path, prepare: Callable[[], None] | None = None
) -> AsyncIterator[DeskProcess]:
    """A desk that serves until the context ends, unless it is killed before."""
    desk = DeskProcess(settings, clock, log, prepare)
    await desk.start()
    try:
        yield desk
    finally:
        await desk.stop()


def _serve(
    settings: Settings, clock: SharedClock, log: Path, prepare: Callable[[], None] | None, line: Connection
) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    gc.freeze()  # what was there before the fork is never garbage: looking through it again and again takes long
    logs.to_stderr("debug", settings.log_format)
    if prepare:
        prepare()
    with line:
        app.serve(_until_stopped(settings, clock, line))


async def _until_stopped(settings: Settings, clock: SharedClock, line: Connection) -> None:
    async with app.running(settings, clock=clock) as desk:
        sweeps: set[asyncio.Task[None]] = set()

        async def sweep(which: str) -> None:
            await getattr(desk.watch, which)()
            line.send("swept")

        def heard() -> None:
            try:
                which = line.recv()
            except EOFError:  # the test is gone
                os.kill(os.getpid(), signal.SIGTERM)
                return
            task = asyncio.get_running_loop().create_task(sweep(which))
            sweeps.add(task)
            task.add_done_callback(sweeps.discard)

        asyncio.get_running_loop().add_reader(line.fileno(), heard)
        line.send("ready")
        await app.until_stopped()
