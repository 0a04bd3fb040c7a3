"""Pick up, reveal, acknowledge, revoke: one reader, and no key that lives unknown."""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta

import pytest

from bot.desk import envelope, grants, links, revoking
from bot.desk.audit import Act
from bot.desk.errors import (
    AlreadyDelivered,
    NotAllowed,
    NotThere,
    NotWelcome,
    NotYours,
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
    Superseded,
)
from bot.desk.model import Actor, Cause, Handover, Key, Link, NoticeKind, Sealed, Session
from bot.desk.states import GrantState, KeyState, LinkState
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, LEADS, MINUTE, TEAM, World, pieces, unsealed


async def refused_last(world: World, by: Actor, to: str) -> None:
    """The newest entry says who was refused what."""
    entry = await world.last_entry()
    assert (entry.actor, entry.act, entry.detail["to"]) == (by.id, Act.REFUSED, to)


# ---- the whole way


async def test_the_whole_way_of_a_key(world: World) -> None:
    """Picked up, opened, acknowledged, given back, gone: each act leaves its entry, and the value is read once."""
    grant = await world.approved()
    handover = await world.delivering(grant)
    key = (await world.keys(grant))[0]
    assert (handover.grant.state, key.state) == (GrantState.DELIVERING, KeyState.SEALED)
    assert world.vendor.living == {key.handle: key.marker}
    assert handover.grant.expires_at == world.clock.now + grant.draft.duration
    assert unsealed(handover.url, await world.claim(handover)) == f"example-{key.handle}"
    await world.acknowledge(handover)
    link = await world.link(handover)
    assert (link.state, link.envelope) == (LinkState.REVEALED, None)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    assert (await world.key(key.id)).state is KeyState.LIVE
    story = await world.grants.revoke(BEN, grant.id)
    assert story.grant is not None
    assert (story.grant.state, story.grant.ended_by) == (GrantState.ENDING, BEN.id)
    await world.watch.retire()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.living == {}
    assert await world.acts() == [
        Act.SUBMITTED,
        Act.APPROVED,
        Act.PICK_UP_STARTED,
        Act.MINTED,
        Act.CLAIMED,
        Act.REVEALED,
        Act.REVOKE_ASKED,
        Act.REVOKED,
        Act.ENDED,
    ]


async def test_nothing_that_opens_a_link_is_stored(world: World) -> None:
    """Neither the value nor the seed nor the access token is in what rests or in the audit log."""
    handover = await world.delivering()
    link, (key,) = await world.link(handover), await world.keys(handover.grant)
    seed = pieces(handover.url)[1]
    stored = repr((link, key, await world.entries(), handover))
    for secret in (f"example-{key.handle}", envelope.base64url(seed), repr(seed), envelope.access_token(seed)):
        assert secret not in stored


# ---- pick up


async def test_only_its_holder_picks_a_key_up(world: World) -> None:
    """Not the approver, not anybody else, and not a holder who became a guest."""
    grant = await world.approved()
    for who, refusal in ((CARA, NotYours), (ANA, NotYours), (GUEST, NotWelcome)):
        with pytest.raises(refusal):
            await world.grants.pick_up(who, grant.id, delivery=f"press {who.id}")
        await refused_last(world, who, Act.PICK_UP_STARTED)
    assert (await world.grant(grant)).state is GrantState.READY
    with pytest.raises(NotThere):
        await world.grants.pick_up(BEN, "g_none", delivery="press")


async def test_the_same_press_starts_one_pick_up(world: World) -> None:
    """A delivery that Slack sends again acts once, even after the first came to its end."""
    grant = await world.approved()
    key = await world.grants.pick_up(BEN, grant.id, delivery="press 1")
    await world.grants.issue(key)
    with pytest.raises(AlreadyDelivered):
        await world.grants.pick_up(BEN, grant.id, delivery="press 1")
    assert len(await world.keys(grant)) == 1
    assert (await world.grant(grant)).state is GrantState.DELIVERING


async def test_two_presses_at_once_mint_one_key(world: World, other: World) -> None:
    """Two presses on two processes start one pick-up; the other hears that the key is being made."""
    grant = await world.approved()
    found = await asyncio.gather(
        world.grants.pick_up(BEN, grant.id, delivery="press 1"),
        other.grants.pick_up(BEN, grant.id, delivery="press 2"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in found) == ["Key", "Superseded"]
    assert len(await world.keys(grant)) == 1


async def test_picking_up_again_revokes_the_sealed_key(world: World) -> None:
    """Who lost the link gets another key; the first link is closed and its key dies unread."""
    first = await world.delivering()
    second = await world.delivering(first.grant)
    closed = await world.link(first)
    assert (closed.state, closed.envelope, closed.closed_because) == (LinkState.CLOSED, None, Cause.REPLACED)
    with pytest.raises(Superseded):
        await world.claim(first)
    await world.watch.retire()
    old, new = [await world.key((await world.link(one)).key_id) for one in (first, second)]
    assert (old.state, new.state) == (KeyState.REVOKED, KeyState.SEALED)
    assert list(world.vendor.living) == [new.handle]
    assert unsealed(second.url, await world.claim(second)) == f"example-{new.handle}"


async def test_a_key_in_its_holders_hands_is_not_picked_up_again(world: World) -> None:
    """An active, ending or ended grant mints nothing more."""
    grant = await world.active()
    for state in (GrantState.ACTIVE, GrantState.ENDING, GrantState.ENDED):
        assert (await world.grant(grant)).state is state
        with pytest.raises(Superseded) as caught:
            await world.picked_up(grant)
        assert caught.value.found == state
        if state is GrantState.ACTIVE:
            await world.grants.revoke(BEN, grant.id)
        else:
            await world.watch.retire()
    assert len(world.vendor.minted) == 1


# ---- mints that fail


@pytest.mark.parametrize(
    "fault",
    [
        ProviderAuth("no"),
        ProviderForbidden("no"),
        ProviderNotFound("no"),
        ProviderInvalid("no"),
        ProviderRateLimited("later", retry_after=9),
        ProviderTransient("later"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_mint_that_certainly_failed_can_be_tried_again(world: World, fault: ProviderError) -> None:
    """The key is void, nothing is looked for, and the holder picks up again."""
    grant = await world.approved()
    world.vendor.mint_faults.append(fault)
    with pytest.raises(type(fault)):
        await world.delivering(grant)
    assert (await world.grant(grant)).state is GrantState.READY
    assert [key.state for key in await world.keys(grant)] == [KeyState.VOID]
    broken = await world.last_entry()
    assert (broken.act, broken.detail["certain"]) == (Act.PICK_UP_BROKEN, True)
    await world.sweep()
    assert world.vendor.looked_for == []
    assert (await world.delivering(grant)).grant.state is GrantState.DELIVERING


async def test_a_mint_of_unknown_outcome_that_landed_is_found_and_revoked(world: World) -> None:
    """The answer was lost, the key was made: its marker finds it at once, and the holder may pick up meanwhile."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("connection lost"))
    world.vendor.lands = True
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    assert len(world.vendor.living) == 1
    again = await world.delivering(grant)
    await world.watch.retire()
    lost, kept = [await world.key(key.id) for key in await world.keys(grant)]
    assert {lost.state, kept.state} == {KeyState.REVOKING, KeyState.SEALED}  # it is looked for on
    assert list(world.vendor.living.values()) == [(await world.key((await world.link(again)).key_id)).marker]


async def test_a_mint_that_lands_late_is_found_within_its_quarantine(world: World) -> None:
    """What was not there at the first look is looked for again until it is found."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("time-out"))
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    key = (await world.keys(grant))[0]
    await world.sweep()
    assert (await world.key(key.id)).state is KeyState.REVOKING
    await world.sweep(after=3 * MINUTE)
    world.vendor.land(key.marker)
    await world.sweep(after=MINUTE)
    assert world.vendor.living == {}
    assert (await world.last_entry()).act == Act.FOUND
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.key(key.id)).state is KeyState.REVOKED


async def test_a_twin_that_lands_after_the_first_was_found_is_found_too(world: World) -> None:
    """A marker that was found goes on being looked for until its quarantine ends; then it is revoked once."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("time-out"))
    world.vendor.lands = True
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    key = (await world.keys(grant))[0]
    await world.sweep()
    assert world.vendor.living == {}
    await world.grants.revoke(BEN, grant.id)
    world.vendor.land(key.marker)
    await world.sweep(after=MINUTE)
    assert world.vendor.living == {}
    assert (await world.grant(grant)).state is GrantState.ENDING
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.key(key.id)).state is KeyState.REVOKED
    acts = await world.acts()
    assert (acts.count(Act.FOUND), acts.count(Act.REVOKED), acts.count(Act.ENDED)) == (2, 1, 1)


async def test_a_key_that_was_found_and_revoked_just_before_a_crash_is_not_called_void(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handle is written down before it is revoked: nothing bears its marker afterwards, and yet it was."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("time-out"))
    world.vendor.lands = True
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    key = (await world.keys(grant))[0]
    (handle,) = world.vendor.living
    with monkeypatch.context() as patched:
        patched.setattr(world.vendor, "revoke", world.vendor.revoke_and_die)
        await world.sweep()
    assert (world.vendor.living, world.vendor.revoked) == ({}, [handle])
    assert ((await world.key(key.id)).state, (await world.key(key.id)).handle) == (KeyState.REVOKING, handle)
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.key(key.id)).state is KeyState.REVOKED
    acts = await world.acts()
    assert (acts.count(Act.FOUND), acts.count(Act.REVOKED), acts.count(Act.VOIDED)) == (1, 1, 0)


async def test_a_late_answer_is_not_written_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mint's answer comes while the marker is looked for: its handle is revoked, and nothing is called void."""
    grant = await world.approved()
    key = await world.picked_up(grant)
    world.vendor.at_mint.shut()
    issuing = asyncio.create_task(world.grants.issue(key))
    await world.vendor.at_mint.reached.wait()
    await world.grants.revoke(BEN, grant.id)
    world.clock.now += revoking.QUARANTINE
    looking = world.vendor.find

    async def find(*, marker: str, project: str) -> Sequence[str]:
        found = await looking(marker=marker, project=project)
        world.vendor.at_mint.open()
        with pytest.raises(Superseded):
            await issuing
        return found

    monkeypatch.setattr(world.vendor, "find", find)
    await world.watch.retire()
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert world.vendor.revoked == world.vendor.minted
    assert Act.VOIDED not in await world.acts()


async def test_a_mint_that_never_landed_is_void_after_its_quarantine(world: World) -> None:
    """Only when no time-out can be under way any more is it written down that there was no key."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("time-out"))
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    key = (await world.keys(grant))[0]
    await world.sweep(after=revoking.QUARANTINE - timedelta(microseconds=1))
    assert (await world.key(key.id)).state is KeyState.REVOKING
    await world.sweep(after=MINUTE)
    assert (await world.key(key.id)).state is KeyState.VOID
    assert set(world.vendor.looked_for) == {key.marker}
    assert (await world.last_entry()).act == Act.VOIDED


async def test_a_provider_that_never_answers_counts_as_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk's patience ends, the holder hears it, and what lands after that is found by its marker."""
    monkeypatch.setattr(grants, "MINT_PATIENCE", timedelta())
    grant = await world.approved()
    world.vendor.at_mint.shut()
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    key = (await world.keys(grant))[0]
    assert (key.state, (await world.grant(grant)).state) == (KeyState.REVOKING, GrantState.READY)
    world.vendor.land(key.marker)
    await world.sweep(after=MINUTE)
    assert world.vendor.living == {}


async def test_a_defect_in_an_adapter_counts_as_unknown(world: World) -> None:
    """An error nobody foresaw says nothing about whether a key was minted: its marker is looked for."""
    grant = await world.approved()
    world.vendor.mint_faults.append(KeyError("value"))
    world.vendor.lands = True
    with pytest.raises(KeyError):
        await world.delivering(grant)
    assert (await world.grant(grant)).state is GrantState.READY
    await world.sweep()
    assert world.vendor.living == {}
    await world.sweep(after=revoking.QUARANTINE)
    assert [key.state for key in await world.keys(grant)] == [KeyState.REVOKED]


async def test_a_grant_revoked_while_its_key_is_minted_leaves_no_key(world: World) -> None:
    """The mint that comes home to a revoked grant hands nothing over, and its key is revoked by its handle."""
    grant = await world.approved()
    key = await world.picked_up(grant)
    world.vendor.at_mint.shut()
    issuing = asyncio.create_task(world.grants.issue(key))
    await world.vendor.at_mint.reached.wait()
    await world.grants.revoke(BEN, grant.id)
    await world.watch.retire()  # looks for the marker while the mint is under way: nothing yet
    assert (await world.grant(grant)).state is GrantState.ENDING
    world.vendor.at_mint.open()
    with pytest.raises(Superseded):
        await issuing
    late = await world.key(key.id)
    assert (late.state, late.handle) == (KeyState.REVOKING, world.vendor.minted[0])
    await world.watch.retire()
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.revoked == world.vendor.minted


async def test_a_mint_that_comes_home_after_it_was_given_up_leaves_no_key(world: World) -> None:
    """Even a key thought void is revoked when its mint answers after all, and a newer pick-up is untouched."""
    grant = await world.approved()
    key = await world.picked_up(grant)
    world.vendor.at_mint.shut()
    issuing = asyncio.create_task(world.grants.issue(key))
    await world.vendor.at_mint.reached.wait()
    await world.sweep(after=3 * MINUTE)
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.key(key.id)).state is KeyState.VOID
    world.vendor.at_mint.open()
    newer = await world.delivering(grant)
    with pytest.raises(Superseded):
        await issuing
    await world.watch.retire()
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert list(world.vendor.living) == [(await world.key((await world.link(newer)).key_id)).handle]
    assert (await world.grant(grant)).state is GrantState.DELIVERING


# ---- reveal


async def test_looking_at_a_link_changes_nothing(world: World) -> None:
    """However often the page is opened, the link stays open and no entry is left."""
    handover = await world.delivering()
    before = await world.entries()
    for _ in range(3):
        link, story = await world.links.look(Session(BEN, "laptop"), pieces(handover.url)[0])
        assert link.state is LinkState.OPEN
        assert story.grant == handover.grant
    assert await world.entries() == before


async def test_a_reload_inside_the_lease_gets_the_same_envelope(world: World) -> None:
    """The session that claimed may ask again until its lease ends; no later, and nobody else at all."""
    handover = await world.delivering()
    first = await world.claim(handover)
    world.clock.now += links.LEASE - timedelta(microseconds=1)
    assert await world.claim(handover) == first
    assert (await world.acts()).count(Act.CLAIMED) == 1
    world.clock.now += timedelta(microseconds=1)
    with pytest.raises(Superseded):
        await world.claim(handover)


async def test_a_second_session_of_the_same_holder_gets_nothing(world: World) -> None:
    """One session at most ever receives the envelope; the second claim is recorded as refused."""
    handover = await world.delivering()
    await world.claim(handover, "laptop")
    with pytest.raises(Superseded) as caught:
        await world.claim(handover, "phone")
    assert caught.value.found == LinkState.CLAIMED
    await refused_last(world, BEN, Act.CLAIMED)
    with pytest.raises(NotAllowed):
        await world.acknowledge(handover, "phone")
    await refused_last(world, BEN, Act.REVEALED)
    await world.acknowledge(handover, "laptop")
    for session in ("laptop", "phone"):
        with pytest.raises(Superseded):
            await world.claim(handover, session)


async def test_of_many_readers_at_once_one_gets_the_envelope(world: World, other: World) -> None:
    """Many sessions race on two processes for one link: one receives it, every other is told that it is claimed."""
    handover = await world.delivering()
    racing = [desk.claim(handover, f"{number}") for number, desk in enumerate((world, other) * 6)]
    found = await asyncio.gather(*racing, return_exceptions=True)
    assert len([one for one in found if isinstance(one, Sealed)]) == 1
    assert len([one for one in found if isinstance(one, Superseded)]) == len(found) - 1


async def test_without_the_fragment_nothing_is_burnt(world: World) -> None:
    """A wrong token is refused and recorded; the link stays open for its holder."""
    handover = await world.delivering()
    link_id, seed = pieces(handover.url)
    session = Session(BEN, "laptop")
    for token in ("", envelope.access_token(os.urandom(32)), envelope.base64url(seed)):
        with pytest.raises(NotAllowed):
            await world.links.claim(session, link_id, token)
        await refused_last(world, BEN, Act.CLAIMED)
    assert (await world.link(handover)).state is LinkState.OPEN
    await world.claim(handover)
    with pytest.raises(NotAllowed):
        await world.links.acknowledge(session, link_id, "")
    await world.acknowledge(handover)


@pytest.mark.parametrize("who", [CARA, ANA, Actor("T0OTHER", BEN.id)], ids=["approver", "manager", "other-team"])
async def test_another_person_with_the_whole_url_learns_nothing(world: World, who: Actor) -> None:
    """Somebody else's link answers as one that never was, whatever is asked of it, and stays open."""
    handover = await world.delivering()
    link_id, seed = pieces(handover.url)
    token, session = envelope.access_token(seed), Session(who, "laptop")
    if who.team == TEAM:
        answers = set()
        for act in (
            world.links.look(session, link_id),
            world.links.claim(session, link_id, token),
            world.links.acknowledge(session, link_id, token),
            world.links.look(session, "no such link"),
            world.links.claim(session, "no such link", token),
        ):
            with pytest.raises(NotYours) as caught:
                await act
            answers.add(str(caught.value))
        assert len(answers) == 1
        assert (await world.acts()).count(Act.REFUSED) == 3
    else:
        with pytest.raises(NotWelcome):
            await world.links.claim(session, link_id, token)
    assert (await world.link(handover)).state is LinkState.OPEN


async def test_a_holder_who_was_deactivated_opens_nothing(world: World) -> None:
    """Who may not hold keys any more does not receive the one that is sealed for them."""
    handover = await world.delivering()
    del world.people.people[BEN.id]
    with pytest.raises(NotWelcome):
        await world.claim(handover)
    assert (await world.link(handover)).state is LinkState.OPEN


async def test_a_link_is_not_opened_after_its_fifteen_minutes(world: World) -> None:
    """Its time is over to the microsecond, whether or not a sweep has passed yet."""
    handover = await world.delivering()
    world.clock.now = handover.expires_at
    with pytest.raises(Superseded):
        await world.claim(handover)
    assert (await world.link(handover)).state is LinkState.OPEN  # the sweep closes it
    assert handover.expires_at - handover.grant.created_at == links.LINK_LIVES


async def test_acknowledging_again_is_fine_and_changes_nothing(world: World) -> None:
    """A page that sends its acknowledgement twice is answered the same."""
    handover = await world.delivering()
    await world.claim(handover)
    await world.acknowledge(handover)
    before = await world.entries()
    await world.acknowledge(handover)
    assert await world.entries() == before


async def test_an_acknowledgement_without_a_claim_is_not_taken(world: World) -> None:
    """A key nobody received is not called revealed."""
    handover = await world.delivering()
    with pytest.raises(Superseded):
        await world.acknowledge(handover)
    assert (await world.grant(handover.grant)).state is GrantState.DELIVERING


# ---- revoke


@pytest.mark.parametrize("who", [BEN, CARA, ANA], ids=["holder", "approver", "manager"])
async def test_holder_and_approvers_revoke(world: World, who: Actor) -> None:
    """Whoever could decide on such a request today can take the key back; the holder is told."""
    grant = await world.active()
    await world.grants.revoke(who, grant.id)
    await world.sweep()
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_by, ended.ended_because) == (GrantState.ENDED, who.id, Cause.REVOKED)
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1


async def test_nobody_else_revokes(world: World) -> None:
    """A guest, and an approver who left the group, are refused; the key lives on."""
    grant = await world.active()
    world.people.groups[LEADS].discard(DEV.id)
    for who, refusal in ((GUEST, NotWelcome), (DEV, NotAllowed)):
        with pytest.raises(refusal):
            await world.grants.revoke(who, grant.id)
        await refused_last(world, who, Act.REVOKE_ASKED)
    assert (await world.grant(grant)).state is GrantState.ACTIVE


async def test_revoking_again_does_nothing_more(world: World) -> None:
    """The second press answers with the grant as it is, leaves no entry and sends no second message."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    await world.sweep()
    before = await world.entries()
    story = await world.grants.revoke(CARA, grant.id)
    assert story.grant is not None
    assert (story.grant.state, story.grant.ended_by) == (GrantState.ENDED, BEN.id)
    await world.sweep()
    assert await world.entries() == before
    assert len(world.slack.standing(NoticeKind.ENDED)) == 1


async def test_revoking_before_any_pick_up_ends_at_once(world: World) -> None:
    """Nothing was minted, so nothing has to die first."""
    grant = await world.approved()
    await world.grants.revoke(BEN, grant.id)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.revoked == []
    with pytest.raises(Superseded):
        await world.picked_up(grant)


async def test_revoking_while_a_link_waits_closes_it(world: World) -> None:
    """The envelope is destroyed in the same transaction; the page can open nothing any more."""
    handover = await world.delivering()
    await world.grants.revoke(CARA, handover.grant.id)
    link = await world.link(handover)
    assert (link.state, link.envelope) == (LinkState.CLOSED, None)
    with pytest.raises(Superseded):
        await world.claim(handover)


async def test_a_grant_ends_only_when_every_key_of_it_is_gone(world: World) -> None:
    """With a lost mint still in quarantine, the grant is ending, however quickly its other key died."""
    grant = await world.approved()
    world.vendor.mint_faults.append(OutcomeUnknown("time-out"))
    with pytest.raises(OutcomeUnknown):
        await world.delivering(grant)
    await world.delivering(grant)
    await world.grants.revoke(BEN, grant.id)
    await world.sweep(after=MINUTE)
    assert {key.state for key in await world.keys(grant)} == {KeyState.REVOKED, KeyState.REVOKING}
    assert (await world.grant(grant)).state is GrantState.ENDING
    await world.sweep(after=revoking.QUARANTINE)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert (await world.acts()).count(Act.ENDED) == 1


async def test_acknowledging_and_revoking_at_once_leave_no_living_key(world: World, other: World) -> None:
    """Whoever wins, nothing worse than "somebody was faster" is heard, and the key that was to be revoked is."""
    handovers: list[Handover] = [await world.delivering() for _ in range(4)]
    for handover in handovers:
        await world.claim(handover)
        found = await asyncio.gather(
            world.acknowledge(handover),
            other.grants.revoke(CARA, handover.grant.id),
            return_exceptions=True,
        )
        assert {type(one) for one in found if isinstance(one, BaseException)} <= {Superseded}
        await other.grants.revoke(CARA, handover.grant.id)
    await world.watch.retire()
    assert world.vendor.living == {}
    assert {(await world.grant(one.grant)).state for one in handovers} == {GrantState.ENDED}


async def taken_back_too_late(world: World, read_before: Link) -> Key:
    """A sweep goes on with a link that it read before the holder moved on; the grant's key as it is then."""
    with pytest.raises(Superseded):
        await world.store.write(
            lambda tx: world.grants.take_back(
                tx, read_before, world.clock.now, because=Cause.LAPSED, kind=NoticeKind.LAPSED
            )
        )
    grant = await world.store.read(lambda tx: tx.grant(TEAM, read_before.grant_id))
    assert grant is not None
    assert grant.key_id is not None
    return await world.key(grant.key_id)


async def test_a_key_acknowledged_while_a_sweep_looks_lives_on(world: World) -> None:
    """A lease that the sweep found over, and its holder acknowledged before the sweep acted, is left alone."""
    handover = await world.delivering()
    await world.claim(handover)
    overdue = await world.link(handover)
    await world.acknowledge(handover)
    assert (await taken_back_too_late(world, overdue)).state is KeyState.LIVE
    assert (await world.grant(handover.grant)).state is GrantState.ACTIVE


async def test_a_pick_up_while_a_sweep_looks_goes_on(world: World) -> None:
    """A link that the sweep found unopened, and its holder replaced before the sweep acted, takes no newer key along."""
    handover = await world.delivering()
    overdue = await world.link(handover)
    key = await world.picked_up(handover.grant)
    assert await taken_back_too_late(world, overdue) == key
    assert (await world.grants.issue(key)).grant.state is GrantState.DELIVERING


async def test_who_approved_may_revoke_whatever_todays_policy_says(world: World) -> None:
    """The holder left, so policy names nobody for them any more: their key must not be out of everybody's reach."""
    grant = await world.active()
    story = await world.stories.of(grant.team, grant.request_id)
    assert story.decision is not None
    del world.people.people[grant.holder]
    world.people.managers.clear()
    world.people.groups[LEADS].clear()
    ended = await world.grants.revoke(Actor(grant.team, story.decision.approver), grant.id)
    assert ended.grant is not None
    assert ended.grant.state is GrantState.ENDING
