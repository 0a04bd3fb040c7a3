"""How the workspace reaches the app: signed HTTP, or Socket Mode. Every delivery is recorded."""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandbox.workspace import APP, Json

RECORD_KEPT = 10_000
ENVELOPES = {"command": "slash_commands", "event_callback": "events_api"}


@dataclass(frozen=True)
class Ack:
    """What the member's client hears of the app. `status` is None in Socket Mode and where nobody answered."""

    acknowledged: bool
    status: int | None = None
    ms: int = 0
    body: Any = None
    error: str | None = None

    def as_json(self, **more: Any) -> Json:
        """For the control API."""
        return {**vars(self), **more}


@dataclass(frozen=True)
class Retry:
    """What Slack tells about a delivery that it repeats."""

    number: int
    reason: str


@dataclass
class Delivery:
    """One delivery and what came back."""

    id: str
    kind: str
    mode: str
    body: Json
    retry: Retry | None = None
    status: int | None = None
    response_body: Any = None
    ms: int | None = None
    error: str | None = None

    def as_json(self) -> Json:
        """For the control API."""
        return {**vars(self), "retry": self.retry and vars(self.retry)}


class SocketMode:
    """The app's open websockets. Each envelope goes to one of them, in turn."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tickets: set[str] = set()
        self._open: list[WebSocket] = []
        self._waiting: dict[str, tuple[WebSocket, asyncio.Future[Ack]]] = {}

    @property
    def connections(self) -> int:
        """How many websockets are open."""
        return len(self._open)

    def ticket(self) -> str:
        """Opens one websocket."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, socket: WebSocket) -> None:
        """Holds one websocket of the app's until it closes."""
        ticket = socket.query_params.get("ticket", "")
        if ticket not in self._tickets:
            await socket.close()
            return
        self._tickets.remove(ticket)
        await socket.accept()
        self._open.append(socket)
        self._changed()
        hello = {
            "type": "hello",
            "num_connections": self.connections,
            "connection_info": {"app_id": APP},
            "debug_info": {"host": "applink-sandbox", "approximate_connection_time": 18060},
        }
        try:
            await socket.send_json(hello)
            while True:
                self._hear(await socket.receive_json())
        except (WebSocketDisconnect, ValueError):
            pass
        finally:
            self._open.remove(socket)
            for holder, answer in list(self._waiting.values()):
                if holder is socket and not answer.done():
                    answer.set_result(Ack(False, error="connection_closed"))
            self._changed()

    def _hear(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        _, answer = self._waiting.get(str(message.get("envelope_id")), (None, None))
        if answer and not answer.done():
            answer.set_result(Ack(True, body=message.get("payload") or None))

    async def send(self, kind: str, body: Json, retry: Retry | None) -> Ack:
        """Sends an envelope and returns its acknowledgement."""
        if not self._open:
            return Ack(False, error="not_connected")
        socket = self._open.pop(0)
        self._open.append(socket)
        id = secrets.token_hex(16)
        envelope = {
            "envelope_id": id,
            "type": ENVELOPES.get(kind, "interactive"),
            "payload": body,
            "accepts_response_payload": kind != "event_callback",
        }
        if retry:
            envelope |= {"retry_attempt": retry.number, "retry_reason": retry.reason}
        answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting[id] = (socket, answer)
        try:
            await socket.send_json(envelope)
            return await answer
        except WebSocketDisconnect:
            return Ack(False, error="connection_closed")
        finally:
            del self._waiting[id]

    async def ask_to_reconnect(self) -> None:
        """Tells every connection that it will be closed soon."""
        for socket in list(self._open):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}})

    async def close(self) -> None:
        """Closes every websocket."""
        for socket in list(self._open):
            with suppress(RuntimeError):  # it was about to close by itself
                await socket.close(1001)


class Deliveries:
    """Delivers to `request_url`, or through Socket Mode where that is None."""

    def __init__(self, *, signing_secret: str, sockets: SocketMode, ack_seconds: float) -> None:
        self.request_url: str | None = None
        self.record: deque[Delivery] = deque(maxlen=RECORD_KEPT)
        self._signing_secret = signing_secret
        self._sockets = sockets
        self._ack_seconds = ack_seconds
        self._http = httpx.AsyncClient(trust_env=False, timeout=ack_seconds + 1)

    @property
    def connected(self) -> bool:
        """Whether deliveries have somewhere to go."""
        return self.request_url is not None or self._sockets.connections > 0

    async def send(self, kind: str, body: Json, retry: Retry | None = None) -> Ack:
        """Delivers, and waits for the acknowledgement as long as Slack does."""
        mode = "http" if self.request_url else "socket"
        delivery = Delivery(f"dlv_{len(self.record) + 1}_{secrets.token_hex(4)}", kind, mode, body, retry)
        self.record.append(delivery)
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(self._ack_seconds):
                if self.request_url:
                    ack = await self._post(self.request_url, kind, body, retry)
                else:
                    ack = await self._sockets.send(kind, body, retry)
        except TimeoutError:
            ack = Ack(False, error="operation_timeout")
        delivery.ms = round((time.perf_counter() - begin) * 1000)
        delivery.status, delivery.response_body, delivery.error = ack.status, ack.body, ack.error
        return Ack(ack.acknowledged, ack.status, delivery.ms, ack.body, ack.error)

    async def _post(self, url: str, kind: str, body: Json, retry: Retry | None) -> Ack:
        content, kind_of_content = _encoded(kind, body)
        # The app checks the signature's age against its own clock, so this is the real time, not the workspace's.
        stamp = str(int(time.time()))
        signed = hmac.new(self._signing_secret.encode(), f"v0:{stamp}:{content}".encode(), hashlib.sha256)
        headers = {
            "Content-Type": kind_of_content,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signed.hexdigest()}",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry.number), "X-Slack-Retry-Reason": retry.reason}
        try:
            answer = await self._http.post(url, content=content, headers=headers)
        except httpx.HTTPError:
            return Ack(False, error="dispatch_failed")
        told: Any = answer.text or None
        if told and answer.headers.get("content-type", "").startswith("application/json"):
            with suppress(ValueError):
                told = answer.json() or None
        if answer.status_code != 200:
            return Ack(False, answer.status_code, body=told, error="http_error")
        return Ack(True, answer.status_code, body=told)

    async def redeliver(self, id: str, retry: Retry) -> Ack:
        """The same body once more. `KeyError` where there was no such delivery."""
        for delivery in self.record:
            if delivery.id == id:
                return await self.send(delivery.kind, delivery.body, retry)
        raise KeyError(id)

    async def close(self) -> None:
        """Delivers nothing any more."""
        await self._http.aclose()


def _encoded(kind: str, body: Json) -> tuple[str, str]:
    """A body as Slack sends it by HTTP: events as JSON, the rest as forms."""
    if kind == "event_callback":
        return json.dumps(body), "application/json"
    form = {name: str(value).lower() if isinstance(value, bool) else value for name, value in body.items()}
    fields = form if kind == "command" else {"payload": json.dumps(body)}
    return urlencode(fields), "application/x-www-form-urlencoded"
