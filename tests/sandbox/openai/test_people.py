"""People of the pretend OpenAI: who was invited, joined, and is in a project."""

import json

import openai
import pytest
from openai.resources.admin.organization import Organization

from sandbox.metering import DAY
from tests.providers.serving import description
from tests.sandbox.openai.world import World


def test_an_invitation_opens_the_projects_that_it_names(world: World, admin: Organization) -> None:
    """Whoever accepts it is a reader of the organization and a member of those projects, of no other."""
    invite = admin.invites.create(
        email="ben@acme.example", role="reader", projects=[{"id": "proj_search", "role": "member"}]
    )
    assert (invite.status, invite.expires_at) == ("pending", world.now + 7 * DAY)
    assert admin.users.list(emails=["ben@acme.example"]).data == []
    world.pretend.people.accept("ben@acme.example")
    assert admin.invites.retrieve(invite.id).status == "accepted"
    [ben] = admin.users.list(emails=["Ben@acme.example"])
    assert ben.role == "reader"
    assert [it.email for it in admin.projects.users.list("proj_search")] == ["ben@acme.example"]
    assert admin.projects.users.list("proj_lab").data == []
    with pytest.raises(openai.BadRequestError):
        admin.invites.delete(invite.id)
    with pytest.raises(openai.BadRequestError) as member:
        admin.invites.create(email="BEN@acme.example", role="reader", projects=[])
    assert member.value.code == "user_already_in_organization"


def test_an_invitation_can_be_withdrawn_and_runs_out(world: World, admin: Organization) -> None:
    """A pending one bars a second; deleted or expired, it leads nowhere, and another may follow."""
    invite = admin.invites.create(email="ben@acme.example", role="reader", projects=[])
    with pytest.raises(openai.BadRequestError) as again:
        admin.invites.create(email="ben@acme.example", role="reader", projects=[])
    assert again.value.code == "invite_already_exists"
    assert admin.invites.delete(invite.id).deleted
    with pytest.raises(openai.NotFoundError):
        admin.invites.retrieve(invite.id)
    with pytest.raises(KeyError):
        world.pretend.people.accept("ben@acme.example")
    late = admin.invites.create(email="ben@acme.example", role="reader")
    assert [it.id for it in late.projects] == ["proj_search"]  # left out, the default project
    world.now += 7 * DAY
    assert admin.invites.retrieve(late.id).status == "expired"
    with pytest.raises(KeyError):
        world.pretend.people.accept("ben@acme.example")
    assert admin.invites.create(email="ben@acme.example", role="reader", projects=[]).status == "pending"


def test_a_member_of_the_organization_is_added_to_a_project(world: World, admin: Organization) -> None:
    """By id or by mail; strangers are not; who leaves the organization leaves its projects and loses their keys."""
    members = admin.projects.users
    added = members.create("proj_lab", email="ana@acme.example", role="member")
    assert (added.id, added.role) == ("user_ana", "member")
    assert members.create("proj_lab", user_id="user_ana", role="owner").role == "owner"
    assert members.update("user_ana", project_id="proj_lab", role="member").role == "member"
    with pytest.raises(openai.BadRequestError) as stranger:
        members.create("proj_lab", email="xavier@other.example", role="member")
    assert stranger.value.code == "user_not_found"
    assert members.delete("user_ana", project_id="proj_lab").deleted
    with pytest.raises(openai.NotFoundError):
        members.retrieve("user_ana", project_id="proj_lab")
    personal = world.pretend.make_personal_key("proj_lab", name="notebook")
    members.create("proj_lab", user_id="user_ana", role="member")
    assert admin.users.delete("user_ana").deleted
    assert members.list("proj_lab").data == []
    with world.client(personal) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_people_outlive_a_restart(world: World, admin: Organization) -> None:
    """Invitations and memberships are kept with the rest of the state."""
    admin.invites.create(email="ben@acme.example", role="reader", projects=[{"id": "proj_lab", "role": "member"}])
    admin.projects.users.create("proj_lab", user_id="user_ana", role="member")
    reborn = world.make()
    reborn.load(json.loads(json.dumps(world.pretend.dump())))
    reborn.people.accept("ben@acme.example")
    assert len(reborn.organization.projects["proj_lab"].members) == 2


def test_all_that_passes_is_as_openai_describes_it(world: World, admin: Organization) -> None:
    """Requests of the SDK and answers of the sandbox fit OpenAI's published schemas, errors included."""
    described = description()
    invite = admin.invites.create(
        email="ben@acme.example", role="reader", projects=[{"id": "proj_lab", "role": "member"}]
    )
    admin.invites.list(limit=5)
    admin.invites.retrieve(invite.id)
    admin.invites.delete(invite.id)
    with pytest.raises(openai.BadRequestError):
        admin.invites.create(email="nobody", role="reader")
    admin.users.list(emails=["ana@acme.example"], limit=1)
    admin.users.retrieve("user_ana")
    admin.users.update("user_ana", role="reader")
    members = admin.projects.users
    members.create("proj_lab", user_id="user_ana", role="member")
    members.list("proj_lab", limit=3)
    members.retrieve("user_ana", project_id="proj_lab")
    members.update("user_ana", project_id="proj_lab", role="owner")
    members.delete("user_ana", project_id="proj_lab")
    admin.users.delete("user_ana")
    assert len(world.served.exchanges) == 14
    for exchange in world.served.exchanges:
        described.check(exchange)
