"""`app.py check`: says line by line what of the set-up is right or wrong, and how to mend it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import kek, providers
from bot import slack as skin
from bot.desk.errors import KekFlaw, PolicyFlaw, Unavailable
from bot.desk.linting import kinds, lint_people
from bot.desk.linting import load as load_policy
from bot.desk.providers import mints
from bot.desk.vault import Vault
from bot.providers import deposit
from bot.settings import Settings, SettingsFlaw
from bot.settings import load as load_settings
from storage.store import SqlStore

MOST_SKEW = 60  # seconds; Slack refuses to have its deliveries checked with a clock more than five minutes off
PATIENCE = 10.0  # seconds for each question

SCOPES = {
    "chat:write": "to send approval cards and outcomes",
    "commands": "for /apikey",
    "files:write": "to send the chart of a weekly digest as a picture, where Slack has no charts of its own",
    "im:history": "to see after a crash whether a weekly digest stands there already, and not send it twice",
    "im:write": "to open the direct message it writes to",
    "usergroups:read": "to know who is in the user groups that the policy names",
    "users.profile:read": "to know a requester's manager",
    "users:read": "to refuse guests, bots and people who left, at every click",
    "users:read.email": "to have a provider invite somebody at the mail address that Slack knows",
}
"""The bot scopes of manifest.yml, and what each is for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `fine` is None for what cannot be told from here."""

    fine: bool | None
    what: str

    def __str__(self) -> str:
        mark = {True: "ok   ", False: "WRONG", None: "?    "}[self.fine]
        return f"{mark} {self.what}"


async def report(say: Callable[[str], None], settings: Settings | None = None) -> int:
    """Prints every finding. Returns 0 when nothing is wrong, else 1."""
    try:
        settings = settings or load_settings()
    except SettingsFlaw as flaw:
        for line in str(flaw).splitlines():
            say(str(Finding(False, f"settings: {line}")))
        return 1
    say(str(Finding(True, "settings: complete")))
    wrong = False
    async for finding in _findings(settings):
        wrong = wrong or finding.fine is False
        say(str(finding))
    return 1 if wrong else 0


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    client = skin.build_client(settings.slack_bot_token, settings.slack_api_url)
    team: str | None = None
    async for finding, found in _slack(client):
        team = found or team
        yield finding
    if settings.slack_app_token:
        yield await _socket_mode(client, settings.slack_app_token.get_secret_value())
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        yield await _sign_in(http, settings)
        yield await _public_url(http, settings)
    yield await _database(settings.database_url.get_secret_value())
    try:
        brought = kinds(settings.policy_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, PolicyFlaw):
        brought = ()  # what is wrong with the policy is said below
    vendors = {**providers.build(settings, lambda: datetime.now(UTC)), **deposit.from_policy(brought)}
    if not vendors:
        yield Finding(False, "providers: none is set up. Mend: set OPENAI_ADMIN_KEY")
    for name, vendor in vendors.items():
        try:
            probe = await vendor.probe()
        finally:
            await vendor.aclose()
        yield Finding(probe.flaw is None, f"provider {name}: {probe.flaw or probe.said}")
    permissions = {name: vendor.permissions for name, vendor in vendors.items()}
    source = str(settings.policy_file)
    try:
        text = settings.policy_file.read_text(encoding="utf-8")
        policy = load_policy(text, permissions=permissions, source=source)
        if team is not None:
            directory = skin.SlackDirectory(client=client, team=team, clock=lambda: datetime.now(UTC))
            await lint_people(policy, directory=directory, team=team, text=text, source=source)
        yield Finding(True, f"policy: {source}, rules: {', '.join(rule.name for rule in policy.file.rule)}")
        if keks := await _keks(settings, any(not mints(vendors[rule.provider]) for rule in policy.file.rule)):
            yield keks
    except (OSError, UnicodeDecodeError):
        yield Finding(False, f"policy: {source} cannot be read. Mend: cp policy.example.toml {source}, put your ids in")
    except PolicyFlaw as flaw:
        for line in str(flaw).splitlines():
            yield Finding(False, f"policy: {line}")
    except Unavailable as error:
        yield Finding(None, f"policy: whom it names could not be looked up in Slack ({error})")


async def _slack(client: AsyncWebClient) -> AsyncIterator[tuple[Finding, str | None]]:
    try:
        answer = await client.auth_test()
    except SlackApiError as error:
        mend = "Mend: install the app to your workspace, copy the Bot User OAuth Token to SLACK_BOT_TOKEN"
        yield Finding(False, f"Slack bot token: refused ({error.response.get('error')}). {mend}"), None
        return
    except Exception as error:
        mend = "Mend: SLACK_API_URL, DNS, proxy, firewall"
        yield Finding(False, f"Slack: cannot be reached at {client.base_url} ({type(error).__name__}). {mend}"), None
        return
    team = str(answer["team_id"])
    yield Finding(True, f"Slack bot token: {answer['user']} in {answer['team']} ({team})"), team
    headers = {name.lower(): value for name, value in answer.headers.items()}
    granted = {scope.strip() for scope in str(headers.get("x-oauth-scopes", "")).split(",")}
    missing = [f"{scope} ({why})" for scope, why in SCOPES.items() if scope not in granted]
    if missing:
        mend = "Mend: import manifest.yml again and reinstall the app"
        yield Finding(False, f"Slack token scopes: missing {', '.join(missing)}. {mend}"), None
    else:
        yield Finding(True, f"Slack token scopes: all {len(SCOPES)} that are needed"), None
    if date := headers.get("date"):
        skew = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
        mend = "Mend: keep it by NTP; Slack's signatures and sign-ins expire by it"
        if skew > MOST_SKEW:
            yield Finding(False, f"clock: {skew:.0f} s off Slack's. {mend}"), None
        else:
            yield Finding(True, "clock: within a minute of Slack's"), None


async def _socket_mode(client: AsyncWebClient, token: str) -> Finding:
    try:
        await client.apps_connections_open(app_token=token)
    except SlackApiError as error:
        why = error.response.get("error")
        mend = "Mend: an app-level token with connections:write, and Socket Mode switched on"
        return Finding(False, f"Slack app token: refused ({why}). {mend}")
    except Exception as error:
        return Finding(False, f"Slack app token: could not be tried ({type(error).__name__}). Mend: see Slack above")
    return Finding(True, "Slack app token: opens Socket Mode")


async def _sign_in(http: httpx.AsyncClient, settings: Settings) -> Finding:
    """Shows the client credentials with a code that cannot be right: Slack says which of them it minds."""
    try:
        answer = await http.post(
            f"{settings.slack_api_url}openid.connect.token",
            data={
                "client_id": settings.slack_client_id,
                "client_secret": settings.slack_client_secret.get_secret_value(),
                "code": "check",
                "grant_type": "authorization_code",
                "redirect_uri": f"{settings.public_url}/auth/callback",
            },
        )
        why = str(answer.json().get("error"))
    except (httpx.HTTPError, ValueError) as error:
        return Finding(False, f"Sign in with Slack: could not be tried ({type(error).__name__}). Mend: see Slack above")
    if why in ("invalid_code", "code_already_used"):
        return Finding(True, "Sign in with Slack: client ID and secret are accepted")
    mend = "Mend: SLACK_CLIENT_ID, SLACK_CLIENT_SECRET, and the redirect URL PUBLIC_URL/auth/callback in the Slack app"
    return Finding(False, f"Sign in with Slack: refused ({why}). {mend}")


async def _public_url(http: httpx.AsyncClient, settings: Settings) -> Finding:
    url = f"{settings.public_url}/healthz"
    try:
        answer = await http.get(url)
        ours = answer.status_code == 200 and answer.json().get("service") == "keydesk"
    except (httpx.HTTPError, ValueError) as error:
        what = f"public URL: {url} does not answer from here ({type(error).__name__})"
        return Finding(None, f"{what}. Fine while the desk is stopped; else look at your proxy or tunnel")
    if ours:
        return Finding(True, f"public URL: {settings.public_url} leads to Keydesk")
    return Finding(False, f"public URL: something else answers at {url}. Mend: PUBLIC_URL, or the proxy's target")


async def _keks(settings: Settings, needed: bool) -> Finding | None:
    source = kek.source(settings)
    if source is None and not needed:
        return None
    try:
        first = await Vault(source=source, random=os.urandom).first()
    except KekFlaw as flaw:
        return Finding(False, f"KEK: {flaw}")
    return Finding(True, f"KEK: {first.name} wraps what people deposit")


async def _database(url: str) -> Finding:
    kind = url.split(":", 1)[0]
    store = await asyncio.to_thread(SqlStore.open, url)
    try:
        await store.ping()
    except Exception as error:
        why = str(error).splitlines()[0] if kind == "sqlite" else type(error).__name__
        return Finding(False, f"database: {kind}: {why}. Mend: DATABASE_URL, then `python app.py migrate`")
    finally:
        await store.close()
    return Finding(True, f"database: {kind}, newest schema")
