"""How pretend vendors are reached: routes, bearer tokens, bodies, errors, and how the values of keys are kept."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from json import JSONDecodeError
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Any]]


class Vendor(Protocol):
    """A pretend vendor: its state can be shown, written down and taken up again."""

    def snapshot(self) -> Json: ...
    def dump(self) -> Json: ...
    def load(self, state: Json) -> None: ...


class Fault(Exception):
    """An answer that is an error, in the vendor's own shape."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def route(
    method: str, path: str, handler: Handler, *, status: int = 200, headers: Callable[[], Mapping[str, str]] = dict
) -> Route:
    """One endpoint; a `Fault` that the handler raises becomes the answer. Every answer bears `headers`."""

    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await handler(request), status, headers())
        except Fault as fault:
            return JSONResponse(fault.body, fault.status, headers())

    return Route(path, endpoint, methods=[method])


def bearer(request: Request) -> str | None:
    """The token that the request came with."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


async def json_object(request: Request) -> Json | None:
    """The body, where it is a JSON object."""
    try:
        body = await request.json()
    except (JSONDecodeError, UnicodeDecodeError):
        return None
    return body if isinstance(body, dict) else None


def number(value: Any) -> bool:
    """Whether JSON means a number; to Python, true is one too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def digest(value: str) -> str:
    """What is kept of a key's value."""
    return hashlib.sha256(value.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def moment(at: float) -> datetime:
    """Seconds since 1970 as a time of UTC."""
    return datetime.fromtimestamp(at, UTC)


def iso(at: float | None) -> str | None:
    """Seconds since 1970 in ISO 8601; null where there are none."""
    return None if at is None else moment(at).isoformat().replace("+00:00", "Z")
