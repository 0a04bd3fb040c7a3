"""What time and the world do: sweeps that put right what was left, and messages that are kept current."""

import asyncio
import os
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.desk import grants, hands, links, messages, retrying, revoking, watch
from bot.desk.audit import Act
from bot.desk.errors import ProviderRateLimited, ProviderTransient, Superseded, Unavailable, Undeliverable
from bot.desk.model import Cause, Grant, NoticeKind, Person, Ruling
from bot.desk.ports import Transaction
from bot.desk.states import GrantState, KeyState, LinkState, RequestState
from bot.desk.stories import new_notice
from bot.desk.waiting import REMIND_HOLDER_AFTER
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, LEADS, MINUTE, TEAM, World

MOMENT = timedelta(microseconds=1)


# ---- links


async def test_a_link_nobody_opened_is_closed_and_its_key_revoked(world: World) -> None:
    """After fifteen minutes: not before, and the holder is told and can pick up again."""
    handover = await world.delivering()
    await world.sweep(after=links.LINK_LIVES - MOMENT)
    assert (await world.link(handover)).state is LinkState.OPEN
    await world.sweep(after=MOMENT)
    link = await world.link(handover)
    assert (link.state, link.envelope, link.closed_because) == (LinkState.CLOSED, None, Cause.LAPSED)
    assert world.vendor.living == {}
    assert (await world.grant(handover.grant)).state is GrantState.READY
    assert len(world.slack.standing(NoticeKind.LAPSED, BEN)) == 1
    again = await world.delivering(handover.grant)
    await world.claim(again)
    await world.acknowledge(again)
    assert (await world.grant(handover.grant)).state is GrantState.ACTIVE


async def test_a_claim_that_nobody_acknowledged_kills_the_key(world: World) -> None:
    """Whoever took the envelope and never showed it may have kept it: after the lease the key is revoked."""
    handover = await world.delivering()
    await world.claim(handover)
    await world.sweep(after=links.LEASE - MOMENT)
    assert (await world.link(handover)).state is LinkState.CLAIMED
    await world.sweep(after=MOMENT)
    link = await world.link(handover)
    assert (link.state, link.envelope, link.closed_because) == (LinkState.CLOSED, None, Cause.UNACKNOWLEDGED)
    assert world.vendor.living == {}
    assert (await world.grant(handover.grant)).state is GrantState.READY
    assert len(world.slack.standing(NoticeKind.UNACKNOWLEDGED, BEN)) == 1
    with pytest.raises(Superseded):
        await world.acknowledge(handover)


async def test_a_revealed_link_is_left_alone(world: World) -> None:
    """Neither its fifteen minutes nor the lease end what was acknowledged."""
    grant = await world.active()
    await world.sweep(after=links.LINK_LIVES + links.LEASE)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert len(world.vendor.living) == 1


# ---- mints


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "did-not-land"])
async def test_a_pick_up_whose_process_died_is_put_right(world: World, landed: bool) -> None:
    """The intention is found, the marker looked for, the holder told; what landed is revoked at once, and looked for on."""
    grant = await world.approved()
    key = await world.picked_up(grant)
    if landed:
        world.vendor.land(key.marker)
    await world.sweep(after=watch.STALLED_AFTER)
    assert (await world.grant(grant)).state is GrantState.ISSUING
    await world.sweep(after=MOMENT)
    assert (await world.grant(grant)).state is GrantState.READY
    assert world.vendor.looked_for == [key.marker]
    assert (await world.key(key.id)).state is KeyState.REVOKING
    assert world.vendor.living == {}
    assert len(world.slack.standing(NoticeKind.UNFINISHED, BEN)) == 1
    assert (await world.delivering(grant)).grant.state is GrantState.DELIVERING
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.key(key.id)).state is (KeyState.REVOKED if landed else KeyState.VOID)


async def test_a_mint_under_way_is_not_taken_for_a_dead_one(world: World) -> None:
    """A sweep may come by at any moment; the desk's patience ends before a mint counts as stalled."""
    assert grants.MINT_PATIENCE < watch.STALLED_AFTER < revoking.QUARANTINE
    grant = await world.approved()
    key = await world.picked_up(grant)
    await world.sweep(after=grants.MINT_PATIENCE)
    assert (await world.grants.issue(key)).grant.state is GrantState.DELIVERING


# ---- the end of a grant


async def test_a_grant_ends_when_its_time_is_up(world: World) -> None:
    """Counted from the pick-up; the key dies at the provider, and the holder is told."""
    grant = await world.active()
    assert grant.expires_at is not None
    await world.sweep(after=grant.draft.duration - MOMENT)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    await world.sweep(after=MOMENT)
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_by, ended.ended_because) == (GrantState.ENDED, "system", Cause.EXPIRED)
    assert world.vendor.living == {}
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1
    assert (await world.acts())[-3:] == [Act.EXPIRED, Act.REVOKED, Act.ENDED]


async def test_however_many_end_at_once_one_sweep_ends_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is what one read brings, not what a pass does; those that fail hold up no others, and are tried again by the next."""
    monkeypatch.setattr(watch, "BATCH", 2)
    held = [await world.active() for _ in range(7)]
    failing = {grant.id for grant in held[:3]}
    end, tried = world.grants.end, list[str]()

    def breaks(tx: Transaction, grant: Grant, now: datetime, **how: Any) -> None:
        tried.append(grant.id)
        if grant.id in failing:
            raise RuntimeError(grant.id)
        end(tx, grant, now, **how)

    monkeypatch.setattr(world.grants, "end", breaks)
    world.clock.now += held[0].draft.duration + MINUTE
    await world.watch.reconcile()
    await world.watch.retire()
    assert sorted(tried) == sorted(grant.id for grant in held)
    states = [(await world.grant(grant)).state for grant in held]
    assert states == [GrantState.ACTIVE] * 3 + [GrantState.ENDED] * 4
    assert len(world.vendor.living) == 3
    failing.clear()
    await world.watch.reconcile()
    await world.watch.retire()
    assert world.vendor.living == {}


async def test_two_processes_sweep_at_once_and_everything_happens_once(world: World, other: World) -> None:
    """Lapsed links, stalled mints and expired grants, found by two sweeps at the same moment."""
    expired = await world.active()
    world.clock.now += expired.draft.duration
    lapsed, stalled = await world.delivering(), await world.approved()
    await world.picked_up(stalled)
    world.clock.now += links.LINK_LIVES
    await asyncio.gather(world.watch.reconcile(), other.watch.reconcile())
    await asyncio.gather(world.watch.retire(), other.watch.retire())
    await asyncio.gather(world.watch.deliver(), other.watch.deliver())
    assert world.vendor.living == {}
    assert sorted(world.vendor.revoked) == sorted(world.vendor.minted)
    acts = await world.acts()
    assert [acts.count(act) for act in (Act.EXPIRED, Act.LINK_CLOSED, Act.PICK_UP_BROKEN, Act.ENDED)] == [1, 1, 1, 1]
    for kind in (NoticeKind.ENDED, NoticeKind.LAPSED, NoticeKind.UNFINISHED):
        assert len(world.slack.standing(kind, BEN)) == 1
    states = [(await world.grant(grant)).state for grant in (expired, lapsed.grant, stalled)]
    assert states == [GrantState.ENDED, GrantState.READY, GrantState.READY]


async def test_two_keys_of_a_grant_that_die_at_once_end_it(world: World, other: World) -> None:
    """Each process writes down one of the two; whichever comes second ends the grant."""
    for _ in range(3):
        grant = await world.approved()
        first = await world.delivering(grant)
        await world.delivering(first.grant)
        await world.grants.revoke(BEN, grant.id)
        one, two = await world.store.write(lambda tx: tx.lease_keys(world.clock.now, world.clock.now + MINUTE, 9))
        await asyncio.gather(world.revoking.carry_out(one), other.revoking.carry_out(two))
        assert (await world.grant(grant)).state is GrantState.ENDED


# ---- revoking at the provider


async def test_a_revocation_that_fails_is_tried_later_and_later(world: World) -> None:
    """ "Revoked" is written only after the provider said so; until then the grant is ending."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    key_id = (await world.keys(grant))[0].id
    for attempt in range(12):
        world.vendor.revoke_faults.append(ProviderTransient("down"))
        await world.watch.retire()
        key = await world.key(key_id)
        wait = min(retrying.FIRST_RETRY * 2 ** min(attempt, 10), retrying.LONGEST_RETRY)
        assert (key.state, key.attempts, key.due_at) == (KeyState.REVOKING, attempt + 1, world.clock.now + wait)
        world.clock.now += wait - MOMENT
        await world.watch.retire()
        assert (await world.key(key_id)).attempts == attempt + 1
        world.clock.now += MOMENT
    assert (await world.grant(grant)).state is GrantState.ENDING
    await world.watch.retire()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert (await world.acts()).count(Act.REVOKED) == 1


async def test_a_provider_that_asks_to_wait_is_given_its_time(world: World) -> None:
    """What it says counts when it is longer than the desk's own pause."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    world.vendor.revoke_faults.append(ProviderRateLimited("slow down", retry_after=77.5))
    await world.watch.retire()
    assert (await world.keys(grant))[0].due_at == world.clock.now + timedelta(seconds=77.5)
    await world.sweep(after=timedelta(seconds=77.5))
    assert (await world.grant(grant)).state is GrantState.ENDED


async def test_a_key_whose_process_died_while_revoking_is_taken_over(world: World, other: World) -> None:
    """Its lease runs out, and whoever looks next revokes it; again is harmless."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    until = world.clock.now + hands.LEASE
    (leased,) = await world.store.write(lambda tx: tx.lease_keys(world.clock.now, until, 9))
    await other.watch.retire()
    assert world.vendor.revoked == []
    world.clock.now = until
    await other.watch.retire()
    assert (await world.grant(grant)).state is GrantState.ENDED
    with pytest.raises(Superseded):  # the first process comes back, too late
        await world.revoking.carry_out(leased)
    assert (await world.acts()).count(Act.REVOKED) == 1


# ---- messages


async def test_every_copy_is_kept_current_and_posted_once(world: World) -> None:
    """A decision changes the posted cards; none is posted a second time."""
    request = (await world.asked()).request
    await world.watch.deliver()
    places = set(world.slack.messages)
    await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    await world.watch.deliver()
    assert {story.request.state for story in world.slack.standing(NoticeKind.APPROVAL)} == {RequestState.APPROVED}
    assert len(world.slack.standing(NoticeKind.APPROVAL)) == 4
    assert set(world.slack.messages) - places == {
        place for place, (notice, _) in world.slack.messages.items() if notice.kind is NoticeKind.OUTCOME
    }
    shows = world.slack.shows
    await world.watch.deliver()
    assert world.slack.shows == shows


async def test_a_message_that_changes_while_it_is_posted_is_posted_once(world: World, other: World) -> None:
    """A decision falls while the cards are under way to Slack: they are brought up to date, not posted twice."""
    request = (await world.asked()).request
    world.slack.at_show.shut()
    posting = asyncio.create_task(world.watch.deliver())
    await world.slack.at_show.reached.wait()
    await other.requests.decide(CARA, request.id, Ruling.APPROVE)
    world.slack.at_show.reached.clear()
    taking_over = asyncio.create_task(other.watch.deliver())
    await world.slack.at_show.reached.wait()  # it shows the outcome, the one message nobody holds yet
    world.slack.at_show.open()
    await asyncio.gather(posting, taking_over)
    await world.watch.deliver()
    kinds = sorted(notice.kind for notice, _ in world.slack.messages.values())
    assert kinds == [*[NoticeKind.APPROVAL] * 4, NoticeKind.OUTCOME, NoticeKind.RECEIPT]
    assert {story.request.state for _, story in world.slack.messages.values()} == {RequestState.APPROVED}


async def test_a_message_that_fails_is_tried_later_and_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Slack being down loses nothing: every message arrives once it is back."""
    await world.asked()
    world.slack.faults = [ConnectionError("down")] * 5
    await world.watch.deliver()
    assert world.slack.messages == {}
    await world.sweep(after=retrying.FIRST_RETRY - MOMENT)
    assert world.slack.messages == {}
    world.slack.faults = [ConnectionError("down")] * 5
    await world.sweep(after=MOMENT)
    await world.sweep(after=2 * retrying.FIRST_RETRY - MOMENT)
    assert world.slack.messages == {}
    await world.sweep(after=MOMENT)
    assert len(world.slack.messages) == 5
    assert "is tried again" in caplog.text


async def test_a_change_while_a_message_is_put_off_does_not_hurry_it(world: World) -> None:
    """A redraw leaves the pause as it is; what is shown after it is the newest."""
    request = (await world.asked()).request
    world.slack.faults = [ConnectionError("down")] * 5
    await world.watch.deliver()
    await world.requests.cancel(BEN, request.id)
    await world.watch.deliver()
    assert world.slack.messages == {}
    await world.sweep(after=retrying.FIRST_RETRY)
    assert {story.request.state for _, story in world.slack.messages.values()} == {RequestState.CANCELLED}


async def test_whom_slack_does_not_reach_any_more_holds_nobody_up(world: World) -> None:
    """An undeliverable message is given up; the others arrive."""
    await world.asked()
    world.slack.faults = [Undeliverable("no such channel")]
    await world.watch.deliver()
    assert len(world.slack.messages) == 4
    await world.sweep(after=timedelta(hours=1))
    assert len(world.slack.messages) == 4


async def test_homes_are_redrawn_for_whom_something_changed(world: World) -> None:
    """Requester and deciders see the new state in their Homes; a channel has none."""
    request = (await world.asked()).request
    await world.sweep()
    assert set(world.slack.homes) == {BEN.id, ANA.id, CARA.id, DEV.id}
    assert [story.request.id for story in world.slack.homes[CARA.id].queue] == [request.id]
    await world.requests.decide(CARA, request.id, Ruling.DENY, "Not now")
    await world.sweep()
    assert world.slack.homes[CARA.id].queue == ()
    assert world.slack.homes[BEN.id].mine[0].request.state is RequestState.DENIED


async def test_a_look_at_who_reads_it_is_part_of_the_patience(
    world: World, other: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack lets wait who asks for the reader's zone: the message is given up before its lease ends, and told once."""
    await world.approved()
    await world.sweep()
    world.clock.now += REMIND_HOLDER_AFTER + MINUTE
    await world.watch.tick()
    monkeypatch.setattr(messages, "PATIENCE", timedelta(milliseconds=50))
    person, asked = world.people.person, 0

    async def waits(member: str, *, fresh: bool = False) -> Person | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return await person(member, fresh=fresh)

    monkeypatch.setattr(world.people, "person", waits)
    async with asyncio.timeout(10):
        await world.watch.deliver()
    assert asked == 1
    assert world.slack.standing(NoticeKind.PICK_UP) == []
    for desk in (world, other):
        await desk.sweep(after=hands.LEASE)
    assert [one.recipient for one, _ in world.slack.messages.values() if one.kind is NoticeKind.PICK_UP] == [BEN.id]


async def test_a_burst_of_messages_to_one_person_draws_their_home_once(world: World) -> None:
    """Ten to Ben go out eight at a time, one after another, with the bell answered: his Home is drawn after the last."""
    request = (await world.asked()).request
    await world.sweep()
    await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    world.slack.drawn.clear()

    def to_ben(tx: Transaction) -> None:
        for _ in range(8):
            tx.add(new_notice(NoticeKind.OUTCOME, request, BEN.id, due_at=world.clock(), random=os.urandom))

    await world.store.write(to_ben)
    running = asyncio.create_task(world.watch.run())
    async with asyncio.timeout(10):
        while await world.store.read(lambda tx: set(world.slack.drawn)) != {ANA.id, BEN.id, CARA.id, DEV.id}:
            pass
    world.watch.stop()
    await running
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 9
    assert world.slack.drawn == dict.fromkeys((ANA.id, BEN.id, CARA.id, DEV.id), 1)
    assert world.slack.homes[BEN.id].mine[0].request.state is RequestState.APPROVED
    assert world.slack.homes[ANA.id].queue == ()


async def test_an_approvers_home_shows_what_waits_and_is_left_alone_by_how_the_key_fares(world: World) -> None:
    """A decision draws it anew; what comes after, on cards alone, does not."""
    grant = await world.approved()
    await world.sweep()
    assert world.slack.drawn[CARA.id] == 1
    world.slack.drawn.clear()
    world.clock.now += MINUTE
    handover = await world.delivering(grant)
    await world.sweep()
    await world.claim(handover)
    await world.acknowledge(handover)
    await world.sweep()
    (story, *_) = world.slack.standing(NoticeKind.APPROVAL, CARA)
    assert story.grant is not None
    assert story.grant.state is GrantState.ACTIVE
    assert set(world.slack.drawn) == {BEN.id}


async def test_an_approvers_home_follows_a_decision_that_slack_took_late(world: World) -> None:
    """Slack fails while the decision is told, and the key is picked up meanwhile: the Home still loses what waited."""
    request = (await world.asked()).request
    await world.sweep()
    assert len(world.slack.homes[ANA.id].queue) == 1
    decided = (await world.requests.decide(CARA, request.id, Ruling.APPROVE)).grant
    world.slack.faults = [ConnectionError("down")] * 6
    await world.watch.deliver()
    assert decided is not None
    await world.delivering(decided)
    await world.sweep(after=retrying.FIRST_RETRY)
    assert world.slack.homes[ANA.id].queue == ()


@pytest.mark.parametrize("fault", [Undeliverable("gone"), Unavailable("Slack does not answer"), ValueError("a defect")])
async def test_a_home_that_cannot_be_drawn_holds_no_message_up(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Opening it draws it anew; the messages have been posted and are not posted again."""

    async def fail(home: Any) -> None:
        raise fault

    monkeypatch.setattr(world.slack, "show_home", fail)
    await world.asked()
    await world.sweep()
    assert len(world.slack.messages) == 5
    await world.sweep()
    assert world.slack.shows == 5


async def test_an_approver_who_became_a_guest_gets_no_queue(world: World) -> None:
    """The Home says why it is empty, whatever group the guest was put in."""
    world.people.groups[LEADS].add(GUEST.id)
    await world.asked()
    home = await world.stories.home(GUEST)
    assert home.unwelcome
    assert home.queue == ()
    await world.watch.deliver()
    assert world.slack.standing(NoticeKind.APPROVAL, GUEST) == []


# ---- the bell


async def test_an_act_is_followed_up_at_once(world: World) -> None:
    """The bell of a submission brings the cards out, and a revocation kills the key, with no sweep in between."""
    grant = await world.active()
    running = asyncio.create_task(world.watch.run())
    world.slack.at_show.shut()
    await world.grants.revoke(BEN, grant.id)
    await world.slack.at_show.reached.wait()
    world.slack.at_show.open()
    async with asyncio.timeout(10):
        while (await world.grant(grant)).state is not GrantState.ENDED:
            pass
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert world.vendor.living == {}


async def test_one_failed_pass_does_not_end_all_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that meets a defect is logged, and the next ring runs it again."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    whole, failed = world.revoking.carry_out, asyncio.Event()

    async def broken(key: Any) -> None:
        monkeypatch.setattr(world.revoking, "carry_out", whole)
        failed.set()
        raise ValueError("a defect")

    monkeypatch.setattr(world.revoking, "carry_out", broken)
    running = asyncio.create_task(world.watch.run())
    await failed.wait()
    world.clock.now += hands.LEASE
    async with asyncio.timeout(10):
        while (await world.grant(grant)).state is not GrantState.ENDED:
            await world.watch.reconcile()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert "failed; its lease ends" in caplog.text


async def test_nothing_to_do_leaves_nothing_behind(world: World) -> None:
    """Sweeps over a desk at rest write no entry and ask the provider nothing."""
    await world.active()
    before = await world.entries()
    await world.sweep()
    shows = world.slack.shows
    await world.sweep(after=MINUTE)
    assert await world.entries() == before
    assert world.slack.shows == shows
    assert (await world.store.teams()) == [TEAM]
