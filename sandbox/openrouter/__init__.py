"""A pretend OpenRouter: the part of its admin API that deals in keys, and the endpoints that those keys open.

Paths, fields and errors follow OpenRouter's published description and its official SDK. A key's value is said once, when
the key is made; after that only its hash and its label are kept, and the hash is the key's id.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.inference import Answering, Unheard
from sandbox.metering import Meter, Use
from sandbox.openrouter.guardrails import Guardrails
from sandbox.openrouter.models import ENDPOINTS, MODELS, Model, model
from sandbox.openrouter.usage import Usage
from sandbox.openrouter.wire import (
    RESETS,
    Fault,
    bearer,
    invalid,
    json_body,
    money,
    named,
    no_such_url,
    page,
    reset,
    typed,
    utc,
)
from sandbox.wire import Handler, Json, digest, iso, moment, route, same

KEYS_PAGE = 100
PAGE_DEFAULT, PAGE_MOST = 50, 100
CREDITS = 100.0
PERIODS = (None, *RESETS)

Spent = dict[str | None, Decimal]


@dataclass(frozen=True)
class Workspace:
    """Where keys live. The default one is meant wherever none is named."""

    id: str
    name: str
    slug: str
    created_at: int
    description: str | None = None


@dataclass(frozen=True)
class Key:
    """Limits are in US dollars. A deleted key is kept, so that it can be shown as such."""

    hash: str
    name: str
    label: str
    workspace: str
    created_at: int
    limit: float | None = None
    limit_reset: str | None = None
    include_byok_in_limit: bool = False
    expires_at: int | None = None
    disabled: bool = False
    creator: str | None = None
    updated_at: int | None = None
    last_used_at: int | None = None
    deleted_at: int | None = None


def _workspace(slug: str, name: str, now: int) -> Workspace:
    return Workspace(str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://openrouter.example/{slug}")), name, slug, now)


class PretendOpenRouter:
    """Holds the organization's state and answers for it under `routes`. `changed` is called after each change of state.

    `credits` is what was paid in, in US dollars: with it spent, no key opens anything.
    """

    def __init__(self, *, management_key: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._management_key = management_key
        self._clock = clock
        self._changed = changed
        self._meter = Meter()
        self.credits = CREDITS
        now = self._now()
        made = [
            _workspace(slug, name, now)
            for slug, name in (("default", "Default"), ("search-prod", "search-prod"), ("lab", "lab"))
        ]
        self._workspaces = {it.id: it for it in made}
        self._default = made[0].id
        self._keys: dict[str, Key] = {}
        self._guardrails = Guardrails(
            now=self._now, changed=changed, workspace_of=self._workspace_of, key_of=self._named_key
        )
        usage = Usage(self._meter, now=self._now, names=self._names)
        admin: list[tuple[str, str, Handler, int]] = [
            ("GET", "/keys", self._list_keys, 200),
            ("POST", "/keys", self._create_key, 201),
            ("GET", "/keys/{hash}", self._get_key, 200),
            ("PATCH", "/keys/{hash}", self._update_key, 200),
            ("DELETE", "/keys/{hash}", self._delete_key, 200),
            ("GET", "/workspaces", self._list_workspaces, 200),
            ("POST", "/workspaces", self._create_workspace, 201),
            ("GET", "/workspaces/{id}", self._get_workspace, 200),
            ("GET", "/credits", self._get_credits, 200),
            ("GET", "/organization/members", self._list_members, 200),
            *self._guardrails.routes,
            *usage.routes,
        ]
        self.routes: list[BaseRoute] = [
            *(
                route(method, path, self._for_management(handler), status=status)
                for method, path, handler, status in admin
            ),
            route("GET", "/key", self._get_own_key),
            route("GET", "/models", self._list_models(lambda it: it.kind == "completions")),
            route("GET", "/embeddings/models", self._list_models(lambda it: it.kind == "embeddings")),
            route("GET", "/models/user", self._list_own_models),
            *(route("POST", path, self._for_key(path, answering)) for path, answering in ENDPOINTS.items()),
            *(route(method, "/{path:path}", no_such_url) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    def snapshot(self) -> Json:
        """What the organization's dashboard would show, deleted keys included."""
        keys = list(self._keys.values())
        spent = self._spent(*keys)
        return {
            "projects": [
                {"id": it.id, "name": it.name, "slug": it.slug, "status": "active"}
                for it in list(self._workspaces.values())
            ],
            "guardrails": self._guardrails.snapshot(),
            "keys": [
                {
                    "id": key.hash,
                    "name": key.name,
                    "project": key.workspace,
                    "redacted": key.label,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "last_used_at": key.last_used_at,
                    "status": self._status(key),
                    "spent": float(spent[key.hash][key.limit_reset]),
                    "limit": key.limit,
                }
                for key in keys
            ],
        }

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {
            "credits": self.credits,
            "default": self._default,
            "workspaces": [asdict(it) for it in self._workspaces.values()],
            "keys": [asdict(it) for it in self._keys.values()],
            "guardrails": self._guardrails.dump(),
            "uses": self._meter.dump(),
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self.credits = state["credits"]
        self._default = state["default"]
        self._workspaces = {it["id"]: Workspace(**it) for it in state["workspaces"]}
        self._keys = {it["hash"]: Key(**it) for it in state["keys"]}
        self._guardrails.load(state["guardrails"])
        self._meter.load(state["uses"])

    def set_credits(self, credits: float) -> None:
        """What was paid in is this much from now on."""
        self.credits = credits
        self._changed()

    # Who asks

    def _for_management(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Any:
            token = bearer(request)
            if not same(token, self._management_key):
                self._key_of(token)
                raise Fault(403, "Only management keys can perform this operation")
            return await handler(request)

        return guarded

    def _for_key(self, path: str, answering: Answering) -> Handler:
        async def guarded(request: Request) -> Json:
            token = bearer(request)
            if same(token, self._management_key):
                raise Fault(403, "Management keys cannot be used for inference")
            body = await json_body(request)
            key = self._key_of(token)  # after the last await, so that it is not deleted meanwhile
            asked = model(body.get("model"))
            if asked is None or (asked.kind == "embeddings") != (path == "/embeddings"):
                raise Fault(400, f"{body.get('model')} is not a valid model ID")
            self._admit(key, asked)
            return self._answer(key, asked, answering, body)

        return guarded

    def _admit(self, key: Key, asked: Model) -> None:
        if not self._guardrails.admits(key.hash, asked):
            raise Fault(
                404,
                "No endpoints available matching your guardrail restrictions and data policy."
                " Configure: https://openrouter.ai/settings/privacy",
            )
        if key.limit is not None and self._spent(key)[key.hash][key.limit_reset] >= Decimal(str(key.limit)):
            period = key.limit_reset or "total"
            raise Fault(
                403, f"Key limit exceeded ({period} limit). Manage it using https://openrouter.ai/settings/keys"
            )
        if self.credits <= float(self._meter.total().cost):
            raise Fault(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits")

    def _answer(self, key: Key, asked: Model, answering: Answering, body: Json) -> Json:
        try:
            answer = answering(body, self._now())
        except Unheard as unheard:
            raise Fault(400, unheard.message) from None
        cost = asked.price.of(answer.asked, answer.answered)
        self._meter.add(
            Use(
                at=self._now(),
                project=key.workspace,
                key=key.hash,
                model=asked.canonical,
                kind=asked.kind,
                asked=answer.asked,
                answered=answer.answered,
                cost=cost,
            )
        )
        self._keys[key.hash] = replace(key, last_used_at=self._now())
        self._changed()
        usage = {**answer.body["usage"], "cost": float(cost)}
        return {**answer.body, "model": asked.slug, "provider": asked.maker, "usage": usage}

    def _key_of(self, token: str) -> Key:
        key = self._keys.get(digest(token))
        if key is None or key.deleted_at is not None:
            raise Fault(401, "User not found.")
        if key.disabled:
            raise Fault(401, "This API key is disabled.")
        if self._status(key) == "expired":
            raise Fault(401, "This API key has expired.")
        return key

    # Keys

    async def _list_keys(self, request: Request) -> Json:
        workspace = self._workspace_of(request.query_params.get("workspace_id"))
        left_out = {"revoked", "disabled", "expired"}
        for status in ("disabled", "expired"):
            if request.query_params.get(f"include_{status}", "false").lower() == "true":
                left_out.remove(status)
        keys = [it for it in self._keys.values() if it.workspace == workspace and self._status(it) not in left_out]
        shown: list[Key] = page(request, keys, size=KEYS_PAGE)
        spent = self._spent(*shown)
        return {"data": [self._shown(key, spent[key.hash]) for key in shown]}

    async def _create_key(self, request: Request) -> Json:
        body = await json_body(request)
        expires_at = utc(body, "expires_at")
        if expires_at is not None and expires_at <= self._clock():
            raise invalid("expires_at")
        value = f"sk-or-v1-{secrets.token_hex(32)}"
        key = Key(
            hash=digest(value),
            name=named(body),
            label=_label(value),
            workspace=self._workspace_of(body.get("workspace_id")),
            created_at=self._now(),
            limit=money(body, "limit"),
            limit_reset=reset(body, "limit_reset"),
            include_byok_in_limit=typed(body, "include_byok_in_limit", bool) or False,
            expires_at=expires_at,
            creator=typed(body, "creator_user_id", str),
        )
        self._keys[key.hash] = key
        self._changed()
        return {"data": self._shown(key), "key": value}

    async def _get_key(self, request: Request) -> Json:
        return {"data": self._shown(self._key(request))}

    async def _update_key(self, request: Request) -> Json:
        """What OpenRouter does not let be changed, the expiry above all, is passed over without a word."""
        body = await json_body(request)
        key = self._key(request)
        changes: Json = {}
        if "name" in body:
            changes["name"] = named(body)
        for flag in ("disabled", "include_byok_in_limit"):
            value = typed(body, flag, bool)
            if value is not None:
                changes[flag] = value
        if "limit" in body:
            changes["limit"] = money(body, "limit")
        if "limit_reset" in body:
            changes["limit_reset"] = reset(body, "limit_reset")
        key = self._keys[key.hash] = replace(key, updated_at=self._now(), **changes)
        self._changed()
        return {"data": self._shown(key)}

    async def _delete_key(self, request: Request) -> Json:
        key = self._key(request)
        self._keys[key.hash] = replace(key, deleted_at=self._now())
        self._guardrails.forget(key.hash)
        self._changed()
        return {"deleted": True}

    async def _get_own_key(self, request: Request) -> Json:
        token = bearer(request)
        managing = same(token, self._management_key)
        # The management key spends nothing, and has no limit.
        key = Key("", "", _label(token), self._default, 0) if managing else self._key_of(token)
        return {
            "data": {
                **_money(key, self._spent(key)[key.hash]),
                "label": key.label,
                "creator_user_id": key.creator,
                "expires_at": iso(key.expires_at),
                "include_byok_in_limit": key.include_byok_in_limit,
                "is_free_tier": False,
                "is_management_key": managing,
                "is_provisioning_key": managing,
                "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated."},
            }
        }

    def _key(self, request: Request) -> Key:
        key = self._keys.get(request.path_params["hash"])
        if key is None or key.deleted_at is not None:
            raise Fault(404, "API key not found")
        return key

    def _named_key(self, hash: str) -> tuple[str, str] | None:
        key = self._keys.get(hash)
        return None if key is None or key.deleted_at is not None else (key.name, key.label)

    def _shown(self, key: Key, spent: Spent | None = None) -> Json:
        return {
            "hash": key.hash,
            "name": key.name,
            "label": key.label,
            "disabled": key.disabled,
            "include_byok_in_limit": key.include_byok_in_limit,
            **_money(key, spent or self._spent(key)[key.hash]),
            "created_at": iso(key.created_at),
            "updated_at": iso(key.updated_at),
            "expires_at": iso(key.expires_at),
            "last_used_at": iso(key.last_used_at),
            "creator_user_id": key.creator,
            "external_user": None,
            "workspace_id": key.workspace,
        }

    def _spent(self, *keys: Key) -> dict[str, Spent]:
        """By key: in each present period and, under None, of all time."""
        began = {period: self._began(period) for period in PERIODS}
        spent: dict[str, Spent] = {key.hash: dict.fromkeys(PERIODS, Decimal(0)) for key in keys}
        for workspace in {key.workspace for key in keys}:
            for use in self._meter.uses(projects={workspace}):
                if use.key in spent:
                    for period in PERIODS:
                        if use.at >= began[period]:
                            spent[use.key][period] += use.cost
        return spent

    def _began(self, period: str | None) -> float:
        """When the present day, week (from Monday) or month began, in UTC; all time began in 1970."""
        if period is None:
            return 0
        today = moment(self._clock()).replace(hour=0, minute=0, second=0, microsecond=0)
        if period == "weekly":
            today -= timedelta(days=today.weekday())
        elif period == "monthly":
            today = today.replace(day=1)
        return today.timestamp()

    def _status(self, key: Key) -> str:
        if key.deleted_at is not None:
            return "revoked"
        if key.disabled:
            return "disabled"
        return "expired" if key.expires_at is not None and key.expires_at <= self._clock() else "active"

    # Workspaces, credits, members, models

    def _workspace_of(self, asked: object) -> str:
        if asked is None:
            return self._default
        if not isinstance(asked, str) or asked not in self._workspaces:
            raise invalid("workspace_id")
        return asked

    async def _list_workspaces(self, request: Request) -> Json:
        shown = [_shown_workspace(it) for it in self._workspaces.values()]
        return {"data": page(request, shown, size=PAGE_DEFAULT, most=PAGE_MOST), "total_count": len(shown)}

    async def _create_workspace(self, request: Request) -> Json:
        body = await json_body(request)
        made = Workspace(
            id=str(uuid.uuid4()),
            name=named(body),
            slug=named(body, "slug"),
            created_at=self._now(),
            description=typed(body, "description", str),
        )
        if any(it.slug == made.slug for it in self._workspaces.values()):
            raise Fault(400, "A workspace with this slug already exists")
        self._workspaces[made.id] = made
        self._changed()
        return {"data": _shown_workspace(made)}

    async def _get_workspace(self, request: Request) -> Json:
        asked = request.path_params["id"]
        found = next((it for it in self._workspaces.values() if asked in (it.id, it.slug)), None)
        if found is None:
            raise Fault(404, "Workspace not found")
        return {"data": _shown_workspace(found)}

    async def _get_credits(self, request: Request) -> Json:
        return {"data": {"total_credits": self.credits, "total_usage": float(self._meter.total().cost)}}

    async def _list_members(self, request: Request) -> Json:
        ana = {
            "id": "user_ana",
            "first_name": "Ana",
            "last_name": "Ruiz",
            "email": "ana@acme.example",
            "role": "org:admin",
        }
        return {"data": page(request, [ana], size=PAGE_DEFAULT, most=PAGE_MOST), "total_count": 1}

    def _list_models(self, among: Callable[[Model], bool]) -> Handler:
        async def listed(request: Request) -> Json:
            return _shown_models(request, [it for it in MODELS if among(it)])

        return listed

    async def _list_own_models(self, request: Request) -> Json:
        token = bearer(request)
        if same(token, self._management_key):
            return _shown_models(request, MODELS)
        key = self._key_of(token)
        return _shown_models(request, [it for it in MODELS if self._guardrails.admits(key.hash, it)])

    def _names(self) -> dict[str, str]:
        return {it.id: it.name for it in self._workspaces.values()} | {it.hash: it.name for it in self._keys.values()}

    def _now(self) -> int:
        return int(self._clock())


def _label(value: str) -> str:
    return f"{value[:12]}...{value[-3:]}"


def _money(key: Key, spent: Spent) -> Json:
    used = {period: float(amount) for period, amount in spent.items()}
    # What the last request spent too much makes the remainder negative.
    remaining = None if key.limit is None else key.limit - used[key.limit_reset]
    return {
        "limit": key.limit,
        "limit_reset": key.limit_reset,
        "limit_remaining": remaining,
        "usage": used[None],
        **{f"usage_{period}": used[period] for period in RESETS},
        **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), 0),
    }


def _shown_models(request: Request, models: Any) -> Json:
    shown = [it.shown() for it in models]
    return {"data": page(request, shown, size=500, most=1000), "total_count": len(shown), "links": {"next": None}}


def _shown_workspace(workspace: Workspace) -> Json:
    return {
        "id": workspace.id,
        "name": workspace.name,
        "slug": workspace.slug,
        "description": workspace.description,
        "created_at": iso(workspace.created_at),
        "updated_at": None,
        "created_by": None,
        "default_guardrail_id": str(uuid.uuid5(uuid.NAMESPACE_URL, workspace.id)),
        "default_text_model": None,
        "default_image_model": None,
        "default_provider_sort": None,
        "is_observability_io_logging_enabled": False,
        "is_observability_broadcast_enabled": False,
        "is_data_discount_logging_enabled": False,
        "io_logging_sampling_rate": 1,
        "io_logging_api_key_ids": None,
    }
