"""The pretend Anthropic's admin API: keys, which it cannot create, workspaces and who is in them, users, invites."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request

from sandbox.anthropic.organization import (
    ACTIVE,
    ARCHIVED,
    DEFAULT_WORKSPACE,
    EXPIRED,
    INACTIVE,
    Invite,
    Key,
    Organization,
    Person,
    Workspace,
)
from sandbox.anthropic.wire import Fault, known_body, new_id, one_of, page, several, text
from sandbox.wire import Handler, Json, iso

INVITE_SECONDS = 21 * 24 * 3600
ROLES = ("user", "developer", "billing", "claude_code_user")
WORKSPACE_ROLES = ("workspace_user", "workspace_developer", "workspace_restricted_developer", "workspace_admin")


class Admin:
    """The endpoints below `/v1/organizations`, but for the reports."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        base = "/v1/organizations"
        keys, users, invites = f"{base}/api_keys", f"{base}/users", f"{base}/invites"
        workspaces = f"{base}/workspaces"
        members = workspaces + "/{workspace}/members"
        return (
            ("GET", f"{base}/me", self._me),
            ("GET", keys, self._list_keys),
            ("GET", keys + "/{key}", self._retrieve_key),
            ("POST", keys + "/{key}", self._update_key),
            ("GET", workspaces, self._list_workspaces),
            ("POST", workspaces, self._create_workspace),
            ("GET", workspaces + "/{workspace}", self._retrieve_workspace),
            ("POST", workspaces + "/{workspace}", self._update_workspace),
            ("POST", workspaces + "/{workspace}/archive", self._archive_workspace),
            ("GET", members, self._list_members),
            ("POST", members, self._add_member),
            ("GET", members + "/{user}", self._retrieve_member),
            ("POST", members + "/{user}", self._update_member),
            ("DELETE", members + "/{user}", self._remove_member),
            ("GET", users, self._list_users),
            ("GET", users + "/{user}", self._retrieve_user),
            ("POST", users + "/{user}", self._update_user),
            ("DELETE", users + "/{user}", self._remove_user),
            ("GET", invites, self._list_invites),
            ("POST", invites, self._create_invite),
            ("GET", invites + "/{invite}", self._retrieve_invite),
            ("DELETE", invites + "/{invite}", self._delete_invite),
        )

    def accept(self, email: str) -> None:
        """What whoever was invited does with the mail. `KeyError` where no invitation to this address is open."""
        invite = self._pending(email)
        if invite is None:
            raise KeyError(email)
        now = self._organization.clock()
        self._organization.keep(Person(new_id("user"), email.partition("@")[0], email, invite.role, now))
        self._organization.keep(replace(invite, accepted_at=now))

    async def _me(self, request: Request) -> Json:
        return {"id": "00000000-0000-4000-8000-000000000001", "type": "organization", "name": "Acme"}

    # Keys

    async def _list_keys(self, request: Request) -> Json:
        asked = request.query_params
        status, workspace = asked.get("status") or None, asked.get("workspace_id") or None
        creator = asked.get("created_by_user_id") or None
        keys = {
            key.id: key
            for key in self._organization.keys.values()
            if status in (None, self._organization.status(key))
            and workspace in (None, key.workspace)
            and creator in (None, key.creator)
        }
        return page(request, keys, self._shown_key)

    async def _retrieve_key(self, request: Request) -> Json:
        return self._shown_key(self._key(request))

    async def _update_key(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name", "status"}))
        key = self._key(request)
        switch = one_of(body, "status", (ACTIVE, INACTIVE, ARCHIVED), key.switch)
        if self._organization.status(key) in (ARCHIVED, EXPIRED) and switch != ARCHIVED:
            raise Fault(400, "An archived or expired API key cannot be changed")
        key = replace(key, name=text(body, "name", key.name), switch=switch)
        self._organization.keep(key)
        return self._shown_key(key)

    def _key(self, request: Request) -> Key:
        key = self._organization.keys.get(request.path_params["key"])
        if key is None:
            raise Fault(404, "API key not found")
        return key

    def _shown_key(self, key: Key) -> Json:
        default = key.workspace == DEFAULT_WORKSPACE
        return {
            "type": "api_key",
            "id": key.id,
            "name": key.name,
            # Before there was a scope, the default workspace had no id.
            "workspace_id": None if default else key.workspace,
            "scope": {"type": "workspace", "workspace_id": key.workspace},
            "created_at": iso(key.created_at),
            "created_by": {"id": key.creator, "type": "user"},
            "expires_at": iso(key.expires_at),
            "partial_key_hint": key.hint,
            "principal": None,
            "status": self._organization.status(key),
        }

    # Workspaces

    async def _list_workspaces(self, request: Request) -> Json:
        archived_too = request.query_params.get("include_archived") == "true"
        default_too = request.query_params.get("include_default") == "true"
        listed = {
            id: workspace
            for id, workspace in self._organization.workspaces.items()
            if (archived_too or workspace.archived_at is None) and (default_too or id != DEFAULT_WORKSPACE)
        }
        return page(request, listed, _shown_workspace)

    async def _create_workspace(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name"}))
        workspace = Workspace(new_id("wrkspc"), text(body, "name"), self._organization.clock())
        self._organization.keep(workspace)
        return _shown_workspace(workspace)

    async def _retrieve_workspace(self, request: Request) -> Json:
        return _shown_workspace(self._workspace(request))

    async def _update_workspace(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"name"}))
        workspace = replace(self._workspace(request), name=text(body, "name"))
        self._organization.keep(workspace)
        return _shown_workspace(workspace)

    async def _archive_workspace(self, request: Request) -> Json:
        workspace = self._workspace(request)
        if workspace.id == DEFAULT_WORKSPACE:
            raise Fault(400, "The default workspace cannot be archived")
        workspace = replace(workspace, archived_at=self._organization.clock())
        self._organization.keep(workspace)
        for key in list(self._organization.keys.values()):
            if key.workspace == workspace.id:
                self._organization.keep(replace(key, switch=ARCHIVED))
        return _shown_workspace(workspace)

    def _workspace(self, request: Request) -> Workspace:
        workspace = self._organization.workspaces.get(request.path_params["workspace"])
        if workspace is None:
            raise Fault(404, "Workspace not found")
        return workspace

    # Members of a workspace

    async def _list_members(self, request: Request) -> Json:
        workspace = self._workspace(request)
        members = {id: _shown_member(workspace, id) for id in workspace.members}
        return page(request, members, dict)

    async def _add_member(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"user_id", "workspace_role"}))
        workspace, id = self._workspace(request), text(body, "user_id")
        if workspace.archived_at is not None:
            raise Fault(400, "The workspace is archived")
        if id not in self._organization.people:
            raise Fault(404, "User not found")
        return self._seat(workspace, id, one_of(body, "workspace_role", WORKSPACE_ROLES))

    async def _retrieve_member(self, request: Request) -> Json:
        return _shown_member(*self._member(request))

    async def _update_member(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"workspace_role"}))
        workspace, id = self._member(request)
        return self._seat(workspace, id, one_of(body, "workspace_role", WORKSPACE_ROLES))

    async def _remove_member(self, request: Request) -> Json:
        workspace, id = self._member(request)
        self._unseat(workspace, id)
        return {"type": "workspace_member_deleted", "user_id": id, "workspace_id": workspace.id}

    def _member(self, request: Request) -> tuple[Workspace, str]:
        workspace, id = self._workspace(request), request.path_params["user"]
        if id not in workspace.members:
            raise Fault(404, "Workspace member not found")
        return workspace, id

    def _seat(self, workspace: Workspace, id: str, role: str) -> Json:
        workspace = replace(workspace, members={**workspace.members, id: role})
        self._organization.keep(workspace)
        return _shown_member(workspace, id)

    def _unseat(self, workspace: Workspace, id: str) -> None:
        left = {other: role for other, role in workspace.members.items() if other != id}
        self._organization.keep(replace(workspace, members=left))

    # Users

    async def _list_users(self, request: Request) -> Json:
        email, roles = request.query_params.get("email"), several(request, "roles")
        people = {
            id: person
            for id, person in self._organization.people.items()
            if (email is None or person.email.lower() == email.lower()) and (not roles or person.role in roles)
        }
        return page(request, people, _shown_user)

    async def _retrieve_user(self, request: Request) -> Json:
        return _shown_user(self._person(request))

    async def _update_user(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"role"}))
        person = self._person(request)
        if person.role == "admin":
            raise Fault(400, "Admins cannot be changed by API")
        person = replace(person, role=one_of(body, "role", ROLES))
        self._organization.keep(person)
        return _shown_user(person)

    async def _remove_user(self, request: Request) -> Json:
        person = self._person(request)
        if person.role == "admin":
            raise Fault(400, "Admins cannot be removed by API")
        for workspace in list(self._organization.workspaces.values()):
            self._unseat(workspace, person.id)
        del self._organization.people[person.id]
        self._organization.changed()
        return {"type": "user_deleted", "id": person.id}

    def _person(self, request: Request) -> Person:
        person = self._organization.people.get(request.path_params["user"])
        if person is None:
            raise Fault(404, "User not found")
        return person

    # Invites

    async def _list_invites(self, request: Request) -> Json:
        email, statuses = request.query_params.get("email"), several(request, "statuses")
        invites = {
            id: invite
            for id, invite in self._organization.invites.items()
            if (email is None or invite.email.lower() == email.lower())
            and (not statuses or self.status(invite) in statuses)
        }
        return page(request, invites, self._shown_invite)

    async def _create_invite(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"email", "role"}))
        email, role = text(body, "email"), one_of(body, "role", ROLES)
        if "@" not in email:
            raise Fault(400, "email: value is not a valid email address")
        if any(person.email.lower() == email.lower() for person in self._organization.people.values()):
            raise Fault(400, "This email address belongs to a user of the organization", code="already_member")
        if self._pending(email) is not None:
            raise Fault(400, "An invite to this email address is pending", code="invite_already_exists")
        now = self._organization.clock()
        invite = Invite(new_id("invite"), email, role, now, now + INVITE_SECONDS)
        self._organization.keep(invite)
        return self._shown_invite(invite)

    async def _retrieve_invite(self, request: Request) -> Json:
        return self._shown_invite(self._invite(request))

    async def _delete_invite(self, request: Request) -> Json:
        invite = self._invite(request)
        if self.status(invite) != "pending":
            raise Fault(400, "Only pending invites can be deleted")
        del self._organization.invites[invite.id]
        self._organization.changed()
        return {"type": "invite_deleted", "id": invite.id}

    def _invite(self, request: Request) -> Invite:
        invite = self._organization.invites.get(request.path_params["invite"])
        if invite is None:
            raise Fault(404, "Invite not found")
        return invite

    def _pending(self, email: str) -> Invite | None:
        for invite in self._organization.invites.values():
            if invite.email.lower() == email.lower() and self.status(invite) == "pending":
                return invite
        return None

    def status(self, invite: Invite) -> str:
        """ "pending", "accepted" or "expired"."""
        if invite.accepted_at is not None:
            return "accepted"
        return "expired" if invite.expires_at <= self._organization.clock() else "pending"

    def _shown_invite(self, invite: Invite) -> Json:
        return {
            "type": "invite",
            "id": invite.id,
            "email": invite.email,
            "role": invite.role,
            "invited_at": iso(invite.invited_at),
            "expires_at": iso(invite.expires_at),
            "accepted_at": iso(invite.accepted_at),
            "rbac_group_ids": [],
            "status": self.status(invite),
        }


def _shown_workspace(workspace: Workspace) -> Json:
    return {
        "type": "workspace",
        "id": workspace.id,
        "name": workspace.name,
        "created_at": iso(workspace.created_at),
        "archived_at": iso(workspace.archived_at),
        "display_color": "#6C5BB9",
        "compartment_id": f"cmpt_{workspace.id}",
        "data_residency": {
            "workspace_geo": "us",
            "default_inference_geo": "global",
            "allowed_inference_geos": "unrestricted",
        },
        "external_key_id": None,
        "tags": {},
    }


def _shown_member(workspace: Workspace, id: str) -> Json:
    role = workspace.members[id]
    return {"type": "workspace_member", "user_id": id, "workspace_id": workspace.id, "workspace_role": role}


def _shown_user(person: Person) -> Json:
    return {
        "type": "user",
        "id": person.id,
        "name": person.name,
        "email": person.email,
        "role": person.role,
        "added_at": iso(person.added_at),
    }
