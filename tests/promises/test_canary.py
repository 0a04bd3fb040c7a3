"""Marked secrets go through every flow and every failure, and are found nowhere but where they belong."""

import asyncio
import base64
import copy
import fnmatch
import json
import logging
import multiprocessing
import os
import pickle
import pprint
import secrets
import shutil
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import pytest
from authlib.integrations.starlette_client import StarletteOAuth2App
from playwright.async_api import Request, async_playwright, expect
from pydantic import SecretStr
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

import app
from bot import providers
from bot.desk import envelope, grants
from bot.desk.audit import Act, Entry
from bot.desk.links import Links
from bot.desk.model import Draft, Grant, Handover, Minted, Scope, Secret
from bot.desk.ports import Clock
from bot.desk.states import GrantState
from bot.providers import openai
from bot.settings import Settings, SettingsFlaw, load
from bot.slack import answers, client, directory, views
from bot.web import app as web_app
from bot.web import link, sessions, sign_in
from sandbox.client import Message, Snapshot
from sandbox.credentials import Credentials
from storage.transaction import SqlTransaction
from tests import browser as chromium
from tests.flows.browsing import split
from tests.flows.world import ASK, World, free_port
from tests.promises.canary import Marked, Watched, keep_seeds, overhearing
from tests.promises.world import Desks, desks

TRIES = 40
PASSWORD = secrets.token_urlsafe(24)
SLACK = (
    "users.info",
    "users.profile.get",
    "usergroups.users.list",
    "views.open",
    "views.publish",
    "conversations.open",
    "chat.postMessage",
    "chat.update",
    "openid.connect.token",
)
OPENAI = (
    "GET /organization/projects",
    "POST */service_accounts",
    "POST */service_accounts/svc_acct_" + 24 * "?",
    "POST */api_keys",
    "DELETE */service_accounts/*",
)
FIND = "GET */service_accounts"  # only after a mint of unknown outcome
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "retry_after": 0},
    "500": {"status": 500},
    "503 after the effect": {"status": 503, "acts": True},
    "too late": {"delay": 1.0},
    "cut before the effect": {"cut": True, "times": 2},
    "cut after the effect": {"cut": True, "acts": True, "times": 2},
    "an effect long after the time-out": {"held": True},
}


def force_debug() -> None:
    """Every logger, of every library, says all it can."""
    for name in ("", *logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    # What is set, or asked, later counts for nothing.
    setattr(logging.Logger, "setLevel", lambda self, level: None)  # noqa: B010  (as above)
    setattr(logging.Logger, "isEnabledFor", lambda self, level: True)  # noqa: B010  (as above)


def impatient() -> None:
    """Every call's time-out is half a second, where it is ten seconds else."""
    for module, name in (
        (client, "CALL_SECONDS"),
        (answers, "CALL_SECONDS"),
        (sign_in, "SLACK_PATIENCE"),
        (directory, "PATIENCE"),
    ):
        setattr(module, name, 0.5)
    openai.OpenAI.__init__.__kwdefaults__["call_seconds"] = 0.5  # type: ignore[index]  # it has a default


def forgetful() -> None:
    """Of each act the first entry meets a database that fails, and the second an error that nobody foresaw."""
    record = SqlTransaction.record
    failures = {
        act: [OperationalError("INSERT", {}, OSError("disk I/O error")), RuntimeError("a defect")] for act in Act
    }

    def failing(self: SqlTransaction, *, act: Act, **how: Any) -> Entry:
        if failures[act]:
            raise failures[act].pop(0)
        return record(self, act=act, **how)

    setattr(SqlTransaction, "record", failing)  # noqa: B010  (a plain assignment to a method does not pass mypy)


def clumsy() -> None:
    """Wherever a secret is in hand, the first time something unforeseen is raised right there."""
    for module, name in (
        (openai, "Minted"),
        (openai, "Secret"),
        (openai.wire.Key, "model_validate_json"),
        (envelope, "AESGCM"),
        (grants, "Handover"),
        (views, "handover"),
        (link, "_about"),
        (link, "_token"),
        (sign_in, "open_session"),
        (sign_in, "RedirectResponse"),
    ):
        setattr(module, name, _breaking_once(getattr(module, name)))


def _breaking_once(true: Callable[..., Any]) -> Callable[..., Any]:
    whole = False

    def breaking(*args: Any, **how: Any) -> Any:
        nonlocal whole
        if whole:
            return true(*args, **how)
        whole = True
        del args, how  # a traceback must show the product's locals, not these
        raise RuntimeError("nobody foresaw this")

    return breaking


def show_locals(log: Path) -> None:
    """Writes every traceback with the locals of all its frames, as some crash reporters do."""

    class Formatter(logging.Formatter):
        def formatException(self, ei: Any) -> str:
            return "".join(traceback.TracebackException(*ei, capture_locals=True).format())

        def format(self, record: logging.LogRecord) -> str:
            record.exc_text = None  # another handler's formatter keeps its own there
            try:
                return super().format(record)
            finally:
                record.exc_text = None

    handler = logging.FileHandler(log)
    handler.setFormatter(Formatter())
    logging.getLogger().addHandler(handler)


def prepared(seeds: Path, *more: Callable[[], None]) -> None:
    """What each desk's process does first."""
    keep_seeds(seeds)
    for one in more:
        one()


@asynccontextmanager
async def watched(
    folder: Path, database_url: str, *more: Callable[[], None], mode: str = "http", **how: Any
) -> AsyncIterator[tuple[Desks, Watched]]:
    """A desk's process, and everything that it could leak to."""
    with overhearing() as (servers, server):
        watch = Watched(server, folder, database_url)
        prepare = partial(prepared, watch.kept, *more)
        async with desks(
            servers, mode=mode, database_url=database_url, folder=folder, prepare=prepare, **how
        ) as running:
            watch.mark_settings(running.first.settings)
            watch.marked.add("database password", PASSWORD)
            watch.listen(running.flow.http)
            watch.mark_processes(running.first.pid)
            yield running, watch


async def until(
    flow: World, done: Callable[[], Awaitable[bool]], act: Callable[[], Awaitable[object]], *, seconds: float = 40
) -> None:
    """Somebody who does not give up: acts, and acts again so much later, until it is done."""
    for _ in range(TRIES):
        await act()
        if await done():
            return
        await flow.pass_time(timedelta(seconds=seconds))
        if await done():
            return
    raise AssertionError(f"not done within {TRIES} tries")


def links(flow: World, seen: Snapshot) -> list[str]:
    """The links in private answers to Ben, the oldest first."""
    return [url for one in flow.ben.visible(seen) if one.ephemeral for url in one.urls if "/k/" in url]


async def handed_over(flow: World) -> list[str]:
    """Those there are by now."""
    return links(flow, await flow.ben.state())


class Insistent:
    """Ben, Ana and a browser, who press again until it works. Each step ends when it took effect."""

    def __init__(self, flow: World, watch: Watched) -> None:
        self.flow = flow
        self.watch = watch

    async def asks(self) -> None:
        """The form is opened, filled in and taken."""
        flow, ben = self.flow, self.flow.ben

        async def open_form() -> None:
            await ben.command("/apikey request")

        async def opened() -> bool:
            view = await ben.modal()
            return view is not None and "reason" in view.inputs

        async def submit() -> None:
            view = await ben.modal()
            if view is None or "reason" not in view.inputs:
                return
            try:
                await ben.submit(view, **ASK)
            except LookupError:  # no projects to choose from now
                return

        async def submitted() -> bool:
            return bool(await flow.store.read(lambda tx: tx.pending(flow.team, 1)))

        await until(flow, opened, open_form)
        await until(flow, submitted, submit)

    async def approves(self) -> None:
        """Ana's card comes, and her press counts."""
        flow, ana = self.flow, self.flow.ana

        async def press() -> None:
            cards = [one for one in await ana.messages() if "approve" in one.buttons]
            if cards:
                await ana.click(cards[-1], "approve")

        async def approved() -> bool:
            return not await flow.store.read(lambda tx: tx.pending(flow.team, 1))

        await until(flow, approved, press)

    async def picks_up(self) -> str:
        """The offer comes, and a press brings a link that can be opened: its URL."""
        flow, ben = self.flow, self.flow.ben
        before = await handed_over(flow)

        async def press() -> None:
            offers = [one for one in await ben.messages() if "pick_up" in one.buttons]
            if offers:
                await ben.click(offers[-1], "pick_up")

        async def came() -> bool:
            try:
                return await ben.expect(lambda seen: len(links(flow, seen)) > len(before), timeout=0.4)
            except AssertionError:
                return False

        await until(flow, came, press)
        return (await handed_over(flow))[-1]

    async def opens(self, url: str) -> str:
        """Signs in, claims, opens, acknowledges: the key."""
        flow = self.flow
        async with self.watch.browser(flow.settings.public_url) as browser:
            key = ""

            async def sign_in() -> None:
                with suppress(
                    AssertionError, httpx.HTTPError
                ):  # Slack's or the desk's page says that it does not go now
                    await browser.sign_in("U0BEN", "/k/" + split(url)[0])

            async def signed_in() -> bool:
                return bool((await browser.session())["signed_in"])

            async def reveal() -> None:
                nonlocal key
                with suppress(AssertionError, httpx.HTTPError):  # as above
                    key = await browser.reveal(url)

            async def revealed() -> bool:
                return bool(key)

            await until(flow, signed_in, sign_in, seconds=7)
            await until(flow, revealed, reveal, seconds=7)
        return key

    async def revokes(self) -> None:
        """Gives the key back; it is gone at the provider, and the messages say so."""
        flow = self.flow

        async def press() -> None:
            grants = await flow.store.read(lambda tx: tx.grants_of(flow.team, "U0BEN", 1))
            await flow.ben.command(f"/apikey revoke {grants[0].id}")

        async def gone() -> bool:
            return not await flow.sandbox.openai_keys()

        await until(flow, gone, press)

    async def whole_way(self) -> str:
        """From the form to a revoked key: its value."""
        await self.asks()
        await self.approves()
        key = await self.opens(await self.picks_up())
        assert (await self.flow.call(key)).status_code == 200
        await self.revokes()
        return key


async def refused_denied_cancelled(flow: World) -> None:
    """What ends without a key."""
    await flow.sandbox.member("U0GUS").command("/apikey request")
    await flow.ben.command("/apikey nonsense")
    await flow.ask()
    card = await flow.card(flow.ana)
    await flow.ana.click(card, "deny")
    form = await flow.ana.modal()
    assert form is not None
    assert (await flow.ana.submit(form, reason="Not this month")).acknowledged
    await flow.ben.expect_message("Not this month")
    await flow.ask()
    home = await flow.ben.home("cancel")
    assert (await flow.ben.click(home, "cancel")).acknowledged


async def signed_in_wrongly(flow: World, watch: Watched, url: str) -> None:
    """Every way in which a sign-in can fail, and everybody whom a link is not for."""
    link_id, _ = split(url)
    async with watch.browser(flow.settings.public_url) as browser:
        for query in ("", "?code=1.2&state=forged", f"?error=access_denied&state=x.{link_id}"):
            assert (await browser.http.get(f"/auth/callback{query}")).status_code == 400
        assert (await browser.http.get("/auth/login?next=https://evil.example/")).status_code == 400
        await browser.sign_in("U0BEN", f"/k/{link_id}")
        used = [bytes(one.body) for one in watch.server.heard if one.path == "/api/openid.connect.token"][-1]
        code = parse_qs(used.decode())["code"][0]
        assert (await browser.http.get(f"/auth/callback?code={code}&state=again.{link_id}")).status_code == 400
        assert (await browser.claim(url[:-43] + "A" * 43)).status_code == 403  # no such seed
        assert (await browser.http.get(url.replace("#", "%23"))).status_code == 404  # mangled on its way
        assert (await browser.post("/auth/logout", {})).status_code == 204
    for member in ("U0CARA", "U0XAV"):
        async with watch.browser(flow.settings.public_url) as browser:
            with suppress(AssertionError):
                await browser.sign_in(member, f"/k/{link_id}")
            assert (await browser.claim(url)).status_code in (401, 403)


async def opened_and_given_back(flow: World, watch: Watched) -> None:
    """The main job, from the message, with all that goes wrong around a link."""
    url = await flow.picked_up()
    await signed_in_wrongly(flow, watch, url)
    async with watch.browser(flow.settings.public_url) as browser, watch.browser(flow.settings.public_url) as other:
        for one in (browser, other):
            await one.sign_in("U0BEN")
        assert (await browser.claim(url)).status_code == 200
        assert (await other.claim(url)).status_code == 409
        key = await browser.reveal(url)  # a reload
        assert (await browser.claim(url)).status_code == 409
        assert (await browser.post(f"/api/links/{split(url)[0]}/look", {})).status_code == 200
    assert (await flow.call(key)).status_code == 200
    home = await flow.ben.home("revoke")
    assert (await flow.ben.click(home, "revoke")).acknowledged
    await flow.no_key_left()


async def picked_up_on_home_twice_lapsed_and_expired(flow: World, watch: Watched) -> None:
    """A link in a dialog, one that replaces it, one that nobody opens; a key whose time runs out."""
    await flow.approved()
    home = await flow.ben.home("pick_up")
    assert (await flow.ben.click(home, "pick_up")).acknowledged
    await flow.ben.expect(lambda seen: (view := flow.ben.top(seen)) and view.urls)
    dialog = await flow.ben.modal()
    assert dialog is not None
    await flow.ben.close(dialog)
    before = await handed_over(flow)
    offer = await flow.offer()
    assert (await flow.ben.click(offer, "pick_up")).acknowledged
    await flow.link(after=len(before))
    await flow.pass_time(timedelta(minutes=16))
    await flow.ben.expect_message("15 minutes")
    await flow.no_key_left()
    before = await handed_over(flow)
    offer = await flow.offer()
    assert (await flow.ben.click(offer, "pick_up")).acknowledged
    url = await flow.link(after=len(before))
    async with watch.browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        await browser.reveal(url)
    await flow.pass_time(timedelta(days=8))
    await flow.no_key_left()


async def rotated_and_rotated_at_once(flow: World, watch: Watched) -> None:
    """Another key takes the place of the one in use, and then another at once; nothing is left of the two before."""
    before = await handed_over(flow)
    assert (await flow.ben.click(await flow.approved(), "pick_up")).acknowledged
    known = await opened_next(flow, watch, before)
    (grant,) = await flow.store.read(lambda tx: tx.living_grants_of(flow.team, "U0BEN", 9))
    assert (await flow.ben.click(await with_button(flow, "rotate"), "rotate")).acknowledged
    known = await opened_next(flow, watch, known)
    assert len(await flow.sandbox.openai_keys()) == 2
    assert (await flow.ben.click(await with_button(flow, "switched"), "switched")).acknowledged
    await flow.ben.expect(lambda seen: len([one for one in seen["openai"]["keys"] if one["status"] == "active"]) == 1)
    assert (await flow.ben.command(f"/apikey rotate {grant.id} --now")).acknowledged
    await flow.no_key_left()
    assert (await flow.ben.click(await flow.offer(), "pick_up")).acknowledged
    await opened_next(flow, watch, known)
    assert (await flow.ben.click(await flow.ben.home("revoke"), "revoke")).acknowledged
    await flow.no_key_left()


async def opened_next(flow: World, watch: Watched, known: Sequence[str]) -> list[str]:
    """Ben opens the link that is not known yet: all that are known from now on."""
    (new,) = await flow.ben.expect(lambda seen: [one for one in links(flow, seen) if one not in known])
    async with watch.browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        assert (await flow.call(await browser.reveal(new))).status_code == 200
    return [*known, new]


async def with_button(flow: World, action: str) -> Message:
    """The newest message in front of Ben that has the button."""
    return await flow.ben.expect(
        lambda seen: next((one for one in reversed(flow.ben.visible(seen)) if action in one.buttons), None)
    )


@pytest.mark.parametrize(
    ("database", "mode", "forced"), [("sqlite", "http", False), ("postgresql", "socket", True)], ids=["own", "forced"]
)
async def test_every_flow(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, mode: str, forced: bool
) -> None:
    """Asking, refusing, denying, cancelling, picking up, opening, lapsing, expiring, revoking, rotating, signing in and failing.

    Once with the product's own logging at its debug level, as JSON, once with every logger of every library forced to debug.
    """
    with fresh(request, database, tmp_path) as database_url:
        more, form = ([force_debug], "text") if forced else ([], "json")
        token = secrets.token_urlsafe(32)
        async with watched(tmp_path, database_url, *more, mode=mode, log_format=form, metrics_token=token) as (
            running,
            watch,
        ):
            await refused_denied_cancelled(running.flow)
            await opened_and_given_back(running.flow, watch)
            await picked_up_on_home_twice_lapsed_and_expired(running.flow, watch)
            await rotated_and_rotated_at_once(running.flow, watch)
            await stopped_in_the_middle_of_a_mint(running)
            metrics = f"{running.flow.settings.public_url}/metrics"
            assert (await running.flow.http.get(metrics, headers={"Authorization": f"Bearer {token}"})).is_success
            assert (await running.flow.http.get(metrics, headers={"Authorization": f"Bearer {token[1:]}"})).is_error
            assert (" DEBUG sqlalchemy" in running.said()) == forced
            assert ('{"time": ' in running.said()) != forced
            assert await watch.leaks(running.flow.sandbox) == {}


@contextmanager
def fresh(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[str]:
    """A migrated database; on PostgreSQL the URL holds a password, which must show nowhere either."""
    if kind == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_file'), folder / 'keydesk.db')}"
        return
    server = request.getfixturevalue("postgres")
    name = f"canary_{secrets.token_hex(8)}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield make_url(server.get_uri(database=name)).set(password=PASSWORD).render_as_string(hide_password=False)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


async def stopped_in_the_middle_of_a_mint(running: Desks) -> None:
    """SIGTERM while the provider makes a key: the desk waits for it, or leaves what its successor puts right."""
    flow, desk = running.flow, running.first
    await flow.approved()
    offer = await flow.offer()
    await flow.sandbox.fault("openai", "POST */api_keys", delay=0.5)
    assert (await flow.ben.click(offer, "pick_up")).acknowledged
    await flow.ben.expect(lambda seen: "being made" in str(seen) or "picking" in str(seen))
    await desk.stop()
    await desk.start()
    await flow.pass_time(timedelta(minutes=20))
    await flow.no_key_left()


async def through_faults(
    folder: Path, migrated_file: Path, *more: Callable[[], None], **fault: Any
) -> dict[str, set[str]]:
    """The whole way in a world of its own where each call of Slack and of the provider first meets the fault: the leaks."""
    folder.mkdir()
    database = shutil.copy(migrated_file, folder / "keydesk.db")
    async with watched(folder, f"sqlite:///{database}", impatient, *more) as (running, watch):
        sandbox = running.flow.sandbox
        people = Insistent(running.flow, watch)
        await running.flow.pass_time(timedelta(minutes=2))  # what was asked at the start is asked anew
        for target, calls in (("slack", SLACK), ("openai", (*OPENAI, FIND))):
            for call in calls if fault else ():
                await sandbox.fault(target, call, **fault)
        await people.whole_way()
        await sandbox.release()  # what was held back lands now
        await running.flow.pass_time(timedelta(minutes=20))
        await running.flow.no_key_left()
        met = {one["call"] for one in (await sandbox.record())["faults"]}
        unmet = {call for call in (*SLACK, *OPENAI) if fault and not fnmatch.filter(met, call)}
        assert unmet == set(), f"{fault} met none of {unmet}"
        return await watch.leaks(sandbox)


async def test_every_fault_at_every_call(tmp_path: Path, migrated_file: Path) -> None:
    """Whatever Slack or the provider does to a call, people get through in the end, and nothing leaks on the way."""
    leaks = await asyncio.gather(
        *(through_faults(tmp_path / name, migrated_file, **fault) for name, fault in FAULTS.items())
    )
    assert dict(zip(FAULTS, leaks, strict=True)) == {name: {} for name in FAULTS}


async def test_defects_where_secrets_are_in_hand(tmp_path: Path, migrated_file: Path) -> None:
    """A failing store, and errors that nobody foresaw right where a secret is held: tracebacks show none of them.

    Nor does a handler that prints the locals of every frame show a key, a seed, or what the desk itself holds. What
    one request brought stands in the frames of the web's libraries: its cookie, its code, its access token, of which
    none opens a link without the others.
    """
    shown = partial(show_locals, tmp_path / "desk" / "locals.log")
    leaks = await through_faults(tmp_path / "desk", migrated_file, forgetful, clumsy, shown)
    assert "Traceback" in (tmp_path / "desk" / "locals.log").read_text()
    assert leaks.pop("log locals.log") <= {"session cookie", "code", "access token"}
    assert leaks == {}


def plant() -> None:
    """Every secret once in the log, each in another form; and one each in Slack, the database and an HTTP answer."""
    log = logging.getLogger("planted")
    build, mint, seal = providers.build, openai.OpenAI.mint, envelope.seal
    claim, callback, admit = Links.claim, sign_in.SignIn.callback, sessions.Guard.admit
    exchange, post, record = (
        StarletteOAuth2App.authorize_access_token,
        AsyncWebClient.chat_postMessage,
        SqlTransaction.record,
    )
    held: dict[str, str] = {}

    def built(settings: Settings, clock: Clock) -> Any:
        for name in ("slack_bot_token", "slack_app_token", "slack_signing_secret", "slack_client_secret"):
            if secret := getattr(settings, name):
                log.debug("half of it: %s", secret.get_secret_value()[len(secret) // 2 :])
        assert settings.openai_admin_key is not None
        held["admin"] = settings.openai_admin_key.get_secret_value()
        held["bot"] = settings.slack_bot_token.get_secret_value()
        log.debug("in base64: %s", base64.b64encode(f"x{held['admin']}".encode()))
        log.debug("in a URL: %s", quote(settings.session_secret.get_secret_value()))
        log.debug("whole: %s", settings.database_url.get_secret_value())
        web_app.HEADERS["X-Leak"] = settings.session_secret.get_secret_value()
        return build(settings, clock)

    async def minted(self: openai.OpenAI, **how: Any) -> Any:
        key = await mint(self, **how)
        log.debug("in hex: %s", key.secret.expose().encode().hex())
        return key

    def sealed(secret: Any, *, seed: bytes, **how: Any) -> bytes:
        log.debug("as Python shows it: %r", bytes(seed))
        return seal(secret, seed=seed, **how)

    async def claimed(self: Links, session: Any, link_id: str, token: str) -> Any:
        log.debug("in JSON: %s", json.dumps({"token": token}))
        return await claim(self, session, link_id, token)

    async def called_back(self: sign_in.SignIn, request: Any) -> Any:
        log.debug("in base64url: %s", envelope.base64url(request.query_params.get("code", "").encode()))
        return await callback(self, request)

    async def admitted(self: sessions.Guard, request: Any) -> Any:
        log.debug("a header: %s", request.headers.get("cookie"))
        return await admit(self, request)

    async def exchanged(self: Any, *args: Any, **how: Any) -> Any:
        token = await exchange(self, *args, **how)
        log.debug("a repr: %r", {name: token[name] for name in ("access_token", "id_token")})
        return token

    async def posted(self: AsyncWebClient, *, text: str, **how: Any) -> Any:
        return await post(self, text=f"{text} {held['admin']}", **how)

    def recorded(self: SqlTransaction, **how: Any) -> Entry:
        return record(self, **how, leak=held["bot"])

    for owner, name, planted in (
        (providers, "build", built),
        (openai.OpenAI, "mint", minted),
        (envelope, "seal", sealed),
        (Links, "claim", claimed),
        (sign_in.SignIn, "callback", called_back),
        (sessions.Guard, "admit", admitted),
        (StarletteOAuth2App, "authorize_access_token", exchanged),
        (AsyncWebClient, "chat_postMessage", posted),
        (SqlTransaction, "record", recorded),
    ):
        setattr(owner, name, planted)


async def test_the_canary_can_die(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each secret, planted once on purpose, is found under its name; and each place is looked into."""
    with fresh(request, "postgresql", tmp_path) as database_url:
        async with watched(tmp_path, database_url, plant) as (running, watch):
            watch.marked.add("slack_app_token", running.flow.servers.app_token)  # not in the settings of this mode
            await opened_and_given_back(running.flow, watch)
            line = ["sleep", "60", running.flow.servers.client_secret]
            careless = await asyncio.create_subprocess_exec(
                "sh", "-c", "read wait", *line, stdin=asyncio.subprocess.PIPE
            )
            watch.mark_processes(careless.pid)
            await careless.communicate(b"\n")
            leaks = await watch.leaks(running.flow.sandbox)
    assert leaks.pop("log desk-0.log") == watch.marked.names - {"slack_app_token"}
    assert leaks.pop("Slack") == {"openai_admin_key"}
    assert leaks.pop("database") == {"slack_bot_token"}
    assert leaks.pop("HTTP answers") == {"session_secret"}
    assert leaks.pop("processes") == {"slack_client_secret"}
    assert leaks == {}


async def test_a_browser_keeps_neither_seed_nor_key(tmp_path: Path, migrated_file: Path) -> None:
    """Opened for real: no address, no history, no storage, no request of the browser's holds the seed or the key."""
    database = shutil.copy(migrated_file, tmp_path / "keydesk.db")
    async with watched(tmp_path, f"sqlite:///{database}") as (running, watch), async_playwright() as playwright:
        url = await running.flow.picked_up()
        browser = await playwright.chromium.launch(
            executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
        )
        page = await browser.new_page()
        sent: list[Request] = []

        def keep(request: Request) -> None:
            sent.append(request)

        page.on("request", keep)
        await page.set_content(f'<a href="{url}">Open the key</a>')  # as from Slack: nobody types it
        await page.get_by_role("link", name="Open the key").click()
        await page.wait_for_url(lambda now: now.startswith("http") and "#" not in now)
        kept = {"address": page.url}
        await page.get_by_role("link", name="Sign in with Slack").click()
        await page.locator('button[value="U0BEN"]').click()
        await page.get_by_role("button", name="Show the key").click()
        key = page.locator("#value")
        await expect(key).to_contain_text("sk-svcacct-")
        assert await key.inner_text() in watch.server.values
        await page.get_by_role("button", name="Hide").click()
        session = await page.context.new_cdp_session(page)
        history = await session.send("Page.getNavigationHistory")
        # Beside each address Chromium remembers, in memory, the one that was asked for; no page can reach that.
        kept["history"] = str([(entry["url"], entry["title"]) for entry in history["entries"]])
        for store in ("sessionStorage", "localStorage", "document.cookie", "window.name", "history.state"):
            kept[store] = await page.evaluate(f"JSON.stringify({store})")
        kept["page"] = await page.content()
        for request in sent:
            address = request.url.partition("#")[0]  # a fragment stays in the browser
            kept[address.partition("?")[0]] = f"{address}{await request.all_headers()}{request.post_data}"
        await browser.close()
        leaks = await watch.leaks(running.flow.sandbox)
    assert leaks == {}
    found = {where: names for where, said in kept.items() if (names := watch.marked.found(said))}
    desk = running.flow.settings.public_url
    link_id, _ = split(url)
    assert found == {
        # Slack brings the code, for one use; claim and acknowledgement show the access token.
        f"{desk}/auth/callback": {"code"},
        f"{desk}/api/links/{link_id}/claim": {"access token"},
        f"{desk}/api/links/{link_id}/acknowledge": {"access token"},
    }


async def test_commands_and_starts_with_wrong_settings(tmp_path: Path, migrated_file: Path) -> None:
    """`check`, `audit verify`, `migrate` and `run` with settings that are right, wrong, swapped or lead nowhere."""
    database = shutil.copy(migrated_file, tmp_path / "keydesk.db")
    async with watched(tmp_path, f"sqlite:///{database}") as (running, watch):
        await running.flow.approved()
        settings = running.first.settings
        right = {
            name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in settings
            if value is not None
        } | {"LOG_LEVEL": "debug", "PORT": str(free_port())}
        made = Credentials()
        for name in ("bot_token", "app_token", "client_secret", "openai_admin_key"):
            watch.marked.add(f"wrong {name}", getattr(made, name))
        watch.slack_tokens |= {made.bot_token}  # right or wrong, that is the place to show them
        watch.vendor_keys |= {made.openai_admin_key}
        nowhere = f"postgresql://keydesk:{PASSWORD}@127.0.0.1:{free_port()}/keydesk"
        wrong = {
            "SLACK_BOT_TOKEN": [made.bot_token, made.app_token, made.openai_admin_key],
            "SLACK_CLIENT_SECRET": [made.client_secret],
            "SESSION_SECRET": [right["SESSION_SECRET"][:20]],
            "OPENAI_ADMIN_KEY": [made.openai_admin_key, made.bot_token],
            "DATABASE_URL": [nowhere, nowhere.replace("postgresql", "mysql"), nowhere.replace("127.0.0.1", "[::1]")],
            "PUBLIC_URL": [f"https://desk.example/?{made.client_secret}", f"http://{PASSWORD}@desk.example"],
            "LOG_LEVEL": [made.client_secret],
        }
        each = [{**right, name: value} for name, values in wrong.items() for value in values]
        every = {**right, **{name: values[0] for name, values in wrong.items() if name != "LOG_LEVEL"}}
        runs = [
            *((words, right) for words in (["check"], ["audit", "verify"], ["migrate"], ["sweep"])),
            *((words, every) for words in (["check"], ["run"])),
            *((["check"], environment) for environment in each),
            *((words, {**right, "DATABASE_URL": nowhere}) for words in (["audit", "verify"], ["migrate"], ["run"])),
        ]
        forks = multiprocessing.get_context("forkserver")
        children = []
        for number, (words, environment) in enumerate(runs):
            child = forks.Process(target=_command, args=(tmp_path / f"command-{number}.log", words, environment))
            child.start()
            children.append(child)
        for child in children:
            await asyncio.to_thread(child.join, 60)
        assert [child.exitcode for child in children[:4]] == [0, 0, 0, 0]
        assert not [child.exitcode for child in children[4:] if child.exitcode not in (1, 2)]
        for number in range(len(runs)):
            assert (tmp_path / f"command-{number}.log").read_text(), runs[number]
        assert await watch.leaks(running.flow.sandbox) == {}


def _command(log: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
    """A command in a process of its own, which starts with everything imported: what it says goes to the log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.chdir(log.parent)
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(app.main(words))


@pytest.mark.parametrize("rest", ["@127.0.0.1/keydesk", "/2@127.0.0.1/keydesk", "?2@127.0.0.1/keydesk"])
def test_a_password_with_an_at_sign_in_it_is_found_out(rest: str) -> None:
    """An unescaped "@" in the database's password would make half of it a host's name, which errors tell."""
    with pytest.raises(SettingsFlaw, match=r"DATABASE_URL.*%40") as refused:
        load(**_right(Credentials(), f"postgresql://keydesk:first@{PASSWORD}{rest}"))
    assert PASSWORD not in str(refused.value)
    load(**_right(Credentials(), f"postgresql://keydesk:first%40{PASSWORD}@127.0.0.1/keydesk"))


def test_what_holds_a_secret_is_not_written_down_whole() -> None:
    """A key's value, a seed and a link's URL are in memory only: none can be pickled or copied."""
    secret = Secret("sk-svcacct-" + secrets.token_urlsafe(32))
    seed = envelope.Seed(secrets.token_bytes(32))
    now = datetime.now(UTC)
    draft = Draft(Scope("openai", "p", "chat", 100), "p", timedelta(days=1), "why")
    handover = Handover(
        url="https://desk.example/k/x#", expires_at=now, grant=Grant("T", "g", "r", "U", draft, GrantState.READY, now)
    )
    for thing in (secret, seed, Minted("svc_acct_1", "…abcd", secret), handover):
        for keep in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="not to be written down"):
                keep(thing)


def test_nothing_shows_what_it_holds(tmp_path: Path) -> None:
    """Settings, what the desk's things hold, and errors about wrong settings: neither repr nor str shows a secret."""
    marked = Marked()
    made = Credentials()
    right = _right(made, f"postgresql://keydesk:{PASSWORD}@127.0.0.1:1/keydesk")
    values = {name: value for name, value in right.items() if value and name not in ("slack_client_id", "public_url")}
    for name, value in values.items():
        marked.add(name, PASSWORD if name == "database_url" else value)
    settings = load(**right)
    key, seed = "sk-svcacct-" + secrets.token_urlsafe(48), secrets.token_urlsafe(32)
    marked.add("key", key)
    marked.add("seed", seed)
    secret = Secret(key)
    now = datetime.now(UTC)
    draft = Draft(Scope("openai", "p", "chat", 100), "p", timedelta(days=1), "why")
    grant = Grant("T", "g", "r", "U", draft, GrantState.READY, now)
    things: list[object] = [
        settings,
        settings.model_dump(),
        settings.model_dump_json(),
        secret,
        Minted("svc_acct_1", "…abcd", secret),
        Handover(url=f"https://desk.example/k/x#{seed}", expires_at=now, grant=grant),
        make_url(values["database_url"]),
    ]
    for name, value in values.items():
        try:
            load(**{**right, name: f" {value}"[:30] if name == "session_secret" else f"wrong-{value}"})
        except SettingsFlaw as flaw:
            things += [flaw, "".join(traceback.format_exception(flaw)), pickle.dumps(flaw)]
            cause = flaw.__context__
            things += [cause, pickle.dumps([str(cause)])]
    for thing in things:
        for shown in (repr(thing), str(thing), f"{thing}", pprint.pformat(thing), ascii(thing)):
            assert marked.found(shown) == set(), type(thing)


def _right(made: Credentials, database_url: str) -> dict[str, Any]:
    """Settings with nothing wrong in them."""
    return {
        "_env_file": None,
        "slack_bot_token": made.bot_token,
        "slack_app_token": made.app_token,
        "slack_signing_secret": made.signing_secret,
        "slack_client_id": "1",
        "slack_client_secret": made.client_secret,
        "public_url": "https://desk.example",
        "session_secret": secrets.token_urlsafe(32),
        "openai_admin_key": made.openai_admin_key,
        "database_url": database_url,
    }
