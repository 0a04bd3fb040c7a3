"""Sign in with Slack: the way there and back, what the session is worth, and everything that is refused."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.server import Running
from storage.store import SqlStore
from tests.flows.browsing import Browser
from tests.web.world import TEAM, World, listening, serving, world

LINK = "/k/Zx3_kP-0vQm8sT1uWy2aBc"


def cookies_of(answer: httpx.Response) -> list[tuple[str, set[str]]]:
    """Name and attributes of each cookie that is set."""
    set_cookies = [header.split("; ") for header in answer.headers.get_list("set-cookie")]
    return [(parts[0].partition("=")[0], {part.lower() for part in parts[1:]}) for parts in set_cookies]


async def test_there_and_back(desk: World, slack: Running) -> None:
    """The least scopes, the right workspace, and back to the link; the page learns the name."""
    async with Browser(desk.url) as ben:
        away = await ben.http.get("/auth/login", params={"next": LINK})
        target = urlsplit(away.headers["location"])
        asked = {name: values[0] for name, values in parse_qs(target.query).items()}
        assert f"{target.scheme}://{target.netloc}{target.path}" == f"{slack.base_url}/openid/connect/authorize"
        assert asked["scope"] == "openid profile"
        assert asked["team"] == TEAM
        assert asked["redirect_uri"] == f"{desk.url}/auth/callback"
        assert len(asked["state"].partition(".")[0]) == 43
        assert len(asked["nonce"]) >= 20
        assert await ben.session() == {"signed_in": False, "name": None, "csrf": None}
        back = await ben.sign_in("U0BEN", LINK)
        assert (back.status_code, back.headers["location"]) == (303, LINK)
        told = await ben.session()
        assert (told["signed_in"], told["name"]) == (True, "Ben Okafor")
        again = await ben.http.get("/auth/login", params={"next": LINK})
        assert (again.status_code, again.headers["location"]) == (303, LINK)


async def test_the_session_cookie(desk: World) -> None:
    """An hour, for this host and this site alone, out of scripts' reach; all of it new at sign-in."""
    async with Browser(desk.url) as ben:
        before = await ben.http.get("/auth/login", params={"next": LINK})
        planted = dict(ben.http.cookies)
        after = await ben.sign_in("U0BEN")
        for answer in (before, after):
            [(name, attributes)] = cookies_of(answer)
            assert name == "keydesk_session"
            assert attributes == {"path=/", "max-age=3600", "httponly", "samesite=lax"}
        first = await ben.session()
        async with Browser(desk.url) as fixed:
            fixed.http.cookies.update(planted)
            assert not (await fixed.session())["signed_in"]
        assert (await ben.post("/auth/logout", {})).status_code == 204
        assert not (await ben.session())["signed_in"]
        await ben.sign_in("U0BEN")
        assert (await ben.session())["csrf"] != first["csrf"]
        ben.http.cookies.set("keydesk_session", "eyJtZW1iZXIiOiAiVTBBTkEifQ==.forged.signature")
        assert not (await ben.session())["signed_in"]


async def test_signing_out_needs_the_page(desk: World) -> None:
    """Another site cannot sign anybody out."""
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        ben.csrf = "wrong"
        assert (await ben.post("/auth/logout", {})).status_code == 403
        assert (await ben.session())["signed_in"]


async def test_the_way_back_leads_to_links_alone(desk: World) -> None:
    """No open redirect: sign-in starts from a link's path, and from nothing else."""
    async with Browser(desk.url) as anybody:
        for elsewhere in (
            "",
            "/",
            "//evil.example",
            "https://evil.example/k/x",
            "/k/",
            "/k/x/../../evil",
            "/k/x?next=//evil.example",
            "/k/x#y",
            "/k/x\n",
            "/k//evil.example",
            "/k/x%0d%0aSet-Cookie:a=b",
            "/\\evil.example",
            "/k/" + "x" * 65,
        ):
            answer = await anybody.http.get("/auth/login", params={"next": elsewhere})
            assert answer.status_code == 400, elsewhere
            assert "location" not in answer.headers
        assert (await anybody.http.get("/auth/login")).status_code == 400


async def test_a_state_of_ones_own(desk: World) -> None:
    """A code that another browser was given, or a made-up state, signs nobody in."""
    async with Browser(desk.url) as attacker, Browser(desk.url) as victim:
        await attacker.http.get("/auth/login", params={"next": LINK})
        started = await attacker.http.get("/auth/login", params={"next": LINK})
        state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
        for forged in (state, "made-up", "made-up.x", "", f"{state}x"):
            answer = await victim.http.get("/auth/callback", params={"code": "1.abc", "state": forged})
            assert answer.status_code == 400
            assert "not signed in" in answer.text
            assert not (await victim.session())["signed_in"]
        assert f'href="{LINK}"' in (await victim.http.get("/auth/callback", params={"state": state})).text
        assert (await victim.http.get("/auth/callback")).status_code == 400


async def test_a_code_works_once(desk: World) -> None:
    """The same answer of Slack's shown again is refused: its state is used up."""
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        await ben.post("/auth/logout", {})
        started = await ben.http.get("/auth/login", params={"next": LINK})
        state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
        for _ in range(2):
            answer = await ben.http.get("/auth/callback", params={"code": "never.given", "state": state})
            assert answer.status_code == 400
        assert not (await ben.session())["signed_in"]


async def test_who_cancels_is_led_back(desk: World) -> None:
    """Nothing happened, and the page says so."""
    async with Browser(desk.url) as ben:
        started = await ben.http.get("/auth/login", params={"next": LINK})
        state = parse_qs(urlsplit(started.headers["location"]).query)["state"][0]
        answer = await ben.http.get("/auth/callback", params={"error": "access_denied", "state": state})
        assert answer.status_code == 400
        assert "cancelled" in answer.text
        assert f'href="{LINK}"' in answer.text


async def test_another_workspace(desk: World) -> None:
    """Xavier's id token is genuine, and of a team that this desk does not serve."""
    async with Browser(desk.url) as xavier:
        answer = await xavier.sign_in("U0XAV", LINK)
        assert answer.status_code == 403
        assert "another workspace" in answer.text
        assert not (await xavier.session())["signed_in"]


async def test_behind_tls_the_cookie_is_bound_to_the_host(embedded: SqlStore, slack: Running) -> None:
    """`__Host-` and Secure: no other host or plain connection can set or read it."""
    async with (
        world(
            store=embedded,
            slack_origin=slack.base_url,
            client_id=slack.client_id,
            client_secret=slack.client_secret,
            public_url="https://keydesk.example",
        ) as served,
        httpx.AsyncClient(base_url=served.url) as client,
    ):
        answer = await client.get("/auth/login", params={"next": LINK})
        [(name, attributes)] = cookies_of(answer)
        assert name == "__Host-keydesk_session"
        assert attributes == {"path=/", "max-age=3600", "httponly", "samesite=lax", "secure"}


@dataclass
class Issuer:
    """An OpenID provider that lies on demand: `claims` stand in for the right ones, `sign` for the right signature."""

    url: str = ""
    nonce: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    sign: str = "right"
    up: bool = True
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))

    def app(self) -> Starlette:
        """Its endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _token(self, _: Request) -> Response:
        if not self.up:
            return Response("<html>Bad gateway</html>", 502)
        now = int(time.time())
        right = {
            "iss": self.url,
            "aud": "client",
            "sub": "U0BEN",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "name": "Ben Okafor",
            "https://slack.com/user_id": "U0BEN",
            "https://slack.com/team_id": TEAM,
        }
        claims = {name: value for name, value in {**right, **self.claims}.items() if value is not None}
        answer = {"ok": True, "access_token": "xoxp-1", "token_type": "Bearer", "id_token": self._signed(claims)}
        return JSONResponse({name: value for name, value in answer.items() if value is not None})

    def _signed(self, claims: dict[str, Any]) -> str | None:
        match self.sign:
            case "right":
                return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
            case "another key":
                return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048))
            case "an unknown key":
                return jwt.encode({"alg": "RS256", "kid": "two"}, claims, RSAKey.generate_key(2048))
            case "the public key as a secret":
                head = _base64url(b'{"alg":"HS256","kid":"one"}')
                body = _base64url(json.dumps(claims).encode())
                secret = self.key.as_pem(private=False)
                return f"{head}.{body}.{_base64url(hmac.digest(secret, f'{head}.{body}'.encode(), 'sha256'))}"
            case "altered":
                head, body, signature = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key).split(".")
                return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
            case "none":
                whole = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
                head = _base64url(b'{"alg":"none"}')
                return f"{head}.{whole.split('.')[1]}."
            case "no token":
                return None
            case _:
                return "not.a.token"


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


class TestLies:
    """What an id token must be; each lie is refused, and nobody is signed in."""

    @pytest.fixture
    async def issuer(self) -> AsyncIterator[Issuer]:
        """A provider of the test's own."""
        listener, url = listening()
        issuer = Issuer(url=url)
        async with serving(issuer.app(), listener):
            yield issuer

    @pytest.fixture
    async def browser(self, embedded: SqlStore, issuer: Issuer) -> AsyncIterator[Browser]:
        """A browser at a desk that signs in there."""
        async with (
            world(store=embedded, slack_origin=issuer.url, client_id="client", client_secret="secret") as served,
            Browser(served.url) as opened,
        ):
            yield opened

    async def _back(self, browser: Browser, issuer: Issuer) -> httpx.Response:
        started = await browser.http.get("/auth/login", params={"next": LINK})
        asked = parse_qs(urlsplit(started.headers["location"]).query)
        issuer.nonce = asked["nonce"][0]
        return await browser.http.get("/auth/callback", params={"code": "1.x", "state": asked["state"][0]})

    async def test_claims(self, browser: Browser, issuer: Issuer) -> None:
        """Issuer, audience, nonce and times are what they must be; who and where from are told."""
        long_ago = int(time.time()) - 3600
        for lie in (
            {"nonce": "another"},
            {"nonce": ""},
            {"nonce": None},
            {"aud": "another-app"},
            {"aud": ["another-app"]},
            {"aud": "another-app", "azp": "client"},
            {"aud": None},
            {"azp": "another-app"},
            {"iss": "https://evil.example"},
            {"iss": f"{issuer.url}/"},
            {"iss": None},
            {"exp": long_ago},
            {"exp": None},
            {"iat": None},
            {"iat": int(time.time()) + 3600},
            {"sub": None},
            {"https://slack.com/user_id": None},
            {"https://slack.com/team_id": None},
        ):
            issuer.claims = dict(lie)
            answer = await self._back(browser, issuer)
            assert answer.status_code == 400, lie
            assert not (await browser.session())["signed_in"], lie
        issuer.claims = {"https://slack.com/team_id": "T0OTHER"}
        assert (await self._back(browser, issuer)).status_code == 403
        issuer.claims = {}
        assert (await self._back(browser, issuer)).status_code == 303
        assert (await browser.session())["name"] == "Ben Okafor"

    async def test_signatures(self, browser: Browser, issuer: Issuer) -> None:
        """Only the issuer's own key, in the issuer's own algorithm."""
        for lie in (
            "another key",
            "an unknown key",
            "the public key as a secret",
            "altered",
            "none",
            "no token",
            "garbage",
        ):
            issuer.sign = lie
            answer = await self._back(browser, issuer)
            assert answer.status_code == 400, lie
            assert not (await browser.session())["signed_in"], lie
        issuer.sign = "right"
        assert (await self._back(browser, issuer)).status_code == 303

    async def test_a_name_is_no_markup(self, browser: Browser, issuer: Issuer) -> None:
        """What Slack tells of people is data, also where it is long or odd."""
        issuer.claims = {"name": "<script>alert(1)</script>\u202e"}
        assert (await self._back(browser, issuer)).status_code == 303
        assert (await browser.http.get("/api/session")).headers["content-type"] == "application/json"

    async def test_slack_is_away(self, browser: Browser, issuer: Issuer) -> None:
        """502, with the way back; nobody is signed in."""
        issuer.up = False
        answer = await self._back(browser, issuer)
        assert answer.status_code == 502
        assert f'href="{LINK}"' in answer.text
        assert not (await browser.session())["signed_in"]


async def test_slack_is_away_from_the_start(embedded: SqlStore) -> None:
    """502 at the first step, and no cookie left behind."""
    async with (
        world(store=embedded, slack_origin="http://127.0.0.1:9", client_id="client", client_secret="secret") as served,
        Browser(served.url) as browser,
    ):
        answer = await browser.http.get("/auth/login", params={"next": LINK})
        assert answer.status_code == 502
        assert "Slack does not answer" in answer.text
