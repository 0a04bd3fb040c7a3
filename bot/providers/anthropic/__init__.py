"""Anthropic: its API creates no keys. A person makes one in the Console, named with the marker, and deposits it.

From then on the desk knows the key by its id: what of it the Console shows as a hint is enough to recognise it. It is
switched off and on by its status, and revoked by being archived, which is for good.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Protocol

from pydantic import SecretStr

from bot.desk.errors import (
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderTransient,
)
from bot.desk.model import Scope, Secret
from bot.desk.offer import (
    Ability,
    AppliedLimit,
    Enforcer,
    Invitation,
    KeyStatus,
    LimitKind,
    Making,
    Permission,
    Probe,
    Project,
    ProviderKey,
    Usage,
)
from bot.desk.ports import Clock, Provider
from bot.providers.anthropic import wire
from bot.providers.anthropic.people import People
from bot.providers.anthropic.reports import Reports
from bot.providers.anthropic.wire import DEFAULT, KEYS, VENDOR, WORKSPACES, Page, listed
from bot.providers.calls import CALL_SECONDS, Calls, Fresh, duration, money

ACTIVE, INACTIVE, ARCHIVED, EXPIRED = "active", "inactive", "archived", "expired"
STATUSES = {
    ACTIVE: KeyStatus.ACTIVE,
    INACTIVE: KeyStatus.DISABLED,
    ARCHIVED: KeyStatus.GONE,
    EXPIRED: KeyStatus.GONE,
}
PREFIX = "sk-ant-api"  # and not that of Admin API keys, which must never be handed to anybody
STEPS = (
    "Create key: in this workspace, with this very name, linked to a service account, since a personal key acts as you."
    " Anthropic shows its value once."
)
NO_KEY = "apikey_none"


class Settings(Protocol):
    """What the adapter needs of the settings."""

    @property
    def anthropic_admin_key(self) -> SecretStr | None: ...
    @property
    def anthropic_base_url(self) -> str: ...
    @property
    def anthropic_console_url(self) -> str: ...


class Anthropic(Provider):
    """The desk's `Provider` at Anthropic; its projects are workspaces."""

    name = "anthropic"
    label = "Anthropic"
    abilities = frozenset({Ability.LIST, Ability.REVOKE, Ability.DISABLE, Ability.USAGE, Ability.INVITE})
    permissions: Sequence[Permission] = (Permission(id="all", label="Everything in the workspace"),)

    def __init__(
        self,
        *,
        admin_key: SecretStr,
        base_url: str,
        console_url: str,
        clock: Clock,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._console_url = console_url
        self._calls = Calls(VENDOR, credential=admin_key, base_url=base_url, call_seconds=call_seconds)
        self._workspaces = Fresh(clock, self._all_workspaces)
        self._people = People(self._calls)
        self._reports = Reports(self._calls, clock=clock)

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._calls.aclose()

    async def probe(self) -> Probe:
        """Lists the workspaces with the Admin API key, and tries whether it may switch keys, read usage, see invitations."""
        try:
            found = await self._all_workspaces()
            lacks = [lack async for lack in self._lacks()]
        except ProviderError as error:
            return Probe(frozenset(), "", flaw=str(error))
        some = ", ".join(workspace.name for workspace in found[:5]) or "none but the default one"
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        said = f"Anthropic accepts the Admin API key. Workspaces: {some}{more}."
        if not lacks:
            return Probe(self.abilities, said)
        what = ", ".join(what for what, _ in lacks)
        flaw = f"Anthropic does not let the Admin API key {what}. Mend: give it that permission."
        return Probe(self.abilities.difference(*(missing for _, missing in lacks)), said, flaw)

    async def projects(self) -> Sequence[Project]:
        """The workspaces that are not archived; asked anew after a minute, and once for all who ask at the same time."""
        return await self._workspaces.get()

    def making(self, project: str) -> Making:
        """In the Console, by a person."""
        return Making(steps=STEPS, url=self._console_url, prefix=PREFIX)

    async def recognise(self, *, secret: Secret, marker: str, project: str) -> ProviderKey | None:
        """The key whose hint fits the value, in this workspace; the one with the marker, where several fit."""
        value = secret.expose()
        fitting = [key async for key in self._in(project) if _fits(key, value)]
        named = [key for key in fitting if key.name == marker]
        found = named or fitting
        return _seen(found[0]) if len(found) == 1 else None

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The keys that a person named with the marker, and that are not archived."""
        return [key.id async for key in self._in(project) if key.name == marker and key.status != ARCHIVED]

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """The key as it is now; an archived one is not there any more."""
        try:
            key = await self._calls.get(self._key(handle), wire.Key)
        except ProviderNotFound:
            await self._see(project)
            return None
        return None if key.status == ARCHIVED else _seen(key)

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """Every key that is not archived."""
        async for key in listed(self._calls, KEYS, Page[wire.Key]):
            if key.status != ARCHIVED:
                yield _seen(key)

    async def revoke(self, *, handle: str, project: str) -> None:
        """Archives the key, which is for good."""
        try:
            key = await self._switch(handle, ARCHIVED)
        except ProviderNotFound:
            # A credential of another organization is told "not found" of everything.
            await self._see(project)
            return
        if key.status != ARCHIVED:
            raise ProviderTransient("Anthropic did not confirm that the key is archived.")

    async def disable(self, *, handle: str, project: str) -> None:
        """Makes the key inactive."""
        if (await self._switch(handle, INACTIVE)).status == ACTIVE:
            raise ProviderTransient("Anthropic did not confirm that the key is inactive.")

    async def enable(self, *, handle: str, project: str) -> None:
        """Makes the key active."""
        if (await self._switch(handle, ACTIVE)).status != ACTIVE:
            raise ProviderTransient("Anthropic did not confirm that the key is active.")

    def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """Tokens by key, day and model, with each key's share of the bill; see `reports`."""
        return self._reports.usage(since, until)

    async def invite(self, *, email: str, project: str) -> Invitation:
        """As a user of the organization and a developer of the workspace."""
        return await self._people.invite(email, project)

    async def follow(self, *, invitation: Invitation, project: str) -> Invitation:
        """How far it is; who accepted is in the project now."""
        return await self._people.follow(invitation, project)

    async def withdraw(self, *, invitation: Invitation, project: str) -> None:
        """Deletes the invitation, or takes the person out of the workspace; the organization keeps them."""
        await self._people.withdraw(invitation, project)

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """Anthropic holds a key to its workspace only; the desk ends it by archiving it."""
        whole = "Anthropic limits whole workspaces only, in its Console."
        models = f"models: {', '.join(scope.models)}"
        return (
            AppliedLimit(
                LimitKind.EXPIRY, f"expires after {duration(lifetime)}", Enforcer.DESK, "The desk archives it then."
            ),
            AppliedLimit(
                LimitKind.PERMISSION,
                "everything in the workspace",
                Enforcer.PROJECT,
                "The workspace's models and rate limits apply.",
            ),
            *([AppliedLimit(LimitKind.MODELS, models, Enforcer.NOBODY, whole)] if scope.models else []),
            AppliedLimit(LimitKind.BUDGET, f"{money(scope.monthly_budget_cents)} a month", Enforcer.NOBODY, whole),
        )

    async def _all_workspaces(self) -> Sequence[Project]:
        return [
            Project(id=workspace.id, name=workspace.name)
            async for workspace in listed(self._calls, WORKSPACES, Page[wire.Workspace], include_default="true")
            if workspace.archived_at is None
        ]

    async def _in(self, project: str) -> AsyncIterator[wire.Key]:
        if project == DEFAULT:
            keys = listed(self._calls, KEYS, Page[wire.Key])
        else:
            keys = listed(self._calls, KEYS, Page[wire.Key], workspace_id=self._calls.checked(project))
        async for key in keys:
            if key.workspace == project:
                yield key

    async def _see(self, project: str) -> None:
        """Raises `ProviderNotFound` where the credential does not see the workspace."""
        if project != DEFAULT:
            await self._calls.get(f"{WORKSPACES}/{self._calls.checked(project)}", wire.Workspace)

    async def _switch(self, handle: str, status: str) -> wire.Key:
        key = await self._calls.call("POST", self._key(handle), wire.Key, body={"status": status})
        if key.id != handle:
            raise ProviderTransient("Anthropic answered about another key.")
        return key

    async def _lacks(self) -> AsyncIterator[tuple[str, frozenset[Ability]]]:
        """What the Admin API key may not do, in people's words, and the abilities that this takes away."""
        asked: tuple[tuple[str, frozenset[Ability], Callable[[], Awaitable[object]]], ...] = (
            (
                "switch keys",
                frozenset({Ability.REVOKE, Ability.DISABLE, Ability.INVITE}),
                # Nothing is there to be switched: who may not switch anything hears that first.
                lambda: self._calls.call("POST", self._key(NO_KEY), wire.Key, body={}),
            ),
            ("read usage", frozenset({Ability.USAGE}), self._reports.look),
            ("see invitations", frozenset({Ability.INVITE}), self._people.look),
        )
        for what, missing, asking in asked:
            try:
                await asking()
            except ProviderForbidden:
                yield what, missing
            except (ProviderNotFound, ProviderInvalid):
                pass

    def _key(self, handle: str) -> str:
        return f"{KEYS}/{self._calls.checked(handle)}"


def from_settings(settings: Settings, clock: Clock) -> Anthropic | None:
    """The adapter that the settings describe; None where they hold no Admin API key."""
    if settings.anthropic_admin_key is None:
        return None
    return Anthropic(
        admin_key=settings.anthropic_admin_key,
        base_url=settings.anthropic_base_url,
        console_url=settings.anthropic_console_url,
        clock=clock,
    )


def _fits(key: wire.Key, value: str) -> bool:
    """Whether a hint such as `sk-ant-api03-R2D...igAA` is one of this value: what is told of it, and enough of it."""
    start, dots, end = (key.partial_key_hint or "").partition("...")
    return bool(dots) and len(end) >= 4 and value.startswith(start) and value.endswith(end)


def _seen(key: wire.Key) -> ProviderKey:
    hint = key.partial_key_hint
    return ProviderKey(
        handle=key.id,
        name=key.name,
        project=key.workspace,
        status=STATUSES.get(key.status, KeyStatus.ACTIVE),
        created_at=key.created_at,
        meter=key.id,
        fingerprint=f"…{hint[-4:]}" if hint else None,
    )
