"""A key's time: its holder hears before it is over, may ask for a key that follows it, and it ends at its time."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import DraftRejected, NotWelcome, NotYours, Superseded
from bot.desk.expiring import plan
from bot.desk.model import Actor, Cause, Grant, NoticeKind, Ruling, Story
from bot.desk.states import GrantState, RequestState
from bot.desk.waiting import SUCCEEDED_AFTER
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, MINUTE, NOON, TEAM, World, draft

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
BERLIN = "Europe/Berlin"


def of(duration: timedelta, picked_up: str) -> Grant:
    """A grant of so long, picked up then (UTC)."""
    asked = replace(draft(), duration=duration)
    at = datetime.fromisoformat(picked_up).replace(tzinfo=UTC)
    return Grant(TEAM, "g_1", "r_1", BEN.id, asked, GrantState.ACTIVE, at, expires_at=at + duration)


@pytest.mark.parametrize(
    ("duration", "picked_up", "told"),
    [
        pytest.param(4 * HOUR, "2026-11-23T12:00", ["2026-11-23T15:30"], id="four hours: half an hour before"),
        pytest.param(HOUR, "2026-11-23T23:00", ["2026-11-23T23:30"], id="an hour at night: it cannot wait"),
        pytest.param(DAY, "2026-11-24T11:00", ["2026-11-25T08:36"], id="a day: a tenth of it before"),
        pytest.param(DAY, "2026-11-23T17:30", ["2026-11-24T15:06"], id="a day: while they are at work"),
        pytest.param(DAY, "2026-11-24T01:00", ["2026-11-24T16:00"], id="a day that ends at night: the evening before"),
        pytest.param(2 * DAY, "2026-11-27T19:00", ["2026-11-29T14:12"], id="on a weekend alone: at its time"),
        pytest.param(WEEK, "2026-11-23T12:00", ["2026-11-27T16:00"], id="ends on Monday: told on Friday"),
        pytest.param(
            30 * DAY, "2026-11-23T12:00", ["2026-12-18T16:00", "2026-12-22T12:00"], id="a month: three days, and one"
        ),
        pytest.param(
            90 * DAY, "2026-11-23T12:00", ["2027-02-12T16:00", "2027-02-19T16:00"], id="ninety: a week, and a day"
        ),
    ],
)
def test_when_a_holder_is_told(duration: timedelta, picked_up: str, told: list[str]) -> None:
    """In Berlin, by a tenth of the key's life; what falls outside working hours is said before, if it can be."""
    planned = plan(of(duration, picked_up), BERLIN)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in planned] == told


async def held(world: World, *, days: int = 7, by: Actor = BEN) -> Grant:
    """Opened by its holder."""
    handover = await world.delivering(await world.approved(by, draft(days=days)))
    await world.claim(handover, actor=by)
    await world.acknowledge(handover, actor=by)
    return await world.grant(handover.grant)


async def extension(
    world: World, grant: Grant, *, origin: str = "V1", days: int = 7, reason: str = "More evals"
) -> Story:
    """Its holder asks to extend it."""
    return await world.extending.ask(
        Actor(TEAM, grant.holder), grant.id, duration=timedelta(days=days), reason=reason, origin=origin
    )


def told(world: World) -> int:
    return len(world.slack.standing(NoticeKind.EXPIRING, BEN))


async def until(world: World, at: datetime, step: timedelta = HOUR) -> None:
    while world.clock.now < at:
        await world.sweep(after=min(step, at - world.clock.now))


# ---- notices


async def test_a_holder_is_told_before_the_end_and_once_each_time(world: World) -> None:
    """Three days before, and one; the message says how it stands, and its key dies at its time whatever it says."""
    grant = await held(world, days=30)
    assert grant.expires_at is not None
    heard = []
    await until(world, NOON + 24 * DAY, DAY)
    while world.clock.now < grant.expires_at - MINUTE:
        before = told(world)
        await world.sweep(after=min(HOUR, grant.expires_at - MINUTE - world.clock.now))
        heard += [world.clock.now] * (told(world) - before)
    assert heard == [NOON + 25 * DAY + 5 * HOUR, NOON + 29 * DAY]  # Friday at five, and on Tuesday
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    await world.sweep(after=MINUTE)
    assert (await world.grant(grant)).ended_because is Cause.EXPIRED
    assert world.vendor.living == {}
    assert {story.grant and story.grant.state for story in world.slack.standing(NoticeKind.EXPIRING)} == {
        GrantState.ENDED
    }


async def test_the_desk_revokes_at_its_time_what_the_provider_lets_live(world: World) -> None:
    """The vendor holds no key to its end; the desk does, after an outage too, and tells nobody then that it will be."""
    grant = await held(world, days=1)
    await world.sweep(after=3 * DAY)
    assert (await world.grant(grant)).ended_because is Cause.EXPIRED
    assert world.vendor.living == {}
    assert told(world) == 0


async def test_after_an_outage_one_message_says_what_two_would_have(world: World) -> None:
    """Half a day is left; nobody is told at night."""
    grant = await held(world, days=30)
    assert grant.expires_at is not None
    await until(world, NOON + 20 * DAY, DAY)
    await world.sweep(after=grant.expires_at - 15 * HOUR - world.clock.now)  # nine in the evening
    assert told(world) == 0
    await until(world, grant.expires_at - 3 * HOUR)
    assert told(world) == 1


async def test_who_gave_a_key_back_hears_nothing(world: World) -> None:
    """Nor after its time."""
    grant = await held(world)
    await world.grants.revoke(BEN, grant.id)
    await until(world, NOON + 8 * DAY, DAY)
    assert told(world) == 0


async def test_two_processes_tell_once(world: World, other: World) -> None:
    """Of each key."""
    for _ in range(3):
        await held(world, days=1)
    world.clock.now += DAY - 2 * HOUR
    for _ in range(2):
        await asyncio.gather(world.watch.tick(), other.watch.tick())
    await asyncio.gather(world.watch.deliver(), other.watch.deliver())
    assert told(world) == 3


# ---- extending


async def test_extending_asks_again_through_policy(world: World) -> None:
    """What the key may do stays; for how long and why is asked anew, and policy's limit holds."""
    grant = await held(world)
    with pytest.raises(DraftRejected, match="longest that policy allows") as refused:
        await extension(world, grant, days=31)
    assert refused.value.field == "duration"
    with pytest.raises(DraftRejected) as refused:
        await extension(world, grant, reason=" ")
    assert refused.value.field == "reason"
    story = await extension(world, grant, days=14)
    assert story.request.state is RequestState.PENDING
    assert story.request.draft == replace(
        grant.draft, duration=timedelta(days=14), reason="More evals", provider_name="OpenAI"
    )
    assert story.extended == grant
    await world.sweep()
    for who in (ANA, CARA, DEV):
        assert grant in [seen.extended for seen in world.slack.standing(NoticeKind.APPROVAL, who)]


async def test_an_approved_extension_is_a_new_key_and_the_old_one_ends_gracefully(world: World) -> None:
    """Both work for a day; then the old one is revoked, and its holder hears no more of its end."""
    old = await held(world)
    asked = await extension(world, old)
    await world.requests.decide(CARA, asked.request.id, Ruling.APPROVE)
    new = (await world.stories.of(TEAM, asked.request.id)).grant
    assert new is not None
    await world.sweep(after=DAY)
    assert (await world.grant(old)).expires_at == old.expires_at, "nothing ends before the new key is there"
    handover = await world.delivering(new)
    await world.claim(handover)
    await world.acknowledge(handover)
    picked_up = world.clock.now
    assert len(world.vendor.living) == 2
    assert (await world.grant(old)).expires_at == picked_up + SUCCEEDED_AFTER
    await until(world, picked_up + SUCCEEDED_AFTER - MINUTE)
    assert len(world.vendor.living) == 2
    await world.sweep(after=MINUTE)
    assert (await world.grant(old)).state is GrantState.ENDED
    assert (await world.grant(new)).state is GrantState.ACTIVE
    assert len(world.vendor.living) == 1
    assert told(world) == 0
    assert (await world.acts()).count(Act.SUCCEEDED) == 1


async def test_a_key_that_was_rotated_at_once_meanwhile_is_not_picked_up_beside_the_one_that_follows(
    world: World,
) -> None:
    """It was revoked and waits to be picked up when the key that extends it is: within a day nothing of it lives."""
    old = await held(world)
    asked = await extension(world, old, days=20)
    new = (await world.requests.decide(CARA, asked.request.id, Ruling.APPROVE)).grant
    assert new is not None
    await world.rotation.rotate_at_once(BEN, old.id)
    for grant in (new, await world.grant(old)):
        handover = await world.delivering(grant)
        await world.claim(handover)
        await world.acknowledge(handover)
    await world.sweep(after=SUCCEEDED_AFTER)
    assert ((await world.grant(old)).state, (await world.grant(new)).state) == (GrantState.ENDED, GrantState.ACTIVE)
    assert len(world.vendor.living) == 1


async def test_a_key_whose_time_is_over_before_is_not_prolonged(world: World) -> None:
    """The old key ends at its own time, though the new one is picked up an hour before."""
    old = await held(world, days=1)
    asked = await extension(world, old)
    await world.requests.decide(CARA, asked.request.id, Ruling.APPROVE)
    new = (await world.stories.of(TEAM, asked.request.id)).grant
    assert new is not None
    world.clock.now += DAY - HOUR
    handover = await world.delivering(new)
    await world.claim(handover)
    await world.acknowledge(handover)
    assert (await world.grant(old)).expires_at == old.expires_at
    await world.sweep(after=HOUR)
    assert (await world.grant(old)).ended_because is Cause.EXPIRED


async def test_a_denied_or_lapsed_extension_leaves_the_key_as_it_is(world: World) -> None:
    """It ends at its time; and it can be asked for again."""
    grant = await held(world)
    denied = await extension(world, grant, origin="V1")
    await world.requests.decide(CARA, denied.request.id, Ruling.DENY, "Use the shared one")
    lapsed = await extension(world, grant, origin="V2")
    await until(world, NOON + 3 * DAY, DAY)
    assert (await world.stories.of(TEAM, lapsed.request.id)).request.state is RequestState.LAPSED
    again = await extension(world, grant, origin="V3")
    assert again.request.state is RequestState.PENDING
    assert (await world.grant(grant)).expires_at == grant.expires_at


async def test_extending_twice_asks_once(world: World, other: World) -> None:
    """From two browsers at once, while it waits, and after it was approved; the same form twice is one ask."""
    grant = await held(world)
    found = await asyncio.gather(
        extension(world, grant, origin="V1"), extension(other, grant, origin="V2"), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in found) == ["Story", "Superseded"]
    [asked] = [one for one in found if isinstance(one, Story)]
    origin = asked.request.origin
    assert (await extension(world, grant, origin=origin)).request.id == asked.request.id
    with pytest.raises(Superseded, match="already"):
        await world.extending.look(BEN, grant.id)
    await world.requests.decide(CARA, asked.request.id, Ruling.APPROVE)
    with pytest.raises(Superseded, match="approved already"):
        await extension(world, grant, origin="V3")
    assert (await world.acts()).count(Act.SUBMITTED) == 2


async def test_only_its_holder_extends_a_key_and_only_one_that_lives(world: World) -> None:
    """Refused and recorded; what is over says so."""
    grant = await held(world)
    for stranger in (CARA, GUEST):
        with pytest.raises(NotWelcome if stranger == GUEST else NotYours):
            await world.extending.look(stranger, grant.id)
        assert (await world.last_entry()).act == Act.REFUSED
    await world.grants.revoke(BEN, grant.id)
    for attempt in (world.extending.look(BEN, grant.id), extension(world, grant)):
        with pytest.raises(Superseded, match="nothing to extend"):
            await attempt


async def test_the_old_card_tells_how_far_its_extension_is(world: World) -> None:
    """Asked, approved, in its holder's hands: each is told where the old key is told of."""
    old = await held(world, days=1)
    await world.sweep(after=DAY - 2 * HOUR)
    asked = await extension(world, old)
    await world.sweep()
    [story] = world.slack.standing(NoticeKind.EXPIRING, BEN)
    assert story.extension is not None
    assert story.extension.state is RequestState.PENDING
    await world.requests.decide(CARA, asked.request.id, Ruling.APPROVE)
    await world.sweep()
    [story] = world.slack.standing(NoticeKind.EXPIRING, BEN)
    assert story.successor is not None
    assert story.successor.state is GrantState.READY
