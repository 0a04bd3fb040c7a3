"""What the tests of providers share: real servers on loopback, and what the vendors publish of their APIs."""

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.faults import Faults

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass(frozen=True)
class Exchange:
    """One request and what was answered. The path is the one below the API's base."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    body: Any
    status: int
    answer: Any


@dataclass
class Served:
    """A running server: where it is, and all that passed."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of each request, in order of their answers."""
        return [(exchange.method, exchange.path) for exchange in self.exchanges]


class _Recorder:
    def __init__(self, app: ASGIApp, base: str, into: list[Exchange]) -> None:
        self._app, self._base, self._into = app, base, into

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, answered, status = b"", b"", 0

        async def hear() -> Message:
            nonlocal sent
            message = await receive()
            sent += message.get("body", b"")
            return message

        async def say(message: Message) -> None:
            nonlocal answered, status
            status = message.get("status", status)
            answered += message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body"):
                query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
                path = scope["path"].removeprefix(self._base)
                self._into.append(
                    Exchange(scope["method"], path, query, _json(sent), status, _json(answered)),
                )
            await send(message)

        await self._app(scope, hear, say)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


@contextmanager
def serve(routes: Sequence[BaseRoute], base: str = "/openai/v1", faults: Faults | None = None) -> Iterator[Served]:
    """Serves the routes below `base` on a free port of 127.0.0.1, behind the faults that may be set."""
    # asyncio turns Nagle's delay (40 ms a call) off only for sockets that say they are TCP, as create_server's do not.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # at once, so that no client needs to wait for the server
    served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}{base}")
    app = _Recorder((faults or Faults()).around(Starlette(routes=[Mount(base, routes=routes)])), base, served.exchanges)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Description:
    """A vendor's published description of its API.

    `newer` names parameters that the vendor's SDK documents and the description does not yet; `errors` is the schema of
    errors with a status that it does not describe.
    """

    def __init__(self, document: Mapping[str, Any], *, errors: Mapping[str, Any], newer: frozenset[str]) -> None:
        self._components = document["components"]
        self._errors = errors
        self._newer = newer
        self._paths = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), operations)
            for path, operations in document["paths"].items()
        ]

    def knows(self, exchange: Exchange) -> bool:
        """Whether the path and its method are described."""
        return self._operation(exchange) is not None

    def check(self, exchange: Exchange) -> None:
        """Fails unless the request and its answer are as described."""
        operation = self._operation(exchange)
        assert operation is not None, f"{exchange.method} {exchange.path} is not described"
        described = {
            parameter["name"]: parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
        }
        asked = {name.removesuffix("[]"): values for name, values in exchange.query.items()}
        assert set(asked) <= set(described) | self._newer
        assert {name for name, parameter in described.items() if parameter.get("required")} <= set(asked)
        for name in set(asked) & set(described):
            self._fits(described[name]["schema"], _read(asked[name], described[name]["schema"]))
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self._fits(schema, exchange.body)
            if "$ref" in schema:
                schema = self._components["schemas"][schema["$ref"].rpartition("/")[2]]
            assert set(exchange.body) <= set(schema["properties"]) | self._newer
        else:
            assert exchange.body is None
        answers = operation["responses"].get(str(exchange.status), {}).get("content", {})
        self._fits(answers["application/json"]["schema"] if answers else self._errors, exchange.answer)
        assert answers or exchange.status >= 400

    def check_answer(self, path: str, exchange: Exchange) -> None:
        """Fails unless the answer is as described for another path."""
        answers = next(it["get"] for known, it in self._paths if known.fullmatch(path))["responses"]
        self._fits(answers[str(exchange.status)]["content"]["application/json"]["schema"], exchange.answer)

    def _operation(self, exchange: Exchange) -> Mapping[str, Any] | None:
        method = exchange.method.lower()
        return next((it[method] for path, it in self._paths if path.fullmatch(exchange.path) and method in it), None)

    def _fits(self, schema: Mapping[str, Any], value: Any) -> None:
        Draft202012Validator({**schema, "components": self._components}).validate(value)


def _read(values: Sequence[str], schema: Mapping[str, Any]) -> Any:
    """What a query parameter says: everything is text on the way."""
    kinds = {kind for it in (schema, *schema.get("anyOf", ())) for kind in _kinds(it)}
    if "array" in kinds:
        return list(values)
    return json.loads(values[-1]) if kinds & {"integer", "number", "boolean"} else values[-1]


def _kinds(schema: Mapping[str, Any]) -> Sequence[str]:
    kind = schema.get("type", ())
    return [kind] if isinstance(kind, str) else list(kind)


def description(vendor: str = "openai") -> Description:
    """Reads the description, or skips the test where the data does not lie beside the project."""
    name = f"{vendor}-admin.openapi.json"
    path = DATA / "providers" / name
    if not path.exists():
        pytest.skip(f"The vendor's description is not there: ../shared/data/providers/{name}")
    errors: Mapping[str, Mapping[str, Any]] = {
        "openai": {"$ref": "#/components/schemas/ErrorResponse"},
        "openrouter": {"$ref": "#/components/schemas/ForbiddenResponse"},  # one shape for all
        # LiteLLM describes no errors but FastAPI's; this is what its proxy says instead.
        "litellm": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code"],
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": "string"},
                    },
                }
            },
        },
    }
    newer = {"openai": {"expires_in_seconds"}, "openrouter": {"include_expired"}}
    known = frozenset(newer.get(vendor, ()))
    return Description(json.loads(path.read_text()), errors=errors[vendor], newer=known)
