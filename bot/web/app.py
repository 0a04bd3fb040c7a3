"""Composes the web side: the link page and its API, sign-in, health, and what every answer carries."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.desk.deposits import Deposits
from bot.desk.errors import DeskError
from bot.desk.links import Links
from bot.desk.reference import referring
from bot.web.answers import Problem, answer_problem, from_desk, from_http
from bot.web.bodies import Bodies
from bot.web.deposit import DepositApi
from bot.web.link import LinkApi, page_routes
from bot.web.sessions import MAX_AGE, Guard, cookie_name
from bot.web.sign_in import SignIn

log = logging.getLogger(__name__)

READY_PATIENCE = 5.0  # seconds
BODY_PATIENCE = 30.0  # seconds for all of a body
LARGEST_BODY = 1024 * 1024  # bytes; Slack's payloads stay far below, and the page's own further
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), clipboard-read=(), clipboard-write=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
HSTS = "max-age=31536000"  # a year; RFC 6797. Subdomains are not the desk's to decide


def build(
    *,
    links: Links,
    deposits: Deposits,
    public_url: str,
    session_secret: SecretStr,
    slack_client_id: str,
    slack_client_secret: SecretStr,
    slack_origin: str,
    team: str,
    ready: Callable[[], Awaitable[None]],
    extra_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The web app. `slack_origin` is where Sign in with Slack lives; `ready` returns when the database answers."""
    secure = public_url.startswith("https:")
    guard = Guard(public_url=public_url)
    sign_in = SignIn(
        client_id=slack_client_id,
        client_secret=slack_client_secret,
        slack_origin=slack_origin,
        public_url=public_url,
        team=team,
        guard=guard,
    )

    async def alive(_: Request) -> Response:
        return JSONResponse({"ok": True, "service": "keydesk"})

    async def readiness(_: Request) -> Response:
        try:
            async with asyncio.timeout(READY_PATIENCE):
                await ready()
        except Exception:
            log.warning("not ready", exc_info=True)
            return JSONResponse({"ok": False}, status_code=503)
        return JSONResponse({"ok": True, "service": "keydesk"})

    return Starlette(
        routes=[
            *extra_routes,  # first: what Slack delivers is most of what arrives
            *page_routes(),
            *sign_in.routes(),
            *LinkApi(links=links, guard=guard).routes(),
            *DepositApi(deposits=deposits, guard=guard).routes(),
            Route("/healthz", alive),
            Route("/readyz", readiness),
        ],
        middleware=[
            Middleware(Shield, secure=secure),
            Middleware(Bodies, largest=LARGEST_BODY, patience=BODY_PATIENCE),
            Middleware(
                SessionMiddleware,
                secret_key=session_secret.get_secret_value(),
                session_cookie=cookie_name(secure=secure),
                max_age=MAX_AGE,
                same_site="lax",
                https_only=secure,
            ),
        ],
        exception_handlers={Problem: answer_problem, DeskError: from_desk, HTTPException: from_http},
    )


class Shield:
    """Puts the security headers on every answer, and turns what nobody expected into a reference id."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        headers = {**HEADERS, "Strict-Transport-Security": HSTS} if secure else HEADERS
        self._headers = {name.lower().encode(): value.encode() for name, value in headers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with referring() as reference:
            await self._shielded(scope, receive, send, reference)

    async def _shielded(self, scope: Scope, receive: Receive, send: Send, reference: str) -> None:
        started = False

        async def send_shielded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                others = [(name, value) for name, value in message["headers"] if name not in self._headers]
                message["headers"] = [*others, *self._headers.items()]
            await send(message)

        try:
            await self._app(scope, receive, send_shielded)
        except Exception:
            # Neither path nor body: a mangled link carries its seed in the path, a claim its token in the body.
            log.exception("unexpected error, reference %s", reference)
            if started:
                raise
            problem = Problem(
                500,
                "unexpected",
                "Something went wrong on our side.",
                f"Try again. If it stays, tell whoever runs Keydesk this reference: {reference}.",
            )
            answer = await answer_problem(Request(scope), problem)
            await answer(scope, receive, send_shielded)
