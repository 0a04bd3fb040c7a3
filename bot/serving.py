"""What a running desk shows the world, and its metronome: the port, the pages, Socket Mode, the beats of the sweeps."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus

import uvicorn
from aiohttp import ClientError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from starlette.applications import Starlette

from bot import slack as skin
from bot.desk.sweeps import Sweeps

log = logging.getLogger("keydesk")

SWEEP_SECONDS = 15
RECONNECT_SECONDS = 5
GRACE_SECONDS = 5  # how long requests under way may take at shutdown


class CannotStart(Exception):
    """Why the desk does not start, with the mend, for people."""


def now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket: a port that is taken is found before anything else starts. Raises `CannotStart`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio switches Nagle's algorithm off: else each answer waits about 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        mend = "stop what listens there, or set PORT and HOST to another"
        raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror}. Mend: {mend}.") from None
    with listener:
        yield listener


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's: the server is one part of the desk and is stopped in its turn."""
        yield


@asynccontextmanager
async def serving(pages: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """The pages answer on this socket until the context ends; what is under way then may take `GRACE_SECONDS`."""
    config = uvicorn.Config(
        pages,
        log_config=None,
        access_log=False,  # paths may hold what people pasted wrongly
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    listener.listen(config.backlog)  # from here on nobody is refused, even before the server's first turn
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def connected(slack_app: AsyncApp, token: str, *, needed: bool) -> AsyncIterator[None]:
    """Connected to Slack, or on the way to be. Raises `CannotStart` for a token that is refused, where it is `needed`."""
    handler = skin.SocketMode(slack_app, token)
    if needed:
        connecting = None if await _connect(handler) else asyncio.create_task(_connect_in_time(handler))
    else:
        connecting = asyncio.create_task(_connect_in_time(handler))
    try:
        yield
    finally:
        if connecting:
            connecting.cancel()
        await handler.close_async()  # type: ignore[no-untyped-call]  # Bolt leaves it without types


async def _connect(handler: skin.SocketMode) -> bool:
    """Whether Slack could be reached. Once connected, the client sees to it by itself that it stays so."""
    try:
        await handler.connect_async()  # type: ignore[no-untyped-call]  # as above
    except SlackApiError as error:
        if error.response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        why = error.response.get("error")
        mend = "an app-level token with connections:write, and Socket Mode switched on"
        raise CannotStart(f"SLACK_APP_TOKEN is refused by Slack ({why}). Mend: {mend}.") from None
    except (ClientError, TimeoutError):
        return False
    return True


async def _connect_in_time(handler: skin.SocketMode) -> None:
    """Tries until Slack is back."""
    try:
        while not await _connect(handler):
            log.warning("Slack cannot be reached for Socket Mode; trying again")
            await asyncio.sleep(RECONNECT_SECONDS)
    except CannotStart as reason:
        log.error("%s", reason)


class _Beats(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler ships no types
    """APScheduler plans by the clock on the wall: turned back by an hour, that would leave an hour without a beat."""

    def wakeup(self) -> None:
        """Runs what is due, and what is planned later than its interval from now: a clock ahead of this one did that."""
        for job in self.get_jobs():
            if job.next_run_time > now() + job.trigger.interval:
                job.modify(next_run_time=now())
        super().wakeup()


@contextmanager
def metronome(sweeps: Sweeps) -> Iterator[None]:
    """Each sweep that no ring starts has a pass at once, and one every `SWEEP_SECONDS`."""
    scheduler = _Beats(timezone=UTC)
    for name in (name for name, sweep in sweeps.items() if not sweep.at_ring):  # one of these rings at each beat
        scheduler.add_job(
            sweeps.run,
            "interval",
            args=[name],
            seconds=SWEEP_SECONDS,
            next_run_time=now(),  # what the last process left is put right at once
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)
