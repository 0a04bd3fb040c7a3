"""Where a key would be the wrong answer: an invitation to the provider's own organisation, sent once and taken back."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.errors import DraftRejected, OutcomeUnknown, ProviderAuth, Superseded
from bot.desk.invitations import ASK_AGAIN, ASKED_FOR
from bot.desk.model import NoticeKind
from bot.desk.revoking import QUARANTINE
from bot.desk.states import GrantState
from tests.desk.world import BEN, CARA, MINUTE, TEAM, World, invitation

INVITED = {("ben@acme.example", "proj_search")}


async def test_approval_invites_once(world: World) -> None:
    """Who asked is invited to the one project; the message says so; no key is made, and none can be picked up."""
    grant = await world.approved(what=invitation())
    assert grant.state is GrantState.INVITING
    await asyncio.gather(world.sweep(), world.sweep())
    await world.sweep()
    grant = await world.grant(grant)
    assert (grant.state, grant.invitation) == (GrantState.INVITED, "invite ben@acme.example")
    assert world.vendor.invited == INVITED
    assert (await world.acts()).count(Act.INVITED) == 1
    with pytest.raises(Superseded, match="no key to pick up"):
        await world.picked_up(grant)
    assert world.vendor.minted == []
    [told] = world.slack.standing(NoticeKind.OUTCOME, BEN)
    assert told.grant is not None
    assert told.grant.state is GrantState.INVITED


async def test_an_invitation_is_followed_until_it_is_accepted(world: World) -> None:
    """Asked for again each hour, as some providers give the project only then; once it is accepted, no more."""
    grant = await world.approved(what=invitation())
    await world.sweep()
    assert (await world.grant(grant)).due_at == world.clock.now + ASK_AGAIN
    await world.sweep(ASK_AGAIN)
    assert (await world.grant(grant)).due_at == world.clock.now + ASK_AGAIN
    world.vendor.accepted.add("ben@acme.example")
    await world.sweep(ASK_AGAIN)
    assert (await world.grant(grant)).due_at is None
    assert (await world.acts()).count(Act.INVITED) == 1


async def test_one_that_nobody_accepts_is_followed_for_a_month(world: World) -> None:
    """And not for ever."""
    grant = await world.approved(what=invitation())
    await world.sweep()
    await world.sweep(ASKED_FOR)
    assert (await world.grant(grant)).due_at is None


async def test_what_fails_is_tried_again_and_invites_nobody_twice(world: World) -> None:
    """A lost answer leaves an invitation that the next try finds."""
    grant = await world.approved(what=invitation())
    world.vendor.invite_faults = [OutcomeUnknown("cut"), ProviderAuth("wrong")]
    world.vendor.lands = True
    await world.sweep()
    assert (await world.grant(grant)).attempts == 1
    await world.sweep(MINUTE)
    await world.sweep(MINUTE)
    assert (await world.grant(grant)).state is GrantState.INVITED
    assert world.vendor.invited == INVITED


async def test_withdrawn(world: World) -> None:
    """Holder or approver takes it back: out of the project again, and over only when the provider said so."""
    grant = await world.approved(what=invitation())
    await world.sweep()
    await world.grants.revoke(CARA, grant.id)
    assert (await world.grant(grant)).state is GrantState.ENDING
    world.vendor.invite_faults = [ProviderAuth("wrong")]
    await world.sweep()
    assert world.vendor.invited == INVITED
    await world.sweep(MINUTE)
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.invited == set()
    assert (await world.acts())[-2:] == [Act.WITHDRAWN, Act.ENDED]


async def test_taken_back_before_anything_was_sent(world: World) -> None:
    """Nothing is at the provider, and nothing there is touched: they may have been a member before."""
    grant = await world.approved(what=invitation())
    world.vendor.invited = set(INVITED)
    await world.grants.revoke(BEN, grant.id)
    assert (await world.grant(grant)).state is GrantState.ENDED
    await world.sweep(timedelta(hours=1))
    assert world.vendor.invited == INVITED


async def test_who_was_in_the_project_before_stays_in_it(world: World) -> None:
    """The desk takes back only what it gave."""
    world.vendor.members.add("ben@acme.example")
    world.vendor.invited = set(INVITED)
    grant = await world.approved(what=invitation())
    await world.sweep()
    assert (await world.grant(grant)).invitation == ""
    await world.grants.revoke(CARA, grant.id)
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.invited == INVITED


async def test_the_address_that_was_invited_is_the_one_withdrawn(world: World) -> None:
    """Whatever Slack says of it by then."""
    grant = await world.approved(what=invitation())
    await world.sweep()
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], email="ben.okafor@acme.example")
    await world.grants.revoke(BEN, grant.id)
    await world.sweep()
    assert world.vendor.invited == set()


async def test_who_left_before_it_was_sent_is_not_invited(world: World) -> None:
    """The grant is over, and nobody is invited."""
    grant = await world.approved(what=invitation())
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], guest=True)
    await world.sweep()
    assert (await world.grant(grant)).state is GrantState.ENDED
    assert world.vendor.invited == set()


async def test_nobody_is_invited_twice_to_one_project(world: World) -> None:
    """Taking one back would take the other, too."""
    await world.approved(what=invitation())
    with pytest.raises(DraftRejected, match="already"):
        await world.asked(BEN, invitation())


async def test_taken_back_while_the_provider_is_inviting(world: World) -> None:
    """It lands after all: it is looked for until its quarantine ends, and withdrawn."""
    grant = await world.approved(what=invitation())
    world.vendor.at_invite.shut()
    inviting = asyncio.create_task(world.watch.invite())
    await world.vendor.at_invite.reached.wait()
    await world.grants.revoke(BEN, grant.id)
    world.vendor.at_invite.open()
    await inviting  # the same pass finds it, and withdraws it
    assert world.vendor.invited == set()
    assert (await world.grant(grant)).state is GrantState.ENDED


async def test_a_process_that_died_while_the_provider_was_inviting(world: World) -> None:
    """Taken back then: an open invitation is looked for by its address until its quarantine ends, and withdrawn."""
    grant = await world.approved(what=invitation())
    world.vendor.invite_faults = [OutcomeUnknown("cut")]
    await world.sweep()
    await world.grants.revoke(BEN, grant.id)
    world.vendor.invited = set(INVITED)  # it lands after all
    await world.sweep()
    assert world.vendor.invited == set()
    assert (await world.grant(grant)).state is GrantState.ENDING
    await world.sweep(QUARANTINE)
    assert (await world.grant(grant)).state is GrantState.ENDED


async def test_who_has_no_mail_address_cannot_ask(world: World) -> None:
    """Said on the form."""
    with pytest.raises(DraftRejected, match="mail address"):
        await world.asked(CARA, invitation())


async def test_policy_must_allow_it(world: World) -> None:
    """By no rule, by nobody: the wide rule invites nobody, and a new project has nobody to invite to."""
    new = replace(invitation(), scope=replace(invitation().scope, project="new:x-1"))
    with pytest.raises(DraftRejected) as refused:
        await world.asked(BEN, new)
    assert refused.value.field == "project"


async def test_the_answer_is_one_transaction(world: World) -> None:
    """The team's chain verifies, whatever came between."""
    await world.approved(what=invitation())
    await world.sweep()
    await world.must_hold()
    assert [entry.team for entry in await world.entries()] == [TEAM] * len(await world.entries())
