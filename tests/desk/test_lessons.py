"""How to keep a key safe: nothing is made before it is acknowledged, once a year, and that is recorded."""

import asyncio
from datetime import timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import LessonDue, NotYours, Superseded
from bot.desk.lessons import HOLDS
from bot.desk.states import GrantState
from tests.desk.world import BEN, CARA, NOON, World
from tests.lessons import LONG_AGO, read


async def test_nothing_is_made_before_it_is_acknowledged(world: World) -> None:
    """A press starts nothing, however often, and the grant waits as before; acknowledged, it is picked up, and both are recorded."""
    await read(world.store, BEN.id, NOON - LONG_AGO)
    grant = await world.approved()
    before = await world.acts()
    for press in ("press 1", "press 1", "press 2"):
        with pytest.raises(LessonDue):
            await world.grants.pick_up(BEN, grant.id, delivery=press)
    assert await world.acts() == before
    assert await world.keys(grant) == []
    assert (await world.grant(grant)).state is GrantState.READY

    await world.grants.pick_up(BEN, grant.id, delivery="form 1", acknowledged=True)
    acknowledged, started = (await world.entries())[-2:]
    assert (acknowledged.act, acknowledged.actor, acknowledged.subject) == (Act.LESSON_ACKNOWLEDGED, BEN.id, BEN.id)
    assert started.act == Act.PICK_UP_STARTED


async def test_it_holds_for_a_year(world: World) -> None:
    """To the microsecond, whatever is picked up meanwhile; then it is due again. Each member's is their own."""
    tick = timedelta(microseconds=1)
    for member in (BEN, CARA):
        await read(world.store, member.id, NOON - HOLDS + 2 * tick)
    first, second, third = [await world.approved() for _ in range(3)]
    world.clock.now = NOON + tick
    await world.picked_up(first)
    world.clock.now = NOON + 2 * tick
    with pytest.raises(LessonDue):
        await world.picked_up(second)
    await world.grants.pick_up(BEN, second.id, delivery="form", acknowledged=True)
    world.clock.now += HOLDS - tick
    await world.picked_up(third)
    assert (await world.acts()).count(Act.LESSON_ACKNOWLEDGED) == 1
    with pytest.raises(LessonDue):
        await world.picked_up(await world.approved(by=CARA))


async def test_acknowledging_opens_no_other_door(world: World) -> None:
    """Somebody else's key stays theirs, and a grant that is over is over: neither is recorded as acknowledged."""
    for member in (BEN, CARA):
        await read(world.store, member.id, NOON - LONG_AGO)
    grant = await world.approved()
    with pytest.raises(NotYours):
        await world.grants.pick_up(CARA, grant.id, delivery="form 1", acknowledged=True)
    await world.grants.revoke(BEN, grant.id)
    with pytest.raises(Superseded):
        await world.grants.pick_up(BEN, grant.id, delivery="form 2", acknowledged=True)
    assert Act.LESSON_ACKNOWLEDGED not in await world.acts()


async def test_two_who_acknowledge_at_once_are_recorded_once(world: World, other: World) -> None:
    """Two dialogs on two processes: one entry, and each of the keys is picked up."""
    await read(world.store, BEN.id, NOON - LONG_AGO)
    grants = [await world.approved() for _ in range(2)]
    await asyncio.gather(
        *(
            at.grants.pick_up(BEN, grant.id, delivery=f"form {grant.id}", acknowledged=True)
            for at, grant in zip((world, other), grants, strict=True)
        )
    )
    assert (await world.acts()).count(Act.LESSON_ACKNOWLEDGED) == 1
    assert [(await world.grant(grant)).state for grant in grants] == [GrantState.ISSUING] * 2
