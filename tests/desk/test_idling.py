"""Keys that nothing uses: keep or give back? Only where usage is known."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotYours, ProviderTransient
from bot.desk.hours import next_working
from bot.desk.idling import ANSWER_WITHIN, KEPT_FOR
from bot.desk.model import Cause, Grant, NoticeKind
from bot.desk.offer import Ability
from bot.desk.states import GrantState
from bot.desk.waiting import IDLE_AFTER
from storage.store import SqlStore
from tests.desk.metered import MeteredVendor
from tests.desk.world import BEN, CARA, NOON, POLICY, SetClock, World, draft

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ASKED = NOON + IDLE_AFTER  # a Monday


def desk(store: SqlStore, idle: str | None = None) -> World:
    clock = SetClock()
    rule = 'name = "everyday keys"'
    policy = POLICY.replace("30d", "90d").replace(rule, f'{rule}\nidle = "{idle}"' if idle else rule)
    world = World(store, vendor=MeteredVendor(clock), policy=policy)
    world.clock = clock
    return World(store, beside=world)


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """At a vendor that reports usage."""
    made = desk(store)
    yield made
    await made.must_hold()


def vendor_of(world: World) -> MeteredVendor:
    assert isinstance(world.vendor, MeteredVendor)
    return world.vendor


async def held(world: World, days: int = 90) -> Grant:
    handover = await world.delivering(await world.approved(BEN, draft(days=days)))
    await world.claim(handover)
    await world.acknowledge(handover)
    return await world.grant(handover.grant)


async def until(world: World, at: datetime, step: timedelta = DAY / 2) -> None:
    while world.clock.now < at:
        await world.round(after=min(step, at - world.clock.now))


def asked(world: World) -> int:
    return len(world.slack.standing(NoticeKind.IDLE, BEN))


async def test_a_key_that_was_never_used_is_asked_about(world: World) -> None:
    """Two weeks after the pick-up, once; it lives on."""
    grant = await held(world)
    await until(world, ASKED - HOUR)
    assert asked(world) == 0
    await until(world, ASKED + HOUR, HOUR)
    assert asked(world) == 1
    [story] = world.slack.standing(NoticeKind.IDLE, BEN)
    assert story.asked_idle
    assert not story.idle_revokes
    assert (await world.grant(grant)).state is GrantState.ACTIVE


async def test_use_begins_the_time_anew(world: World) -> None:
    """Used on the tenth day: two weeks from the end of that day, in working hours."""
    grant = await held(world)
    await until(world, NOON + 10 * DAY)
    vendor_of(world).use((await world.keys(grant))[0], 1000)
    await until(world, NOON + 23 * DAY)
    assert asked(world) == 0
    due = next_working((NOON + 11 * DAY).replace(hour=0, minute=0, microsecond=0) + IDLE_AFTER, "UTC")
    await until(world, due + HOUR, HOUR)
    assert asked(world) == 1


@pytest.mark.parametrize("what", ["revoke", "ask", "leave"])
async def test_what_follows_no_answer_is_policys_to_say(store: SqlStore, what: str) -> None:
    """Revoked after a week; or asked again two weeks later; or never asked at all."""
    world = desk(store, what)
    grant = await held(world)
    await until(world, ASKED + ANSWER_WITHIN - HOUR)
    assert asked(world) == (0 if what == "leave" else 1)
    assert [story.idle_revokes for story in world.slack.standing(NoticeKind.IDLE)] == [what == "revoke"] * asked(world)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    await until(world, ASKED + ANSWER_WITHIN + 2 * HOUR, HOUR)
    ended = await world.grant(grant)
    if what == "revoke":
        assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.IDLE)
        assert world.vendor.living == {}
        assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1
        return
    assert ended.state is GrantState.ACTIVE
    await until(world, ASKED + ANSWER_WITHIN + IDLE_AFTER + DAY)
    assert asked(world) == (2 if what == "ask" else 0)
    await world.must_hold()


async def test_policys_answer_comes_though_the_app_was_taken_away(store: SqlStore) -> None:
    """Slack says nobody's zone any more; what nothing uses is revoked where policy says so, as it would be with Slack."""
    world = desk(store, "revoke")
    grant = await held(world)
    await world.sweep()
    world.people.silent, world.people.refuses = True, "account_inactive"
    await world.installation.look("app_uninstalled")
    await until(world, ASKED + ANSWER_WITHIN - HOUR)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    await until(world, ASKED + ANSWER_WITHIN + 2 * HOUR, HOUR)
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.IDLE)
    assert world.vendor.living == {}
    await world.must_hold()


async def test_of_a_key_whose_usage_cannot_be_known_nobody_is_asked(store: SqlStore) -> None:
    """Its meter is not known: used every day or never, nothing would tell."""
    world = desk(store, "revoke")
    grant = await held(world)
    (key,) = await world.keys(grant)
    assert key.handle is not None
    await world.store.write(lambda tx: tx.move(key, meter=None))
    world.vendor.living[key.handle] = "renamed"  # so that no inventory finds it out
    await until(world, ASKED + ANSWER_WITHIN + DAY)
    assert (asked(world), (await world.grant(grant)).state) == (0, GrantState.ACTIVE)


async def test_who_keeps_it_is_left_alone_for_a_month(store: SqlStore) -> None:
    """Whatever policy says of those who do not answer; pressed twice it is one answer."""
    world = desk(store, "revoke")
    grant = await held(world)
    await until(world, ASKED + HOUR)
    for _ in range(2):
        story = await world.idling.keep(BEN, grant.id)
        assert not story.asked_idle
    assert (await world.acts()).count(Act.KEPT) == 1
    kept = world.clock.now
    await until(world, kept + KEPT_FOR - HOUR)
    assert (asked(world), (await world.grant(grant)).state) == (1, GrantState.ACTIVE)
    await until(world, next_working(kept + KEPT_FOR, "UTC") + HOUR)
    assert asked(world) == 2
    with pytest.raises(NotYours):
        await world.idling.keep(CARA, grant.id)
    await world.must_hold()


async def test_who_uses_it_after_the_question_has_answered(store: SqlStore) -> None:
    """The key is not revoked, and the question is gone."""
    world = desk(store, "revoke")
    grant = await held(world)
    await until(world, ASKED + HOUR)
    vendor_of(world).use((await world.keys(grant))[0], 1000)
    await until(world, ASKED + ANSWER_WITHIN + DAY)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert [story.asked_idle for story in world.slack.standing(NoticeKind.IDLE)] == [False]


async def test_what_is_not_known_is_not_held_against_a_key(store: SqlStore) -> None:
    """While usage cannot be read nobody is asked and nothing is revoked; once it can be, they are."""
    world = desk(store, "revoke")
    grant = await held(world)
    await until(world, ASKED - 2 * DAY)
    vendor_of(world).page_faults = [ProviderTransient("down")] * 10_000
    await until(world, ASKED + 12 * DAY)
    assert asked(world) == 0
    vendor_of(world).page_faults = []
    await until(world, ASKED + 14 * DAY)
    assert asked(world) == 1
    vendor_of(world).page_faults = [ProviderTransient("down")] * 10_000
    await until(world, ASKED + 22 * DAY)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    vendor_of(world).page_faults = []
    await until(world, ASKED + 24 * DAY)
    assert (await world.grant(grant)).ended_because is Cause.IDLE
    await world.must_hold()


async def test_a_provider_that_reports_no_usage_is_not_asked_about(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether its keys are used."""
    monkeypatch.setattr(MeteredVendor, "abilities", MeteredVendor.abilities - {Ability.USAGE})
    await held(world)
    await until(world, ASKED + 10 * DAY)
    assert asked(world) == 0


async def test_a_key_that_ends_soon_is_not_asked_about(world: World) -> None:
    """It is over before an answer would be due."""
    await held(world, days=20)
    await until(world, ASKED + 5 * DAY)
    assert asked(world) == 0


async def test_nobody_is_asked_at_night(world: World) -> None:
    """Somebody in Tokyo hears in their morning."""
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], tz="Asia/Tokyo")
    await held(world)
    await until(world, ASKED - HOUR)
    await until(world, ASKED + 11 * HOUR, HOUR)
    assert asked(world) == 0
    await until(world, ASKED + 13 * HOUR, HOUR)
    assert asked(world) == 1


async def test_keep_against_revoke(store: SqlStore, database_url: str) -> None:
    """Whoever commits first wins: the key is kept, or it is over."""
    world = desk(store, "revoke")
    beside = SqlStore.open(database_url)
    other = World(beside, beside=world)
    for _ in range(3):
        grant = await held(world)
        began = world.clock.now
        await until(world, next_working(began + IDLE_AFTER, "UTC") + HOUR, DAY)
        await until(world, next_working(world.clock.now + ANSWER_WITHIN, "UTC") - 2 * HOUR, DAY)
        await world.watch.go_round()
        world.clock.now += 3 * HOUR
        keeping = asyncio.create_task(world.idling.keep(BEN, grant.id))
        await asyncio.gather(keeping, other.watch.tick())
        kept = (await world.acts())[-1] == Act.KEPT
        assert (await world.grant(grant)).state is (GrantState.ACTIVE if kept else GrantState.ENDING)
        await world.grants.revoke(BEN, grant.id)
        await world.sweep()
    await beside.close()
