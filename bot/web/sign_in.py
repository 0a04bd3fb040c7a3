"""Sign in with Slack (OpenID Connect). Authlib checks state, nonce, signature, issuer, audience and expiry."""

import logging
import re
import secrets

import httpx
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc.errors import JoseError
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from bot.desk.model import Actor
from bot.web.answers import Problem, message_page
from bot.web.sessions import Guard, open_session, signed_in

log = logging.getLogger(__name__)

SLACK_PATIENCE = 10.0  # seconds, for each call to Slack
USER_CLAIM = "https://slack.com/user_id"  # docs.slack.dev/authentication/sign-in-with-slack
TEAM_CLAIM = "https://slack.com/team_id"
PAGE_PATH = re.compile(r"/[kd]/[A-Za-z0-9_-]{1,64}")


class SignIn:
    """The way to Slack and back. Only a link's page, or a deposit's, is ever gone back to."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: SecretStr,
        slack_origin: str,
        public_url: str,
        team: str,
        guard: Guard,
    ) -> None:
        self._client_id = client_id
        self._callback_url = f"{public_url}/auth/callback"
        self._team = team
        self._guard = guard
        self._slack = OAuth().register(
            "slack",
            client_id=client_id,
            client_secret=client_secret.get_secret_value(),
            server_metadata_url=f"{slack_origin}/.well-known/openid-configuration",
            # One TLS context for all: authlib makes a client for each call, and a context takes 40 ms of the event loop.
            client_kwargs={
                "scope": "openid profile",
                "timeout": SLACK_PATIENCE,
                "verify": httpx.create_ssl_context(),
            },
        )

    def routes(self) -> list[Route]:
        """What this serves."""
        return [
            Route("/auth/login", self.login),
            Route("/auth/callback", self.callback),
            Route("/auth/logout", self.logout, methods=["POST"]),
            Route("/api/session", self.session),
        ]

    async def login(self, request: Request) -> Response:
        """Sends the browser to Slack."""
        link = request.query_params.get("next", "")
        if not PAGE_PATH.fullmatch(link):
            raise Problem(400, "no_link", "Sign-in starts from a link.", "Open the link from Slack.")
        if signed_in(request):
            return RedirectResponse(link, status_code=303)
        # The state names the page, so that also a failed sign-in finds its way back to the tab's own.
        state = f"{secrets.token_urlsafe(32)}.{link.removeprefix('/')}"
        try:
            sent: Response = await self._slack.authorize_redirect(
                request, self._callback_url, state=state, team=self._team
            )
        except Exception:
            return _slack_is_away(link)
        return sent

    async def callback(self, request: Request) -> Response:
        """Slack sends the browser back: checks what it brings, and opens a session."""
        if request.method != "GET":  # a preview's HEAD comes along with it, and must not use the code up
            raise HTTPException(405, headers={"Allow": "GET"})
        link = "/" + request.query_params.get("state", "").partition(".")[2]
        if not PAGE_PATH.fullmatch(link):
            link = ""
        try:
            if not any(request.query_params.get(name) for name in ("code", "error")):
                raise OAuthError("no_code")
            issuer = (await self._slack.load_server_metadata()).get("issuer")
            # Of Slack's answer only who it is: its tokens are for nothing here, and bear no name that an error could show.
            claims = (
                await self._slack.authorize_access_token(
                    request,
                    claims_options={
                        "iss": {"essential": True, "value": issuer},
                        "aud": {"essential": True, "value": self._client_id},
                    },
                )
            ).get("userinfo") or {}
            actor = Actor(team=str(claims[TEAM_CLAIM]), id=str(claims[USER_CLAIM]))
        except (OAuthError, JoseError, KeyError) as error:
            log.warning("a sign-in was refused: %s", type(error).__name__)
            return message_page(
                "You are not signed in",
                "The sign-in was cancelled, took too long, or was started in another tab. Nothing was used up.",
                status=400,
                way=link,
                way_label="Back to the link",
            )
        except Exception:
            return _slack_is_away(link)
        if actor.team != self._team:
            return message_page(
                "That is another workspace",
                "You signed in to a Slack workspace that this Keydesk does not serve. "
                "Sign in again and choose the workspace in which you asked for the key.",
                status=403,
                way=link,
                way_label="Back to the link",
            )
        open_session(request, actor, str(claims.get("name") or actor.id))
        return RedirectResponse(link, status_code=303)

    async def session(self, request: Request) -> Response:
        """Who this browser is signed in as, and the token that its page must show."""
        who = signed_in(request)
        return JSONResponse(
            {"signed_in": who is not None, "name": who.name if who else None, "csrf": who.csrf if who else None}
        )

    async def logout(self, request: Request) -> Response:
        """Ends the session."""
        await self._guard.admit(request)
        request.session.clear()
        return Response(status_code=204)


def _slack_is_away(link: str) -> Response:
    # Any kind of error: which HTTP library raises it is Authlib's choice. No traceback: it may quote the exchange.
    log.warning("Slack could not be asked to sign somebody in")
    return message_page(
        "Slack does not answer",
        "So nobody can sign in right now. Nothing was used up; try again in a minute.",
        status=502,
        way=link,
        way_label="Back to the link",
    )
