"""Slack's Web API: reads a call's arguments, checks its token and scope, and answers as Slack does."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.credentials import Credentials
from sandbox.delivery import RECORD_KEPT
from sandbox.limits import Limits
from sandbox.workspace import Clock, Json, Refusal

Handler = Callable[["Call"], Json]

_JSON_ARGUMENTS = frozenset({"blocks", "view", "metadata"})
_TRUE = frozenset({"1", "true", "True"})
_SECRET_ARGUMENTS = frozenset({"client_secret", "code"})


@dataclass(frozen=True)
class Method:
    """One method. `scopes` are those of which the token needs any; `tokens` says whose token it takes."""

    handler: Handler
    scopes: tuple[str, ...] = ()
    tokens: str = "bot"  # "bot", "app" or "none"


@dataclass(frozen=True)
class Call:
    """One call of a method."""

    args: Json
    scopes: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None

    def text(self, name: str, missing: str | None = None) -> str:
        """A text argument; refused by the name `missing` where it has to be there."""
        value = self.args.get(name)
        if value in (None, ""):
            if missing:
                raise Refusal(missing)
            return ""
        return str(value)

    def flag(self, name: str) -> bool:
        """A boolean argument, in any of the ways in which SDKs write it."""
        return str(self.args.get(name, "")) in _TRUE

    def words(self, name: str) -> list[str]:
        """A list, or a text with commas."""
        value = self.args.get(name) or ()
        return value.split(",") if isinstance(value, str) else [str(item) for item in value]

    def page(self, found: list[Any], most: int = 1000) -> tuple[list[Any], Json]:
        """The part of the list that `limit` and `cursor` ask for, and the metadata that leads to the next."""
        try:
            start, size = int(self.text("cursor") or 0), int(self.text("limit") or most)
        except ValueError:
            raise Refusal("invalid_cursor") from None
        end = start + max(1, min(size, most))
        return found[start:end], {"response_metadata": {"next_cursor": str(end) if end < len(found) else ""}}


class WebApi:
    """The methods, behind one route. `refusal` is what every call by the bot's token hears, while the app is not installed."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        scopes: Iterable[str],
        clock: Clock,
        methods: Mapping[str, Method],
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._bot_token, self._app_token = credentials.bot_token, credentials.app_token
        self._scopes = tuple(scopes)
        self._clock = clock
        self._methods = methods
        self.refusal: str | None = None
        self.record: deque[Json] = deque(maxlen=RECORD_KEPT)
        self.route = Route("/api/{method}", self._serve, methods=["GET", "POST"])

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["method"]
        headers = {"x-oauth-scopes": ",".join(self._scopes)}
        args: Json = {}
        token = None
        try:
            args, token = await _arguments(request)
            if (wait := self._limits.retry_after(name, args)) is not None:
                return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"retry-after": str(wait)})
            answer = {"ok": True, **self._call(name, args, token, request.headers)}
        except Refusal as refusal:
            answer = {"ok": False, "error": refusal.error, **refusal.more}
        method = self._methods.get(name)
        if method and method.scopes:
            headers["x-accepted-oauth-scopes"] = ",".join(method.scopes)
        self.record.append(
            {
                "method": name,
                "token_ok": token in (self._bot_token, self._app_token),
                "args": {name: value for name, value in args.items() if name not in _SECRET_ARGUMENTS},
                "response": answer,
                "time": self._clock(),
            }
        )
        return JSONResponse(answer, headers=headers)

    def _call(self, name: str, args: Json, token: str | None, headers: Mapping[str, str]) -> Json:
        method = self._methods.get(name)
        if method is None:
            raise Refusal("unknown_method", req_method=name)
        if method.tokens != "none":
            if not token:
                raise Refusal("not_authed")
            if token not in (self._bot_token, self._app_token):
                raise Refusal("invalid_auth")
            if self.refusal and method.tokens == "bot":
                raise Refusal(self.refusal)
            if token != (self._app_token if method.tokens == "app" else self._bot_token):
                raise Refusal("not_allowed_token_type")
        if method.scopes and not set(method.scopes) & set(self._scopes):
            raise Refusal("missing_scope", needed=",".join(method.scopes), provided=",".join(self._scopes))
        return method.handler(Call(args, frozenset(self._scopes), headers, token))


async def _arguments(request: Request) -> tuple[Json, str | None]:
    """All arguments, from wherever SDKs put them, and the token."""
    args: Json = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    body = await request.body()
    if kind == "application/json" and body:
        try:
            told = json.loads(body)
        except ValueError:
            raise Refusal("invalid_json") from None
        if not isinstance(told, dict):
            raise Refusal("json_not_object")
        args |= told
    elif body and kind == "application/x-www-form-urlencoded":
        args |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    elif body:
        raise Refusal("invalid_post_type")
    for name in _JSON_ARGUMENTS & args.keys():
        if isinstance(args[name], str) and args[name]:
            try:
                args[name] = json.loads(args[name])
            except ValueError:
                raise Refusal("invalid_blocks_format" if name == "blocks" else "invalid_arguments") from None
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    in_body = args.pop("token", None)
    return args, bearer if scheme.lower() == "bearer" else in_body
