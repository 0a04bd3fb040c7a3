"""How the pretend OpenRouter reads requests and shapes its answers, errors and pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.requests import Request

from sandbox import wire
from sandbox.wire import Json

T = TypeVar("T")

RESETS = ("daily", "weekly", "monthly")


class Fault(wire.Fault):
    """An answer in the shape of OpenRouter's errors."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, {"error": {"code": status, "message": message}})


async def no_such_url(request: Request) -> Json:
    """Answers for every path that is none of the others."""
    raise Fault(404, "Not Found")


def bearer(request: Request) -> str:
    """The token that the request came with."""
    token = wire.bearer(request)
    if token is None:
        raise Fault(401, "Missing Authentication header")
    return token


async def json_body(request: Request) -> Json:
    """The body, which has to be a JSON object."""
    body = await wire.json_object(request)
    if body is None:
        raise Fault(400, "Invalid request parameters: the body must be a JSON object")
    return body


def typed(body: Json, name: str, kind: type[T]) -> T | None:
    """A parameter of exactly this type; None where it is absent or null."""
    value = body.get(name)
    if value is None or type(value) is kind:  # isinstance would let True pass for a number
        return value
    raise invalid(name)


def named(body: Json, name: str = "name") -> str:
    """A parameter that has to be there, and says something."""
    value = typed(body, name, str)
    if not value:
        raise invalid(name)
    return value


def listed(body: Json, name: str) -> list[str] | None:
    """A list of strings, which may be absent or null, but not empty."""
    value = typed(body, name, list)
    if value is not None and (not value or not all(isinstance(item, str) and item for item in value)):
        raise invalid(name)
    return value


def money(body: Json, name: str) -> float | None:
    """An amount in US dollars; None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if not wire.number(value) or value < 0:
        raise invalid(name)
    return float(value)


def reset(body: Json, name: str) -> str | None:
    """How often a limit begins anew; None where it never does."""
    value = typed(body, name, str)
    if value is not None and value not in RESETS:
        raise invalid(name)
    return value


def utc(body: Json, name: str) -> int | None:
    """A time to come, in ISO 8601 and in UTC, as seconds since 1970; None where it is absent or null."""
    value = typed(body, name, str)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(name) from None
    if at.utcoffset() != UTC.utcoffset(None):
        raise invalid(name)
    return int(at.timestamp())


def page(request: Request, things: Sequence[Any], *, size: int, most: int | None = None) -> list[Any]:
    """The page of `things` that the request's `offset` asks for, and its `limit` where `most` lets it have one."""
    offset = _count(request, "offset", 0)
    limit = size if most is None else _count(request, "limit", size)
    if most is not None and not 1 <= limit <= most:
        raise invalid("limit")
    return list(things[offset : offset + limit])


def invalid(name: str) -> Fault:
    """What to raise when a parameter is not what it should be."""
    return Fault(400, f"Invalid request parameters: {name}")


def _count(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, str(default))
    if not value.isdecimal():
        raise invalid(name)
    return int(value)
