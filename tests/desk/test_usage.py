"""Usage is read as it is reported, whatever breaks; budgets that the desk holds keys to are held."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotAllowed, ProviderForbidden, ProviderRateLimited, ProviderTransient, Superseded
from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import Actor, Cause, Grant, Key, NoticeKind, Round, RoundKind
from bot.desk.offer import Ability, Enforcer
from bot.desk.ports import Transaction
from bot.desk.rounds import LEASE
from bot.desk.states import GrantState, KeyState
from storage.store import SqlStore
from storage.transaction import SqlTransaction
from tests.desk.metered import MeteredVendor
from tests.desk.world import ANA, BEN, CARA, DEV, POLICY, TEAM, SetClock, World

DOLLAR = 1_000_000
HOUR = COLLECTED_EVERY
TODAY = date(2026, 11, 23)
DECEMBER = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)


def over(budget: str) -> str:
    """The policy, in which everyday keys meet this when their budget is used up."""
    return POLICY.replace("max_monthly_budget = 200", f'max_monthly_budget = 200\nover_budget = "{budget}"')


def metered(store: SqlStore, policy: str = POLICY) -> World:
    """A desk at a vendor that counts."""
    clock = SetClock()
    world = World(store, vendor=MeteredVendor(clock), policy=policy)
    world.clock = clock
    return World(store, beside=world)


@pytest.fixture
async def world(store: SqlStore, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """As everywhere in these tests, at a vendor that counts; a test may name what follows on an overspent budget."""
    marked = request.node.get_closest_marker("parametrize")
    wanted = request.node.callspec.params.get("budget", "tell") if marked else "tell"
    desk = metered(store, over(wanted))
    yield desk
    await desk.must_hold()


def vendor_of(world: World) -> MeteredVendor:
    assert isinstance(world.vendor, MeteredVendor)
    return world.vendor


async def in_use(world: World) -> tuple[Grant, Key]:
    """Ben has a key of $25 a month."""
    grant = await world.active()
    return grant, (await world.keys(grant))[0]


async def month_so_far(world: World, grant: Grant) -> int:
    spending = await world.store.read(lambda tx: tx.spending(TEAM, grant.id))
    return spending.cost_micros if spending else 0


async def usage_round(world: World) -> datetime | None:
    rounds = await world.store.read(lambda tx: tx.rounds(TEAM))
    return next(one.ended_at for one in rounds if one.kind is RoundKind.USAGE)


# ---- reading


async def test_what_was_used_is_what_is_counted_however_often_it_is_read(world: World) -> None:
    """To the micro: by key and model, again and again, and nobody's usage goes to nobody."""
    grant, key = await in_use(world)
    assert key.meter == f"meter_{key.handle}"
    vendor = vendor_of(world)
    vendor.use(key, 3_333_333)
    vendor.use(key, 1, model="text-embedding-3-small")
    vendor.report("meter_of_somebody", 77 * DOLLAR)
    vendor.report("", 5 * DOLLAR)
    for _ in range(3):
        await world.round(after=HOUR)
    assert await month_so_far(world, grant) == 3_333_334
    vendor.use(key, 666_666)
    await world.round(after=HOUR)
    assert await month_so_far(world, grant) == 4_000_000
    mine = await world.usage.mine(BEN)
    assert (mine.cost_micros, mine.keys[0].requests, mine.keys[0].last_day) == (4_000_000, 3, TODAY)
    assert mine.keys[0].trend == (*[0] * 13, 4_000_000)
    assert (await world.usage.mine(CARA)).keys == ()


async def test_a_round_is_made_once_an_hour_and_reads_the_last_days_again(world: World) -> None:
    """First the month; then from two days before the last that was read: what a provider corrects is corrected."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.use(key, DOLLAR)
    await world.round()
    await world.round(after=HOUR - timedelta(seconds=1))
    assert vendor.read == [(date(2026, 11, 1), TODAY)]
    await world.round(after=timedelta(days=1))
    assert vendor.read[1:] == [(TODAY - timedelta(days=2), TODAY + timedelta(days=1))]
    (meter, day, model), used = next(iter(vendor.used.items()))
    vendor.used[meter, day, model] = replace(used, cost_micros=400_000)
    await world.round(after=HOUR)
    assert await month_so_far(world, grant) == 400_000
    await world.round(after=timedelta(days=9))
    assert vendor.read[-1] == (date(2026, 11, 22), date(2026, 12, 3))


@pytest.mark.parametrize(
    "fault",
    [ProviderTransient("down"), ProviderForbidden("not this credential. Mend: another"), RuntimeError("a defect")],
    ids=["down", "forbidden", "defect"],
)
async def test_a_round_that_breaks_off_is_made_again_from_its_beginning(world: World, fault: Exception) -> None:
    """What came before the fault is counted once; why it failed is kept for the admin until it ends well."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.use(key, DOLLAR, day=date(2026, 11, 20))
    vendor.use(key, DOLLAR)
    vendor.page_faults = [*[None] * 21, fault]  # the pages up to the 21st come, then it breaks
    await world.round()
    assert await month_so_far(world, grant) == DOLLAR
    rounds = await world.store.read(lambda tx: tx.rounds(TEAM))
    broken = next(one for one in rounds if one.kind is RoundKind.USAGE)
    assert (broken.attempts, broken.done_to, broken.ended_at) == (1, None, None)
    assert broken.flaw
    await world.round(after=timedelta(seconds=5))
    assert await month_so_far(world, grant) == 2 * DOLLAR
    rounds = await world.store.read(lambda tx: tx.rounds(TEAM))
    whole = next(one for one in rounds if one.kind is RoundKind.USAGE)
    assert (whole.attempts, whole.flaw, whole.done_to, whole.ended_at) == (0, None, TODAY, world.clock.now)


async def test_a_provider_that_asks_to_wait_is_asked_then(world: World) -> None:
    """Its own time counts where it is longer."""
    await in_use(world)
    vendor = vendor_of(world)
    vendor.page_faults = [ProviderRateLimited("slow down", retry_after=300)]
    await world.round()
    await world.round(after=timedelta(seconds=299))
    assert len(vendor.read) == 1
    await world.round(after=timedelta(seconds=1))
    assert len(vendor.read) == 2


async def test_of_two_processes_one_reads(world: World, other: World) -> None:
    """A round is leased; when its process died, another makes it, and the dead one writes nothing any more."""
    await in_use(world)
    vendor = vendor_of(world)
    (leased,) = [one for one in await _leased(world) if one.kind is RoundKind.USAGE]
    await other.round()
    assert vendor.read == []
    await other.round(after=LEASE)
    assert len(vendor.read) == 1
    with pytest.raises(Superseded):
        await world.store.write(lambda tx: tx.move_round(leased, done_to=TODAY))


async def _leased(world: World) -> Sequence[Round]:
    def lease(tx: Transaction) -> Sequence[Round]:
        for kind in RoundKind:
            tx.begin_round(TEAM, "openai", kind, world.clock.now)
        return tx.lease_rounds(world.clock.now, world.clock.now + LEASE, 9)

    return await world.store.write(lease)


async def test_a_running_total_is_counted_on_the_day_it_grew(world: World) -> None:
    """A provider that knows only what was used since the first of the month: the days add up to what it says."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.running_since = date(2026, 11, 1)
    vendor.use(key, 3 * DOLLAR)
    await world.round()
    vendor.use(key, DOLLAR)
    await world.round(after=HOUR)
    await world.round(after=timedelta(days=1))
    vendor.use(key, 2 * DOLLAR)
    await world.round(after=HOUR)
    await world.round(after=HOUR)
    used = await world.store.read(lambda tx: tx.used_by(TEAM, BEN.id, date(2026, 11, 1)))
    assert [(one.day, one.cost_micros) for one in used] == [
        (TODAY, 4 * DOLLAR),
        (TODAY + timedelta(days=1), 2 * DOLLAR),
    ]
    assert await month_so_far(world, grant) == 6 * DOLLAR


# ---- budgets


async def test_a_holder_is_warned_once_at_each_step(world: World) -> None:
    """At 50, 80 and 100 per cent of the month, once each; who approved is told at 100; next month it begins anew."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    told = []
    for cents in (1249, 1, 749, 1, 499, 1, 500):
        vendor.use(key, cents * 10_000)
        await world.round(after=HOUR)
        await world.round(after=timedelta(minutes=1))
        told.append(
            (len(world.slack.standing(NoticeKind.BUDGET, BEN)), len(world.slack.standing(NoticeKind.OVERSPENT)))
        )
    assert told == [(0, 0), (1, 0), (1, 0), (2, 0), (2, 0), (3, 1), (3, 1)]
    assert [story.request.requester for story in world.slack.standing(NoticeKind.OVERSPENT, CARA)] == [BEN.id]
    warned = [entry.detail["per_cent"] for entry in await world.entries() if entry.act == Act.WARNED]
    assert warned == [50, 80, 100]
    assert (await world.key(key.id)).state is KeyState.LIVE
    world.clock.now = DECEMBER
    assert (await world.grant(grant)).expires_at == grant.expires_at
    fresh, fresh_key = await in_use(world)
    vendor.use(fresh_key, 13 * DOLLAR)
    await world.round(after=12 * HOUR)
    assert await month_so_far(world, fresh) == 13 * DOLLAR
    assert len(world.slack.standing(NoticeKind.BUDGET, BEN)) == 4


async def test_a_warning_waits_for_the_morning_and_a_used_up_budget_does_not(world: World) -> None:
    """Half of it and more are used in one night: one message at nine. The rest of it in another: at once."""
    _, key = await in_use(world)
    vendor = vendor_of(world)
    world.clock.now += 4 * HOUR
    for dollars in (13, 8):
        vendor.use(key, dollars * DOLLAR)
        await world.round(after=3 * HOUR)
    assert world.slack.standing(NoticeKind.BUDGET, BEN) == []
    await world.sweep(after=11 * HOUR)
    assert len(world.slack.standing(NoticeKind.BUDGET, BEN)) == 1
    vendor.use(key, 5 * DOLLAR)
    await world.round(after=15 * HOUR)
    assert len(world.slack.standing(NoticeKind.BUDGET, BEN)) == 2
    assert len(world.slack.standing(NoticeKind.OVERSPENT, CARA)) == 1


async def test_what_waits_to_be_said_of_a_key_is_not_said_once_it_is_over(world: World) -> None:
    """Given back in the night in which half of its budget was used: nobody hears of that in the morning."""
    grant, key = await in_use(world)
    vendor_of(world).use(key, 13 * DOLLAR)
    await world.round(after=7 * HOUR)
    await world.grants.revoke(BEN, grant.id)
    await world.sweep(after=14 * HOUR)
    assert world.slack.standing(NoticeKind.BUDGET, BEN) == []
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1


async def test_who_jumps_over_steps_gets_one_message(world: World) -> None:
    """From nothing to 85 per cent: one, not two."""
    _, key = await in_use(world)
    vendor_of(world).use(key, 22 * DOLLAR)
    await world.round()
    (story,) = world.slack.standing(NoticeKind.BUDGET, BEN)
    assert story.spending is not None
    assert (story.spending.cost_micros, story.spending.month) == (22 * DOLLAR, date(2026, 11, 1))


@pytest.mark.parametrize("budget", ["disable"])
async def test_an_overspent_key_is_switched_off_until_the_month_is_over(world: World, budget: str) -> None:
    """The desk's own doing, undone by itself; the card says so at each step."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.use(key, 25 * DOLLAR)
    await world.round()
    off = await world.key(key.id)
    assert (off.state, off.due_at) == (KeyState.DISABLED, datetime(2026, 12, 1, tzinfo=UTC))
    assert vendor.off == {key.handle}
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert world.slack.standing(NoticeKind.OVERSPENT, CARA)[0].key == off
    await world.round(after=HOUR)
    assert (await world.key(key.id)).state is KeyState.DISABLED
    acts = await world.acts()
    assert [acts.count(act) for act in (Act.DISABLE_ASKED, Act.DISABLED, Act.ENABLE_ASKED)] == [1, 1, 0]
    grant_ends = (await world.grant(grant)).expires_at
    assert grant_ends is not None
    await world.sweep(after=datetime(2026, 11, 30, 11, tzinfo=UTC) - world.clock.now)
    assert (await world.grant(grant)).state is GrantState.ACTIVE


@pytest.mark.parametrize("silent", [False, True], ids=["slack-answers", "slack-is-silent"])
@pytest.mark.parametrize("budget", ["disable"])
async def test_where_who_approved_left_others_hear_that_it_is_used_up(world: World, budget: str, silent: bool) -> None:
    """Whoever may decide on it today, once; while nobody can be asked the key is switched off all the same."""
    _, key = await in_use(world)
    world.people.people[CARA.id] = replace(world.people.people[CARA.id], deleted=True)
    world.people.silent = silent
    vendor_of(world).use(key, 25 * DOLLAR)
    for _ in range(2):
        await world.round(after=timedelta(minutes=5))
    assert (await world.key(key.id)).state is KeyState.DISABLED
    heard = sorted(one.recipient for one, _ in world.slack.messages.values() if one.kind is NoticeKind.OVERSPENT)
    assert heard == ([CARA.id] if silent else sorted([ANA.id, DEV.id]))
    [told] = [entry for entry in await world.entries() if entry.act == Act.WARNED]
    assert told.detail["per_cent"] == 100


@pytest.mark.parametrize("budget", ["disable"])
async def test_a_new_month_switches_it_on_again(store: SqlStore, budget: str) -> None:
    """From the first of the month in UTC, at the next sweep."""
    world = metered(store, over(budget).replace('max_duration = "30d"', 'max_duration = "60d"'))
    world.clock.now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    grant, key = await in_use(world)
    vendor_of(world).use(key, 30 * DOLLAR)
    await world.round()
    assert (await world.key(key.id)).state is KeyState.DISABLED
    await world.sweep(after=datetime(2026, 11, 30, 23, 59, tzinfo=UTC) - world.clock.now)
    assert (await world.key(key.id)).state is KeyState.DISABLED
    await world.sweep(after=timedelta(minutes=2))
    again = await world.key(key.id)
    assert (again.state, again.due_at) == (KeyState.LIVE, None)
    assert vendor_of(world).off == set()
    vendor_of(world).use(key, DOLLAR)
    await world.round(after=HOUR)
    assert (await world.key(key.id)).state is KeyState.LIVE
    assert await month_so_far(world, grant) == DOLLAR
    await world.must_hold()


@pytest.mark.parametrize("budget", ["disable"])
async def test_a_new_month_leaves_off_what_was_paused_in_this_moment(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    """Somebody pauses the key between the sweep's read and its act: it stays off, for them, and no month ends that."""
    world = metered(store, over(budget).replace('max_duration = "30d"', 'max_duration = "60d"'))
    world.clock.now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    _, key = await in_use(world)
    vendor_of(world).use(key, 30 * DOLLAR)
    await world.round()
    world.clock.now = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
    read = await world.store.read(lambda tx: tx.disabled_keys(world.clock.now, 9))
    assert [one.id for one in read] == [key.id]
    await world.store.write(lambda tx: world.switching.pause(tx, read[0], world.clock.now, by=CARA.id))
    with monkeypatch.context() as before:
        before.setattr(SqlTransaction, "disabled_keys", lambda tx, now, limit: read)
        await world.sweep()
    await world.sweep()
    paused = await world.key(key.id)
    assert (paused.state, paused.paused_by, paused.due_at) == (KeyState.DISABLED, CARA.id, None)
    assert vendor_of(world).off == {key.handle}
    await world.must_hold()


@pytest.mark.parametrize("budget", ["disable"])
async def test_an_approver_may_switch_it_on_and_its_holder_may_not(world: World, budget: str) -> None:
    """Authorised and recorded; for the rest of the month the desk lets it be."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.use(key, 26 * DOLLAR)
    await world.round()
    for nobody in (BEN, Actor(TEAM, "U0NOBODY"), Actor(TEAM, "U0GUS")):
        with pytest.raises(Exception, match=r"approver|workspace|Guests") as refused:
            await world.switching.switch_on(nobody, grant.id)
        assert isinstance(refused.value, NotAllowed) or nobody != BEN
        assert (await world.last_entry()).act == Act.REFUSED
    await world.switching.switch_on(CARA, grant.id)
    await world.switching.switch_on(DEV, grant.id)
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.LIVE
    asked = [entry.actor for entry in await world.entries() if entry.act == Act.ENABLE_ASKED]
    assert asked == [CARA.id]
    vendor.use(key, DOLLAR)
    await world.round(after=HOUR)
    assert (await world.key(key.id)).state is KeyState.LIVE
    assert await month_so_far(world, grant) == 27 * DOLLAR


@pytest.mark.parametrize("budget", ["revoke"])
async def test_policy_may_end_an_overspent_grant(world: World, budget: str) -> None:
    """The key dies; holder and approver are told, the holder once."""
    grant, key = await in_use(world)
    vendor_of(world).use(key, 25 * DOLLAR)
    await world.round()
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_because, ended.ended_by) == (GrantState.ENDED, Cause.OVERSPENT, "system")
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert world.vendor.living == {}
    kinds = [len(world.slack.standing(kind)) for kind in (NoticeKind.ENDED, NoticeKind.OVERSPENT, NoticeKind.BUDGET)]
    assert kinds == [1, 1, 0]


@pytest.mark.parametrize("budget", ["disable"])
async def test_where_a_key_cannot_be_switched_off_it_is_revoked(world: World, budget: str) -> None:
    """And the approver's card said so before."""
    vendor = vendor_of(world)
    vendor.abilities = vendor.abilities - {Ability.DISABLE}
    grant, key = await in_use(world)
    (limit,) = (await world.stories.of(TEAM, grant.request_id)).limits
    assert (limit.enforcer, limit.note) == (Enforcer.DESK, "The key is then revoked.")
    vendor.use(key, 25 * DOLLAR)
    await world.round()
    assert (await world.grant(grant)).ended_because is Cause.OVERSPENT


@pytest.mark.parametrize("budget", ["disable", "tell"])
async def test_a_card_says_who_holds_the_key_to_its_budget(world: World, budget: str) -> None:
    """The desk, with its lag, where policy says so; else nobody, and that is said."""
    (limit,) = (await world.asked()).limits
    assert limit.lag == timedelta(hours=2)
    assert limit.enforcer is (Enforcer.DESK if budget == "disable" else Enforcer.NOBODY)
    assert ("switched off" in limit.note) == (budget == "disable")


@pytest.mark.parametrize("budget", ["disable"])
async def test_switching_that_fails_is_tried_again_and_revoking_wins(world: World, budget: str) -> None:
    """A key that is to be switched can be revoked at any moment, and expires like any other."""
    grant, key = await in_use(world)
    vendor = vendor_of(world)
    vendor.switch_faults = [ProviderTransient("down"), ProviderTransient("down")]
    vendor.use(key, 25 * DOLLAR)
    await world.round()
    assert (await world.key(key.id)).state is KeyState.DISABLING
    assert (await world.key(key.id)).attempts == 1
    with pytest.raises(Superseded):
        await world.switching.switch_on(CARA, grant.id)
    await world.sweep(after=timedelta(seconds=5))
    await world.sweep(after=timedelta(seconds=10))
    assert (await world.key(key.id)).state is KeyState.DISABLED
    await world.switching.switch_on(CARA, grant.id)
    (enabling,) = await world.store.write(lambda tx: tx.lease_keys(world.clock.now, world.clock.now + LEASE, 9))
    assert enabling.state is KeyState.ENABLING
    await world.grants.revoke(BEN, grant.id)
    with pytest.raises(Superseded):
        await world.switching.carry_out(enabling)  # it comes too late, and undoes what it did
    assert world.vendor.living == {}
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ENDED


@pytest.mark.parametrize("budget", ["disable"])
async def test_a_key_that_is_off_expires(world: World, budget: str) -> None:
    """Its grant's time runs on."""
    grant, key = await in_use(world)
    vendor_of(world).use(key, 25 * DOLLAR)
    await world.round()
    await world.sweep(after=grant.draft.duration)
    assert (await world.grant(grant)).ended_because is Cause.EXPIRED
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert ANA.id not in {
        notice.recipient for notice, _ in world.slack.messages.values() if notice.kind is NoticeKind.OVERSPENT
    }


async def test_only_members_see_usage_and_only_their_own(world: World) -> None:
    """A guest is refused, and the refusal recorded."""
    with pytest.raises(Exception, match="Guests"):
        await world.usage.mine(Actor(TEAM, "U0GUS"))
    assert (await world.last_entry()).act == Act.REFUSED
