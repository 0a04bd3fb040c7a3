"""How the pretend OpenAI reads requests and shapes its answers, errors and pages."""

import secrets
from collections.abc import Callable, Mapping, Sequence
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


def missing_scope(scope: str) -> Fault:
    """What to raise when a credential may not do this."""
    return Fault(
        403,
        f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the"
        " correct role in your organization and project, and if you're using a restricted API key, that it has the"
        " necessary scopes.",
    )


def wrong_key(shown: str) -> Fault:
    """What to raise when a credential is none."""
    return Fault(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def no_such(thing: str) -> Fault:
    """What to raise when an id names nothing."""
    return Fault(404, f"No {thing} found with this id.", code="not_found")


def amount(body: Json, name: str, least: int) -> int:
    """A required whole number, of at least so much."""
    value = typed(body, name, int)
    if value is None:
        raise missing_parameter(name)
    if value < least:
        raise Fault(400, f"'{name}' must be at least {least}.", code="integer_below_min_value", param=name)
    return value


def one_of(body: Json, name: str, known: Sequence[str]) -> str:
    """A required word, one of these."""
    value = body.get(name)
    if value is None:
        raise missing_parameter(name)
    if value not in known:
        raise Fault(400, f"Invalid value for '{name}': expected {' or '.join(map(repr, known))}.", param=name)
    return str(value)


def several(request: Request, name: str) -> list[str]:
    """All values of a query parameter that may be repeated, with or without brackets."""
    return request.query_params.getlist(name) + request.query_params.getlist(f"{name}[]")


def limit(request: Request, default: int, most: int) -> int:
    """How many the caller asks for."""
    asked = request.query_params.get("limit", str(default))
    if not asked.isdecimal() or not 1 <= int(asked) <= most:
        raise Fault(400, f"'limit' must be between 1 and {most}.", param="limit")
    return int(asked)


def page(request: Request, things: Mapping[str, T], show: Callable[[T], Json], *, size: int = PAGE_DEFAULT) -> Json:
    """The page of `things`, by id, that the request's `limit` and `after` ask for; `show` makes an item of each."""
    size, after = limit(request, size, PAGE_MOST), request.query_params.get("after")
    ids = list(things)
    if after is not None and after not in things:
        raise Fault(400, "'after' names nothing in this list.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    data = [show(things[id]) for id in ids[start : start + size]]
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
