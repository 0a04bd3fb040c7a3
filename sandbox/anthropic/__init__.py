"""A pretend Anthropic: its admin API, its reports, its Messages API, and the Console, where people make keys.

Paths, fields and errors follow Anthropic's API reference and its official SDK. A key's value is said once, when it is
made; after that only its hash and a hint of it are kept.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.anthropic.admin import Admin
from sandbox.anthropic.console import Console
from sandbox.anthropic.messages import Messages
from sandbox.anthropic.organization import Organization
from sandbox.anthropic.reports import Reports
from sandbox.anthropic.wire import Fault, no_such_url, route, token
from sandbox.wire import Handler, Json, same

__all__ = ["PretendAnthropic"]

READ, WRITE, USAGE = "read", "write", "usage"
ADMIN_SCOPES = frozenset({READ, WRITE, USAGE})


class PretendAnthropic:
    """Holds the organization's state and answers for it under `routes`. `changed` is called after each change.

    `admin_scopes` is what the admin key may do: read, write, and see usage.
    """

    def __init__(self, *, admin_key: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._admin_key = admin_key
        self.admin_scopes = ADMIN_SCOPES
        self.organization = Organization(clock=clock, changed=changed)
        self.admin = Admin(self.organization)
        self.console = Console(self.organization)
        messages = Messages(self.organization)
        parts = (self.admin, Reports(self.organization))
        self.routes: list[BaseRoute] = [
            *self.console.routes,
            *(route(method, path, self._for_admin(it)) for part in parts for method, path, it in part.routes),
            route("POST", "/v1/messages", self._for_key(messages.create)),
            route("GET", "/v1/models", self._for_key(messages.models)),
            *(route(method, "/{path:path}", no_such_url) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    @property
    def acts(self) -> Mapping[str, Callable[..., Json | None]]:
        """What the control API lets people do here, by name."""
        return {
            "key": self.console.make_key,
            "use": self.use,
            "rule": self.rule,
            "accept": self.admin.accept,
        }

    def snapshot(self) -> Json:
        """What the Console would show."""
        held = self.organization
        return {
            "workspaces": [{"id": it.id, "name": it.name} for it in list(held.workspaces.values())],
            "keys": [
                {
                    "id": key.id,
                    "name": key.name,
                    "workspace": key.workspace,
                    "redacted": key.hint,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "status": held.status(key),
                    "last_used_at": key.last_used_at,
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
        self.admin_scopes = frozenset(state["admin_scopes"])

    def use(
        self,
        *,
        workspace: str = "wrkspc_lab",
        key: str | None = None,
        model: str = "claude-haiku-4-5",
        asked: int = 10,
        answered: int = 10,
    ) -> None:
        """Somebody asks a model, with the key of this id or else in the Workbench, without any key."""
        place = self.organization.workspaces[workspace if key is None else self.organization.keys[key].workspace]
        self.organization.meter_use(workspace=place.id, key=key, model=model, asked=asked, answered=answered)

    def rule(
        self,
        *,
        usage_lag: float | None = None,
        workspace: str = "wrkspc_lab",
        spend_limit: float | None = None,
        admin_scopes: Iterable[str] | None = None,
    ) -> None:
        """How late use is reported, in seconds; what a workspace may spend in a month, in dollars; what the admin key may."""
        if admin_scopes is not None:
            self.admin_scopes = frozenset(admin_scopes)
        if usage_lag is not None:
            self.organization.usage_lag = usage_lag
        if spend_limit is not None:
            self.organization.keep(replace(self.organization.workspaces[workspace], spend_limit=spend_limit))
        self.organization.changed()

    def _for_admin(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Json:
            value = token(request)
            if not same(value, self._admin_key):
                if self.organization.key_with(value) is None:
                    raise Fault(401, "invalid x-api-key")
                raise Fault(403, "This API needs an Admin API key")
            reports = request.url.path.endswith(("usage_report/messages", "cost_report"))
            needed = USAGE if reports else READ if request.method == "GET" else WRITE
            if needed not in self.admin_scopes:
                raise Fault(403, f"This Admin API key may not do this: it lacks {needed}")
            answer: Json = await handler(request)
            return answer

        return guarded

    def _for_key(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Json:
            if same(token(request), self._admin_key):
                raise Fault(403, "An Admin API key opens the Admin API only")
            answer: Json = await handler(request)
            return answer

        return guarded
