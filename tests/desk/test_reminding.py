"""When a key is to be rotated: its holder is reminded, whoever approved hears when nobody did, and policy says what follows."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotYours, ProviderTransient, Superseded
from bot.desk.hours import next_working
from bot.desk.ids import new_id
from bot.desk.installation import ASKED_EVERY
from bot.desk.model import SYSTEM, Cause, Grant, Handover, Key, NoticeKind, Ruling, Story, TimerKind
from bot.desk.policy import Overdue, Rotating
from bot.desk.ports import Transaction
from bot.desk.reminding import later, plan
from bot.desk.states import GrantState, KeyState
from bot.slack.views import buttons
from storage.store import SqlStore
from tests.desk.depositing import Depositing
from tests.desk.metered import MeteredVendor
from tests.desk.world import ANA, BEN, CARA, DEV, NOON, POLICY, TEAM, SetClock, World, draft

DAY, WEEK = timedelta(days=1), timedelta(days=7)
WESTERN, EASTERN, BERLIN = "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin"
LONG = POLICY.replace('max_duration = "30d"', 'max_duration = "365d"')
DISABLES = LONG + '\n[[rotation]]\nprovider = "openai"\noverdue = "disable"\ndisable_after = "3d"\n'
DUE = NOON + 90 * DAY  # a Sunday
TERMS = Rotating(90 * DAY, (14 * DAY, WEEK, DAY), DAY, Overdue.TELL, WEEK)


def desk_at(store: SqlStore, policy: str, *, meters: bool = True) -> World:
    """Ben is on the west coast, who approves in Tokyo; the vendor can switch keys off, unless told otherwise."""
    clock = SetClock()
    if not meters:
        world = World(store, policy=policy)
    else:
        beside = World(store, vendor=MeteredVendor(clock), policy=policy)
        beside.clock = clock
        world = World(store, beside=beside)
    for who, tz in ((BEN, WESTERN), (CARA, EASTERN)):
        world.people.people[who.id] = replace(world.people.people[who.id], tz=tz)
    return world


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """Keys may live for a year; a key whose rotation is overdue is switched off after three days."""
    desk = desk_at(store, DISABLES)
    yield desk
    await desk.must_hold()


async def held(world: World, *, days: int = 300) -> Grant:
    """Opened by its holder."""
    handover = await world.delivering(await world.approved(what=draft(days=days)))
    await world.claim(handover)
    await world.acknowledge(handover)
    return await world.grant(handover.grant)


async def rotated(world: World, grant: Grant) -> Handover:
    """The new key is shown."""
    handover = await world.grants.issue(await begun(world, grant))
    await world.claim(handover)
    await world.acknowledge(handover)
    return handover


async def begun(world: World, grant: Grant) -> Key:
    """The intention is stored."""
    return await world.rotation.rotate(BEN, grant.id, delivery=new_id("d", os.urandom))


async def until(world: World, at: datetime, grant: Grant, *others: World) -> list[tuple[NoticeKind, str, datetime]]:
    """Time passes till then, from what is due to what is due next; by several processes where there are.

    What was posted, to whom, and when.
    """

    def due(tx: Transaction) -> list[datetime]:
        timers = [tx.timer(TEAM, kind, grant.id) for kind in (TimerKind.ROTATION, TimerKind.ROTATE_LATER)]
        notices = [one.due_at for one in tx.notices(TEAM, grant.request_id) if one.shown < one.wanted]
        return [*(one.due_at for one in timers if one), *notices]

    desks, posted = [world, *others], list[tuple[NoticeKind, str, datetime]]()
    seen = set(world.slack.messages)
    while True:
        await asyncio.gather(*(one.watch.tick() for one in desks))
        await asyncio.gather(*(one.watch.retire() for one in desks))
        await asyncio.gather(*(one.watch.deliver() for one in desks))
        for place in world.slack.messages.keys() - seen:
            notice, _ = world.slack.messages[place]
            posted.append((notice.kind, notice.recipient, world.clock.now))
        seen = set(world.slack.messages)
        if world.clock.now >= at:
            return posted
        coming = [one for one in await world.store.read(due) if one > world.clock.now]
        world.clock.now = min([*coming, at])


def told(world: World, kind: NoticeKind = NoticeKind.ROTATION_DUE) -> list[Story]:
    """What the messages of a kind tell now."""
    return world.slack.standing(kind)


def of(picked_up: str, *, interval: timedelta = 90 * DAY) -> Grant:
    """A grant whose key was picked up then (UTC)."""
    at = datetime.fromisoformat(picked_up).replace(tzinfo=UTC)
    return Grant(TEAM, "g_1", "r_1", BEN.id, draft(), GrantState.ACTIVE, at, held_since=at, rotates_at=at + interval)


@pytest.mark.parametrize(
    ("picked_up", "interval", "said"),
    [
        pytest.param(
            "2026-11-23T12:00",
            90 * DAY,
            ["2027-02-05T16:00", "2027-02-12T16:00", "2027-02-19T16:00", "2027-02-22T08:00"],
            id="due on a Sunday: each on the Friday before, and on Monday",
        ),
        pytest.param(
            "2026-11-25T10:00",
            90 * DAY,
            ["2027-02-09T10:00", "2027-02-16T10:00", "2027-02-22T10:00", "2027-02-23T10:00"],
            id="due on a Tuesday: a day before",
        ),
        pytest.param(
            "2026-11-23T12:00", 10 * DAY, ["2026-11-26T12:00", "2026-12-02T12:00", "2026-12-03T12:00"], id="ten days"
        ),
    ],
)
def test_when_a_holder_is_reminded(picked_up: str, interval: timedelta, said: list[str]) -> None:
    """In Berlin, before the rotation is due; what falls outside working hours is said before. On time: when they work next."""
    planned = plan(of(picked_up, interval=interval), TERMS, BERLIN)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in planned.values()] == said


def test_later_is_half_of_the_time_and_a_day_at_least() -> None:
    """In working hours; after it is due, on the next working day."""
    due = datetime(2026, 12, 16, 12, tzinfo=UTC)
    assert later(due - 14 * DAY, due, "UTC") == due - WEEK
    assert later(due - WEEK, due, "UTC") == next_working(due - 3.5 * DAY, "UTC")
    assert later(due - DAY, due, "UTC") == due
    assert later(due + 2 * DAY, due, "UTC") == datetime(2026, 12, 21, 9, tzinfo=UTC), "from Friday to Monday"


async def test_reminders_come_once_each_in_working_hours_on_two_processes(world: World, database_url: str) -> None:
    """14, 7 and 1 days before and when it is due; then whoever approved is told, once, in their own working hours."""
    grant = await held(world)
    assert grant.rotates_at == DUE
    store = SqlStore.open(database_url)
    other = World(store, beside=world)
    await until(world, NOON + 70 * DAY, grant, other)
    assert not told(world)
    posted = await until(world, DUE + 14 * DAY, grant, other)
    await store.close()
    due, over = NoticeKind.ROTATION_DUE, NoticeKind.ROTATION_OVERDUE
    of_rotation = [(kind, who, at) for kind, who, at in posted if kind in (due, over)]
    assert [f"{kind} {who} {at:%m-%d}" for kind, who, at in of_rotation] == [
        f"{due} {BEN.id} 02-06",  # Friday 17:00 there is Saturday 01:00 in UTC
        f"{due} {BEN.id} 02-13",
        f"{due} {BEN.id} 02-20",
        f"{due} {BEN.id} 02-22",
        f"{over} {CARA.id} 02-23",
        f"{due} {BEN.id} 02-25",  # it is switched off
    ]
    for _, who, at in of_rotation:
        assert next_working(at, WESTERN if who == BEN.id else EASTERN) == at


async def test_what_came_of_several_reminders_in_an_outage_is_said_in_one(world: World) -> None:
    """The desk was down for three weeks: one message to the holder, one to whoever approved; nothing is switched off at once."""
    grant = await held(world)
    world.clock.now = next_working(DUE + WEEK, WESTERN)
    await world.sweep()
    await world.sweep()
    assert len(told(world)) == 1
    await until(world, world.clock.now + 2 * DAY, grant)
    assert len(told(world)) == 1
    assert len(told(world, NoticeKind.ROTATION_OVERDUE)) == 1
    (key,) = await world.keys(grant)
    assert key.state is KeyState.LIVE


async def test_whoever_rotates_hears_no_more_and_reminders_lose_their_buttons(world: World) -> None:
    """The next rotation is due after another interval, with reminders of its own; the old ones tell of the old one."""
    grant = await held(world)
    await until(world, DUE - 6 * DAY, grant)
    assert len(told(world)) == 2
    assert all(story.rotation for story in told(world))
    await rotated(world, grant)
    await world.sweep()
    assert len(told(world)) == 2
    assert not any(story.rotation for story in told(world)), "they tell that nothing is due"
    now = await world.grant(grant)
    assert now.rotates_at == world.clock.now + 90 * DAY
    at = now.rotates_at
    await until(world, at - 17 * DAY, grant)
    assert not any(story.rotation for story in told(world))
    await until(world, at - 12 * DAY, grant)
    assert [bool(story.rotation) for story in told(world)] == [False, False, True], "an old message comes to life again"


async def test_a_grant_that_ends_before_is_not_reminded(world: World) -> None:
    """Its end is told; a rotation of it would be for nothing."""
    grant = await held(world, days=89)
    assert grant.rotates_at is None
    assert await world.store.read(lambda tx: tx.timer(TEAM, TimerKind.ROTATION, grant.id)) is None
    await until(world, NOON + 88 * DAY, grant)
    assert not told(world)
    assert (await world.grant(grant)).state is GrantState.ACTIVE


async def test_a_key_that_another_grant_follows_is_not_reminded_any_more(world: World) -> None:
    """Extended, the old key ends after a day: what was said of its rotation is over."""
    grant = await held(world)
    await until(world, DUE - 12 * DAY, grant)
    assert [bool(story.rotation) for story in told(world)] == [True]
    story = await world.extending.ask(
        BEN, grant.id, duration=30 * DAY, reason="It goes on", origin=new_id("v", os.urandom)
    )
    granted = (await world.requests.decide(CARA, story.request.id, Ruling.APPROVE)).grant
    assert granted is not None
    handover = await world.delivering(granted)
    await world.claim(handover)
    await world.acknowledge(handover)
    await world.sweep()
    assert [bool(story.rotation) for story in told(world)] == [False]
    await until(world, DUE + DAY, grant)
    assert len(told(world)) == 1
    assert not told(world, NoticeKind.ROTATION_OVERDUE)


async def test_whoever_holds_a_key_that_is_off_for_its_budget_too_waits_for_the_month(world: World) -> None:
    """A rotation that is overdue is no way round a budget that is used up."""
    grant = await held(world)
    await until(world, DUE + DAY, grant)
    (key,) = await world.keys(grant)

    def used_up(tx: Transaction) -> None:
        off = tx.move(tx.move(key, KeyState.DISABLING), KeyState.DISABLED, due_at=world.clock.now + 2 * WEEK)
        assert off.paused_by is None

    await world.store.write(used_up)
    await until(world, DUE + WEEK, grant)
    assert (await world.key(key.id)).paused_by == SYSTEM
    with pytest.raises(Superseded):
        await begun(world, grant)
    world.clock.now += 2 * WEEK
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.DISABLED
    assert buttons.rotate(told(world)[-1]), "the card is drawn anew, with its button"
    await rotated(world, grant)


async def test_a_key_that_is_being_switched_off_for_its_rotation_can_be_rotated(world: World) -> None:
    """Its provider is down when it is to be switched off: a new key takes its place all the same, and the old one dies."""
    grant = await held(world)
    assert isinstance(world.vendor, MeteredVendor)
    world.vendor.switch_faults = [ProviderTransient("down")] * 99
    await until(world, DUE + WEEK, grant)
    (key,) = await world.keys(grant)
    assert key.state is KeyState.DISABLING
    assert buttons.rotate(told(world)[-1])
    await rotated(world, grant)
    await world.sweep()
    assert [(await world.key(one.id)).state for one in await world.keys(grant)] == [KeyState.REVOKED, KeyState.LIVE]


async def test_a_pause_is_no_way_round_what_policy_says_of_an_overdue_key(world: World) -> None:
    """Paused by its holder, and switched on again weeks later: then it is switched off until they rotate it."""
    grant = await held(world)
    await until(world, DUE + DAY, grant)
    (key,) = await world.keys(grant)
    await world.store.write(lambda tx: world.switching.pause(tx, key, world.clock.now, by=BEN.id))
    await until(world, DUE + 20 * DAY, grant)
    assert (await world.key(key.id)).paused_by == BEN.id
    await world.switching.switch_on(BEN, grant.id)
    await until(world, DUE + 24 * DAY, grant)
    off = await world.key(key.id)
    assert (off.state, off.paused_by) == (KeyState.DISABLED, SYSTEM)


async def test_a_moment_without_slack_moves_no_reminder(world: World) -> None:
    """On a Friday afternoon of the west coast, when it is night by UTC: told as soon as Slack answers, and not on Monday."""
    grant = await held(world)
    first = plan(grant, TERMS, WESTERN)[14 * DAY]
    await until(world, first - timedelta(seconds=1), grant)
    world.clock.now, world.people.silent = first, True
    await world.watch.tick()
    await world.watch.deliver()
    assert told(world) == []
    world.people.silent = False
    await until(world, first + timedelta(minutes=15), grant)
    assert len(told(world)) == 1


async def test_remind_me_later_puts_off_to_half_time(world: World) -> None:
    """What is planned before then is not said; pressed again, nothing more happens; only its holder can."""
    grant = await held(world)
    await until(world, DUE - 12 * DAY, grant)
    assert len(told(world)) == 1
    story = await world.reminding.put_off(BEN, grant.id)
    assert story.rotation is not None
    again = story.rotation.again_at
    assert again == later(world.clock.now, DUE, WESTERN)
    acts = await world.acts()
    world.clock.now += timedelta(hours=1)
    story = await world.reminding.put_off(BEN, grant.id)
    assert story.rotation is not None
    assert story.rotation.again_at == again
    assert await world.acts() == acts
    await until(world, again - timedelta(minutes=1), grant)
    assert len(told(world)) == 1
    await until(world, again + timedelta(hours=1), grant)
    assert len(told(world)) == 2
    await world.reminding.put_off(BEN, grant.id)
    await world.reminding.put_off(BEN, grant.id)
    assert (await world.acts()).count(Act.ROTATION_PUT_OFF) == 2
    for actor in (ANA, CARA):
        with pytest.raises(NotYours):
            await world.reminding.put_off(actor, grant.id)
    await until(world, DUE + 2 * DAY, grant)
    assert len(told(world)) >= 3, "that it is due is said in any case"


async def test_later_and_a_reminder_of_the_same_moment_are_one_message(world: World) -> None:
    """What was put off comes due a second before the last reminder, and one sweep finds both: its holder hears once."""
    grant = await held(world)
    last = plan(grant, TERMS, WESTERN)[DAY]
    await until(world, last - (DUE - last) - timedelta(seconds=2), grant)
    before = len(told(world))
    story = await world.reminding.put_off(BEN, grant.id)
    assert story.rotation is not None
    assert story.rotation.again_at == last - timedelta(seconds=1)
    world.clock.now = last
    await until(world, last + timedelta(hours=1), grant)
    assert len(told(world)) == before + 1


async def test_a_rotation_under_way_needs_no_reminder(store: SqlStore) -> None:
    """While a depositor is asked for the new key the holder is not told to rotate, nor anybody that they did not."""
    desk = Depositing(store)
    key, _ = await desk.rested("deposit", duration=30 * DAY)
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    grant = await desk.grant_of(key)
    assert grant.rotates_at is None, "of thirty days' life, rotated each thirty days"
    await desk.store.write(lambda tx: tx.move(grant, rotates_at=desk.clock.now + 20 * DAY))
    await desk.store.write(lambda tx: tx.set_timer(TEAM, TimerKind.ROTATION, grant.id, desk.clock.now))
    await until(desk, NOON + 14 * DAY, grant)
    assert len(told(desk)) == 2
    await begun(desk, grant)
    await until(desk, NOON + 20 * DAY, grant)
    assert len(told(desk)) == 2
    assert not told(desk, NoticeKind.ROTATION_OVERDUE)
    await until(desk, NOON + 23 * DAY, grant)  # nobody brought it: the rotation lapsed
    assert (await desk.grant_of(key)).next_key_id is None
    assert len(told(desk, NoticeKind.ROTATION_OVERDUE)) == 1
    await desk.must_hold()


async def test_a_key_that_is_overdue_is_switched_off_until_it_is_rotated(world: World) -> None:
    """As policy says, three days after whoever approved heard; its holder alone turns that, by rotating."""
    grant = await held(world)
    await until(world, DUE + WEEK, grant)
    (key,) = await world.keys(grant)
    assert (key.state, key.paused_by) == (KeyState.DISABLED, SYSTEM)
    assert isinstance(world.vendor, MeteredVendor)
    assert world.vendor.off == {key.handle}
    overdue = (await world.grant(grant)).overdue_since
    assert overdue is not None
    assert world.clock.now - overdue >= 3 * DAY
    with pytest.raises(Superseded):
        await world.rotation.rotate_at_once(BEN, grant.id)
    await rotated(world, grant)
    await world.sweep()
    now = await world.grant(grant)
    assert (now.state, now.overdue_since) == (GrantState.ACTIVE, None)
    assert now.expires_at == grant.expires_at
    assert now.rotates_at == world.clock.now + 90 * DAY
    assert [(await world.key(one.id)).state for one in await world.keys(grant)] == [KeyState.REVOKED, KeyState.LIVE]
    assert not any(story.rotation for story in (*told(world), *told(world, NoticeKind.ROTATION_OVERDUE)))


async def test_it_is_switched_off_though_the_app_was_taken_away(world: World) -> None:
    """Slack says nobody's zone and nobody's standing any more: policy's time comes all the same, and who approved hears after."""
    grant = await held(world)
    await world.sweep()
    world.people.silent, world.people.refuses = True, "account_inactive"
    await world.installation.look("app_uninstalled")
    assert await until(world, DUE + WEEK, grant) == []
    key = (await world.keys(grant))[0]
    assert (key.state, key.paused_by) == (KeyState.DISABLED, SYSTEM)
    world.people.silent, world.people.refuses = False, None
    await world.sweep(after=ASKED_EVERY)
    posted = await until(world, world.clock.now + 4 * DAY, grant)
    assert {(kind, who) for kind, who, _ in posted} >= {
        (NoticeKind.ROTATION_DUE, BEN.id),
        (NoticeKind.ROTATION_OVERDUE, CARA.id),
    }


async def test_who_approved_hears_nothing_of_a_key_that_was_rotated_in_their_night(world: World) -> None:
    """It is overdue while they sleep, and rotated before they are up."""
    grant = await held(world)
    monday = next_working(DUE, WESTERN)  # a working day here is a night in Tokyo
    await until(world, monday + timedelta(minutes=1), grant)
    assert (await world.grant(grant)).overdue_since is not None
    assert told(world, NoticeKind.ROTATION_OVERDUE) == []
    await rotated(world, grant)
    posted = await until(world, monday + 3 * DAY, grant)
    assert [kind for kind, _, _ in posted if kind is NoticeKind.ROTATION_OVERDUE] == []


async def test_an_approver_may_let_an_overdue_key_go_on(world: World) -> None:
    """Once switched on it stays on: who approved has decided. It stays overdue."""
    grant = await held(world)
    await until(world, DUE + WEEK, grant)
    await world.switching.switch_on(CARA, grant.id)
    await until(world, DUE + 4 * WEEK, grant)
    (key,) = await world.keys(grant)
    assert key.state is KeyState.LIVE
    assert (await world.grant(grant)).overdue_since is not None


async def test_an_overdue_key_that_somebody_paused_is_not_its_holders_to_turn(world: World) -> None:
    """Who rotates must not go round an approver's pause."""
    grant = await held(world)
    await until(world, DUE + DAY, grant)
    (key,) = await world.keys(grant)
    await world.store.write(lambda tx: world.switching.pause(tx, key, world.clock.now, by=CARA.id))
    await until(world, DUE + WEEK, grant)
    assert (await world.key(key.id)).paused_by == CARA.id
    with pytest.raises(Superseded):
        await begun(world, grant)


async def test_where_keys_cannot_be_switched_off_an_overdue_one_is_revoked(store: SqlStore) -> None:
    """The grant is over, and says why."""
    world = desk_at(store, DISABLES, meters=False)
    grant = await held(world)
    await until(world, DUE + WEEK, grant)
    now = await world.grant(grant)
    assert (now.state, now.ended_because) == (GrantState.ENDED, Cause.NOT_ROTATED)
    assert not world.vendor.living
    assert Act.NOT_ROTATED in await world.acts()
    await world.must_hold()


async def test_unless_policy_says_so_an_overdue_key_goes_on(store: SqlStore) -> None:
    """Whoever approved knows, once; should they have left, those who could approve it today."""
    world = desk_at(store, LONG)
    grant = await held(world)
    await until(world, DUE - DAY, grant)
    world.people.people[CARA.id] = replace(world.people.people[CARA.id], deleted=True)
    await until(world, DUE + 4 * WEEK, grant)
    (key,) = await world.keys(grant)
    assert key.state is KeyState.LIVE
    asked = {
        notice.recipient for notice, _ in world.slack.messages.values() if notice.kind is NoticeKind.ROTATION_OVERDUE
    }
    assert asked == {ANA.id, DEV.id}
    assert (await world.acts()).count(Act.ROTATION_OVERDUE) == 1
    await world.must_hold()


async def test_policy_says_how_often_and_when_people_are_reminded(store: SqlStore) -> None:
    """By provider; a key that was picked up before the desk knew of rotations has time for the first reminder."""
    table = '\n[[rotation]]\nprovider = "openai"\ninterval = "30d"\nremind = ["2d"]\n'
    world = desk_at(store, LONG + table)
    grant = await held(world)
    assert grant.rotates_at == NOON + 30 * DAY
    await until(world, NOON + 25 * DAY, grant)
    assert not told(world)
    await until(world, NOON + 29 * DAY, grant)
    assert len(told(world)) == 1
    before = await held(world)

    def as_migrated(tx: Transaction) -> None:
        tx.move(before, rotates_at=None, held_since=NOON - 200 * DAY)
        tx.set_timer(TEAM, TimerKind.ROTATION, before.id, world.clock.now)

    await world.store.write(as_migrated)
    await world.sweep()
    assert (await world.grant(before)).rotates_at == world.clock.now + 2 * DAY
    await world.must_hold()
