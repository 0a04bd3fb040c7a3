"""A pretend OpenAI: its admin API, as far as it deals in keys, limits, people and usage, and the endpoints of its keys.

Paths, fields and errors follow OpenAI's published description and its official SDK. A key's value is said once, when
the key is made; after that only its hash and its redacted form are kept.
"""

from collections.abc import Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.openai.endpoints import ENDPOINTS, SCOPES, Endpoints
from sandbox.openai.keys import Keys, Release
from sandbox.openai.organization import Key, Organization, redacted
from sandbox.openai.people import People
from sandbox.openai.projects import Projects, shown_project
from sandbox.openai.usage import UsageReports
from sandbox.openai.wire import bearer, missing_scope, no_such_url, route, wrong_key
from sandbox.wire import Handler, Json, same

__all__ = ["SCOPES", "Key", "PretendOpenAI"]

READ, WRITE, USAGE = "api.management.read", "api.management.write", "api.usage.read"
ADMIN_SCOPES = frozenset({READ, WRITE, USAGE})


class PretendOpenAI:
    """Holds the organization's state and answers for it under `routes`.

    `changed` is called after each change of state. The switches are those of `Release`. `admin_scopes` is what the
    admin key may do.
    """

    def __init__(
        self,
        *,
        admin_key: str,
        clock: Callable[[], float],
        changed: Callable[[], None],
        key_scopes: bool = True,
        key_expiry: bool = True,
        key_upkeep: bool = False,
        account_deletion: bool = True,
    ) -> None:
        self._admin_key = admin_key
        self.admin_scopes = ADMIN_SCOPES
        self.organization = Organization(clock=clock, changed=changed)
        self.people = People(self.organization)
        keys = Keys(self.organization, Release(key_scopes, key_expiry, key_upkeep, account_deletion))
        parts = (Projects(self.organization), keys, self.people, UsageReports(self.organization))
        endpoints = Endpoints(self.organization)
        self.routes: list[BaseRoute] = [
            *(route(method, path, self._for_admin(it)) for part in parts for method, path, it in part.routes),
            *(route(it.method, it.path, endpoints.handler(it, is_admin=self._is_admin)) for it in ENDPOINTS),
            *(route(method, "/{path:path}", no_such_url) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    def snapshot(self) -> Json:
        """What the organization's dashboard would show, revoked keys included."""
        held = self.organization
        people = dict(held.people)
        return {
            "projects": [shown_project(project) for project in list(held.projects.values())],
            "keys": [
                {
                    "name": key.name,
                    "id": key.id,
                    "service_account_id": None if key.owner in people else key.owner,
                    "project": key.project,
                    "redacted": key.redacted,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "status": held.status(key),
                    "last_used_at": key.last_used_at,
                    "scopes": list(key.scopes),
                }
                for key in list(held.keys.values())
            ],
        }

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {**self.organization.dump(), "admin_scopes": sorted(self.admin_scopes)}

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self.organization.load(state)
        self.admin_scopes = frozenset(state.get("admin_scopes", ADMIN_SCOPES))

    def set_project(self, id: str, status: str) -> None:
        """Archives a project, or (which OpenAI cannot) makes it active again. `KeyError` where there is none such."""
        self.organization.set_project(id, status)

    def make_personal_key(self, project: str, *, person: str = "user_ana", name: str) -> str:
        """What a person does on the dashboard: makes a key of their own. Answers its value."""
        owner, place = self.organization.people[person], self.organization.projects[project]
        _, value = self.organization.issue(name=name, project=place.id, owner=owner.id, prefix="sk-proj-")
        return value

    def use(
        self,
        *,
        project: str = "proj_lab",
        key: str | None = None,
        model: str = "gpt-5-mini",
        asked: int = 10,
        answered: int = 10,
    ) -> None:
        """Somebody asks a model, with the key of this id or else on the dashboard, without any key."""
        place = self.organization.projects[project if key is None else self.organization.keys[key].project]
        kind = "embeddings" if "embedding" in model else "completions"
        self.organization.meter_use(project=place.id, key=key, model=model, kind=kind, asked=asked, answered=answered)

    def rule(self, *, usage_lag: float | None = None, admin_scopes: Iterable[str] | None = None) -> None:
        """How late use is reported, in seconds; and what the admin key may do."""
        if usage_lag is not None:
            self.organization.usage_lag = usage_lag
        if admin_scopes is not None:
            self.admin_scopes = frozenset(admin_scopes)
        self.organization.changed()

    @property
    def acts(self) -> Mapping[str, Callable[..., Json | None]]:
        """What the control API lets people do here, by name."""
        return {"use": self.use, "rule": self.rule, "accept": self.people.accept}

    def _is_admin(self, token: str) -> bool:
        return same(token, self._admin_key)

    def _for_admin(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Json:
            token = bearer(request)
            if not self._is_admin(token):
                if self.organization.key_with(token) is None:
                    raise wrong_key(redacted(token))
                raise missing_scope(READ)
            reports = request.url.path.partition("/organization/")[2].startswith(("usage/", "costs"))
            needed = USAGE if reports else READ if request.method == "GET" else WRITE
            if needed not in self.admin_scopes:
                raise missing_scope(needed)
            answer: Json = await handler(request)
            return answer

        return guarded
