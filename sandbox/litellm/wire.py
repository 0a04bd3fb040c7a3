"""How the pretend LiteLLM proxy reads requests and shapes its answers, errors and pages."""

from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from sandbox import wire
from sandbox.wire import Json

T = TypeVar("T")

DB_NEEDED = (
    "DB not connected. This endpoint needs a database; set DATABASE_URL to a PostgreSQL connection string"
    " (postgresql://...) to enable it. See https://docs.litellm.ai/docs/proxy/virtual_keys"
)
LICENCE_NEEDED = (
    "You must be a LiteLLM Enterprise user to use this feature. If you have a license please set `LITELLM_LICENSE` in"
    " your env. Get a 7 day trial key here: https://www.litellm.ai/enterprise#trial."
)


class Fault(wire.Fault):
    """An answer in the shape of LiteLLM's errors, in which a code is text."""

    def __init__(
        self, status: int, message: str, *, kind: str = "internal_server_error", param: str | None = "None"
    ) -> None:
        super().__init__(status, {"error": {"message": message, "type": kind, "param": param, "code": str(status)}})


def raised(status: int, error: str) -> Fault:
    """What becomes of an error that LiteLLM raises with a detail: the detail as Python writes it."""
    return Fault(status, str({"error": error}))


async def no_such_url(request: Request) -> Json:
    """Answers for every path that is none of the others."""
    raise wire.Fault(404, {"detail": "Not Found"})


async def json_body(request: Request, known: frozenset[str]) -> Json:
    """The body, which has to be a JSON object of parameters that are `known` here."""
    body = await wire.json_object(request)
    if body is None:
        raise unprocessable(("body",), "JSON decode error", kind="json_invalid")
    for name in body:
        if name not in known:
            raise Fault(400, f"This pretend LiteLLM has no {name!r} here", kind="bad_request_error", param=name)
    return body


def typed(body: Json, name: str, kind: type[T]) -> T | None:
    """A parameter of this type; None where it is absent or null."""
    value = body.get(name)
    if value is None or type(value) is kind:  # isinstance would let True pass for a number
        return value
    raise unprocessable(("body", name), f"Input should be a valid {kind.__name__}")


def strings(body: Json, name: str) -> list[str] | None:
    """A list of strings; None where it is absent or null."""
    value = typed(body, name, list)
    if value is not None and not all(isinstance(item, str) for item in value):
        raise unprocessable(("body", name), "Input should be a valid string")
    return value


def money(body: Json, name: str) -> float | None:
    """An amount in US dollars; None where it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if not wire.number(value):
        raise unprocessable(("body", name), "Input should be a valid number")
    if value < 0:
        raise raised(400, f"{name} must be a non-negative finite number. Received: {value}")
    return float(value)


def count(request: Request, name: str, default: int, *, most: int | None = None) -> int:
    """A positive number of the query."""
    value = request.query_params.get(name, str(default))
    if not value.isdecimal() or int(value) < 1 or (most is not None and int(value) > most):
        raise unprocessable(("query", name), "Input should be a valid integer within its bounds")
    return int(value)


def flag(request: Request, name: str) -> bool:
    """A yes or no of the query; no where nothing is said."""
    return request.query_params.get(name, "false").lower() in ("true", "1")


def page(things: Sequence[T], number: int, size: int) -> tuple[Sequence[T], int]:
    """The page of this number, from 1, and how many pages there are."""
    return things[(number - 1) * size : number * size], -(-len(things) // size)


def unprocessable(where: tuple[str, ...], message: str, *, kind: str = "value_error") -> wire.Fault:
    """What FastAPI answers to a parameter that is not what it should be."""
    detail: list[dict[str, Any]] = [{"loc": list(where), "msg": message, "type": kind}]
    return wire.Fault(422, {"detail": detail})
