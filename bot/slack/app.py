"""The Bolt app, and its HTTP way in."""

import logging
import secrets

from pydantic import SecretStr
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.desk.reference import referring
from bot.slack.deliveries import could_be_signed, well_formed

log = logging.getLogger(__name__)

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
        # No token: the desk's own client has it, and each delivery's context would show it to whatever shows locals.
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id)

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
    """Where Slack delivers to in HTTP mode. Bolt checks signature and age of each delivery; bodies have their bounds."""

    async def take(request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            delivery = to_async_bolt_request(request, body)
        except Exception:  # Bolt reads a body before it checks its signature, so this may be anything that anybody sent
            return PlainTextResponse("not a delivery of Slack's", status_code=400)
        if not well_formed(delivery.body):
            return PlainTextResponse("not a delivery of Slack's", status_code=400)
        if not could_be_signed(request.headers) and delivery.body.get("ssl_check") != "1":
            return PlainTextResponse("not signed by Slack", status_code=401)
        return to_starlette_response(await app.async_dispatch(delivery))

    return Route("/slack/events", take, methods=["POST"])


class SocketMode(AsyncSocketModeHandler):
    """Where Slack delivers to in Socket Mode, over a connection of the desk's own."""

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]  # as Bolt's
        """Takes one delivery. One of another shape is left unacknowledged: Slack knows it as failed."""
        with referring():
            if well_formed(req.payload):
                await super().handle(client, req)
            else:
                log.warning("a delivery by Socket Mode did not have Slack's shape, and was refused")
