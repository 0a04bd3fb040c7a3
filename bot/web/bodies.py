"""What is sent to the desk is small, and comes soon: whatever is not is refused before it costs anything."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.web.answers import Problem, answer_problem

SMALL = 64 * 1024  # bytes


class Bodies:
    """Bounds each request's body in bytes and in seconds, whoever reads it.

    Where an answer goes out before the whole body was read, the rest of a small one is read first, as closing on it
    could cost its sender the answer. With a large one the connection ends: else a server goes on to read what nobody
    wants, however much it is.
    """

    def __init__(self, app: ASGIApp, *, largest: int, patience: float) -> None:
        self._app = app
        self._largest = largest
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "0")
        unread = "transfer-encoding" in headers or announced != "0"
        started = False
        size = 0
        until = asyncio.get_running_loop().time() + self._patience

        async def bounded() -> Message:
            nonlocal unread, size
            if not unread:
                return await receive()  # which waits for the client to go
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408, "too_slow", "The request did not come to its end in time.", "Try again. Nothing was used up."
                ) from None
            size += len(message.get("body", b""))
            if size > self._largest:
                raise self._too_large()
            unread = bool(message.get("more_body"))
            return message

        async def rest() -> None:
            with suppress(Problem):
                while unread and size <= SMALL:
                    await bounded()

        async def told(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and not started:
                started = True
                if not announced.isdecimal() or int(announced[:20]) <= SMALL:
                    await rest()
                if unread:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            if announced.isdecimal() and int(announced[:20]) > self._largest:
                raise self._too_large()
            await self._app(scope, bounded, told)
        except Problem as problem:
            if started:
                raise
            answer = await answer_problem(Request(scope), problem)
            await answer(scope, receive, told)

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"At most {self._largest} bytes are taken here.", "Send less.")
