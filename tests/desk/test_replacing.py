"""Who was asked and cannot answer any more is replaced; where nobody is left, those who wait and the admins are told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotAllowed
from bot.desk.model import Actor, NoticeKind, Person, Ruling, Story
from bot.desk.replacing import GROUPS_SETTLE
from bot.desk.states import GrantState, KeyState, RequestState
from storage.store import SqlStore
from tests.desk.depositing import Depositing
from tests.desk.world import ANA, BEN, CARA, DEV, LEADS, POLICY, TEAM, World

EVE = Actor(TEAM, "U0EVE")
WITH_ADMIN = POLICY.replace("version = 1\n", 'version = 1\nadmins = ["U0ANA"]\n').replace(
    f'["{LEADS}", "manager"]', f'["{LEADS}"]'
)


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """Cara and Dev decide; Ana is an admin."""
    desk = World(store, policy=WITH_ADMIN)
    desk.people.people[EVE.id] = Person(EVE.id, TEAM, "Eve Sommer")
    yield desk
    await desk.must_hold()


def left(world: World, who: Actor) -> None:
    """Deactivated."""
    world.people.people[who.id] = replace(world.people.people[who.id], deleted=True)


def asked_of(world: World, who: Actor) -> list[str]:
    """Of which requests this member has a card."""
    return [story.request.id for story in world.slack.standing(NoticeKind.APPROVAL, who)]


async def pending(world: World) -> Story:
    """Ben asked, and Cara and Dev have his card."""
    story = await world.asked()
    await world.sweep()
    assert asked_of(world, CARA) == asked_of(world, DEV) == [story.request.id]
    return story


async def test_an_approver_who_left_is_replaced(world: World) -> None:
    """By those who may decide today and have no card yet; and they can decide."""
    story = await pending(world)
    left(world, CARA)
    world.people.groups[LEADS] = {DEV.id, EVE.id}
    await world.leaving.look(CARA)
    await world.sweep()
    assert asked_of(world, EVE) == [story.request.id]
    assert len(asked_of(world, DEV)) == 1
    entry = next(entry for entry in await world.entries() if entry.act == Act.ASKED_ANEW)
    assert (entry.subject, entry.detail) == (
        story.request.id,
        {"asked": EVE.id, "instead_of": CARA.id},
    )
    decided = await world.requests.decide(EVE, story.request.id, Ruling.APPROVE)
    assert decided.request.state is RequestState.APPROVED


async def test_while_all_who_were_asked_may_decide_nobody_more_is_asked(world: World) -> None:
    """A new member of the group finds it on their Home, and gets no card for each request that is open."""
    await pending(world)
    world.people.groups[LEADS] |= {EVE.id}
    await world.replacing.group_changed(LEADS, TEAM)
    await world.sweep(GROUPS_SETTLE)
    assert asked_of(world, EVE) == []


async def test_a_group_that_lost_its_members(world: World) -> None:
    """Cara moved to another team: as soon as what is known of the group is new, her successor is asked. Others: no."""
    story = await pending(world)
    world.people.groups[LEADS] = {DEV.id, EVE.id}
    await world.replacing.group_changed("S0OTHERS", TEAM)
    await world.sweep(GROUPS_SETTLE)
    assert asked_of(world, EVE) == []
    await world.replacing.group_changed(LEADS, TEAM)
    await world.sweep()
    assert asked_of(world, EVE) == []
    await world.sweep(GROUPS_SETTLE)
    assert asked_of(world, EVE) == [story.request.id]
    with pytest.raises(NotAllowed, match="not an approver"):
        await world.requests.decide(CARA, story.request.id, Ruling.APPROVE)


async def test_another_policy_has_other_approvers(world: World) -> None:
    """At its start a desk looks whom its policy asks now."""
    story = await pending(world)
    anew = World(
        world.store, beside=world, policy=WITH_ADMIN.replace(f'approvers = ["{LEADS}"]', 'approvers = ["U0EVE"]')
    )
    await anew.replacing.review(TEAM)
    await anew.sweep()
    assert asked_of(world, EVE) == [story.request.id]


async def test_a_night_finds_who_left_without_a_word(world: World) -> None:
    """And the new card waits for its reader's working hours."""
    story = await pending(world)
    await world.round()
    left(world, CARA)
    world.people.groups[LEADS] = {EVE.id}
    world.people.people[EVE.id] = replace(world.people.people[EVE.id], tz="America/New_York")
    await world.round(timedelta(hours=15))  # three in the morning
    world.clock.now = datetime(2026, 11, 24, 13, 59, tzinfo=UTC)
    await world.sweep()
    assert asked_of(world, EVE) == []
    await world.sweep(timedelta(minutes=1))
    assert asked_of(world, EVE) == [story.request.id]


async def test_nobody_is_left(world: World) -> None:
    """The requester hears it, and the admins, once; when somebody may decide again, they are asked."""
    story = await pending(world)
    left(world, CARA)
    left(world, DEV)
    for who in (CARA, DEV):
        await world.leaving.look(who)
    await world.sweep()
    for _ in range(2):
        await world.replacing.review(TEAM)
        await world.sweep()
    assert len(world.slack.standing(NoticeKind.STRANDED, BEN)) == 1
    assert len(world.slack.standing(NoticeKind.NOBODY, ANA)) == 1
    assert (await world.acts()).count(Act.STRANDED) == 1
    world.people.groups[LEADS] = {EVE.id}
    await world.replacing.group_changed(LEADS, TEAM)
    await world.sweep(GROUPS_SETTLE)
    assert asked_of(world, EVE) == [story.request.id]


async def test_two_processes_ask_once(world: World, other: World) -> None:
    """The same timer, at once."""
    await pending(world)
    left(world, CARA)
    world.people.groups[LEADS] = {EVE.id}
    await asyncio.gather(world.leaving.look(CARA), other.leaving.look(CARA))
    await asyncio.gather(world.watch.tick(), other.watch.tick())
    await world.sweep()
    assert len(asked_of(world, EVE)) == 1
    assert (await world.acts()).count(Act.ASKED_ANEW) == 1


async def test_what_is_decided_meanwhile_is_asked_of_nobody(world: World) -> None:
    """Dev decided between the look and the act: there is no question any more."""
    story = await pending(world)
    world.people.groups[LEADS] = {DEV.id, EVE.id}
    await world.replacing.review(TEAM)
    await world.requests.decide(DEV, story.request.id, Ruling.APPROVE)
    await world.sweep()
    assert asked_of(world, EVE) == []


async def test_a_desk_that_died_before_others_were_asked_asks_when_it_is_told_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cara's own things are over, nobody is asked yet: the same event does the rest."""
    story = await pending(world)
    left(world, CARA)
    world.people.groups[LEADS] = {EVE.id}

    def dies(*_: object) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as patch:
        patch.setattr("storage.transaction.SqlTransaction.set_timer", dies)
        with pytest.raises(RuntimeError, match="died"):
            await world.leaving.look(CARA)
    await world.sweep()
    assert asked_of(world, EVE) == []
    assert await world.leaving.look(CARA)
    await world.sweep()
    assert asked_of(world, EVE) == [story.request.id]


@pytest.fixture
async def desk(store: SqlStore) -> AsyncIterator[Depositing]:
    """Keys that people bring: the leads do."""
    made = Depositing(store)
    made.people.people[EVE.id] = Person(EVE.id, TEAM, "Eve Sommer")
    yield made
    await made.must_hold()


async def test_a_depositor_who_left_is_replaced(desk: Depositing) -> None:
    """Eve is asked to bring the key, and may."""
    key = await desk.awaited()
    await desk.sweep()
    left(desk, CARA)
    desk.people.groups[LEADS] = {DEV.id, EVE.id}
    await desk.leaving.look(CARA)
    await desk.sweep()
    assert len(desk.slack.standing(NoticeKind.DEPOSIT, EVE)) == 1
    assert len(desk.slack.standing(NoticeKind.DEPOSIT, DEV)) == 1
    await desk.bring(key, desk.console.made(key.marker), by=EVE)
    assert (await desk.key(key.id)).state is KeyState.DEPOSITED


async def test_whoever_was_to_revoke_by_hand_is_replaced(desk: Depositing) -> None:
    """A key that works until somebody revokes it is nobody's task for no longer than until others are asked."""
    desk.console.abilities = frozenset()
    key, _ = await desk.rested()
    handover = await desk.link_to(key)
    await desk.claim(handover)
    await desk.acknowledge(handover)
    await desk.grants.revoke(BEN, key.grant_id)
    await desk.sweep()
    for who in (CARA, DEV):
        left(desk, who)
    desk.people.groups[LEADS] = {EVE.id}
    for who in (CARA, DEV):
        await desk.leaving.look(who)
    await desk.sweep()
    assert len(desk.slack.standing(NoticeKind.BY_HAND, EVE)) == 1
    story = await desk.deposits.revoked_by_hand(EVE, key.id)
    assert story.grant is not None
    assert story.grant.state is GrantState.ENDED
