"""The desk, its peers and what they talk to, each as a process of its own.

The desk is `app.py run` with settings in its environment, as an operator starts it. Slack and the vendor are `FarSide`: it
answers what the desk asks with the least that Slack and OpenAI answer, at once or after a set time, and costs a tenth of
what the sandbox costs, which keeps a whole workspace. A benchmark of answers a second would measure the sandbox.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.load import ROOT, Ask
from bot import slack as skin
from bot.desk.audit import Act
from bot.desk.linting import load as load_policy
from bot.desk.menu import Choice, Menu
from bot.desk.model import AccessRequest, Draft, Notice, NoticeKind, Scope
from bot.desk.offer import Probe
from bot.desk.policy import Policy
from bot.desk.ports import Transaction
from bot.desk.states import RequestState
from bot.slack import views
from storage.migrate import upgrade
from storage.store import SqlStore
from tests.web.world import Vendor

HOST = "127.0.0.1"
TEAM, BOT, GROUP, CHANNEL = "T0BENCH", "U0KEYDESK", "S0LEADS", "C0KEYS"
SIGNING_SECRET, SESSION_SECRET = "benchmark-signing-secret", "benchmark-session-secret-of-32-characters"
START_SECONDS = 60.0
WINDOW_SECONDS = 60.0
POLICY = f"""\
version = 1
approval_channel = "{CHANNEL}"

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["read_only", "embeddings", "responses", "chat"]
approvers = ["{GROUP}"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 25
"""


def any_key() -> Policy:
    """The same with any permission: for vendors who are played, and have their own."""
    permissions = {"openai": Vendor.permissions}
    everything = re.sub(r"permissions = .*", 'permissions = ["*"]', POLICY)
    return load_policy(everything, permissions=permissions, source="")


TIERS = {
    "chat.update": 50,
    "conversations.open": 50,
    "usergroups.users.list": 20,
    "users.info": 100,
    "users.profile.get": 100,
    "views.open": 100,
    "views.publish": 100,
    "views.update": 100,
}
"""Calls a minute for each method, app and workspace (docs.slack.dev/apis/web-api/rate-limits): tiers 2, 3 and 4."""


def approver(number: int) -> str:
    """A member of the group that approves."""
    return f"U0A{number:05}"


def member(number: int) -> str:
    """A member who asks."""
    return f"U0M{number:05}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that arrived: when, and what it said. `status` is what it was answered with."""

    at: float
    method: str
    args: Mapping[str, Any]
    status: int


@dataclass
class FarSide:
    """Slack's Web API, its response URLs, and OpenAI's admin API, on one port.

    `chat_seconds` is what posting and updating messages takes, `provider_seconds` each call of the vendor's. With
    `limited`, Slack's limits are enforced: so many calls of a method in any 60 seconds, one post a second a channel;
    what is above is answered 429 with Retry-After. `provider_busy` adds up what the vendor's calls took that change something:
    the desk's rounds look there, too, beside whoever is timed. With `recorded`, `calls` keeps all of it and `arrived` tells of news.
    """

    approvers: int = 3
    chat_seconds: float = 0.0
    provider_seconds: float = 0.0
    limited: bool = False
    recorded: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    calls: list[Call] = field(default_factory=list)
    provider_busy: float = 0.0
    early: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _windows: dict[str, deque[float]] = field(default_factory=dict)
    _shut_until: dict[str, float] = field(default_factory=dict)
    _posted: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FarSide"]:
        """Serves until the context ends."""
        listener = _listener()
        server = await asyncio.get_running_loop().create_server(lambda: _Wire(self), sock=listener, backlog=512)
        self.port = listener.getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def expect(self, find: Callable[[], Any], patience: float = 30.0) -> Any:
        """What `find` finds, as soon as it finds something, looking again at each call. Raises `TimeoutError`."""
        async with asyncio.timeout(patience):
            while not (found := find()):
                self._news.clear()
                await self._news.wait()
        return found

    def answer(self, verb: str, path: str, query: str, body: bytes) -> tuple[int, dict[str, str], Any, float]:
        """Status, headers, body and the seconds that the answer takes."""
        if path == "/counts":
            return 200, {}, self.counts, 0.0
        if path.startswith("/openai"):
            self.counts["vendor"] += 1
            return 200, {}, self._vendor(verb, path.removeprefix("/openai/v1"), body), self.provider_seconds
        method = "response_url" if path.startswith("/response/") else path.rpartition("/")[2]
        self.counts[method] += 1
        args: dict[str, Any] = {}
        if self.recorded or self.limited or method.startswith(("users", "chat", "conv")):
            args = _arguments(query, body)
        wait = self._wait(method, args) if self.limited else 0
        if self.recorded:
            self.calls.append(Call(time.perf_counter(), method, args, 429 if wait else 200))
            self._news.set()
        if wait:
            return 429, {"Retry-After": str(wait)}, {"ok": False, "error": "ratelimited"}, 0.0
        takes = self.chat_seconds if method.startswith(("chat.", "views.publish", "conversations")) else 0.0
        return 200, {}, {"ok": True, **self._slack(method, args)}, takes

    def _wait(self, method: str, args: Mapping[str, Any]) -> int:
        """Whole seconds until the call may be made again; 0 where it may be made now."""
        now = time.perf_counter()
        if method == "chat.postMessage":
            key, most, window = f"{method} {args.get('channel')}", 1, 1.0
        elif method in TIERS:
            key, most, window = method, TIERS[method], WINDOW_SECONDS
        else:
            return 0
        if now < self._shut_until.get(key, 0.0):
            self.early[method] += 1  # it was told to wait, and did not
        times = self._windows.setdefault(key, deque())
        while times and now - times[0] >= window:
            times.popleft()
        if len(times) < most:
            times.append(now)
            return 0
        self._shut_until[key] = times[0] + window
        return int(times[0] + window - now) + 1

    def _slack(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"team_id": TEAM, "team": "bench", "user_id": BOT, "user": "keydesk", "bot_id": "B0KEYDESK"}
            case "users.info":
                return {"user": _user(str(args.get("user")))}
            case "users.profile.get":
                return {"profile": {"fields": {}}}
            case "usergroups.users.list":
                return {"users": [approver(number) for number in range(self.approvers)]}
            case "conversations.open":
                return {"channel": {"id": "D" + str(args.get("users"))[1:]}}
            case "chat.postMessage":
                self._posted += 1
                return {"channel": args.get("channel"), "ts": f"1700000000.{self._posted:06}"}
            case "chat.update":
                return {"channel": args.get("channel"), "ts": args.get("ts")}
            case "views.open" | "views.update" | "views.publish":
                return {"view": {"id": "V0BENCH", "type": "modal"}}
            case _:
                return {}

    def _vendor(self, verb: str, path: str, body: bytes) -> dict[str, Any]:
        name = json.loads(body or b"{}").get("name", "")
        if path == "/organization/projects":
            project = {"id": "proj_search", "name": "search-prod", "status": "active", "archived_at": None}
            return {"object": "list", "data": [project], "has_more": False, "last_id": None}
        if path.endswith("/api_keys"):
            value = f"sk-svcacct-{secrets.token_urlsafe(48)}"
            return {"id": "key_1", "name": name, "value": value, "expires_at": int(time.time()) + 86400}
        if path.endswith("/service_accounts"):
            return {"id": f"user-{secrets.token_hex(8)}", "name": name}
        account = path.rpartition("/")[2]
        return {"id": account, "deleted": True} if verb == "DELETE" else {"id": account, "name": "account"}


class _Wire(asyncio.Protocol):
    """Just enough HTTP/1.1: requests with a Content-Length, answers with one."""

    def __init__(self, far: FarSide) -> None:
        self._far = far
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        while True:
            head, between, rest = self._got.partition(b"\r\n\r\n")
            if not between:
                return
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            if len(rest) < length:
                return
            self._got = rest[length:]
            verb, target, _ = head.partition(b"\r\n")[0].decode().split(" ", 2)
            path, _, query = target.partition("?")
            status, headers, body, takes = self._far.answer(verb, path, query, rest[:length])
            more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            content = json.dumps(body).encode()
            answer = (
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{more}\r\n"
            ).encode() + content
            if takes:
                vendor = path.startswith("/openai") and verb != "GET"
                asyncio.get_running_loop().call_later(
                    takes, self._send, answer, time.perf_counter() if vendor else None
                )
            else:
                self._send(answer, None)

    def _send(self, answer: bytes, begun: float | None) -> None:
        if begun is not None:
            self._far.provider_busy += time.perf_counter() - begun
        self._transport.write(answer)  # type: ignore[attr-defined]  # a stream's transport, by the server's making


def _arguments(query: str, body: bytes) -> dict[str, Any]:
    args: dict[str, Any] = dict(parse_qsl(query))
    if body[:1] == b"{":
        args |= json.loads(body)
    elif body:
        args |= dict(parse_qsl(body.decode()))
    return args


def _user(who: str) -> dict[str, Any]:
    profile = {"display_name": who.lower(), "real_name": who}
    flags = dict.fromkeys(("deleted", "is_bot", "is_restricted", "is_ultra_restricted"), False)
    return {"id": who, "team_id": TEAM, "name": who.lower(), "profile": profile, **flags}


def _listener() -> socket.socket:
    # The protocol is named so that asyncio switches Nagle's algorithm off.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, 0))
    return listener


# ---- what arrives at the desk


def command(text: str, who: str) -> Ask:
    """A signed `/apikey` command."""
    fields = {
        "token": "t",
        "team_id": TEAM,
        "team_domain": "bench",
        "channel_id": "C0GENERAL",
        "channel_name": "general",
        "user_id": who,
        "user_name": who.lower(),
        "command": "/apikey",
        "text": text,
        "api_app_id": "A0BENCH",
        "is_enterprise_install": "false",
        "response_url": f"http://{HOST}:9/response/none",
        "trigger_id": f"{secrets.token_hex(6)}.1.{secrets.token_hex(8)}",
    }
    return Ask(urlencode(fields), secret=SIGNING_SECRET)


def click(action: str, value: str, who: str, *, far_port: int, channel: str = "", ts: str = "1700000000.000001") -> Ask:
    """A signed press on a button of a message."""
    channel = channel or "D" + who[1:]
    button = {"type": "button", "action_id": action, "block_id": "b", "value": value, "action_ts": "1700000001.000001"}
    payload = {
        "type": "block_actions",
        "trigger_id": f"{secrets.token_hex(6)}.1.{secrets.token_hex(8)}",
        "response_url": f"http://{HOST}:{far_port}/response/{secrets.token_hex(4)}",
        "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
        "channel": {"id": channel, "name": "directmessage"},
        "state": {"values": {}},
        "message": {"type": "message", "ts": ts, "user": BOT, "text": "A card.", "blocks": []},
        "actions": [button],
        **_common(who),
    }
    return Ask(urlencode({"payload": json.dumps(payload)}), secret=SIGNING_SECRET)


def submission(who: str) -> Ask:
    """A signed request form."""
    state = {
        "provider": {"type": "static_select", "selected_option": {"value": "openai"}},
        "project": {"type": "external_select", "selected_option": {"value": "proj_search"}},
        "permission": {"type": "static_select", "selected_option": {"value": "chat"}},
        "duration": {"type": "plain_text_input", "value": "7d"},
        "budget": {"type": "plain_text_input", "value": "25"},
        "reason": {"type": "plain_text_input", "value": "Nightly evaluation of the search prompts"},
    }
    view = {
        "id": f"V{secrets.token_hex(5).upper()}",
        "type": "modal",
        "callback_id": "request_form",
        "private_metadata": "",
        "state": {"values": {name: {name: told} for name, told in state.items()}},
        "blocks": [],
    }
    payload = {"type": "view_submission", "trigger_id": "1.1.x", "view": view, "response_urls": [], **_common(who)}
    return Ask(urlencode({"payload": json.dumps(payload)}), secret=SIGNING_SECRET)


def event(kind: str, who: str) -> Ask:
    """A signed event."""
    payload = {
        **_common(who),
        "type": "event_callback",
        "team_id": TEAM,
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": 1700000000,
        "event": {"type": kind, "user": who},
    }
    return Ask(json.dumps(payload), kind="application/json", secret=SIGNING_SECRET)


def _common(who: str) -> dict[str, Any]:
    return {
        "team": {"id": TEAM, "domain": "bench"},
        "user": {"id": who, "username": who.lower(), "name": who.lower(), "team_id": TEAM},
        "api_app_id": "A0BENCH",
        "token": "t",
        "enterprise": None,
        "is_enterprise_install": False,
    }


# ---- what the store holds before


async def fill(database_url: str, *, requests: int, askers: int, approvers: int, name: str = "") -> list[str]:
    """Pending requests whose cards stand everywhere they would: at each approver, in the channel, at who asked.

    Written through the store's own transactions. Returns their ids.
    """
    upgrade(database_url)
    store = SqlStore.open(database_url)
    ids = [f"r_{name}{number:06}" for number in range(requests)]
    try:
        for begin in range(0, requests, 500):
            batch = range(begin, min(begin + 500, requests))

            def act(tx: Transaction, batch: range = batch) -> None:
                for n in batch:
                    _ask(tx, ids[n], n % askers, approvers)

            await store.write(act)
    finally:
        await store.close()
    return ids


async def everybody_read(database_url: str, askers: int) -> None:
    """So many who ask have just acknowledged how to keep a key safe."""
    store = SqlStore.open(database_url)

    def act(tx: Transaction) -> None:
        for number in range(askers):
            tx.learn(TEAM, member(number), datetime.now(UTC))

    try:
        await store.write(act)
    finally:
        await store.close()


def _ask(tx: Transaction, request_id: str, asker: int, approvers: int) -> None:
    now = datetime.now(UTC)
    scope = Scope("openai", "proj_search", "chat", 2500)
    reason = "Nightly evaluation of the search prompts"
    draft = Draft(scope, "search-prod", timedelta(days=7), reason, "OpenAI", "Chat completions")
    who = member(asker)
    tx.add(AccessRequest(TEAM, request_id, who, draft, "everyday keys", RequestState.PENDING, now, f"V{request_id}"))
    cards = [(NoticeKind.RECEIPT, who), (NoticeKind.APPROVAL, CHANNEL)]
    cards += [(NoticeKind.APPROVAL, approver(number)) for number in range(approvers)]
    for number, (kind, recipient) in enumerate(cards):
        place = recipient if recipient[0] == "C" else "D" + recipient[1:]
        notice = f"n_{request_id}_{number}"
        tx.add(Notice(TEAM, notice, kind, request_id, recipient, 1, 1, now, place, f"1700000000.{number:06}"))
    tx.record(team=TEAM, at=now, actor=who, act=Act.SUBMITTED, subject=request_id)


# ---- processes


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves on a port."""

    process: asyncio.subprocess.Process
    port: int
    seconds: float  # from its start until it served

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://{HOST}:{self.port}"

    @property
    def rss(self) -> int:
        """Its resident memory in bytes; Linux alone tells."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        """Seconds of the processor that it took till now; Linux alone tells."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def desk(
    folder: Path, far_port: int, *, database_url: str = "", before: Sequence[str] = ("app.py", "run")
) -> AsyncIterator[Running]:
    """`app.py run`, answering /readyz. `before` is what Python is told: another command line, or a profiler's."""
    policy = folder / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SLACK_BOT_TOKEN": "xoxb-benchmark",
        "SLACK_APP_TOKEN": "",
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "SLACK_CLIENT_ID": "1.1",
        "SLACK_CLIENT_SECRET": "benchmark",
        "SLACK_API_URL": f"http://{HOST}:{far_port}/api/",
        "PUBLIC_URL": f"http://{HOST}:{port}",
        "SESSION_SECRET": SESSION_SECRET,
        "DATABASE_URL": database_url or f"sqlite:///{folder}/keydesk.db",
        "POLICY_FILE": str(policy),
        "OPENAI_ADMIN_KEY": "sk-admin-benchmark",
        "OPENAI_BASE_URL": f"http://{HOST}:{far_port}/openai/v1",
        "HOST": HOST,
        "PORT": str(port),
        "LOG_LEVEL": "warning",
    }
    arguments = [before[0] if before[0][0] == "-" else str(ROOT / before[0]), *before[1:]]
    async with _process(arguments, folder, environment, port, "/readyz") as running:
        yield running


@asynccontextmanager
async def peer(kind: str, folder: Path, far_port: int = 0) -> AsyncIterator[Running]:
    """One of `PEERS`, serving."""
    port = free_port()
    arguments = ["-m", "benchmarks.desks", kind, str(port), str(far_port), str(folder)]
    async with _process(arguments, folder, {**os.environ, "PYTHONPATH": str(ROOT)}, port, "/healthz") as running:
        yield running


@asynccontextmanager
async def far_side(folder: Path, **given: Any) -> AsyncIterator[Running]:
    """A `FarSide` in a process of its own."""
    told = json.dumps(asdict(FarSide(**given)), default=str)
    arguments = ["-m", "benchmarks.desks", "far", "0", told, str(folder)]
    async with _process(arguments, folder, {**os.environ, "PYTHONPATH": str(ROOT)}, 0, "") as running:
        yield running


async def counts(far: Running) -> Counter[str]:
    """How often each method was called at a `far_side`."""
    reader, writer = await asyncio.open_connection(HOST, far.port)
    writer.write(b"GET /counts HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    found = Counter(json.loads(await reader.read(1 << 16)))
    writer.close()
    return found


async def quiet(far: Running, database: Path, *, patience: float = 60.0, for_seconds: float = 0.5) -> float:
    """Waits until no notice of the SQLite file is owed any more and nothing calls; the seconds until the last call.

    Raises `TimeoutError` after `patience` seconds without an end.
    """
    begin = last = time.perf_counter()
    before = await counts(far)
    reading = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        async with asyncio.timeout(patience):
            while time.perf_counter() - last < for_seconds:
                await asyncio.sleep(0.05)
                [owed] = reading.execute("SELECT count(*) FROM notices WHERE shown < wanted").fetchone()
                now = await counts(far)
                if owed or now != before:
                    before, last = now, time.perf_counter()
    finally:
        reading.close()
    return last - begin


@asynccontextmanager
async def _process(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], port: int, health: str
) -> AsyncIterator[Running]:
    log = folder / f"{re.sub('[^a-z]+', '-', ' '.join(arguments[:3]).lower())[-40:]}.log"
    begin = time.perf_counter()
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=folder, env=dict(environment), stdout=asyncio.subprocess.PIPE, stderr=stderr
        )
    try:
        if health:
            await _healthy(process, port, health, log)
        elif process.stdout:
            port = int(await process.stdout.readline())
        yield Running(process, port, time.perf_counter() - begin)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), 45)
        except TimeoutError:
            process.kill()
            await process.communicate()


async def _healthy(process: asyncio.subprocess.Process, port: int, path: str, log: Path) -> None:
    until = time.perf_counter() + START_SECONDS
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
    while time.perf_counter() < until and process.returncode is None:
        try:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(request)
            answer = await reader.readline()
            writer.close()
            if b" 200 " in answer:
                return
        except OSError:
            pass
        await asyncio.sleep(0.005)
    raise RuntimeError(f"a process did not start to serve: {log.read_text(encoding='utf-8')[-2000:]}")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="keydesk-bench-") as name:
        yield Path(name)


# ---- peers


def _bolt(far_port: int, *, process_before_response: bool = True) -> AsyncApp:
    client = AsyncWebClient(token="xoxb-benchmark", base_url=f"http://{HOST}:{far_port}/api/")
    return AsyncApp(
        client=client, signing_secret=SIGNING_SECRET, process_before_response=process_before_response, name="peer"
    )


def _empty(far_port: int, _: Path) -> Route:
    app = _bolt(far_port)

    @app.command("/apikey")
    async def acknowledge(ack: AsyncAck) -> None:
        await ack()

    return _served(app)


def _default(far_port: int, _: Path) -> Route:
    app = _bolt(far_port, process_before_response=False)

    @app.command("/apikey")
    async def acknowledge(ack: AsyncAck) -> None:
        await ack()

    return _served(app)


def _commit(far_port: int, folder: Path) -> Route:
    app = _bolt(far_port)
    writer = ThreadPoolExecutor(1)
    kept: list[sqlite3.Connection] = []

    def write() -> None:
        if not kept:
            connection = sqlite3.connect(folder / f"raw-{secrets.token_hex(4)}.db", isolation_level=None)
            connection.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (a TEXT, b TEXT, c TEXT)"
            )
            kept.append(connection)
        kept[0].execute("INSERT INTO t VALUES (?, ?, ?)", (secrets.token_hex(8), "x" * 100, "y" * 100))

    @app.action("approve")
    async def approve(ack: AsyncAck) -> None:
        await asyncio.get_running_loop().run_in_executor(writer, write)
        await ack()

    return _served(app)


def _commit_here(far_port: int, folder: Path) -> Route:
    app = _bolt(far_port)
    connection = sqlite3.connect(folder / f"raw-{secrets.token_hex(4)}.db", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (a TEXT, b TEXT, c TEXT)"
    )

    @app.action("approve")
    async def approve(ack: AsyncAck) -> None:
        connection.execute("INSERT INTO t VALUES (?, ?, ?)", (secrets.token_hex(8), "x" * 100, "y" * 100))
        await ack()

    return _served(app)


def _bare(_: int, __: Path) -> Route:
    verifier = SignatureVerifier(SIGNING_SECRET)

    async def take(request: Request) -> Response:
        body = await request.body()
        valid = verifier.is_valid_request(body, dict(request.headers.items()))
        return Response(status_code=200 if valid else 401)

    return Route("/slack/events", take, methods=["POST"])


def _modal(far_port: int, _: Path) -> Route:
    app = _bolt(far_port)
    policy = any_key()
    vendor = Vendor()
    form = views.request_form(Menu((Choice(vendor, Probe(vendor.abilities, ""), tuple(policy.file.rule)),)))

    @app.command("/apikey")
    async def open_form(ack: AsyncAck, body: dict[str, Any]) -> None:
        if app.client.session is None:
            app.client.session = skin.open_session()
        await app.client.users_info(user=body["user_id"])
        await app.client.views_open(trigger_id=body["trigger_id"], view=form)
        await ack()

    return _served(app)


def _served(app: AsyncApp) -> Route:
    return Route("/slack/events", AsyncSlackRequestHandler(app).handle, methods=["POST"])


PEERS: dict[str, Callable[[int, Path], Route]] = {
    "empty": _empty,  # Bolt with one listener that acknowledges
    "modal": _modal,  # the same, after the two calls of Slack that open the request form
    "default": _default,  # as the first, in Bolt's default mode
    "commit": _commit,  # Bolt with one raw SQLite commit on a thread before it acknowledges
    "commit_here": _commit_here,  # the same on the event loop, which then waits for the disk
    "bare": _bare,  # no Bolt: the signature is checked, that is all
}


def _serve_peer(kind: str, port: int, far_port: int, folder: Path) -> None:
    async def healthy(_: Request) -> Response:
        return Response()

    app = Starlette(routes=[PEERS[kind](far_port, folder), Route("/healthz", healthy)])
    uvicorn.run(app, host=HOST, port=port, log_config=None, access_log=False, server_header=False)


async def _serve_far_side(told: str) -> None:
    given = {
        name: value
        for name, value in json.loads(told).items()
        if name in ("approvers", "chat_seconds", "provider_seconds", "limited")
    }
    async with FarSide(**given).serving() as far:
        print(far.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """What `_process` starts."""
    parser = argparse.ArgumentParser(prog="benchmarks.desks")
    parser.add_argument("kind", choices=[*PEERS, "far"])
    parser.add_argument("port", type=int)
    parser.add_argument("told")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    if chosen.kind == "far":
        asyncio.run(_serve_far_side(chosen.told))
    else:
        _serve_peer(chosen.kind, chosen.port, int(chosen.told), chosen.folder)


if __name__ == "__main__":
    main()
