"""Rotation: another key follows, the old one works until its holder switched, and whatever breaks, one of them works."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.desk import links, rotation
from bot.desk.audit import Act
from bot.desk.errors import (
    AlreadyDelivered,
    NotAllowed,
    NotThere,
    NotYours,
    OutcomeUnknown,
    ProviderTransient,
    Superseded,
)
from bot.desk.ids import new_id
from bot.desk.keys import OLD_KEYS_AT_MOST
from bot.desk.limits import COLLECTED_EVERY, next_month
from bot.desk.model import Actor, Cause, Grant, Handover, Key, NoticeKind, Scope
from bot.desk.offer import AppliedLimit, Enforcer, LimitKind
from bot.desk.states import GrantState, KeyState, LinkState
from bot.desk.watch import STALLED_AFTER
from bot.slack.views import buttons
from storage.store import SqlStore
from tests.desk.depositing import Depositing
from tests.desk.metered import MeteredVendor
from tests.desk.world import ANA, BEN, CARA, DEV, MINUTE, POLICY, SetClock, World, draft, unsealed

HOUR = COLLECTED_EVERY
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
SECOND_RULE = POLICY.replace("max_monthly_budget = 200", 'max_monthly_budget = 200\nover_budget = "disable"')
GRACE = '\n[[rotation]]\nprovider = "openai"\ngrace = "3h"\n'


class Capping(MeteredVendor):
    """Holds each key to a budget of its own."""

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """The budget alone."""
        return (AppliedLimit(LimitKind.BUDGET, "$25 a month", Enforcer.KEY),)


def metered(store: SqlStore, policy: str = POLICY, at: type[MeteredVendor] = MeteredVendor) -> World:
    """A desk at a vendor that counts."""
    clock = SetClock()
    world = World(store, vendor=at(clock), policy=policy)
    world.clock = clock
    return World(store, beside=world)


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """At a vendor that counts what is used, lists keys and switches them off; budgets that are used up switch a key off."""
    desk = metered(store, SECOND_RULE)
    yield desk
    await desk.must_hold()


def vendor_of(world: World) -> MeteredVendor:
    assert isinstance(world.vendor, MeteredVendor)
    return world.vendor


async def rotated_to(world: World, grant: Grant, by: Actor = BEN) -> Handover:
    """The new key is minted and sealed, not opened."""
    return await world.grants.issue(await world.rotation.rotate(by, grant.id, delivery=new_id("d", os.urandom)))


async def rotated(world: World, grant: Grant) -> tuple[Key, Key]:
    """The new key is shown: the old one, and the new one."""
    old = await current(world, grant)
    handover = await rotated_to(world, grant)
    await world.claim(handover)
    await world.acknowledge(handover)
    return await world.key(old.id), await current(world, grant)


async def current(world: World, grant: Grant) -> Key:
    key_id = (await world.grant(grant)).key_id
    assert key_id is not None
    return await world.key(key_id)


async def untouched(world: World, grant: Grant, key: Key) -> None:
    """The holder has the key that they had, and nothing is under way."""
    now = await world.grant(grant)
    assert (now.state, now.key_id, now.next_key_id) == (GrantState.ACTIVE, key.id, None)
    assert (await world.key(key.id)).state is KeyState.LIVE
    assert key.handle in world.vendor.living


async def states(world: World, grant: Grant) -> list[KeyState]:
    return [key.state for key in await world.keys(grant)]


# ---- the whole way


async def test_the_whole_way_of_a_rotation(world: World) -> None:
    """A new key for what is left of the time; both work; the old one dies when grace ends, and each act has its entry."""
    grant = await world.active()
    began, old = world.clock.now, await current(world, grant)
    before = len(await world.entries())
    world.clock.now += 2 * DAY
    handover = await rotated_to(world, grant)
    assert handover.grant.state is GrantState.ACTIVE
    new = (await world.keys(grant))[-1]
    assert unsealed(handover.url, await world.claim(handover)) == f"example-{new.handle}"
    assert (await world.key(old.id)).state is KeyState.LIVE, "the old one stays until the new one is shown"
    await world.acknowledge(handover)
    now = await world.grant(grant)
    assert (now.state, now.key_id, now.next_key_id, now.held_since) == (
        GrantState.ACTIVE,
        new.id,
        None,
        world.clock.now,
    )
    assert now.expires_at == began + grant.draft.duration
    assert (await world.key(new.id)).expires_at == now.expires_at
    assert await states(world, grant) == [KeyState.RETIRING, KeyState.LIVE]
    assert set(world.vendor.living) == {old.handle, new.handle}
    await world.sweep(after=DAY - MOMENT)
    assert (await world.key(old.id)).state is KeyState.RETIRING
    await world.sweep(after=MOMENT)
    assert await states(world, grant) == [KeyState.REVOKED, KeyState.LIVE]
    assert list(world.vendor.living) == [new.handle]
    acts = [(entry.act, entry.actor) for entry in (await world.entries())[before:]]
    assert acts == [
        (Act.ROTATION_STARTED, BEN.id),
        (Act.MINTED, BEN.id),
        (Act.CLAIMED, BEN.id),
        (Act.ROTATED, BEN.id),
        (Act.REVEALED, BEN.id),
        (Act.RETIRED, "system"),
        (Act.REVOKED, "system"),
    ]


async def test_a_key_is_minted_for_what_is_left_of_its_grant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is rotated, the end stays where it was."""
    asked: list[timedelta] = []
    mint = world.vendor.mint

    async def noted(**how: object) -> object:
        lifetime = how["lifetime"]
        assert isinstance(lifetime, timedelta)
        asked.append(lifetime)
        return await mint(**how)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(world.vendor, "mint", noted)
    grant = await world.active()
    for days in (2, 3):
        world.clock.now += days * DAY
        await rotated(world, grant)
    assert asked == [7 * DAY, 5 * DAY, 2 * DAY]


async def test_grace_is_what_policy_says_and_never_past_the_end(store: SqlStore) -> None:
    """Three hours here; and where the grant ends before, the old key ends with it."""
    world = metered(store, POLICY + GRACE)
    grant = await world.active()
    old, _ = await rotated(world, grant)
    assert old.due_at == world.clock.now + 3 * HOUR
    world.clock.now += 7 * DAY - HOUR
    second, _ = await rotated(world, grant)
    assert second.due_at == (await world.grant(grant)).expires_at
    await world.sweep(after=HOUR)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}


# ---- the switch


async def test_the_old_key_dies_once_usage_shows_the_switch(world: World) -> None:
    """The new one is used, the old one has been silent for as long as reports may be late: then, and no sooner."""
    grant = await world.active()
    vendor = vendor_of(world)
    await world.round()
    vendor.use(await current(world, grant), 10)
    await world.round(after=HOUR)
    old, new = await rotated(world, grant)
    world.clock.now += 10 * MINUTE
    vendor.use(old, 10)
    vendor.use(new, 10)
    await world.round(after=50 * MINUTE)
    assert (await world.key(old.id)).state is KeyState.RETIRING, "both were used in this hour"
    vendor.use(new, 10)
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.RETIRING, "what was used last may not be reported yet"
    (told,) = world.slack.standing(NoticeKind.ROTATED, BEN)
    assert told.used[new.id] > told.used[old.id]
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.REVOKED
    assert list(vendor.living) == [new.handle]
    retired = [entry for entry in await world.entries() if entry.act == Act.RETIRED]
    assert [(entry.subject, entry.detail["because"]) for entry in retired] == [(old.id, "silent")]


async def test_an_old_key_that_nobody_ever_used_dies_once_the_new_one_is_used(world: World) -> None:
    """It was silent from the beginning."""
    grant = await world.active()
    await world.round()
    old, new = await rotated(world, grant)
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.RETIRING, "nothing shows that the new one is in use"
    vendor_of(world).use(new, 10)
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.REVOKED


async def test_while_the_old_key_is_used_it_lives_to_the_end_of_its_grace(world: World) -> None:
    """A program that was forgotten goes on with the old key: nothing breaks before grace ends."""
    grant = await world.active()
    await world.round()
    old, new = await rotated(world, grant)
    for _ in range(23):
        vendor_of(world).use(old, 10)
        vendor_of(world).use(new, 10)
        await world.round(after=HOUR)
        assert (await world.key(old.id)).state is KeyState.RETIRING
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.REVOKED


async def test_the_holder_says_switched(world: World, other: World) -> None:
    """The old key dies at once; said twice, by two processes, it is done once; nobody else can say so."""
    grant = await world.active()
    old, new = await rotated(world, grant)
    for who in (ANA, CARA):
        with pytest.raises(NotYours):
            await world.rotation.switched(who, grant.id)
    await asyncio.gather(world.rotation.switched(BEN, grant.id), other.rotation.switched(BEN, grant.id))
    await world.sweep()
    assert (await world.key(old.id)).state is KeyState.REVOKED
    assert list(world.vendor.living) == [new.handle]
    assert (await world.acts()).count(Act.RETIRED) == 1
    story = await world.rotation.switched(BEN, grant.id)
    assert (await world.key(new.id)).state is KeyState.LIVE
    assert story.retiring == ()


async def test_usage_stays_with_the_grant(world: World) -> None:
    """What the old key used and what the new one uses are one history, one budget, one month."""
    grant = await world.active()
    vendor = vendor_of(world)
    vendor.use(await current(world, grant), 3_000_000)
    await world.round()
    _, new = await rotated(world, grant)
    vendor.use(new, 2_000_000)
    await world.round(after=HOUR)
    (mine,) = (await world.usage.mine(BEN)).keys
    assert (mine.cost_micros, mine.requests, mine.trend[-1]) == (5_000_000, 2, 5_000_000)
    (told,) = world.slack.standing(NoticeKind.ROTATED, BEN)
    assert told.spending is not None
    assert told.spending.cost_micros == 5_000_000


async def test_two_old_keys_may_live_beside_the_new_one(world: World) -> None:
    """Rotated again within its grace: each old key has its own, and one press ends both."""
    grant = await world.active()
    world.clock.now += HOUR
    await rotated(world, grant)
    world.clock.now += HOUR
    await rotated(world, grant)
    assert await states(world, grant) == [KeyState.RETIRING, KeyState.RETIRING, KeyState.LIVE]
    await world.sweep(after=DAY - HOUR)
    assert await states(world, grant) == [KeyState.REVOKED, KeyState.RETIRING, KeyState.LIVE]
    await rotated(world, grant)
    await world.rotation.switched(BEN, grant.id)
    await world.sweep()
    assert await states(world, grant) == [KeyState.REVOKED] * 3 + [KeyState.LIVE]


async def test_of_an_old_key_whose_usage_cannot_be_known_its_grace_decides(store: SqlStore) -> None:
    """Its meter is not known: it may be in use wherever, and nothing would tell."""
    world = metered(store)
    grant = await world.active()
    nameless = await current(world, grant)
    await world.store.write(lambda tx: tx.move(nameless, meter=None))
    assert nameless.handle is not None
    world.vendor.living[nameless.handle] = "renamed"  # so that no inventory finds it out
    await world.round()
    old, new = await rotated(world, grant)
    for _ in range(23):
        vendor_of(world).use(new, 10)
        await world.round(after=HOUR)
        assert (await world.key(old.id)).state is KeyState.RETIRING
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.REVOKED


async def test_few_old_keys_live_beside_the_new_one(world: World) -> None:
    """Three at most: who rotates again says first that they switched, or waits."""
    grant = await world.active()
    for _ in range(OLD_KEYS_AT_MOST):
        world.clock.now += MINUTE
        await rotated(world, grant)
    world.clock.now += MINUTE
    before = dict(world.vendor.living)
    with pytest.raises(Superseded, match="3 old keys of this grant still work"):
        await rotated_to(world, grant)
    assert not buttons.rotate(await world.stories.of(grant.team, grant.request_id))
    assert world.vendor.living == before
    await world.rotation.switched(BEN, grant.id)
    assert buttons.rotate(await world.stories.of(grant.team, grant.request_id))
    await rotated(world, grant)


# ---- budgets


async def used_up(world: World) -> Grant:
    """A grant of thirty days of whose $25 a month nothing is left."""
    handover = await world.delivering(await world.approved(what=draft(days=30)))
    await world.claim(handover)
    await world.acknowledge(handover)
    vendor_of(world).use(await current(world, handover.grant), 25_000_000)
    await world.round()
    return handover.grant


async def test_a_new_key_brings_no_new_budget(store: SqlStore) -> None:
    """Where the vendor holds each key to a budget of its own: used up, no key follows until the month is over."""
    world = metered(store, at=Capping)
    grant = await used_up(world)
    old = await current(world, grant)
    with pytest.raises(Superseded, match="budget is used up"):
        await rotated_to(world, grant)
    await untouched(world, grant, old)
    assert len(world.vendor.minted) == 1
    world.clock.now = next_month(world.clock.now) - MOMENT
    with pytest.raises(Superseded, match="budget is used up"):
        await rotated_to(world, grant)
    world.clock.now += MOMENT
    _, new = await rotated(world, grant)
    assert set(world.vendor.living) == {old.handle, new.handle}


async def test_a_key_whose_budget_is_used_up_can_be_ended_at_once(store: SqlStore) -> None:
    """What leaked dies; the other is picked up when the month is over, and does not lapse before."""
    world = metered(store, at=Capping)
    grant = await used_up(world)
    await world.rotation.rotate_at_once(BEN, grant.id)
    await world.sweep()
    assert world.vendor.living == {}
    with pytest.raises(Superseded, match="budget is used up"):
        await world.delivering(grant)
    opens = next_month(world.clock.now)
    while world.clock.now < opens - HOUR:
        await world.sweep(after=min(DAY, opens - HOUR - world.clock.now))
    assert world.slack.standing(NoticeKind.PICK_UP, BEN) == [], "nobody is reminded of what they cannot do"
    await world.sweep(after=6 * DAY)
    assert (await world.grant(grant)).state is GrantState.READY
    await world.delivering(grant)
    assert len(world.vendor.living) == 1


async def test_where_all_keys_of_a_grant_count_together_a_budget_keeps_no_key_from_following(store: SqlStore) -> None:
    """The vendor holds nothing, and policy only tells: another key changes nothing of what may be spent."""
    world = metered(store)
    await rotated(world, await used_up(world))


# ---- who, and when


async def test_only_its_holder_rotates_and_only_what_they_hold(world: World) -> None:
    """Nobody else; not before pick-up, not when it is over, not in its last minutes."""
    grant = await world.approved()
    with pytest.raises(Superseded):
        await rotated_to(world, grant)
    handover = await world.delivering(grant)
    with pytest.raises(Superseded):
        await rotated_to(world, grant)
    await world.claim(handover)
    await world.acknowledge(handover)
    for who in (ANA, CARA):
        with pytest.raises(NotYours):
            await rotated_to(world, grant, by=who)
    world.clock.now += grant.draft.duration - rotation.LEAST_LEFT + MOMENT
    with pytest.raises(Superseded):
        await rotated_to(world, grant)
    await world.grants.revoke(BEN, grant.id)
    for _ in range(2):
        with pytest.raises(Superseded):
            await rotated_to(world, grant)
        await world.sweep()
    assert len(world.vendor.minted) == 1


async def test_the_same_press_rotates_once_and_two_presses_mint_one_key(world: World, other: World) -> None:
    """A delivery that comes again does nothing; of two presses on two processes one mints."""
    grant = await world.active()
    key = await world.rotation.rotate(BEN, grant.id, delivery="press 1")
    with pytest.raises(AlreadyDelivered):
        await other.rotation.rotate(BEN, grant.id, delivery="press 1")
    with pytest.raises(Superseded):
        await other.rotation.rotate(BEN, grant.id, delivery="press 2")
    await world.grants.issue(key)
    found = await asyncio.gather(
        world.rotation.rotate(BEN, grant.id, delivery="press 3"),
        other.rotation.rotate(BEN, grant.id, delivery="press 4"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in found) == ["Key", "Superseded"]


async def test_a_link_that_was_lost_is_replaced(world: World) -> None:
    """*Get a new link*: the sealed key dies unread, another is minted, the one in use is untouched."""
    grant = await world.active()
    old = await current(world, grant)
    world.clock.now += MINUTE
    first = await rotated_to(world, grant)
    world.clock.now += MINUTE
    second = await world.delivering(grant)
    assert (await world.link(first)).state is LinkState.CLOSED
    with pytest.raises(Superseded):
        await world.claim(first)
    await world.claim(second)
    await world.acknowledge(second)
    await world.sweep()
    assert await states(world, grant) == [KeyState.RETIRING, KeyState.REVOKED, KeyState.LIVE]
    assert old.handle in world.vendor.living


# ---- what breaks off


async def test_a_mint_that_fails_leaves_the_old_key_as_it_was(world: World) -> None:
    """For certain, or with an unknown outcome that landed: what landed dies, and it can be rotated again at once."""
    grant = await world.active()
    old = await current(world, grant)
    for fault in (ProviderTransient("later"), OutcomeUnknown("connection lost")):
        world.vendor.mint_faults.append(fault)
        world.vendor.lands = isinstance(fault, OutcomeUnknown)
        with pytest.raises(type(fault)):
            await rotated_to(world, grant)
        await untouched(world, grant, old)
    await world.sweep()
    assert list(world.vendor.living) == [old.handle]
    _, new = await rotated(world, grant)
    assert set(world.vendor.living) == {old.handle, new.handle}


async def test_a_rotation_whose_process_died_is_given_up(world: World) -> None:
    """The intention was stored and nothing followed: the holder is told, and has the key that they had."""
    grant = await world.active()
    old = await current(world, grant)
    await world.rotation.rotate(BEN, grant.id, delivery="press")
    await world.sweep(after=STALLED_AFTER + MOMENT)
    await untouched(world, grant, old)
    (told,) = world.slack.standing(NoticeKind.UNFINISHED, BEN)
    assert told.grant is not None
    assert told.grant.state is GrantState.ACTIVE
    assert (await world.rotation.rotate(BEN, grant.id, delivery="again")).state is KeyState.MINTING


@pytest.mark.parametrize("claimed", [False, True], ids=["not opened", "not acknowledged"])
async def test_a_link_that_leads_nowhere_leaves_the_old_key_as_it_was(world: World, claimed: bool) -> None:
    """The new key dies, unread or not; the old one was never touched, and grace did not begin."""
    grant = await world.active()
    old = await current(world, grant)
    handover = await rotated_to(world, grant)
    if claimed:
        await world.claim(handover)
    await world.sweep(after=(links.LEASE if claimed else links.LINK_LIVES) + MOMENT)
    await untouched(world, grant, old)
    assert list(world.vendor.living) == [old.handle]
    kind = NoticeKind.UNACKNOWLEDGED if claimed else NoticeKind.LAPSED
    assert len(world.slack.standing(kind, BEN)) == 1
    with pytest.raises(Superseded):
        await world.acknowledge(handover)
    await rotated(world, grant)


# ---- against everything else


@pytest.mark.parametrize("far", ["minting", "sealed", "retiring"])
@pytest.mark.parametrize("how", ["revoked", "expired", "left"])
async def test_a_grant_that_ends_takes_all_its_keys_with_it(world: World, far: str, how: str) -> None:
    """However far a rotation is, and however the grant ends: no key of it lives on."""
    grant = await world.active()
    coming = None
    if far == "minting":
        coming = await world.rotation.rotate(BEN, grant.id, delivery="press")
    elif far == "sealed":
        await rotated_to(world, grant)
    else:
        await rotated(world, grant)
    if how == "revoked":
        await world.grants.revoke(CARA, grant.id)
    elif how == "left":
        world.people.people[BEN.id] = world.people.people["U0OLD"]
        assert await world.leaving.look(BEN)
    else:
        world.clock.now += grant.draft.duration
    await world.sweep()
    if coming is not None:
        with pytest.raises(Superseded):
            await world.grants.issue(coming)  # it lands after all
    await world.sweep(after=11 * MINUTE)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}
    assert not set(await states(world, grant)) - {KeyState.REVOKED, KeyState.VOID}


async def test_rotating_against_revoking(world: World, other: World) -> None:
    """Whoever commits first wins: in the end no key lives."""
    grant = await world.active()
    found = await asyncio.gather(rotated_to(world, grant), other.grants.revoke(CARA, grant.id), return_exceptions=True)
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Superseded)]
    await world.sweep(after=11 * MINUTE)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}


async def test_a_new_key_shown_against_the_end_of_its_grant(world: World, other: World) -> None:
    """The page says that it shows the key as the sweep ends the grant: either way all keys die."""
    grant = await world.active()
    world.clock.now += grant.draft.duration - 16 * MINUTE
    handover = await rotated_to(world, grant)
    world.clock.now += 15 * MINUTE - MOMENT
    await world.claim(handover)
    world.clock.now += MINUTE + MOMENT
    found = await asyncio.gather(world.acknowledge(handover), other.watch.reconcile(), return_exceptions=True)
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Superseded)]
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}


async def test_switched_against_the_end_of_grace(world: World, other: World) -> None:
    """The holder and the sweep at once: the old key is retired once."""
    grant = await world.active()
    old, _ = await rotated(world, grant)
    world.clock.now += DAY
    await asyncio.gather(world.rotation.switched(BEN, grant.id), other.watch.reconcile())
    await world.sweep()
    assert (await world.key(old.id)).state is KeyState.REVOKED
    assert (await world.acts()).count(Act.RETIRED) == 1


async def test_a_budget_that_is_used_up_stops_old_and_new(world: World) -> None:
    """What both used counts. The new key is switched off, the old one dies, and no rotation goes round that."""
    grant = await world.active()
    vendor = vendor_of(world)
    vendor.use(await current(world, grant), 20_000_000)
    await world.round()
    old, new = await rotated(world, grant)
    vendor.use(new, 5_000_000)
    await world.round(after=HOUR)
    assert (await world.key(old.id)).state is KeyState.REVOKED
    assert (await world.key(new.id)).state is KeyState.DISABLED
    assert vendor.off == {new.handle}
    with pytest.raises(Superseded):
        await rotated_to(world, grant)
    with pytest.raises(Superseded):
        await world.rotation.rotate_at_once(BEN, grant.id)


async def test_a_key_that_is_switched_off_breaks_the_rotation_off(world: World) -> None:
    """The link to the one that was to follow closes: what is off stays off."""
    grant = await world.active()
    old = await current(world, grant)
    handover = await rotated_to(world, grant)
    await world.claim(handover)
    vendor_of(world).use(old, 25_000_000)
    await world.round()
    link = await world.link(handover)
    assert (link.state, link.closed_because) == (LinkState.CLOSED, Cause.SWITCHED_OFF)
    with pytest.raises(Superseded):
        await world.acknowledge(handover)
    now = await world.grant(grant)
    assert (now.key_id, now.next_key_id) == (old.id, None)
    assert list(world.vendor.living) == [old.handle]
    await world.switching.switch_on(CARA, grant.id)
    await world.sweep()
    await rotated(world, grant)


@pytest.mark.parametrize("which", ["old", "next", "current"])
async def test_a_key_that_somebody_removed_at_the_provider(world: World, which: str) -> None:
    """An old one: it is gone before its time. The next: it does not come. The one in use: the grant is over, all of it."""
    grant = await world.active()
    old = await current(world, grant)
    if which == "old":
        old, kept = await rotated(world, grant)
    else:
        await rotated_to(world, grant)
        kept = old
    coming = (await world.grant(grant)).next_key_id
    gone = await world.key(coming) if which == "next" and coming else old
    assert gone.handle is not None
    del world.vendor.living[gone.handle]
    await world.round(after=MINUTE)
    now = await world.grant(grant)
    if which == "current":
        assert (now.state, now.ended_because) == (GrantState.ENDED, Cause.VANISHED)
        assert world.vendor.living == {}
    else:
        await untouched(world, grant, kept)
        assert list(world.vendor.living) == [kept.handle]
        assert (await world.key(gone.id)).state is KeyState.REVOKED


# ---- at once


async def test_an_emergency_revokes_first_and_goes_on_with_another_key(world: World) -> None:
    """Every key of the grant dies at once; its holder picks up another, for what is left of the time."""
    grant = await world.active()
    ends = grant.expires_at
    await rotated(world, grant)
    await rotated_to(world, grant)
    story = await world.rotation.rotate_at_once(BEN, grant.id)
    assert story.grant is not None
    assert story.grant.state is GrantState.READY
    await world.sweep()
    assert world.vendor.living == {}
    assert len(world.slack.standing(NoticeKind.ROTATED_AT_ONCE, BEN)) == 1
    await world.rotation.rotate_at_once(BEN, grant.id)
    assert (await world.acts()).count(Act.ROTATED_AT_ONCE) == 1, "again: nothing more happens"
    world.clock.now += DAY
    handover = await world.delivering(grant)
    await world.sweep(after=links.LINK_LIVES + MOMENT)
    assert (await world.grant(grant)).state is GrantState.READY, "a link that was lost costs nothing"
    handover = await world.delivering(grant)
    await world.claim(handover)
    await world.acknowledge(handover)
    now = await world.grant(grant)
    assert (now.state, now.expires_at) == (GrantState.ACTIVE, ends)
    assert (await current(world, grant)).expires_at == ends
    await world.sweep(after=grant.draft.duration)
    assert world.vendor.living == {}


async def test_a_grant_that_waits_for_its_new_key_still_ends_in_time(world: World) -> None:
    """Rotated at once and never picked up: its clock ran on."""
    grant = await world.active()
    await world.rotation.rotate_at_once(BEN, grant.id)
    await world.sweep(after=grant.draft.duration)
    now = await world.grant(grant)
    assert (now.state, now.ended_because) == (GrantState.ENDED, Cause.EXPIRED)


async def test_who_may_have_a_key_rotated_at_once(world: World) -> None:
    """Its holder and whoever could revoke it; others are refused, and where nobody has a key there is nothing to do."""
    grant = await world.approved()
    with pytest.raises(Superseded):
        await world.rotation.rotate_at_once(BEN, grant.id)
    for who in (BEN, CARA, DEV, ANA):
        grant = await world.active()
        await world.rotation.rotate_at_once(who, grant.id)
        assert (await world.last_entry()).act == Act.ROTATED_AT_ONCE
    world.people.managers.clear()
    grant = await world.active()
    with pytest.raises(NotAllowed):
        await world.rotation.rotate_at_once(ANA, grant.id)
    await world.grants.revoke(BEN, grant.id)
    with pytest.raises(Superseded):
        await world.rotation.rotate_at_once(BEN, grant.id)


async def test_an_emergency_against_a_rotation_and_a_revocation(world: World, other: World) -> None:
    """All three at once, in any order: whatever they come to, no key lives that its holder did not pick up after."""
    grant = await world.active()
    found = await asyncio.gather(
        rotated_to(world, grant),
        other.rotation.rotate_at_once(CARA, grant.id),
        other.grants.revoke(BEN, grant.id),
        return_exceptions=True,
    )
    assert not [one for one in found if isinstance(one, Exception) and not isinstance(one, Superseded)]
    await world.sweep(after=11 * MINUTE)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}


# ---- by name


async def test_a_key_is_named_by_its_id_its_beginning_or_how_it_ends(world: World) -> None:
    """Among one's own; anybody else's by its whole id alone; what fits none, or two, is asked for again."""
    grant = await world.active()
    fingerprint = (await current(world, grant)).fingerprint
    assert fingerprint is not None
    for text in (grant.id, grant.id[:8], fingerprint, fingerprint[-5:], f"…{fingerprint[-5:]}"):
        assert await world.grants.named(BEN, text) == grant.id
    assert await world.grants.named(CARA, grant.id) == grant.id
    for who, text in (
        (BEN, "zzzz"),
        (BEN, "...."),
        (BEN, "……………"),
        (BEN, fingerprint[-1]),
        (CARA, grant.id[:8]),
        (BEN, "g_none"),
    ):
        with pytest.raises(NotThere):
            await world.grants.named(who, text)
    await world.active()
    await rotated(world, grant)
    third = await world.active()
    assert (await current(world, third)).fingerprint == "exa…svc_3"
    held = await current(world, grant)
    await world.store.write(lambda tx: tx.move(held, fingerprint="exa…svc_3"))
    with pytest.raises(NotThere) as caught:
        await world.grants.named(BEN, "svc_3")
    assert f"`{grant.id}`" in str(caught.value)
    assert f"`{third.id}`" in str(caught.value)


# ---- keys that people bring


async def test_a_brought_key_is_followed_by_another_that_is_brought(store: SqlStore) -> None:
    """The depositors are asked anew; the old key works until the new one is shown, then for its grace."""
    desk = Depositing(store)
    key, _ = await desk.rested()
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    grant = await desk.grant_of(key)
    asked = await desk.rotation.rotate(BEN, grant.id, delivery="press 1")
    assert asked.state is KeyState.AWAITED
    await desk.sweep()
    (card,) = desk.slack.standing(NoticeKind.DEPOSIT, CARA)[-1:]
    assert card.deposit_url.endswith(asked.id)
    for again in (desk.rotation.rotate(BEN, grant.id, delivery="press 2"), desk.picked_up(grant)):
        with pytest.raises(Superseded):
            await again
    value = desk.console.made(asked.marker)
    await desk.bring(asked, value)
    now = await desk.grant_of(key)
    assert (now.state, now.key_id, now.next_key_id) == (GrantState.ACTIVE, key.id, asked.id)
    lost = await desk.delivering(now)
    await desk.sweep(after=links.LINK_LIVES + MOMENT)
    assert (await desk.link(lost)).state is LinkState.CLOSED
    assert (await desk.key(asked.id)).state is KeyState.DEPOSITED, "it rests again"
    handover = await desk.delivering(now)
    assert unsealed(handover.url, await desk.claim(handover)) == value
    await desk.acknowledge(handover)
    assert not await desk.at_rest(asked)
    assert [(await desk.key(one.id)).state for one in (key, asked)] == [KeyState.RETIRING, KeyState.LIVE]
    await desk.sweep(after=DAY)
    assert [(await desk.key(one.id)).state for one in (key, asked)] == [KeyState.REVOKED, KeyState.LIVE]
    await desk.must_hold()


async def test_a_brought_key_that_is_rotated_at_once(store: SqlStore) -> None:
    """The old one dies first; one that was asked for, or brought, takes its place; its holder picks up what is brought."""
    desk = Depositing(store)
    key, _ = await desk.rested()
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    grant = await desk.grant_of(key)
    await desk.rotation.rotate_at_once(BEN, grant.id)
    await desk.sweep()
    assert (await desk.key(key.id)).state is KeyState.REVOKED
    now = await desk.grant_of(key)
    assert now.state is GrantState.AWAITED
    assert now.key_id is not None
    asked = await desk.key(now.key_id)
    value = desk.console.made(asked.marker)
    await desk.bring(asked, value)
    handover = await desk.delivering(await desk.grant_of(key))
    assert unsealed(handover.url, await desk.claim(handover)) == value
    await desk.acknowledge(handover)
    coming = await desk.rotation.rotate(BEN, grant.id, delivery="press 1")
    await desk.bring(coming, desk.console.made(coming.marker))
    await desk.rotation.rotate_at_once(BEN, grant.id)
    now = await desk.grant_of(key)
    assert (now.state, now.key_id, now.next_key_id) == (GrantState.READY, coming.id, None)
    await desk.grants.revoke(BEN, grant.id)
    await desk.sweep()
    assert (await desk.grant_of(key)).state is GrantState.ENDED
    await desk.must_hold()


@pytest.mark.parametrize("brought", [False, True])
async def test_a_rotation_that_people_leave_lying_lapses(store: SqlStore, brought: bool) -> None:
    """Not brought, or not picked up: they are reminded, then the rotation is broken off; the old key works on, and can be rotated."""
    desk = Depositing(store)
    key, _ = await desk.rested(duration=timedelta(days=30))
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    grant = await desk.grant_of(key)
    asked = await desk.rotation.rotate(BEN, grant.id, delivery="press 1")
    if brought:
        await desk.bring(asked, desk.console.made(asked.marker))
    now = await desk.grant_of(key)
    assert now.lapses_at is not None
    desk.clock.now = now.lapses_at - MINUTE
    await desk.sweep()
    await desk.sweep()
    kind, whom = (NoticeKind.PICK_UP, BEN) if brought else (NoticeKind.NOT_BROUGHT, CARA)
    (reminder,) = desk.slack.standing(kind, whom)
    assert reminder.grant is not None
    if brought:  # who is about to fetch it gets a day more
        desk.clock.now = now.lapses_at - MOMENT
        await desk.delivering(now)
        await desk.sweep(after=MOMENT)
        lapses_at = (await desk.grant_of(key)).lapses_at
        assert lapses_at == now.lapses_at + DAY
        desk.clock.now = lapses_at
    else:
        desk.clock.now = now.lapses_at
    await desk.sweep()
    now = await desk.grant_of(key)
    assert (now.state, now.key_id, now.next_key_id, now.lapses_at) == (GrantState.ACTIVE, key.id, None, None)
    assert (await desk.key(key.id)).state is KeyState.LIVE
    assert (await desk.key(asked.id)).state is (KeyState.REVOKED if brought else KeyState.VOID)
    assert not await desk.at_rest(asked)
    desk.clock.now += timedelta(days=3)
    await desk.sweep()
    (told,) = desk.slack.standing(NoticeKind.NOT_ROTATED, BEN)
    assert told.next_key is None
    await desk.rotation.rotate(BEN, grant.id, delivery="press 2")
    await desk.must_hold()


async def test_what_replaces_a_key_that_was_revoked_at_once_is_waited_for_as_the_first_was(world: World) -> None:
    """Nobody picks it up: they are reminded, and the grant lapses. Picked up, its time goes on as it was."""
    grant = await world.active()
    ends = (await world.grant(grant)).expires_at
    await world.rotation.rotate_at_once(BEN, grant.id)
    await world.sweep()
    now = await world.grant(grant)
    assert now.lapses_at == world.clock.now + timedelta(days=7)
    handover = await world.delivering(now)
    await world.claim(handover)
    await world.acknowledge(handover)
    now = await world.grant(grant)
    assert (now.state, now.lapses_at, now.expires_at) == (GrantState.ACTIVE, None, ends)


async def test_a_key_that_is_paused_breaks_the_rotation_off_and_leaves_no_old_one(world: World) -> None:
    """Whoever pauses a key stops all of its grant: a thief may have any of them."""
    grant = await world.active()
    await rotated(world, grant)
    handover = await rotated_to(world, grant)
    key = await current(world, grant)
    await world.store.write(lambda tx: world.switching.pause(tx, key, world.clock.now, by=CARA.id))
    await world.sweep()
    assert list(world.vendor.living) == [key.handle]
    assert (await world.key(key.id)).state is KeyState.DISABLED
    assert (await world.link(handover)).state is LinkState.CLOSED
    assert (await world.grant(grant)).next_key_id is None
