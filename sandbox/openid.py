"""Sign in with Slack: the OpenID Connect endpoints, with one page on which one picks who one is."""

import base64
import binascii
import html
import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.credentials import Credentials
from sandbox.web_api import Call, Method
from sandbox.workspace import OTHER_TEAM, TEAM, TEAM_DOMAIN, TEAM_NAME, Json, Member, Refusal, Workspace

CODE_SECONDS = 10 * 60
ID_TOKEN_SECONDS = 5 * 60
SCOPES = ("openid", "profile", "email")
CLAIM = "https://slack.com/"

_TEAMS = {TEAM: (TEAM_NAME, TEAM_DOMAIN), OTHER_TEAM: ("Other Inc.", "other")}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in to {team}</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#1d1c2b, #eceaf4); --paper: light-dark(#f6f4fa, #17151f);
  --card: light-dark(#fff, #211e2c); --line: light-dark(#ddd8e8, #38334a); --accent: light-dark(#4b2a63, #c7a8e4); }}
* {{ box-sizing: border-box }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; padding: 2rem 1rem }}
main {{ background: var(--card); border: 1px solid var(--line); border-radius: 16px; padding: 2rem;
  width: min(28rem, 100%); box-shadow: 0 12px 40px rgb(30 10 50 / .12) }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem }}
p {{ margin: 0 0 1.25rem; opacity: .75 }}
form {{ display: grid; gap: .5rem }}
button {{ font: inherit; color: inherit; text-align: start; background: none; border: 1px solid var(--line);
  border-radius: 10px; padding: .6rem .9rem; cursor: pointer; display: flex; justify-content: space-between; align-items: baseline; gap: 1rem }}
button small {{ opacity: .8 }}
button:hover, button:focus-visible {{ border-color: var(--accent); outline: 2px solid var(--accent) }}
button.chosen {{ background: var(--accent); border-color: var(--accent); color: var(--card) }}
button.deny {{ justify-content: center; border: 0; margin-top: .5rem }}
</style>
</head>
<body>
<main>
<h1>Sign in with Slack</h1>
<p>{words}</p>
{form}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class _Grant:
    """What a code stands for."""

    member: str
    redirect_uri: str
    scopes: frozenset[str]
    nonce: str
    until: float


class OpenId:
    """The identity provider. Its keys are made when somebody first signs in."""

    def __init__(self, *, workspace: Workspace, credentials: Credentials, issuer: str) -> None:
        self.redirect_urls: list[str] = []
        self._workspace = workspace
        self._client_id, self._client_secret = credentials.client_id, credentials.client_secret
        self._issuer = issuer
        self._codes: dict[str, _Grant] = {}
        self._tokens: dict[str, _Grant] = {}
        self.methods = {
            "openid.connect.token": Method(self._token, tokens="none"),
            "openid.connect.userInfo": Method(self._user_info, tokens="none"),
        }
        self.routes: list[BaseRoute] = [
            Route("/.well-known/openid-configuration", self._discovery),
            Route("/openid/connect/keys", self._keys),
            Route("/openid/connect/authorize", self._authorize, methods=["GET", "POST"]),
        ]

    @cached_property
    def _key(self) -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": secrets.token_hex(8), "use": "sig", "alg": "RS256"}, private=True)

    async def _discovery(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self._issuer,
                "authorization_endpoint": f"{self._issuer}/openid/connect/authorize",
                "token_endpoint": f"{self._issuer}/api/openid.connect.token",
                "userinfo_endpoint": f"{self._issuer}/api/openid.connect.userInfo",
                "jwks_uri": f"{self._issuer}/openid/connect/keys",
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["form_post"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "claims_supported": ["sub", "auth_time", "iss"],
                "claims_parameter_supported": False,
                "request_parameter_supported": False,
                "request_uri_parameter_supported": True,
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            }
        )

    async def _keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if request.method == "POST":
            asked |= dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        try:
            self._check(asked)
        except Refusal as refusal:
            words = f"The app asked in a way that Slack does not take: <code>{refusal.error}</code>."
            return HTMLResponse(_PAGE.format(team=TEAM_NAME, words=words, form=""), 400)
        if request.method == "GET":
            chosen = asked.get("login_hint") or request.cookies.get("sandbox_member", "")
            return HTMLResponse(self._page(asked, chosen))
        if "deny" in asked:
            return _back(asked, {"error": "access_denied"})
        member = self._workspace.members.get(asked.get("member", ""))
        if member is None or not member.can_sign_in:
            words = "This member cannot sign in."
            return HTMLResponse(_PAGE.format(team=TEAM_NAME, words=words, form=""), 403)
        code = f"{secrets.randbelow(10**10)}.{secrets.token_hex(24)}"
        self._codes[code] = _Grant(
            member=member.id,
            redirect_uri=asked["redirect_uri"],
            scopes=frozenset(asked["scope"].replace(",", " ").split()),
            nonce=asked.get("nonce", ""),
            until=self._workspace.clock() + CODE_SECONDS,
        )
        return _back(asked, {"code": code})

    def _check(self, asked: Json) -> None:
        if asked.get("client_id") != self._client_id:
            raise Refusal("invalid_client_id")
        if asked.get("redirect_uri") not in self.redirect_urls:
            raise Refusal("bad_redirect_uri")
        if asked.get("response_type") != "code":
            raise Refusal("invalid_response_type")
        scopes = set(asked.get("scope", "").replace(",", " ").split())
        if "openid" not in scopes or not scopes <= set(SCOPES):
            raise Refusal("invalid_scope")
        if asked.get("team") not in (None, "", TEAM):
            raise Refusal("invalid_team")

    def _page(self, asked: Json, chosen: str) -> str:
        carried = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in asked.items()
        )
        people = [member for member in self._workspace.members.values() if member.can_sign_in]
        people.sort(key=lambda member: member.id != chosen)
        buttons = "".join(_button(member, chosen == member.id) for member in people)
        deny = '<button class="deny" name="deny" value="1">Cancel</button>'
        form = f'<form method="post" action="/openid/connect/authorize">{carried}{buttons}{deny}</form>'
        words = f"An app of <strong>{TEAM_NAME}</strong> wants to know who you are. Who are you?"
        return _PAGE.format(team=TEAM_NAME, words=words, form=form)

    def _token(self, call: Call) -> Json:
        id, secret = call.text("client_id"), call.text("client_secret")
        scheme, _, basic = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                id, _, secret = (unquote(part) for part in base64.b64decode(basic).decode().partition(":"))
            except (binascii.Error, UnicodeDecodeError):
                raise Refusal("invalid_client_id") from None
        if id != self._client_id:
            raise Refusal("invalid_client_id")
        if not secrets.compare_digest(secret.encode(), self._client_secret.encode()):
            raise Refusal("bad_client_secret")
        if call.text("grant_type") not in ("", "authorization_code"):
            raise Refusal("invalid_grant_type")
        grant = self._codes.pop(call.text("code"), None)
        if grant is None or self._workspace.clock() > grant.until:
            raise Refusal("invalid_code")
        if call.text("redirect_uri") not in ("", grant.redirect_uri):
            raise Refusal("bad_redirect_uri")
        token = "xoxp-" + secrets.token_hex(24)
        self._tokens[token] = grant
        return {"access_token": token, "token_type": "Bearer", "id_token": self._id_token(grant, token), "state": ""}

    def _id_token(self, grant: _Grant, access_token: str) -> str:
        # Whoever verifies it goes by the real time, so this does too.
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._client_id,
            "exp": now + ID_TOKEN_SECONDS,
            "iat": now,
            "auth_time": now,
            # OpenID Connect Core 1.0, section 3.1.3.6: the left half of the access token's hash.
            "at_hash": base64.urlsafe_b64encode(sha256(access_token.encode()).digest()[:16]).rstrip(b"=").decode(),
            **({"nonce": grant.nonce} if grant.nonce else {}),
            **self._claims(grant),
        }
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": self._key.kid}, claims, self._key)

    def _claims(self, grant: _Grant) -> Json:
        member = self._workspace.members[grant.member]
        first, _, last = member.real_name.partition(" ")
        name, domain = _TEAMS.get(member.team_id, (member.team_id, ""))
        claims: Json = {"sub": member.id, f"{CLAIM}user_id": member.id, f"{CLAIM}team_id": member.team_id}
        if "email" in grant.scopes:
            claims |= {"email": member.email, "email_verified": True, "date_email_verified": 1700000000}
        if "profile" in grant.scopes:
            claims |= {
                "name": member.real_name,
                "given_name": first,
                "family_name": last,
                "locale": "en-US",
                f"{CLAIM}team_name": name,
                f"{CLAIM}team_domain": domain,
            }
        return claims

    def _user_info(self, call: Call) -> Json:
        if not call.token:
            raise Refusal("not_authed")
        if call.token not in self._tokens:
            raise Refusal("invalid_auth")
        return self._claims(self._tokens[call.token])


def _button(member: Member, chosen: bool) -> str:
    look = ' class="chosen" autofocus' if chosen else ""
    name, title = html.escape(member.real_name), html.escape(member.title)
    return f'<button name="member" value="{member.id}"{look}><span>{name}</span><small>{title}</small></button>'


def _back(asked: Json, answer: dict[str, str]) -> Response:
    """Sends the browser back to the app, with the state it came with."""
    parts = urlsplit(asked["redirect_uri"])
    query = [*parse_qsl(parts.query), *answer.items(), *([("state", asked["state"])] if "state" in asked else [])]
    return RedirectResponse(urlunsplit(parts._replace(query=urlencode(query, quote_via=quote))), 302)
