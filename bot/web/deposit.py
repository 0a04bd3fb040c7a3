"""The deposit page, and the API that its script speaks: look, and bring."""

import base64
import binascii
import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.desk import envelope
from bot.desk.deposits import Deposits, Task
from bot.desk.errors import NotYours, Superseded
from bot.desk.model import Story
from bot.desk.policy import DEPOSIT
from bot.desk.states import KeyState
from bot.web.answers import PAGE, Problem
from bot.web.sessions import Guard

KEY_ID = re.compile(r"k_[a-z0-9]{1,62}")
KEK_NAME = re.compile(r"[0-9a-f]{12}")
SEALED = re.compile(r"[A-Za-z0-9_-]{108,12000}")  # base64url; a public key and a tag take 81 bytes


class DepositApi:
    """What the page asks of the desk, for who is signed in."""

    def __init__(self, *, deposits: Deposits, guard: Guard) -> None:
        self._deposits = deposits
        self._guard = guard
        self._page = (PAGE / "deposit.html").read_bytes()

    def routes(self) -> list[Route]:
        """What this serves. The page answers with the same bytes whatever the key: nothing can be learnt."""
        return [
            Route("/d/{key_id}", self.page),
            Route("/api/deposits/{key_id}/look", self.look, methods=["POST"]),
            Route("/api/deposits/{key_id}/bring", self.bring, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """The page itself."""
        known = KEY_ID.fullmatch(request.path_params["key_id"])
        return Response(self._page, status_code=200 if known else 404, media_type="text/html")

    async def look(self, request: Request) -> Response:
        """What is to be brought, and to whom the browser seals it. Changes nothing."""
        who, _ = await self._guard.admit(request)
        task = await self._deposits.look(who.session, _key_id(request))
        if task.recipient is None:
            over = _over(task.key.state, task.story)
            return JSONResponse(
                {"state": "over", "error": over.code, "message": over.message, "next_step": over.next_step}
            )
        return JSONResponse(
            {
                "state": "awaited",
                "about": _about(task),
                "recipient": {
                    "kek": task.recipient.kek,
                    "public_key": envelope.base64url(task.recipient.public_key),
                    "info": envelope.base64url(task.recipient.info),
                },
            }
        )

    async def bring(self, request: Request) -> Response:
        """Takes what the browser sealed."""
        who, sent = await self._guard.admit(request)
        key_id = _key_id(request)
        sealed, kek = sent.get("sealed"), sent.get("kek")
        if not isinstance(sealed, str) or not SEALED.fullmatch(sealed):
            raise _incomplete()
        if not isinstance(kek, str) or not KEK_NAME.fullmatch(kek):
            raise _incomplete()
        try:
            raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        except binascii.Error:
            raise _incomplete() from None
        try:
            story = await self._deposits.deposit(who.session, key_id, raw, kek)
        except Superseded:
            task = await self._deposits.look(who.session, key_id)
            raise _over(task.key.state, task.story) from None
        return JSONResponse({"fingerprint": story.under_way.fingerprint if story.under_way else None})


def _key_id(request: Request) -> str:
    key_id: str = request.path_params["key_id"]
    if not KEY_ID.fullmatch(key_id):
        raise NotYours("This key is not yours to bring, or nobody waits for it.")
    return key_id


def _incomplete() -> Problem:
    return Problem(400, "not_sealed", "This is not a sealed key.", "Bring it by the deposit page. Nothing was taken.")


def _about(task: Task) -> dict[str, str | int | None]:
    """What to make, in people's words."""
    draft, making = task.story.request.draft, task.story.making
    elsewhere = draft.scope.provider == DEPOSIT
    return {
        "holder": task.holder,
        "provider": draft.project_name if elsewhere else draft.provider_name,
        "project": None if elsewhere else draft.project_name,
        "permission": None if elsewhere else draft.permission_name,
        "marker": task.key.marker,
        "days": max(1, -(-int(draft.duration.total_seconds()) // 86400)),
        "steps": making.steps if making else "",
        "prefix": making.prefix if making else "",
        "url": making.url if making else "",
    }


def _over(state: KeyState, story: Story) -> Problem:
    """Why there is nothing to bring here any more."""
    match state:
        case KeyState.DEPOSITED | KeyState.SEALED | KeyState.LIVE:
            print_ = story.under_way.fingerprint if story.under_way else None
            ending = f", ending with {print_}" if print_ and len(print_) > 1 else ""
            return Problem(
                409,
                "brought",
                f"This key is here already{ending}.",
                "Nothing more is to be done. If you made another one meanwhile, delete that at the provider.",
            )
        case KeyState.VOID:
            return Problem(
                409,
                "not_wanted",
                "This key is not wanted any more.",
                "It was taken back before anybody brought it. If you made one, delete it at the provider.",
            )
        case _:
            return Problem(
                409,
                "ended",
                "This key has come and gone.",
                "Nothing more is to be done here. In Slack, its card says how it stands.",
            )
