"""A LiteLLM proxy: a key has models, budget, expiry and routes on itself; the desk chooses its value and its alias.

The hash of the value is the handle. The alias is the marker, and no two keys have the same: so a mint whose answer was
lost is asked for once more, with the same alias and the same value, and makes one key whatever became of the first
time. No value of a key is ever in a query, where logs would keep it. Projects are LiteLLM's teams.
"""

import hashlib
import math
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

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
    Environment,
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
from bot.providers.litellm import wire

NO_TEAM = Project(id="no-team", name="No team")
MONTH = "1mo"  # LiteLLM begins it anew on the first, at midnight UTC unless the proxy is told otherwise
KEYS_PAGE, ACTIVITY_PAGE = 100, 1000  # the most that LiteLLM gives
MICROS = 1_000_000

_MODEL_ROUTES = ("/models", "/v1/models")
ROUTES: Mapping[str, tuple[str, ...]] = {
    "embeddings": ("/embeddings", "/v1/embeddings", *_MODEL_ROUTES),
    "responses": ("/responses", "/v1/responses", "/responses/*", "/v1/responses/*", *_MODEL_ROUTES),
    "chat": ("/chat/completions", "/v1/chat/completions", *_MODEL_ROUTES),
    "all": ("llm_api_routes",),  # every route to a model, none that manages the proxy
}
PERMISSIONS = (
    Permission(id="embeddings", label="Embeddings only"),
    Permission(id="responses", label="Responses"),
    Permission(id="chat", label="Chat completions"),
    Permission(id="all", label="All model calls"),
)


class Settings(Protocol):
    """What the adapter needs of the settings."""

    @property
    def litellm_master_key(self) -> SecretStr | None: ...
    @property
    def litellm_base_url(self) -> str | None: ...


class LiteLLM(Provider):
    """The desk's `Provider` at a LiteLLM proxy."""

    name = "litellm"
    label = "LiteLLM"
    abilities = frozenset(Ability) - {Ability.INVITE}
    permissions: Sequence[Permission] = PERMISSIONS

    def __init__(
        self, *, master_key: SecretStr, base_url: str, clock: Clock, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._clock = clock
        self._base_url = base_url
        self._calls = Calls(
            wire.VENDOR, credential=master_key, base_url=base_url, call_seconds=call_seconds, refused=wire.refused
        )
        self._teams = Fresh(clock, self._all_teams)
        self._routed = Fresh(clock, self._all_models)

    async def aclose(self) -> None:
        """Closes the pooled connections."""
        await self._calls.aclose()

    async def probe(self) -> Probe:
        """Asks whether the proxy has a database, without which it makes no keys, and which teams the key sees."""
        try:
            ready = await self._calls.get("/health/readiness", wire.Readiness)
            if ready.db != "connected":
                flaw = (
                    "LiteLLM runs without a database, so that it makes no keys. Mend: set DATABASE_URL for the proxy."
                )
                return Probe(frozenset(), "", flaw=flaw)
            found = await self._all_teams()
            await self._page_of_keys(1)
        except ProviderError as error:
            return Probe(frozenset(), "", flaw=str(error))
        some = ", ".join(team.team_alias or team.team_id for team in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return Probe(self.abilities, f"LiteLLM accepts the master key. Teams: {some or 'none'}{more}.")

    def environment(self, project: str) -> Environment:
        """As LiteLLM's library calls it for models of a proxy. docs.litellm.ai/docs/providers/litellm_proxy"""
        return Environment("LITELLM_PROXY_API_KEY", (("LITELLM_PROXY_API_BASE", self._base_url),))

    async def projects(self) -> Sequence[Project]:
        """The teams, and at the end "no team"; asked anew after a minute, and once for all who ask at the same time."""
        return [*(_project(team) for team in await self._teams.get()), NO_TEAM]

    async def models(self, *, project: str) -> Sequence[str]:
        """Every model that the proxy routes and the team may use."""
        routed = await self._routed.get()
        team = next((it for it in await self._teams.get() if it.team_id == project), None)
        if team is None or not team.models or "all-proxy-models" in team.models:
            return routed
        return [model for model in routed if model in team.models]

    async def create_project(self, *, name: str, scope: Scope) -> Project:
        """A team of this name, with the scope's models, and its budget for each month."""
        team = await self._team_named(name)
        if team is None:
            body = {
                # The same name gives the same id, so that two who ask at once make one team.
                "team_id": f"keydesk-{hashlib.sha256(name.encode()).hexdigest()[:16]}",
                "team_alias": name,
                "models": list(scope.models),
                "max_budget": scope.monthly_budget_cents / 100,
                "budget_duration": MONTH,
            }
            try:
                team = await self._calls.call("POST", "/team/new", wire.Team, body=body)
            except ProviderInvalid:
                team = await self._team_named(name)
                if team is None:
                    raise
            self._teams.forget()
        if set(team.models) != set(scope.models) or team.max_budget != scope.monthly_budget_cents / 100:
            raise ProviderInvalid(f"LiteLLM has a team {name!r} with other limits. Ask for a key in it instead.")
        return _project(team)

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates one key. When the answer is lost, the same is asked for once more, and makes no second key."""
        routes = ROUTES.get(scope.permission)
        if routes is None:
            raise ProviderInvalid(f"LiteLLM has no permission preset {scope.permission!r}.")
        value = f"sk-{secrets.token_urlsafe(32)}"
        body = {
            "key_alias": marker,
            "models": list(scope.models),
            "allowed_routes": list(routes),
            "duration": f"{math.ceil(lifetime.total_seconds())}s",
            "max_budget": scope.monthly_budget_cents / 100,
            "budget_duration": MONTH,
        }
        if scope.project != NO_TEAM.id:
            body["team_id"] = scope.project
        try:
            key = await self._made_once(marker, value, body)
        except wire.ValuesNotChosen:
            made = await self._calls.call("POST", "/key/generate", wire.NewKey, body=body, unsure=OutcomeUnknown)
            key, value = made, made.key.get_secret_value()
        await self._hold_to(key, scope, routes)
        secret = Secret(value)
        return Minted(handle=key.token, fingerprint=f"…{value[-4:]}", secret=secret)

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """The key with this alias; it is the only one."""
        return [key.token for key in await self._with_alias(marker)]

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """The key, as long as it was not deleted."""
        try:
            page = await self._page_of_keys(1, key_hash=_hash(handle))
        except ProviderNotFound:
            return None
        return next((self._told(key) for key in page.keys if key.token == handle), None)

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """Every key of the proxy, a hundred a call."""
        number = 1
        while True:
            page = await self._page_of_keys(number)
            for key in page.keys:
                yield self._told(key)
            if not page.keys or number >= (page.total_pages or 0):
                return
            number += 1

    async def revoke(self, *, handle: str, project: str) -> None:
        """Deletes the key. Other replicas of the proxy may hold it in memory for up to a minute."""
        try:
            gone = await self._calls.call("POST", "/key/delete", wire.Deleted, body={"keys": [_hash(handle)]})
        except ProviderNotFound:
            # Another proxy knows none of the keys of this one; only one that has the team can say that the key is gone.
            if project != NO_TEAM.id:
                await self._calls.get("/team/info", wire.TeamInfo, team_id=project)
        else:
            if handle not in gone.deleted_keys:
                raise ProviderTransient("LiteLLM did not confirm that the key was deleted.")

    async def disable(self, *, handle: str, project: str) -> None:
        """Blocks the key."""
        await self._switch("block", handle)

    async def enable(self, *, handle: str, project: str) -> None:
        """Unblocks the key."""
        await self._switch("unblock", handle)

    async def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """A day at a time, of all keys. A key's figures of a day may be on several pages, so that a day is told whole."""
        for number in range((until - since).days + 1):
            day = since + timedelta(days=number)
            yield await self._used_on(day)

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """All of them bind the key itself."""
        label = next((known.label for known in PERMISSIONS if known.id == scope.permission), scope.permission)
        note = "The desk revokes it then, too."
        limits = [
            AppliedLimit(LimitKind.EXPIRY, f"expires after {duration(lifetime)}", Enforcer.KEY, note),
            AppliedLimit(LimitKind.PERMISSION, f"permission: {label.lower()}", Enforcer.KEY),
        ]
        if scope.models:
            limits.append(AppliedLimit(LimitKind.MODELS, f"only {', '.join(scope.models)}", Enforcer.KEY))
        budget = f"{money(scope.monthly_budget_cents)} a month"
        note = "By LiteLLM's own prices; begins anew on the first. The last request may go over it."
        return (*limits, AppliedLimit(LimitKind.BUDGET, budget, Enforcer.KEY, note))

    # Keys

    async def _made_once(self, marker: str, value: str, body: Mapping[str, object]) -> wire.Key:
        """A key with a value that the desk chose. Whichever of two calls arrived, and in whatever order, made it."""
        chosen = {**body, "key": value}
        try:
            return await self._calls.call("POST", "/key/generate", wire.Key, body=chosen, unsure=OutcomeUnknown)
        except OutcomeUnknown:
            pass
        try:
            return await self._calls.call("POST", "/key/generate", wire.Key, body=chosen, unsure=OutcomeUnknown)
        except wire.AliasTaken:
            ours = hashlib.sha256(value.encode()).hexdigest()
            found = next((key for key in await self._with_alias(marker) if key.token == ours), None)
            if found is None:
                raise OutcomeUnknown("LiteLLM has a key with this alias that the desk did not choose.") from None
            return found
        except ProviderError as error:
            # The second call did not make it, but the first may yet.
            raise OutcomeUnknown(str(error)) from None

    async def _hold_to(self, key: wire.Key, scope: Scope, routes: Sequence[str]) -> None:
        """Takes back a key that is wider than asked."""
        held = (
            key.max_budget is not None
            and key.max_budget <= scope.monthly_budget_cents / 100
            and key.budget_duration == MONTH
            and key.expires is not None
            and (not scope.models or set(key.models) == set(scope.models))
            and sorted(key.allowed_routes or ()) == sorted(routes)
        )
        if held:
            return
        try:
            await self.revoke(handle=key.token, project=scope.project)
        except ProviderError:
            raise OutcomeUnknown("LiteLLM made a key that is wider than asked, and did not take it back.") from None
        raise ProviderInvalid("LiteLLM did not hold the key to what was asked, so it was taken back.")

    async def _with_alias(self, marker: str) -> Sequence[wire.Key]:
        page = await self._page_of_keys(1, key_alias=marker)
        return [key for key in page.keys if key.key_alias == marker]

    async def _page_of_keys(self, number: int, **filters: str) -> wire.Keys:
        return await self._calls.get(
            "/key/list", wire.Keys, return_full_object="true", page=number, size=KEYS_PAGE, **filters
        )

    async def _switch(self, verb: str, handle: str) -> None:
        key = await self._calls.call("POST", f"/key/{verb}", wire.Key, body={"key": _hash(handle)})
        if bool(key.blocked) is not (verb == "block"):
            raise ProviderTransient("LiteLLM did not confirm that the key was switched.")

    def _told(self, key: wire.Key) -> ProviderKey:
        status = KeyStatus.DISABLED if key.blocked else KeyStatus.ACTIVE
        if key.expires is not None and key.expires <= self._clock():
            status = KeyStatus.GONE
        return ProviderKey(
            handle=key.token,
            name=key.key_alias or "",
            project=key.team_id or NO_TEAM.id,
            status=status,
            created_at=key.created_at,
            fingerprint=f"…{key.key_name[-4:]}" if key.key_name else None,
        )

    # Teams, models, usage

    async def _all_teams(self) -> Sequence[wire.Team]:
        return (await self._calls.get("/team/list", wire.Teams)).root

    async def _team_named(self, name: str) -> wire.Team | None:
        return next((team for team in await self._all_teams() if team.team_alias == name), None)

    async def _all_models(self) -> Sequence[str]:
        return [model.id for model in (await self._calls.get("/models", wire.Models)).data]

    async def _used_on(self, day: date) -> Sequence[Usage]:
        now = self._clock()
        used: dict[tuple[str, str], list[wire.Metrics]] = defaultdict(list)
        number = 1
        while True:
            asked = {"start_date": day.isoformat(), "end_date": day.isoformat()}
            page = await self._calls.get(
                "/user/daily/activity", wire.Activity, **asked, page=number, page_size=ACTIVITY_PAGE
            )
            for told in page.results:
                for model, of_model in told.breakdown.models.items() if told.date == day.isoformat() else ():
                    for token, of_key in of_model.api_key_breakdown.items():
                        used[token, model].append(of_key.metrics)
            if not page.metadata.has_more or not page.results:
                break
            number += 1
        return [
            Usage(
                meter=token,
                day=day,
                model=model,
                requests=sum(it.api_requests for it in some),
                tokens_in=sum(it.prompt_tokens for it in some),
                tokens_out=sum(it.completion_tokens for it in some),
                cost_micros=round(sum(Decimal(str(it.spend)) for it in some) * MICROS),
                basis=Basis.ESTIMATED,  # LiteLLM counts tokens and takes its own list of prices
                as_of=now,
            )
            for (token, model), some in used.items()
        ]


def from_settings(settings: Settings, clock: Clock) -> LiteLLM | None:
    """The adapter that the settings describe; None where they hold no master key."""
    if settings.litellm_master_key is None or settings.litellm_base_url is None:
        return None
    return LiteLLM(master_key=settings.litellm_master_key, base_url=settings.litellm_base_url, clock=clock)


def _hash(handle: str) -> str:
    """A handle is the hash of a value, and never, by whatever mistake, a value."""
    if len(handle) != 64 or not set(handle) <= set("0123456789abcdef"):
        raise ProviderNotFound("LiteLLM has no such id.")
    return handle


def _project(team: wire.Team) -> Project:
    return Project(id=team.team_id, name=team.team_alias or team.team_id)
