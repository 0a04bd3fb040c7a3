"""A key whose holder left, where policy wants it handed over: who approved it may have a key of their own follow it."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import NotWelcome, NotYours, Superseded, Unavailable
from bot.desk.ids import new_id
from bot.desk.model import Actor, Cause, Grant, NoticeKind, Ruling, Story
from bot.desk.states import GrantState, RequestState
from bot.desk.waiting import SUCCEEDED_AFTER
from bot.slack.views import buttons
from storage.store import SqlStore
from tests.desk.world import ANA, BEN, CARA, DEV, MINUTE, NOON, POLICY, World

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HANDING_OVER = POLICY.replace("max_monthly_budget = 200", 'max_monthly_budget = 200\non_leaving = "hand_over"')


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """A desk whose everyday keys are handed over."""
    desk = World(store, policy=HANDING_OVER)
    yield desk
    await desk.must_hold()


def leaves(world: World, *who: Actor) -> None:
    """The workspace deactivates them."""
    for one in who:
        world.people.people[one.id] = replace(world.people.people[one.id], deleted=True)


async def orphaned(world: World) -> Grant:
    """Ben's key, approved by Cara, after he left."""
    grant = await world.active()
    leaves(world, BEN)
    assert await world.leaving.look(BEN)
    await world.sweep()
    return await world.grant(grant)


async def taken(world: World, grant: Grant, by: Actor = CARA, origin: str = "V1") -> Story:
    """Asked to take over."""
    return await world.extending.ask(
        by, grant.id, duration=timedelta(days=7), reason="The service is mine", origin=origin
    )


def asked(world: World) -> set[str]:
    """Who is asked to take a key over."""
    heard = (ANA, BEN, CARA, DEV)
    return {one.id for one in heard if world.slack.standing(NoticeKind.ORPHANED, one)}


async def test_a_key_is_taken_over_by_a_key_that_follows_it(world: World) -> None:
    """Whatever uses it goes on; who approved it asks like anybody, another decides, and the old key dies a day after."""
    old = await orphaned(world)
    assert (old.state, old.left_at, old.expires_at) == (GrantState.ACTIVE, NOON, NOON + 3 * DAY)
    assert asked(world) == {CARA.id}
    assert len(world.vendor.living) == 1

    world.clock.now += DAY
    story = await taken(world, old)
    assert (story.request.state, story.request.requester, story.extended) == (RequestState.PENDING, CARA.id, old)
    await world.sweep()
    assert story.request.id in {one.request.id for one in world.slack.standing(NoticeKind.APPROVAL, DEV)}
    grant = (await world.requests.decide(DEV, story.request.id, Ruling.APPROVE)).grant
    assert grant is not None
    handover = await world.delivering(grant)
    await world.claim(handover, actor=CARA)
    await world.acknowledge(handover, actor=CARA)
    assert len(world.vendor.living) == 2
    await world.sweep(after=SUCCEEDED_AFTER)
    assert ((await world.grant(old)).state, (await world.grant(grant)).state) == (GrantState.ENDED, GrantState.ACTIVE)
    assert len(world.vendor.living) == 1
    acts = await world.acts()
    assert (acts.count(Act.HAND_OVER_OFFERED), acts.count(Act.HOLDER_LEFT)) == (1, 1)


async def test_what_nobody_takes_over_is_revoked(world: World) -> None:
    """At its time, not before; whoever left hears of no end, and the log says that they left."""
    old = await orphaned(world)
    await world.sweep(after=3 * DAY - MINUTE)
    assert len(world.vendor.living) == 1
    await world.sweep(after=MINUTE)
    ended = await world.grant(old)
    assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.LEFT)
    assert world.vendor.living == {}
    assert world.slack.standing(NoticeKind.EXPIRING, BEN) == []
    assert Act.EXPIRED not in await world.acts()
    with pytest.raises(Superseded, match="is over"):
        await taken(world, old)


async def test_whoever_left_and_is_back_has_no_key_of_what_is_offered(world: World) -> None:
    """Neither by Rotate nor by a new link of a rotation that was under way; no button of theirs is offered."""
    old = await orphaned(world)
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], deleted=False)
    assert buttons.for_requester(await world.stories.of(old.team, old.request_id)) == []
    with pytest.raises(Superseded, match="for whoever takes it over"):
        await world.rotation.rotate(BEN, old.id, delivery="press")
    assert (await world.grant(old)).next_key_id is None
    assert len(world.vendor.minted) == 1


async def test_an_end_that_comes_before_stays(world: World) -> None:
    """A key with two days left is not prolonged by its holder's leaving."""
    grant = await world.active()
    await world.sweep(after=5 * DAY)
    leaves(world, BEN)
    await world.leaving.look(BEN)
    assert (await world.grant(grant)).expires_at == NOON + 7 * DAY


async def test_it_is_offered_to_who_approved_it_and_to_nobody_else(world: World) -> None:
    """Another approver, and a stranger to it, are refused; once somebody asked, there is nothing to ask for."""
    old = await orphaned(world)
    for other in (ANA, DEV):
        with pytest.raises(NotYours):
            await taken(world, old, other)
    story = await taken(world, old)
    assert (await taken(world, old)).request.id == story.request.id, "the same form asks once"
    with pytest.raises(Superseded, match="asked to take this key over already"):
        await taken(world, old, origin="V2")
    with pytest.raises(Superseded, match="asked to take this key over already"):
        await world.extending.look(CARA, old.id)


async def test_where_who_approved_left_too_it_is_offered_to_who_may_decide(world: World) -> None:
    """Ben's manager, and the other lead."""
    grant = await world.active()
    leaves(world, BEN, CARA)
    await world.leaving.look(BEN)
    await world.sweep()
    assert asked(world) == {ANA.id, DEV.id}
    assert (await taken(world, grant, ANA)).extended is not None


async def test_where_who_was_asked_leaves_others_are_asked(world: World) -> None:
    """Cara was asked and leaves: who else may decide on such a request is asked, once, and can take it over."""
    old = await orphaned(world)
    leaves(world, CARA)
    for _ in range(2):
        await world.leaving.look(CARA)
        await world.sweep()
    assert asked(world) == {ANA.id, CARA.id, DEV.id}
    assert [len(world.slack.standing(NoticeKind.ORPHANED, one)) for one in (ANA, DEV)] == [1, 1]
    assert (await taken(world, old, ANA)).extended is not None


async def test_what_is_not_in_use_and_what_nobody_can_take_over_ends_at_once(world: World) -> None:
    """An offer, a key behind a link; and a key, where nobody who could decide is here any more."""
    ready, behind = await world.approved(), await world.delivering()
    grant = await world.active()
    leaves(world, BEN, ANA, CARA, DEV)
    await world.leaving.look(BEN)
    await world.sweep()
    for one in (ready, behind.grant, grant):
        ended = await world.grant(one)
        assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.LEFT)
    assert world.vendor.living == {}


async def test_a_key_that_another_follows_already_is_not_offered(world: World) -> None:
    """Ben extended it before he left: the old one ends at once, the one that he uses is offered."""
    old = await world.active()
    story = await world.extending.ask(BEN, old.id, duration=timedelta(days=7), reason="More", origin="V1")
    new = (await world.requests.decide(DEV, story.request.id, Ruling.APPROVE)).grant
    assert new is not None
    handover = await world.delivering(new)
    await world.claim(handover)
    await world.acknowledge(handover)
    leaves(world, BEN)
    await world.leaving.look(BEN)
    await world.sweep()
    assert ((await world.grant(old)).state, (await world.grant(new)).state) == (GrantState.ENDED, GrantState.ACTIVE)
    assert asked(world) == {DEV.id}


async def test_a_key_in_use_is_offered_though_another_was_to_follow(world: World) -> None:
    """Ben's extension was approved and he left before he picked it up: what is in use goes on."""
    old = await world.active()
    story = await world.extending.ask(BEN, old.id, duration=timedelta(days=7), reason="More", origin="V1")
    await world.requests.decide(DEV, story.request.id, Ruling.APPROVE)
    leaves(world, BEN)
    await world.leaving.look(BEN)
    await world.sweep()
    assert ((await world.grant(old)).state, asked(world)) == (GrantState.ACTIVE, {CARA.id})
    assert len(world.vendor.living) == 1
    assert (await taken(world, old, origin="V2")).extended is not None


async def test_of_a_rotation_under_way_the_key_in_use_alone_works_on(world: World) -> None:
    """One that retires beside it, and one that waits behind a link, die at once: nobody is here to switch or to open."""
    grant = await world.active()
    for acknowledged in (True, False):
        handover = await world.grants.issue(
            await world.rotation.rotate(BEN, grant.id, delivery=new_id("d", os.urandom))
        )
        if acknowledged:
            await world.claim(handover)
            await world.acknowledge(handover)
    assert len(world.vendor.living) == 3
    leaves(world, BEN)
    await world.leaving.look(BEN)
    await world.sweep()
    found = await world.grant(grant)
    assert (found.state, found.next_key_id) == (GrantState.ACTIVE, None)
    assert found.key_id is not None
    assert list(world.vendor.living.values()) == [(await world.key(found.key_id)).marker]
    assert (await world.link(handover)).closed_because is Cause.LEFT


async def test_telling_it_again_offers_once(world: World, other: World) -> None:
    """The event at two desks at once, again later, and the nightly check: one offer, one message."""
    grant = await world.active()
    leaves(world, BEN)
    told = await asyncio.gather(*(desk.leaving.look(BEN) for desk in (world, other)), return_exceptions=True)
    assert True in told
    assert all(isinstance(one, bool | Superseded | Unavailable) for one in told), told
    await world.sweep(after=HOUR)
    assert not await other.leaving.look(BEN)
    assert (await world.acts()).count(Act.HAND_OVER_OFFERED) == 1
    assert len(world.slack.standing(NoticeKind.ORPHANED, CARA)) == 1
    assert (await world.grant(grant)).expires_at == NOON + 3 * DAY


async def test_who_was_asked_may_revoke_it_instead(world: World) -> None:
    """At once; the message says how it ended, and has no button any more."""
    old = await orphaned(world)
    await world.grants.revoke(CARA, old.id)
    await world.sweep()
    assert world.vendor.living == {}
    [shown] = world.slack.standing(NoticeKind.ORPHANED, CARA)
    assert shown.grant is not None
    assert (shown.grant.state, shown.grant.ended_by) == (GrantState.ENDED, CARA.id)


async def test_who_works_elsewhere_hears_of_it_in_their_morning(world: World) -> None:
    """It is night where Cara is; the key works on meanwhile."""
    world.people.people[CARA.id] = replace(world.people.people[CARA.id], tz="Pacific/Auckland")
    await orphaned(world)
    assert asked(world) == set()
    await world.sweep(after=9 * HOUR)  # ten in the morning there
    assert asked(world) == {CARA.id}


async def test_who_left_can_do_nothing_with_it(world: World) -> None:
    """The door is closed to them, and one who comes back was not offered it."""
    old = await orphaned(world)
    with pytest.raises(NotWelcome):
        await taken(world, old, BEN)
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], deleted=False)
    with pytest.raises(NotYours):
        await taken(world, old, BEN)
