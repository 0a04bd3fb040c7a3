"""Bad input at scale: whatever strangers send, the desk answers, stays small and goes on serving its members."""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bot.slack import app as skin
from bot.web import app as web_app
from sandbox.server import Running
from tests.promises.corpus import Corpus
from tests.promises.fuzzing import SEED, Answer, Log, Siege, besieged, judged, resident
from tests.promises.inputs import KINDS, Input, make, payload

FEW = 1500  # inputs; `make fuzz` sends 100,000
FOUND = [Input.of(line) for line in (Path(__file__).parent / "found.jsonl").read_text().splitlines()]
FIRST = {"sqlite": 0, "postgresql": FEW}  # others on each database
CONNECTIONS = 4
OVER = 100 * 2**20  # bytes that nobody means to read
TAKEN = 12 * 2**20  # bytes that the sockets of both ends hold between them, and the desk's own limit
SLOW = 100  # bodies at once
HELP = json.dumps(
    {"command": "/apikey", "text": "help", "user_id": "U0BEN", "team_id": "T0ACME", "trigger_id": "1.2.3"}
)


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    """A fresh database, where its kind does not matter."""
    path = tmp_path / "keydesk.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def siege(servers: Running, sqlite_url: str, tmp_path: Path) -> AsyncIterator[Siege]:
    """A desk in a process of its own, with nothing behind it."""
    async with besieged(servers, database_url=sqlite_url, folder=tmp_path, story=False) as running:
        yield running


async def test_whatever_strangers_send_is_answered_and_harms_nothing(
    servers: Running, database_url: str, tmp_path: Path
) -> None:
    """No 5xx, no hang, no traceback, memory flat, nothing gained, and a member is served afterwards."""
    first = FIRST[database_url.partition(":")[0]]
    async with besieged(servers, database_url=database_url, folder=tmp_path) as siege:
        report = await siege.send(range(first, first + FEW), connections=CONNECTIONS)
    assert report.sent == FEW
    assert not report.findings, report.told()


async def test_what_was_found_once_is_answered_now(servers: Running, database_url: str, tmp_path: Path) -> None:
    """Each input that a desk once could not take."""
    async with besieged(servers, database_url=database_url, folder=tmp_path) as siege:
        report = await siege.send_all(FOUND, connections=1)
    assert not report.findings, report.told()


def test_an_input_is_the_same_when_it_is_made_or_read_again() -> None:
    """So what was found can be sent again, by its seed and number or from the line that was printed."""
    known = [(kind, {"type": kind, "command": "/apikey", "user": {"id": "U0BEN"}}) for kind in KINDS]
    corpus = Corpus.of(known)
    for number in range(300):
        assert make(corpus, SEED, number) == Input.of(make(Corpus.of(known), SEED, number).line())


def _careless() -> None:
    """In the desk's process: whatever comes is believed to have Slack's shape."""
    vars(skin)["well_formed"] = lambda body: isinstance(body, dict)


async def test_a_listener_that_trusts_what_it_gets_is_found(servers: Running, sqlite_url: str, tmp_path: Path) -> None:
    """The traceback is found in the log, and the input that made it."""
    async with besieged(servers, database_url=sqlite_url, folder=tmp_path, prepare=_careless) as siege:
        report = await siege.send_all([one for one in FOUND if one.kind == "signed form"], connections=1)
    found = [one.input for one in report.findings if one.input and "bot/slack/listeners/" in one.why]
    assert found, report.told()
    assert all("view_submission" in one.body for one in found)


def _unready() -> None:
    """In the desk's process: whether it is ready is asked in a way that fails."""
    vars(web_app)["READY_PATIENCE"] = "soon"


async def test_an_answer_of_a_failing_desk_is_found(servers: Running, sqlite_url: str, tmp_path: Path) -> None:
    """By its status, by its traceback, and by how the desk is afterwards."""
    async with besieged(servers, database_url=sqlite_url, folder=tmp_path, prepare=_unready, story=False) as siege:
        report = await siege.send_all([Input(0, "page", "GET", "/readyz")])
    found = " ".join(one.why for one in report.findings)
    for why in ("page: answered 503", "a traceback in the log: bot/web/app.py", "/readyz answers 503"):
        assert why in found


class TestBodies:
    """Bodies that are too large, or too slow."""

    @pytest.mark.parametrize("target", ["/slack/events", "/api/links/x/claim", "/nowhere"])
    @pytest.mark.parametrize("told", ["told before", "found out"])
    async def test_an_oversized_body_is_refused_before_it_is_read(self, siege: Siege, target: str, told: str) -> None:
        """The refusal comes while the body is under way, the desk reads no further, and holds none of it."""
        before = resident(siege.process.pid)
        reader, writer = await asyncio.open_connection("127.0.0.1", siege.flow.settings.port)
        framing = f"Content-Length: {OVER}" if told == "told before" else "Transfer-Encoding: chunked"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        writer.write(head.encode())
        piece = b"x" * 2**16
        if told == "found out":
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        sent = 0
        try:
            async with asyncio.timeout(5):
                while sent < OVER:
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
        except (ConnectionError, TimeoutError):
            pass  # closed, or not read from any more
        assert sent < TAKEN
        try:
            status = (await asyncio.wait_for(reader.readline(), 5)).split()[1:2]
            assert status in ([b"413"], [b"401"], [b"404"], [])
        except ConnectionError:
            pass  # closing with data under way may take the answer along
        writer.transport.abort()
        assert resident(siege.process.pid) - before < TAKEN
        assert not await siege.wrong()

    async def test_a_body_that_is_announced_too_large_is_answered_at_once(self, siege: Siege) -> None:
        """413, and the connection is closed, before a byte of the body was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", siege.flow.settings.port)
        writer.write(f"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: {OVER}\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()

    async def test_slow_bodies_hold_nobody_up(self, siege: Siege) -> None:
        """While a hundred dribble, Slack is answered in time; when they are gone, nothing of them is left."""
        port, pid = siege.flow.settings.port, siege.process.pid
        before = _open_files(pid)
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW)]
        for _, writer in slow:
            writer.write(b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(10):
            for _, writer in slow:
                writer.write(b"x")
                await writer.drain()
            ack = await siege.flow.ben.command("/apikey help")
            assert ack.acknowledged
            assert ack.ms < 3000
        for _, writer in slow:
            writer.transport.abort()
        await _until(lambda: _open_files(pid) < before + SLOW // 4)
        assert not await siege.wrong()

    async def test_a_body_that_never_comes_is_given_up(self, servers: Running, sqlite_url: str, tmp_path: Path) -> None:
        """408 after a while, and the connection is closed: a stranger cannot fill the desk with waiting."""
        async with besieged(
            servers, database_url=sqlite_url, folder=tmp_path, prepare=_impatient, story=False
        ) as siege:
            for target in ("/slack/events", "/api/links/x/claim"):
                reader, writer = await asyncio.open_connection("127.0.0.1", siege.flow.settings.port)
                head = (
                    f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
                )
                writer.write(f"{head}\r\n{{".encode())
                answer = await asyncio.wait_for(reader.read(), 10)
                writer.close()
                assert answer.split()[1] in (b"408", b"401")  # a stranger's body need not be waited for
                assert b"connection: close" in answer.lower()
            assert not await siege.wrong()


def _impatient() -> None:
    """In the desk's process: half a second for a body."""
    vars(web_app)["BODY_PATIENCE"] = 0.5


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110  # another process's files: there is nothing to be woken by
            await asyncio.sleep(0.02)


class Peer:
    """Slack's end of Socket Mode, which says what it is told to. The desk's client connects to `url`."""

    def __init__(self) -> None:
        self.url = ""
        self.connected = asyncio.Event()
        self._socket: ServerConnection | None = None
        self._heard: dict[str, asyncio.Future[Any]] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listens until the context ends."""
        async with serve(self._hold, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
            yield

    async def _hold(self, socket: ServerConnection) -> None:
        self._socket = socket
        await socket.send(json.dumps({"type": "hello", "num_connections": 1}))
        self.connected.set()
        try:
            async for message in socket:
                heard = self._heard.pop(str(json.loads(message).get("envelope_id")), None)
                if heard is not None:
                    heard.set_result(None)
        except ConnectionClosed:
            pass
        self.connected.clear()

    async def say(self, frame: str) -> None:
        """Sends a frame."""
        await asyncio.wait_for(self.connected.wait(), 15)
        assert self._socket is not None
        await self._socket.send(frame.encode(errors="replace"), text=True)

    async def deliver(self, kind: str, told: str) -> bool:
        """Sends an envelope with this payload, in JSON; whether it was acknowledged within Slack's three seconds."""
        id = secrets.token_hex(8)
        self._heard[id] = asyncio.get_running_loop().create_future()
        await self.say(_envelope(kind, id, told))
        try:
            await asyncio.wait_for(self._heard[id], 3)
        except TimeoutError:
            return False
        return True


def _envelope(kind: str, id: str, told: str) -> str:
    types = {"command": "slash_commands", "event_callback": "events_api"}
    head = json.dumps({"envelope_id": id, "type": types.get(kind, "interactive"), "accepts_response_payload": True})
    return f'{head[:-1]}, "payload": {told}}}'


def _connects_to(url: str) -> None:
    """In the desk's process: the address that Slack gives out for a websocket."""

    async def issue_new_wss_url(_: SocketModeClient) -> str:
        return url

    # Beyond it is Slack: nothing of the desk is replaced.
    setattr(SocketModeClient, issue_new_wss_url.__name__, issue_new_wss_url)


async def test_what_socket_mode_delivers_may_have_any_shape(servers: Running, sqlite_url: str, tmp_path: Path) -> None:
    """Payloads are objects of any types there, and not forms: what does not fit is refused, and harms nothing."""
    peer = Peer()
    token = SecretStr(servers.app_token)
    async with peer.serving():
        prepare = partial(_connects_to, peer.url)
        async with besieged(
            servers, database_url=sqlite_url, folder=tmp_path, prepare=prepare, app_token=token
        ) as siege:
            with closing(Log(siege.process.log)) as log:
                for number in range(300):
                    kind, told = payload(siege.corpus, SEED, number)
                    await peer.say(_envelope(kind, secrets.token_hex(8), siege.named(told)))
                    # Slack hears nothing of what was refused, so that all is well is seen from what comes next.
                    assert await peer.deliver("command", HELP), f"number {number} held up the next: {told[:3000]}"
                    # slack_sdk reads the envelope, and keeps to itself what it cannot read of it.
                    found = [one for one in log.fresh() if not one[0].startswith("?")]
                    assert not found, f"number {number}, or one shortly before: {found[0][1]}\n{told[:3000]}"
                for frame in (
                    "",
                    "{}",
                    "[]",
                    "null",
                    "ping",
                    '{"type": 5}',
                    '{"type": "hello", "payload": []}',
                    "\x00",
                ):
                    await peer.say(frame)
                assert await peer.deliver("command", HELP)
                assert not log.fresh()
            assert not await siege.wrong()


def test_what_is_asked_of_an_answer() -> None:
    """A stranger let in, a 5xx, silence: each is told apart from a good answer."""
    known, unknown = Input(0, "signed form", signing="well"), Input(0, "unsigned", signing="forged")
    assert judged(known, Answer(200, 0.1)) is None
    assert judged(known, Answer(400, 0.1)) is None
    assert judged(unknown, Answer(401, 0.1)) is None
    for sent, answer in (
        (known, Answer(500, 0.1)),
        (known, Answer(302, 0.1)),
        (known, Answer(200, 3.1)),
        (known, Answer(None, 0.1)),
        (known, Answer(None, 5.0, hung=True)),
        (unknown, Answer(200, 0.1, b"{}")),
    ):
        assert judged(sent, answer)
