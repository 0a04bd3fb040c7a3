"""How the pretend OpenAI reads requests and shapes its answers, errors and pages."""

import secrets
from collections.abc import Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.routing import Route

from sandbox import wire
from sandbox.wire import Handler, Json

T = TypeVar("T")

PAGE_DEFAULT, PAGE_MOST = 20, 100


class Fault(wire.Fault):
    """An answer in the shape of OpenAI's errors."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def route(method: str, path: str, handler: Handler) -> Route:
    """One endpoint; a `Fault` that the handler raises becomes the answer."""
    return wire.route(method, path, handler, headers=lambda: {"x-request-id": new_id("req")})


async def no_such_url(request: Request) -> Json:
    """Answers for every path that is none of the others."""
    raise Fault(404, f"Invalid URL ({request.method} {request.url.path})")


def bearer(request: Request) -> str:
    """The token that the request came with."""
    token = wire.bearer(request)
    if token is None:
        raise Fault(401, "You didn't provide an API key.")
    return token


async def json_body(request: Request) -> Json:
    """The body, which has to be a JSON object."""
    body = await wire.json_object(request)
    if body is None:
        raise Fault(400, "We could not parse the JSON body of your request.")
    return body


async def known_body(request: Request, known: frozenset[str]) -> Json:
    """The body, refused if it holds a parameter that is not `known`."""
    body = await json_body(request)
    for name in body:
        if name not in known:
            raise Fault(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    return body


def typed(body: Json, name: str, kind: type[T]) -> T | None:
    """A parameter of exactly this type; None where it is absent or null."""
    value = body.get(name)
    if value is None or type(value) is kind:  # isinstance would let True pass for a number
        return value
    raise Fault(400, f"Invalid type for '{name}'.", code="invalid_type", param=name)


def missing_parameter(name: str) -> Fault:
    """What to raise when a required parameter is absent."""
    return Fault(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)


def page(request: Request, things: Sequence[Json]) -> Json:
    """The page of `things` that the request's `limit` and `after` ask for."""
    asked, after = request.query_params.get("limit", str(PAGE_DEFAULT)), request.query_params.get("after")
    if not asked.isdecimal() or not 1 <= int(asked) <= PAGE_MOST:
        raise Fault(400, f"'limit' must be between 1 and {PAGE_MOST}.", param="limit")
    ids = [thing["id"] for thing in things]
    if after is not None and after not in ids:
        raise Fault(400, "'after' names nothing in this list.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    data = things[start : start + int(asked)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + len(data) < len(things),
    }


def new_id(kind: str) -> str:
    """A fresh id, in OpenAI's manner."""
    return f"{kind}_{secrets.token_hex(12)}"
