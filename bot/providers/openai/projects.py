"""OpenAI's projects: which there are, what each allows, and a new one with limits of its own.

OpenAI holds whole projects to models, spending and rates, never a single key. So a key that is to be held to them gets
a project of its own. Source: https://developers.openai.com/api/docs/guides/spend-limits.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.desk.errors import ProviderInvalid, ProviderNotFound
from bot.desk.model import NEW_PROJECT, Scope
from bot.desk.offer import AppliedLimit, Enforcer, LimitKind, Project
from bot.desk.ports import Clock
from bot.providers.calls import Calls, Fresh, money
from bot.providers.openai import wire
from bot.providers.openai.wire import Page, Paths, listed

UNFINISHED = " (Keydesk is setting it up)"
ALERT_PER_CENT = (80, 100)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a new project gets besides the limits that were asked for.

    `alert` are the e-mail addresses that OpenAI warns when most of the budget, and when all of it, is spent.
    `requests_per_minute` holds for each model; None leaves OpenAI's own.
    """

    alert: Sequence[str] = ()
    requests_per_minute: int | None = None


@dataclass(frozen=True)
class Allowance:
    """What a project allows: models by id, and cents a month; None where it has no spend limit."""

    models: Sequence[str]
    spend_limit: int | None


class Projects:
    """The projects of the organization."""

    def __init__(self, calls: Calls, paths: Paths, *, clock: Clock, terms: Terms) -> None:
        self._calls = calls
        self._paths = paths
        self._clock = clock
        self._terms = terms
        self._active = Fresh(clock, self.all)
        self._allowances: dict[str, Fresh[Allowance]] = {}
        self._allowed: dict[str, Allowance] = {}
        self._creating = asyncio.Lock()

    async def active(self) -> Sequence[Project]:
        """Those that are not archived, at most a minute old."""
        return await self._active.get()

    async def all(self, *, archived_too: bool = False) -> Sequence[Project]:
        """Those that are not archived, or all; asked now."""
        params = {"include_archived": "true"} if archived_too else {}
        return [
            Project(id=project.id, name=project.name or project.id)
            async for project in listed(self._calls, self._paths.projects, Page[wire.Project], **params)
            if archived_too or not project.archived
        ]

    async def get(self, project: str) -> wire.Project:
        """One of them. Raises `ProviderNotFound`."""
        return await self._calls.get(self._paths.project(project), wire.Project)

    async def models(self, project: str) -> Sequence[str]:
        """The models that its keys may use, at most a minute old; those of any project for one that is still to be made."""
        if project.startswith(NEW_PROJECT):
            some = await self.active()
            return await self._known_models(some[0].id) if some else ()
        if project not in self._allowances:
            self._allowances[project] = Fresh(self._clock, lambda: self._ask(project))
        return (await self._allowances[project].get()).models

    async def create(self, name: str, scope: Scope) -> Project:
        """The project of this name; where there is none, a new one that is held to the scope's models and budget.

        Until all its limits stand it bears another name. So whatever breaks off in between is taken up again by the
        next call, and a project of this name that somebody else made is left as it is: with other limits than the
        scope's, it is refused.
        """
        async with self._creating:
            known = {project.name: project for project in await self.all()}
            if name in known:
                await self._must_be(scope, known[name])
                return known[name]
            bare = known.get(name + UNFINISHED) or await self._create(name + UNFINISHED)
            await self._limit(bare.id, scope)
            await self._calls.call("POST", self._paths.project(bare.id), wire.Project, body={"name": name})
            self._active.forget()
            await self.models(bare.id)
            return Project(id=bare.id, name=name)

    async def _must_be(self, scope: Scope, project: Project) -> None:
        """Raises `ProviderInvalid` for a project of this name that holds its keys to something else than was agreed."""
        await self.models(project.id)
        has = self._allowed[project.id]
        models = set(scope.models) or set(has.models)
        if set(has.models) != models or has.spend_limit != scope.monthly_budget_cents:
            raise ProviderInvalid(
                f"OpenAI has a project {project.name!r} with other limits. Ask for a key in it instead."
            )

    def limits(self, scope: Scope) -> tuple[AppliedLimit, ...]:
        """What holds a key of this scope to its models and its budget, as far as was asked until now."""
        new = scope.new_project is not None
        allowed = Allowance(scope.models, scope.monthly_budget_cents) if new else self._allowed.get(scope.project)
        limits = [*([self._model_limit(scope, allowed)] if scope.models else []), self._budget(scope, allowed)]
        if new and self._terms.requests_per_minute is not None:
            rate = f"{self._terms.requests_per_minute} requests a minute"
            limits.append(AppliedLimit(LimitKind.RATE, rate, Enforcer.PROJECT, "For each model."))
        return tuple(limits)

    def _model_limit(self, scope: Scope, allowed: Allowance | None) -> AppliedLimit:
        what = f"models: {', '.join(scope.models)}"
        if allowed is not None and set(allowed.models) <= set(scope.models):
            return AppliedLimit(LimitKind.MODELS, what, Enforcer.PROJECT, "The project allows no others.")
        return AppliedLimit(
            LimitKind.MODELS, what, Enforcer.NOBODY, "OpenAI holds whole projects to models, and this one has more."
        )

    def _budget(self, scope: Scope, allowed: Allowance | None) -> AppliedLimit:
        what, cap = f"{money(scope.monthly_budget_cents)} a month", allowed.spend_limit if allowed else None
        if cap is not None and cap <= scope.monthly_budget_cents:
            note = f"OpenAI stops the whole project at {money(cap)} a month, a little late."
            return AppliedLimit(LimitKind.BUDGET, what, Enforcer.PROJECT, note)
        return AppliedLimit(LimitKind.BUDGET, what, Enforcer.NOBODY, "OpenAI caps the spending of whole projects only.")

    async def _ask(self, project: str) -> Allowance:
        path = self._paths.project(project)
        permissions = await self._calls.get(f"{path}/model_permissions", wire.ModelPermissions)
        try:
            limit = (await self._calls.get(f"{path}/spend_limit", wire.SpendLimit)).threshold_amount
        except ProviderNotFound:
            limit = None
        models = [model for model in await self._known_models(project) if permissions.allows(model)]
        self._allowed[project] = Allowance(models, limit)
        return self._allowed[project]

    async def _known_models(self, project: str) -> Sequence[str]:
        return [rate.model async for rate in self._rates(project)]

    def _rates(self, project: str) -> AsyncIterator[wire.RateLimit]:
        return listed(self._calls, f"{self._paths.project(project)}/rate_limits", Page[wire.RateLimit])

    async def _create(self, name: str) -> Project:
        made = await self._calls.call("POST", self._paths.projects, wire.Project, body={"name": name})
        return Project(id=made.id, name=name)

    async def _limit(self, project: str, scope: Scope) -> None:
        path = self._paths.project(project)
        body: Mapping[str, Any]
        monthly = {"currency": "USD", "interval": "month"}
        if scope.models:
            body = {"mode": "allow_list", "model_ids": list(scope.models)}
            await self._calls.call("POST", f"{path}/model_permissions", wire.ModelPermissions, body=body)
        body = {"threshold_amount": scope.monthly_budget_cents, **monthly}
        await self._calls.call("POST", f"{path}/spend_limit", wire.SpendLimit, body=body)
        if self._terms.alert:
            alerts = listed(self._calls, f"{path}/spend_alerts", Page[wire.Alert])
            standing = {alert.threshold_amount async for alert in alerts}
            channel = {"type": "email", "recipients": list(self._terms.alert)}
            for threshold in (scope.monthly_budget_cents * per_cent // 100 for per_cent in ALERT_PER_CENT):
                if threshold not in standing:
                    body = {"threshold_amount": threshold, **monthly, "notification_channel": channel}
                    await self._calls.call("POST", f"{path}/spend_alerts", wire.Alert, body=body)
        if self._terms.requests_per_minute is not None:
            body = {"max_requests_per_1_minute": self._terms.requests_per_minute}
            async for rate in self._rates(project):
                if not scope.models or rate.model in scope.models:
                    await self._calls.call("POST", f"{path}/rate_limits/{rate.id}", wire.RateLimit, body=body)
