"""Unusual use is told once, with numbers, to those who can say what it was; each answer does what it says, and no more."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotAllowed, NotWelcome, Superseded, Unavailable
from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import Actor, Answer, Cause, Grant, HourUse, Incident, Key, NoticeKind, TimerKind
from bot.desk.offer import Ability, Basis, Usage
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState
from storage.store import SqlStore
from tests.desk.test_growth import at
from tests.desk.test_usage import DOLLAR, TODAY, in_use, metered, over, vendor_of
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, POLICY, TEAM, World

HOUR, DAY = COLLECTED_EVERY, timedelta(days=1)
NIGHT = at("02:10", TODAY + DAY)  # a Tuesday
MODEL = "gpt-5-mini"
CARA_ALONE = POLICY.replace('approvers = ["S0LEADS", "manager"]', 'approvers = ["U0CARA"]')


@pytest.fixture
async def world(store: SqlStore, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """At a vendor that counts; a test may say what policy does about budgets."""
    marked = request.node.get_closest_marker("parametrize")
    wanted = request.node.callspec.params.get("policy", CARA_ALONE) if marked else CARA_ALONE
    desk = metered(store, wanted)
    yield desk
    await desk.must_hold()


def used_before(tx: Transaction, key: Key, until: date, *, weeks: int = 4, begin: int = 9) -> None:
    """Office hours for some weeks: 30 to 39 requests an hour, for a dollar an hour at most."""
    hours, days = [], []
    for back in range(1, weeks * 7 + 1):
        day = until - back * DAY
        if day.weekday() >= 5:
            continue
        hours += [
            HourUse(key.id, at(f"{hour:02}:00", day), 1, 30 + hour % 10, 9_000, 50_000)
            for hour in range(begin, begin + 9)
        ]
        of_day = Usage("", day, MODEL, 310, 60_000, 21_000, 450_000, Basis.BILLED, at("20:00", day))
        days.append((key.id, of_day))
    tx.add_hours(TEAM, hours)
    tx.put_usage(TEAM, days)


async def known(world: World, *, begin: int = 9) -> tuple[Grant, Key]:
    """Ben's key, in use in office hours for weeks, as rounds have read it; it is ten past one at night."""
    grant, key = await in_use(world)
    await world.store.write(lambda tx: used_before(tx, key, TODAY, begin=begin))
    world.clock.now = NIGHT - HOUR
    await world.round()
    return grant, key


def use(world: World, key: Key, requests: int, micros: int, *, model: str = MODEL) -> None:
    """Used since the last round."""
    vendor, today = vendor_of(world), world.clock.now.date()
    was = vendor.used.get((f"meter_{key.handle}", today, model))
    before = (was.requests, was.tokens_in, was.cost_micros) if was else (0, 0, 0)
    vendor.used[f"meter_{key.handle}", today, model] = Usage(
        f"meter_{key.handle}",
        today,
        model,
        before[0] + requests,
        before[1] + requests * 100,
        0,
        before[2] + micros,
        Basis.BILLED,
        world.clock.now,
    )


async def stolen(world: World, key: Key, requests: int = 4210, micros: int = 8 * DOLLAR) -> None:
    """Thousands of requests within an hour, and the round that reads them."""
    world.clock.now += HOUR
    use(world, key, requests, micros)
    await world.round()


async def newest(world: World, grant: Grant) -> Incident:
    """The newest incident."""
    return (await world.store.read(lambda tx: tx.incidents_of(TEAM, grant.id, 9)))[0]


async def open_ones(world: World, holder: Actor | None = None) -> list[str]:
    """The ids of those that nobody answered."""
    who = holder.id if holder else None
    return [one.id for one in await world.store.read(lambda tx: tx.open_incidents(TEAM, 9, holder=who))]


def messages(world: World) -> int:
    """How many were ever posted about unusual use."""
    kinds = (NoticeKind.UNUSUAL, NoticeKind.SUSPECTED)
    return sum(notice.kind in kinds for notice, _ in world.slack.messages.values())


async def test_it_is_told_once_to_holder_and_approver(world: World) -> None:
    """At night, too, with what was found beside what is usual; what follows goes into the same messages."""
    grant, key = await known(world)
    await stolen(world, key)
    incident = await newest(world, grant)
    assert incident.findings == (
        Finding(Unusual.VOLUME, datetime(2026, 11, 24, 1), Measure.REQUESTS, 4210, 0, 0, Like.HOUR_OF_WEEK),
        Finding(Unusual.VOLUME, datetime(2026, 11, 24, 1), Measure.COST, 8 * DOLLAR, 0, 0, Like.HOUR_OF_WEEK),
        Finding(Unusual.NIGHT, datetime(2026, 11, 24, 1), Measure.REQUESTS, 4210),
        Finding(Unusual.SPEND, datetime(2026, 11, 24), Measure.COST, 8 * DOLLAR, 450_000, 450_000, Like.WORKDAYS),
    )
    assert world.slack.standing(NoticeKind.UNUSUAL, BEN)[0].incident == incident
    assert world.slack.standing(NoticeKind.SUSPECTED, CARA)[0].incident == incident
    assert await open_ones(world) == await open_ones(world, BEN) == [incident.id]
    assert await open_ones(world, CARA) == []
    entry = await world.last_entry()
    assert (entry.act, entry.subject, entry.detail["kinds"]) == (Act.UNUSUAL, incident.id, "volume night spend")

    await stolen(world, key, 5000)
    world.clock.now += HOUR
    use(world, key, 30, DOLLAR, model="large-1")
    await world.round()
    found = {(one.kind, one.measure): one for one in (await newest(world, grant)).findings}
    assert found[Unusual.VOLUME, Measure.REQUESTS].found == 5000
    assert found[Unusual.MODEL, Measure.COST].model == "large-1"
    assert world.slack.standing(NoticeKind.UNUSUAL, BEN)[0].incident == await newest(world, grant)
    assert messages(world) == 2
    assert (await world.acts()).count(Act.UNUSUAL) == 1


@pytest.mark.parametrize("policy", [POLICY])
async def test_where_who_approved_left_others_hear(world: World, policy: str) -> None:
    """Whoever may decide on it today: they may pause it, too."""
    grant, key = await known(world)
    world.people.people[CARA.id] = replace(world.people.people[CARA.id], deleted=True)
    await stolen(world, key)
    told = [notice for notice, _ in world.slack.messages.values() if notice.kind is NoticeKind.SUSPECTED]
    assert sorted(one.recipient for one in told) == sorted([ANA.id, DEV.id])
    assert len(world.slack.standing(NoticeKind.UNUSUAL, BEN)) == 1
    incident = await newest(world, grant)
    await world.incidents.pause(ANA, incident.id)
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.DISABLED


async def test_what_is_usual_is_not_told(world: World) -> None:
    """Neither the next hour of an office day, nor two cents at night, nor a key that is new."""
    _, key = await known(world)
    use(world, key, 3, 20_000)
    await world.round(after=HOUR)
    world.clock.now = at("09:10", TODAY + DAY)
    await world.round()
    use(world, key, 90, 200_000)
    await world.round(after=HOUR)
    fresh = await world.active()
    (second,) = await world.keys(fresh)
    await stolen(world, second, 9000, 20 * DOLLAR)
    assert messages(world) == 0
    assert await open_ones(world) == []


async def test_an_outage_and_a_correction_are_no_incident(world: World) -> None:
    """A day's use that comes at once, and a day that is put right afterwards."""
    _, key = await known(world)
    world.clock.now = at("16:10", TODAY + DAY)
    use(world, key, 310, 450_000)
    await world.round()
    vendor = vendor_of(world)
    vendor.used[f"meter_{key.handle}", TODAY, MODEL] = Usage(
        f"meter_{key.handle}", TODAY, MODEL, 900, 9000, 0, 2 * DOLLAR, Basis.BILLED, world.clock.now
    )
    await world.round(after=HOUR)
    assert messages(world) == 0


async def test_that_was_me_closes_it_and_is_learnt(world: World) -> None:
    """As much again, and half as much more, is usual; three times as much is not, and is told in new messages."""
    grant, key = await known(world)
    await stolen(world, key)
    incident = await newest(world, grant)
    story = await world.incidents.mine(BEN, incident.id)
    assert story.incident is not None
    assert (story.incident.answer, story.incident.answered_by) == (Answer.MINE, BEN.id)
    await world.incidents.mine(CARA, incident.id)
    assert (await newest(world, grant)).answered_by == BEN.id
    assert (await world.acts()).count(Act.EXPLAINED) == 1
    assert await open_ones(world) == []
    await world.sweep()
    await stolen(world, key, 5000, 3 * DOLLAR)
    assert messages(world) == 2
    await stolen(world, key, 13_000, 24 * DOLLAR)
    assert (await newest(world, grant)).id != incident.id
    assert messages(world) == 4
    told = {one.incident.id for one in world.slack.standing(NoticeKind.UNUSUAL, BEN) if one.incident}
    assert told == {incident.id, (await newest(world, grant)).id}


async def test_what_nobody_answers_becomes_quiet_and_is_not_learnt(world: World) -> None:
    """A day after the last of it; the same again is told anew, and somebody may still say that it was theirs."""
    grant, key = await known(world)
    await stolen(world, key)
    await world.round(after=DAY - HOUR)
    first = await newest(world, grant)
    assert first.closed_at is None
    await world.round(after=2 * HOUR)
    first = await newest(world, grant)
    assert (first.answer, first.answered_by) == (Answer.QUIET, "system")
    assert (await world.last_entry()).act == Act.INCIDENT_CLOSED
    world.clock.now = at("02:10", TODAY + 3 * DAY)
    await world.round()
    await stolen(world, key)
    second = await newest(world, grant)
    assert second.id != first.id
    assert {one.kind for one in second.findings} == {Unusual.VOLUME, Unusual.NIGHT, Unusual.SPEND}
    assert messages(world) == 4
    await world.incidents.mine(BEN, second.id)
    assert await open_ones(world) == []


async def test_pause_switches_off_until_somebody_switches_on(world: World) -> None:
    """No month's end does, and no budget; who paused it may, though they are its holder."""
    grant, key = await known(world)
    await stolen(world, key)
    incident = await newest(world, grant)
    await world.incidents.pause(BEN, incident.id)
    await world.incidents.pause(BEN, incident.id)
    await world.sweep()
    off = await world.key(key.id)
    assert (off.state, off.paused_by, off.due_at) == (KeyState.DISABLED, BEN.id, None)
    assert key.handle in vendor_of(world).off
    assert (await newest(world, grant)).answer is Answer.PAUSED
    acts = await world.acts()
    assert acts[-3:] == [Act.DISABLE_ASKED, Act.INCIDENT_CLOSED, Act.DISABLED]
    await world.sweep(after=2 * DAY)
    assert (await world.key(key.id)).state is KeyState.DISABLED
    await world.switching.switch_on(BEN, grant.id)
    await world.sweep()
    on = await world.key(key.id)
    assert (on.state, on.paused_by, vendor_of(world).off) == (KeyState.LIVE, None, set())
    await world.incidents.mine(BEN, incident.id)
    assert (await newest(world, grant)).answer is Answer.MINE


async def test_what_an_approver_paused_its_holder_cannot_switch_on(world: World) -> None:
    """The approver can; and whoever is neither can do nothing here, each refusal recorded."""
    grant, key = await known(world)
    await stolen(world, key)
    incident = await newest(world, grant)
    for act in (world.incidents.mine, world.incidents.pause):
        with pytest.raises(NotAllowed):
            await act(DEV, incident.id)
        with pytest.raises(NotWelcome):
            await act(GUEST, incident.id)
    refused = [entry.actor for entry in await world.entries() if entry.act == Act.REFUSED]
    assert refused == [DEV.id, GUEST.id] * 2
    assert (await newest(world, grant)).answer is None
    await world.incidents.pause(CARA, incident.id)
    await world.sweep()
    with pytest.raises(NotAllowed):
        await world.switching.switch_on(BEN, grant.id)
    await world.switching.switch_on(CARA, grant.id)
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.LIVE


@pytest.mark.parametrize("policy", [over("disable").replace('"S0LEADS", "manager"', '"U0CARA"')], ids=["disable"])
async def test_a_pause_lifts_no_budget(world: World, policy: str) -> None:
    """A key that its budget switched off, and that its holder pauses, is an approver's to switch on."""
    grant, key = await known(world)
    await stolen(world, key, 4210, 30 * DOLLAR)
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.DISABLED
    await world.incidents.pause(BEN, (await newest(world, grant)).id)
    with pytest.raises(NotAllowed):
        await world.switching.switch_on(BEN, grant.id)
    world.clock.now = at("00:05", date(2026, 12, 1))
    grant = await world.grant(grant)
    assert grant.state is GrantState.ENDING or (await world.key(key.id)).state is KeyState.DISABLED


async def test_where_keys_cannot_be_switched_off_revoking_is_the_way(world: World) -> None:
    """Pausing says so and changes nothing; the message does not offer it; when the grant is over, so is the incident."""
    vendor_of(world).abilities = frozenset(vendor_of(world).abilities - {Ability.DISABLE})
    grant, key = await known(world)
    await stolen(world, key)
    incident = await newest(world, grant)
    assert not world.slack.standing(NoticeKind.UNUSUAL, BEN)[0].pausable
    with pytest.raises(Superseded, match="Revoking"):
        await world.incidents.pause(BEN, incident.id)
    assert (await newest(world, grant)).answer is None
    await world.grants.revoke(BEN, grant.id)
    assert await open_ones(world) == []
    await world.sweep(after=DAY + HOUR)
    assert (await newest(world, grant)).answer is Answer.OVER
    with pytest.raises(Superseded, match="over"):
        await world.incidents.pause(BEN, incident.id)
    assert (await world.grant(grant)).ended_because is Cause.REVOKED


async def test_night_is_the_holders_night(world: World) -> None:
    """For who lives in Tokyo 17:00 UTC is: told in their hours, and only once Slack can say where they live."""
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], tz="Asia/Tokyo")
    grant, key = await known(world, begin=1)
    world.clock.now = at("16:10", TODAY + DAY)
    await world.round()
    world.people.silent = True
    await stolen(world, key, 150, 300_000)
    assert await open_ones(world) == []
    world.people.silent = False
    await world.sweep(after=timedelta(minutes=10))
    (finding,) = (await newest(world, grant)).findings
    assert finding == Finding(Unusual.NIGHT, datetime(2026, 11, 25, 1), Measure.REQUESTS, 150)


async def test_history_stays_with_the_grant(world: World) -> None:
    """A key that takes another's place has its history: what that one did is usual, what it never did is not."""
    grant, key = await known(world)
    successor = replace(key, id="k_successor", marker="keydesk-k_successor", meter="meter_next", handle="svc_next")
    vendor_of(world).living["svc_next"] = successor.marker
    await world.store.write(lambda tx: tx.add(successor))
    world.clock.now = at("10:10", TODAY + DAY)
    await world.round()
    use(world, replace(successor, handle="next"), 150, 300_000)
    await world.round(after=HOUR)
    assert messages(world) == 0
    world.clock.now += HOUR
    use(world, replace(successor, handle="next"), 150, DOLLAR, model="large-1")
    await world.round()
    assert [one.kind for one in (await newest(world, grant)).findings] == [Unusual.MODEL]
    assert ANA.id not in {notice.recipient for notice, _ in world.slack.messages.values() if notice.kind == "suspected"}


async def test_two_desks_find_it_once(world: World, database_url: str) -> None:
    """The timer's lease and the one open incident of a grant: two looks at once open one."""
    grant, key = await known(world)
    world.clock.now += HOUR
    use(world, key, 4210, 8 * DOLLAR)
    await world.watch.go_round()
    assert await world.store.read(lambda tx: tx.timer(TEAM, TimerKind.UNUSUAL, grant.id)) is not None
    second = SqlStore.open(database_url)
    try:
        other = World(second, beside=world)
        await world.watch.tick()
        await world.store.write(lambda tx: tx.set_timer(TEAM, TimerKind.UNUSUAL, grant.id, world.clock.now))
        await other.watch.tick()
    finally:
        await second.close()
    await world.sweep()
    assert len(await world.store.read(lambda tx: tx.incidents_of(TEAM, grant.id, 9))) == 1
    assert messages(world) == 2


async def test_people_who_cannot_be_asked_refuse_everything(world: World) -> None:
    """Nothing is answered while nobody can be authorised."""
    grant, key = await known(world)
    await stolen(world, key)
    world.people.silent = True
    with pytest.raises(Unavailable):
        await world.incidents.mine(BEN, (await newest(world, grant)).id)
    world.people.silent = False
    assert (await newest(world, grant)).answer is None
