"""What waits for people: each is reminded once, in their working hours, and in the end it lapses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import Superseded, Unavailable
from bot.desk.hours import next_working
from bot.desk.lapsing import A_DAY_MORE
from bot.desk.model import Actor, Cause, NoticeKind, Person, Ruling, TimerKind
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.waiting import REMIND_HOLDER_AFTER
from storage.store import SqlStore
from tests.desk.depositing import Depositing
from tests.desk.world import ANA, BEN, CARA, DEV, LEADS, MINUTE, NOON, POLICY, TEAM, World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TOKYO, BERLIN, NEW_YORK = "Asia/Tokyo", "Europe/Berlin", "America/New_York"


@pytest.fixture
async def desk(store: SqlStore) -> AsyncIterator[Depositing]:
    """A desk to which people bring keys."""
    made = Depositing(store)
    yield made
    await made.must_hold()


def lives_in(world: World, who: Actor, tz: str) -> None:
    person = world.people.people[who.id]
    world.people.people[who.id] = replace(person, tz=tz)


async def until(world: World, at: datetime, step: timedelta = HOUR) -> None:
    """Time passes in steps, with a sweep after each."""
    while world.clock.now < at:
        await world.sweep(after=min(step, at - world.clock.now))


def reminded(world: World) -> set[str]:
    return {notice.recipient for notice, _ in world.slack.messages.values() if notice.kind is NoticeKind.REMINDER}


# ---- requests


async def test_approvers_are_reminded_after_four_working_hours_of_theirs(world: World) -> None:
    """Asked on Monday at noon UTC: Berlin hears at 17:00, New York at 13:00 of its own, Tokyo on Tuesday at 13:00; each once."""
    for who, tz in ((ANA, BERLIN), (CARA, NEW_YORK), (DEV, TOKYO)):
        lives_in(world, who, tz)
    await world.asked()
    heard: dict[str, datetime] = {}
    while world.clock.now < NOON + 2 * DAY:
        await world.sweep(after=15 * MINUTE)
        heard |= dict.fromkeys(reminded(world) - set(heard), world.clock.now)
    assert heard == {
        ANA.id: NOON + 4 * HOUR,
        CARA.id: NOON + 6 * HOUR,  # nine to one in New York
        DEV.id: NOON + 16 * HOUR,  # nine to one in Tokyo, on Tuesday
    }
    assert len(world.slack.standing(NoticeKind.REMINDER)) == 3


async def test_a_request_that_nobody_decides_lapses(world: World) -> None:
    """After three days, for good: the cards say so, and its requester hears of it when they are at work."""
    lives_in(world, BEN, TOKYO)
    request = (await world.asked()).request
    await until(world, NOON + 3 * DAY - MINUTE)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.PENDING
    await until(world, NOON + 3 * DAY)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.LAPSED
    assert {story.request.state for story in world.slack.standing(NoticeKind.APPROVAL)} == {RequestState.LAPSED}
    assert {story.request.state for story in world.slack.standing(NoticeKind.REMINDER)} == {RequestState.LAPSED}
    assert world.slack.standing(NoticeKind.OUTCOME, BEN) == []  # it is nine in the evening
    await until(world, next_working(world.clock.now, TOKYO))
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 1
    assert (await world.acts())[-1] == Act.LAPSED
    for ruling in Ruling:
        with pytest.raises(Superseded, match="lapsed already"):
            await world.requests.decide(CARA, request.id, ruling, "Too late")
    await until(world, NOON + 9 * DAY, DAY)
    assert (await world.acts()).count(Act.LAPSED) == 1


async def test_what_is_decided_reminds_nobody_and_does_not_lapse(world: World) -> None:
    """By a decision and by its requester alike."""
    denied, cancelled = (await world.asked()).request, (await world.asked()).request
    await world.requests.decide(CARA, denied.id, Ruling.DENY, "Not now")
    await world.requests.cancel(BEN, cancelled.id)
    await until(world, NOON + 5 * DAY, DAY)
    assert reminded(world) == set()
    assert Act.LAPSED not in await world.acts()


async def test_after_an_outage_nobody_is_reminded_of_what_lapsed(world: World) -> None:
    """The desk was down for five days: the request lapses, and that is all there is to say."""
    await world.asked()
    await world.sweep(after=5 * DAY)
    await world.sweep(after=5 * DAY)
    assert reminded(world) == set()
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 1


async def test_a_reminder_that_an_outage_held_up_is_not_sent_at_night(world: World) -> None:
    """It comes on the next morning."""
    await world.asked()
    await world.sweep(after=9 * HOUR)  # nine in the evening
    assert reminded(world) == set()
    await world.sweep(after=11 * HOUR + 59 * MINUTE)
    assert reminded(world) == set()
    await world.sweep(after=MINUTE)
    assert reminded(world) == {ANA.id, CARA.id, DEV.id}


async def test_whoever_may_decide_today_is_reminded(world: World) -> None:
    """Dev left the leads, Eve joined them."""
    await world.asked()
    world.people.people["U0EVE"] = Person("U0EVE", TEAM, "Eve Adeyemi")
    world.people.groups[LEADS] = {CARA.id, "U0EVE"}
    await world.sweep(after=4 * HOUR)
    assert reminded(world) == {ANA.id, CARA.id, "U0EVE"}


async def test_a_request_that_policy_refuses_today_lapses_all_the_same(world: World) -> None:
    """Nobody can decide on it any more, and it does not wait for ever."""
    request = (await world.asked()).request
    world.people.groups[LEADS] = set()
    world.people.managers.clear()
    await world.sweep(after=4 * HOUR)
    assert reminded(world) == set()
    await until(world, NOON + 3 * DAY, DAY)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.LAPSED


async def test_slack_cannot_be_asked_and_it_lapses_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would be told of it is not known in this moment: nothing is lost."""
    request = (await world.asked()).request

    async def fail(group: str) -> frozenset[str]:
        raise Unavailable("down")

    with monkeypatch.context() as down:
        down.setattr(world.people, "members", fail)
        world.clock.now += 3 * DAY
        await world.watch.tick()
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.PENDING
    await world.sweep(after=MINUTE)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.LAPSED


async def test_decide_against_lapse(world: World, other: World) -> None:
    """Whoever commits first wins: it is approved with a grant, or it lapsed without one; never both."""
    outcomes = set()
    for _ in range(4):
        request = (await world.asked()).request
        world.clock.now += 3 * DAY
        lapse = asyncio.create_task(other.watch.tick())
        decide = asyncio.create_task(world.requests.decide(CARA, request.id, Ruling.APPROVE))
        await asyncio.gather(lapse, decide, return_exceptions=True)
        story = await world.stories.of(TEAM, request.id)
        outcomes.add(story.request.state)
        assert (story.request.state, story.grant is None) in (
            (RequestState.APPROVED, False),
            (RequestState.LAPSED, True),
        )
        assert isinstance(decide.exception(), Superseded) is (story.request.state is RequestState.LAPSED)
    assert outcomes <= {RequestState.APPROVED, RequestState.LAPSED}


async def test_two_processes_lapse_and_remind_once(world: World, other: World) -> None:
    """Each approver hears once, the requester once, and the log tells it once."""
    for _ in range(5):
        await world.asked()
    world.clock.now += 4 * HOUR
    await asyncio.gather(world.watch.tick(), other.watch.tick())
    await asyncio.gather(world.watch.deliver(), other.watch.deliver())
    assert len(world.slack.standing(NoticeKind.REMINDER)) == 15
    world.clock.now += 3 * DAY
    await asyncio.gather(world.watch.tick(), other.watch.tick())
    await asyncio.gather(world.watch.deliver(), other.watch.deliver())
    assert (await world.acts()).count(Act.LAPSED) == 5
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 5


async def test_policy_says_how_long(store: SqlStore) -> None:
    """A day for a decision, two for a pick-up, of which half pass before the reminder."""
    times = 'version = 1\ndecide_within = "1d"\npick_up_within = "2d"'
    world = World(store, policy=POLICY.replace("version = 1", times))
    request = (await world.asked()).request
    grant = await world.approved()
    await until(world, NOON + DAY)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.LAPSED
    assert len(world.slack.standing(NoticeKind.PICK_UP, BEN)) == 1
    await until(world, NOON + 2 * DAY)
    assert (await world.grant(grant)).ended_because is Cause.NOT_PICKED_UP


# ---- pick-ups


async def test_who_does_not_pick_up_is_reminded_and_then_it_lapses(world: World) -> None:
    """Once after two days, when they are at work; after a week it is over, nothing was made, and they hear how to ask anew."""
    lives_in(world, BEN, NEW_YORK)
    grant = await world.approved()
    assert grant.lapses_at == NOON + 7 * DAY
    await until(world, NOON + REMIND_HOLDER_AFTER)
    assert world.slack.standing(NoticeKind.PICK_UP) == []  # it is seven in the morning there
    await until(world, NOON + REMIND_HOLDER_AFTER + 2 * HOUR)
    assert len(world.slack.standing(NoticeKind.PICK_UP, BEN)) == 1
    await until(world, NOON + 7 * DAY, 6 * HOUR)
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_because, ended.ended_by) == (GrantState.ENDED, Cause.NOT_PICKED_UP, "system")
    assert world.slack.standing(NoticeKind.ENDED) == []
    await until(world, NOON + 7 * DAY + 2 * HOUR)
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1
    assert len(world.slack.standing(NoticeKind.PICK_UP)) == 1
    assert (await world.acts())[-2:] == [Act.OFFER_LAPSED, Act.ENDED]
    assert world.vendor.minted == []


async def test_a_key_at_rest_dies_though_the_app_was_taken_away(desk: Depositing) -> None:
    """Nobody can pick it up any more, and Slack says nobody's zone: it is revoked in its time, and told when the app is back."""
    key, _ = await desk.rested()
    await desk.sweep()
    lapses_at = (await desk.grant_of(key)).lapses_at
    assert lapses_at is not None
    desk.people.silent, desk.people.refuses = True, "account_inactive"
    await desk.installation.look("app_uninstalled")
    await until(desk, lapses_at - HOUR, DAY)
    assert await desk.at_rest(key)
    await until(desk, lapses_at + HOUR)
    ended = await desk.grant_of(key)
    assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.NOT_PICKED_UP)
    assert not await desk.at_rest(key)
    assert desk.console.revoked == [key.handle]
    assert desk.slack.standing(NoticeKind.ENDED) == []
    desk.people.silent, desk.people.refuses = False, None
    await until(desk, next_working(desk.clock.now, "UTC") + HOUR)
    assert len(desk.slack.standing(NoticeKind.ENDED, BEN)) == 1


async def test_who_picked_up_is_not_reminded(world: World) -> None:
    """Nothing lapses of a key that somebody holds."""
    grant = await world.active()
    assert grant.lapses_at is None
    await until(world, NOON + 6 * DAY, DAY)
    assert world.slack.standing(NoticeKind.PICK_UP) == []
    assert (await world.grant(grant)).state is GrantState.ACTIVE


async def test_who_is_about_to_pick_up_gets_a_day_more(world: World) -> None:
    """The link is open when it would lapse; it is opened in time, or it closes and the day passes."""
    opened, closed = await world.approved(), await world.approved()
    world.clock.now = NOON + 7 * DAY - MINUTE
    handover = await world.delivering(opened)
    await world.delivering(closed)
    await world.sweep(after=MINUTE)
    await world.claim(handover)
    await world.acknowledge(handover)
    assert (await world.grant(opened)).state is GrantState.ACTIVE
    await world.sweep(after=HOUR)
    waiting = await world.grant(closed)
    assert (waiting.state, waiting.lapses_at) == (GrantState.READY, NOON + 7 * DAY + A_DAY_MORE)
    await world.sweep(after=A_DAY_MORE)
    assert (await world.grant(closed)).ended_because is Cause.NOT_PICKED_UP
    assert len(world.vendor.living) == 1


async def test_pick_up_against_lapse(world: World, other: World) -> None:
    """Whoever commits first wins: a key is being made, or the grant is over; no key lives of one that is over."""
    for _ in range(4):
        grant = await world.approved()
        world.clock.now += 7 * DAY
        picking = asyncio.create_task(world.picked_up(grant))
        await asyncio.gather(other.watch.tick(), picking, return_exceptions=True)
        found = await world.grant(grant)
        assert (found.state, picking.exception() is None) in ((GrantState.ISSUING, True), (GrantState.ENDED, False))
        if picking.exception() is None:
            await world.grants.issue(picking.result())


# ---- deposits


async def test_who_does_not_bring_a_key_is_reminded_and_then_it_lapses(desk: Depositing) -> None:
    """Each depositor after eight working hours of theirs; after a week the key is void, and all who waited see it."""
    lives_in(desk, CARA, BERLIN)
    key = await desk.awaited()
    heard: dict[str, datetime] = {}
    while desk.clock.now < NOON + 2 * DAY:
        await desk.sweep(after=30 * MINUTE)
        for notice, _ in desk.slack.messages.values():
            if notice.kind is NoticeKind.NOT_BROUGHT:
                heard.setdefault(notice.recipient, desk.clock.now)
    assert heard == {CARA.id: NOON + 23 * HOUR, DEV.id: NOON + 23 * HOUR}  # 12:00 and 11:00 of the next day
    await until(desk, NOON + 7 * DAY, DAY)
    grant = await desk.grant_of(key)
    assert (grant.state, grant.ended_because) == (GrantState.ENDED, Cause.NOT_BROUGHT)
    assert (await desk.key(key.id)).state is KeyState.VOID
    for kind in (NoticeKind.DEPOSIT, NoticeKind.NOT_BROUGHT):
        assert {story.grant and story.grant.ended_because for story in desk.slack.standing(kind)} == {Cause.NOT_BROUGHT}
    assert len(desk.slack.standing(NoticeKind.ENDED, BEN)) == 1


async def test_a_key_that_was_brought_waits_for_its_holder_from_then_on(desk: Depositing) -> None:
    """A week from the deposit; what rests then is revoked, and its value destroyed."""
    key = await desk.awaited()
    await until(desk, NOON + 6 * DAY, DAY)
    await desk.bring(key, desk.console.made(key.marker))
    await until(desk, NOON + 12 * DAY, DAY)
    assert (await desk.grant_of(key)).state is GrantState.READY
    assert len(desk.slack.standing(NoticeKind.PICK_UP, BEN)) == 1
    await until(desk, NOON + 13 * DAY, DAY)
    await desk.sweep()
    assert (await desk.grant_of(key)).ended_because is Cause.NOT_PICKED_UP
    assert (await desk.key(key.id)).state is KeyState.REVOKED
    assert not await desk.at_rest(key)


async def test_timers_of_what_is_over_end_by_themselves(world: World) -> None:
    """Nothing is left that time would do."""
    request = (await world.asked()).request
    grant = await world.active()
    await world.requests.cancel(BEN, request.id)
    await world.grants.revoke(BEN, grant.id)
    await until(world, NOON + 20 * DAY, DAY)
    for kind, about in (
        (TimerKind.DECISION, request.id),
        (TimerKind.DECISION, grant.request_id),
        (TimerKind.PICK_UP, grant.id),
        (TimerKind.EXPIRY, grant.id),
        (TimerKind.IDLE, grant.id),
    ):
        assert await world.store.read(lambda tx, kind=kind, about=about: tx.timer(TEAM, kind, about)) is None  # type: ignore[misc]  # bound for each
