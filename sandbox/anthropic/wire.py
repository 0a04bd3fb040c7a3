"""How the pretend Anthropic reads requests and shapes its answers, errors and pages."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from starlette.requests import Request
from starlette.routing import Route

from sandbox import wire
from sandbox.wire import Handler, Json

T = TypeVar("T")

PAGE_DEFAULT, PAGE_MOST = 20, 1000

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Fault(wire.Fault):
    """An answer in the shape of Anthropic's errors; `code` is what its SDK tells some of them apart by."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        details = {} if code is None else {"details": {"error_code": code}}
        error = {"type": _KINDS.get(status, "invalid_request_error"), "message": message, **details}
        super().__init__(status, {"type": "error", "error": error, "request_id": new_id("req")})


def route(method: str, path: str, handler: Handler) -> Route:
    """One endpoint; a `Fault` that the handler raises becomes the answer."""

    async def versioned(request: Request) -> Json:
        if "anthropic-version" not in request.headers:
            raise Fault(400, "anthropic-version: header is required")
        answer: Json = await handler(request)
        return answer

    return wire.route(method, path, versioned, headers=lambda: {"request-id": new_id("req")})


async def no_such_url(request: Request) -> Json:
    """Answers for every path that is none of the others."""
    raise Fault(404, f"Not Found: {request.method} {request.url.path}")


def token(request: Request) -> str:
    """The key that the request came with: curl sends it as x-api-key, the SDK as a bearer token."""
    value = request.headers.get("x-api-key") or wire.bearer(request)
    if value is None:
        raise Fault(401, "x-api-key header is required")
    return value


async def known_body(request: Request, known: frozenset[str]) -> Json:
    """The body, refused if it holds something that is not `known`. What is null counts as left out."""
    body = await json_body(request)
    for name in body:
        if name not in known:
            raise Fault(400, f"{name}: Extra inputs are not permitted")
    return {name: value for name, value in body.items() if value is not None}


async def json_body(request: Request) -> Json:
    """The body, which has to be a JSON object."""
    body = await wire.json_object(request)
    if body is None:
        raise Fault(400, "The request body is not valid JSON")
    return body


def text(body: Json, name: str, default: str | None = None) -> str:
    """A text that is not empty; the default where it is left out, if there is one."""
    value = body.get(name, default)
    if value is None:
        raise Fault(400, f"{name}: Field required")
    if not isinstance(value, str) or not value:
        raise Fault(400, f"{name}: Input should be a valid string")
    return value


def one_of(body: Json, name: str, known: Sequence[str], default: str | None = None) -> str:
    """A word, one of these; the default where it is left out, if there is one."""
    value = text(body, name, default)
    if value not in known:
        raise Fault(400, f"{name}: Input should be {' or '.join(map(repr, known))}")
    return value


def several(request: Request, name: str) -> list[str]:
    """All values of a query parameter that may be repeated, with or without brackets."""
    return request.query_params.getlist(name) + request.query_params.getlist(f"{name}[]")


def limit(request: Request, default: int, most: int) -> int:
    """How many the caller asks for."""
    asked = request.query_params.get("limit", str(default))
    if not asked.isdecimal() or not 1 <= int(asked) <= most:
        raise Fault(400, f"limit: Input should be between 1 and {most}")
    return int(asked)


def instant(request: Request, name: str) -> float | None:
    """A time in RFC 3339, as seconds since 1970."""
    said = request.query_params.get(name)
    if said is None:
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise Fault(400, f"{name}: Input should be a valid datetime") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def page(request: Request, things: Mapping[str, T], show: Callable[[T], Json]) -> Json:
    """The page of `things`, by id, that the request asks for; `show` makes an item of each."""
    size = limit(request, PAGE_DEFAULT, PAGE_MOST)
    after, before = request.query_params.get("after_id"), request.query_params.get("before_id")
    if after is not None and before is not None:
        raise Fault(400, "Only one of before_id and after_id can be given")
    for cursor in (after, before):
        if cursor is not None and cursor not in things:
            raise Fault(400, "The cursor names nothing in this list")
    ids = list(things)
    if before is not None:
        past = ids.index(before)
        shown, more = ids[max(past - size, 0) : past], past > size
    else:
        start = 0 if after is None else ids.index(after) + 1
        shown, more = ids[start : start + size], start + size < len(ids)
    return {
        "data": [show(things[id]) for id in shown],
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
        "has_more": more,
    }


def new_id(kind: str) -> str:
    """A fresh id, in Anthropic's manner."""
    return f"{kind}_01{secrets.token_hex(11)}"
