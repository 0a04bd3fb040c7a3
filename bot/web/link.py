"""The link page, and the API that its script speaks: look, claim, acknowledge."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.desk import envelope
from bot.desk.audit import stamp
from bot.desk.errors import NotThere, Superseded
from bot.desk.links import Links
from bot.desk.model import Cause, Link, Story
from bot.desk.policy import DEPOSIT
from bot.desk.states import GrantState, LinkState
from bot.web.answers import PAGE, Problem
from bot.web.sessions import Guard, SignedIn

LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes() -> list[Route]:
    """The page and its own files. Each GET answers with the same bytes whatever the link: nothing can be learnt."""
    index = (PAGE / "index.html").read_bytes()
    files = {file.name: file.read_bytes() for file in PAGE.iterdir() if file.suffix in _MEDIA_TYPES}

    async def page(request: Request) -> Response:
        # Where a program made %23 of the link's #, the seed arrives here in the path. The page says what to do.
        known = LINK_ID.fullmatch(request.path_params["link_id"])
        return Response(index, status_code=200 if known else 404, media_type="text/html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise Problem(404, "not_found", "There is no such file.", "Open the link again from Slack.")
        return Response(files[name], media_type=_MEDIA_TYPES[name[name.rindex(".") :]])

    return [Route("/k/{link_id:path}", page), Route("/static/{name}", static)]


class LinkApi:
    """What the page asks of the desk, for who is signed in."""

    def __init__(self, *, links: Links, guard: Guard) -> None:
        self._links = links
        self._guard = guard

    def routes(self) -> list[Route]:
        """What this serves."""
        return [
            Route("/api/links/{link_id}/look", self.look, methods=["POST"]),
            Route("/api/links/{link_id}/claim", self.claim, methods=["POST"]),
            Route("/api/links/{link_id}/acknowledge", self.acknowledge, methods=["POST"]),
        ]

    async def look(self, request: Request) -> Response:
        """How far the link is. Changes nothing."""
        who, _ = await self._guard.admit(request)
        link, story = await self._links.look(who.session, _link_id(request))
        if link.state is LinkState.OPEN or (link.state is LinkState.CLAIMED and link.session == who.session.id):
            return JSONResponse({"state": link.state, "opens_until": stamp(link.expires_at), "about": _about(story)})
        over = ending(link, story, who)
        return JSONResponse({"state": "over", "error": over.code, "message": over.message, "next_step": over.next_step})

    async def claim(self, request: Request) -> Response:
        """Hands the envelope to this session, for the time of a lease."""
        who, sent = await self._guard.admit(request)
        link_id = _link_id(request)
        try:
            sealed = await self._links.claim(who.session, link_id, _token(sent))
        except Superseded:
            raise ending(*await self._links.look(who.session, link_id), who) from None
        _, story = await self._links.look(who.session, link_id)
        context = sealed.context
        return JSONResponse(
            {
                "envelope": envelope.base64url(sealed.envelope),
                "context": {
                    "team": context.team,
                    "holder": context.holder,
                    "grant": context.grant,
                    "key": context.key,
                    "link": context.link,
                    "expires": context.expires,
                },
                "lease_until": stamp(sealed.lease_until),
                "about": _about(story),
            }
        )

    async def acknowledge(self, request: Request) -> Response:
        """The page shows the key: the envelope can go."""
        who, sent = await self._guard.admit(request)
        link_id = _link_id(request)
        try:
            await self._links.acknowledge(who.session, link_id, _token(sent))
        except Superseded:
            raise ending(*await self._links.look(who.session, link_id), who) from None
        return Response(status_code=204)


def _link_id(request: Request) -> str:
    link_id: str = request.path_params["link_id"]
    if not LINK_ID.fullmatch(link_id):
        raise NotThere("There is no such link.")
    return link_id


def _token(sent: dict[str, Any]) -> str:
    token = sent.get("token")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise Problem(
            400,
            "no_token",
            "This link is not complete.",
            "Copy it again from Slack, whole, or pick up again there. Nothing was used up.",
        )
    return token


def _about(story: Story) -> dict[str, Any]:
    """Which key this is, in people's words, and how programs are told of it."""
    draft = story.request.draft
    elsewhere = draft.scope.provider == DEPOSIT
    return {
        "provider": draft.project_name if elsewhere else draft.provider_name,
        "project": None if elsewhere else draft.project_name,
        "permission": None if elsewhere else draft.permission_name,
        "fingerprint": story.under_way.fingerprint if story.under_way else None,
        "variable": story.environment.variable,
        "beside": dict(story.environment.beside),
        "expires_at": stamp(story.grant.expires_at) if story.grant and story.grant.expires_at else None,
    }


_CLOSED = {
    Cause.LAPSED: "Nobody opened this link in time, so its key was taken back, unread.",
    Cause.UNACKNOWLEDGED: "This link was opened, but the page never confirmed that it showed the key. "
    "So the key was taken back.",
    Cause.REPLACED: "A newer link took the place of this one. The key behind this one was taken back.",
    Cause.REVOKED: "This key was revoked before the link was opened.",
    Cause.LEFT: "Keys are for full members of the workspace. This one was taken back.",
    Cause.EXPIRED: "The time of this key is over. It was taken back.",
    Cause.OVERSPENT: "The budget of this key is used up, and policy ends a key then. It was taken back.",
    Cause.VANISHED: "Somebody removed this key at its provider. There is nothing to show.",
    Cause.SWITCHED_OFF: "The key that this one was to follow was switched off. This one was taken back.",
    Cause.NOT_PICKED_UP: "This key was not picked up in time, and a key that waits for too long is taken back.",
    Cause.NOT_BROUGHT: "Nobody brought the key in time, so there is none to show.",
    Cause.NOT_ROTATED: "The key that this one was to follow was not rotated in time, and policy ends both then. This one was taken back.",
    Cause.IDLE: "Nothing used this key, nobody said that it is needed, and policy ends a key then. It was taken back.",
    Cause.ROTATED: "All keys of this grant were revoked at once, and this one with them.",
}
_ONWARDS = {
    GrantState.AWAITED: "Somebody brings another key. As soon as it is here, you can pick it up in Slack.",
    GrantState.READY: "Go back to Slack and pick up again: you get a new key.",
    GrantState.ISSUING: "A new key is being made. Its link follows in Slack in a moment.",
    GrantState.DELIVERING: "Go back to Slack and open the newest link.",
    GrantState.ACTIVE: "The key that is with you already works on. In Slack, `/apikey rotate` makes a new one.",
    GrantState.INVITING: "There is no key to pick up: you are being invited to the provider's own organisation.",
    GrantState.INVITED: "There is no key to pick up: you are invited to the provider's own organisation.",
    GrantState.ENDING: "In Slack, `/apikey request` asks for a new one.",
    GrantState.ENDED: "In Slack, `/apikey request` asks for a new one.",
}


def ending(link: Link, story: Story, who: SignedIn) -> Problem:
    """Why this link opens no more, and what to do."""
    onwards = _ONWARDS[story.grant.state] if story.grant else _ONWARDS[GrantState.ENDED]
    here = link.session == who.session.id
    match link.state:
        case LinkState.REVEALED:
            where = "in this browser" if here else "in another browser, or before you last signed in"
            return Problem(
                409,
                "already_revealed",
                f"A link shows its key once. This one did, {where}.",
                ("If the key is lost: " if here else "If that was you, all is well. If not, or if the key is lost: ")
                + "in Slack, `/apikey revoke` kills it and `/apikey request` asks for a new one.",
            )
        case LinkState.CLAIMED if not here:
            return Problem(
                409,
                "claimed_elsewhere",
                "This link is open in another browser, signed in as you.",
                "Show the key there. If that is not you, in Slack `/apikey revoke` kills it at once. "
                "If the key never shows there, it is taken back within minutes, and you can pick up again.",
            )
        case LinkState.CLOSED if link.closed_because:
            return Problem(409, link.closed_because, _CLOSED[link.closed_because], onwards)
        case _:
            # Its time is over, and no sweep has come by yet.
            cause = Cause.UNACKNOWLEDGED if here else Cause.LAPSED
            return Problem(409, cause, _CLOSED[cause], "Go back to Slack. In a moment you can pick up again there.")
