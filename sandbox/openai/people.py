"""The pretend OpenAI's people: the organization's users, who of them is in a project, and who was invited."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request

from sandbox.openai.organization import Invite, Organization, Person, Project
from sandbox.openai.projects import project_of
from sandbox.openai.wire import Fault, known_body, missing_parameter, new_id, no_such, one_of, page, several, typed
from sandbox.wire import Handler, Json

INVITE_SECONDS = 7 * 24 * 3600
ROLES = ("owner", "reader")
PROJECT_ROLES = ("member", "owner")


class People:
    """The endpoints that deal in users and invites."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    @property
    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        users, invites = "/organization/users", "/organization/invites"
        members = "/organization/projects/{project}/users"
        return (
            ("GET", users, self._list),
            ("GET", users + "/{user}", self._retrieve),
            ("POST", users + "/{user}", self._modify),
            ("DELETE", users + "/{user}", self._delete),
            ("GET", invites, self._list_invites),
            ("POST", invites, self._invite),
            ("GET", invites + "/{invite}", self._retrieve_invite),
            ("DELETE", invites + "/{invite}", self._delete_invite),
            ("GET", members, self._list_members),
            ("POST", members, self._add_member),
            ("GET", members + "/{user}", self._retrieve_member),
            ("POST", members + "/{user}", self._modify_member),
            ("DELETE", members + "/{user}", self._remove_member),
        )

    def accept(self, email: str) -> None:
        """What whoever was invited does with the mail: joins the organization, and the projects of the invitation.

        `KeyError` where no invitation to this address is open.
        """
        now = self._organization.now()
        invite = self._pending(email)
        if invite is None:
            raise KeyError(email)
        person = Person(id=new_id("user"), name=email, email=email, created_at=now, role=invite.role)
        self._organization.people[person.id] = person
        self._organization.invites[invite.id] = replace(invite, accepted_at=now)
        for joined in invite.projects:
            self._join(self._organization.projects[joined["id"]], person, joined["role"])
        self._organization.changed()

    # Users

    async def _list(self, request: Request) -> Json:
        emails = {email.lower() for email in several(request, "emails")}
        listed = {
            id: person
            for id, person in self._organization.people.items()
            if not emails or person.email.lower() in emails
        }
        return page(request, listed, _shown_user)

    async def _retrieve(self, request: Request) -> Json:
        return _shown_user(self._person(request))

    async def _modify(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"role"}))
        person = replace(self._person(request), role=one_of(body, "role", ROLES))
        self._organization.people[person.id] = person
        self._organization.changed()
        return _shown_user(person)

    async def _delete(self, request: Request) -> Json:
        person = self._person(request)
        del self._organization.people[person.id]
        for project in list(self._organization.projects.values()):
            self._leave(project, person.id)
            for key in self._organization.keys_of(project.id):
                if key.owner == person.id:
                    self._organization.put_key(replace(key, revoked_at=self._organization.now()))
        self._organization.changed()
        return {"object": "organization.user.deleted", "id": person.id, "deleted": True}

    def _person(self, request: Request) -> Person:
        person = self._organization.people.get(request.path_params["user"])
        if person is None:
            raise no_such("user")
        return person

    def _known(self, email: str) -> Person | None:
        return next((it for it in self._organization.people.values() if it.email.lower() == email.lower()), None)

    # Invites

    async def _list_invites(self, request: Request) -> Json:
        return page(request, self._organization.invites, self._shown_invite)

    async def _invite(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"email", "role", "projects"}))
        email = typed(body, "email", str)
        if email is None:
            raise missing_parameter("email")
        if "@" not in email:
            raise Fault(400, "'email' must be an e-mail address.", code="invalid_value", param="email")
        if self._known(email) is not None:
            raise Fault(400, "This user is already a member of the organization.", code="user_already_in_organization")
        if self._pending(email) is not None:
            raise Fault(400, "This user was already invited to the organization.", code="invite_already_exists")
        projects = typed(body, "projects", list)
        if projects is None:  # OpenAI: left out, the invitation is to the default project
            projects = [{"id": next(iter(self._organization.projects)), "role": "member"}]
        for joined in projects:
            if not isinstance(joined, dict) or joined.get("id") not in self._organization.projects:
                raise Fault(400, "'projects' names an unknown project.", code="invalid_value", param="projects")
            one_of(joined, "role", PROJECT_ROLES)
        now = self._organization.now()
        invite = Invite(
            id=new_id("invite"),
            email=email,
            role=one_of(body, "role", ROLES),
            created_at=now,
            expires_at=now + INVITE_SECONDS,
            projects=projects,
        )
        self._organization.invites[invite.id] = invite
        self._organization.changed()
        return self._shown_invite(invite)

    async def _retrieve_invite(self, request: Request) -> Json:
        return self._shown_invite(self._invite_of(request))

    async def _delete_invite(self, request: Request) -> Json:
        invite = self._invite_of(request)
        if invite.accepted_at is not None:
            raise Fault(400, "An invite that was accepted cannot be deleted.", code="invite_already_accepted")
        del self._organization.invites[invite.id]
        self._organization.changed()
        return {"object": "organization.invite.deleted", "id": invite.id, "deleted": True}

    def _invite_of(self, request: Request) -> Invite:
        invite = self._organization.invites.get(request.path_params["invite"])
        if invite is None:
            raise no_such("invite")
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
        return {"object": "organization.invite", **vars(invite), "status": self.status(invite)}

    # Members of a project

    async def _list_members(self, request: Request) -> Json:
        project = project_of(self._organization, request)
        members = {id: self._shown_member(project, id) for id in project.members}
        return page(request, members, dict)

    async def _add_member(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"user_id", "email", "role"}))
        project = project_of(self._organization, request)
        id, email = typed(body, "user_id", str), typed(body, "email", str)
        if id is None and email is None:
            raise missing_parameter("user_id")
        person = self._organization.people.get(id) if id is not None else self._known(email or "")
        if person is None:
            raise Fault(400, "The user is not a member of the organization.", code="user_not_found", param="user_id")
        return self._shown_member(self._join(project, person, one_of(body, "role", PROJECT_ROLES)), person.id)

    async def _retrieve_member(self, request: Request) -> Json:
        return self._shown_member(*self._member(request))

    async def _modify_member(self, request: Request) -> Json:
        body = await known_body(request, frozenset({"role"}))
        project, id = self._member(request)
        role = one_of(body, "role", PROJECT_ROLES)
        return self._shown_member(self._join(project, self._organization.people[id], role), id)

    async def _remove_member(self, request: Request) -> Json:
        project, id = self._member(request)
        self._leave(project, id)
        return {"object": "organization.project.user.deleted", "id": id, "deleted": True}

    def _member(self, request: Request) -> tuple[Project, str]:
        project, id = project_of(self._organization, request), request.path_params["user"]
        if id not in project.members:
            raise no_such("user in this project")
        return project, id

    def _join(self, project: Project, person: Person, role: str) -> Project:
        added = project.members.get(person.id, {"added_at": self._organization.now()})
        return self._organization.amend(project, members={**project.members, person.id: {**added, "role": role}})

    def _leave(self, project: Project, id: str) -> None:
        if id in project.members:
            left = {other: member for other, member in project.members.items() if other != id}
            self._organization.amend(project, members=left)

    def _shown_member(self, project: Project, id: str) -> Json:
        person = self._organization.people[id]
        shown = {"object": "organization.project.user", "id": id, "name": person.name, "email": person.email}
        return {**shown, **project.members[id]}


def _shown_user(person: Person) -> Json:
    return {
        "object": "organization.user",
        "id": person.id,
        "name": person.name,
        "email": person.email,
        "role": person.role,
        "added_at": person.created_at,
    }
