"""The pretend OpenRouter's guardrails: lists of models, to which keys are bound."""

import uuid
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace

from starlette.requests import Request

from sandbox.openrouter.models import Model, model
from sandbox.openrouter.wire import Fault, json_body, listed, named, page, typed
from sandbox.wire import Handler, Json, iso

PAGE_DEFAULT, PAGE_MOST = 50, 100
KNOWN = frozenset({"name", "description", "allowed_models", "ignored_models"})


@dataclass(frozen=True)
class Guardrail:
    """Models are named by their canonical slugs. None allows every model, or leaves none out."""

    id: str
    name: str
    description: str | None
    workspace: str
    allowed: list[str] | None
    ignored: list[str] | None
    created_at: int
    updated_at: int | None = None

    def admits(self, asked: Model) -> bool:
        """Whether a key that is bound to it may use the model."""
        return (self.allowed is None or asked.canonical in self.allowed) and asked.canonical not in (self.ignored or ())


@dataclass(frozen=True)
class Assignment:
    """A key's binding to a guardrail. A key has one at most."""

    id: str
    key: str
    guardrail: str
    created_at: int


class Guardrails:
    """All guardrails of an organization, and what is bound to them.

    `workspace_of` reads a workspace out of what a request said, or gives the default one; `key_of` answers name and
    label of a living key, by its hash, or None.
    """

    def __init__(
        self,
        *,
        now: Callable[[], int],
        changed: Callable[[], None],
        workspace_of: Callable[[object], str],
        key_of: Callable[[str], tuple[str, str] | None],
    ) -> None:
        self._now = now
        self._changed = changed
        self._workspace_of = workspace_of
        self._key_of = key_of
        self._guardrails: dict[str, Guardrail] = {}
        self._assignments: dict[str, Assignment] = {}
        one = "/guardrails/{id}"
        keys = one + "/assignments/keys"
        self.routes: list[tuple[str, str, Handler, int]] = [
            ("GET", "/guardrails", self._list, 200),
            ("POST", "/guardrails", self._create, 201),
            ("GET", "/guardrails/assignments/keys", self._list_assignments, 200),
            ("GET", one, self._get, 200),
            ("PATCH", one, self._update, 200),
            ("DELETE", one, self._delete, 200),
            ("GET", keys, self._list_assignments, 200),
            ("POST", keys, self._assign, 200),
            ("POST", keys + "/remove", self._unassign, 200),
        ]

    def admits(self, key: str, asked: Model) -> bool:
        """Whether the key may use the model."""
        bound = self._assignments.get(key)
        return bound is None or self._guardrails[bound.guardrail].admits(asked)

    def forget(self, key: str) -> None:
        """Takes away a deleted key's binding."""
        self._assignments.pop(key, None)

    def snapshot(self) -> list[Json]:
        """Every guardrail, with the keys that are bound to it."""
        return [
            {**asdict(it), "keys": [bound.key for bound in self._assignments.values() if bound.guardrail == it.id]}
            for it in list(self._guardrails.values())
        ]

    def dump(self) -> Json:
        """All state, for `load`."""
        return {
            "guardrails": [asdict(it) for it in self._guardrails.values()],
            "assignments": [asdict(it) for it in self._assignments.values()],
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self._guardrails = {it["id"]: Guardrail(**it) for it in state["guardrails"]}
        self._assignments = {it["key"]: Assignment(**it) for it in state["assignments"]}

    async def _list(self, request: Request) -> Json:
        workspace = self._workspace_of(request.query_params.get("workspace_id"))
        shown = [_shown(it) for it in self._guardrails.values() if it.workspace == workspace]
        return _page(request, shown)

    async def _create(self, request: Request) -> Json:
        body = await _body(request, KNOWN | {"workspace_id"})
        guardrail = Guardrail(
            id=str(uuid.uuid4()),
            name=named(body),
            description=typed(body, "description", str),
            workspace=self._workspace_of(body.get("workspace_id")),
            allowed=_models(body, "allowed_models"),
            ignored=_models(body, "ignored_models"),
            created_at=self._now(),
        )
        self._guardrails[guardrail.id] = guardrail
        self._changed()
        return {"data": _shown(guardrail)}

    async def _get(self, request: Request) -> Json:
        return {"data": _shown(self._guardrail(request))}

    async def _update(self, request: Request) -> Json:
        body = await _body(request, KNOWN)
        guardrail = self._guardrail(request)
        guardrail = replace(
            guardrail,
            name=named(body) if "name" in body else guardrail.name,
            description=typed(body, "description", str) if "description" in body else guardrail.description,
            allowed=_models(body, "allowed_models") if "allowed_models" in body else guardrail.allowed,
            ignored=_models(body, "ignored_models") if "ignored_models" in body else guardrail.ignored,
            updated_at=self._now(),
        )
        self._guardrails[guardrail.id] = guardrail
        self._changed()
        return {"data": _shown(guardrail)}

    async def _delete(self, request: Request) -> Json:
        guardrail = self._guardrail(request)
        del self._guardrails[guardrail.id]
        self._assignments = {key: it for key, it in self._assignments.items() if it.guardrail != guardrail.id}
        self._changed()
        return {"deleted": True}

    async def _list_assignments(self, request: Request) -> Json:
        only = self._guardrail(request).id if "id" in request.path_params else None
        return _page(
            request, [self._shown_assignment(it) for it in self._assignments.values() if only in (None, it.guardrail)]
        )

    async def _assign(self, request: Request) -> Json:
        keys = await _keys(request)
        guardrail = self._guardrail(request)
        for key in keys:
            if self._key_of(key) is None:
                raise Fault(404, "API key not found")
        for key in keys:
            self._assignments[key] = Assignment(str(uuid.uuid4()), key, guardrail.id, self._now())
        self._changed()
        return {"assigned_count": len(keys)}

    async def _unassign(self, request: Request) -> Json:
        keys = await _keys(request)
        guardrail = self._guardrail(request)
        bound = [key for key in keys if key in self._assignments and self._assignments[key].guardrail == guardrail.id]
        for key in bound:
            del self._assignments[key]
        self._changed()
        return {"unassigned_count": len(bound)}

    def _guardrail(self, request: Request) -> Guardrail:
        guardrail = self._guardrails.get(request.path_params["id"])
        if guardrail is None:
            raise Fault(404, "Guardrail not found")
        return guardrail

    def _shown_assignment(self, bound: Assignment) -> Json:
        name, label = self._key_of(bound.key) or ("", "")
        return {
            "id": bound.id,
            "key_hash": bound.key,
            "guardrail_id": bound.guardrail,
            "key_name": name,
            "key_label": label,
            "assigned_by": None,
            "created_at": iso(bound.created_at),
        }


async def _body(request: Request, known: Collection[str]) -> Json:
    body = await json_body(request)
    for name in body:
        if name not in known:
            raise Fault(400, f"This pretend OpenRouter has no guardrails with {name!r}")
    return body


async def _keys(request: Request) -> list[str]:
    keys = listed(await json_body(request), "key_hashes")
    if keys is None:
        raise Fault(400, "Invalid request parameters: key_hashes")
    return list(dict.fromkeys(keys))


def _models(body: Json, name: str) -> list[str] | None:
    slugs = listed(body, name)
    if slugs is None:
        return None
    found = [model(slug) for slug in slugs]
    unknown = [slug for slug, it in zip(slugs, found, strict=True) if it is None]
    if unknown:
        raise Fault(400, f"Unknown models: {', '.join(unknown)}")
    return [it.canonical for it in found if it is not None]


def _page(request: Request, shown: list[Json]) -> Json:
    return {"data": page(request, shown, size=PAGE_DEFAULT, most=PAGE_MOST), "total_count": len(shown)}


def _shown(guardrail: Guardrail) -> Json:
    return {
        "id": guardrail.id,
        "name": guardrail.name,
        "description": guardrail.description,
        "workspace_id": guardrail.workspace,
        "allowed_models": guardrail.allowed,
        "ignored_models": guardrail.ignored,
        "allowed_providers": None,
        "ignored_providers": None,
        "limit_usd": None,
        "reset_interval": None,
        "include_byok_in_budgets": False,
        "created_at": iso(guardrail.created_at),
        "updated_at": iso(guardrail.updated_at),
    }
