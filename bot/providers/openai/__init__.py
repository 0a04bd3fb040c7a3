"""OpenAI: each key has a service account of its own, named with the key's marker.

The account's id is the handle: deleting the account kills its keys, whatever became of the mint. An account is made
bare, without OpenAI's default key, which would be wider than asked and never expire; then it joins the project, and
one key is made on it with the permission's scopes and an expiry. A crash in between leaves an account that bears the
marker, and at most one key whose value nobody knows.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, SecretStr

from bot.desk.errors import (
    NotOffered,
    OutcomeUnknown,
    ProviderError,
    ProviderInvalid,
    ProviderNotFound,
    ProviderTransient,
)
from bot.desk.model import Minted, Scope, Secret
from bot.desk.offer import Ability, AppliedLimit, Enforcer, LimitKind, Permission, Probe, Project
from bot.desk.ports import Clock, Provider
from bot.providers.calls import CALL_SECONDS, Calls, Fresh, duration, money
from bot.providers.openai import wire
from bot.providers.openai.wire import VENDOR, Page, Paths, Unknown, listed

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


class OpenAI(Provider):
    """The desk's `Provider` at OpenAI, or at whatever speaks OpenAI's admin API under `base_url`."""

    name = "openai"
    label = "OpenAI"
    abilities = frozenset({Ability.MINT, Ability.REVOKE})
    permissions: Sequence[Permission] = PERMISSIONS

    def __init__(
        self, *, admin_key: SecretStr, base_url: str, clock: Clock, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._calls = Calls(
            VENDOR, credential=admin_key, base_url=base_url, call_seconds=call_seconds, refused=wire.refused
        )
        self._paths = Paths(self._calls)
        self._listed = Fresh(clock, self._active_projects)
        self._keys_expire = True  # until a mint shows that they do not

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._calls.aclose()

    async def projects(self) -> Sequence[Project]:
        """The active projects; asked anew after a minute, and once for all who ask at the same time."""
        return await self._listed.get()

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
        return Minted(handle=account.id, fingerprint=f"…{secret.expose()[-4:]}", secret=secret)

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The service accounts that bear the marker, with or without a key."""
        try:
            return [
                account.id
                async for account in listed(self._calls, self._paths.accounts(project), Page[wire.Account])
                if account.name == marker
            ]
        except ProviderInvalid:
            if (await self._project(project)).archived:
                return []  # OpenAI: archived projects have no service accounts
            raise

    async def revoke(self, *, handle: str, project: str) -> None:
        """Deletes the service account, and thereby its keys."""
        try:
            gone = await self._calls.call("DELETE", self._paths.account(project, handle), wire.Deleted)
        except ProviderNotFound:
            # A credential of another organization is told "not found" of everything; only one that sees the
            # project can say that the account is gone.
            await self._project(project)
        except ProviderInvalid:
            if not (await self._project(project)).archived:
                raise
        else:
            if not gone.deleted or gone.id != handle:
                raise ProviderTransient("OpenAI did not confirm that the service account was deleted.")

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """Expiry and permission bind the key; its budget binds nobody, as OpenAI caps whole projects only."""
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
            AppliedLimit(
                LimitKind.BUDGET,
                f"{money(scope.monthly_budget_cents)} a month",
                Enforcer.NOBODY,
                "OpenAI caps the spending of whole projects only.",
            ),
        )

    async def probe(self) -> Probe:
        """Lists the projects with the admin key."""
        try:
            found = await self._active_projects()
        except ProviderError as error:
            return Probe(frozenset(), "", flaw=str(error))
        if not found:
            flaw = "OpenAI accepts the admin key, but shows no active project. Mend: create one there."
            return Probe(frozenset(), "", flaw=flaw)
        some = ", ".join(project.name for project in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return Probe(self.abilities, f"OpenAI accepts the admin key. Active projects: {some}{more}.")

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

    async def _active_projects(self) -> Sequence[Project]:
        return [
            Project(id=project.id, name=project.name or project.id)
            async for project in listed(self._calls, self._paths.projects, Page[wire.Project])
            if not project.archived
        ]

    async def _project(self, project: str) -> wire.Project:
        return await self._calls.call("GET", self._paths.project(project), wire.Project)

    async def _create(self, path: str, answer: type[Answer], **body: Any) -> Answer:
        """The one kind of call that must not be repeated blindly."""
        return await self._calls.call("POST", path, answer, body=body, unsure=OutcomeUnknown)


def from_settings(settings: Settings, clock: Clock) -> OpenAI | None:
    """The adapter that the settings describe; None where they hold no admin key."""
    if settings.openai_admin_key is None:
        return None
    return OpenAI(admin_key=settings.openai_admin_key, base_url=settings.openai_base_url, clock=clock)


def _label(permission: str) -> str:
    return next((known.label for known in PERMISSIONS if known.id == permission), permission).lower()
