"""What anybody gets without signing in: the page, its files, health, and errors; and the headers on all of it."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.desk.states import LinkState
from storage.store import SqlStore
from tests.flows.browsing import split
from tests.web.world import World, world

NOWHERE = "http://127.0.0.1:9"  # the port of "discard": nobody listens
PREVIEWERS = ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "facebookexternalhit/1.1", "curl/8.0", "")


async def _explode(request: Request) -> Response:
    raise RuntimeError("the cellar is flooded")


async def _events(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def plain(embedded: SqlStore) -> AsyncIterator[World]:
    """A desk without Slack, with two routes of somebody else's."""
    extra = [Route("/explode", _explode), Route("/slack/events", _events, methods=["POST"])]
    async with world(
        store=embedded, slack_origin=NOWHERE, client_id="client", client_secret="secret", extra_routes=extra
    ) as served:
        yield served


@pytest.fixture
async def client(plain: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without cookies."""
    async with httpx.AsyncClient(base_url=plain.url) as opened:
        yield opened


async def test_a_get_by_anybody_changes_nothing_and_learns_nothing(plain: World, client: httpx.AsyncClient) -> None:
    """The same bytes for a link that waits, one that never was, and one that is over; no cookie; no audit entry."""
    url = await plain.link()
    before, entries = await plain.stored(url), await plain.entries()
    pages = []
    for agent in PREVIEWERS:
        for path in (f"/k/{split(url)[0]}", "/k/AAAAAAAAAAAAAAAAAAAAAA", "/k/x"):
            for method in ("GET", "HEAD"):
                answer = await client.request(method, path, headers={"User-Agent": agent})
                assert answer.status_code == 200
                assert "set-cookie" not in answer.headers
                assert (answer.content == b"") is (method == "HEAD")
                pages.append((answer.content, answer.headers["content-length"]))
    assert len(set(pages)) == 2
    assert await plain.stored(url) == before
    assert before.state is LinkState.OPEN
    assert await plain.entries() == entries


async def test_the_headers_on_every_answer(client: httpx.AsyncClient) -> None:
    """Page, files, API, errors and what others serve here: all carry them."""
    for method, path in (
        ("GET", "/k/x"),
        ("GET", "/static/link.js"),
        ("GET", "/api/session"),
        ("POST", "/api/links/x/claim"),
        ("GET", "/auth/login"),
        ("GET", "/nothing"),
        ("GET", "/healthz"),
        ("GET", "/explode"),
        ("POST", "/slack/events"),
    ):
        headers = (await client.request(method, path)).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "form-action": "'none'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "clipboard-write=(self)" in headers["permissions-policy"]
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert "strict-transport-security" not in headers  # it would break other programs on this host's ports


async def test_the_page_needs_nobody_else(client: httpx.AsyncClient) -> None:
    """Everything that the page loads is served here, and nothing in it is inline."""
    for page in ("/k/x", "/nothing"):
        html = (await client.get(page, headers={"Accept": "text/html"})).text
        assert "<style" not in html
        assert "style=" not in html
        assert " on" not in html.replace(" one", "").replace(" only", "").replace(" once", "").replace(" on ", "")
        assert "http" not in html.replace("(https)", "")
    for name, kind in (
        ("link.js", "text/javascript"),
        ("envelope.js", "text/javascript"),
        ("style.css", "text/css"),
        ("key.svg", "image/svg+xml"),
    ):
        answer = await client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    for odd in ("index.html", "message.html", "..%2Fapp.py", "%00", ""):
        assert (await client.get(f"/static/{odd}")).status_code == 404


async def test_a_seed_in_the_path_is_answered_and_kept_nowhere(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Where # became %23, the page comes all the same, to say what to do; the web side logs no path."""
    caplog.set_level(logging.DEBUG, logger="bot")
    whole = (await client.get("/k/x")).content
    seed = "q" * 43
    for path in (f"/k/x%23{seed}", f"/k/x/{seed}", f"/k/{seed}%23{seed}", "/k/"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert answer.content == whole
    assert seed not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("bot"))


async def test_errors_are_pages_to_people_and_json_to_scripts(client: httpx.AsyncClient) -> None:
    """404 and 405, with what happened and what to do."""
    for method, path, status, code in (
        ("GET", "/", 404, "not_found"),
        ("GET", "/static/none.js", 404, "not_found"),
        ("POST", "/k/x", 405, "method_not_allowed"),
        ("GET", "/auth/logout", 405, "method_not_allowed"),
    ):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert set(answer.json()) == {"error", "message", "next_step"}
        page = await client.request(method, path, headers={"Accept": "text/html,*/*"})
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert answer.json()["message"] in page.text


async def test_the_unexpected_shows_a_reference_and_nothing_else(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever runs the desk finds the reference in the log, with the traceback."""
    answer = await client.get("/explode")
    assert (answer.status_code, answer.json()["error"]) == (500, "unexpected")
    assert "cellar" not in answer.text
    reference = answer.json()["next_step"].rpartition(" ")[2].rstrip(".")
    [record] = [record for record in caplog.records if reference in record.getMessage()]
    assert record.exc_info is not None
    assert "/explode" not in record.getMessage()


async def test_health(plain: World, client: httpx.AsyncClient) -> None:
    """`/healthz`: the process lives. `/readyz`: the database answers; the reason why not is the log's."""
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "service": "keydesk"})
    plain.ready = False
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ok": False})
    assert (await client.get("/healthz")).status_code == 200


async def test_routes_of_others_take_larger_bodies(client: httpx.AsyncClient) -> None:
    """The limit of the link page's API is not Slack's."""
    assert (await client.post("/slack/events", content=b"x" * 100_000)).text == "100000"


async def test_behind_tls(embedded: SqlStore) -> None:
    """With https outside, the browser is told to stay there."""
    async with (
        world(
            store=embedded,
            slack_origin=NOWHERE,
            client_id="client",
            client_secret="secret",
            public_url="https://keydesk.example",
        ) as served,
        httpx.AsyncClient(base_url=served.url) as client,
    ):
        assert (await client.get("/k/x")).headers["strict-transport-security"] == "max-age=31536000"
