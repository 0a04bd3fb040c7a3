"""Several desks on one PostgreSQL: everything happens once, whichever of them hears of it, and whatever their clocks show."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.audit import Act
from bot.desk.hands import LEASE as SWEEP_LEASE
from bot.desk.links import LEASE, LINK_LIVES
from bot.desk.model import Grant, Key, Link, Notice, NoticeKind
from bot.desk.states import GrantState, KeyState, LinkState
from sandbox.client import Message
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import installed
from tests.processes import DeskProcess
from tests.promises import racing
from tests.promises.racing import Rows
from tests.promises.world import Desks, desks

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

HOUR, MINUTE, MOMENT = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=5)
LIFE = timedelta(days=7)  # of a key, as Ben asks for it


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """How Slack reaches the desks: HTTP, where a test does not ask for both ways."""
    return str(getattr(request, "param", "http"))


@pytest.fixture
async def two(servers: Running, mode: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desks]:
    """Two desks on one database; Slack speaks to both by turns."""
    async with desks(servers, mode=mode, database_url=database_url, folder=tmp_path, count=2) as both:
        yield both


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """The desks' database, from outside."""
    async with Rows(database_url) as open_rows:
        yield open_rows


@asynccontextmanager
async def sweeping(both: Desks) -> AsyncIterator[None]:
    """Both sweep all the while, without a pause."""
    over = asyncio.Event()

    async def sweep(process: DeskProcess) -> None:
        while not over.is_set():
            await process.sweep()

    async with asyncio.TaskGroup() as group:
        for process in both.processes:
            group.create_task(sweep(process))
        try:
            yield
        finally:
            over.set()


async def time_passes(both: Desks, by: timedelta) -> None:
    """For the desks and for the world around them."""
    both.flow.clock.ahead += by
    await both.flow.sandbox.advance(by.total_seconds())


async def sweep(both: Desks) -> None:
    """Both at once."""
    await asyncio.gather(*(process.sweep() for process in both.processes))


@asynccontextmanager
async def at(process: DeskProcess, browser: Browser) -> AsyncIterator[Browser]:
    """The same browser session at this desk, as a load balancer may lead it there."""
    async with Browser(process.settings.public_url) as same:
        same.http.cookies = browser.http.cookies
        same.csrf = browser.csrf
        yield same


BOTH_WAYS = pytest.mark.parametrize("mode", ["http", "socket"], indirect=True)


@BOTH_WAYS
async def test_everything_happens_once(two: Desks, rows: Rows) -> None:
    """Asked, denied, cancelled, approved, picked up, lapsed, opened, expired, revoked: one entry and one message of each.

    Both desks sweep all the while; a link is claimed at one and acknowledged at the other. When Slack delivers all of it
    again, to whichever desk, nothing more happens.
    """
    flow = two.flow
    ana, ben, cara = flow.ana, flow.ben, flow.cara
    async with sweeping(two), Browser(two.first.settings.public_url) as browser:
        await browser.sign_in("U0BEN")

        await flow.ask()
        assert (await ana.click(await flow.card(ana), "deny")).acknowledged
        form = await ana.expect_modal("Deny")
        assert (await ana.submit(form, reason="Use the shared sandbox project")).acknowledged
        await ben.expect_message("Use the shared sandbox project")
        await rows.all_is_shown()

        await flow.ask()
        receipt = await ben.expect(lambda seen: next((m for m in ben.visible(seen) if "cancel" in m.buttons), None))
        assert (await ben.click(receipt, "cancel")).acknowledged
        await ben.expect_message("You cancelled")
        await rows.all_is_shown()

        await flow.ask()
        assert (await cara.click(await flow.card(cara), "approve")).acknowledged
        offer = await flow.offer()
        assert (await ben.click(offer, "pick_up")).acknowledged
        await flow.link()
        await time_passes(two, LINK_LIVES)
        await ben.expect_message("15 minutes")
        await rows.all_is_done()
        assert (await ben.click(await flow.offer(after=offer.ts), "pick_up")).acknowledged
        url = await flow.link(after=1)
        assert (await browser.claim(url)).status_code == 200
        async with at(two.processes[1], browser) as elsewhere:
            key = await elsewhere.reveal(url)
        assert (await flow.call(key)).status_code == 200
        await time_passes(two, LIFE)
        await flow.no_key_left()
        await rows.all_is_done()

        browser.http.cookies.clear()
        await browser.sign_in("U0BEN")
        url = await picked_up(two, known=2)
        async with at(two.processes[1], browser) as elsewhere:
            await elsewhere.reveal(url)
        assert (await ben.click(await ben.home(), "revoke")).acknowledged
        await flow.no_key_left()
        await rows.all_is_done()

        once = Counter(await flow.acts())
        posts = await posted(two)
        for delivery in (await flow.sandbox.record())["deliveries"]:
            await flow.sandbox.redeliver(delivery["id"])
        await rows.all_is_done()

    assert once == {
        Act.SUBMITTED: 4,
        Act.DENIED: 1,
        Act.CANCELLED: 1,
        Act.APPROVED: 2,
        Act.PICK_UP_STARTED: 3,
        Act.MINTED: 3,
        Act.LINK_CLOSED: 1,
        Act.CLAIMED: 2,
        Act.REVEALED: 2,
        Act.EXPIRED: 1,
        Act.REVOKE_ASKED: 1,
        Act.REVOKED: 3,
        Act.ENDED: 2,
    }
    assert Counter(await flow.acts()) == once
    kinds = Counter(one.kind for one in await rows.of(Notice))
    assert kinds == {
        NoticeKind.RECEIPT: 4,
        NoticeKind.APPROVAL: 4 * 4,  # three approvers, and the channel
        NoticeKind.OUTCOME: 3,
        NoticeKind.LAPSED: 1,
        NoticeKind.ENDED: 2,
    }
    assert posts == await posted(two) == sum(kinds.values())
    assert "Traceback" not in two.said(), two.said()[-3000:]


@BOTH_WAYS
async def test_a_rotation_happens_once(two: Desks, rows: Rows) -> None:
    """A key is rotated at both desks by turns, while both sweep: one new key, one end of the old one, one message of each."""
    flow, ben = two.flow, two.flow.ben

    async def card(action: str) -> Message:
        return await ben.expect(
            lambda seen: next((one for one in reversed(ben.visible(seen)) if action in one.buttons), None)
        )

    async with sweeping(two), Browser(two.first.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await ben.click(await flow.approved(), "pick_up")).acknowledged
        old = await browser.reveal(await flow.link())
        await rows.all_is_done()
        assert (await ben.click(await card("rotate"), "rotate")).acknowledged
        url = await flow.link(after=1)
        assert (await browser.claim(url)).status_code == 200
        async with at(two.processes[1], browser) as elsewhere:
            new = await elsewhere.reveal(url)
        assert [(await flow.call(key)).status_code for key in (old, new)] == [200, 200]
        await rows.all_is_done()
        assert (await ben.click(await card("switched"), "switched")).acknowledged
        await rows.all_is_done()
        assert [(await flow.call(key)).status_code for key in (old, new)] == [401, 200]
        once, posts = Counter(await flow.acts()), await posted(two)
        for delivery in (await flow.sandbox.record())["deliveries"]:
            await flow.sandbox.redeliver(delivery["id"])
        await rows.all_is_done()

    of_rotation = (Act.ROTATION_STARTED, Act.ROTATED, Act.RETIRED, Act.REVOKED)
    assert {act: once[act] for act in of_rotation} == dict.fromkeys(of_rotation, 1)
    assert once[Act.MINTED] == 2
    assert Counter(await flow.acts()) == once
    assert posts == await posted(two) == len(await rows.of(Notice))
    assert [(await flow.call(key)).status_code for key in (old, new)] == [401, 200]
    assert "Traceback" not in two.said(), two.said()[-3000:]


async def picked_up(both: Desks, known: int) -> str:
    """Ben asked anew, Ana approved, Ben picked up: the link, where he had so many before."""
    flow = both.flow
    before = max(message.ts for message in await flow.ben.messages())
    await flow.ask()
    assert (await flow.ana.click(await flow.card(flow.ana), "approve")).acknowledged
    assert (await flow.ben.click(await flow.offer(after=before), "pick_up")).acknowledged
    return await flow.link(after=known)


async def posted(both: Desks) -> int:
    """How many messages were posted."""
    calls = (await both.flow.sandbox.record())["calls"]
    return sum(call["method"] == "chat.postMessage" for call in calls)


@BOTH_WAYS
async def test_one_desk_after_the_other_is_replaced(two: Desks, rows: Rows) -> None:
    """Each is stopped, and started again, while the other serves: the story goes on, and happens once."""
    flow, (first, second) = two.flow, two.processes
    await flow.ask()
    card = await flow.card(flow.ana)
    await first.stop()
    await reached(two, second)
    assert (await flow.ana.click(card, "approve")).acknowledged
    offer = await flow.offer()
    await first.start()
    await second.stop()
    await reached(two, first)
    assert (await flow.ben.click(offer, "pick_up")).acknowledged
    url = await flow.link()
    await second.start()
    await reached(two, first, second)
    async with Browser(first.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        async with at(second, browser) as elsewhere:
            key = await elsewhere.reveal(url)
    assert (await flow.call(key)).status_code == 200
    await rows.all_is_done()
    assert await flow.acts() == [
        Act.SUBMITTED,
        Act.APPROVED,
        Act.PICK_UP_STARTED,
        Act.MINTED,
        Act.CLAIMED,
        Act.REVEALED,
    ]
    assert await posted(two) == len(await rows.of(Notice))


async def reached(both: Desks, *processes: DeskProcess) -> None:
    """Slack over HTTP is led to these from now on; a Socket Mode connection that is gone needs nobody to say so."""
    if both.first.settings.slack_signing_secret:
        await installed(both.flow.sandbox, [process.settings for process in processes])


# ---- clocks


def turned(both: Desks, by: timedelta, who: str) -> None:
    """The clock of the second desk, or of both, jumps."""
    for process in both.processes[0 if who == "both" else 1 :]:
        process.clock.off = by


JUMPS = pytest.mark.parametrize(
    ("who", "by"),
    [("one", HOUR), ("one", -HOUR), ("both", HOUR), ("both", -HOUR)],
    ids=["one-ahead", "one-behind", "both-ahead", "both-behind"],
)


@JUMPS
async def test_no_key_outlives_its_time_by_more_than_the_jump(two: Desks, rows: Rows, who: str, by: timedelta) -> None:
    """A sealed key that nobody opens, and a key at the end of its time: gone in time by the clock that is furthest ahead.

    So one wrong clock takes a key away early, and never lets it live longer. Where all are behind, it lives longer by as
    much as they are behind.
    """
    flow = two.flow
    active = await flow.picked_up()
    async with Browser(two.first.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        await browser.reveal(active)
    sealed = await picked_up(two, known=1)
    await rows.all_is_done()
    turned(two, by, who)
    late = HOUR if (who, by) == ("both", -HOUR) else timedelta()

    await time_passes(two, LINK_LIVES + late)
    await sweep(two)
    await rows.all_is_done()
    (lapsed,) = [one for one in await rows.of(Link) if f"/k/{one.id}#" in sealed]
    assert (lapsed.state, lapsed.envelope) == (LinkState.CLOSED, None)
    living = [key["name"] for key in await flow.sandbox.openai_keys()]
    assert living == [one.marker for one in await rows.of(Key) if one.state is KeyState.LIVE]
    assert len(living) == 1

    await time_passes(two, LIFE - LINK_LIVES)
    await sweep(two)
    await rows.all_is_done()
    assert await flow.sandbox.openai_keys() == []
    acts = Counter(await flow.acts())
    assert (acts[Act.EXPIRED], acts[Act.LINK_CLOSED], acts[Act.REVOKED], acts[Act.ENDED]) == (1, 1, 2, 1)
    ends = Counter((one.kind, one.shown == one.wanted) for one in await rows.of(Notice))
    assert (ends[NoticeKind.LAPSED, True], ends[NoticeKind.ENDED, True]) == (1, 1)


@JUMPS
async def test_no_link_opens_twice_when_clocks_jump(two: Desks, rows: Rows, who: str, by: timedelta) -> None:
    """A link that was claimed before the jump is claimed by nobody else after it, at neither desk, before or after a sweep.

    Its holder's browser still gets it, or is told that its time is over and picks up again. At the end one key lives.
    """
    flow = two.flow
    url = await flow.picked_up()
    async with Browser(two.first.settings.public_url) as holder, Browser(two.first.settings.public_url) as other:
        await holder.sign_in("U0BEN")
        await other.sign_in("U0BEN")
        assert (await holder.claim(url)).status_code == 200
        turned(two, by, who)
        for _ in range(2):
            for process in two.processes:
                async with at(process, other) as second:
                    answer = await second.claim(url)
                    assert (answer.status_code, "envelope" in answer.json()) == (409, False)
            await time_passes(two, LEASE - MOMENT)
            await sweep(two)
        for process in two.processes:
            async with at(process, holder) as same:
                assert (await same.acknowledge(url)).status_code in (204, 409)
        await rows.all_is_done()
        (grant,) = await rows.of(Grant)
        if grant.state is not GrantState.ACTIVE:
            turned(two, timedelta(), "both")
            assert (await flow.ben.click(await flow.offer(), "pick_up")).acknowledged
            key = await holder.reveal(await flow.link(after=1))
            assert (await flow.call(key)).status_code == 200
        assert len(await flow.sandbox.openai_keys()) == 1
    acts = Counter(await flow.acts())
    assert acts[Act.CLAIMED] == acts[Act.MINTED] == acts[Act.REVEALED] + acts[Act.LINK_CLOSED]


@pytest.mark.parametrize("who", ["one", "both"])
async def test_what_was_put_off_by_a_clock_ahead_is_done_once_the_time_has_come(
    two: Desks, rows: Rows, who: str
) -> None:
    """A desk an hour ahead leases a message and a revocation and dies; the clocks are put right: an hour on, both are done."""
    flow = two.flow
    await flow.picked_up()
    await rows.all_is_done()
    turned(two, HOUR, who)
    wrong = two.processes[0 if who == "both" else 1 :]
    if who == "one":  # so that it is the wrong one that has the work in hand
        await two.first.stop()
        await reached(two, *wrong)
    await flow.sandbox.fault("slack", "chat.*", times=None, held=True)
    await flow.sandbox.fault("openai", "DELETE *", times=None, status=503)
    grant = (await rows.of(Grant))[0]
    assert (await flow.ben.command(f"/apikey revoke {grant.id}")).acknowledged
    await held(two)
    for process in wrong:
        process.kill()
    await flow.sandbox.mend()
    turned(two, timedelta(), "both")
    for process in two.processes:
        await process.stop()
        await process.start()
    await reached(two, *two.processes)
    await sweep(two)
    (key,) = await rows.of(Key)
    assert key.state is KeyState.REVOKING
    assert key.due_at is not None
    assert key.due_at <= flow.clock() + HOUR + SWEEP_LEASE
    await time_passes(two, HOUR + SWEEP_LEASE)
    await sweep(two)
    await rows.all_is_done()
    assert await flow.sandbox.openai_keys() == []
    assert Counter(await flow.acts())[Act.ENDED] == 1


async def held(both: Desks) -> None:
    """Waits until a message is under way, and a revocation has failed."""
    async with asyncio.timeout(racing.PATIENCE):
        while True:
            record = await both.flow.sandbox.record()
            failed = [met for met in record["faults"] if met["call"].startswith("DELETE")]
            if record["held"] and failed:
                return
            await asyncio.sleep(0.02)
