"""Revoking is verified by reading back, and what keeps failing is somebody's task while the desk goes on trying."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.desk import revoking
from bot.desk.audit import Act
from bot.desk.errors import NotAllowed, ProviderAuth, ProviderTransient, Superseded, Unavailable
from bot.desk.model import Actor, Grant, Key, NoticeKind
from bot.desk.offer import KeyStatus, ProviderKey
from bot.desk.retrying import LONGEST_RETRY, STUCK_AFTER
from bot.desk.states import GrantState, KeyState
from storage.store import SqlStore
from tests.desk.metered import MeteredVendor
from tests.desk.world import ANA, BEN, CARA, DEV, POLICY, SetClock, World

ADMINS = POLICY.replace("version = 1", f'version = 1\nadmins = ["{ANA.id}"]')


class Forgetful(MeteredVendor):
    """Says so many times that a key is gone, and does nothing."""

    lies = 0

    async def revoke(self, *, handle: str, project: str) -> None:
        """Done, it says."""
        if self.lies:
            self.lies -= 1
        else:
            await super().revoke(handle=handle, project=project)


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """At a vendor that forgets; Ana is an admin, Cara approved."""
    clock = SetClock()
    desk = World(store, vendor=Forgetful(clock), policy=ADMINS)
    desk.clock = clock
    desk = World(store, beside=desk)
    yield desk
    await desk.must_hold()


def vendor_of(world: World) -> Forgetful:
    assert isinstance(world.vendor, Forgetful)
    return world.vendor


async def given_back(world: World) -> tuple[Grant, Key]:
    """A grant whose key is to be revoked."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    return grant, (await world.keys(grant))[0]


async def failing(world: World, times: int, error: type[Exception] = ProviderTransient) -> None:
    """The vendor fails so often."""
    for _ in range(times):
        world.vendor.revoke_faults.append(error("no"))
        await world.sweep(after=LONGEST_RETRY)


async def test_what_the_provider_still_shows_is_not_revoked(world: World) -> None:
    """It said that the key is gone, twice; the desk looked, and revoked it until it was true."""
    grant, key = await given_back(world)
    vendor_of(world).lies = 2
    for attempts in (1, 2):
        await world.sweep(after=LONGEST_RETRY)
        assert ((await world.key(key.id)).state, (await world.key(key.id)).attempts) == (KeyState.REVOKING, attempts)
        assert Act.REVOKED not in await world.acts()
    await world.sweep(after=LONGEST_RETRY)
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}


@pytest.mark.parametrize(
    ("status", "gone"), [(KeyStatus.GONE, True), (KeyStatus.DISABLED, False), (KeyStatus.ACTIVE, False), (None, True)]
)
async def test_only_what_is_dead_for_good_counts_as_gone(
    world: World, monkeypatch: pytest.MonkeyPatch, status: KeyStatus | None, gone: bool
) -> None:
    """A key that is switched off could be switched on again."""

    async def get(*, handle: str, project: str) -> ProviderKey | None:
        return ProviderKey(handle, "keydesk-k_1", project, status) if status else None

    monkeypatch.setattr(world.vendor, "get", get)
    if gone:
        await revoking.revoke(world.vendor, handle="svc_0", project="proj_search")
    else:
        with pytest.raises(ProviderTransient):
            await revoking.revoke(world.vendor, handle="svc_0", project="proj_search")


async def test_a_revocation_that_keeps_failing_is_a_task_for_people(world: World) -> None:
    """After some failures, once: who approved and the admin hear of it, and can say that they did it by hand."""
    grant, key = await given_back(world)
    await failing(world, STUCK_AFTER - 1)
    assert world.slack.standing(NoticeKind.STUCK) == []
    await failing(world, 1)
    await failing(world, 3)
    for who in (ANA, CARA):
        [story] = world.slack.standing(NoticeKind.STUCK, who)
        assert [one.id for one in story.stuck] == [key.id]
    assert len(world.slack.standing(NoticeKind.STUCK)) == 2
    [entry] = [entry for entry in await world.entries() if entry.act == Act.STUCK]
    assert entry.detail == {
        "grant": grant.id,
        "provider": "openai",
        "handle": key.handle,
        "attempts": STUCK_AFTER,
        "because": "ProviderTransient",
        "asked": f"{ANA.id} {CARA.id}",
    }
    await world.sweep(after=LONGEST_RETRY)
    assert [story.stuck for story in world.slack.standing(NoticeKind.STUCK)] == [(), ()]
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert (await world.acts()).count(Act.REVOKED) == 1


async def test_an_outage_that_goes_by_wakes_nobody(world: World) -> None:
    """The desk's own patience is longer, as its tries come later and later."""
    await given_back(world)
    world.vendor.revoke_faults = [ProviderTransient("down")] * (STUCK_AFTER - 1)
    began = world.clock.now
    while world.vendor.revoke_faults:
        await world.sweep(after=timedelta(seconds=15))
    assert timedelta(minutes=5) < world.clock.now - began < timedelta(minutes=10)
    await world.sweep(after=timedelta(minutes=6))
    assert world.vendor.living == {}
    assert world.slack.standing(NoticeKind.STUCK) == []


@pytest.mark.parametrize("who", [ANA, CARA, DEV], ids=["admin", "approver", "another who may decide"])
async def test_a_person_says_that_they_revoked_it(world: World, who: Actor) -> None:
    """Their word is written down as theirs, and ends the task, the tries and the grant."""
    grant, key = await given_back(world)
    await failing(world, STUCK_AFTER, ProviderAuth)
    world.vendor.living.clear()
    await world.deposits.revoked_by_hand(who, key.id)
    await world.sweep(after=LONGEST_RETRY)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert [(entry.actor, entry.subject) for entry in await world.entries() if entry.act == Act.REVOKED] == [
        (who.id, key.id)
    ]
    assert world.vendor.revoked == []
    assert [story.stuck for story in world.slack.standing(NoticeKind.STUCK)] == [(), ()]


async def test_its_holder_cannot_say_so_and_nobody_can_before_time(world: World) -> None:
    """Who could go on with it is not believed, and a revocation under way needs nobody's word."""
    _, key = await given_back(world)
    await failing(world, STUCK_AFTER - 1)
    with pytest.raises(Superseded):
        await world.deposits.revoked_by_hand(CARA, key.id)
    await failing(world, 1)
    with pytest.raises(NotAllowed):
        await world.deposits.revoked_by_hand(BEN, key.id)
    assert (await world.key(key.id)).state is KeyState.REVOKING


async def test_a_word_that_was_not_true_is_found_out(world: World) -> None:
    """The inventory meets the key that lives, and revokes it."""
    _, key = await given_back(world)
    await failing(world, STUCK_AFTER)
    await world.deposits.revoked_by_hand(CARA, key.id)
    assert world.vendor.living != {}
    await world.round(after=timedelta(days=1))
    assert world.vendor.living == {}
    assert (await world.acts()).count(Act.STRAY_REVOKED) == 1


async def test_who_cannot_be_looked_up_now_is_told_at_the_next_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack is down together with the vendor: nothing is lost, and the desk goes on trying."""
    _, key = await given_back(world)
    await failing(world, STUCK_AFTER - 1)

    async def fail(member: str, *, fresh: bool = False) -> None:
        raise Unavailable("down")

    with monkeypatch.context() as down:
        down.setattr(world.people, "person", fail)
        world.vendor.revoke_faults.append(ProviderTransient("no"))
        world.clock.now += LONGEST_RETRY
        await world.watch.retire()
    assert (await world.key(key.id)).attempts == STUCK_AFTER
    assert Act.STUCK not in await world.acts()
    await failing(world, 1)
    assert len(world.slack.standing(NoticeKind.STUCK)) == 2


async def test_two_processes_make_one_task_of_it(world: World, other: World) -> None:
    """Each fails at the same key at the same moment; people are told once."""
    _, key = await given_back(world)
    await failing(world, STUCK_AFTER - 1)
    world.clock.now += LONGEST_RETRY
    until = world.clock.now + timedelta(minutes=2)
    [leased] = await world.store.write(lambda tx: tx.lease_keys(world.clock.now, until, 9))
    world.vendor.revoke_faults = [ProviderTransient("no")] * 2
    await asyncio.gather(world.revoking.carry_out(leased), other.revoking.carry_out(leased))
    await world.sweep()
    assert len(world.slack.standing(NoticeKind.STUCK)) == 2
    assert (await world.acts()).count(Act.STUCK) == 1
    assert (await world.key(key.id)).state is KeyState.REVOKING
