"""Sign in with Slack, as OpenID Connect clients know it."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.jwk import KeySet

from sandbox.client import Sandbox
from sandbox.server import Running
from tests.sandbox.serving import sample, unknown_fields

REDIRECT = "http://127.0.0.1:9/auth/callback"
Json = dict[str, Any]


@pytest.fixture
async def http(servers: Running, sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that follows nobody."""
    await sandbox.set_app(redirect_urls=[REDIRECT])
    async with httpx.AsyncClient(base_url=servers.base_url) as http:
        yield http


def asked(servers: Running, **changes: str) -> dict[str, str]:
    """What an app asks the authorization endpoint for."""
    usual = {
        "client_id": servers.client_id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": "openid profile email",
        "state": "st&te",
        "nonce": "n0nce",
    }
    return {**usual, **changes}


async def sign_in(http: httpx.AsyncClient, query: dict[str, str], member: str = "U0BEN") -> dict[str, list[str]]:
    """Chooses a member on the page: what the app's callback is told."""
    answer = await http.post("/openid/connect/authorize", data={**query, "member": member})
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(f"{REDIRECT}?")
    return parse_qs(urlsplit(answer.headers["location"]).query)


async def exchange(http: httpx.AsyncClient, servers: Running, code: str, **changes: str) -> Json:
    """Gives a code back for tokens."""
    usual = {
        "client_id": servers.client_id,
        "client_secret": servers.client_secret,
        "code": code,
        "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
    }
    answer = await http.post("/api/openid.connect.token", data={**usual, **changes})
    assert answer.status_code == 200
    told: Json = answer.json()
    return told


async def claims_of(http: httpx.AsyncClient, token: str) -> Json:
    """An id token's claims, verified by the published keys."""
    discovery = (await http.get("/.well-known/openid-configuration")).json()
    keys = KeySet.import_key_set((await http.get(discovery["jwks_uri"])).json())
    decoded = jwt.decode(token, keys, algorithms=["RS256"])
    jwt.JWTClaimsRegistry(iss={"essential": True, "value": discovery["issuer"]}).validate(decoded.claims)
    return decoded.claims


@pytest.mark.parametrize("way", ["client_secret_post", "client_secret_basic"])
async def test_a_whole_sign_in(http: httpx.AsyncClient, servers: Running, way: str) -> None:
    """authlib's client gets tokens in both ways; the id token verifies and carries Slack's claims."""
    told = await sign_in(http, asked(servers))
    assert told["state"] == ["st&te"]
    discovery = (await http.get("/.well-known/openid-configuration")).json()
    async with AsyncOAuth2Client(
        servers.client_id, servers.client_secret, token_endpoint_auth_method=way, redirect_uri=REDIRECT
    ) as oauth:
        token = await oauth.fetch_token(discovery["token_endpoint"], code=told["code"][0])
        info = (await oauth.get(discovery["userinfo_endpoint"])).json()
    assert token["ok"]
    assert token["token_type"] == "Bearer"
    claims = await claims_of(http, token["id_token"])
    expected = {
        "aud": servers.client_id,
        "nonce": "n0nce",
        "sub": "U0BEN",
        "https://slack.com/user_id": "U0BEN",
        "https://slack.com/team_id": "T0ACME",
        "name": "Ben Okafor",
        "email": "ben@acme.example",
    }
    assert {name: claims[name] for name in expected} == expected
    assert claims["iat"] < claims["exp"]
    assert (info["ok"], info["sub"]) == (True, "U0BEN")
    assert unknown_fields(info, sample("api/openid.connect.userInfo.json")) == []


async def test_the_page_lists_who_can_sign_in(http: httpx.AsyncClient, servers: Running) -> None:
    """Everybody but bots and those who left; the member of the browser's tab stands first; no script is there."""
    http.cookies.set("sandbox_member", "U0CARA")
    page = await http.get("/openid/connect/authorize", params=asked(servers, state='"><script>'))
    assert page.status_code == 200
    people = re.findall(r'name="member" value="(\w+)"', page.text)
    assert people[0] == "U0CARA"
    assert set(people) == {"U0ANA", "U0BEN", "U0CARA", "U0DEV", "U0GUS", "U0UMA", "U0XAV"}
    assert "<script" not in page.text
    hinted = await http.get("/openid/connect/authorize", params=asked(servers, login_hint="U0DEV"))
    assert re.findall(r'name="member" value="(\w+)"', hinted.text)[0] == "U0DEV"
    denied = await http.post("/openid/connect/authorize", data={**asked(servers), "deny": "1"})
    assert parse_qs(urlsplit(denied.headers["location"]).query) == {"error": ["access_denied"], "state": ["st&te"]}
    gone = await http.post("/openid/connect/authorize", data={**asked(servers), "member": "U0OLD"})
    assert gone.status_code == 403


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "1.2"}, "invalid_client_id"),
        ({"redirect_uri": "https://evil.example/"}, "bad_redirect_uri"),
        ({"redirect_uri": f"{REDIRECT}/more"}, "bad_redirect_uri"),
        ({"response_type": "token"}, "invalid_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"team": "T0OTHER"}, "invalid_team"),
    ],
)
async def test_what_an_app_may_not_ask(
    http: httpx.AsyncClient, servers: Running, changes: dict[str, str], error: str
) -> None:
    """A page says so; nobody is sent anywhere."""
    for answer in (
        await http.get("/openid/connect/authorize", params=asked(servers, **changes)),
        await http.post("/openid/connect/authorize", data={**asked(servers, **changes), "member": "U0BEN"}),
    ):
        assert answer.status_code == 400
        assert error in answer.text
        assert "location" not in answer.headers


async def test_codes_work_once_and_for_ten_minutes(http: httpx.AsyncClient, servers: Running, sandbox: Sandbox) -> None:
    """And only for the app and the address that they were made for."""
    code = (await sign_in(http, asked(servers)))["code"][0]
    assert (await exchange(http, servers, code, client_secret="wrong"))["error"] == "bad_client_secret"
    assert (await exchange(http, servers, code, client_id="1.2"))["error"] == "invalid_client_id"
    assert (await exchange(http, servers, code, grant_type="password"))["error"] == "invalid_grant_type"
    told = await exchange(http, servers, code)
    assert set(told) == {"ok", "access_token", "token_type", "id_token", "state"}
    assert await exchange(http, servers, code) == {"ok": False, "error": "invalid_code"}
    code = (await sign_in(http, asked(servers)))["code"][0]
    assert (await exchange(http, servers, code, redirect_uri="http://127.0.0.1:9/other"))["error"] == "bad_redirect_uri"
    code = (await sign_in(http, asked(servers)))["code"][0]
    await sandbox.advance(601)
    assert (await exchange(http, servers, code))["error"] == "invalid_code"
    assert not {code, servers.client_secret} & set(str(await sandbox.record()).split("'"))


async def test_only_what_was_asked_for_is_told(http: httpx.AsyncClient, servers: Running) -> None:
    """Without the scopes no name and no email; a stranger's token names the stranger's team."""
    told = await sign_in(http, asked(servers, scope="openid"), member="U0XAV")
    token = await exchange(http, servers, told["code"][0])
    claims = await claims_of(http, token["id_token"])
    assert claims["https://slack.com/team_id"] == "T0OTHER"
    assert not {"email", "name"} & set(claims)
    refused = await http.get("/api/openid.connect.userInfo", headers={"Authorization": "Bearer xoxp-wrong"})
    assert refused.json() == {"ok": False, "error": "invalid_auth"}
