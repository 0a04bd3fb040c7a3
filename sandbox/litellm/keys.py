"""The pretend LiteLLM's virtual keys."""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal

from starlette.requests import Request

from sandbox.litellm.budgets import Budget, lifetime
from sandbox.litellm.teams import Team
from sandbox.litellm.wire import LICENCE_NEEDED, Fault, count, flag, json_body, page, raised, strings, typed
from sandbox.wire import Handler, Json, digest, iso

CHANGEABLE = frozenset(
    {
        "key_alias",
        "duration",
        "models",
        "max_budget",
        "budget_duration",
        "team_id",
        "user_id",
        "metadata",
        "tpm_limit",
        "rpm_limit",
        "blocked",
        "allowed_routes",
        "tags",
    }
)
LIST_DEFAULT, LIST_MOST = 10, 100
SHORTEST_CHOSEN = 16


@dataclass(frozen=True)
class Key:
    """`token` is the hash of its value. Without models, or routes, all are allowed. A deleted key is archived."""

    token: str
    key_name: str
    created_at: int
    alias: str | None = None
    team: str | None = None
    user: str | None = None
    models: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    tpm: int | None = None
    rpm: int | None = None
    expires: int | None = None
    blocked: bool = False
    metadata: Json = field(default_factory=dict)
    updated_at: int | None = None
    last_active: int | None = None
    deleted_at: int | None = None

    def status(self, now: float) -> str:
        """As LiteLLM calls it; a blocked key is "revoked"."""
        if self.deleted_at is not None:
            return "deleted"
        if self.blocked:
            return "revoked"
        return "expired" if self.expires is not None and self.expires < now else "active"


class Keys:
    """All keys. `team` looks a team up. Without a licence keys cannot bear tags."""

    def __init__(
        self,
        *,
        now: Callable[[], int],
        changed: Callable[[], None],
        team: Callable[[str | None], Team | None],
    ) -> None:
        self._now = now
        self._changed = changed
        self._team = team
        self._keys: dict[str, Key] = {}
        self.licensed = False
        self.routes: list[tuple[str, str, Handler]] = [
            ("POST", "/key/generate", self._generate),
            ("POST", "/key/update", self._update),
            ("POST", "/key/delete", self._delete),
            ("POST", "/key/block", self._blocking(True)),
            ("POST", "/key/unblock", self._blocking(False)),
            ("GET", "/key/info", self._get),
            ("GET", "/key/list", self._list),
            ("GET", "/key/aliases", self._list_aliases),
        ]

    def get(self, token: str) -> Key | None:
        """A living key."""
        key = self._keys.get(token)
        return None if key is None or key.deleted_at is not None else key

    def used(self, key: Key, cost: Decimal) -> None:
        """It spent so much just now."""
        now = self._now()
        self._keys[key.token] = replace(key, budget=key.budget.less(cost, now), last_active=now)

    def shown_of_team(self, team: str) -> list[Json]:
        """The team's living keys."""
        return [self.shown(key) for key in self._keys.values() if key.team == team and key.deleted_at is None]

    def drop_of_team(self, team: str) -> None:
        """Deletes the team's keys."""
        for key in list(self._keys.values()):
            if key.team == team and key.deleted_at is None:
                self._keys[key.token] = replace(key, deleted_at=self._now())

    def aliases(self) -> dict[str, str | None]:
        """The alias of every key that there ever was, by token."""
        return {key.token: key.alias for key in self._keys.values()}

    def snapshot(self) -> list[Json]:
        """Every key, deleted ones included."""
        now = self._now()
        statuses = {"deleted": "revoked", "revoked": "disabled"}
        return [
            {
                "id": key.token,
                "name": key.alias or key.key_name,
                "project": key.team,
                "redacted": key.key_name,
                "created_at": key.created_at,
                "expires_at": key.expires,
                "last_used_at": key.last_active,
                "status": statuses.get(status := key.status(now), status),
                "spent": key.budget.shown(now)["spend"],
                "limit": key.budget.most,
            }
            for key in list(self._keys.values())
        ]

    def dump(self) -> list[Json]:
        """All keys, for `load`. Holds no value."""
        return [{**asdict(key), "budget": key.budget.dump()} for key in list(self._keys.values())]

    def load(self, state: list[Json]) -> None:
        """Takes up what `dump` gave."""
        self._keys = {it["token"]: Key(**{**it, "budget": Budget.load(it["budget"])}) for it in state}

    async def _generate(self, request: Request) -> Json:
        body = await json_body(request, CHANGEABLE | {"key"})
        value = typed(body, "key", str)
        key = self._changed_by(Key("", "", self._now()), body)
        if value is not None and not value.startswith("sk-"):
            raise raised(400, "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.")
        if value is not None and len(value) < SHORTEST_CHOSEN:
            raise raised(
                400, f"Invalid key format. LiteLLM Virtual Key must be at least {SHORTEST_CHOSEN} characters long."
            )
        value = value or f"sk-{secrets.token_urlsafe(16)}"
        key = replace(key, token=digest(value), key_name=f"sk-...{value[-4:]}")
        # A value that is there already makes no second key, and changes nothing.
        key = self._keys.setdefault(key.token, key)
        self._changed()
        return {**self.shown(key), "key": value, "token_id": key.token, "duration": body.get("duration")}

    async def _update(self, request: Request) -> Json:
        body = await json_body(request, CHANGEABLE | {"key"})
        key = self._key(body.get("key"))
        key = replace(self._changed_by(key, body), updated_at=self._now())
        self._keys[key.token] = key
        self._changed()
        return {"key": body["key"], **self.shown(key)}

    async def _delete(self, request: Request) -> Json:
        """What is not there counts as deleted, as long as something is."""
        body = await json_body(request, frozenset({"keys", "key_aliases"}))
        asked = strings(body, "keys") or strings(body, "key_aliases")
        if not asked:
            raise Fault(500, "Invalid request type")
        tokens = {_token(it) for it in body.get("keys") or ()}
        aliases = () if tokens else asked
        keys = [
            key
            for key in self._keys.values()
            if key.deleted_at is None and (key.token in tokens or (key.alias is not None and key.alias in aliases))
        ]
        if not keys:
            raise raised(404, "No keys found")
        for key in keys:
            self._keys[key.token] = replace(key, deleted_at=self._now())
        self._changed()
        return {"deleted_keys": asked}

    def _blocking(self, blocked: bool) -> Handler:
        async def block(request: Request) -> Json:
            key = replace(self._key((await json_body(request, frozenset({"key"}))).get("key")), blocked=blocked)
            self._keys[key.token] = key
            self._changed()
            return self.shown(key)

        return block

    async def _get(self, request: Request) -> Json:
        """Deleted keys are still shown, out of the archive."""
        asked = request.query_params.get("key", "")
        key = self._keys.get(_token(asked))
        if key is None:
            raise Fault(404, "Key not found in database", kind="not_found_error", param="key")
        info = self.shown(key)
        del info["token"]
        return {"key": asked, "info": {**info, "status": key.status(self._now()), "deleted_at": iso(key.deleted_at)}}

    async def _list(self, request: Request) -> Json:
        """Newest first. An alias has to be the whole alias."""
        asked = request.query_params
        number, size = count(request, "page", 1), count(request, "size", LIST_DEFAULT, most=LIST_MOST)
        status = asked.get("status")
        if status is not None and status not in ("active", "expired", "revoked", "deleted"):
            raise raised(400, "Invalid status value. Supported: 'active', 'expired', 'revoked', 'deleted'.")
        now = self._now()
        found = [
            key
            for key in reversed(self._keys.values())
            if (key.status(now) == status if status else key.deleted_at is None)
            and asked.get("team_id") in (None, key.team)
            and asked.get("key_alias") in (None, key.alias)
            and asked.get("key_hash") in (None, key.token)
        ]
        shown, pages = page(found, number, size)
        whole = flag(request, "return_full_object")
        return {
            "keys": [self.shown(key) if whole else key.token for key in shown],
            "total_count": len(found),
            "current_page": number,
            "total_pages": pages,
        }

    async def _list_aliases(self, request: Request) -> Json:
        number, size = count(request, "page", 1), count(request, "size", 50, most=100)
        team, search = request.query_params.get("team_id"), request.query_params.get("search", "").lower()
        found = sorted(
            key.alias
            for key in self._keys.values()
            if key.alias and key.deleted_at is None and team in (None, key.team) and search in key.alias.lower()
        )
        shown, pages = page(found, number, size)
        more = {"total_count": len(found), "current_page": number, "total_pages": pages, "size": size}
        return {"aliases": shown, **more}

    def _key(self, asked: object) -> Key:
        key = self.get(_token(asked)) if isinstance(asked, str) else None
        if key is None:
            raise Fault(404, "Key not found.", kind="not_found_error", param="key")
        return key

    def _changed_by(self, key: Key, body: Json) -> Key:
        changes: Json = {}
        now = self._now()
        for name, given, kind in (
            ("alias", "key_alias", str),
            ("team", "team_id", str),
            ("user", "user_id", str),
            ("tpm", "tpm_limit", int),
            ("rpm", "rpm_limit", int),
            ("blocked", "blocked", bool),
            ("metadata", "metadata", dict),
        ):
            if body.get(given) is not None:
                changes[name] = typed(body, given, kind)
        if body.get("tags") is not None:
            if not self.licensed:
                raise Fault(500, f"Only premium users can add tags to keys. {LICENCE_NEEDED}")
            changes["metadata"] = {**changes.get("metadata", key.metadata), "tags": strings(body, "tags")}
        for name, given in (("models", "models"), ("routes", "allowed_routes")):
            if body.get(given) is not None:
                changes[name] = strings(body, given)
        if "duration" in body:
            duration = typed(body, "duration", str)
            changes["expires"] = None if duration is None else lifetime(duration, now)
        self._check_alias(changes.get("alias"), key)
        self._check_team(changes)
        return replace(key, budget=key.budget.changed(body, now), **changes)

    def _check_alias(self, alias: str | None, key: Key) -> None:
        others = (it for it in self._keys.values() if it.deleted_at is None and it.token != key.token)
        if alias is not None and any(it.alias == alias for it in others):
            raise Fault(
                400,
                f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required.",
                kind="bad_request_error",
                param="key_alias",
            )

    def _check_team(self, changes: Json) -> None:
        team = self._team(changes.get("team"))
        beyond = set(changes.get("models", ())) - set(team.models) if team is not None and team.models else set()
        if beyond:
            raise raised(403, f"Team does not allow access to models={sorted(beyond)}.")

    def shown(self, key: Key) -> Json:
        """As LiteLLM shows it, by its hash."""
        return {
            "token": key.token,
            "key_name": key.key_name,
            "key_alias": key.alias,
            "team_id": key.team,
            "user_id": key.user,
            "models": key.models,
            "allowed_routes": key.routes,
            **key.budget.shown(self._now()),
            "tpm_limit": key.tpm,
            "rpm_limit": key.rpm,
            "expires": iso(key.expires),
            "blocked": key.blocked or None,
            "metadata": key.metadata,
            "created_at": iso(key.created_at),
            "updated_at": iso(key.updated_at),
            "last_active": iso(key.last_active),
        }


def _token(asked: str) -> str:
    """The hash of what may be a value or a hash."""
    return digest(asked) if asked.startswith("sk-") else asked
