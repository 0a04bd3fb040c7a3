"""A link's round trip: sealed and stored, claimed, acknowledged, over HTTP with durable commits.

The peer is snappass with a Redis that keeps nothing, behind four gunicorn workers: a secret posted, its page fetched, the
secret revealed. Either side takes three HTTP requests, and is driven by the same load generator over the same
connections, by turns. On our side stands the real web app on uvicorn with its store, its desk and its sweeps in one
process; the vendor is played in that process and answers at once, and the pick-up's click is not part of it.
"""

import argparse
import asyncio
import json
import os
import selectors
import shutil
import socket
import statistics
import sys
import time
from base64 import urlsafe_b64decode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
import uvicorn
from pydantic import SecretStr
from sqlalchemy import insert
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import app
from benchmarks import desks, sampler
from benchmarks.figures import Figure, beside
from benchmarks.sweeps import postgres
from bot import slack as skin
from bot import web
from bot.desk import envelope
from bot.desk.assembly import assemble
from bot.desk.ids import new_id
from bot.desk.model import AccessRequest, Actor, Context, Draft, Grant, Key, Person, Scope
from bot.desk.ports import Directory, Transaction
from bot.desk.states import GrantState, KeyState, RequestState
from bot.web.sessions import open_session
from storage.migrate import upgrade
from storage.rows import table, to_row
from storage.store import SqlStore
from storage.transaction import SqlTransaction
from tests.desk.world import Line, Workspace
from tests.web.world import VALUE, Silence, Vendor

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
HOST, TEAM, HOLDER = desks.HOST, desks.TEAM, "U0BEN"
CONNECTIONS = (1, 4, 16)
ROUNDS = 3
SECONDS = 1.0  # of each run
READY = 1200  # grants that wait for their key before each run
START_SECONDS = 60.0
STUCK_SECONDS = 20.0
AIM = 1.0  # ahead of the peer
NO_REDIS = "no redis-server is found. Mend: on Debian and Ubuntu, apt-get install redis-server"


class NotRun(Exception):
    """What a benchmark lacks on this machine, in one line, with the mend."""


# ---- our side


class GroupedStore(SqlStore):
    """An experiment, not the product: acts that wait for the writer share its next transaction, each in a savepoint.

    An act is answered only after the commit that holds it, so it is as durable as alone.
    """

    _waiting: deque[tuple[Callable[[Transaction], Any], Future[Any]]]

    async def write(self, act: Callable[[Transaction], T]) -> T:
        """As the store's, at the price of a share in a commit."""
        if not hasattr(self, "_waiting"):
            self._waiting = deque()
        done: Future[T] = Future()
        self._waiting.append((act, done))
        self._writer.submit(self._write_waiting)
        return await asyncio.wrap_future(done)

    def _write_waiting(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not taken:
            return  # the turn before took it along
        outcomes: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with self._writing.begin() as connection:
                for act, done in taken:
                    try:
                        with connection.begin_nested():
                            outcomes.append((done, act(SqlTransaction(connection)), None))
                    except Exception as error:
                        outcomes.append((done, None, error))
        except Exception as error:
            outcomes = [(done, None, error) for _, done in taken]
        for done, found, failure in outcomes:
            if failure is None:
                done.set_result(found)
            else:
                done.set_exception(failure)


class Members:
    """A directory in this process, in which everybody is a member."""

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """Made up at once."""
        return Person(member, TEAM, member)

    def remembered(self, member: str) -> Person | None:
        """As `person`."""
        return Person(member, TEAM, member)

    async def know_everybody(self) -> None:
        """Everybody is made up."""

    async def members(self, group: str) -> frozenset[str]:
        """No groups here."""
        return frozenset()

    async def manager(self, member: str, profile_field: str) -> str | None:
        """No managers here."""
        return None

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """Nobody asks."""
        yield ()


async def _serve(url: str, port: int, *, grouped: bool, slack_port: int) -> None:
    """The web app with its desk, and three doors for the benchmark: sign in, make ready, seal."""

    def clock() -> datetime:
        return datetime.now(UTC)

    upgrade(url)
    store = (GroupedStore if grouped else SqlStore).open(url)
    directory: Directory = Members()
    if slack_port:
        client = skin.build_client(SecretStr("xoxb-benchmark"), f"http://{HOST}:{slack_port}/api/")
        directory = skin.SlackDirectory(client=client, team=TEAM, clock=clock)
    public_url = f"http://{HOST}:{port}"
    desk = assemble(
        store=store,
        directory=directory,
        notifier=Silence(),
        line=Line(Workspace()),
        policy=desks.any_key(),
        providers={"openai": Vendor()},
        clock=clock,
        random=os.urandom,
        public_url=public_url,
    )
    ready: deque[Key] = deque()
    samplers: list[sampler.Sampler] = []

    async def sign_in(request: Request) -> Response:
        open_session(request, Actor(TEAM, HOLDER), "Ben")
        return JSONResponse({"csrf": request.session["csrf"]})

    async def make_ready(_: Request) -> Response:
        ready.extend(await store.write(lambda tx: _issuing(tx, READY - len(ready), clock())))
        return JSONResponse({})

    async def seal(_: Request) -> Response:
        return JSONResponse({"url": (await desk.grants.issue(ready.popleft())).url})

    async def sample(_: Request) -> Response:
        if samplers:
            return JSONResponse(samplers.pop().stop())
        samplers.append(sampler.Sampler())
        return JSONResponse({})

    pages = web.build(
        links=desk.links,
        deposits=desk.deposits,
        public_url=public_url,
        session_secret=SecretStr(desks.SESSION_SECRET),
        slack_client_id="1.1",
        slack_client_secret=SecretStr("benchmark"),
        slack_origin=f"http://{HOST}:{slack_port}",
        team=TEAM,
        ready=store.ping,
        extra_routes=[
            Route(f"/bench/{name}", taken, methods=["POST"])
            for name, taken in (("sign-in", sign_in), ("make-ready", make_ready), ("seal", seal), ("sample", sample))
        ],
    )
    sweeps = asyncio.create_task(desk.watch.run())
    # As app.py serves it.
    await uvicorn.Server(
        uvicorn.Config(pages, host=HOST, port=port, log_config=None, access_log=False, server_header=False)
    ).serve()
    sweeps.cancel()


def _issuing(tx: Transaction, count: int, now: datetime) -> list[Key]:
    """Keys whose minting was begun, as a pick-up leaves them; written at once, as they are not what is measured."""
    scope = Scope("openai", "proj_search", "chat", 2500)
    draft = Draft(scope, "search-prod", timedelta(days=7), "Nightly evaluation", "OpenAI", "Chat completions")
    things: dict[type, list[Any]] = {AccessRequest: [], Grant: [], Key: []}
    for _ in range(count):
        r, g, k = (new_id(letter, os.urandom) for letter in "rgk")
        things[AccessRequest].append(AccessRequest(TEAM, r, HOLDER, draft, "r", RequestState.APPROVED, now, f"o{r}"))
        things[Grant].append(Grant(TEAM, g, r, HOLDER, draft, GrantState.ISSUING, now, k))
        things[Key].append(Key(TEAM, k, g, "openai", "proj_search", f"keydesk-{k}", KeyState.MINTING, now))
    for kind, rows in things.items():
        if rows:
            tx._db.execute(insert(table(kind)), [to_row(one) for one in rows])  # type: ignore[attr-defined]  # many at once, which the port has no need of
    return things[Key]


# ---- the load generator

Trip = Generator[bytes, tuple[int, bytes, bytes], None]
"""One round trip after another: yields requests, is sent status, head and body."""


def _request(verb: str, path: str, body: str = "", **headers: str) -> bytes:
    lines = [f"{verb} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _must(status: int, wanted: int, body: bytes) -> None:
    if status != wanted:
        raise ValueError(f"answered {status} instead of {wanted}: {body[:200]!r}")


def _with_keydesk(done: Callable[[], None]) -> Trip:
    plain = {"Content_Type": "application/json"}
    status, head, body = yield _request("POST", "/bench/sign-in", "{}", **plain)
    _must(status, 200, body)
    cookie = head[head.lower().index(b"set-cookie: ") + 12 :].partition(b";")[0].decode()
    signed = {**plain, "Cookie": cookie, "X_CSRF_Token": json.loads(body)["csrf"]}
    first = True
    while True:
        status, _, body = yield _request("POST", "/bench/seal", "{}", **plain)
        _must(status, 200, body)
        link_id, _, fragment = json.loads(body)["url"].rpartition("/k/")[2].partition("#")
        seed = urlsafe_b64decode(fragment + "=")
        token = json.dumps({"token": envelope.access_token(seed)})
        status, _, body = yield _request("POST", f"/api/links/{link_id}/claim", token, **signed)
        _must(status, 200, body)
        if first:
            told, first = json.loads(body), False
            sealed = urlsafe_b64decode(told["envelope"] + "==")
            if envelope.open_sealed(sealed, seed=seed, context=Context(**told["context"])).expose() != VALUE:
                raise ValueError("another key came out than was sealed")
        status, _, body = yield _request("POST", f"/api/links/{link_id}/acknowledge", token, **signed)
        _must(status, 204, body)
        done()


def _with_snappass(done: Callable[[], None]) -> Trip:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    posted = urlencode({"password": VALUE, "ttl": "hour"})
    while True:
        status, _, body = yield _request("POST", "/", posted, Accept="application/json", **form)
        _must(status, 200, body)
        path = urlsplit(json.loads(body)["link"]).path
        status, _, body = yield _request("GET", path)
        _must(status, 200, body)
        status, _, body = yield _request("POST", path, "", **form)
        _must(status, 200, body)
        if VALUE.encode() not in body:
            raise ValueError("snappass did not show the secret")
        done()


TRIPS = {"keydesk": _with_keydesk, "snappass": _with_snappass}


class _Wire:
    """One connection that makes its round trips. Opened anew where the server closes after each answer."""

    def __init__(self, port: int, trip: Trip, selector: selectors.BaseSelector) -> None:
        self._port, self._trip, self._selector = port, trip, selector
        self._got = b""
        self._socket: socket.socket | None = None
        self.awaits = False
        self._send(next(trip))

    def _send(self, request: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(request)
        self.awaits = True

    def receive(self, *, more: bool) -> None:
        """Takes what is there; once the answer is whole, sends the next request if there shall be more."""
        if self._socket is None:
            return
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("the server closed a connection")
        self._got += piece
        head, between, body = self._got.partition(b"\r\n\r\n")
        low = head.lower()
        if not between or len(body) < int(low.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0):
            return
        self._got, self.awaits = b"", False
        if b"\r\nconnection: close" in low:
            self.close()
        if more:
            self._send(self._trip.send((int(head[9:12]), head, body)))

    def close(self) -> None:
        """Gives the socket back."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


def drive(kind: str, port: int, connections: int, seconds: float) -> float:
    """Round trips a second over so many connections."""
    trips = 0

    def done() -> None:
        nonlocal trips
        trips += 1

    with selectors.DefaultSelector() as selector:
        begin = time.perf_counter()
        wires = [_Wire(port, TRIPS[kind](done), selector) for _ in range(connections)]
        elapsed, counted = 0.0, 0
        while any(wire.awaits for wire in wires):  # to the last answer: nothing is left for the next run to meet
            ready = selector.select(STUCK_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer for {STUCK_SECONDS:g} s")
            more = time.perf_counter() - begin < seconds
            for key, _ in ready:
                key.data.receive(more=more)
            if more:
                elapsed, counted = time.perf_counter() - begin, trips
        for wire in wires:
            wire.close()
    if not elapsed:
        raise ValueError("not one answer came in time")
    return counted / elapsed


def _drive_jobs() -> None:
    for line in sys.stdin:
        try:
            told: Any = drive(**json.loads(line))
        except (OSError, ValueError, IndexError) as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)


# ---- processes

Driver = Callable[[str, int, int], Awaitable[float]]
"""Round trips a second: which side, its port, over how many connections."""


@asynccontextmanager
async def _process(*command: str, folder: Path, port: int = 0, **environment: str) -> AsyncIterator[Any]:
    """A process that answers on the port, or without one talks over its pipes, until the context ends."""
    log = folder / f"{Path(command[0]).name}-{port}.log"
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=said if port else asyncio.subprocess.PIPE,
            stderr=said,
        )
        try:
            if port:
                await _answers(process, port, log)
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Returns once it answers something: gunicorn listens long before its workers do."""
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until and process.returncode is None:
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
            # HTTP/1.0 needs no more than this line, and Redis answers it too: with an error, but it answers.
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answered = await asyncio.wait_for(reader.readline(), START_SECONDS)
            writer.close()
            if answered:
                return
        except OSError:
            pass
        await asyncio.sleep(0.02)
    raise RuntimeError(f"a process did not start to serve: {log.read_text(encoding='utf-8')[-2000:]}")


@asynccontextmanager
async def snappass(folder: Path, *more: str) -> AsyncIterator[int]:
    """The peer, serving on the port; `more` is told to gunicorn. Raises `NotRun` where there is no Redis."""
    redis = shutil.which("redis-server")
    if redis is None:
        raise NotRun(NO_REDIS)
    redis_port, port = desks.free_port(), desks.free_port()
    nothing_kept = f"--port {redis_port} --bind {HOST} --appendonly no --dir {folder} --save".split()
    gunicorn = f"-W ignore -m gunicorn --preload --no-control-socket --workers 4 --bind {HOST}:{port}".split()
    async with (
        _process(redis, *nothing_kept, "", folder=folder, port=redis_port),
        _process(
            *(sys.executable, *gunicorn, *more, "snappass.main:app"),
            folder=folder,
            port=port,
            REDIS_URL=f"redis://{HOST}:{redis_port}/0",
            NO_SSL="True",
        ),
    ):
        yield port


@asynccontextmanager
async def keydesk(folder: Path, url: str, *, grouped: bool = False, slack_port: int = 0) -> AsyncIterator[int]:
    """Our side, serving on the port."""
    port = desks.free_port()
    told = ["serve", url, str(port), "--slack-port", str(slack_port), *(["--grouped"] if grouped else [])]
    async with _process(sys.executable, "-m", "benchmarks.links", *told, folder=folder, port=port):
        yield port


@asynccontextmanager
async def driver(folder: Path) -> AsyncIterator[Driver]:
    """The load generator, in a process of its own."""
    async with _process(sys.executable, "-m", "benchmarks.links", "drive", folder=folder) as process:

        async def run(kind: str, port: int, connections: int) -> float:
            if kind == "keydesk":
                await ask(port, "make-ready")
            job = {"kind": kind, "port": port, "connections": connections, "seconds": SECONDS}
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
            told = json.loads(await asyncio.wait_for(process.stdout.readline(), START_SECONDS) or '"it ended"')
            if not isinstance(told, float):
                raise RuntimeError(f"the load generator gave up on {kind}: {told}")
            return told

        yield run


async def ask(port: int, door: str) -> Any:
    """What a door of the benchmark's answers."""
    async with httpx.AsyncClient(timeout=START_SECONDS) as client:
        return (await client.post(f"http://{HOST}:{port}/bench/{door}")).raise_for_status().json()


# ---- the benchmark


async def links() -> list[Figure]:
    """Round trips a second on SQLite and PostgreSQL, as they are and with group commit, against snappass."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(desks.folder())
        sides: dict[str, tuple[str, int]] = {
            "snappass": ("snappass", await stack.enter_async_context(snappass(folder)))
        }
        server = stack.enter_context(postgres())
        far = await stack.enter_async_context(desks.far_side(folder))
        for name, given in OURS.items():
            database = name.partition(",")[0]
            url = f"sqlite:///{folder}/{len(sides)}.db"
            if database == "PostgreSQL":
                server.psql(f"CREATE DATABASE links_{len(sides)}")
                url = server.get_uri(database=f"links_{len(sides)}")
            asks = {"slack_port": far.port} if given == "asks" else {"grouped": given == "grouped"}
            sides[name] = ("keydesk", await stack.enter_async_context(keydesk(folder, url, **asks)))
        run = await stack.enter_async_context(driver(folder))
        rates: dict[str, dict[int, list[float]]] = {name: {count: [] for count in CONNECTIONS} for name in sides}
        for kind, port in sides.values():
            await run(kind, port, 4)  # warms up
        for _ in range(ROUNDS):
            for name, (kind, port) in sides.items():
                for connections in CONNECTIONS:
                    rates[name][connections].append(await run(kind, port, connections))
        where = {name: await _where(run, *sides[name]) for name in OURS}
    best = {name: max(counts.values(), key=statistics.median) for name, counts in rates.items()}
    figures = []
    for name in OURS:
        middles = ", ".join(f"{statistics.median(told):.0f} at {count}" for count, told in rates[name].items())
        theirs = ", ".join(f"{statistics.median(told):.0f} at {count}" for count, told in rates["snappass"].items())
        figures.append(
            beside(
                f"link round trip, {name}",
                ours=best[name],
                unit="round trips/s",
                against="snappass, Redis without persistence, 4 gunicorn workers",
                theirs=best["snappass"],
                aim=AIM,
                profile=f"{where[name]} By connections: {middles}; the peer {theirs}.",
            )
        )
    return figures


OURS = {
    "SQLite": "",
    "SQLite, group commit tried out": "grouped",
    "SQLite, members asked of Slack": "asks",
    "PostgreSQL": "",
    "PostgreSQL, group commit tried out": "grouped",
}


async def _where(run: Driver, kind: str, port: int) -> str:
    """Where the time goes at four connections, in a sentence."""
    await ask(port, "sample")
    await run(kind, port, 4)
    return "At four connections, " + sampler.told(await ask(port, "sample"))


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"links": links}


def main() -> None:
    """What the benchmark's processes run."""
    parser = argparse.ArgumentParser(prog="benchmarks.links")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("drive")
    serving = roles.add_parser("serve")
    serving.add_argument("url")
    serving.add_argument("port", type=int)
    serving.add_argument("--grouped", action="store_true")
    serving.add_argument("--slack-port", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.role == "drive":
        _drive_jobs()
    else:
        app.serve(_serve(chosen.url, chosen.port, grouped=chosen.grouped, slack_port=chosen.slack_port))


if __name__ == "__main__":
    main()
