"""What the desk stands on goes away and comes back: people hear it in words, nothing is lost, and the rest goes on by itself.

Each desk is a process that runs through: nobody starts it again.
"""

import asyncio
import resource
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.desk.audit import Act
from bot.desk.model import AccessRequest, Grant, Key, Notice, NoticeKind
from bot.desk.retrying import LONGEST_RETRY
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.watch import STALLED_AFTER
from bot.slack import SocketMode
from sandbox.client import Member, Snapshot, View
from sandbox.server import ACK_SECONDS, Running
from storage import store
from tests.flows.browsing import Browser
from tests.flows.world import ASK, World
from tests.promises import racing
from tests.promises.racing import Rows
from tests.promises.world import Desks, desks

HOUR, QUARTER, MOMENT = timedelta(hours=1), timedelta(minutes=15), timedelta(seconds=5)
DATABASE, VENDOR, SLACK = "database does not answer", "did not answer in time", "Slack does not answer"


@pytest.fixture(params=["http"])
def mode(request: pytest.FixtureRequest) -> str:
    """How Slack reaches the desk: HTTP, where a test does not say more."""
    return str(request.param)


def in_a_hurry() -> None:
    """Runs in the desk before it starts: what it waits for in real time does not take long."""
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "LOCKED_MILLISECONDS", 200)
    patch.setattr("bot.slack.SocketMode", partial(SocketMode, ping_interval=1))


@pytest.fixture
async def desk(servers: Running, mode: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desks]:
    """One desk."""
    async with desks(servers, mode=mode, database_url=database_url, folder=tmp_path, prepare=in_a_hurry) as one:
        yield one
        assert one.first.alive


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """The desk's database, from outside."""
    async with Rows(database_url) as open_rows:
        yield open_rows


async def told(member: Member, words: str, *, times: int = 1, channel: str | None = None) -> None:
    """Waits until this member was told so, privately, so many times."""

    def said(seen: Snapshot) -> bool:
        return sum(one.ephemeral and words in one.plain for one in member.visible(seen, channel)) >= times

    await member.expect(said)


async def form(member: Member) -> View:
    """An empty request form."""
    assert (await member.command("/apikey request")).acknowledged
    view = await member.modal()
    assert view is not None
    return view


async def posted_once(flow: World, rows: Rows) -> Counter[NoticeKind]:
    """Asserts that each notice was posted once; how many there are of each kind."""
    notices = await rows.of(Notice)
    calls = (await flow.sandbox.record())["calls"]
    assert sum(call["method"] == "chat.postMessage" for call in calls) == len(notices)
    assert all(one.shown == one.wanted for one in notices)
    return Counter(one.kind for one in notices)


# ---- the database


@contextmanager
def stopped(request: pytest.FixtureRequest, desk: Desks) -> Iterator[None]:
    """PostgreSQL is shut down, with every connection to it, and started again."""
    server = request.getfixturevalue("postgres")
    server.stop()
    try:
        yield
    finally:
        server.ensure_postgres_running()


@contextmanager
def locked(request: pytest.FixtureRequest, desk: Desks) -> Iterator[None]:
    """Another program holds SQLite's lock."""
    other = sqlite3.connect(desk.first.settings.database_url.get_secret_value().removeprefix("sqlite:///"))
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@contextmanager
def full(request: pytest.FixtureRequest, desk: Desks) -> Iterator[None]:
    """No file of the desk's may grow, as on a full disk."""
    soft, hard = resource.prlimit(desk.first.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(desk.first.pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(desk.first.pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_locked_database_is_told_before_slack_gives_up() -> None:
    """Who presses waits no longer for a lock than Slack waits for the desk."""
    assert store.LOCKED_MILLISECONDS / 1000 < ACK_SECONDS - 0.5


@pytest.mark.parametrize(
    ("database_url", "trouble"),
    [("postgresql", stopped), ("sqlite", locked), ("sqlite", full)],
    ids=["postgresql-stopped", "sqlite-locked", "disk-full"],
    indirect=["database_url"],
)
async def test_the_database_is_gone_and_back(
    request: pytest.FixtureRequest, desk: Desks, rows: Rows, trouble: Any
) -> None:
    """Asking, approving, revoking and opening a link are answered in words; the same again, later, does it, once.

    A key that was minted meanwhile could not be written down: it is found by its marker and revoked, and its holder
    picks up again. What fell due meanwhile is done.
    """
    flow, ana, ben = desk.flow, desk.flow.ana, desk.flow.ben
    unopened = await flow.picked_up()
    await flow.ask()
    card = await flow.card(ana)
    asked = await form(ben)
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        await rows.all_is_done()
        (grant,) = await rows.of(Grant)
        offer = await flow.ben.expect_message("Lost it? Get a new one")

        await flow.sandbox.fault("openai", "POST */service_accounts", held=True)
        assert (await ben.click(offer, "pick_up")).acknowledged
        await held(flow)
        before = done_by_people(await flow.acts())
        with trouble(request, desk):
            await flow.sandbox.release()
            await told(ben, "Nothing is lost")
            assert (await ana.click(card, "approve")).acknowledged
            await told(ana, DATABASE)
            ack = await ben.submit(asked, **ASK)
            assert DATABASE in ack.errors["reason"]
            assert (await ben.command(f"/apikey revoke {grant.id}")).acknowledged
            await told(ben, DATABASE, channel="C0GENERAL")
            answer = await browser.claim(unopened)
            assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
            assert DATABASE in answer.json()["message"]
            health = [(await flow.http.get(f"{flow.settings.public_url}{path}")).status_code for path in HEALTH]
            assert health == [200, 503 if trouble is stopped else 200]
        assert done_by_people(await flow.acts()) == before

        await flow.pass_time(STALLED_AFTER + MOMENT)
        again = await flow.offer()
        await flow.no_key_left()
        assert (await ana.click(card, "approve")).acknowledged
        assert (await ben.submit(asked, **ASK)).errors == {}
        assert (await ben.click(again, "pick_up")).acknowledged
        key = await browser.reveal(await flow.link(after=1))
        assert (await flow.call(key)).status_code == 200
    await rows.all_is_shown()
    await flow.pass_time(QUARTER)  # for what was minted in between, to the end of its quarantine
    await rows.all_is_done()
    states = Counter(one.state for one in await rows.of(AccessRequest))
    assert states == {RequestState.APPROVED: 2, RequestState.PENDING: 1}
    assert Counter(one.state for one in await rows.of(Key)) == {KeyState.REVOKED: 2, KeyState.LIVE: 1}
    assert len(await flow.sandbox.openai_keys()) == 1
    acts = Counter(await flow.acts())
    assert (acts[Act.SUBMITTED], acts[Act.APPROVED], acts[Act.PICK_UP_BROKEN], acts[Act.FOUND]) == (3, 2, 1, 1)
    await posted_once(flow, rows)


HEALTH = ("/healthz", "/readyz")


def done_by_people(acts: list[str]) -> list[str]:
    """Without what the desk does by itself: the key of the replaced link is revoked meanwhile, or later."""
    return [act for act in acts if act != Act.REVOKED]


async def held(flow: World) -> None:
    """Waits until a call is held at the sandbox."""
    async with asyncio.timeout(racing.PATIENCE):
        while True:
            if (await flow.sandbox.record())["held"]:
                return
            await asyncio.sleep(0.02)


# ---- the provider


async def test_a_provider_is_down_for_an_hour(desk: Desks, rows: Rows) -> None:
    """Asking and picking up are answered in words; revoking is taken, and carried out when the provider is back.

    A link that nobody opened is closed in its time all the same. Nobody presses again for what they asked once.
    """
    flow, ben = desk.flow, desk.flow.ben
    held_url = await flow.picked_up()
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        key = await browser.reveal(held_url)
    (held_grant,) = await rows.of(Grant)
    await asked_and_approved(flow)
    sealed = await flow.offer()
    assert (await ben.click(sealed, "pick_up")).acknowledged
    await flow.link(after=1)
    asked = await form(ben)
    await rows.all_is_done()

    await flow.sandbox.down("openai")
    assert (await ben.command(f"/apikey revoke {held_grant.id}")).acknowledged
    await told(ben, "is being revoked", channel="C0GENERAL")
    flow.clock.ahead += timedelta(minutes=1)  # so that the list of projects is asked for anew
    ack = await ben.submit(asked, **{**ASK, "project": {"text": PROJECT, "value": ASK["project"]}})
    assert "Nothing is lost" in str(ack.errors)
    for _ in range(4):
        await rows.all_is_shown()
        await flow.pass_time(QUARTER)
    await ben.expect_message("15 minutes")
    offer = await flow.offer(after=sealed.ts)
    assert (await ben.click(offer, "pick_up")).acknowledged
    await told(ben, VENDOR)
    assert Counter(one.state for one in await rows.of(Key))[KeyState.REVOKING] == 3
    assert Counter(await flow.acts())[Act.REVOKED] == 0
    assert len(await flow.sandbox.openai_keys()) == 2

    await rows.all_is_shown()
    await flow.sandbox.mend()
    await flow.pass_time(LONGEST_RETRY)
    await flow.no_key_left()
    await rows.all_is_done()
    assert (await flow.call(key)).status_code == 401
    assert (await ben.submit(asked, **ASK)).errors == {}
    assert (await ben.click(await flow.offer(after=sealed.ts), "pick_up")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await flow.call(await browser.reveal(await flow.link(after=2)))).status_code == 200
    acts = Counter(await flow.acts())
    assert (acts[Act.REVOKE_ASKED], acts[Act.LINK_CLOSED], acts[Act.REVOKED], acts[Act.ENDED]) == (1, 1, 2, 1)
    assert acts[Act.VOIDED] == 1  # whether anything was made of the pick-up meanwhile was not known
    await rows.all_is_done()
    kinds = await posted_once(flow, rows)
    assert (kinds[NoticeKind.LAPSED], kinds[NoticeKind.ENDED]) == (1, 1)


PROJECT = {"type": "plain_text", "text": "search-prod"}


async def asked_and_approved(flow: World) -> None:
    """Ben asked once more, and Ana approved."""
    before = max(message.ts for message in await flow.ben.messages())
    await flow.ask()
    assert (await flow.ana.click(await flow.card(flow.ana), "approve")).acknowledged
    await flow.offer(after=before)


# ---- Slack


async def tried_again(rows: Rows, attempts: dict[str, int]) -> None:
    """Waits until each message that is behind was tried once more, so that none is in hand when time goes on."""
    async with asyncio.timeout(racing.PATIENCE):
        while True:
            behind = await rows.of(Notice, lambda rows: rows.c.shown < rows.c.wanted)
            if all(one.attempts > attempts.get(one.id, 0) for one in behind):
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("mode", "database_url"), [("http", "postgresql"), ("socket", "sqlite")], indirect=True)
async def test_slack_is_down_for_an_hour(desk: Desks, rows: Rows, mode: str) -> None:
    """Keys die in their time without it. Who still reaches the desk is told, and nothing is used up.

    When Slack is back, each message is posted once and says how things are by then.
    """
    flow, ana, ben = desk.flow, desk.flow.ana, desk.flow.ben
    await flow.ask(duration="1h")
    assert (await ana.click(await flow.card(ana), "approve")).acknowledged
    assert (await ben.click(await flow.offer(), "pick_up")).acknowledged
    url = await flow.link()
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        key = await browser.reveal(url)
        await asked_and_approved(flow)
        offer = await flow.offer()
        assert (await ben.click(offer, "pick_up")).acknowledged
        sealed = await flow.link(after=1)
        await flow.ask()
        card = await flow.card(ana)
        await rows.all_is_done()

        await flow.sandbox.down("slack")
        if mode == "socket":
            await flow.sandbox.drop()
            assert not (await ana.click(card, "approve")).acknowledged
        else:
            assert (await ana.click(card, "approve")).acknowledged
            await told(ana, SLACK)
        answer = await browser.claim(sealed)
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        assert SLACK in answer.json()["message"]
    before = await flow.acts()
    assert before.count(Act.APPROVED) == 2
    for _ in range(4):
        attempts = {one.id: one.attempts for one in await rows.of(Notice)}
        await flow.pass_time(QUARTER)
        await tried_again(rows, attempts)
    await rows.all_keys_are_settled()
    assert (await flow.call(key)).status_code == 401
    assert Counter((await flow.acts())[len(before) :]) == {
        Act.EXPIRED: 1,
        Act.ENDED: 1,
        Act.LINK_CLOSED: 1,
        Act.REVOKED: 2,
    }

    await flow.sandbox.mend()
    await flow.pass_time(LONGEST_RETRY)
    await rows.all_is_done()
    kinds = await posted_once(flow, rows)
    assert (kinds[NoticeKind.LAPSED], kinds[NoticeKind.ENDED]) == (1, 1)
    await ben.expect_message("is over")
    await ana.expect(lambda seen: seen["app"]["connected"], racing.PATIENCE)
    assert (await ana.click(card, "approve")).acknowledged
    again = await flow.offer(after=offer.ts)
    assert (await ben.click(again, "pick_up")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await flow.call(await browser.reveal(await flow.link(after=2)))).status_code == 200
    await rows.all_is_done()
    await posted_once(flow, rows)
    states = Counter(one.state for one in await rows.of(Grant))
    assert states == {GrantState.ENDED: 1, GrantState.ACTIVE: 1, GrantState.READY: 1}
