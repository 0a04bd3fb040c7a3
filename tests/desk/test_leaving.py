"""People who leave: their keys are revoked and their requests over, however often and late the desk is told."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.desk import leaving
from bot.desk.audit import Act
from bot.desk.errors import Superseded, Unavailable
from bot.desk.model import Cause, NoticeKind, Person, Ruling
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, World, invitation


def gone(world: World, flag: str = "deleted") -> None:
    """The workspace deactivates Ben, or turns him into a guest."""
    ben = world.people.people[BEN.id]
    world.people.people[BEN.id] = replace(ben, deleted=flag == "deleted", guest=flag == "guest")


@pytest.mark.parametrize("flag", ["deleted", "guest"])
async def test_what_somebody_held_is_taken_back(world: World, flag: str) -> None:
    """A key in use, one behind a link, an offer, an invitation, a request: all over, one entry each; others keep theirs."""
    active = await world.active()
    handover = await world.delivering()
    ready = await world.approved()
    invited = await world.approved(what=invitation())
    await world.sweep()
    pending = await world.asked()
    others = await world.asked(CARA)
    gone(world, flag)
    assert await world.leaving.look(BEN)
    await world.sweep()
    for grant in (active, handover.grant, ready, invited):
        ended = await world.grant(grant)
        assert (ended.state, ended.ended_because, ended.ended_by) == (GrantState.ENDED, Cause.LEFT, "system")
    assert world.vendor.living == {}
    assert world.vendor.invited == set()
    assert {(await world.keys(one))[0].state for one in (active, handover.grant)} == {KeyState.REVOKED}
    assert await world.keys(ready) == []
    link = await world.link(handover)
    assert (link.state, link.closed_because, link.envelope) == (LinkState.CLOSED, Cause.LEFT, None)
    assert (await world.stories.of(BEN.team, pending.request.id)).request.state is RequestState.LEFT
    assert (await world.stories.of(BEN.team, others.request.id)).request.state is RequestState.PENDING
    acts = await world.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT)) == (4, 1)
    cards = [one for one in world.slack.standing(NoticeKind.APPROVAL, ANA) if one.request.id == pending.request.id]
    assert [one.request.state for one in cards] == [RequestState.LEFT]
    with pytest.raises(Superseded, match="left already"):
        await world.requests.decide(DEV, pending.request.id, Ruling.APPROVE)


async def test_telling_it_again_changes_nothing(world: World, other: World) -> None:
    """The same event at two desks at once, and again later, makes one entry for each thing."""
    await world.active()
    await world.asked()
    gone(world)
    told = await asyncio.gather(*(desk.leaving.look(BEN) for desk in (world, other)), return_exceptions=True)
    assert True in told
    assert all(isinstance(one, bool | Superseded | Unavailable) for one in told), told
    await world.leaving.look(BEN)
    await world.sweep()
    assert not await other.leaving.look(BEN)
    acts = await world.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT), acts.count(Act.REVOKED)) == (1, 1, 1)


async def test_only_the_directorys_word_counts(world: World) -> None:
    """A late event about somebody who is back, one whom the directory does not know, and a stranger: nothing happens."""
    grant = await world.active()
    entries = len(await world.entries())
    assert not await world.leaving.look(BEN)
    back = world.people.people.pop(BEN.id)
    assert not await world.leaving.look(BEN)
    world.people.people[BEN.id] = back
    assert not await world.leaving.look(GUEST)
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert len(await world.entries()) == entries


async def test_a_directory_that_fails_takes_nobody_for_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is told, so that the event comes again; then it does what it had to."""
    grant = await world.active()
    gone(world)

    async def silent(member: str, *, fresh: bool = False) -> Person | None:
        raise Unavailable("Slack does not answer now.")

    with monkeypatch.context() as patch:
        patch.setattr(world.people, "person", silent)
        with pytest.raises(Unavailable):
            await world.leaving.look(BEN)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert await world.leaving.look(BEN)
    await world.sweep(timedelta(seconds=15))
    assert world.vendor.living == {}


async def test_many_things_are_ended_piece_by_piece(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fit into one transaction are ended all the same."""
    monkeypatch.setattr(leaving, "BATCH", 2)
    for _ in range(5):
        await world.approved()
    for _ in range(3):
        await world.asked()
    gone(world)
    assert await world.leaving.look(BEN)
    acts = await world.acts()
    assert (acts.count(Act.HOLDER_LEFT), acts.count(Act.REQUESTER_LEFT)) == (5, 3)


async def test_what_was_cut_off_is_ended_when_it_is_told_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that ends after the first piece leaves it whole; the same event again ends the rest, and each thing once."""
    monkeypatch.setattr(leaving, "BATCH", 2)
    for _ in range(5):
        await world.approved()
    gone(world)

    def dies() -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as patch:
        patch.setattr(world.leaving._bell, "ring", dies)
        with pytest.raises(RuntimeError, match="died"):
            await world.leaving.look(BEN)
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 2
    assert await world.leaving.look(BEN)
    assert (await world.acts()).count(Act.HOLDER_LEFT) == 5
