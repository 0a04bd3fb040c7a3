"""The Bolt app, and its HTTP way in."""

import logging
import secrets

from pydantic import SecretStr
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

LARGEST_BODY = 1024 * 1024  # Slack's own payloads stay far below

# Bolt warns at start about each environment variable that it finds and does not use, the desk's settings among them.
_log = logging.getLogger("slack_bolt.keydesk")
_log.setLevel(logging.ERROR)


def build_app(*, client: AsyncWebClient, signing_secret: SecretStr | None) -> AsyncApp:
    """A Bolt app for Socket Mode, and for HTTP where there is a signing secret.

    A listener acts first and acknowledges then, so an acknowledged click is never lost.
    """

    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        # Without this function Bolt turns to OAuth installations as soon as SLACK_CLIENT_ID is in the environment,
        # where it is for Sign in with Slack. Which team is served, and who may act, is the listeners' and the desk's.
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=client.token)

    return AsyncApp(
        name="keydesk",
        logger=_log,
        client=client,
        # Without a secret, one that nobody knows: nothing that arrives by HTTP can pass for Slack's.
        signing_secret=signing_secret.get_secret_value() if signing_secret else secrets.token_hex(),
        authorize=authorize,
        process_before_response=True,
    )


def events_route(app: AsyncApp) -> Route:
    """Where Slack delivers to in HTTP mode. Bolt checks signature and age of each delivery."""

    async def take(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return PlainTextResponse("too large", status_code=413)
        try:
            delivery = to_async_bolt_request(request, body)
            read: object = delivery.body
        except Exception:  # Bolt reads a body before it checks its signature, so this may be anything that anybody sent
            return PlainTextResponse("not a delivery of Slack's", status_code=400)
        if not isinstance(read, dict):
            return PlainTextResponse("not a delivery of Slack's", status_code=400)
        return to_starlette_response(await app.async_dispatch(delivery))

    return Route("/slack/events", take, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """The body; None as soon as it proves larger than any of Slack's."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        return None
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            return None
    return body
