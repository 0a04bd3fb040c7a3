"""What goes wrong on the way to the pretend Slack and the pretend vendors: errors, waits, cut connections, hours of silence.

A fault meets calls before they reach what they call. Whether the call takes effect is the fault's to say, whatever its
caller hears: that is how a time-out looks from the other side.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.workspace import Json

PATHS = {
    "slack": "/api/",
    "openai": "/openai/v1/",
    "openrouter": "/openrouter/api/v1/",
    "litellm": "/litellm/",
    "anthropic": "/anthropic/",
}
KEPT = 10_000

_SLACK_ERRORS = {429: "ratelimited", 500: "internal_error", 503: "service_unavailable"}


@dataclass
class Fault:
    """What happens to the next `times` calls of a target that fit `call`; to all until mended, where that is None.

    `call` is a pattern with `*`: of Slack's method (`chat.*`), or of a vendor's method and path
    (`POST */service_accounts`). In this order: with `cut` the caller's connection breaks; then `delay` seconds pass,
    and with `held` the time until `release`; then, where it `acts`, the call takes effect; then the caller, if not cut
    off, hears `status`, or the true answer where that is None. `cut` with `acts` and no wait breaks the connection after
    the effect: nobody can tell.
    """

    target: str
    call: str = "*"
    times: int | None = 1
    status: int | None = None
    retry_after: float | None = None
    delay: float = 0.0
    held: bool = False
    cut: bool = False
    acts: bool = False

    def __post_init__(self) -> None:
        if self.target not in PATHS:
            raise ValueError(f"a fault's target is one of {', '.join(PATHS)}, not {self.target!r}")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError("a fault's status is between 400 and 599")
        if not (self.status or self.cut or self.delay or self.held):
            raise ValueError("a fault has a status, a delay, is held, or cuts the connection")
        if not self.status and not self.cut:
            self.acts = True  # a true answer needs its act


class Faults:
    """The faults that are set, in the order in which they were; the first that fits meets a call."""

    def __init__(self) -> None:
        self._set: list[Fault] = []
        self._released = asyncio.Event()
        self._waiting = 0
        self.record: deque[Json] = deque(maxlen=KEPT)

    @property
    def waiting(self) -> int:
        """How many calls are held now."""
        return self._waiting

    def add(self, fault: Fault) -> None:
        """From now on."""
        self._set.append(fault)

    def mend(self, target: str | None = None) -> None:
        """Takes away all faults, or all of one target. Held calls go on being held."""
        self._set = [fault for fault in self._set if target not in (None, fault.target)]

    def release(self) -> None:
        """Lets every held call go on."""
        self._released.set()
        self._released = asyncio.Event()

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app behind these faults."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            met = self._meeting(scope) if scope["type"] == "http" else None
            if met is None:
                await app(scope, receive, send)
            else:
                fault, call = met
                body = await _body(receive)
                self.record.append({"call": call, "body": body.decode("utf-8", "replace"), "fault": asdict(fault)})
                await self._strike(fault, lambda say: app(scope, _replaying(body), say), send)

        return serve

    def _meeting(self, scope: Scope) -> tuple[Fault, str] | None:
        for target, prefix in PATHS.items():
            if scope["path"].startswith(prefix):
                rest = scope["path"].removeprefix(prefix)
                call = rest if target == "slack" else f"{scope['method']} /{rest}"
                for fault in self._set:
                    if fault.target == target and fnmatchcase(call, fault.call):
                        if fault.times is not None:
                            fault.times -= 1
                            if fault.times <= 0:
                                self._set.remove(fault)
                        return fault, call
        return None

    async def _strike(self, fault: Fault, act: Callable[[Send], Awaitable[None]], send: Send) -> None:
        waits = bool(fault.delay or fault.held)
        if fault.cut and (waits or not fault.acts):
            _cut(send)
        await asyncio.sleep(fault.delay)
        if fault.held:
            self._waiting += 1
            await self._released.wait()
            self._waiting -= 1
        true_answer: list[Message] = []
        if fault.acts:
            await act(_into(true_answer))
        if fault.cut:
            _cut(send)
        elif fault.status is None:
            for message in true_answer:
                await send(message)
        else:
            await _answer(send, fault.target, fault.status, fault.retry_after)


def _cut(send: Send) -> None:
    """Breaks the connection under a request. ASGI has no word for it, so this reaches for uvicorn's transport."""
    cast(Any, send).__self__.transport.abort()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body")) and message["type"] == "http.request"
    return body


def _replaying(body: bytes) -> Receive:
    messages: deque[Message] = deque([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        if messages:
            return messages.popleft()
        await asyncio.Event().wait()  # nobody disconnects from a call that goes on without its caller
        raise AssertionError("unreachable")

    return receive


def _into(kept: list[Message]) -> Send:
    async def send(message: Message) -> None:
        kept.append(message)

    return send


async def _answer(send: Send, target: str, status: int, retry_after: float | None) -> None:
    limited = status == 429
    message = "Rate limit reached. Please try again later." if limited else "The server had an error."
    answer: Json
    if target == "slack":
        answer = {"ok": False, "error": _SLACK_ERRORS.get(status, "fatal_error")}
    elif target == "openrouter":
        answer = {"error": {"message": message, "code": status}}
    elif target == "anthropic":
        kind = "rate_limit_error" if limited else "api_error"
        answer = {"type": "error", "error": {"type": kind, "message": message}}
    elif target == "litellm":
        kind = "throttling_error" if limited else "internal_server_error"
        answer = {"error": {"message": message, "type": kind, "param": "None", "code": str(status)}}
    else:
        kind, code = ("requests", "rate_limit_exceeded") if limited else ("server_error", None)
        answer = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers = [(b"content-type", b"application/json")]
    if retry_after is not None:
        headers.append((b"retry-after", f"{retry_after:g}".encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
