"""Workspaces and people of the pretend Anthropic."""

import anthropic
import pytest
from anthropic.resources.organization import Organization

from sandbox.metering import DAY
from tests.sandbox.anthropic.world import World


def test_workspaces_are_made_renamed_and_archived(world: World, admin: Organization) -> None:
    """The default one is listed on demand and stays; an archived one takes its keys with it."""
    made = admin.workspaces.create(name="assistant-dev")
    assert [it.name for it in admin.workspaces.list()] == ["search-prod", "lab", "assistant-dev"]
    assert next(it.name for it in admin.workspaces.list(include_default=True)) == "Default"
    assert admin.workspaces.update(made.id, name="assistant").name == "assistant"
    id, _ = world.key(workspace=made.id)
    assert admin.workspaces.archive(made.id).archived_at is not None
    assert admin.api_keys.retrieve(id).status == "archived"
    assert made.id not in [it.id for it in admin.workspaces.list()]
    assert made.id in [it.id for it in admin.workspaces.list(include_archived=True)]
    assert admin.workspaces.retrieve(made.id).archived_at is not None
    with pytest.raises(ValueError, match="archived"):
        world.key(workspace=made.id)
    with pytest.raises(anthropic.BadRequestError):
        admin.workspaces.archive("wrkspc_default")
    with pytest.raises(anthropic.NotFoundError):
        admin.workspaces.retrieve("wrkspc_none")


def test_an_invitation_is_sent_accepted_and_withdrawn(world: World, admin: Organization) -> None:
    """A pending one bars a second, and so does being a member; only a pending one can be deleted."""
    invite = admin.invites.create(email="ben@acme.example", role="user")
    assert (invite.status, invite.expires_at.timestamp()) == ("pending", world.now + 21 * DAY)
    with pytest.raises(anthropic.BadRequestError) as again:
        admin.invites.create(email="BEN@acme.example", role="user")
    assert again.value.error_code == "invite_already_exists"
    world.pretend.admin.accept("ben@acme.example")
    assert admin.invites.retrieve(invite.id).status == "accepted"
    [ben] = admin.users.list(email="Ben@acme.example")
    assert ben.role == "user"
    with pytest.raises(anthropic.BadRequestError) as member:
        admin.invites.create(email="ben@acme.example", role="user")
    assert member.value.error_code == "already_member"
    with pytest.raises(anthropic.BadRequestError):
        admin.invites.delete(invite.id)
    other = admin.invites.create(email="cara@acme.example", role="developer")
    assert [it.email for it in admin.invites.list(statuses=["pending"])] == ["cara@acme.example"]
    assert admin.invites.delete(other.id).id == other.id
    late = admin.invites.create(email="cara@acme.example", role="developer")
    world.now += 21 * DAY
    assert admin.invites.retrieve(late.id).status == "expired"
    with pytest.raises(KeyError):
        world.pretend.admin.accept("cara@acme.example")
    with pytest.raises(anthropic.BadRequestError):
        admin.invites.create(email="nobody", role="user")


def test_members_of_a_workspace_come_and_go(world: World, admin: Organization) -> None:
    """Users of the organization are added with a role; who leaves the organization leaves its workspaces."""
    admin.invites.create(email="ben@acme.example", role="user")
    world.pretend.admin.accept("ben@acme.example")
    [ben] = admin.users.list(email="ben@acme.example")
    members = admin.workspaces.members
    assert members.add("wrkspc_lab", user_id=ben.id, workspace_role="workspace_user").workspace_role == "workspace_user"
    raised = members.update(ben.id, workspace_id="wrkspc_lab", workspace_role="workspace_developer")
    assert raised.workspace_role == "workspace_developer"
    assert [it.user_id for it in members.list("wrkspc_lab")] == [ben.id]
    assert members.retrieve(ben.id, workspace_id="wrkspc_lab") == raised
    assert members.remove(ben.id, workspace_id="wrkspc_lab").user_id == ben.id
    with pytest.raises(anthropic.NotFoundError):
        members.remove(ben.id, workspace_id="wrkspc_lab")
    with pytest.raises(anthropic.NotFoundError):
        members.add("wrkspc_lab", user_id="user_none", workspace_role="workspace_user")
    members.add("wrkspc_lab", user_id=ben.id, workspace_role="workspace_user")
    assert admin.users.update(ben.id, role="developer").role == "developer"
    assert admin.users.remove(ben.id).id == ben.id
    assert members.list("wrkspc_lab").data == []
    with pytest.raises(anthropic.BadRequestError):
        admin.users.remove("user_ana")
