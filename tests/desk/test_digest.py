"""The weekly digest: what each is told, when by their own clock, and exactly once, whatever breaks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotWelcome, ProviderTransient, Unavailable, Undeliverable
from bot.desk.hours import next_working
from bot.desk.mailing import ENROL_EVERY, LEASE
from bot.desk.model import Actor, Grant, Key, Outsiders, Person, Ruling
from bot.desk.offer import Ability, Basis
from bot.desk.ports import Transaction
from bot.desk.week import Digest, HolderWeek, Spent, Subscription, Tip, monday
from storage.store import SqlStore
from tests.desk.metered import MeteredVendor
from tests.desk.test_usage import DOLLAR, HOUR, vendor_of
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, LEADS, NOON, POLICY, TEAM, SetClock, World, draft

LONG = POLICY.replace('max_duration = "30d"', 'max_duration = "365d"').replace(
    "version = 1", 'version = 1\nadmins = ["U0ANA"]'
)
MONDAY = date(2026, 11, 23)
ONE_DAY, ONE_WEEK = timedelta(days=1), timedelta(days=7)
NINE = datetime(2026, 11, 30, 9, tzinfo=UTC)
"""The first Monday at nine after the stories begin."""


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """As everywhere in these tests, at a vendor that counts; keys may live for a year, and Ana is an admin."""
    clock = SetClock()
    desk = World(store, vendor=MeteredVendor(clock), policy=LONG)
    desk.clock = clock
    desk = World(store, beside=desk)
    yield desk
    await desk.must_hold()


async def holding(world: World, by: Actor = BEN, days: int = 365, dollars: int = 100) -> tuple[Grant, Key]:
    """The member has a key that lives for so long."""
    handover = await world.delivering(await world.approved(by, draft(days=days, dollars=dollars)))
    await world.claim(handover, actor=by)
    await world.acknowledge(handover, actor=by)
    grant = await world.grant(handover.grant)
    return grant, (await world.keys(grant))[0]


async def digests(world: World, at: datetime) -> list[tuple[datetime, Digest]]:
    """What is sent at this time."""
    world.clock.now = at
    before = len(world.slack.digests)
    await world.watch.digest()
    return world.slack.digests[before:]


async def sent_to(world: World, at: datetime) -> list[str]:
    """To whom something is sent at this time."""
    return sorted(told.member for _, told in await digests(world, at))


async def told(world: World, member: Actor, at: datetime = NINE) -> Digest:
    """The digest that the member gets then."""
    found = [one for _, one in await digests(world, at) if one.member == member.id]
    assert len(found) == 1
    return found[0]


async def subscription(world: World, member: Actor) -> Subscription:
    found = await world.store.read(lambda tx: tx.subscription(TEAM, member.id))
    assert found is not None
    return found


# ---- what it tells


async def test_a_holder_is_told_what_the_week_cost_against_the_week_before_and_the_limit(world: World) -> None:
    """To the micro, by day and by key; the month against the limits of all keys; a key that ends this week."""
    _, key = await holding(world)
    world.clock.now += 9 * ONE_DAY
    ending, other = await holding(world, days=7, dollars=50)
    vendor = vendor_of(world)
    for day, dollars in ((24, 2), (29, 3), (30, 4)):
        vendor.use(key, dollars * DOLLAR, day=date(2026, 11, day))
    vendor.use(other, DOLLAR, day=date(2026, 12, 4))
    vendor.use(key, 6 * DOLLAR, day=date(2026, 12, 6))
    vendor.use(key, 9 * DOLLAR, day=date(2026, 12, 7))
    world.clock.now = datetime(2026, 12, 7, 8, 30, tzinfo=UTC)
    await world.watch.go_round()
    one = await told(world, BEN, NINE + ONE_WEEK)
    assert (one.week, one.days.first, one.days.last) == (date(2026, 12, 7), date(2026, 11, 30), date(2026, 12, 6))
    mine = one.holder
    assert mine is not None
    assert mine.spent == Spent(week=11 * DOLLAR, before=5 * DOLLAR)
    assert mine.days == (4 * DOLLAR, 0, 0, 0, DOLLAR, 0, 6 * DOLLAR)
    assert mine.days_before == (0, 2 * DOLLAR, 0, 0, 0, 0, 3 * DOLLAR)
    assert (mine.month, mine.budget_cents) == (16 * DOLLAR, 15_000)
    assert [(one.spent, one.month) for one in mine.keys] == [
        (Spent(10 * DOLLAR, 5 * DOLLAR), 15 * DOLLAR),
        (Spent(DOLLAR, 0), DOLLAR),
    ]
    assert [story.grant and story.grant.id for story in mine.ending] == [ending.id]
    assert (mine.idle, mine.waiting, one.approver, one.admin) == ((), (), None, None)


async def test_a_month_that_is_over_is_told_of_alone(world: World) -> None:
    """On the first of the next one, what is used of that day is not counted as the old one's; nor does it make the week an estimate."""
    _, key = await holding(world, days=90)
    vendor = vendor_of(world)
    for day, dollars in ((date(2027, 1, 30), 2), (date(2027, 2, 1), 5)):
        vendor.use(key, dollars * DOLLAR, day=day)
    today = {at: replace(one, basis=Basis.ESTIMATED) for at, one in vendor.used.items() if one.day.month == 2}
    vendor.used |= today
    world.clock.now = datetime(2027, 2, 1, 7, 30, tzinfo=UTC)
    await world.watch.go_round()
    mine = await holder_week(world, NINE + 9 * ONE_WEEK)
    assert (mine.month, [one.month for one in mine.keys]) == (2 * DOLLAR, [2 * DOLLAR])
    assert (len(today), mine.estimated) == (1, False)


async def test_a_key_whose_use_nobody_reports_is_said_to_be_one(world: World) -> None:
    """In the digest and in the answer to `/apikey usage`."""
    await holding(world)
    for reports in (True, False):
        vendor_of(world).abilities = MeteredVendor.abilities - (set() if reports else {Ability.USAGE})
        mine = (await world.mailing.show(BEN)).holder
        assert mine
        assert [one.reported for one in mine.keys] == [reports]
        assert [one.reported for one in (await world.usage.mine(BEN)).keys] == [reports]


async def holder_week(world: World, at: datetime) -> HolderWeek:
    one = (await told(world, BEN, at)).holder
    assert one is not None
    return one


async def test_a_key_lies_idle_only_where_usage_is_known(world: World) -> None:
    """Two weeks without use, as read from the provider; what was never read says nothing."""
    grant, key = await holding(world)
    two_weeks = NINE + 2 * ONE_WEEK
    assert (await holder_week(world, two_weeks)).idle == ()
    await world.watch.go_round()
    mine = await holder_week(world, two_weeks + ONE_WEEK)
    assert [story.grant and story.grant.id for story in mine.idle] == [grant.id]
    assert mine.advice.tip in (Tip.IDLE, Tip.LONG)
    vendor_of(world).use(key, DOLLAR)
    await world.round(after=HOUR)
    assert (await holder_week(world, two_weeks + 2 * ONE_WEEK)).idle == ()


async def test_the_tip_is_chosen_from_what_they_did(world: World) -> None:
    """Nothing to say of them: where to keep it. A link that ran out, a jump, a wide key, a large limit, a long life: those."""
    _, key = await holding(world, days=30)
    shown = await world.mailing.show(BEN)
    assert shown.holder
    assert shown.holder.advice.tip is Tip.STORE
    world.clock.now = datetime(2026, 12, 20, 12, tzinfo=UTC)
    vendor_of(world).use(key, DOLLAR, day=date(2026, 12, 12))
    vendor_of(world).use(key, 6 * DOLLAR, day=date(2026, 12, 19))
    await world.watch.go_round()
    shown = await world.mailing.show(BEN)
    assert shown.holder
    seen = {shown.holder.advice.tip}
    assert seen <= {Tip.JUMP, Tip.ROOMY}
    other = await world.approved(BEN, draft(days=90))
    await world.delivering(other)
    await world.sweep(after=timedelta(minutes=16))
    shown = await world.mailing.show(BEN)
    assert shown.holder
    assert shown.holder.advice.tip in {Tip.JUMP, Tip.ROOMY, Tip.LINK}
    assert [story.grant and story.grant.id for story in shown.holder.waiting] == [other.id]


async def test_the_tip_is_another_each_week_over_new_year_too(world: World) -> None:
    """A key that lives for long, and a link that ran out: now the one, then the other."""
    _, key = await holding(world, days=90)
    for day in (date(2026, 12, 30), date(2027, 1, 6)):
        vendor_of(world).use(key, DOLLAR, day=day)
    world.clock.now = datetime(2027, 1, 2, 12, tzinfo=UTC)
    await world.delivering(await world.approved(BEN, draft(days=30)))
    await world.sweep(after=timedelta(minutes=16))
    await world.watch.go_round()
    fourth = datetime(2027, 1, 4, 9, tzinfo=UTC)
    assert {(await holder_week(world, at)).advice.tip for at in (fourth, fourth + ONE_WEEK)} == {Tip.LONG, Tip.LINK}


async def test_an_approver_is_told_of_the_team_and_of_what_waits_for_them(world: World) -> None:
    """Spend, the keys most in use, pending decisions, idle ones: of others, by the rules that name them today."""
    _, key = await holding(world)
    _, mine = await holding(world, by=CARA)
    vendor_of(world).use(key, 2 * DOLLAR, day=date(2026, 11, 20))
    await world.watch.go_round()
    vendor_of(world).use(key, 7 * DOLLAR, day=date(2026, 11, 27))
    vendor_of(world).use(mine, 5 * DOLLAR, day=date(2026, 11, 28))
    world.clock.now = NINE - HOUR
    asked = await world.asked()
    await world.watch.go_round()
    sent = {one.member: one for _, one in await digests(world, NINE)}
    cara, dev, ana = (sent[who.id].approver for who in (CARA, DEV, ANA))
    assert cara
    assert dev
    assert ana
    assert cara.spent == Spent(7 * DOLLAR, 2 * DOLLAR), "her own are no team's"
    assert [(one.holder, one.spent) for one in cara.top] == [(BEN.id, Spent(7 * DOLLAR, 2 * DOLLAR))]
    assert dev.spent == Spent(12 * DOLLAR, 2 * DOLLAR)
    assert [one.holder for one in dev.top] == [BEN.id, CARA.id]
    assert (cara.living, dev.living) == (1, 2)
    assert [story.request.id for story in (*cara.pending, *dev.pending, *ana.pending)] == [asked.request.id] * 3
    assert ana.spent == Spent(), "as Ben's manager she is told of what she approved herself: nothing yet"
    three = {one.member: one for _, one in await digests(world, NINE + 2 * ONE_WEEK)}[DEV.id].approver
    assert three
    assert (three.idle_count, sorted(one.holder for one in three.idle)) == (2, [BEN.id, CARA.id])
    world.people.groups[LEADS] = {CARA.id}
    assert DEV.id not in {one.member for _, one in await digests(world, NINE + 3 * ONE_WEEK)}, "no say, no digest"


async def test_a_manager_is_told_of_what_they_approved(world: World) -> None:
    """The rule names managers: what Ana approved is hers to be told of."""
    story = await world.asked(BEN, draft(days=365))
    granted = (await world.requests.decide(ANA, story.request.id, Ruling.APPROVE)).grant
    assert granted
    handover = await world.delivering(granted)
    await world.claim(handover)
    await world.acknowledge(handover)
    vendor_of(world).use((await world.keys(granted))[0], DOLLAR)
    await world.round(after=HOUR)
    ana = (await told(world, ANA)).approver
    assert ana
    assert (ana.spent, ana.living) == (Spent(DOLLAR), 1)


async def test_an_admin_is_told_of_the_whole_desk(world: World) -> None:
    """Totals by project, keys that are nobody's, and what fails at a provider; and nobody else is."""
    _, key = await holding(world)
    vendor_of(world).use(key, 7 * DOLLAR, day=date(2026, 11, 27))
    grant, _ = await holding(world)
    vendor_of(world).revoke_faults = [ProviderTransient("down")] * 20
    await world.grants.revoke(BEN, grant.id)
    for _ in range(7):
        await world.sweep(after=timedelta(minutes=15))
    outsider = Outsiders(TEAM, "openai", "proj_search", "search-prod", 3, world.clock())
    await world.store.write(lambda tx: tx.put_outsiders(TEAM, "openai", [outsider]))
    await world.round(after=4 * ONE_DAY)
    sent = {one.member: one for _, one in await digests(world, NINE)}
    assert [who for who, one in sent.items() if one.admin] == [ANA.id]
    whole = sent[ANA.id].admin
    assert whole
    assert [(one.project_name, one.spent) for one in whole.projects] == [("search-prod", Spent(7 * DOLLAR))]
    assert whole.spent == Spent(7 * DOLLAR)
    assert [(one.label, one.stuck) for one in whole.failing] == [("OpenAI", 1)]
    vendor_of(world).revoke_faults = []


async def test_rotations_are_told_of_to_holder_approver_and_admin(world: World) -> None:
    """To the holder what is to be rotated this week, and what should have been; to the others what was not."""
    grant, _ = await holding(world)
    due = world.clock.now + 90 * ONE_DAY
    (nothing, soon, late) = (monday(due, "UTC") + number * ONE_WEEK for number in (-2, 0, 2))
    assert (grant.rotates_at, due.weekday()) == (due, 6)
    for week in (nothing, soon, late):
        at = datetime.combine(week, NINE.time(), UTC)
        world.clock.now = at
        await world.watch.tick()
        sent = {one.member: one for _, one in await digests(world, at)}
        holder, approver = sent[BEN.id].holder, sent[CARA.id].approver
        assert holder
        assert approver
        assert [story.grant and story.grant.id for story in holder.rotating] == ([] if week == nothing else [grant.id])
        overdue = 1 if week == late else 0
        assert (approver.overdue_count, len(approver.overdue)) == (overdue, overdue)
        admin = sent[ANA.id].admin if ANA.id in sent else None
        assert (admin.overdue if admin else 0) == overdue
        assert all(story.grant and bool(story.grant.overdue_since) == bool(overdue) for story in holder.rotating)


async def test_where_there_is_nothing_to_tell_nothing_is_sent(world: World) -> None:
    """To approvers and admins of a desk that has no key, to a holder who gave theirs back; later there is again."""
    await world.asked()
    story = await world.asked()
    await world.requests.cancel(BEN, story.request.id)
    (request,) = await world.store.read(lambda tx: tx.pending(TEAM, 9))
    await world.requests.cancel(BEN, request.id)
    assert await sent_to(world, NINE - ONE_DAY) == []
    assert await sent_to(world, NINE) == []
    assert (await subscription(world, CARA)).week == date(2026, 11, 30)
    await holding(world)
    assert await sent_to(world, NINE + ONE_WEEK) == [BEN.id, CARA.id, DEV.id]


# ---- when


ZONES = {
    ANA: "America/New_York",
    BEN: "Europe/Berlin",
    CARA: "Pacific/Auckland",
    DEV: "Asia/Kolkata",
}


async def test_monday_at_nine_by_each_ones_own_clock_through_summer_time(world: World) -> None:
    """Four zones, seven weeks in which the clocks of three of them change: each week once, at nine."""
    for who in (BEN, DEV):
        await holding(world, by=who)
    for who, tz in ZONES.items():
        world.people.people[who.id] = replace(world.people.people[who.id], tz=tz)
    await digests(world, datetime(2027, 2, 27, tzinfo=UTC))
    world.slack.digests.clear()
    for _ in range(7 * len(ZONES)):
        due = min(held.due_at for held in [await subscription(world, who) for who in ZONES] if held.due_at)
        assert await sent_to(world, due - timedelta(seconds=1)) == []
        await digests(world, due)
    for who in (BEN, CARA, DEV):
        where = ZoneInfo(ZONES[who])
        times = [at.astimezone(where) for at, one in world.slack.digests if one.member == who.id]
        assert [at.date() for at in times] == [date(2027, 3, 1) + week * ONE_WEEK for week in range(7)]
        assert {(at.weekday(), at.hour) for at in times} == {(0, 9)}
    weeks = [(one.member, one.week) for _, one in world.slack.digests]
    assert len(weeks) == len(set(weeks))


async def test_after_an_outage_it_comes_late_in_working_hours_and_of_weeks_only_the_newest(world: World) -> None:
    """Down on Monday: on Tuesday at nine, not in the night. Down for three weeks: one digest."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    assert await sent_to(world, NINE + timedelta(hours=14)) == []
    assert await sent_to(world, NINE + timedelta(hours=23)) == []
    assert BEN.id in await sent_to(world, NINE + ONE_DAY)
    late = NINE + 3 * ONE_WEEK + 2 * ONE_DAY
    again = [one for _, one in await digests(world, late) if one.member == BEN.id]
    assert [(one.week, one.days.last) for one in again] == [(date(2026, 12, 21), date(2026, 12, 20))]
    assert BEN.id not in await sent_to(world, late + ONE_DAY)
    assert BEN.id in await sent_to(world, NINE + 4 * ONE_WEEK)


async def test_a_friday_that_was_missed_is_made_up_for_on_monday(world: World) -> None:
    """Moved to Fridays at five, and the desk is down over the weekend: the week comes late, and the next on its Friday."""
    await holding(world)
    await world.mailing.choose(BEN, weekday=4, hour=17, off=False)
    friday = datetime(2026, 11, 27, 17, tzinfo=UTC)
    assert await sent_to(world, friday - timedelta(minutes=1)) == []
    assert await sent_to(world, friday + ONE_DAY) == []
    late = [one for _, one in await digests(world, NINE) if one.member == BEN.id]
    assert [one.week for one in late] == [MONDAY]
    assert BEN.id not in await sent_to(world, NINE + ONE_DAY)
    assert await sent_to(world, friday + ONE_WEEK) == [BEN.id]


async def test_it_is_moved_and_switched_off_and_on(world: World) -> None:
    """Their choice counts from now on; what came due while it was off is not made up for; each choice is recorded."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    kept = await world.mailing.choose(BEN, weekday=2, hour=15, off=False)
    assert kept.due_at == datetime(2026, 11, 25, 15, tzinfo=UTC) + ONE_WEEK, "this week's wednesday is over"
    assert BEN.id not in await sent_to(world, NINE)
    assert BEN.id in await sent_to(world, datetime(2026, 12, 2, 15, tzinfo=UTC))
    await world.mailing.choose(BEN, weekday=2, hour=15, off=True)
    await world.mailing.choose(BEN, weekday=2, hour=15, off=True)
    assert await sent_to(world, datetime(2026, 12, 10, 15, tzinfo=UTC)) == [CARA.id, DEV.id]
    await world.mailing.choose(BEN, weekday=2, hour=15, off=False)
    assert await sent_to(world, datetime(2026, 12, 11, 15, tzinfo=UTC)) == []
    assert BEN.id in await sent_to(world, datetime(2026, 12, 16, 15, tzinfo=UTC))
    entries, _ = await world.store.audit_chain(TEAM)
    assert [entry.detail["off"] for entry in entries if entry.act == Act.DIGEST_SET] == [False, True, False]
    with pytest.raises(ValueError, match="working hours"):
        await world.mailing.choose(BEN, weekday=6, hour=3, off=False)
    with pytest.raises(NotWelcome):
        await world.mailing.choose(GUEST, weekday=0, hour=9, off=False)


async def test_who_moves_it_ahead_gets_this_weeks_at_once_and_only_once(world: World) -> None:
    """From Friday to Monday on a Wednesday: the week that was still to come comes now."""
    await holding(world)
    await world.mailing.choose(BEN, weekday=4, hour=9, off=False)
    assert BEN.id not in await sent_to(world, NINE + 2 * ONE_DAY - ONE_WEEK)
    wednesday = NINE + 2 * ONE_DAY
    assert BEN.id in await sent_to(world, datetime(2026, 11, 27, 9, tzinfo=UTC))
    world.clock.now = wednesday
    kept = await world.mailing.choose(BEN, weekday=0, hour=9, off=False)
    assert kept.due_at == wednesday
    assert BEN.id in await sent_to(world, wednesday)
    assert BEN.id not in await sent_to(world, wednesday + 2 * ONE_DAY)
    assert BEN.id in await sent_to(world, NINE + ONE_WEEK)


async def test_whoever_travels_has_each_week_once_and_never_at_night(world: World) -> None:
    """West, and it waits for nine there; east, and it comes in the working hours that are left."""
    await holding(world)

    def lives_in(tz: str) -> None:
        world.people.people[BEN.id] = replace(world.people.people[BEN.id], tz=tz)

    await digests(world, NINE - ONE_DAY)
    lives_in("Pacific/Honolulu")
    for hours in range(0, 48, 2):
        await digests(world, NINE + timedelta(hours=hours))
    lives_in("Asia/Tokyo")
    for hours in range(48, 16 * 24, 6):
        await digests(world, NINE + timedelta(hours=hours))
    mine = [(at, one) for at, one in world.slack.digests if one.member == BEN.id]
    assert [one.week for _, one in mine] == [date(2026, 11, 30) + number * ONE_WEEK for number in range(3)]
    assert all(next_working(at, one.tz) == at for at, one in mine)


async def test_a_clock_that_jumped_ahead_and_back_costs_no_more_than_what_it_sent(world: World) -> None:
    """A year ahead for a moment: what was sent then is sent, and from then on the weeks come again."""
    await holding(world, days=365)
    await digests(world, NINE - ONE_DAY)
    await digests(world, NINE + 40 * ONE_WEEK)
    await digests(world, NINE - ONE_DAY)
    sent = [one.week for _, one in world.slack.digests if one.member == BEN.id]
    assert len(sent) == len(set(sent)) == 1
    (held,) = [await subscription(world, BEN)]
    assert held.due_at is not None
    assert held.due_at > world.clock(), "it is not looked at before its time"


# ---- once


async def test_posted_and_the_answer_lost_it_is_not_posted_again(world: World) -> None:
    """Slack had it, and nobody knows: the next try finds it there."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    world.slack.lost_answers = [Unavailable("no answer"), TimeoutError()] * 3
    for minutes in range(0, 30, 3):
        await digests(world, NINE + timedelta(minutes=minutes))
    members = [one.member for _, one in world.slack.digests]
    assert sorted(members) == [BEN.id, CARA.id, DEV.id]
    assert {(await subscription(world, who)).attempts for who in (BEN, CARA, DEV)} == {0}


async def test_a_process_that_dies_between_posting_and_writing_it_down(world: World, other: World) -> None:
    """Another takes over when the lease ends, looks, and finds it there."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    world.slack.lost_answers = [RuntimeError("died")] * 3
    await digests(world, NINE)
    assert len(world.slack.digests) == 3
    assert await sent_to(other, NINE + LEASE - timedelta(seconds=1)) == []
    assert (await subscription(world, BEN)).week is None
    await digests(other, NINE + LEASE + timedelta(seconds=1))
    assert len(world.slack.digests) == 3
    assert (await subscription(world, BEN)).week == NINE.date()


async def test_one_process_sends_at_a_time(world: World, other: World) -> None:
    """While one sends, another finds nothing to send; together they send each digest once."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    world.clock.now = NINE
    world.slack.at_digest.shut()
    sending = asyncio.create_task(world.watch.digest())
    await world.slack.at_digest.reached.wait()
    await other.watch.digest()
    assert world.slack.digests == []
    world.slack.at_digest.open()
    await asyncio.gather(sending, other.watch.digest())
    assert sorted(one.member for _, one in world.slack.digests) == [BEN.id, CARA.id, DEV.id]


async def test_what_is_chosen_while_it_is_being_sent_counts_afterwards(world: World) -> None:
    """Switched off in that moment: this one still comes, and is the last; and it is not sent twice."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    world.clock.now = NINE
    world.slack.at_digest.shut()
    sending = asyncio.create_task(world.watch.digest())
    await world.slack.at_digest.reached.wait()
    await world.mailing.choose(BEN, weekday=3, hour=11, off=True)
    world.slack.at_digest.open()
    await sending
    held = await subscription(world, BEN)
    assert (held.off, held.due_at, held.week, held.sender) == (True, None, NINE.date(), None)
    assert BEN.id not in await sent_to(world, NINE + 3 * ONE_WEEK)


async def test_slack_is_down_and_some_cannot_be_reached(world: World) -> None:
    """What may be later is tried later and later; what never can be is given up for this week."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    world.slack.digest_faults = [Unavailable("down")] * 6 + [Undeliverable("user_disabled")]
    sent: list[str] = []
    for minutes in range(60):
        sent += await sent_to(world, NINE + timedelta(minutes=minutes))
    assert len(sent) == len(set(sent)) == 2
    assert len(await sent_to(world, NINE + ONE_WEEK)) == 3


async def test_people_cannot_be_asked_about_and_guests_are_told_nothing(world: World) -> None:
    """Without the directory nothing is sent, and it is tried again, not at each beat; who became a guest, or left, gets none."""
    await holding(world)
    await digests(world, NINE - ONE_DAY)
    asking = world.people.person
    asked: Counter[str] = Counter()

    async def down(member: str, *, fresh: bool = False) -> Person | None:
        asked[member] += 1
        raise Unavailable("Slack does not answer now.")

    world.people.person = down  # type: ignore[method-assign]  # Slack is away
    for beat in range(40):
        assert await sent_to(world, NINE + beat * timedelta(seconds=15)) == []
    assert set(asked.values()) == {2}, "everybody is asked about at each beat"
    world.people.person = asking  # type: ignore[method-assign]  # and back
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], guest=True)
    world.people.people[CARA.id] = replace(world.people.people[CARA.id], deleted=True)
    assert await sent_to(world, NINE + HOUR) == [DEV.id]
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], guest=False)
    assert BEN.id in await sent_to(world, NINE + ONE_WEEK)


async def test_who_has_one_is_found_again_and_again(world: World) -> None:
    """Holders, approvers and admins of a desk that is older than digests; who comes later, within an hour; each once."""
    grant, _ = await holding(world)

    async def members() -> Sequence[str]:
        def look(tx: Transaction) -> list[str]:
            found = [tx.subscription(TEAM, who.id) for who in (ANA, BEN, CARA, DEV)]
            return [one.member for one in found if one]

        return await world.store.read(look)

    assert await members() == []
    world.clock.now += ENROL_EVERY
    await world.watch.digest()
    assert await members() == [ANA.id, BEN.id, CARA.id, DEV.id]
    chosen = await world.mailing.choose(BEN, weekday=1, hour=10, off=False)
    world.clock.now += ENROL_EVERY
    await World(world.store, beside=world).watch.digest()
    assert await subscription(world, BEN) == chosen
    assert monday(world.clock(), "UTC") == MONDAY
    assert grant.holder == BEN.id
    assert world.clock() > NOON
