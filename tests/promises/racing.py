"""What races are run with: many things in a given state at once, and requests that leave in the same moment."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import create_engine, select, true

from bot.desk import envelope
from bot.desk.audit import Entry, stamp, verify
from bot.desk.ids import new_id
from bot.desk.model import (
    AccessRequest,
    Context,
    Decision,
    Draft,
    Grant,
    Key,
    Link,
    Notice,
    NoticeKind,
    Ruling,
    Scope,
    Secret,
)
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from sandbox.client import Message
from sandbox.workspace import TEAM
from storage.migrate import engine_url
from storage.rows import table, to_domain
from tests.flows.browsing import Browser
from tests.promises.world import Desks

Thing = TypeVar("Thing", AccessRequest, Decision, Grant, Key, Link, Notice)

PATIENCE = 25.0  # seconds; below what the sandbox's client waits
HOLDER, DECIDER = "U0BEN", "U0ANA"
DRAFT = Draft(
    scope=Scope("openai", "proj_search", "chat", 2500),
    project_name="search-prod",
    duration=timedelta(days=7),
    reason="Nightly evaluation of the search prompts",
    provider_name="OpenAI",
    permission_name="Chat completions",
)


# ---- things in a given state, many at once


def request(state: RequestState) -> AccessRequest:
    """One of the holder's, in this state."""
    id = new_id("r", os.urandom)
    return AccessRequest(
        team=TEAM,
        id=id,
        requester=HOLDER,
        draft=DRAFT,
        rule="everyday keys",
        state=state,
        created_at=datetime.now(UTC),
        origin=f"race {id}",
    )


def notice(kind: NoticeKind, about: AccessRequest, recipient: str) -> Notice:
    """One that is due at once."""
    return Notice(
        team=about.team,
        id=new_id("n", os.urandom),
        kind=kind,
        about=about.id,
        recipient=recipient,
        wanted=1,
        shown=0,
        due_at=datetime.now(UTC),
    )


def approved(asked: AccessRequest, state: GrantState) -> tuple[Decision, Grant]:
    """That somebody approved a request, and the grant that came of it."""
    now = datetime.now(UTC)
    grant = Grant(
        team=asked.team,
        id=new_id("g", os.urandom),
        request_id=asked.id,
        holder=asked.requester,
        draft=asked.draft,
        state=state,
        created_at=now,
    )
    return Decision(asked.team, asked.id, DECIDER, Ruling.APPROVE, "", now), grant


@dataclass(frozen=True)
class SealedLink:
    """A link with all that its holder has of it, and all that nobody else may get."""

    id: str
    seed: bytes
    envelope: bytes
    secret: str
    context: Context

    def traces_in(self, raw: bytes) -> bool:
        """Whether any 6 bytes in a row of the envelope are in there, as base64url or as they are."""
        written = envelope.base64url(self.envelope).encode()
        return any(
            form[start : start + length] in raw
            for form, length in ((written, 8), (self.envelope, 6))
            for start in range(len(form) - length + 1)
        )


async def sealed_links(desks: Desks, count: int) -> list[SealedLink]:
    """So many open links of the holder, each of a grant and with an envelope of its own, in one transaction.

    Their keys are at the provider: an inventory in the middle of a race would end the grants of keys that are not.
    """
    made = [_sealed(f"example-secret-{number}-{os.urandom(16).hex()}", await _minted(desks)) for number in range(count)]

    def act(tx: Transaction) -> None:
        for things, _ in made:
            for thing in things:
                tx.add(thing)

    await desks.flow.store.write(act)
    return [link for _, link in made]


async def keys_in_use(desks: Desks, count: int) -> list[tuple[AccessRequest, Grant, Key]]:
    """So many keys of the holder, which they have had for a moment, in one transaction."""
    made: list[tuple[AccessRequest, Grant, Key]] = []
    decisions: list[Decision] = []
    now = datetime.now(UTC)
    for _ in range(count):
        asked, (id, handle) = request(RequestState.APPROVED), await _minted(desks)
        decision, bare = approved(asked, GrantState.ACTIVE)
        grant = replace(bare, key_id=id, held_since=now, expires_at=now + DRAFT.duration)
        decisions.append(decision)
        made.append((asked, grant, _key(grant, id, handle, KeyState.LIVE)))

    def act(tx: Transaction) -> None:
        for decision, things in zip(decisions, made, strict=True):
            for thing in (*things, decision):
                tx.add(thing)

    await desks.flow.store.write(act)
    return made


async def _minted(desks: Desks) -> tuple[str, str]:
    """A key at the provider, that nothing else is done with: the id in its name, and its handle."""
    id, flow = new_id("k", os.urandom), desks.flow
    accounts = f"{flow.servers.openai_url}/organization/projects/{DRAFT.scope.project}/service_accounts"
    admin = {"Authorization": f"Bearer {flow.servers.openai_admin_key}"}
    body: dict[str, Any] = {"name": f"keydesk-{id}", "create_service_account_only": True}
    account = await flow.http.post(accounts, headers=admin, json=body)
    handle = account.json()["id"]
    answer = await flow.http.post(f"{accounts}/{handle}/api_keys", headers=admin, json={"name": f"keydesk-{id}"})
    assert answer.status_code == 200, answer.text
    return id, handle


def _sealed(
    secret: str, minted: tuple[str, str]
) -> tuple[Sequence[AccessRequest | Decision | Grant | Key | Link], SealedLink]:
    now = datetime.now(UTC)
    asked = request(RequestState.APPROVED)
    decision, grant = approved(asked, GrantState.DELIVERING)
    (key_id, handle), link_id = minted, envelope.base64url(os.urandom(16))
    seed, expires_at = os.urandom(envelope.SEED_BYTES), now + timedelta(minutes=15)
    context = Context(TEAM, HOLDER, grant.id, key_id, link_id, stamp(expires_at))
    sealed = envelope.seal(Secret(secret), seed=seed, nonce=os.urandom(envelope.NONCE_BYTES), context=context)
    grant = replace(grant, key_id=key_id, expires_at=now + DRAFT.duration)
    key = _key(grant, key_id, handle, KeyState.SEALED)
    link = Link(
        team=TEAM,
        id=link_id,
        grant_id=grant.id,
        key_id=key_id,
        holder=HOLDER,
        state=LinkState.OPEN,
        token_hash=envelope.token_hash(envelope.access_token(seed)),
        envelope=sealed,
        created_at=now,
        expires_at=expires_at,
    )
    return (asked, decision, grant, key, link), SealedLink(link_id, seed, sealed, secret, context)


def _key(grant: Grant, id: str, handle: str, state: KeyState) -> Key:
    """The grant's key, which is at the provider under this handle."""
    return Key(
        team=TEAM,
        id=id,
        grant_id=grant.id,
        provider="openai",
        project=DRAFT.scope.project,
        marker=f"keydesk-{id}",
        state=state,
        intended_at=datetime.now(UTC),
        handle=handle,
        fingerprint="exa…mple",
        expires_at=grant.expires_at,
    )


# ---- requests that leave in the same moment


@dataclass(frozen=True)
class Answer:
    """What came back, whole: `raw` is every byte, the head's too."""

    status: int
    raw: bytes

    @property
    def told(self) -> dict[str, Any]:
        """The JSON in it."""
        body: dict[str, Any] = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        return body


class Reader:
    """A signed-in browser session with an open connection to one of the desks."""

    def __init__(self, origin: str, cookie: str, csrf: str) -> None:
        self._origin = origin
        self._cookie = cookie
        self._csrf = csrf
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        address = urlsplit(self._origin)
        self._streams = await asyncio.open_connection(address.hostname, address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._streams
        self._streams[1].close()
        await self._streams[1].wait_closed()

    def send(self, path: str, body: dict[str, Any]) -> None:
        """Sends at once; `hear` waits for the answer."""
        assert self._streams
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {urlsplit(self._origin).netloc}\r\nOrigin: {self._origin}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"Cookie: {self._cookie}\r\nX-CSRF-Token: {self._csrf}\r\n\r\n"
        )
        self._streams[1].write(head.encode() + content)

    def claim(self, link: SealedLink) -> None:
        """Presses *Show the key*."""
        self.send(f"/api/links/{link.id}/claim", {"token": envelope.access_token(link.seed)})

    async def hear(self) -> Answer:
        """The whole answer."""
        assert self._streams
        async with asyncio.timeout(PATIENCE):
            head = await self._streams[0].readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            return Answer(int(head[9:12]), head + await self._streams[0].readexactly(length))


@asynccontextmanager
async def readers(desks: Desks, count: int) -> AsyncIterator[list[Reader]]:
    """So many browsers of the holder, each signed in for itself, connected to the desks by turns."""
    origins = [process.settings.public_url for process in desks.processes]
    open_ones: list[Reader] = []
    try:
        for number in range(count):
            async with Browser(origins[number % len(origins)]) as browser:
                await browser.sign_in(HOLDER)
                cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
                reader = Reader(browser.public_url, cookie, browser.csrf)
            open_ones.append(await reader.__aenter__())
        yield open_ones
    finally:
        for reader in open_ones:
            await reader.__aexit__()


# ---- what became of it


async def entries(desks: Desks) -> list[Entry]:
    """The audit log; the chain must fit."""
    chain, head = await desks.flow.store.audit_chain(TEAM)
    assert verify(chain, head) is None
    return list(chain)


class Rows:
    """What the database holds, seen from outside the desks."""

    def __init__(self, database_url: str) -> None:
        self._engine = create_engine(engine_url(database_url), pool_pre_ping=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._engine.dispose)

    async def of(self, kind: type[Thing], where: Callable[[Any], Any] = lambda rows: true()) -> list[Thing]:
        """The things of this kind for which it is true: `of(Notice, lambda rows: rows.c.shown < rows.c.wanted)`."""
        rows = table(kind)

        def look() -> list[Thing]:
            with self._engine.connect() as connection:
                found = connection.execute(select(rows).where(where(rows))).mappings()
                return [to_domain(kind, row) for row in found]

        return await asyncio.to_thread(look)

    async def all_is_shown(self) -> None:
        """Waits until every message says what it should."""
        await self._none(Notice, lambda rows: rows.c.shown < rows.c.wanted)

    async def all_is_done(self) -> None:
        """Waits until no key is being made or revoked, and every message says so."""
        await self.all_keys_are_settled()
        await self.all_is_shown()

    async def all_keys_are_settled(self) -> None:
        """Waits until no key is being made or revoked."""
        await self._none(Key, lambda rows: rows.c.state.in_([KeyState.MINTING, KeyState.REVOKING]))

    async def _none(self, kind: type[Thing], where: Callable[[Any], Any]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while found := await self.of(kind, where):
            assert loop.time() < end, f"not done within {PATIENCE} s: {found[:3]}"
            await asyncio.sleep(0.05)


async def told_about(
    desks: Desks, rows: Rows, wanted: Sequence[tuple[AccessRequest, NoticeKind, str]]
) -> dict[tuple[str, str], Message]:
    """Has these notices posted: the messages, by request and recipient."""
    notices = [notice(kind, about, recipient) for about, kind, recipient in wanted]

    def act(tx: Transaction) -> None:
        for one in notices:
            tx.add(one)

    await desks.flow.store.write(act)
    await desks.processes[0].sweep()
    await rows.all_is_shown()
    return await messages(desks, rows)


async def messages(desks: Desks, rows: Rows, *kinds: NoticeKind) -> dict[tuple[str, str], Message]:
    """What stands in front of members: by request and recipient. Without kinds, what each was told first."""
    seen: dict[tuple[str, str], Message] = {}
    notices = await rows.of(Notice, lambda rows: rows.c.kind.in_(kinds or list(NoticeKind)))
    for recipient in {one.recipient for one in notices}:
        member = desks.flow.sandbox.member(recipient)
        seen |= {(one.channel, one.ts): one for one in await member.messages()}
    return {(one.about, one.recipient): seen[one.channel or "", one.ts or ""] for one in notices}
