"""OpenRouter: a key has its budget and its expiry on itself, and its models by a guardrail that it is bound to.

The hash of a key's value is its handle. A guardrail is made once for a list of models, named after the list, and shared
by all keys that are held to it. A crash between the making of a key and its binding leaves a key that bears the marker,
and whose value nobody knows. Projects are OpenRouter's workspaces.
"""

import hashlib
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from pydantic import SecretStr

from bot.desk.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderInvalid,
    ProviderNotFound,
    ProviderTransient,
)
from bot.desk.model import Minted, Scope, Secret
from bot.desk.offer import (
    Ability,
    AppliedLimit,
    Basis,
    Enforcer,
    KeyStatus,
    LimitKind,
    Permission,
    Probe,
    Project,
    ProviderKey,
    Usage,
)
from bot.desk.ports import Clock, Provider
from bot.providers.calls import CALL_SECONDS, Calls, Fresh, duration, money
from bot.providers.openrouter import wire

PAGE = 100  # the most that OpenRouter gives of workspaces and guardrails; of keys it gives as many unasked
PERMISSIONS = (
    Permission(id="embeddings", label="Embeddings only"),
    Permission(id="all", label="All models"),
)
MICROS = 1_000_000


class Settings(Protocol):
    """What the adapter needs of the settings."""

    @property
    def openrouter_management_key(self) -> SecretStr | None: ...
    @property
    def openrouter_base_url(self) -> str: ...


class OpenRouter(Provider):
    """The desk's `Provider` at OpenRouter."""

    name = "openrouter"
    label = "OpenRouter"
    abilities = frozenset({Ability.MINT, Ability.LIST, Ability.REVOKE, Ability.DISABLE, Ability.MODELS, Ability.USAGE})
    permissions: Sequence[Permission] = PERMISSIONS

    def __init__(
        self, *, management_key: SecretStr, base_url: str, clock: Clock, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._clock = clock
        self._calls = Calls(
            wire.VENDOR, credential=management_key, base_url=base_url, call_seconds=call_seconds, refused=wire.refused
        )
        self._workspaces = Fresh(clock, self._all_workspaces)
        self._catalogue = Fresh(clock, self._all_models)

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._calls.aclose()

    async def probe(self) -> Probe:
        """Asks what the key is, which workspaces it sees, and whether there is credit for keys to spend."""
        try:
            own = (await self._calls.get("/key", wire.OwnAnswer)).data
            if not own.is_management_key:
                flaw = (
                    f"OpenRouter accepts the key, but it is no management key. Mend: set {wire.VENDOR.setting} to one."
                )
                return Probe(frozenset(), "", flaw=flaw)
            found = await self._all_workspaces()
            purse = (await self._calls.get("/credits", wire.CreditsAnswer)).data
        except ProviderError as error:
            return Probe(frozenset(), "", flaw=str(error))
        some = ", ".join(project.name for project in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        said = f"OpenRouter accepts the management key. Workspaces: {some}{more}."
        left = purse.total_credits - purse.total_usage
        if left > 0:
            return Probe(self.abilities, f"{said} Credit left: ${left:,.2f}.")
        return Probe(
            self.abilities, said, flaw="OpenRouter has no credit left: its keys open nothing. Mend: add credit."
        )

    async def projects(self) -> Sequence[Project]:
        """The workspaces; asked anew after a minute, and once for all who ask at the same time."""
        return await self._workspaces.get()

    async def models(self, *, project: str) -> Sequence[str]:
        """Every model that the organisation may use, in whatever workspace."""
        return [model.id for model in await self._catalogue.get()]

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates one key with the budget and the expiry on it, and binds it to a guardrail where models are limited.

        What OpenRouter did not hold the key to as asked is taken back.
        """
        allowed = await self._allowed(scope)
        guardrail = None if allowed is None else await self._guardrail(scope.project, allowed)
        limit = scope.monthly_budget_cents / 100
        expires_at = datetime.fromtimestamp(math.ceil((self._clock() + lifetime).timestamp()), UTC)
        body = {
            "name": marker,
            "workspace_id": scope.project,
            "limit": limit,
            "limit_reset": "monthly",
            "include_byok_in_limit": True,  # what the organisation's own provider keys cost is spent, too
            "expires_at": _iso(expires_at),
        }
        made = await self._calls.call("POST", "/keys", wire.Created, body=body, unsure=OutcomeUnknown)
        key = made.data
        try:
            if (key.limit, key.limit_reset, key.expires_at, key.workspace_id) != (
                limit,
                "monthly",
                expires_at,
                scope.project,
            ):
                raise ProviderInvalid("OpenRouter did not hold the key to what was asked, so it was taken back.")
            if guardrail is not None:
                await self._bind(key.hash, guardrail)
        except ProviderError:
            try:
                await self.revoke(handle=key.hash, project=scope.project)
            except ProviderError:
                raise OutcomeUnknown("OpenRouter made half a key and did not take it back.") from None
            raise
        secret = Secret(made.key.get_secret_value())
        # Past use is told under a key's name, which is the marker, and of deleted keys, too.
        return Minted(handle=key.hash, fingerprint=f"…{secret.expose()[-4:]}", secret=secret, meter=marker)

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The workspace's keys with this name, disabled and expired ones included."""
        return [key.hash async for page in self._keys(project) for key in page if key.name == marker]

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """The key, as long as it was not deleted."""
        try:
            return self._told((await self._calls.get(self._path(handle), wire.KeyAnswer)).data)
        except ProviderNotFound:
            return None

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """The keys of every workspace, a hundred a call."""
        for project in await self._all_workspaces():
            async for page in self._keys(project.id):
                for key in page:
                    yield self._told(key)

    async def revoke(self, *, handle: str, project: str) -> None:
        """Deletes the key."""
        try:
            gone = await self._calls.call("DELETE", self._path(handle), wire.Deleted)
        except ProviderNotFound:
            # A management key of another organisation is told "not found" of everything; only one that sees the
            # workspace can say that the key is gone.
            await self._calls.get(f"/workspaces/{self._calls.checked(project)}", wire.WorkspaceAnswer)
        else:
            if not gone.deleted:
                raise ProviderTransient("OpenRouter did not confirm that the key was deleted.")

    async def disable(self, *, handle: str, project: str) -> None:
        """Switches the key off."""
        await self._switch(handle, off=True)

    async def enable(self, *, handle: str, project: str) -> None:
        """Switches the key on."""
        await self._switch(handle, off=False)

    async def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """By day, key and model; what is too long for one answer is asked for by workspace, and then by a hundred keys."""
        for number in range((until - since).days + 1):
            async for rows in self._used_on(since + timedelta(days=number)):
                yield rows

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """All of them bind the key itself."""
        limits = [
            AppliedLimit(
                LimitKind.EXPIRY,
                f"expires after {duration(lifetime)}",
                Enforcer.KEY,
                "OpenRouter lets nobody move it; the desk revokes the key then, too.",
            )
        ]
        if scope.permission == "embeddings":
            limits.append(AppliedLimit(LimitKind.PERMISSION, "embeddings only", Enforcer.KEY))
        if scope.models:
            limits.append(AppliedLimit(LimitKind.MODELS, f"only {', '.join(scope.models)}", Enforcer.KEY))
        budget = f"{money(scope.monthly_budget_cents)} a month"
        note = "Begins anew on the first, in UTC. The last request may go over it."
        return (*limits, AppliedLimit(LimitKind.BUDGET, budget, Enforcer.KEY, note))

    # Models

    async def _allowed(self, scope: Scope) -> frozenset[str] | None:
        """The lasting names of the models that the scope is limited to; None where it is not."""
        if scope.permission not in {permission.id for permission in PERMISSIONS}:
            raise ProviderInvalid(f"OpenRouter has no permission preset {scope.permission!r}.")
        if scope.permission == "all" and not scope.models:
            return None
        known = {model.id: model for model in await self._catalogue.get()}
        for name in scope.models:
            if name not in known:
                raise ProviderInvalid(f"OpenRouter has no model {name!r}.")
            if scope.permission == "embeddings" and not known[name].embeds:
                raise ProviderInvalid(f"OpenRouter's model {name!r} makes no embeddings.")
        wanted = scope.models or tuple(name for name, model in known.items() if model.embeds)
        if not wanted:
            raise ProviderInvalid("OpenRouter offers this organisation no model for embeddings.")
        return frozenset(known[name].canonical_slug for name in wanted)

    async def _guardrail(self, project: str, allowed: Collection[str]) -> str:
        """The workspace's guardrail that allows these models and no others."""
        slugs = sorted(allowed)
        name = f"keydesk-models-{hashlib.sha256(' '.join(slugs).encode()).hexdigest()[:16]}"
        offset = 0
        while True:
            page = await self._calls.get(
                "/guardrails", wire.Guardrails, workspace_id=project, limit=PAGE, offset=offset
            )
            for found in page.data:
                # One that somebody changed is no longer what its name says.
                if found.name == name and sorted(found.allowed_models or ()) == slugs:
                    return found.id
            offset += len(page.data)
            if not page.data or offset >= page.total_count:
                break
        body = {"name": name, "workspace_id": project, "allowed_models": slugs, "description": "Made by Keydesk."}
        made = (await self._calls.call("POST", "/guardrails", wire.GuardrailAnswer, body=body)).data
        if sorted(made.allowed_models or ()) != slugs:
            raise ProviderInvalid("OpenRouter did not take the list of models as it was.")
        return made.id

    async def _bind(self, handle: str, guardrail: str) -> None:
        path = f"/guardrails/{self._calls.checked(guardrail)}/assignments/keys"
        bound = await self._calls.call("POST", path, wire.Assigned, body={"key_hashes": [handle]})
        if bound.assigned_count != 1:
            raise ProviderTransient("OpenRouter did not confirm that the key is held to its models.")

    async def _all_models(self) -> Sequence[wire.Model]:
        listed = [*(await self._calls.get("/models/user", wire.Models)).data]
        listed += (await self._calls.get("/embeddings/models", wire.Models)).data
        return list({model.id: model for model in listed}.values())

    # Keys and workspaces

    async def _all_workspaces(self) -> Sequence[Project]:
        found: list[Project] = []
        while True:
            page = await self._calls.get("/workspaces", wire.Workspaces, limit=PAGE, offset=len(found))
            found += [Project(id=it.id, name=it.name) for it in page.data]
            if not page.data or len(found) >= page.total_count:
                return found

    async def _keys(self, project: str) -> AsyncIterator[Sequence[wire.Key]]:
        offset = 0
        before: Sequence[wire.Key] = ()
        while True:
            asked = {"workspace_id": project, "include_disabled": "true", "include_expired": "true"}
            page = (await self._calls.get("/keys", wire.Keys, **asked, offset=offset)).data
            if page and page == before:
                raise ProviderTransient("OpenRouter's list does not end.")
            if not page:
                return
            yield page
            before = page
            offset += len(page)

    async def _switch(self, handle: str, *, off: bool) -> None:
        key = (await self._calls.call("PATCH", self._path(handle), wire.KeyAnswer, body={"disabled": off})).data
        if key.disabled is not off:
            raise ProviderTransient("OpenRouter did not confirm that the key was switched.")

    def _path(self, handle: str) -> str:
        return f"/keys/{self._calls.checked(handle)}"

    def _told(self, key: wire.Key) -> ProviderKey:
        status = KeyStatus.DISABLED if key.disabled else KeyStatus.ACTIVE
        if key.expires_at is not None and key.expires_at <= self._clock():
            status = KeyStatus.GONE
        return ProviderKey(
            handle=key.hash,
            name=key.name,
            project=key.workspace_id,
            status=status,
            created_at=key.created_at,
            meter=key.name,
        )

    # Usage

    async def _used_on(self, day: date) -> AsyncIterator[Sequence[Usage]]:
        rows = await self._query(day)
        if not rows.metadata.truncated:
            yield self._usages(rows)
            return
        for project in await self._all_workspaces():
            rows = await self._query(day, _filter("workspace", project.id))
            if not rows.metadata.truncated:
                yield self._usages(rows)
                continue
            async for page in self._keys(project.id):
                some = [_filter("workspace", project.id), _filter("api_key_id", [key.hash for key in page])]
                rows = await self._query(day, *some)
                if rows.metadata.truncated:
                    raise ProviderTransient("OpenRouter's report of a hundred keys is cut off.")
                yield self._usages(rows)

    async def _query(self, day: date, *filters: Mapping[str, Any]) -> wire.Rows:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        body = {
            "metrics": ["request_count", "total_usage", "tokens_prompt", "tokens_completion"],
            "dimensions": ["api_key_id", "model"],
            "granularity": "day",
            "time_range": {"start": _iso(start), "end": _iso(start + timedelta(days=1))},
            "filters": list(filters),
        }
        return (await self._calls.call("POST", "/analytics/query", wire.RowsAnswer, body=body)).data

    def _usages(self, rows: wire.Rows) -> Sequence[Usage]:
        now = self._clock()
        return [
            Usage(
                meter=row.api_key_id or "",
                day=row.date__day.date(),
                model=row.model or "",
                requests=row.request_count,
                tokens_in=row.tokens_prompt,
                tokens_out=row.tokens_completion,
                cost_micros=round(row.total_usage * MICROS),
                basis=Basis.BILLED if row.date__day.date() < now.date() else Basis.ESTIMATED,
                as_of=now,
            )
            for row in rows.data
        ]


def from_settings(settings: Settings, clock: Clock) -> OpenRouter | None:
    """The adapter that the settings describe; None where they hold no management key."""
    if settings.openrouter_management_key is None:
        return None
    return OpenRouter(
        management_key=settings.openrouter_management_key, base_url=settings.openrouter_base_url, clock=clock
    )


def _filter(field: str, value: str | Sequence[str]) -> Mapping[str, Any]:
    return {"field": field, "operator": "eq" if isinstance(value, str) else "in", "value": value}


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
