"""Anthropic's invitations: to the organization as a user, and to one workspace as a developer.

An invitation names no workspace. Whoever is in the organization is put into the workspace at once; whoever was invited,
when the invitation is asked for again after it was accepted.
"""

from dataclasses import replace

from bot.desk.errors import ProviderInvalid, ProviderNotFound
from bot.desk.offer import Invitation
from bot.providers.anthropic import wire
from bot.providers.anthropic.wire import INVITES, USERS, WORKSPACES, Page, listed
from bot.providers.calls import Calls

INVITE, USER = "invite:", "user:"
ROLE, WORKSPACE_ROLE = "user", "workspace_developer"


class People:
    """Who is in the organization, and who was invited."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def look(self) -> None:
        """Reads as little as can be, to see whether the credential may."""
        await self._calls.get(INVITES, Page[wire.Invite], limit=1)

    async def invite(self, email: str, project: str) -> Invitation:
        """Invites whoever is a stranger, and puts into the workspace whoever is in the organization."""
        await self._calls.get(self._workspace(project), wire.Workspace)
        user = await self._user(email)
        if user is not None:
            return Invitation(USER + user.id if await self._join(user, project) else "", email)
        pending = await self._pending(email)
        if pending is None:
            pending = await self._calls.call("POST", INVITES, wire.Invite, body={"email": email, "role": ROLE})
        return Invitation(INVITE + pending.id, email, pending=True)

    async def follow(self, invitation: Invitation, project: str) -> Invitation:
        """Puts into the workspace whoever accepted."""
        user = await self._user(invitation.email)
        if user is not None:
            await self._join(user, project)
            return Invitation(USER + user.id, invitation.email)
        return replace(invitation, pending=await self._pending(invitation.email) is not None)

    async def withdraw(self, invitation: Invitation, project: str) -> None:
        """Deletes the invitation, or takes the person out of the workspace."""
        if not invitation.handle:
            pending = await self._pending(invitation.email)
            if pending is not None:
                await self._calls.call("DELETE", f"{INVITES}/{pending.id}", wire.Gone)
            return
        if invitation.handle.startswith(INVITE):
            invite = f"{INVITES}/{self._calls.checked(invitation.handle.removeprefix(INVITE))}"
            try:
                await self._calls.call("DELETE", invite, wire.Gone)
            except (ProviderNotFound, ProviderInvalid):
                # Gone, expired or accepted: only a pending invitation can be deleted.
                if await self._pending(invitation.email) is not None:
                    raise
            user = await self._user(invitation.email)
            if user is None:
                return
            left = user.id
        else:
            left = invitation.handle.removeprefix(USER)
        await self._leave(left, project)

    async def _user(self, email: str) -> wire.User | None:
        if not email:
            return None  # nobody's: a filter by nothing names everybody
        async for user in listed(self._calls, USERS, Page[wire.User], email=email):
            if user.email.lower() == email.lower():
                return user
        return None

    async def _pending(self, email: str) -> wire.Invite | None:
        if not email:
            return None
        async for invite in listed(self._calls, INVITES, Page[wire.Invite], email=email):
            if invite.status == "pending" and invite.email.lower() == email.lower():
                return invite
        return None

    async def _join(self, user: wire.User, project: str) -> bool:
        """Whether they were not in it before."""
        members = f"{self._workspace(project)}/members"
        try:
            await self._calls.get(f"{members}/{user.id}", wire.Member)
        except ProviderNotFound:
            body = {"user_id": user.id, "workspace_role": WORKSPACE_ROLE}
            await self._calls.call("POST", members, wire.Member, body=body)
            return True
        return False

    async def _leave(self, user: str, project: str) -> None:
        workspace = self._workspace(project)
        try:
            await self._calls.call("DELETE", f"{workspace}/members/{self._calls.checked(user)}", wire.Gone)
        except ProviderNotFound:
            # A credential of another organization is told "not found" of everything.
            await self._calls.get(workspace, wire.Workspace)

    def _workspace(self, project: str) -> str:
        return f"{WORKSPACES}/{self._calls.checked(project)}"
