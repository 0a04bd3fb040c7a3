"""OpenAI: each key has a service account of its own, named with the key's marker.

The account's id is the handle: deleting the account kills its keys, whatever became of the mint. An account is made
bare, without OpenAI's default key, which would be wider than asked and never expire; then it joins the project, and
one key is made on it with the permission's scopes and an expiry. A crash in between leaves an account that bears the
marker, and at most one key whose value nobody knows.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from bot.desk.errors import (
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.model import Minted, Scope, Secret
from bot.desk.offer import Ability, AppliedLimit, Enforcer, LimitKind, Permission, Probe, Project
from bot.desk.ports import Clock, Provider

CALL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
PROJECTS_FRESH = timedelta(seconds=60)
PAGE = 100  # the most that OpenAI gives
RETRY_AFTER_DEFAULT, RETRY_AFTER_MOST = 30.0, 3600.0

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

_ID = re.compile(r"[A-Za-z0-9_-]+")
_CODE = re.compile(r"[a-z_]{1,60}")

Answer = TypeVar("Answer", bound=BaseModel)
Item = TypeVar("Item", bound="_Identified")


class Settings(Protocol):
    """What the adapter needs of the settings."""

    @property
    def openai_admin_key(self) -> SecretStr | None: ...
    @property
    def openai_base_url(self) -> str: ...


class _Read(BaseModel):
    """Something that OpenAI answers. Fields that the desk does not need are not read."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class _Identified(_Read):
    id: str = Field(pattern=_ID)


class _Page(_Read, Generic[Item]):
    data: list[Item]
    has_more: bool
    last_id: str | None = None


class _Project(_Identified):
    name: str | None = None
    status: str | None = None
    archived_at: int | None = None

    @property
    def archived(self) -> bool:
        return self.status == "archived" or self.archived_at is not None


class _Account(_Identified):
    name: str


class _Key(_Read):
    value: SecretStr = Field(min_length=20)
    expires_at: int | None = None


class _AccountWithKey(_Account):
    api_key: _Key


class _Deleted(_Identified):
    deleted: bool


class _Error(_Read):
    code: str | None = None
    param: str | None = None


class _ErrorAnswer(_Read):
    error: _Error


class _NotOffered(ProviderInvalid):
    """This API is older than what was asked of it. `parameter` is the one it does not know, if it named one."""

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class OpenAI(Provider):
    """The desk's `Provider` at OpenAI, or at whatever speaks OpenAI's admin API under `base_url`."""

    name = "openai"
    label = "OpenAI"
    abilities = frozenset({Ability.MINT, Ability.REVOKE})
    permissions: Sequence[Permission] = PERMISSIONS

    def __init__(
        self, *, admin_key: SecretStr, base_url: str, clock: Clock, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._admin_key = admin_key
        self._clock = clock
        self._call_seconds = call_seconds
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(call_seconds, connect=min(CONNECT_SECONDS, call_seconds)),
        )
        self._listing = asyncio.Lock()
        self._listed: tuple[datetime, Sequence[Project]] | None = None
        self._keys_expire = True  # until a mint shows that they do not

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._client.aclose()

    async def projects(self) -> Sequence[Project]:
        """The active projects; asked anew after a minute, and once for all who ask at the same time."""
        async with self._listing:
            now = self._clock()
            if self._listed is None or now - self._listed[0] >= PROJECTS_FRESH:
                self._listed = now, await self._active_projects()
            return self._listed[1]

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates a service account and one key on it that does no more than `scope`.

        Takes at most seven calls one after another. Where OpenAI cannot limit a key to the permission, no key is made.
        """
        scopes = SCOPES.get(scope.permission)
        if scopes is None:
            raise ProviderInvalid(f"OpenAI has no permission preset {scope.permission!r}.")
        try:
            account, key = await self._mint_on_bare_account(marker, scope.project, scopes, lifetime)
        except _NotOffered:
            if scopes:
                raise ProviderInvalid("This OpenAI API cannot limit a key to a permission, so none was made.") from None
            # "Everything" is what the default key of an account may do.
            whole = await self._create(_accounts(scope.project), _AccountWithKey, name=marker)
            account, key = whole, whole.api_key
        self._keys_expire = key.expires_at is not None
        secret = Secret(key.value.get_secret_value())
        return Minted(handle=account.id, fingerprint=f"…{secret.expose()[-4:]}", secret=secret)

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The service accounts that bear the marker, with or without a key."""
        try:
            return [
                account.id async for account in self._all(_accounts(project), _Page[_Account]) if account.name == marker
            ]
        except ProviderInvalid:
            if (await self._project(project)).archived:
                return []  # OpenAI: archived projects have no service accounts
            raise

    async def revoke(self, *, handle: str, project: str) -> None:
        """Deletes the service account, and thereby its keys."""
        try:
            gone = await self._call("DELETE", _account(project, handle), _Deleted)
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
        expiry = f"expires after {_duration(lifetime)}"
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
                f"{_money(scope.monthly_budget_cents)} a month",
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
    ) -> tuple[_Account, _Key]:
        account = await self._create(_accounts(project), _Account, name=marker, create_service_account_only=True)
        try:
            # A bare account has the role "none", and its keys open nothing.
            await self._call("POST", _account(project, account.id), _Account, body={"role": "member"})
            return account, await self._create_key(_account(project, account.id), marker, scopes, lifetime)
        except ProviderError:
            try:
                await self.revoke(handle=account.id, project=project)
            except ProviderError:
                raise OutcomeUnknown("OpenAI made half a key and did not take it back.") from None
            raise

    async def _create_key(self, account: str, marker: str, scopes: Sequence[str], lifetime: timedelta) -> _Key:
        path = f"{account}/api_keys"
        wanted: dict[str, Any] = {"name": marker, "scopes": list(scopes)} if scopes else {"name": marker}
        try:
            return await self._create(path, _Key, **wanted, expires_in_seconds=math.ceil(lifetime.total_seconds()))
        except ProviderNotFound:
            try:
                await self._call("GET", account, _Account)
            except ProviderNotFound:
                # Found by its marker, and revoked, while its key was being made.
                raise ProviderTransient("The service account was deleted while its key was being made.") from None
            raise _NotOffered("This OpenAI API makes no keys on service accounts.") from None
        except _NotOffered as missing:
            if missing.parameter != "expires_in_seconds":
                raise
        return await self._create(path, _Key, **wanted)

    async def _active_projects(self) -> Sequence[Project]:
        return [
            Project(id=project.id, name=project.name or project.id)
            async for project in self._all("/organization/projects", _Page[_Project])
            if not project.archived
        ]

    async def _project(self, project: str) -> _Project:
        return await self._call("GET", _within(project), _Project)

    async def _all(self, path: str, page_type: type[_Page[Item]]) -> AsyncIterator[Item]:
        after: dict[str, str] = {}
        while True:
            page = await self._call("GET", path, page_type, params={"limit": str(PAGE), **after})
            for item in page.data:
                yield item
            if not page.has_more:
                return
            last = page.last_id or (page.data[-1].id if page.data else None)
            if last is None or last == after.get("after"):
                raise ProviderTransient("OpenAI's list does not end.")
            after = {"after": last}

    async def _create(self, path: str, answer: type[Answer], **body: Any) -> Answer:
        """The one kind of call that must not be repeated blindly."""
        return await self._call("POST", path, answer, body=body, unsure=OutcomeUnknown)

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        unsure: type[ProviderError] = ProviderTransient,
    ) -> Answer:
        """One call, never repeated. Raises `unsure` when OpenAI may or may not have done what was asked."""
        key = self._admin_key.get_secret_value()
        if not (key.isascii() and key.isprintable()) or not key.strip():
            raise ProviderAuth("The OpenAI admin key is missing or damaged. Mend: set OPENAI_ADMIN_KEY.")
        try:
            async with asyncio.timeout(self._call_seconds):  # httpx's own limit starts anew with every byte
                response = await self._client.request(
                    method, path, json=body, params=params, headers={"Authorization": f"Bearer {key}"}
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise ProviderTransient("OpenAI cannot be reached.") from None
        except (httpx.RequestError, TimeoutError):
            raise unsure("OpenAI did not answer in time, or the connection broke.") from None
        if not response.is_success:
            raise _refusal(response, unsure)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            pass  # raised from here, the error would hold on to the answer, and so to a key's value
        raise unsure("OpenAI's answer could not be read.")


def from_settings(settings: Settings, clock: Clock) -> OpenAI | None:
    """The adapter that the settings describe; None where they hold no admin key."""
    if settings.openai_admin_key is None:
        return None
    return OpenAI(admin_key=settings.openai_admin_key, base_url=settings.openai_base_url, clock=clock)


def _refusal(response: httpx.Response, unsure: type[ProviderError]) -> ProviderError:
    status = response.status_code
    code, parameter = _error_code(response)
    said = ", ".join([str(status), *(word for word in (code, parameter) if word)])
    if status == 401:
        return ProviderAuth(f"OpenAI does not accept the admin key ({said}). Mend: check OPENAI_ADMIN_KEY.")
    if status == 403:
        return ProviderForbidden(f"OpenAI does not let the admin key do this ({said}).")
    if status == 404:
        return ProviderNotFound(f"OpenAI has no such thing ({said}).")
    if status == 429:
        return ProviderRateLimited("OpenAI was asked too often.", retry_after=_retry_after(response))
    if status == 408 or status >= 500:
        return unsure(f"OpenAI failed ({said}).")
    if status == 409:
        return ProviderTransient(f"OpenAI is busy with the same thing ({said}).")
    if code == "unknown_parameter":
        return _NotOffered(f"OpenAI does not know a parameter ({said}).", parameter=parameter)
    return ProviderInvalid(f"OpenAI does not accept this ({said}).")


def _error_code(response: httpx.Response) -> tuple[str | None, str | None]:
    """The error's code and parameter, where they are plain words. Its message may quote what was sent."""
    try:
        error = _ErrorAnswer.model_validate_json(response.content).error
    except ValidationError:
        return None, None
    plain = (word if word and _CODE.fullmatch(word) else None for word in (error.code, error.param))
    return next(plain), next(plain)


def _retry_after(response: httpx.Response) -> float:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return RETRY_AFTER_DEFAULT
    return min(max(seconds, 0.0), RETRY_AFTER_MOST) if math.isfinite(seconds) else RETRY_AFTER_DEFAULT


def _within(project: str) -> str:
    return f"/organization/projects/{_checked(project)}"


def _accounts(project: str) -> str:
    return f"{_within(project)}/service_accounts"


def _account(project: str, handle: str) -> str:
    return f"{_accounts(project)}/{_checked(handle)}"


def _checked(identifier: str) -> str:
    """Ids become parts of paths: one with a slash or dots would name something else."""
    if not _ID.fullmatch(identifier):
        raise ProviderNotFound("OpenAI has no such id.")
    return identifier


def _label(permission: str) -> str:
    return next((known.label for known in PERMISSIONS if known.id == permission), permission).lower()


def _money(cents: int) -> str:
    return f"${cents // 100:,}" if cents % 100 == 0 else f"${cents / 100:,.2f}"


def _duration(span: timedelta) -> str:
    minutes = math.ceil(span.total_seconds() / 60)
    for unit, length in (("day", 24 * 60), ("hour", 60), ("minute", 1)):
        if minutes % length == 0:
            count = minutes // length
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError("every number of minutes is a number of minutes")
