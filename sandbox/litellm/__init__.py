"""A pretend LiteLLM proxy: its virtual keys and teams, and the endpoints that those keys open.

Paths, fields and errors follow LiteLLM's own description and what version 1.106 does where that says nothing: errors
come as 500 that no repetition mends, a deleted key is still shown, and a key's value may be chosen. Only the hash of a
value is kept, and the hash is the key's id.
"""

from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.inference import Answering, Unheard, complete_chat, embed
from sandbox.litellm.keys import Key, Keys
from sandbox.litellm.teams import Team, Teams
from sandbox.litellm.usage import Usage
from sandbox.litellm.wire import DB_NEEDED, Fault, no_such_url
from sandbox.metering import PRICES, Meter, Use
from sandbox.wire import Handler, Json, bearer, digest, json_object, route, same

ENDPOINTS: dict[str, Answering] = {"/chat/completions": complete_chat, "/embeddings": embed}
MINUTE = 60


class PretendLiteLLM:
    """Holds the proxy's state and answers for it under `routes`. `changed` is called after each change of state."""

    def __init__(self, *, master_key: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._master_key = master_key
        self._clock = clock
        self._changed = changed
        self._meter = Meter()
        self._database = True
        self._keys = Keys(now=self._now, changed=changed, team=self._team)
        self._teams = Teams(
            now=self._now,
            changed=changed,
            keys_of=self._keys.shown_of_team,
            drop=self._keys.drop_of_team,
        )
        usage = Usage(self._meter, key_of=self._of_key)
        admin = [*self._keys.routes, *self._teams.routes, *usage.routes]
        self.routes: list[BaseRoute] = [
            *(route(method, path, self._for_admin(path, handler)) for method, path, handler in admin),
            *(
                route("POST", prefix + path, self._for_key(prefix + path, answering))
                for path, answering in ENDPOINTS.items()
                for prefix in ("", "/v1")
            ),
            *(route("GET", prefix + "/models", self._list_models) for prefix in ("", "/v1")),
            route("GET", "/health/readiness", self._readiness),
            *(route(method, "/{path:path}", no_such_url) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    def set(self, *, database: bool | None = None, licensed: bool | None = None) -> None:
        """Whether the proxy has a database, and whether a licence; what is not said stays."""
        self._database = self._database if database is None else database
        self._keys.licensed = self._keys.licensed if licensed is None else licensed
        self._changed()

    def snapshot(self) -> Json:
        """What the proxy's dashboard would show, deleted keys included."""
        return {
            "database": self._database,
            "licensed": self._keys.licensed,
            "projects": self._teams.snapshot(),
            "keys": self._keys.snapshot(),
        }

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {
            "database": self._database,
            "licensed": self._keys.licensed,
            "teams": self._teams.dump(),
            "keys": self._keys.dump(),
            "uses": self._meter.dump(),
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self._database = state["database"]
        self._keys.licensed = state["licensed"]
        self._teams.load(state["teams"])
        self._keys.load(state["keys"])
        self._meter.load(state["uses"])

    # Who asks

    def _for_admin(self, path: str, handler: Handler) -> Handler:
        async def guarded(request: Request) -> object:
            token = _token(request)
            if not same(token, self._master_key):
                self._key_of(token, path)
                raise _denied(
                    401,
                    "Only proxy admin can be used to generate, delete, update info for new keys/users/teams."
                    f" Route={path}. Your role=unknown.",
                )
            if not self._database:
                raise _without_database(path)
            return await handler(request)

        return guarded

    def _for_key(self, path: str, answering: Answering) -> Handler:
        async def guarded(request: Request) -> Json:
            token = _token(request)
            body = await json_object(request)
            if body is None or not isinstance(body.get("model"), str):
                raise Fault(400, "Invalid request: it names no model", kind="invalid_request_error")
            key = None if same(token, self._master_key) else self._key_of(token, path)
            if key is not None:
                self._admit(key, body["model"])
            if body["model"] not in _models(path):
                raise Fault(
                    400, f"{path}: Invalid model name passed in model={body['model']}", kind="invalid_request_error"
                )
            return self._answer(key, path, answering, body)

        return guarded

    def _key_of(self, token: str, path: str) -> Key:
        if not token.startswith("sk-"):
            raise _denied(401, "LiteLLM Virtual Key expected, expected to start with 'sk-'.")
        if not self._database:
            raise Fault(400, "No connected db.", kind="no_db_connection", param=None)
        key = self._keys.get(digest(token))
        if key is None:
            raise Fault(
                401,
                f"Authentication Error, Invalid proxy server token passed. key={digest(token)}, not found in db."
                " Create key via `/key/generate` call.",
                kind="token_not_found_in_db",
                param="key",
            )
        if key.blocked:
            raise _denied(401, "Key is blocked. Update via `/key/unblock` if you're an admin.")
        if key.status(self._clock()) == "expired":
            raise Fault(401, "Authentication Error - Expired Key.", kind="expired_key", param=key.key_name)
        if key.routes and path not in key.routes and "llm_api_routes" not in key.routes:
            message = f"Virtual key is not allowed to call this route. Only allowed to call routes: {key.routes}."
            raise Fault(403, f"{message} Tried to call route: {path}", kind="auth_error")
        return key

    def _admit(self, key: Key, model: str) -> None:
        team = self._teams.get(key.team)
        if team is not None and team.blocked:
            raise _denied(401, f"Team={team.id} is blocked. Update via `/team/unblock` if you're an admin.")
        for who, models in (("key", key.models), ("team", team.models if team else [])):
            if models and model not in models:
                message = (
                    f"The requested model '{model}' is not available for this API key, or the model name is invalid."
                )
                raise Fault(403, message, kind=f"{who}_model_access_denied", param="model")
        self._weigh(f"Key={key.alias or 'key'} ({key.key_name})", key, keys={key.token}, projects={key.team or ""})
        if team is not None:
            self._weigh(f"Team={team.id}", team, projects={team.id})

    def _weigh(self, name: str, thing: Key | Team, **where: Collection[str]) -> None:
        """Refuses what a budget or a rate, which is that of the present minute, has no room for."""
        now = self._now()
        budget = thing.budget.at(now)
        if budget.exhausted:
            message = f"Budget has been exceeded! {name} Current cost: {budget.spent}, Max budget: {budget.most}"
            raise Fault(422, message, kind="budget_exceeded", param=None)
        used = self._meter.total(start=now - now % MINUTE, end=None, **where)
        for kind, limit, so_far in (
            ("requests", thing.rpm, used.requests),
            ("tokens", thing.tpm, used.asked + used.answered),
        ):
            if limit is not None and so_far >= limit:
                message = f"Rate limit exceeded for {name}. Limit type: {kind}. Current limit: {limit}"
                raise Fault(429, message, kind="throttling_error")

    def _answer(self, key: Key | None, path: str, answering: Answering, body: Json) -> Json:
        try:
            answer = answering(body, self._now())
        except Unheard as unheard:
            raise Fault(400, unheard.message, kind="invalid_request_error", param=unheard.param) from None
        cost = PRICES[body["model"]].of(answer.asked, answer.answered)
        self._meter.add(
            Use(
                at=self._now(),
                project=(key.team if key else None) or "",
                key=key.token if key else digest(self._master_key),
                model=body["model"],
                kind=path.rpartition("/")[2],
                asked=answer.asked,
                answered=answer.answered,
                cost=cost,
            )
        )
        if key is not None:
            self._keys.used(key, cost)
            team = self._teams.get(key.team)
            if team is not None:
                self._teams.used(team, cost)
        self._changed()
        return answer.body

    # What the rooms ask

    def _team(self, id: str | None) -> Team | None:
        return self._teams.get(id)

    def _of_key(self, token: str) -> Json:
        return {"key_alias": self._keys.aliases().get(token), "key_exists": self._keys.get(token) is not None}

    async def _list_models(self, request: Request) -> Json:
        token = _token(request)
        names: Collection[str] = PRICES
        if not same(token, self._master_key):
            key = self._key_of(token, "/models")
            team = self._teams.get(key.team)
            names = key.models or (team.models if team else None) or PRICES
        data = [{"id": name, "object": "model", "created": 1_750_000_000, "owned_by": "openai"} for name in names]
        return {"object": "list", "data": data}

    async def _readiness(self, request: Request) -> Json:
        return {"status": "healthy", "db": "connected" if self._database else "Not connected"}

    def _now(self) -> int:
        return int(self._clock())


def _token(request: Request) -> str:
    token = bearer(request)
    if token is None:
        raise _denied(401, "No api key passed in.")
    return token


def _models(path: str) -> list[str]:
    return [name for name in PRICES if ("embedding" in name) == path.endswith("/embeddings")]


def _denied(status: int, message: str) -> Fault:
    return Fault(status, f"Authentication Error, {message}", kind="auth_error")


def _without_database(path: str) -> Fault:
    """Every part of LiteLLM has its own words for it; the status is 500 almost everywhere."""
    if path in ("/key/generate", "/user/daily/activity"):
        return Fault(500, str({"error": DB_NEEDED}))
    if path == "/team/list":
        return Fault(400, str({"error": DB_NEEDED}))
    return Fault(500, "Authentication Error, Database not connected" if path == "/key/list" else "Not connected to DB!")
