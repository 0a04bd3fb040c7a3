"""How the workspace reaches the app: signed HTTP, or Socket Mode. Every delivery is recorded.

Deliveries can be disturbed: sent several times at once, or held back until they are released, the last first.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
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


@dataclass
class Disturbance:
    """What happens to the next `times` deliveries of a kind ("*": any): sent in `copies` at once, or `held` back."""

    kind: str = "*"
    times: int = 1
    copies: int = 1
    held: bool = False


class SocketMode:
    """The app's open websockets. Each envelope goes to one of them, in turn."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tickets: set[str] = set()
        self._dropped = asyncio.Event()
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
            hearing = asyncio.create_task(self._listen(socket))
            dropped = asyncio.create_task(self._dropped.wait())
            await asyncio.wait({hearing, dropped}, return_when=asyncio.FIRST_COMPLETED)
            dropped.cancel()
            if not hearing.done():
                hearing.cancel()
                await socket.close(1011)
        finally:
            self._open.remove(socket)
            for holder, answer in list(self._waiting.values()):
                if holder is socket and not answer.done():
                    answer.set_result(Ack(False, error="connection_closed"))
            self._changed()

    async def _listen(self, socket: WebSocket) -> None:
        with suppress(WebSocketDisconnect, ValueError):
            while True:
                self._hear(await socket.receive_json())

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

    def drop(self) -> None:
        """Every connection breaks, without a warning."""
        self._dropped.set()
        self._dropped = asyncio.Event()

    async def close(self) -> None:
        """Closes every websocket."""
        for socket in list(self._open):
            with suppress(RuntimeError, WebSocketDisconnect):  # it was about to close, or its app went in this moment
                await socket.close(1001)


class Deliveries:
    """Delivers to the `request_urls` by turns, or through Socket Mode where there are none."""

    def __init__(self, *, signing_secret: str, sockets: SocketMode, ack_seconds: float) -> None:
        self.request_urls: list[str] = []
        self._turn = 0
        self._disturbances: list[Disturbance] = []
        self._held: list[tuple[str, Json]] = []
        self.record: deque[Delivery] = deque(maxlen=RECORD_KEPT)
        self._signing_secret = signing_secret
        self._sockets = sockets
        self._ack_seconds = ack_seconds
        # Idle connections go before the app's server closes them, as it may in the moment in which one is used again.
        limits = httpx.Limits(keepalive_expiry=1)
        self._http = httpx.AsyncClient(trust_env=False, timeout=ack_seconds + 1, limits=limits)

    @property
    def connected(self) -> bool:
        """Whether deliveries have somewhere to go."""
        return bool(self.request_urls) or self._sockets.connections > 0

    def disturb(self, disturbance: Disturbance) -> None:
        """From now on."""
        self._disturbances.append(disturbance)

    async def send(self, kind: str, body: Json) -> Ack:
        """Delivers, and waits for the acknowledgement as long as Slack does."""
        met = next((one for one in self._disturbances if one.kind in ("*", kind)), None)
        if met is None:
            return await self._deliver(kind, body, None)
        met.times -= 1
        if met.times <= 0:
            self._disturbances.remove(met)
        if met.held:
            self._held.append((kind, body))
            return Ack(False, error="operation_timeout")
        again = (Retry(number, "http_timeout") for number in range(1, met.copies))
        first, *_ = await asyncio.gather(*(self._deliver(kind, body, retry) for retry in (None, *again)))
        return first

    async def release(self) -> Sequence[Ack]:
        """Delivers what was held back, the last first; the acknowledgements, which nobody waits for any more."""
        held, self._held = self._held[::-1], []
        return [await self._deliver(kind, body, Retry(1, "http_timeout")) for kind, body in held]

    async def _deliver(self, kind: str, body: Json, retry: Retry | None) -> Ack:
        url = self.request_urls[self._turn % len(self.request_urls)] if self.request_urls else None
        self._turn += 1
        mode = "http" if url else "socket"
        delivery = Delivery(f"dlv_{len(self.record) + 1}_{secrets.token_hex(4)}", kind, mode, body, retry)
        self.record.append(delivery)
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(self._ack_seconds):
                if url:
                    ack = await self._post(url, kind, body, retry)
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
                return await self._deliver(delivery.kind, delivery.body, retry)
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
