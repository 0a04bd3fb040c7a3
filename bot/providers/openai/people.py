"""OpenAI's invitations: to the organization as a reader, and to one project as a member.

An invitation names its projects. OpenAI has one open invitation for an address, and no way to add a project to it: it is
replaced by one that names both.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bot.desk.errors import ProviderInvalid, ProviderNotFound
from bot.desk.offer import Invitation
from bot.providers.calls import Calls
from bot.providers.openai import wire
from bot.providers.openai.wire import Page, Paths, listed

INVITE, USER = "invite:", "user:"
READER, MEMBER = "reader", "member"


class People:
    """Who is in the organization, and who was invited."""

    def __init__(self, calls: Calls, paths: Paths) -> None:
        self._calls = calls
        self._paths = paths

    async def invite(self, email: str, project: str) -> Invitation:
        """Invites to the project; adds to it whoever is in the organization; again, it is the same invitation."""
        user = await self._user(email)
        if user is not None:
            return Invitation(USER + user.id if await self._join(user, project) else "", email)
        pending = await self._pending(email)
        if pending is not None:
            if project in (joined.id for joined in pending.projects):
                return Invitation(INVITE + pending.id, email, pending=True)
            await self._delete(pending.id)
        before = pending.projects if pending is not None else ()
        joined = [*before, wire.InvitedTo(id=project, role=MEMBER)]
        invite = await self._send(email, pending.role if pending else READER, joined)
        return Invitation(INVITE + invite, email, pending=True)

    async def follow(self, invitation: Invitation, project: str) -> Invitation:
        """Whether it was accepted: OpenAI puts who accepts into the project by itself."""
        user = await self._user(invitation.email)
        if user is not None:
            return Invitation(USER + user.id, invitation.email)
        return replace(invitation, pending=await self._pending(invitation.email) is not None)

    async def withdraw(self, invitation: Invitation, project: str) -> None:
        """Takes the project out of the invitation, or the person out of the project."""
        if invitation.handle.startswith(USER):
            await self._leave(invitation.handle.removeprefix(USER), project)
            return
        # An invitation may have been replaced by one that names more projects, and accepted since.
        pending = await self._pending(invitation.email)
        if pending is not None and project in (joined.id for joined in pending.projects):
            await self._delete(pending.id)
            others = [joined for joined in pending.projects if joined.id != project]
            if others:
                await self._send(pending.email, pending.role, others)
        user = await self._user(invitation.email) if invitation.handle else None
        if user is not None:
            await self._leave(user.id, project)

    async def look(self) -> None:
        """Reads as little as can be, to see whether the credential may."""
        await self._calls.get(self._paths.invites, Page[wire.Invite], limit=1)

    async def _user(self, email: str) -> wire.User | None:
        if not email:
            return None  # nobody's: some people of an organization show no address
        users = listed(self._calls, self._paths.users, Page[wire.User], emails=[email])
        async for user in users:
            if (user.email or "").lower() == email.lower():  # an older API does not filter
                return user
        return None

    async def _pending(self, email: str) -> wire.Invite | None:
        if not email:
            return None
        async for invite in listed(self._calls, self._paths.invites, Page[wire.Invite]):
            if invite.status == "pending" and invite.email.lower() == email.lower():
                return invite
        return None

    async def _send(self, email: str, role: str, projects: Sequence[wire.InvitedTo]) -> str:
        body = {"email": email, "role": role, "projects": [joined.model_dump() for joined in projects]}
        return (await self._calls.call("POST", self._paths.invites, wire.Invite, body=body)).id

    async def _delete(self, invite: str) -> None:
        with suppress(ProviderNotFound):  # somebody was faster
            await self._calls.call("DELETE", f"{self._paths.invites}/{self._calls.checked(invite)}", wire.Deleted)

    async def _join(self, user: wire.User, project: str) -> bool:
        """Whether they were not in it before."""
        members = f"{self._paths.project(project)}/users"
        try:
            await self._calls.get(f"{members}/{user.id}", wire.User)
        except ProviderNotFound:
            body = {"user_id": user.id, "role": MEMBER}
            await self._calls.call("POST", members, wire.User, body=body)
            return True
        return False

    async def _leave(self, user: str, project: str) -> None:
        path = self._paths.project(project)
        try:
            await self._calls.call("DELETE", f"{path}/users/{self._calls.checked(user)}", wire.Deleted)
        except (ProviderNotFound, ProviderInvalid):
            # Gone is gone: from the project, or with a project that was archived. A credential of another
            # organization hears "not found" of everything, of the project too.
            if not (await self._calls.get(path, wire.Project)).archived and await self._is_in(user, path):
                raise

    async def _is_in(self, user: str, project: str) -> bool:
        try:
            await self._calls.get(f"{project}/users/{user}", wire.User)
        except ProviderNotFound:
            return False
        return True
