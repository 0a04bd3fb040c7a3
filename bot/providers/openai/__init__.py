"""OpenAI: each key has a service account of its own, named with the key's marker.

The account's id is the handle: deleting the account kills its keys, whatever became of the mint. An account is made
bare, without OpenAI's default key, which would be wider than asked and never expire; then it joins the project, and
one key is made on it with the permission's scopes and an expiry. A crash in between leaves an account that bears the
marker, and at most one key whose value nobody knows.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, SecretStr

from bot.desk.errors import (
    NotOffered,
    OutcomeUnknown,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderTransient,
)
from bot.desk.model import Minted, Scope, Secret
from bot.desk.offer import (
    Ability,
    AppliedLimit,
    Enforcer,
    Invitation,
    KeyStatus,
    LimitKind,
    Permission,
    Probe,
    Project,
    ProviderKey,
    Usage,
)
from bot.desk.ports import Clock, Provider
from bot.providers.calls import CALL_SECONDS, Calls, duration
from bot.providers.openai import wire
from bot.providers.openai.people import People
from bot.providers.openai.projects import Projects, Terms
from bot.providers.openai.reports import Reports
from bot.providers.openai.wire import VENDOR, Page, Paths, Unknown, listed

NO_PROJECT = "proj_none"

# OpenAI reads an empty list of scopes as "all that the project allows".
SCOPES: Mapping[str, tuple[str, ...]] = {
    "read_only": ("api.all.read",),
    "embeddings": ("api.model.embeddings.request", "api.model.read"),
    "responses": ("api.responses.read", "api.responses.write", "api.model.read"),
    "chat": ("api.model.chat_completions.request", "api.model.read"),
    "models": ("api.model.request", "api.responses.read", "api.responses.write", "api.model.read"),
    "all": (),
}
PERMISSIONS = (
    Permission(id="read_only", label="Read only"),
    Permission(id="embeddings", label="Embeddings"),
    Permission(id="responses", label="Responses"),
    Permission(id="chat", label="Chat completions"),
    Permission(id="models", label="All model calls"),
    Permission(id="all", label="Everything in the project"),
)

Answer = TypeVar("Answer", bound=BaseModel)


class Settings(Protocol):
    """What the adapter needs of the settings."""

    @property
    def openai_admin_key(self) -> SecretStr | None: ...
    @property
    def openai_base_url(self) -> str: ...
    @property
    def openai_alert_emails(self) -> Sequence[str] | None: ...
    @property
    def openai_requests_per_minute(self) -> int | None: ...


class OpenAI(Provider):
    """The desk's `Provider` at OpenAI, or at whatever speaks OpenAI's admin API under `base_url`."""

    name = "openai"
    label = "OpenAI"
    abilities = frozenset(
        {
            Ability.MINT,
            Ability.LIST,
            Ability.REVOKE,
            Ability.MODELS,
            Ability.NEW_PROJECT,
            Ability.USAGE,
            Ability.INVITE,
        }
    )
    permissions: Sequence[Permission] = PERMISSIONS

    def __init__(
        self,
        *,
        admin_key: SecretStr,
        base_url: str,
        clock: Clock,
        terms: Terms = Terms(),  # noqa: B008  (frozen)
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._clock = clock
        self._calls = Calls(
            VENDOR, credential=admin_key, base_url=base_url, call_seconds=call_seconds, refused=wire.refused
        )
        self._paths = Paths(self._calls)
        self._projects = Projects(self._calls, self._paths, clock=clock, terms=terms)
        self._people = People(self._calls, self._paths)
        self._reports = Reports(self._calls, self._projects, clock=clock)
        self._keys_expire = True  # until a mint shows that they do not

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._calls.aclose()

    async def probe(self) -> Probe:
        """Lists the projects with the admin key, and tries whether it may make things, read usage, and see invitations."""
        try:
            found = await self._projects.all()
            lacks = [lack async for lack in self._lacks()]
        except ProviderError as error:
            return Probe(frozenset(), "", flaw=str(error))
        if not found:
            none = "OpenAI accepts the admin key, but shows no active project. Mend: create one there."
            return Probe(frozenset(), "", flaw=none)
        some = ", ".join(project.name for project in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        said = f"OpenAI accepts the admin key. Active projects: {some}{more}."
        if not lacks:
            return Probe(self.abilities, said)
        flaw = (
            f"OpenAI does not let the admin key {', '.join(what for what, _ in lacks)}. Mend: give it that permission."
        )
        return Probe(self.abilities.difference(*(missing for _, missing in lacks)), said, flaw)

    async def projects(self) -> Sequence[Project]:
        """The active projects; asked anew after a minute, and once for all who ask at the same time."""
        return await self._projects.active()

    async def models(self, *, project: str) -> Sequence[str]:
        """The models that the project allows, of those that OpenAI has for it."""
        return await self._projects.models(project)

    async def create_project(self, *, name: str, scope: Scope) -> Project:
        """The project of this name, or a new one with the scope's models as its allow-list and its budget as hard limit."""
        return await self._projects.create(name, scope)

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates a service account and one key on it that does no more than `scope`.

        Takes at most seven calls one after another. Where OpenAI cannot limit a key to the permission, no key is made.
        """
        scopes = SCOPES.get(scope.permission)
        if scopes is None:
            raise ProviderInvalid(f"OpenAI has no permission preset {scope.permission!r}.")
        try:
            account, key = await self._mint_on_bare_account(marker, scope.project, scopes, lifetime)
        except NotOffered:
            if scopes:
                raise ProviderInvalid("This OpenAI API cannot limit a key to a permission, so none was made.") from None
            # "Everything" is what the default key of an account may do.
            whole = await self._create(self._paths.accounts(scope.project), wire.AccountWithKey, name=marker)
            account, key = whole, whole.api_key
        self._keys_expire = key.expires_at is not None
        secret = Secret(key.value.get_secret_value())
        return Minted(handle=account.id, fingerprint=_fingerprint(secret.expose()), secret=secret, meter=key.id)

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The service accounts that bear the marker, with or without a key."""
        try:
            return [
                account.id
                async for account in listed(self._calls, self._paths.accounts(project), Page[wire.Account])
                if account.name == marker
            ]
        except ProviderInvalid:
            if (await self._projects.get(project)).archived:
                return []  # OpenAI: archived projects have no service accounts
            raise

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """The service account's key as it is now. An account that has none is there, and dead for good."""
        try:
            account = await self._calls.get(self._paths.account(project, handle), wire.Account)
        except ProviderNotFound:
            await self._projects.get(project)
            return None
        except ProviderInvalid:
            if (await self._projects.get(project)).archived:
                return None
            raise
        async for key in self._project_keys(project):
            if key.owner.service_account is not None and key.owner.service_account.id == handle:
                return self._seen(key, project)
        return ProviderKey(account.id, account.name, project, KeyStatus.GONE, _time(account.created_at))

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """The keys of service accounts and of people; a key of an account bears the account's name and handle."""
        for project in await self._projects.all():
            async for key in self._project_keys(project.id):
                yield self._seen(key, project.id)

    async def revoke(self, *, handle: str, project: str) -> None:
        """Deletes the service account, and thereby its keys; where OpenAI keeps the account, its keys one by one."""
        try:
            gone = await self._calls.call("DELETE", self._paths.account(project, handle), wire.Deleted)
        except ProviderNotFound:
            # A credential of another organization is told "not found" of everything; only one that sees the
            # project can say that the account is gone.
            await self._projects.get(project)
        except (ProviderInvalid, ProviderForbidden) as refusal:
            if not (await self._projects.get(project)).archived:
                await self._delete_keys(handle, project, refusal)
        else:
            if not gone.deleted or gone.id != handle:
                raise ProviderTransient("OpenAI did not confirm that the service account was deleted.")

    def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """Requests, tokens and costs by key, day and model; see `reports`."""
        return self._reports.usage(since, until)

    async def invite(self, *, email: str, project: str) -> Invitation:
        """As a reader of the organization and a member of the project."""
        return await self._people.invite(email, project)

    async def follow(self, *, invitation: Invitation, project: str) -> Invitation:
        """How far it is; who accepted is in the project now."""
        return await self._people.follow(invitation, project)

    async def withdraw(self, *, invitation: Invitation, project: str) -> None:
        """Takes the project out of the invitation, or the person out of the project; the organization keeps them."""
        await self._people.withdraw(invitation, project)

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """Expiry and permission bind the key; models and budget bind whole projects, where they have them."""
        expiry = f"expires after {duration(lifetime)}"
        return (
            AppliedLimit(LimitKind.EXPIRY, expiry, Enforcer.KEY, "The desk revokes it then, too.")
            if self._keys_expire
            else AppliedLimit(
                LimitKind.EXPIRY, expiry, Enforcer.DESK, "OpenAI does not let this key expire; the desk revokes it."
            ),
            AppliedLimit(
                LimitKind.PERMISSION,
                "everything in the project",
                Enforcer.PROJECT,
                "The project's models and rate limits apply.",
            )
            if scope.permission == "all"
            else AppliedLimit(LimitKind.PERMISSION, f"permission: {_label(scope.permission)}", Enforcer.KEY),
            *self._projects.limits(scope),
        )

    async def _lacks(self) -> AsyncIterator[tuple[str, frozenset[Ability]]]:
        """What the admin key may not do, in people's words, and the abilities that this takes away."""
        today = int(self._clock().timestamp())
        asked: tuple[tuple[str, frozenset[Ability], Callable[[], Awaitable[object]]], ...] = (
            (
                "make or change anything",
                self.abilities - {Ability.LIST, Ability.USAGE},
                # Nothing is there to be changed: who may not change anything hears that first.
                lambda: self._calls.call("POST", f"{self._paths.projects}/{NO_PROJECT}", wire.Project, body={}),
            ),
            ("read usage", frozenset({Ability.USAGE}), lambda: self._reports.look(today)),
            ("see invitations", frozenset({Ability.INVITE}), self._people.look),
        )
        for what, missing, asking in asked:
            try:
                await asking()
            except ProviderForbidden:
                yield what, missing
            except (ProviderNotFound, ProviderInvalid):
                pass

    async def _mint_on_bare_account(
        self, marker: str, project: str, scopes: Sequence[str], lifetime: timedelta
    ) -> tuple[wire.Account, wire.Key]:
        account = await self._create(
            self._paths.accounts(project), wire.Account, name=marker, create_service_account_only=True
        )
        try:
            # A bare account has the role "none", and its keys open nothing.
            await self._calls.call(
                "POST", self._paths.account(project, account.id), wire.Account, body={"role": "member"}
            )
            return account, await self._create_key(self._paths.account(project, account.id), marker, scopes, lifetime)
        except ProviderError:
            try:
                await self.revoke(handle=account.id, project=project)
            except ProviderError:
                raise OutcomeUnknown("OpenAI made half a key and did not take it back.") from None
            raise

    async def _create_key(self, account: str, marker: str, scopes: Sequence[str], lifetime: timedelta) -> wire.Key:
        path = f"{account}/api_keys"
        wanted: dict[str, Any] = {"name": marker, "scopes": list(scopes)} if scopes else {"name": marker}
        try:
            return await self._create(path, wire.Key, **wanted, expires_in_seconds=math.ceil(lifetime.total_seconds()))
        except ProviderNotFound:
            try:
                await self._calls.call("GET", account, wire.Account)
            except ProviderNotFound:
                # Found by its marker, and revoked, while its key was being made.
                raise ProviderTransient("The service account was deleted while its key was being made.") from None
            raise NotOffered("This OpenAI API makes no keys on service accounts.") from None
        except Unknown as missing:
            if missing.parameter != "expires_in_seconds":
                raise
        return await self._create(path, wire.Key, **wanted)

    def _project_keys(self, project: str) -> AsyncIterator[wire.ProjectKey]:
        return listed(self._calls, self._paths.keys(project), Page[wire.ProjectKey], owner_project_access="any")

    def _seen(self, key: wire.ProjectKey, project: str) -> ProviderKey:
        account, expires = key.owner.service_account, _time(key.expires_at)
        status = KeyStatus.ACTIVE if key.owner_project_access != "inactive" else KeyStatus.DISABLED
        return ProviderKey(
            handle=account.id if account else key.id,
            name=(account.name if account else key.name) or "",
            project=project,
            status=KeyStatus.GONE if expires is not None and expires <= self._clock() else status,
            created_at=_time(key.created_at),
            meter=key.id,
            fingerprint=_fingerprint(key.redacted_value),
        )

    async def _delete_keys(self, handle: str, project: str, refusal: ProviderError) -> None:
        """OpenAI's newest API deletes single keys of service accounts; its published description knows no such thing."""
        try:
            async for key in self._project_keys(project):
                if key.owner.service_account is not None and key.owner.service_account.id == handle:
                    await self._calls.call("DELETE", self._paths.key(project, key.id), wire.Deleted)
        except (ProviderNotFound, ProviderInvalid, ProviderForbidden):
            raise refusal from None

    async def _create(self, path: str, answer: type[Answer], **body: Any) -> Answer:
        """The one kind of call that must not be repeated blindly."""
        return await self._calls.call("POST", path, answer, body=body, unsure=OutcomeUnknown)


def from_settings(settings: Settings, clock: Clock) -> OpenAI | None:
    """The adapter that the settings describe; None where they hold no admin key."""
    if settings.openai_admin_key is None:
        return None
    return OpenAI(
        admin_key=settings.openai_admin_key,
        base_url=settings.openai_base_url,
        clock=clock,
        terms=Terms(alert=settings.openai_alert_emails or (), requests_per_minute=settings.openai_requests_per_minute),
    )


def _fingerprint(value: str) -> str:
    return f"…{value[-4:]}"


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _label(permission: str) -> str:
    return next((known.label for known in PERMISSIONS if known.id == permission), permission).lower()
