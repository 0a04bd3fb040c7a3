"""The nightly check: whoever left without a word is found by Slack's list, and a list that cannot be right does nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from bot.desk.audit import Act
from bot.desk.model import Actor, Cause, Grant, Person, RoundKind
from bot.desk.states import GrantState, RequestState
from storage.store import SqlStore
from tests.desk.world import ANA, POLICY, TEAM, World
from tests.lessons import NEVER_AGAIN, read

POLICY_WITH_ADMIN = POLICY.replace("version = 1\n", 'version = 1\nadmins = ["U0ANA"]\n')
DAY = timedelta(days=1)
ROBOTS = [Actor(TEAM, f"U0HOLDER{number}") for number in range(9)]


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """Ana is an admin."""
    desk = World(store, policy=POLICY_WITH_ADMIN)
    yield desk
    await desk.must_hold()


async def hired(world: World, many: int) -> list[Grant]:
    """So many more members, each with an active key."""
    grants = []
    for who in ROBOTS[:many]:
        world.people.people[who.id] = Person(who.id, TEAM, who.id)
        await read(world.store, who.id, NEVER_AGAIN)
        handover = await world.delivering(await world.approved(who))
        await world.claim(handover, actor=who)
        await world.acknowledge(handover, actor=who)
        grants.append(handover.grant)
    await world.round()
    return grants


def left(world: World, who: Actor, **flags: Any) -> None:
    """Without a word."""
    world.people.people[who.id] = replace(world.people.people[who.id], **(flags or {"deleted": True}))


async def flaw(world: World) -> str | None:
    """Of the last check."""
    (found,) = [one for one in await world.store.read(lambda tx: tx.rounds(TEAM)) if one.kind is RoundKind.HOLDERS]
    return found.flaw


@pytest.mark.parametrize("flag", ["deleted", "guest"])
async def test_who_left_without_a_word_is_found_at_night(world: World, flag: str) -> None:
    """Key and request are over as by Slack's event, at three in the morning, once; the others keep theirs."""
    one, two = await hired(world, 2)
    pending = await world.asked(ROBOTS[0])
    left(world, ROBOTS[0], **{flag: True})
    await world.round(timedelta(hours=14))
    assert (await world.grant(one)).state is GrantState.ACTIVE
    await world.round(timedelta(hours=1))
    ended = await world.grant(one)
    assert (ended.state, ended.ended_because, ended.ended_by) == (GrantState.ENDED, Cause.LEFT, "system")
    assert (await world.stories.of(TEAM, pending.request.id)).request.state is RequestState.LEFT
    assert (await world.grant(two)).state is GrantState.ACTIVE
    await world.round(DAY)
    acts = await world.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT)) == (1, 1)
    (made,) = [one for one in await world.store.read(lambda tx: tx.rounds(TEAM)) if one.kind is RoundKind.HOLDERS]
    assert made.ended_at == world.clock()
    assert made.due_at == datetime.combine(world.clock().date() + DAY, time(3), UTC)


async def test_who_is_not_listed_is_asked_for(world: World) -> None:
    """One whom the list forgot keeps their key; one whom nobody knows, and one of another workspace, lose it."""
    grants = await hired(world, 9)
    world.people.unlisted = {who.id for who in ROBOTS[:3]}
    del world.people.people[ROBOTS[1].id]
    left(world, ROBOTS[2], stranger=True)
    await world.round(DAY)
    states = [(await world.grant(grant)).state for grant in grants[:4]]
    assert states == [GrantState.ACTIVE, GrantState.ENDED, GrantState.ENDED, GrantState.ACTIVE]
    whys = [entry.detail.get("because") for entry in await world.entries() if entry.act == Act.HOLDER_LEFT]
    assert len(whys) == 2


@pytest.mark.parametrize(
    ("gone", "of", "believed"), [(1, 1, True), (1, 2, True), (2, 3, False), (2, 6, True), (3, 8, False), (3, 9, True)]
)
async def test_so_many_are_not_gone_at_once(world: World, gone: int, of: int, believed: bool) -> None:
    """More than a third: nobody's key is revoked. One alone may leave, in however small a team."""
    grants = await hired(world, of)
    for who in ROBOTS[:gone]:
        left(world, who)
    await world.round(DAY)
    ended = [grant for grant in grants if (await world.grant(grant)).state is GrantState.ENDED]
    assert len(ended) == (gone if believed else 0)
    assert (await flaw(world) is None) is believed


async def test_the_admins_are_told_once_in_their_working_hours(world: World) -> None:
    """Not at night; in the morning, whom it is about; and not again each day while nothing changes."""
    world.people.people[ANA.id] = replace(world.people.people[ANA.id], tz="America/New_York")
    await hired(world, 3)
    for who in ROBOTS[:2]:
        left(world, who)
    await world.round(timedelta(hours=15))  # at three
    assert world.slack.warned == []
    await world.sweep(timedelta(hours=10, minutes=59))  # a minute before nine in New York
    assert world.slack.warned == []
    await world.sweep(timedelta(minutes=1))
    ((admin, about),) = world.slack.warned
    assert admin == ANA.id
    assert "2 of 3 holders would have left at once: U0HOLDER0, U0HOLDER1" in str(about.flaw)
    for _ in range(3):
        await world.round(DAY)
    assert len(world.slack.warned) == 1


async def test_a_list_that_breaks_off_is_not_believed(world: World) -> None:
    """Whoever is not in its first pages has not left; it is read again, and told of where that goes on for ten minutes."""
    grants = await hired(world, 4)
    left(world, ROBOTS[0])
    world.people.breaks_after = 3
    await world.round(timedelta(hours=22))  # ten in the morning: somebody could be told at once
    for _ in range(6):
        await world.round(timedelta(minutes=6))
    assert world.slack.warned == []
    assert [(await world.grant(grant)).state for grant in grants] == [GrantState.ACTIVE] * 4
    for _ in range(3):
        await world.round(timedelta(minutes=15))
    assert len(world.slack.warned) == 1
    world.people.breaks_after = None
    await world.round(timedelta(minutes=15))
    assert (await world.grant(grants[0])).state is GrantState.ENDED
    assert await flaw(world) is None


async def test_a_list_that_broke_off_is_told_of_once_slack_can_say_who_the_admins_are(world: World) -> None:
    """Not in the minute in which it should have been: a little later, and not twice. Broken off again another night: once more."""
    await hired(world, 2)
    world.people.breaks_after = 0
    await world.round(timedelta(hours=22))
    for _ in range(6):
        await world.round(timedelta(minutes=15))
    world.people.silent = True  # so nobody knows who is an admin, either
    for _ in range(3):
        await world.round(timedelta(minutes=15))
    assert world.slack.warned == []
    world.people.silent = False
    for _ in range(5):
        await world.round(timedelta(minutes=15))
    assert [admin for admin, _ in world.slack.warned] == [ANA.id]
    world.people.breaks_after = None
    await world.round(timedelta(minutes=15))
    assert await flaw(world) is None
    world.people.breaks_after = 0
    await world.round(DAY)
    for _ in range(10):
        await world.round(timedelta(minutes=15))
    assert [admin for admin, _ in world.slack.warned] == [ANA.id] * 2


async def test_a_list_that_breaks_off_for_a_moment_does_not_have_the_same_told_again(world: World) -> None:
    """Of two nights in which so many cannot have left, the second of which took a second try."""
    await hired(world, 3)
    for who in ROBOTS[:2]:
        left(world, who)
    await world.round(DAY)
    assert len(world.slack.warned) == 1
    world.people.breaks_after = 0
    await world.round(DAY)
    world.people.breaks_after = None
    await world.round(timedelta(minutes=1))
    assert "2 of 3 holders" in str(await flaw(world))
    assert len(world.slack.warned) == 1
    left(world, ROBOTS[2])  # it is another flaw now
    await world.round(DAY)
    assert [about.flaw for _, about in world.slack.warned if "3 of 3 holders" in str(about.flaw)] != []
    assert len(world.slack.warned) == 2


async def test_what_is_mended_by_morning_is_not_told(world: World) -> None:
    """The list was wrong at three and right at four."""
    await hired(world, 3)
    for who in ROBOTS[:2]:
        left(world, who)
    await world.round(timedelta(hours=15))
    for who in ROBOTS[:2]:
        left(world, who, deleted=False)
    await world.round(DAY)
    await world.sweep(timedelta(hours=8))
    assert world.slack.warned == []


async def test_two_processes_check_once(world: World, other: World) -> None:
    """And each thing ends once."""
    (grant, *_) = await hired(world, 3)
    left(world, ROBOTS[0])
    world.clock.now += DAY
    await asyncio.gather(world.watch.go_round(), other.watch.go_round())
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 1


async def test_a_process_that_died_in_the_check_leaves_it_to_another(
    world: World, other: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first of two had their keys ended: the lease ends, the check is made anew, and finds the second."""
    grants = await hired(world, 9)
    for who in ROBOTS[:2]:
        left(world, who)
    look, looked = world.leaving.look, 0

    async def dies(member: Actor, *, unlisted: bool = False) -> bool:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise asyncio.CancelledError
        return await look(member, unlisted=unlisted)

    monkeypatch.setattr(world.leaving, "look", dies)
    world.clock.now += DAY
    with pytest.raises(asyncio.CancelledError):
        await world.watch.go_round()
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 1
    await other.round(timedelta(minutes=3))
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 2
    assert {(await world.grant(grant)).state for grant in grants[:2]} == {GrantState.ENDED}


async def test_a_team_that_this_desk_does_not_serve_is_left_alone(world: World) -> None:
    """Its holders are in no list that the desk sees: none of them is taken for gone."""
    await world.active()
    await world.store.write(
        lambda tx: tx.record(team="T0BEFORE", at=world.clock(), actor="system", act=Act.EXPIRED, subject="g_1")
    )
    await world.round()
    await world.round(DAY)
    every = await world.store.read(lambda tx: [*tx.rounds(TEAM), *tx.rounds("T0BEFORE")])
    assert {one.flaw for one in every if one.kind is RoundKind.HOLDERS} == {None}
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 0
