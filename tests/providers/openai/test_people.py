"""OpenAI's invitations as the desk sends and withdraws them."""

import pytest

from bot.desk.errors import ProviderError, ProviderNotFound
from bot.desk.offer import Invitation
from bot.providers.openai import OpenAI
from sandbox.faults import Fault
from tests.providers.openai.world import World
from tests.providers.serving import description

BEN = "ben@acme.example"


def invited(world: World) -> list[tuple[str, list[str]]]:
    """Roles and projects of the invitations that are open."""
    people = world.pretend.people
    invites = world.pretend.organization.invites.values()
    return [(it.role, [project["id"] for project in it.projects]) for it in invites if people.status(it) == "pending"]


def members(world: World, project: str) -> list[str]:
    held = world.pretend.organization
    return [held.people[id].email for id in held.projects[project].members]


async def test_an_invitation_opens_one_project_and_no_more(world: World, provider: OpenAI) -> None:
    """As the least there is: a reader of the organization, a member of the project. Again, it is the same."""
    invitation = await provider.invite(email=BEN, project="proj_search")
    assert invited(world) == [("reader", ["proj_search"])]
    assert await provider.invite(email=BEN.upper(), project="proj_search") == Invitation(
        invitation.handle, BEN.upper(), pending=True
    )
    world.pretend.people.accept(BEN)
    assert members(world, "proj_search") == [BEN]
    assert members(world, "proj_lab") == []
    assert (await provider.invite(email=BEN, project="proj_search")).handle == ""  # in it already: nothing to withdraw
    joined = await provider.follow(invitation=invitation, project="proj_search")
    assert (joined.handle.partition(":")[0], joined.pending) == ("user", False)
    assert members(world, "proj_search") == [BEN]


async def test_who_is_there_or_invited_already_gets_the_project_too(world: World, provider: OpenAI) -> None:
    """A member is added; an open invitation is replaced by one that names both projects."""
    await provider.invite(email="ana@acme.example", project="proj_lab")
    assert members(world, "proj_lab") == ["ana@acme.example"]
    await provider.invite(email=BEN, project="proj_search")
    await provider.invite(email=BEN, project="proj_lab")
    assert invited(world) == [("reader", ["proj_search", "proj_lab"])]


async def test_a_withdrawn_invitation_leads_nowhere(world: World, provider: OpenAI) -> None:
    """Withdrawn twice is withdrawn; another project's share of the invitation stays."""
    first = await provider.invite(email=BEN, project="proj_search")
    second = await provider.invite(email=BEN, project="proj_lab")
    for _ in range(2):
        await provider.withdraw(invitation=first, project="proj_search")
        assert invited(world) == [("reader", ["proj_lab"])]
    for _ in range(2):
        await provider.withdraw(invitation=second, project="proj_lab")
        assert invited(world) == []


async def test_an_accepted_invitation_is_withdrawn_as_the_membership_that_it_became(
    world: World, provider: OpenAI
) -> None:
    """The person leaves the project, and stays in the organization and in other projects."""
    first = await provider.invite(email=BEN, project="proj_search")
    world.pretend.people.accept(BEN)
    second = await provider.invite(email=BEN, project="proj_lab")
    for _ in range(2):
        await provider.withdraw(invitation=first, project="proj_search")
        assert (members(world, "proj_search"), members(world, "proj_lab")) == ([], [BEN])
    world.pretend.set_project("proj_lab", "archived")
    await provider.withdraw(invitation=second, project="proj_lab")
    assert BEN in [person.email for person in world.pretend.organization.people.values()]


async def test_another_organizations_word_withdraws_nothing(world: World, provider: OpenAI) -> None:
    """Who does not see the project cannot say that somebody has left it."""
    with pytest.raises(ProviderNotFound):
        await provider.withdraw(invitation=Invitation("user:user_ana", "ana@acme.example"), project="proj_elsewhere")


@pytest.mark.parametrize("acts", [False, True])
async def test_an_invitation_of_unknown_outcome_can_be_sent_again(world: World, provider: OpenAI, acts: bool) -> None:
    """Whether or not it had arrived: there is one, and it is open."""
    world.faults.add(Fault("openai", "POST */invites", cut=True, acts=acts))
    with pytest.raises(ProviderError):
        await provider.invite(email=BEN, project="proj_search")
    await provider.invite(email=BEN, project="proj_search")
    assert invited(world) == [("reader", ["proj_search"])]


async def test_what_is_sent_is_as_openai_describes_it(world: World, provider: OpenAI) -> None:
    """Every request that deals in people fits OpenAI's published description."""
    described = description()
    await provider.invite(email=BEN, project="proj_search")
    both = await provider.invite(email=BEN, project="proj_lab")
    await provider.withdraw(invitation=both, project="proj_lab")
    member = await provider.invite(email="ana@acme.example", project="proj_lab")
    await provider.withdraw(invitation=member, project="proj_lab")
    assert len(world.served.exchanges) == 15
    for exchange in world.served.exchanges:
        described.check(exchange)
