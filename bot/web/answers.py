"""How the web side says no: JSON to the page's script, a small page to people."""

from html import escape
from pathlib import Path
from string import Template

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from bot.desk.errors import (
    DepositRejected,
    NotAllowed,
    NotThere,
    NotWelcome,
    NotYours,
    Superseded,
    Unavailable,
)

PAGE = Path(__file__).parent / "page"
_MESSAGE = Template((PAGE / "message.html").read_text(encoding="utf-8"))

ASK_ANEW = "In Slack, `/apikey list` shows your keys and `/apikey request` asks for a new one."
_DESK = {
    NotWelcome: (403, "not_welcome", "Ask a colleague in the workspace to request the key."),
    NotYours: (403, "not_yours", "If you have another Slack account, sign in as that one."),
    NotAllowed: (403, "not_allowed", "Nothing was used up. If a new copy does not help, pick up again in Slack."),
    DepositRejected: (422, "rejected", ""),
    NotThere: (404, "not_there", ASK_ANEW),
    Superseded: (409, "superseded", ASK_ANEW),
    Unavailable: (503, "unavailable", "Nothing was used up. Try again in a minute."),
}
_HTTP = {
    404: ("not_found", "There is no such page.", "Open the link again from Slack."),
    405: ("method_not_allowed", "This address does not do that.", "Open the link again from Slack."),
}


class Problem(Exception):
    """What is answered instead: a status, a code for scripts, and what happened and what to do, for people."""

    def __init__(self, status: int, code: str, message: str, next_step: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.next_step = next_step


def message_page(title: str, text: str, *, status: int, way: str = "", way_label: str = "") -> Response:
    """A small page with one message, and at most one way onwards."""
    onwards = f'<p><a class="button" href="{escape(way)}">{escape(way_label)}</a></p>' if way else ""
    page = _MESSAGE.substitute(title=escape(title), text=escape(text), onwards=onwards)
    return HTMLResponse(page, status_code=status)


async def answer_problem(request: Request, problem: Exception) -> Response:
    """JSON to scripts, a page to browsers that ask for one."""
    assert isinstance(problem, Problem)  # noqa: S101  (Starlette's handlers are typed for any exception)
    if "text/html" in request.headers.get("accept", ""):
        return message_page(problem.message, problem.next_step, status=problem.status)
    return JSONResponse(
        {"error": problem.code, "message": problem.message, "next_step": problem.next_step},
        status_code=problem.status,
    )


async def from_desk(request: Request, error: Exception) -> Response:
    """The desk's errors, by kind; their own words are safe to show."""
    for kind in type(error).__mro__:
        if kind in _DESK:
            status, code, next_step = _DESK[kind]
            return await answer_problem(request, Problem(status, code, str(error), next_step))
    raise error


async def from_http(request: Request, error: Exception) -> Response:
    """Starlette's own: no such route, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  (as above)
    code, message, next_step = _HTTP.get(error.status_code, ("refused", error.detail, ASK_ANEW))
    answer = await answer_problem(request, Problem(error.status_code, code, message, next_step))
    answer.headers.update(error.headers or {})
    return answer
