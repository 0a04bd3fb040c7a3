"""Marked secrets, and where to look for them: in everything that the desk wrote, sent or answered.

A secret counts as found when the whole of it stands there, or a half of 12 characters or more, in any of the forms
in which programs write bytes down.

What is added to the desk is added here:

- A secret of the settings: nothing to do. Every `SecretStr` is marked under its name.
- A provider: its administrative paths and the credential that belongs there go into `VENDORS`. The values that it
  answers a POST with are marked by themselves where they look as `VALUE` says.
- A secret that arises on the way, as a deposit that a person brings or a KEK that a file holds: `Watched.marked.add`
  where the test makes it up, or `mark_what_arose` where it is read from what went over the wire. Where it has to be
  said, `_without_what_belongs` takes it out at that one place.
- A flow: a function beside `opened_and_given_back` in test_canary.py, called by `test_every_flow`; its calls to Slack
  and to vendors join the lists there that `test_every_fault_at_every_call` breaks, its functions with a secret in
  hand join `clumsy`. And `plant` leaks it once, so that `test_the_canary_can_die` shows that it would be found.
"""

import asyncio
import base64
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import httpx
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect, text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.desk import envelope
from bot.desk.model import Secret
from bot.settings import Settings
from sandbox.client import Sandbox
from sandbox.server import Running, SandboxServer
from sandbox.workspace import Json
from storage.migrate import engine_url
from tests.flows.browsing import Browser, from_base64url

SHORTEST = 12  # characters of a half that give a secret away
VENDORS = {
    "/openai/v1/organization/": "openai_admin_key",
    "/anthropic/v1/organizations/": "anthropic_admin_key",
    **dict.fromkeys(
        (
            f"/openrouter/api/v1/{room}"
            for room in ("key", "workspaces", "guardrails", "analytics/", "credits", "models")
        ),
        "openrouter_management_key",
    ),
    **dict.fromkeys(
        (f"/litellm/{room}" for room in ("key/", "team/", "user/", "health/", "models")), "litellm_master_key"
    ),
}
"""Where a vendor is administered, and the credential of the sandbox that is shown there."""
VALUE = re.compile(rb'"(sk-[A-Za-z0-9_-]{20,})"')  # a key's; what stands for one has dots or stars in it
LINK = re.compile(rb'"url":\s*"(http://[^"#]+/k/[\w-]+#[\w-]{43})"')


class Marked:
    """Secrets by name, and the forms in which each would show."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        self.names: set[str] = set()

    def add(self, name: str, secret: str | bytes) -> None:
        """From now on this one is looked for, too. Several may bear one name."""
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) >= SHORTEST, f"{name} is too short to be told from chance"
        self.names.add(name)
        middle = len(raw) // 2
        for part in (raw[:middle], raw[middle:]) if middle >= SHORTEST else (raw,):
            for form in _forms(part):
                self._forms[form] = name

    def found(self, where: bytes | str) -> set[str]:
        """The names of those that stand there."""
        there = where.encode("utf-8", "surrogateescape") if isinstance(where, str) else where
        return {name for form, name in self._forms.items() if form in there}


def _forms(part: bytes) -> set[bytes]:
    """The bytes themselves and as base64, base64url, hex, in a URL, in JSON, and as Python shows them."""
    forms = {part, part.hex().encode(), part.hex().upper().encode(), repr(part)[2:-1].encode()}
    for shift in range(3):  # how many bytes stand before it within a group of three
        # The first and the last characters depend on the neighbours, too.
        coded = base64.b64encode(b"\0" * shift + part)[(0, 2, 3)[shift] :]
        sure = coded[: len(coded) - 4] if (shift + len(part)) % 3 else coded
        forms |= {sure, sure.translate(bytes.maketrans(b"+/", b"-_"))}
    try:
        words = part.decode()
    except UnicodeDecodeError:
        return forms
    return forms | {form.encode() for form in (quote(words, safe=""), quote_plus(words), json.dumps(words)[1:-1])}


@dataclass(frozen=True)
class Heard:
    """One request that the pretend Slack or the pretend OpenAI got, whatever became of it."""

    method: str
    path: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytearray


class OverheardServer(SandboxServer):
    """A sandbox that keeps every request before any fault meets it, and the value of every key that it answers with."""

    heard: list[Heard]
    values: list[str]

    def _assemble(self, scopes: Sequence[str], ack_seconds: float) -> ASGIApp:
        self.heard, self.values = [], []
        app = super()._assemble(scopes, ack_seconds)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"].startswith("/control/"):
                await app(scope, receive, send)
                return
            heard = Heard(scope["method"], scope["path"], scope["query_string"], scope["headers"], bytearray())
            self.heard.append(heard)

            async def hear() -> Message:
                message = await receive()
                heard.body.extend(message.get("body", b""))
                return message

            async def answer(message: Message) -> None:
                if heard.method == "POST" and not heard.path.startswith("/api/"):
                    self.values += [value.decode() for value in VALUE.findall(message.get("body", b""))]
                await send(message)

            await app(scope, hear, answer)

        return serve


@contextmanager
def overhearing() -> Iterator[tuple[Running, OverheardServer]]:
    """A sandbox in a thread of its own, overheard."""
    server = OverheardServer()
    thread = threading.Thread(target=server.serve_here, name="sandbox")
    thread.start()
    try:
        yield server.running, server
    finally:
        server.stop()
        thread.join()


@dataclass
class Watched:
    """What one desk, or several on one sandbox, could have leaked to, and what must not be there."""

    server: OverheardServer
    folder: Path
    database_url: str
    marked: Marked = field(default_factory=Marked)
    answers: list[bytes] = field(default_factory=list)
    processes: list[bytes] = field(default_factory=list)
    slack_tokens: set[str] = field(init=False)
    vendor_keys: set[str] = field(init=False)

    def __post_init__(self) -> None:
        told = self.server.running
        self.slack_tokens = {told.bot_token, told.app_token}
        self.vendor_keys = {getattr(told, name) for name in VENDORS.values()}

    @property
    def kept(self) -> Path:
        """Where the desks' own processes write down each seed, for this watch alone."""
        return self.folder / "seeds"

    def mark_settings(self, settings: Settings) -> None:
        """Everything in the settings that is not for all eyes."""
        for name, value in settings:
            if (
                isinstance(value, SecretStr) and name != "database_url"
            ):  # a file's name may be told; a password is marked
                self.marked.add(name, value.get_secret_value())

    def mark_processes(self, *pids: int) -> None:
        """Takes down what any user of the machine, or the same one, sees of these processes."""
        self.processes += [Path(f"/proc/{pid}/{what}").read_bytes() for pid in pids for what in ("cmdline", "environ")]

    def mark_what_arose(self, record: Json) -> None:
        """Keys, seeds, access tokens, codes and tokens of sign-ins: all that came to be since. `record` is Slack's."""
        for value in self.server.values:
            self.marked.add("key", value)
        for line in self.kept.read_text().split() if self.kept.exists() else ():
            seed = from_base64url(line)
            self.marked.add("seed", line)
            self.marked.add("seed", seed)
            self.marked.add("access token", envelope.access_token(seed))
        for heard in self.server.heard:
            if heard.path == "/api/openid.connect.token":
                for code in re.findall(rb"(?:^|&)code=([^&]+)", bytes(heard.body)):
                    if len(code) >= SHORTEST:  # `check` shows none
                        self.marked.add("code", unquote_plus(code.decode()))
        for call in record["calls"]:
            if call["method"] == "openid.connect.token" and call["response"]["ok"]:
                self.marked.add("OpenID access token", call["response"]["access_token"])
                self.marked.add("OpenID id token", call["response"]["id_token"])

    def listen(self, http: httpx.AsyncClient) -> None:
        """Takes down every answer of the desk's to this client, its headers too, and marks the cookies it gets."""

        async def hear(answer: httpx.Response) -> None:
            body = await answer.aread()
            told = [(name, value) for name, value in answer.headers.raw if name.lower() != b"set-cookie"]
            for name, value in answer.cookies.items():
                if name.endswith("keydesk_session") and value.strip('"') not in ("", "null"):
                    self.marked.add("session cookie", value)
            self.answers.append(b"\n".join([b"%s: %s" % pair for pair in told] + [body]))

        http.event_hooks["response"].append(hear)

    @asynccontextmanager
    async def browser(self, public_url: str) -> AsyncIterator[Browser]:
        """A browser whose every answer is taken down."""
        async with Browser(public_url) as browser:
            self.listen(browser.http)
            yield browser

    def said_to_slack(self) -> Iterator[bytes]:
        """All that was sent to Slack and to the provider, without what has to be sent there."""
        for heard in self.server.heard:
            if heard.path.startswith(("/api/", "/response/", *VENDORS, "/.well-known", "/openid/conn")):
                yield self._without_what_belongs(heard)
        for delivery in list(self.server._deliveries.record):
            yield json.dumps(delivery.response_body).encode()

    def _without_what_belongs(self, heard: Heard) -> bytes:
        """A request less the credential in its header, the exchange of a code, and the one button that hands a link over."""
        bearers = self.vendor_keys if heard.path.startswith(tuple(VENDORS)) else self.slack_tokens
        allowed = {f"Bearer {token}".encode() for token in bearers}
        exchange = heard.path == "/api/openid.connect.token"
        if exchange:
            told = self.server.running
            allowed.add(b"Basic " + base64.b64encode(f"{told.client_id}:{told.client_secret}".encode()))
        shown = {(b"authorization", value) for value in allowed} | {(b"x-api-key", token.encode()) for token in bearers}
        headers = [pair for pair in heard.headers if (pair[0].lower(), pair[1]) not in shown]
        body = bytes(heard.body)
        if heard.path == "/litellm/key/generate":  # where the desk chooses the value, it has to say it here
            body = re.sub(rb'"key":\s*"[^"]*"', b'"key": "(chosen)"', body, count=1)
        if exchange:
            body = re.sub(rb"(^|&)(code|client_secret)=[^&]+", b"", body)
        private = heard.path.startswith("/response/") and b'"response_type": "ephemeral"' in body
        if private or heard.path == "/api/views.update":
            body = LINK.sub(b'"url": "(handed over)"', body, count=1)
        lines = [f"{heard.method} {heard.path}".encode(), heard.query, *(b"%s: %s" % pair for pair in headers), body]
        return b"\n".join(lines)

    def places(self) -> Iterator[tuple[str, bytes]]:
        """Every place with what stands in it."""
        for said in self.said_to_slack():
            yield "Slack", said
        for log in sorted(self.folder.glob("*.log")):
            yield f"log {log.name}", log.read_bytes()
        yield "database", b"\n".join(database(self.database_url))
        for answer in self.answers:
            yield "HTTP answers", answer
        for process in self.processes:
            yield "processes", process

    async def leaks(self, sandbox: Sandbox) -> dict[str, set[str]]:
        """The names of the secrets that are where they must not be, by place."""
        self.mark_what_arose(await sandbox.record())
        return await asyncio.to_thread(self._leaks)

    def _leaks(self) -> dict[str, set[str]]:
        leaks: dict[str, set[str]] = {}
        for place, stands in self.places():
            if found := self.marked.found(stands):
                leaks.setdefault(place, set()).update(found)
        return leaks


def database(url: str) -> Iterator[bytes]:
    """Every byte that a backup would hold: each row of each table, and on SQLite the files as they lie."""
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        yield from (path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))
    engine = create_engine(engine_url(url))
    try:
        with engine.connect() as connection:
            for table in inspect(connection).get_table_names():
                for row in connection.execute(text(f'SELECT * FROM "{table}"')):  # noqa: S608  (names from the schema)
                    yield b"\x1f".join(_column(value) for value in row)
    finally:
        engine.dispose()


def _column(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def keep_seeds(file: Path) -> None:
    """In a desk's process: every seed is written down there, also of links that come to nothing."""
    seal = envelope.seal

    def sealed(secret: Secret, *, seed: bytes, **how: Any) -> bytes:
        told = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(told, envelope.base64url(seed).encode() + b"\n")
        os.close(told)
        return seal(secret, seed=seed, **how)

    setattr(envelope, "seal", sealed)  # noqa: B010  (as above)
