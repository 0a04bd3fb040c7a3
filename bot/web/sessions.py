"""Who is signed in, and the checks that stand before everything that acts.

The session is a signed cookie that lives an hour from sign-in: nothing but signing in and out writes to it.
"""

import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from bot.desk.model import Actor, Session
from bot.web.answers import Problem

MAX_AGE = 60 * 60  # seconds
BODY_LIMIT = 16 * 1024  # bytes; a claim takes about 60


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A signed-in browser, and what it must show with everything that acts."""

    session: Session
    name: str
    csrf: str


def cookie_name(*, secure: bool) -> str:
    """Cookies are shared by all ports of a host, so the name is our own; `__Host-` where the browser enforces it."""
    return "__Host-keydesk_session" if secure else "keydesk_session"


def open_session(request: Request, actor: Actor, name: str) -> None:
    """Signs in. All of it is new, so that a session planted before sign-in is worth nothing."""
    request.session.clear()
    request.session.update(
        team=actor.team, member=actor.id, name=name, id=secrets.token_urlsafe(32), csrf=secrets.token_urlsafe(32)
    )


def signed_in(request: Request) -> SignedIn | None:
    """Who this browser is, or None."""
    kept: dict[str, Any] = request.session
    if "member" not in kept:
        return None
    session = Session(actor=Actor(team=kept["team"], id=kept["member"]), id=kept["id"])
    return SignedIn(session=session, name=kept["name"], csrf=kept["csrf"])


class Guard:
    """Lets through only what the desk's own page sent, in the name of who is signed in."""

    def __init__(self, *, public_url: str) -> None:
        self._public_url = public_url

    async def admit(self, request: Request) -> tuple[SignedIn, dict[str, Any]]:
        """Who acts, and the JSON object they sent. Raises `Problem`."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(415, "not_json", "Only JSON is taken here.", "Use the link page.")
        if request.headers.get("origin", self._public_url) != self._public_url:
            raise Problem(
                403,
                "foreign_origin",
                "This did not come from Keydesk's own page.",
                f"Open the link from Slack again; it starts with {self._public_url}/.",
            )
        who = signed_in(request)
        if who is None:
            raise Problem(401, "signed_out", "You are not signed in, or no longer.", "Sign in with Slack.")
        if not hmac.compare_digest(request.headers.get("x-csrf-token", "").encode(), who.csrf.encode()):
            raise Problem(403, "csrf", "This page is older than your sign-in.", "Reload the page. Nothing was used up.")
        return who, await _json_object(request)


async def _json_object(request: Request) -> dict[str, Any]:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise Problem(413, "too_large", f"At most {BODY_LIMIT} bytes are taken here.", "Use the link page.")
        sent = json.loads(body)
    except (ValueError, RecursionError, ClientDisconnect):
        sent = None
    if not isinstance(sent, dict):
        raise Problem(400, "not_an_object", "A JSON object is expected here.", "Use the link page.")
    return sent
