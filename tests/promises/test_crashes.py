"""A desk is killed before and after each commit and each act beyond it; nothing is lost, and no key lives unknown.

Each death is a real SIGKILL of a real process. The desk is started again, its people do again what got no answer, time
passes, one sweep runs: no key lives that the desk does not know of, none counts twice, every message tells how it
stands, and the holder comes to the end.

Where desks can die is read from the source (`dying.points`). **A new step needs a crash test**: whoever adds a commit, a
call of a vendor or a call of Slack finds the suite red until its name, which the failure tells,

1. is a point of a `Story`: of one that comes to it already, or of a new one (how the way stands `before`, the `step`
   that leads there, what people do `again`, and what the way comes to in the `end`);
2. has its line in docs/lifecycle.md, under "What each crash point leaves".

The whole matrix runs on SQLite; where a later story comes to a point again, a desk dies only after it: before it stands
what the point before has left. Of the other vendors there is one pick-up and one revocation each; what else they have is
told in `ELSEWHERE`, with the test that shows it. On PostgreSQL, where a crash differs by what a dead connection leaves of a transaction
and its locks, a desk dies once after each commit and each vendor's act.

`make crashes` runs all of it, in minutes. Each run of the suite kills desks at `HEART` alone, and holds the lists to the source.
"""

import asyncio
import os
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Engine, and_, create_engine, not_, select

from bot import providers
from bot.desk import audit, envelope
from bot.desk.linting import kinds, load
from bot.desk.model import AccessRequest, Context, Grant, Key, Link, Notice, RoundKind
from bot.desk.offer import KeyStatus
from bot.desk.providers import Providers
from bot.desk.revoking import LOOK_AGAIN, QUARANTINE
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import tell
from bot.desk.watch import LEASE, STALLED_AFTER
from bot.providers import deposit
from bot.slack import views
from sandbox.client import Ack, Member, Message, View
from sandbox.server import running as sandbox_running
from storage.migrate import engine_url
from storage.rows import table, to_domain
from tests.flows.browsing import Browser, from_base64url, split
from tests.flows.test_deposits import FIRST as KEK
from tests.flows.test_deposits import KINDS as BROUGHT_KINDS
from tests.flows.world import ASK, World
from tests.flows.world import POLICY as MANY_APPROVERS
from tests.processes import DeskProcess
from tests.promises.dying import ROOT, Dying, points, slack_calls, ways_out
from tests.promises.world import desks
from tests.web.test_deposit import sealed as seal_to_desk

Thing = TypeVar("Thing", AccessRequest, Grant, Key, Link, Notice)

POLICY = MANY_APPROVERS.replace('approvers = ["manager", "S0PLATFORM"]', 'approvers = ["manager"]')
"""One approver, and the channel: each message more makes each way slower, and says nothing more."""
POLICY += BROUGHT_KINDS
BROUGHT = "brought-0123456789-abcdefghijklmnopqrstuvwxyz"
PROJECT = "proj_search"
SCOPES: Mapping[str, Mapping[str, str]] = {
    "openai": {},
    "openrouter": {"permission": "embeddings"},
    "litellm": {"project": "team-lab", "permission": "embeddings"},
}
"""What Ben asks for at each provider, where it is not what `ASK` says."""
PATIENCE = 120.0  # seconds of real time for what the desk does at once, on a machine busy with much else
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WAYS_ON_ONE_STAGE = 12  # then the messages of earlier ways make looking slow
AGAIN = (audit.Act.PICK_UP_STARTED, audit.Act.UNWRAPPED)
DEAD = (KeyState.REVOKED, KeyState.VOID)


LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class Stage:
    """A desk that can die, its sandbox, and what there is to see of both."""

    flow: World
    desk: DeskProcess
    dying: Dying
    browser: Browser
    other_browser: Browser
    depositor: Browser
    database: Engine
    vendors: Providers
    provider: str
    scope: Mapping[str, str]
    lived: set[str] = field(default_factory=set)
    died_at: datetime = LONG_AGO
    ways: int = 0
    sound: bool = True

    def rows(self, kind: type[Thing]) -> list[Thing]:
        """All that the desk holds of a kind."""
        with self.database.connect() as connection:
            return [to_domain(kind, row) for row in connection.execute(select(table(kind))).mappings()]

    async def dies(self, point: str, when: str, step: Callable[[], Awaitable[None]], *, since: str = "") -> list[str]:
        """The step, of which the desk dies there; started again. The points that it came to before it died."""
        await self.settled()
        met = len(self.dying.met())
        self.dying.at(point, when, since=since)
        await step()
        died = await self.desk.died(PATIENCE)
        came_to = self.dying.met()[met:]
        assert died, f"it did not come to {point}, but to {came_to}\n{self.desk.said()[-3000:]}"
        assert self.desk.exit_code == -signal.SIGKILL
        self.died_at = self.flow.clock()
        self.lived |= set(await self.accounts())
        self.dying.nowhere()
        await self.desk.start()
        return came_to

    async def accounts(self) -> list[str]:
        """What lives at the provider, by its marker: at OpenAI the service accounts, elsewhere the keys."""
        if self.provider != "openai":
            listing = self.vendors[self.provider].keys()
            names = [key.name async for key in listing if key.status is not KeyStatus.GONE]
            return [name for name in names if name.startswith("keydesk-")]
        answer = await self.flow.http.get(
            f"{self.flow.servers.openai_url}/organization/projects/{PROJECT}/service_accounts",
            params={"limit": 100},
            headers={"Authorization": f"Bearer {self.flow.servers.openai_admin_key}"},
        )
        return [account["name"] for account in answer.json()["data"]]

    async def settled(self) -> None:
        """Returns once the desk has nothing to do now. What a desk that died had leased waits for its lease to end."""
        until = time.monotonic() + PATIENCE
        while left := self._left():
            assert time.monotonic() < until, f"still to do: {left}\n{self.desk.said()[-3000:]}"
            await asyncio.sleep(0.02)

    def _left(self) -> list[tuple[Any, ...]]:
        now = self.flow.clock()
        notices, keys = table(Notice), table(Key)
        # One whose mint may yet land is looked for again in a while; what is leased is due later than that.
        marked = and_(keys.c.fingerprint.is_(None), keys.c.due_at > now, keys.c.due_at <= now + LOOK_AGAIN)
        undone = (
            select(notices.c.kind, notices.c.due_at).where(notices.c.shown < notices.c.wanted),
            select(keys.c.id, keys.c.due_at).where(keys.c.state == KeyState.REVOKING.value, not_(marked)),
        )
        with self.database.connect() as connection:
            found = [tuple(row) for query in undone for row in connection.execute(query)]
        return [row for row in found if not now < row[1] <= self.died_at + LEASE]

    async def later(self, by: timedelta) -> None:
        """Time passes, one sweep, and what it rings for is done. What is under way before is not overtaken by it."""
        await self.settled()
        await self.flow.pass_time(by)
        await self.settled()

    async def sound_now(self) -> None:
        """No key lives unknown to the desk, none is counted twice, none that the desk believes in is missing."""
        accounts, keys = await self.accounts(), self.rows(Key)
        known = {key.marker: key.state for key in keys}
        assert max(Counter(accounts).values(), default=0) <= 1, "a marker stands twice at the provider"
        for marker in accounts:
            assert known.get(marker, "unknown") not in (*DEAD, "unknown"), f"{marker} lives, and is {known.get(marker)}"
        counted_on = (KeyState.SEALED, KeyState.LIVE, KeyState.RETIRING)
        alive = [key for key in keys if key.provider == self.provider and key.state in counted_on]
        assert {key.marker for key in alive} <= set(accounts)
        assert max(Counter((key.grant_id, key.state) for key in alive).values(), default=0) <= 1
        never_minted = {key.marker for key in keys if key.state is KeyState.VOID}
        assert not never_minted & self.lived, "it lived when the desk died, and passes for never minted"
        entries, head = await self.flow.store.audit_chain(self.flow.team)
        assert audit.verify(entries, head) is None
        brought = {key.id for key in keys if key.provider == "deposit"}  # picked up again, it is the same key
        told = [(entry.act, str(entry.detail.get("key") or entry.subject)) for entry in entries]
        once = Counter(one for one in told if not (one[1] in brought and one[0] in AGAIN))
        assert not [what for what, times in once.items() if times > 1 and what[0] != audit.Act.REFUSED]


@dataclass
class Way:
    """One request on its way, and what its people saw of it. Who got no answer does the same again."""

    stage: Stage
    since: float
    shown: Message | View | None = None
    taken: bool = False
    url: str = ""
    key: str = ""

    # ---- what people see

    @property
    def flow(self) -> World:
        """The people, and what they see."""
        return self.stage.flow

    async def with_button(self, member: Member, action: str) -> Message:
        """The newest message of this way that has the button."""
        return await member.expect(
            lambda seen: next(
                (
                    one
                    for one in reversed(member.visible(seen))
                    if action in one.buttons and float(one.ts) > self.since and not one.ephemeral
                ),
                None,
            ),
            PATIENCE,
        )

    async def links(self) -> list[str]:
        """The links that Ben was given on this way, in messages or in a dialog."""
        seen = await self.flow.ben.state()
        urls = [url for one in self.flow.ben.visible(seen) if float(one.ts) > self.since for url in one.urls]
        dialog = self.flow.ben.top(seen)
        return [url for url in (*urls, *(dialog.urls if dialog else ())) if "/k/" in url]

    async def link(self, known: Sequence[str] = ()) -> str:
        """A link that is not among those known, as soon as it is there."""
        until = time.monotonic() + PATIENCE
        while not (new := [url for url in await self.links() if url not in known]):
            assert time.monotonic() < until, f"no link came\n{self.stage.desk.said()[-3000:]}"
            await asyncio.sleep(0.01)
        return new[-1]

    # ---- what people do, and do again

    async def press(self, member: Member, action: str) -> None:
        """Presses a button; again on the same message as before."""
        if not self.taken:
            self.shown = self.shown or await self.with_button(member, action)
            self.taken = (await member.click(self.shown, action)).acknowledged

    async def fill_in(self, member: Member, ask: Callable[[], Awaitable[Ack]], **values: Any) -> None:
        """Asks for a form, unless one is open, and submits it."""
        if self.taken:
            return
        form = await member.modal()
        if form is None and (await ask()).acknowledged:
            form = await member.modal()
        if form:
            self.taken = (await member.submit(form, **values)).acknowledged

    async def ask(self) -> None:
        """Ben asks."""
        asked = {**ASK, **self.stage.scope}
        await self.fill_in(self.flow.ben, lambda: self.flow.ben.command("/apikey request", "C0GENERAL"), **asked)

    async def ask_for_a_deposit(self) -> None:
        """Ben asks for a key that a person has to make."""
        ben, values = self.flow.ben, {**ASK, "project": "mapbox", "permission": "use"}
        del values["provider"], values["budget"]
        assert (await ben.command("/apikey request", "C0GENERAL")).acknowledged
        form = await ben.expect_modal("Request an API key")
        assert (await ben.click(form, "provider", "deposit")).acknowledged
        form = await ben.expect_modal("Request an API key")
        assert (await ben.submit(form, **values)).acknowledged

    async def bring(self) -> None:
        """Ana's browser hands the key in, unless it is there."""
        (key,) = self.keys()
        with suppress(httpx.TransportError):
            looked = (await self.stage.depositor.post(f"/api/deposits/{key.id}/look", {})).json()
            if looked["state"] == "awaited":
                to = looked["recipient"]
                body = {"sealed": seal_to_desk(BROUGHT, to), "kek": to["kek"]}
                assert (await self.stage.depositor.post(f"/api/deposits/{key.id}/bring", body)).status_code == 200

    async def confirm(self) -> None:
        """Ana says that she revoked it."""
        await self.press(self.flow.ana, "revoked_by_hand")

    async def approve(self) -> None:
        """Ana approves."""
        await self.press(self.flow.ana, "approve")

    async def deny(self) -> None:
        """Ana denies."""
        ana = self.flow.ana
        card = self.shown = self.shown or await self.with_button(ana, "approve")
        await self.fill_in(ana, lambda: ana.click(card, "deny"), reason="Use the shared sandbox project")

    async def cancel(self) -> None:
        """Ben cancels."""
        await self.press(self.flow.ben, "cancel")

    async def pick_up(self) -> None:
        """Ben picks up, where he is told that he can."""
        await self.press(self.flow.ben, "pick_up")

    async def pick_up_at_home(self) -> None:
        """Ben picks up on the app's Home."""
        self.shown = self.shown or await self.flow.ben.home("pick_up")
        await self.press(self.flow.ben, "pick_up")

    async def claim(self) -> None:
        """Ben's browser asks for the envelope, again in the same session, and opens it."""
        with suppress(httpx.TransportError):
            if not self.key:
                answer = await self.stage.browser.claim(self.url)
                assert answer.status_code == 200, answer.text
                told = answer.json()
                sealed, context = from_base64url(told["envelope"]), Context(**told["context"])
                self.key = envelope.open_sealed(sealed, seed=split(self.url)[1], context=context).expose()

    async def acknowledge(self) -> None:
        """Ben's browser shows the key."""
        with suppress(httpx.TransportError):
            answer = await self.stage.browser.acknowledge(self.url)
            assert answer.status_code == 204, answer.text

    async def reveal(self) -> None:
        """Both."""
        await self.claim()
        await self.acknowledge()

    async def revoke(self) -> None:
        """Ben gives his key back."""
        await self.press(self.flow.ben, "revoke")

    async def rotate(self) -> None:
        """Ben has another key made, where he is told that he can."""
        await self.press(self.flow.ben, "rotate")

    async def say_switched(self) -> None:
        """Ben says that nothing uses the old key any more."""
        await self.press(self.flow.ben, "switched")

    async def rotate_at_once(self) -> None:
        """Ben types that his key is to be revoked, and another to follow it."""
        grant = self.grant()
        assert grant is not None
        if not self.taken:
            self.taken = (await self.flow.ben.command(f"/apikey rotate {grant.id} --now")).acknowledged

    async def wait(self) -> None:
        """Nobody does anything."""

    async def mint_over(self) -> None:
        """Ben picks up again, and what that began comes to its end, whatever it is."""
        began = self.flow.clock()
        await self.pick_up()
        await self._minted_since(began)

    async def rotation_over(self) -> None:
        """Ben rotates again, and what that began comes to its end, whatever it is."""
        began = self.flow.clock()
        await self.rotate()
        await self._minted_since(began)

    async def _minted_since(self, began: datetime) -> None:
        until = time.monotonic() + PATIENCE
        while [k for k in self.stage.rows(Key) if k.state is KeyState.MINTING and k.intended_at >= began]:
            assert time.monotonic() < until, "the mint does not end"
            await asyncio.sleep(0.01)

    # ---- how far it is

    async def done(self, *steps: Callable[[], Awaitable[None]]) -> None:
        """These steps, undisturbed."""
        for step in steps:
            self.shown, self.taken = None, False
            await step()
        self.shown, self.taken = None, False

    async def asked(self) -> None:
        """Ben asked."""
        await self.done(self.ask)

    async def approved(self) -> None:
        """Ana approved it."""
        await self.done(self.ask, self.approve)

    async def awaited(self) -> None:
        """Ana is to bring a key."""
        await self.done(self.ask_for_a_deposit, self.approve)

    async def brought(self) -> None:
        """She brought it."""
        await self.awaited()
        await self.done(self.bring)

    async def unwrapped(self) -> None:
        """Ben picked it up and has a link."""
        await self.brought()
        await self.done(self.pick_up)
        self.url = await self.link()

    async def held(self) -> None:
        """Ben has what she brought."""
        await self.unwrapped()
        await self.reveal()

    async def given_back(self) -> None:
        """And gave it back: Ana is to revoke it by hand."""
        await self.held()
        await self.done(self.revoke)
        await self.stage.settled()

    async def linked(self) -> None:
        """Ben picked up and has a link."""
        await self.done(self.ask, self.approve, self.pick_up)
        self.url = await self.link()

    async def claimed(self) -> None:
        """Ben's browser holds the lease."""
        await self.linked()
        await self.claim()

    async def active(self) -> None:
        """Ben has the key."""
        await self.linked()
        await self.reveal()

    async def rotated(self) -> None:
        """And another one, that took its place; the old one's grace goes on."""
        await self.active()
        known = await self.links()
        await self.done(self.rotate)
        self.url, self.key = await self.link(known), ""
        await self.reveal()

    async def works(self) -> bool:
        """Whether the provider takes Ben's key."""
        if self.stage.provider == "openai":
            answer = await self.flow.call(self.key)
        else:
            url, model = {
                "openrouter": (self.flow.servers.openrouter_url, "openai/text-embedding-3-small"),
                "litellm": (self.flow.servers.litellm_url, "text-embedding-3-small"),
            }[self.stage.provider]
            answer = await self.flow.http.post(
                f"{url}/embeddings",
                json={"model": model, "input": "Hello"},
                headers={"Authorization": f"Bearer {self.key}"},
            )
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def request(self) -> AccessRequest:
        """The one request of this way."""
        (only,) = [one for one in self.stage.rows(AccessRequest) if one.created_at.timestamp() > self.since]
        return only

    def grant(self) -> Grant | None:
        """The one grant of this way, if it came so far."""
        return next((one for one in self.stage.rows(Grant) if one.request_id == self.request().id), None)

    def keys(self) -> list[Key]:
        """All keys of this way's grant."""
        grant = self.grant()
        return [key for key in self.stage.rows(Key) if grant and key.grant_id == grant.id]

    async def current(self, *, strays: int = 0, unreachable: str = "") -> None:
        """Soon every message of this way tells how it stands; none is left that nobody keeps current, but for `strays`.

        The desk's own beats go on beside the test: what it is doing in this moment may change the story once more.
        """
        until = time.monotonic() + PATIENCE
        while True:
            await self.stage.settled()
            try:
                return await self._is_current(strays=strays, unreachable=unreachable)
            except AssertionError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def _is_current(self, *, strays: int, unreachable: str) -> None:
        request, stage = self.request(), self.stage
        story = await self.flow.store.read(lambda tx: tell(tx, request.team, request.id, stage.vendors))
        if story.key and story.key.state is KeyState.AWAITED:
            story = replace(story, deposit_url=f"{self.flow.settings.public_url}/d/{story.key.id}")
        shown: dict[tuple[str, str], Message] = {}
        for member in (self.flow.ben, self.flow.ana):
            seen = await member.state()
            for channel in (None, "C0KEYS"):
                messages = member.visible(seen, channel)
                shown |= {(one.channel, one.ts): one for one in messages if not one.ephemeral}
        for notice in [one for one in stage.rows(Notice) if one.about == request.id and one.recipient != unreachable]:
            message = shown.pop((str(notice.channel), str(notice.ts)))
            wanted = views.notice(notice.kind, story)
            expected = replace(message, blocks=wanted["blocks"], text=wanted["text"])
            assert (message.text, message.plain) == (expected.text, expected.plain)
            assert message.buttons == expected.buttons
        others = {
            (str(notice.channel), str(notice.ts)) for notice in stage.rows(Notice)
        }  # of keys that ended meanwhile
        # A digest is sent once for each week, whatever its reader's keys do meanwhile, and is not kept current.
        digests = [one for one in shown.values() if one.text.startswith("Your week: ")]
        weeks = Counter((one.channel, one.text.partition(".")[0]) for one in digests)
        assert max(weeks.values(), default=0) <= 1, "a week's digest stands twice"
        left = [
            one
            for place, one in shown.items()
            if float(one.ts) > self.since and place not in others and one not in digests
        ]
        assert len(left) <= strays, left
        assert max(Counter(one.channel for one in left).values(), default=0) <= 1

    async def to_the_end(self) -> str:
        """Everybody does what is theirs to do, until there is nothing left; what came of it."""
        request = self.request()
        if request.state is RequestState.PENDING:
            await self.done(self.approve)
            await self.stage.settled()
        grant = self.grant()
        if grant is None:
            return self.request().state
        if grant.state in (GrantState.ENDING, GrantState.ENDED):
            return await self.over()
        if grant.state is GrantState.AWAITED:
            await self.done(self.bring)
            await self.stage.settled()
        if grant.state is not GrantState.ACTIVE:
            await self.obtain()
            await self.stage.settled()
        if grant.draft.scope.provider == "deposit":
            assert self.key == BROUGHT
            return "key"
        assert await self.works()
        await self.stage.sound_now()
        if len(self.keys()) == 1:
            return "key"
        # There were others, and they may not outlive this one.
        await self.done(self.revoke)
        await self.over()
        assert not await self.works()
        return "key"

    async def obtain(self) -> None:
        """Ben opens the newest link that he has, or gets a new one, and opens that."""
        known = await self.links()
        if known and known[-1] != self.url:
            answer = await self.stage.browser.claim(known[-1])
            if answer.status_code == 200:
                self.url = known[-1]
                await self.reveal()
                return
        await self.done(self.pick_up)
        self.url, self.key = await self.link(known), ""
        await self.reveal()

    async def over(self) -> str:
        """The quarantine passes; no key is left, and nothing is stuck."""
        await self.stage.later(QUARANTINE + SECOND)
        if any(key.state is KeyState.BY_HAND for key in self.keys()):
            await self.done(self.confirm)
            await self.stage.settled()
        grant = self.grant()
        assert grant is not None
        assert grant.state is GrantState.ENDED
        assert all(key.state in DEAD for key in self.keys())
        assert not {key.marker for key in self.keys()} & set(await self.stage.accounts())
        return "over"


def policy_of(provider: str) -> str:
    """One rule, for this provider alone."""
    text = MANY_APPROVERS.replace('approvers = ["manager", "S0PLATFORM"]', 'approvers = ["manager"]')
    text = text.replace('provider = "openai"', f'provider = "{provider}"')
    return re.sub("permissions = .*", 'permissions = ["*"]', text)


# ---- the stories


@dataclass(frozen=True)
class Story:
    """A step that may die at one of its `points`, the first being the act that begins it; what is before, and after."""

    name: str
    points: tuple[str, ...]
    before: Callable[[Way], Awaitable[None]]
    step: Callable[[Way], Awaitable[None]]
    again: Callable[[Way], Awaitable[None]]
    end: str = "key"
    unreachable: str = ""
    provider: str = "openai"

    def __str__(self) -> str:
        return self.name


async def time_passes(way: Way, by: timedelta) -> None:
    """The sweep may be the desk's last."""
    with suppress(EOFError):
        await way.flow.pass_time(by)


async def nothing_minted(way: Way) -> None:
    """A pick-up stalled before its mint."""
    await way.approved()
    await way.stage.dies(MINT_ACCOUNT, "before", lambda: way.done(way.pick_up))


async def half_minted(way: Way) -> None:
    """A pick-up stalled within its mint."""
    await way.approved()
    await way.stage.dies(MINT_ACCOUNT, "after", lambda: way.done(way.pick_up))


async def given_up(way: Way) -> None:
    """And the sweep gave it up."""
    await nothing_minted(way)
    await way.stage.later(STALLED_AFTER + SECOND)


def and_fault(
    before: Callable[[Way], Awaitable[None]], target: str, call: str, **what: Any
) -> Callable[[Way], Awaitable[None]]:
    """What is before, and then a fault of Slack's or of OpenAI's."""

    async def both(way: Way) -> None:
        await before(way)
        await way.stage.settled()
        await way.flow.sandbox.fault(target, call, **what)

    return both


async def held_and_revoked(way: Way) -> None:
    """Ben revokes while his key is minted; then the mint comes to its end."""
    await way.pick_up()
    until = time.monotonic() + PATIENCE
    while not (await way.flow.sandbox.record())["held"]:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    grant = way.grant()
    assert grant is not None
    assert (await way.flow.ben.command(f"/apikey revoke {grant.id}")).acknowledged
    await way.flow.sandbox.release()


async def asked_where_the_channel_is_closed(way: Way) -> None:
    """Ben asks; the desk was thrown out of the approvers' channel."""
    await way.flow.sandbox.set_channel("C0KEYS", ["U0ANA", "U0CARA", "U0DEV"])
    await way.ask()


async def channel_opened(way: Way) -> None:
    """It is let in again."""
    await way.flow.sandbox.set_channel("C0KEYS", ["U0ANA", "U0CARA", "U0DEV", "U0KEYDESK"])
    await way.ask()


async def just_started(way: Way) -> None:
    """A desk that wrote to nobody yet, and so does not know their conversations with it."""
    await way.stage.settled()
    await way.stage.desk.stop()
    await way.stage.desk.start()


async def approves_himself(way: Way) -> None:
    """Ben presses on the card that Ana has, as only a forged request can."""
    way.shown = way.shown or await way.with_button(way.flow.ana, "approve")
    if not way.taken:
        way.taken = (await way.flow.sandbox.click_as(way.flow.ben, way.shown, "approve")).acknowledged


async def claimed_elsewhere(way: Way) -> None:
    """A second browser of Ben's asks for the envelope that the first one holds."""
    with suppress(httpx.TransportError):
        assert (await way.stage.other_browser.claim(way.url)).status_code == 409


async def rounds(way: Way) -> None:
    """The rounds at the provider are made."""
    with suppress(EOFError):
        way.flow.clock.ahead += timedelta(hours=1)
        await way.flow.sandbox.advance(timedelta(hours=1).total_seconds())
        await way.stage.desk.sweep("go_round")


async def rounds_to_their_end(way: Way) -> None:
    """The dead desk's lease ends, and the rounds are made anew: none has a flaw, none is left due."""
    await way.stage.later(LEASE + SECOND)
    until = time.monotonic() + PATIENCE
    while True:
        await way.stage.desk.sweep("go_round")
        every = await way.flow.store.read(lambda tx: tx.rounds(way.flow.team))
        made = [one for one in every if one.provider == way.stage.provider]
        now = way.flow.clock()
        undone = [one for one in made if one.flaw or one.attempts or one.due_at <= now or not one.ended_at]
        # The desk's own beat may hold a round in this moment.
        if not undone or time.monotonic() > until:
            break
        await asyncio.sleep(0.1)
    assert {one.kind for one in made} == set(RoundKind) - {RoundKind.HOLDERS}, "which is made at Slack"
    assert not undone


MINT_ACCOUNT, MINT_ROLE = "OpenAI._mint_on_bare_account: POST 1", "OpenAI._mint_on_bare_account: POST 2"
MINT_KEY, REVOKE = "OpenAI._create_key: POST 1", "OpenAI.revoke: DELETE"
LEASE_KEYS, LEASE_NOTICES = "Watch.retire.lease", "Watch.deliver.lease"
FOUND, WRITE_DOWN = "Revoking._found", "Revoking.carry_out.write_down"
KEEP_ROUND = "Lease.write.both"
POST, SHOWN = "chat.postMessage", "Watch._write_down"

STORIES = (
    Story("open the form", ("views.open",), Way.wait, Way.ask, Way.ask),
    Story(
        "submit",
        ("Requests.submit", LEASE_NOTICES, POST, SHOWN, "views.publish"),
        Way.wait,
        Way.ask,
        Way.ask,
    ),
    Story("submit to a desk that just started", ("conversations.open",), just_started, Way.ask, Way.ask),
    Story("approve", ("Requests.decide", "chat.update", SHOWN), Way.asked, Way.approve, Way.approve),
    Story("deny", ("Requests.decide",), Way.asked, Way.deny, Way.deny, end="denied"),
    Story("cancel", ("Requests.cancel",), Way.asked, Way.cancel, Way.cancel, end="cancelled"),
    Story(
        "pick up",
        ("Grants.pick_up", MINT_ACCOUNT, MINT_ROLE, MINT_KEY, "Grants._seal", "response_url"),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "pick up at Home", ("Grants.pick_up", "views.update"), Way.approved, Way.pick_up_at_home, Way.pick_up_at_home
    ),
    Story("pick up again", ("Grants.pick_up", REVOKE), Way.linked, Way.pick_up, Way.mint_over),
    Story("refuse", ("Door.refuse",), Way.asked, approves_himself, approves_himself),
    Story("bring", ("Deposits.deposit",), Way.awaited, Way.bring, Way.bring),
    Story("pick up what was brought", ("Grants.pick_up", "Grants._seal"), Way.brought, Way.pick_up, Way.pick_up),
    Story("give back what was brought", ("Grants.revoke", WRITE_DOWN), Way.held, Way.revoke, Way.revoke, end="over"),
    Story("revoked by hand", ("Deposits.revoked_by_hand",), Way.given_back, Way.confirm, Way.confirm, end="over"),
    Story("claim again", ("Links._second_claim",), Way.claimed, claimed_elsewhere, claimed_elsewhere),
    Story("claim", ("Links.claim",), Way.linked, Way.claim, Way.reveal),
    Story("acknowledge", ("Links.acknowledge",), Way.claimed, Way.acknowledge, Way.acknowledge),
    Story("revoke", ("Grants.revoke", LEASE_KEYS, REVOKE, WRITE_DOWN), Way.active, Way.revoke, Way.revoke, end="over"),
    Story("rotate", ("Rotation.rotate", MINT_KEY, "Grants._seal"), Way.active, Way.rotate, Way.rotation_over),
    Story("switched", ("Rotation.switched", REVOKE), Way.rotated, Way.say_switched, Way.say_switched),
    Story(
        "grace ends", ("Watch._end_grace",), Way.rotated, lambda way: time_passes(way, timedelta(hours=25)), Way.wait
    ),
    Story(
        "rotate at once",
        ("Rotation.rotate_at_once", REVOKE),
        Way.active,
        Way.rotate_at_once,
        Way.rotate_at_once,
    ),
    Story(
        "not opened",
        ("Watch._take_back", REVOKE, WRITE_DOWN),
        Way.linked,
        lambda way: time_passes(way, 16 * MINUTE),
        Way.wait,
    ),
    Story("not acknowledged", ("Watch._take_back",), Way.claimed, lambda way: time_passes(way, 3 * MINUTE), Way.wait),
    Story(
        "expire",
        ("Watch._expire",),
        Way.active,
        lambda way: time_passes(way, timedelta(days=7, minutes=1)),
        Way.wait,
        end="over",
    ),
    Story(
        "stalled before its mint",
        ("Watch._unfinished", WRITE_DOWN),
        nothing_minted,
        lambda way: time_passes(way, 3 * MINUTE),
        Way.wait,
    ),
    Story(
        "stalled within its mint",
        ("Watch._unfinished", FOUND, REVOKE, WRITE_DOWN),
        half_minted,
        lambda way: time_passes(way, 3 * MINUTE),
        Way.wait,
    ),
    Story("never minted", (WRITE_DOWN,), given_up, lambda way: time_passes(way, QUARANTINE), Way.wait),
    Story(
        "a mint fails",
        ("Grants._break_off",),
        and_fault(Way.approved, "openai", "POST */service_accounts", status=500),
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "half a key is taken back",
        (REVOKE, "Grants._break_off"),
        and_fault(Way.approved, "openai", "POST */service_accounts/*", status=429),
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "revoked while it is minted",
        ("Grants.issue.minted_too_late",),
        and_fault(Way.approved, "openai", "POST */api_keys", held=True),
        held_and_revoked,
        Way.wait,
        end="over",
    ),
    Story(
        "a revocation fails",
        ("Revoking.carry_out.put_off",),
        and_fault(Way.active, "openai", "DELETE *", status=503),
        Way.revoke,
        Way.revoke,
        end="over",
    ),
    Story("Slack fails", (SHOWN,), and_fault(Way.wait, "slack", POST, status=500), Way.ask, Way.ask),
    Story(
        "Slack refuses a message",
        (SHOWN,),
        Way.wait,
        asked_where_the_channel_is_closed,
        channel_opened,
        unreachable="C0KEYS",
    ),
    Story(
        "what was brought is not opened",
        ("Watch._take_back",),
        Way.unwrapped,
        lambda way: time_passes(way, 16 * MINUTE),
        Way.wait,
    ),
    Story("rounds", ("Rounds._lease", KEEP_ROUND, "Lease.give_back"), Way.active, rounds, rounds_to_their_end),
    Story(
        "pick up at OpenRouter",
        ("OpenRouter.mint: POST", "OpenRouter._bind: POST"),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
        provider="openrouter",
    ),
    Story(
        "revoke at OpenRouter",
        ("OpenRouter.revoke: DELETE",),
        Way.active,
        Way.revoke,
        Way.revoke,
        end="over",
        provider="openrouter",
    ),
    Story(
        "pick up at LiteLLM",
        ("LiteLLM._made_once: POST 1",),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
        provider="litellm",
    ),
    Story(
        "revoke at LiteLLM",
        ("LiteLLM.revoke: POST",),
        Way.active,
        Way.revoke,
        Way.revoke,
        end="over",
        provider="litellm",
    ),
)
POINTS = tuple(dict.fromkeys(point for story in STORIES for point in story.points))
PROJECTS, PEOPLE = "tests/providers/openai/test_projects.py", "tests/providers/openai/test_people.py"
CONTRACT, LITELLM = "tests/providers/test_contract.py", "tests/providers/test_litellm.py"
INVITED, USED = "tests/desk/test_invitations.py", "tests/desk/test_usage.py"
BY_NAME = f"the next try finds it by its name: {PROJECTS}::test_a_project_that_was_half_made_is_finished"
INVITED_ONCE = f"asked for before it is sent: {PEOPLE}::test_an_invitation_of_unknown_outcome_can_be_sent_again"
WITHDRAWN = f"gone is gone: {CONTRACT}::test_an_invitation_is_sent_once_and_taken_back"
INVITING = (
    f"what is not written down is asked again: {INVITED}::test_what_fails_is_tried_again_and_invites_nobody_twice"
)
SWITCHED = f"on is on, off is off, however often: {CONTRACT}::test_a_key_is_switched_off_and_on"
SWITCHING = f"leased as a revocation is: {USED}::test_switching_that_fails_is_tried_again_and_revoking_wins"
A_QUESTION = "changes nothing there: it asks"
WITH_THE_LEASE = f"a part of the transaction of {KEEP_ROUND}"
DIGESTS = "tests/desk/test_digest.py"
TIMERS = "tests/desk/test_timers.py"
REPLACED, CHECKED = "tests/desk/test_replacing.py", "tests/desk/test_holders.py"
INCIDENTS = "tests/desk/test_incidents.py"
WITH_THE_TIMER = f"a part of the transaction of Timers._carry_out: {INCIDENTS}::test_two_desks_find_it_once"
SWEEPS = "tests/desk/test_sweeps.py"
ELSEWHERE = {
    "Installation._note": "tests/desk/test_installation.py::test_it_is_found_without_an_event_and_outlives_a_restart",
    "Installation._resume": (
        "not written down it is asked again: "
        "tests/desk/test_installation.py::test_a_process_with_a_dead_token_does_not_silence_the_one_with_the_new"
    ),
    "Mailing._enrol 1": f"the rest an hour later: {DIGESTS}::test_who_has_one_is_found_again_and_again",
    "Mailing._enrol 2": f"the rest an hour later: {DIGESTS}::test_who_has_one_is_found_again_and_again",
    "Watch.digest.lease": f"{DIGESTS}::test_a_process_that_dies_between_posting_and_writing_it_down",
    "Mailing._later.put_off": f"{DIGESTS}::test_slack_is_down_and_some_cannot_be_reached",
    "Mailing._next.go_on": f"{DIGESTS}::test_posted_and_the_answer_lost_it_is_not_posted_again",
    "Mailing.choose": f"the same choice again changes nothing: {DIGESTS}::test_it_is_moved_and_switched_off_and_on",
    "files.upload.v2": f"a file of nobody's; of the digest, as above: {DIGESTS}::test_a_process_that_dies_between_posting_and_writing_it_down",
    "Leaving.look.ask_others": (
        f"{REPLACED}::test_a_desk_that_died_before_others_were_asked_asks_when_it_is_told_again"
    ),
    "Replacing.review": f"begun anew at each start and each night: {REPLACED}::test_another_policy_has_other_approvers",
    "Replacing.look": f"a timer's act: {REPLACED}::test_two_processes_ask_once",
    "_keep": f"the check is made anew: {CHECKED}::test_a_process_that_died_in_the_check_leaves_it_to_another",
    "Holders._have_admins_told": f"with the lease of its round: {CHECKED}::test_the_admins_are_told_once_in_their_working_hours",
    **{f"Holders.tell {number}": "a timer's act that writes nothing" for number in range(1, 4)},
    "Timers._lease": f"{TIMERS}::test_who_lost_the_lease_writes_nothing",
    "Timers._carry_out": f"{TIMERS}::test_after_a_day_of_outage_all_that_is_due_is_done_once",
    "Lapsing.decision": WITH_THE_TIMER,
    "Lapsing.pick_up": WITH_THE_TIMER,
    "Lapsing.deposit": WITH_THE_TIMER,
    "over": WITH_THE_TIMER,
    "Expiring.look": WITH_THE_TIMER,
    "Idling.look": WITH_THE_TIMER,
    "Idling.keep": "pressed again it changes nothing: tests/desk/test_idling.py::test_who_keeps_it_is_left_alone_for_a_month",
    "Reminding.look": WITH_THE_TIMER,
    "Reminding.again": WITH_THE_TIMER,
    "Reminding.put_off": (
        "pressed again it changes nothing: tests/desk/test_reminding.py::test_remind_me_later_puts_off_to_half_time"
    ),
    "Incidents.look": WITH_THE_TIMER,
    "Incidents.become_quiet": WITH_THE_TIMER,
    "_over": WITH_THE_TIMER,
    "Incidents.mine": f"pressed again it changes nothing: {INCIDENTS}::test_that_was_me_closes_it_and_is_learnt",
    "Incidents.pause": f"pressed again it changes nothing: {INCIDENTS}::test_pause_switches_off_until_somebody_switches_on",
    "Timers._put_off": f"{TIMERS}::test_people_cannot_be_asked_and_it_is_tried_later",
    "Sweeps._write_down": f"{SWEEPS}::test_what_several_desks_did_stands_together",
    "Leaving.look": (
        "each piece whole, the rest when Slack's event comes again: "
        "tests/desk/test_leaving.py::test_what_was_cut_off_is_ended_when_it_is_told_again"
    ),
    "OpenAI.mint: POST": f"at an API that makes no keys apart from accounts; leaves what {MINT_ACCOUNT} leaves",
    "OpenAI._create_key: POST 2": f"at an API whose keys do not expire; the call before it is {MINT_KEY}, and it made nothing",
    "OpenAI._delete_keys: DELETE": "at an API that keeps the account; deletes what is left of its keys when it is asked again",
    "OpenAI._lacks: POST": A_QUESTION,
    "Anthropic._lacks: POST": A_QUESTION,
    "OpenRouter._query: POST": A_QUESTION,
    "OpenRouter._guardrail: POST": (
        "made once, then found: tests/providers/test_openrouter.py::test_keys_with_the_same_models_share_a_guardrail"
    ),
    "LiteLLM._made_once: POST 2": f"the first again, with the same value: {LITELLM}::test_a_lost_answer_costs_no_key",
    "LiteLLM.mint: POST": "at a proxy that takes no value; leaves what LiteLLM._made_once: POST 1 leaves",
    "LiteLLM.create_project: POST": f"found by its name: {CONTRACT}::test_a_project_of_a_name_is_made_once",
    "Projects._create: POST": BY_NAME,
    **{f"Projects._limit: POST {number}": BY_NAME for number in range(1, 5)},
    "Projects.create: POST": BY_NAME,
    "Grants._placed": "tests/desk/test_new_projects.py::test_a_process_that_died_before_the_project_was_known",
    "People._send: POST": INVITED_ONCE,
    "People.invite: POST": INVITED_ONCE,
    "People._join: POST": INVITED_ONCE,
    "People._delete: DELETE": WITHDRAWN,
    "People._leave: DELETE": WITHDRAWN,
    "People.withdraw: DELETE 1": WITHDRAWN,
    "People.withdraw: DELETE 2": WITHDRAWN,
    **dict.fromkeys(
        (
            "Invitations.carry_out",
            *(f"Invitations._send {number}" for number in range(1, 5)),
            "Invitations._follow",
            "Invitations._withdraw 1",
            "Invitations._withdraw 2",
        ),
        INVITING,
    ),
    "Watch.invite.lease": INVITING,
    "Anthropic._switch: POST": SWITCHED,
    "LiteLLM._switch: POST": SWITCHED,
    "OpenRouter._switch: PATCH": SWITCHED,
    "Switching.carry_out": SWITCHING,
    "Switching.carry_out.write_down": SWITCHING,
    "Switching.switch_on": f"pressed again it does the same: {USED}::test_an_approver_may_switch_it_on_and_its_holder_may_not",
    "Watch._begin_anew": f"due until it is done: {USED}::test_a_new_month_switches_it_on_again",
    "Inventory._compare": WITH_THE_LEASE,
    "Inventory._look_again.end": WITH_THE_LEASE,
    "Inventory._revoke_stray.write_down": WITH_THE_LEASE,
    "Inventory.take": WITH_THE_LEASE,
    "UsageDesk._forget": WITH_THE_LEASE,
    "UsageDesk._write_down": WITH_THE_LEASE,
    "_begin_all": "at the first beat of a desk only; what it did not begin is begun at the next",
    "_replace": "of a command and not of a desk: tests/desk/test_deposits.py::test_rotation_under_load_loses_nothing",
}
"""Points at which no desk dies here, and why not: what is found again by design names the test that shows it."""

HEART = ("pick up", "claim", "acknowledge", "revoke")
FIRST = {point: next(story for story in STORIES if point in story.points) for point in POINTS}
CASES = [
    ("sqlite", story, point, when)
    for story in STORIES
    for point in story.points
    for when in ("before", "after")
    if when == "after" or story is FIRST[point]
]
CASES += [
    ("postgresql", story, point, "after")
    for point, story in FIRST.items()
    if story.provider == "openai" and point not in slack_calls()
]
if not os.environ.get("KEYDESK_CRASHES"):
    # All of them take minutes and much of the machine: `make crashes`. In each run of the suite: the heart of the promise.
    CASES = [case for case in CASES if case[0] == "postgresql" and str(case[1]) in HEART]


def test_every_step_has_its_crash() -> None:
    """Each commit, and each act at a vendor or at Slack, that the source has is one at which a desk dies here."""
    tried = {*POINTS, *ELSEWHERE}
    untried, gone = sorted(points() - tried), sorted(tried - points())
    assert untried == [], "steps without a crash test: see the beginning of this file"
    assert gone == [], "points that the source has no more"
    assert not ELSEWHERE.keys() & set(POINTS)
    assert {way.rpartition(": ")[2] for way in ways_out()} <= {"request", "aclose"}, "of which vendor_calls knows"


def test_what_each_crash_leaves_is_documented() -> None:
    """docs/lifecycle.md has a line for each point, and none for what is no point any more."""
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    section = page.split("## What each crash point leaves\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE)
    told = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    untold, gone = sorted(points() - told), sorted(told - points())
    assert untold == [], "steps of which docs/lifecycle.md does not tell what a crash leaves"
    assert gone == [], "points that the source has no more"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("database", "story", "point", "when"),
    CASES,
    ids=[f"{database}: {story}, {when} {point}" for database, story, point, when in CASES],
)
async def test_a_crash_loses_nothing_and_leaves_no_key_unknown(
    stages: "Stages", database: str, story: Story, point: str, when: str
) -> None:
    """Whatever the desk died of, one sweep after its restart all is known, and its people come to their end."""
    async with stages.on(database, story.provider) as way:
        stage = way.stage
        await story.before(way)
        first = story.points[0]
        came_to = await stage.dies(point, when, lambda: story.step(way), since=first if point != first else "")
        posted = came_to.count(POST)
        await story.again(way)

        await stage.later(max(LEASE, STALLED_AFTER) + SECOND)
        await stage.sound_now()
        await way.current(strays=posted, unreachable=story.unreachable)
        assert await way.to_the_end() == story.end
        await stage.sound_now()
        await way.current(strays=posted, unreachable=story.unreachable)


class Stages:
    """One stage for each database and provider at a time; a new one after some ways, and after one that went wrong."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._now: dict[tuple[str, str], tuple[Stage, AsyncExitStack]] = {}

    @asynccontextmanager
    async def on(self, database: str, provider: str) -> AsyncIterator[Way]:
        """A way that begins now."""
        kept = self._now.get((database, provider))
        if kept and (kept[0].ways >= WAYS_ON_ONE_STAGE or not kept[0].sound):
            await self._now.pop((database, provider))[1].aclose()
            kept = None
        stage, _ = kept or await self._built(database, provider)
        stage.ways += 1
        stage.sound = False
        ben = stage.flow.ben
        for member in (ben, stage.flow.ana):
            while view := await member.modal():
                await member.close(view, all=True)
        yield Way(stage, since=(await ben.state())["now"])
        stage.sound = True

    async def close(self) -> None:
        """The end."""
        for _, stack in self._now.values():
            await stack.aclose()

    async def _built(self, database: str, provider: str) -> tuple[Stage, AsyncExitStack]:
        stack = AsyncExitStack()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keydesk-crash-")))
        url = stack.enter_context(_fresh(database, self._request, folder))
        servers = stack.enter_context(sandbox_running(ack_seconds=PATIENCE))
        dying = Dying(folder / "points")
        text = POLICY if provider == "openai" else policy_of(provider)
        more = {
            "openai": {"kek": KEK},
            "openrouter": {
                "openrouter_management_key": servers.openrouter_management_key,
                "openrouter_base_url": servers.openrouter_url,
            },
            "litellm": {"litellm_master_key": servers.litellm_master_key, "litellm_base_url": servers.litellm_url},
        }[provider]
        all_desks = await stack.enter_async_context(
            desks(servers, mode="http", database_url=url, folder=folder, count=1, prepare=dying, policy=text, **more)
        )
        flow = all_desks.flow
        vendors = {**providers.build(flow.settings, flow.clock), **deposit.from_policy(kinds(text))}
        for vendor in vendors.values():
            stack.push_async_callback(vendor.aclose)
        browser, other = [await stack.enter_async_context(Browser(flow.settings.public_url)) for _ in range(2)]
        for one in (browser, other):
            await one.sign_in("U0BEN")
        depositor = await stack.enter_async_context(Browser(flow.settings.public_url))
        await depositor.sign_in("U0ANA")
        engine = create_engine(engine_url(url))
        stack.callback(engine.dispose)
        policy = load(text, permissions={name: vendor.permissions for name, vendor in vendors.items()})
        known = Providers(vendors, policy=policy, clock=flow.clock)
        scope = {"provider": provider, **SCOPES[provider]}
        if provider == "openrouter":  # whose workspaces get new ids each time
            scope["project"] = next(one.id for one in await vendors[provider].projects() if one.name == "lab")
        stage = Stage(flow, all_desks.first, dying, browser, other, depositor, engine, known, provider, scope)
        self._now[database, provider] = stage, stack
        return self._now[database, provider]


@contextmanager
def _fresh(database: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """A migrated database."""
    if database == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), folder / "keydesk.db")
        yield f"sqlite:///{folder}/keydesk.db"
        return
    server, name = request.getfixturevalue("postgres"), f"test_{uuid4().hex}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield server.get_uri(database=name)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(request: pytest.FixtureRequest) -> AsyncIterator[Stages]:
    """Where desks die, for all tests of this file."""
    all_stages = Stages(request)
    yield all_stages
    await all_stages.close()
