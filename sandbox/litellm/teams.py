"""The pretend LiteLLM's teams: places for keys, with models, budgets and rates of their own."""

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from starlette.requests import Request

from sandbox.litellm.budgets import Budget
from sandbox.litellm.wire import json_body, raised, strings, typed
from sandbox.wire import Handler, Json, iso

KNOWN = frozenset(
    {"team_id", "team_alias", "models", "max_budget", "budget_duration", "tpm_limit", "rpm_limit", "blocked"}
)


@dataclass(frozen=True)
class Team:
    """Without models every model is allowed."""

    id: str
    alias: str | None
    created_at: int
    models: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    tpm: int | None = None
    rpm: int | None = None
    blocked: bool = False


class Teams:
    """All teams. `keys_of` shows a team's keys, `drop` deletes them."""

    def __init__(
        self,
        *,
        now: Callable[[], int],
        changed: Callable[[], None],
        keys_of: Callable[[str], list[Json]],
        drop: Callable[[str], None],
    ) -> None:
        self._now = now
        self._changed = changed
        self._keys_of = keys_of
        self._drop = drop
        self._teams: dict[str, Team] = {}
        for name in ("search-prod", "lab"):
            self._teams[f"team-{name}"] = Team(f"team-{name}", name, now())
        self.routes: list[tuple[str, str, Handler]] = [
            ("POST", "/team/new", self._create),
            ("GET", "/team/list", self._list),
            ("GET", "/team/info", self._get),
            ("POST", "/team/update", self._update),
            ("POST", "/team/delete", self._delete),
        ]

    def get(self, id: str | None) -> Team | None:
        """None where there is no such team, or none is asked for."""
        return None if id is None else self._teams.get(id)

    def used(self, team: Team, cost: Decimal) -> None:
        """A key of it spent so much."""
        self._teams[team.id] = replace(team, budget=team.budget.less(cost, self._now()))

    def snapshot(self) -> list[Json]:
        """Every team."""
        return [
            {
                "id": it.id,
                "name": it.alias or it.id,
                "status": "blocked" if it.blocked else "active",
                "models": it.models,
                "spent": it.budget.shown(self._now())["spend"],
                "limit": it.budget.most,
                "period": it.budget.duration,
            }
            for it in list(self._teams.values())
        ]

    def dump(self) -> list[Json]:
        """All teams, for `load`."""
        return [{**asdict(it), "budget": it.budget.dump()} for it in list(self._teams.values())]

    def load(self, state: list[Json]) -> None:
        """Takes up what `dump` gave."""
        self._teams = {it["id"]: Team(**{**it, "budget": Budget.load(it["budget"])}) for it in state}

    async def _create(self, request: Request) -> Json:
        body = await json_body(request, KNOWN)
        id = typed(body, "team_id", str) or str(uuid.uuid4())
        if id in self._teams:
            raise raised(400, f"Team id = {id} already exists. Please use a different team id.")
        team = self._changed_by(Team(id, None, self._now()), body)
        self._teams[id] = team
        self._changed()
        return self._shown(team)

    async def _list(self, request: Request) -> list[Json]:
        teams = sorted(self._teams.values(), key=lambda it: it.alias or "")
        return [{**self._shown(it), "keys": self._keys_of(it.id), "team_memberships": []} for it in teams]

    async def _get(self, request: Request) -> Json:
        team = self._team(request.query_params.get("team_id"))
        return {
            "team_id": team.id,
            "team_info": self._shown(team),
            "keys": self._keys_of(team.id),
            "team_memberships": [],
        }

    async def _update(self, request: Request) -> Json:
        body = await json_body(request, KNOWN)
        team = self._changed_by(self._team(body.get("team_id")), body)
        self._teams[team.id] = team
        self._changed()
        return {"team_id": team.id, "data": self._shown(team)}

    async def _delete(self, request: Request) -> Json:
        ids = strings(await json_body(request, frozenset({"team_ids"})), "team_ids") or []
        teams = [self._team(id) for id in ids]
        for team in teams:
            self._drop(team.id)
            del self._teams[team.id]
        self._changed()
        return {"deleted_teams": [self._shown(team) for team in teams]}

    def _changed_by(self, team: Team, body: Json) -> Team:
        changes: Json = {}
        for name, kind in (("alias", str), ("tpm", int), ("rpm", int), ("blocked", bool)):
            given = {"alias": "team_alias", "tpm": "tpm_limit", "rpm": "rpm_limit"}.get(name, name)
            if body.get(given) is not None:
                changes[name] = typed(body, given, kind)
        if body.get("models") is not None:
            changes["models"] = strings(body, "models")
        return replace(team, budget=team.budget.changed(body, self._now()), **changes)

    def _team(self, id: Any) -> Team:
        team = self._teams.get(str(id))
        if team is None:
            raise raised(404, f"Team not found, passed team id: {id}.")
        return team

    def _shown(self, team: Team) -> Json:
        return {
            "team_id": team.id,
            "team_alias": team.alias,
            "models": team.models,
            **team.budget.shown(self._now()),
            "tpm_limit": team.tpm,
            "rpm_limit": team.rpm,
            "blocked": team.blocked,
            "metadata": {},
            "created_at": iso(team.created_at),
        }
