"""Keydesk's composition root and command line: builds settings, store, providers, desk, Slack, web and scheduler."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from sqlalchemy.exc import OperationalError
from starlette.routing import Route
from uvicorn.loops.auto import auto_loop_factory

from bot import checkup, demo, kek, logs, providers, sweeping, web
from bot import slack as skin
from bot.desk import audit
from bot.desk.assembly import Desk, assemble
from bot.desk.deposits import rewrap
from bot.desk.due import SweepName
from bot.desk.errors import KekFlaw, PolicyFlaw, Unavailable
from bot.desk.linting import kinds, lint_people
from bot.desk.linting import load as load_policy
from bot.desk.policy import DepositKind, Policy
from bot.desk.ports import Clock, Provider
from bot.desk.providers import mints
from bot.desk.vault import KekSource, Vault
from bot.desk.watch import Watch
from bot.metrics import CONTENT_TYPE, Metrics
from bot.providers import deposit
from bot.serving import GRACE_SECONDS, CannotStart, connected, listening, metronome, now, serving
from bot.settings import Settings, SettingsFlaw
from bot.settings import load as load_settings
from storage.migrate import OldSchema, upgrade
from storage.store import SqlStore

log = logging.getLogger("keydesk")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serving:
    """A running desk: what the outside of it is, and its sweeps, which tests run at times of their choosing."""

    team: str
    url: str
    store: SqlStore
    watch: Watch


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock = now) -> AsyncIterator[Serving]:
    """The whole desk, serving, until the context ends. Raises `CannotStart`."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listening(settings.host, settings.port))
        parts = await _put_together(stack, settings, clock)
        desk, store, client, team, notifier = parts.desk, parts.store, parts.client, parts.team, parts.notifier
        slack_app = skin.build_app(client=client, signing_secret=settings.slack_signing_secret)
        background = skin.register(slack_app, desk=desk, notifier=notifier, team=team)
        pages = web.build(
            links=desk.links,
            deposits=desk.deposits,
            public_url=settings.public_url,
            session_secret=settings.session_secret,
            slack_client_id=settings.slack_client_id,
            slack_client_secret=settings.slack_client_secret,
            slack_origin=settings.slack_origin,
            team=team,
            ready=partial(_ready, store, client),
            extra_routes=_more_routes(settings, slack_app, parts, clock),
        )

        try:
            await desk.replacing.review(team)  # the policy may be another since the last start
        except Unavailable:
            log.warning("whether all who were asked may still answer is looked at tonight: the database is busy")

        sweeps = asyncio.create_task(desk.watch.run())
        stack.push_async_callback(_ended, desk.watch, sweeps)
        stack.push_async_callback(background.drain)
        await stack.enter_async_context(serving(pages, listener))
        if settings.slack_app_token:
            app_token = settings.slack_app_token.get_secret_value()
            await stack.enter_async_context(connected(slack_app, app_token, needed=client.refused is None))
        stack.enter_context(metronome(desk.watch.sweeps))
        yield Serving(team=team, url=settings.public_url, store=store, watch=desk.watch)


def _more_routes(settings: Settings, slack_app: AsyncApp, parts: "_Parts", clock: Clock) -> list[Route]:
    """Those that are there where a setting says so."""
    routes = [skin.events_route(slack_app)] if settings.slack_signing_secret else []
    if settings.metrics_token:
        page = partial(parts.metrics.page, parts.desk.watch.sweeps, parts.desk.providers, clock)
        routes.append(web.metrics_route(token=settings.metrics_token, page=page, content_type=CONTENT_TYPE))
    return routes


@dataclass(frozen=True, slots=True)
class _Parts:
    """A desk that is put together and does nothing yet, and what serving it takes."""

    desk: Desk
    store: SqlStore
    client: skin.SlackClient
    team: str
    notifier: skin.SlackNotifier
    metrics: Metrics


class _For(Enum):
    """What a desk is put together for."""

    SERVING = "serving"  # its database is brought to the newest schema
    A_PASS = "a pass"  # beside desks that serve: their database is theirs to change
    LOOKING = "looking"  # it asks neither Slack nor the providers


async def _put_together(
    stack: AsyncExitStack, settings: Settings, clock: Clock, purpose: _For = _For.SERVING
) -> _Parts:
    """A desk by these settings. What it holds is given back with the stack. Raises `CannotStart`."""
    text, metrics = _policy_text(settings), Metrics()
    built = {
        **providers.build(settings, clock),
        **deposit.from_policy(_kinds(settings, text)),
    }
    vendors = {name: metrics.counting(vendor) for name, vendor in built.items()}
    for vendor in vendors.values():
        stack.push_async_callback(vendor.aclose)
    policy = _policy(settings, text, vendors)
    keks = await _keks(settings, policy, vendors)
    store = await _store(stack, settings, migrates=purpose is _For.SERVING)

    session = await stack.enter_async_context(skin.open_session())
    client = skin.build_client(settings.slack_bot_token, settings.slack_api_url, session=session, waited=metrics.waited)
    team = "" if purpose is _For.LOOKING else await _team(client, store)
    directory = skin.SlackDirectory(client=client, team=team, clock=clock)
    notifier = skin.SlackNotifier(client=client, team=team)
    if team:
        await _look_at_people(settings, policy, text, directory, team)
    desk = assemble(
        store=store,
        directory=directory,
        notifier=notifier,
        line=skin.SlackLine(client=client, team=team),
        policy=policy,
        providers=vendors,
        clock=clock,
        random=os.urandom,
        public_url=settings.public_url,
        kek=keks,
        heard=metrics.swept,
    )
    return _Parts(desk, store, client, team, notifier, metrics)


async def _store(stack: AsyncExitStack, settings: Settings, *, migrates: bool) -> SqlStore:
    """The store, on a database of the newest schema; brought to it, or refused where it is not."""
    database = settings.database_url.get_secret_value()
    if migrates:
        await asyncio.to_thread(_migrated, database)
    elif database.startswith("sqlite:") and not Path(database.removeprefix("sqlite:///")).exists():
        raise CannotStart("there is no such database (DATABASE_URL). Mend: set it to the one that your desk uses.")
    store = SqlStore.open(database)
    stack.push_async_callback(store.close)
    if not migrates:
        try:
            await store.ping()
        except OldSchema as old:
            raise CannotStart(f"the database (DATABASE_URL): {old}. Mend: `python app.py migrate`.") from None
    return store


async def _look_at_people(
    settings: Settings, policy: Policy, text: str, directory: skin.SlackDirectory, team: str
) -> None:
    try:
        await lint_people(policy, directory=directory, team=team, text=text, source=str(settings.policy_file))
    except (PolicyFlaw, Unavailable) as flaw:
        # People leave, and Slack has bad days: neither may keep keys from being revoked in time.
        for line in str(flaw).splitlines():
            log.warning("policy: %s", line)


def _policy_text(settings: Settings) -> str:
    file = settings.policy_file
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        mend = f"cp policy.example.toml {file}, and put your own ids in"
        raise CannotStart(f"{file} (POLICY_FILE) cannot be read. Mend: {mend}.") from None


def _kinds(settings: Settings, text: str) -> Sequence[DepositKind]:
    try:
        return kinds(text, source=str(settings.policy_file))
    except PolicyFlaw as flaw:
        raise CannotStart(str(flaw)) from None


def _policy(settings: Settings, text: str, vendors: Mapping[str, Provider]) -> Policy:
    permissions = {name: vendor.permissions for name, vendor in vendors.items()}
    try:
        return load_policy(text, permissions=permissions, source=str(settings.policy_file))
    except PolicyFlaw as flaw:
        raise CannotStart(str(flaw)) from None


async def _keks(settings: Settings, policy: Policy, vendors: Mapping[str, Provider]) -> KekSource | None:
    """Where the KEKs are read. They must be there where policy has a rule for keys that people bring."""
    source = kek.source(settings)
    bringing = {vendors[rule.provider].label for rule in policy.file.rule if not mints(vendors[rule.provider])}
    if bringing or source is not None:
        try:
            await Vault(source=source, random=os.urandom).first()
        except KekFlaw as flaw:
            why = f"policy lets people bring keys ({', '.join(sorted(bringing))}), and " if bringing else ""
            raise CannotStart(f"{why}{flaw}.") from None
    return source


def _migrated(database: str) -> None:
    try:
        upgrade(database)
    except OperationalError as error:
        why = " ".join(str(error.orig).split())
        raise CannotStart(
            f"the database (DATABASE_URL) cannot be used: {why}. Mend: start it, or mend the URL."
        ) from None


async def _team(client: skin.SlackClient, store: SqlStore) -> str:
    """The team that the token is of; while Slack is silent or refuses it, the one that the desk has served before.

    A workspace that took the app away has taken the token too, and its keys are to be revoked all the same.
    """
    try:
        answer = await client.auth_test()
    except SlackApiError as error:
        why = error.response.get("error")
        known = await store.teams()
        if client.refused is None or len(known) != 1:
            raise CannotStart(f"SLACK_BOT_TOKEN is refused by Slack ({why}). Mend: `python app.py check`.") from None
        log.error("SLACK_BOT_TOKEN is refused by Slack (%s). Nobody is served; keys of %s are revoked.", why, known[0])
        return known[0]
    except Exception as error:
        why = type(error).__name__
        known = await store.teams()
        if len(known) != 1:
            raise CannotStart(
                f"Slack cannot be reached at SLACK_API_URL ({why}). Mend: `python app.py check`."
            ) from None
        log.warning("Slack cannot be reached (%s). Serving team %s as before, until it is back.", why, known[0])
        return known[0]
    return str(answer["team_id"])


async def _ready(store: SqlStore, client: skin.SlackClient) -> None:
    """Returns where somebody can be served. Raises `Unavailable`."""
    await store.ping()
    if client.refused is not None:
        raise Unavailable(f"Slack refuses the bot token ({client.refused}).")


async def _ended(watch: Watch, sweeps: asyncio.Task[None]) -> None:
    """What a sweep has begun is brought to its end: a message posted and not written down would be posted again."""
    watch.stop()
    await asyncio.wait({sweeps}, timeout=GRACE_SECONDS)
    sweeps.cancel()
    with suppress(asyncio.CancelledError):
        await sweeps


async def until_stopped() -> None:
    """Waits for Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def serve(work: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end on uvloop; on asyncio's own event loop where there is no uvloop."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(work)


async def _run() -> int:
    settings = load_settings()
    logs.to_stderr(settings.log_level, settings.log_format)
    async with running(settings) as desk:
        ways = [
            *(["Socket Mode"] if settings.slack_app_token else []),
            *(["HTTP at /slack/events"] if settings.slack_signing_secret else []),
        ]
        log.info("Keydesk serves team %s at %s, by %s. Ctrl-C stops it.", desk.team, desk.url, " and ".join(ways))
        await until_stopped()
    return 0


async def _demo(data: Path, port: int) -> int:
    logs.to_stderr("warning")
    async with demo.workspace(data, port=port) as workspace, running(workspace.settings):
        print(workspace.welcome, flush=True)
        await until_stopped()
        print(f"\nStopped. What you did is kept in {data}/ and is there again at the next `make demo`.")
    return 0


async def _audit_verify() -> int:
    store = SqlStore.open(load_settings().database_url.get_secret_value())
    failed = False
    try:
        for team in await store.teams():
            entries, head = await store.audit_chain(team)
            flaw = audit.verify(entries, head)
            if flaw is None:
                print(f"ok    team {team}: {len(entries)} entries, chained and unaltered")
            else:
                failed = True
                print(f"WRONG team {team}: entry {flaw.index} {flaw.because}")
    finally:
        await store.close()
    return 1 if failed else 0


async def _sweep(named: str | None, *, dry_run: bool) -> int:
    settings = load_settings()
    logs.to_stderr(settings.log_level, settings.log_format)
    async with AsyncExitStack() as stack:
        parts = await _put_together(stack, settings, now, _For.LOOKING if dry_run else _For.A_PASS)
        sweeps = parts.desk.watch.sweeps
        names = [SweepName(named)] if named else list(sweeps)
        if dry_run:
            return await sweeping.dry_run(print, sweeps, names, now())
        return await sweeping.run(print, sweeps, names)


async def _keys_rotate() -> int:
    settings = load_settings()
    store = SqlStore.open(settings.database_url.get_secret_value())
    vault = Vault(source=kek.source(settings), random=os.urandom)
    try:
        wrapped = await rewrap(store, vault)
        first = (await vault.first()).name
    except KekFlaw as flaw:
        print(f"WRONG {flaw}.")
        return 1
    finally:
        await store.close()
    print(f"ok    {wrapped} deposits are wrapped anew; all are wrapped by KEK {first} now.")
    print("      Run this once more in a minute: when it says 0, the other lines may go.")
    return 0


def _migrate() -> int:
    _migrated(load_settings().database_url.get_secret_value())
    print("ok    the database has the newest schema")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, 1 for a finding, 2 for what stops a start."""
    parser = argparse.ArgumentParser(prog="app.py", description="Keydesk, the key desk in a team's Slack.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="serve your team; settings from the environment and .env")
    trial = commands.add_parser(
        "demo", help="the whole desk on this machine alone, with a pretend Slack and pretend providers"
    )
    trial.add_argument("--data", type=Path, default=Path("demo-data"), help="where it keeps its data (demo-data)")
    trial.add_argument("--port", type=int, default=8700, help="port of the pretend Slack (8700)")
    commands.add_parser("check", help="say line by line what of the set-up is right or wrong, and how to mend it")
    log_commands = commands.add_parser("audit", help="the audit log").add_subparsers(
        dest="audit_command", required=True, metavar="COMMAND"
    )
    log_commands.add_parser("verify", help="name the first entry that does not fit")
    key_commands = commands.add_parser("keys", help="the KEKs that deposited keys rest under").add_subparsers(
        dest="keys_command", required=True, metavar="COMMAND"
    )
    key_commands.add_parser("rotate", help="wrap every deposit anew by the first KEK, while desks serve")
    one_pass = commands.add_parser("sweep", help="make one pass of a sweep, or say what it would do")
    one_pass.add_argument(
        "name",
        nargs="?",
        choices=[name.value for name in SweepName],
        metavar="NAME",
        help=f"{', '.join(SweepName)}; all",
    )
    one_pass.add_argument("--dry-run", action="store_true", help="change nothing, ask nobody: list what is due")
    commands.add_parser("migrate", help="bring the database to the newest schema")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "run":
                return serve(_run())
            case "demo":
                return serve(_demo(chosen.data, chosen.port))
            case "check":
                return asyncio.run(checkup.report(print))
            case "audit":
                return asyncio.run(_audit_verify())
            case "sweep":
                return serve(_sweep(chosen.name, dry_run=chosen.dry_run))
            case "keys":
                return asyncio.run(_keys_rotate())
            case _:
                return _migrate()
    except (CannotStart, SettingsFlaw, Unavailable, demo.NoDemo) as reason:
        print(f"Keydesk does not start:\n{reason}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
