"""The stages on which desks die, built as they are needed: one for each database and provider at a time."""

import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine

from bot import providers
from bot.desk.linting import kinds, load
from bot.desk.providers import Providers
from bot.providers import deposit
from sandbox.server import running as sandbox_running
from storage.migrate import engine_url
from tests.flows.browsing import Browser
from tests.flows.test_deposits import FIRST as KEK
from tests.flows.test_deposits import KINDS as BROUGHT_KINDS
from tests.flows.world import POLICY as MANY_APPROVERS
from tests.promises.crashes.stage import PATIENCE, Stage
from tests.promises.crashes.way import Way
from tests.promises.dying import Dying
from tests.promises.world import desks

ONE_APPROVER = MANY_APPROVERS.replace('approvers = ["manager", "S0PLATFORM"]', 'approvers = ["manager"]')
"""And the channel: each message more makes each way slower, and says nothing more."""
WHAT_RUNS = """
[[rule]]
name = "keys of what runs"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["models"]
approvers = ["manager"]
on_leaving = "hand_over"
max_duration = "30d"
max_monthly_budget = 200
"""
ROTATION = """
[[rotation]]
provider = "{provider}"
interval = "2d"
remind = []
overdue = "disable"
disable_after = "1d"
"""
"""A key that nobody rotates is switched off after three days, where its provider can."""
SCOPES: Mapping[str, Mapping[str, str]] = {
    "openai": {},
    "openrouter": {"permission": "embeddings"},
    "litellm": {"project": "team-lab", "permission": "embeddings"},
}
"""What Ben asks for at each provider, where it is not what `ASK` says."""
WAYS_ON_ONE_STAGE = 12  # then the messages of earlier ways make looking slow


class Stages:
    """One stage for each database and provider at a time; a new one after some ways, and after one that went wrong."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._now: dict[tuple[str, str], tuple[Stage, AsyncExitStack]] = {}

    @asynccontextmanager
    async def on(self, database: str, provider: str) -> AsyncIterator[Way]:
        """A way that begins now."""
        kept = self._now.get((database, provider))
        if kept and (kept[0].ways >= WAYS_ON_ONE_STAGE or not kept[0].sound):
            await self._now.pop((database, provider))[1].aclose()
            kept = None
        stage, _ = kept or await self._built(database, provider)
        stage.ways += 1
        stage.deaths = stage.posted = 0
        stage.sound = False
        ben = stage.flow.ben
        for member in (ben, stage.flow.ana):
            while view := await member.modal():
                await member.close(view, all=True)
        yield Way(stage, since=(await ben.state())["now"])
        stage.sound = True

    async def close(self) -> None:
        """The end."""
        for _, stack in self._now.values():
            await stack.aclose()

    async def _built(self, database: str, provider: str) -> tuple[Stage, AsyncExitStack]:
        stack = AsyncExitStack()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keydesk-crash-")))
        url = stack.enter_context(_fresh(database, self._request, folder))
        servers = stack.enter_context(sandbox_running(ack_seconds=PATIENCE))
        dying = Dying(folder / "points")
        text = policy_of(provider)
        more = {
            "openai": {
                "kek": KEK,
                "openai_alert_emails": "ana@acme.example",
                "openai_requests_per_minute": "60",
            },
            "openrouter": {
                "openrouter_management_key": servers.openrouter_management_key,
                "openrouter_base_url": servers.openrouter_url,
            },
            "litellm": {"litellm_master_key": servers.litellm_master_key, "litellm_base_url": servers.litellm_url},
        }[provider]
        all_desks = await stack.enter_async_context(
            desks(servers, mode="http", database_url=url, folder=folder, count=1, prepare=dying, policy=text, **more)
        )
        flow = all_desks.flow
        vendors = {**providers.build(flow.settings, flow.clock), **deposit.from_policy(kinds(text))}
        for vendor in vendors.values():
            stack.push_async_callback(vendor.aclose)
        browser, other = [await stack.enter_async_context(Browser(flow.settings.public_url)) for _ in range(2)]
        for one in (browser, other):
            await one.sign_in("U0BEN")
        depositor = await stack.enter_async_context(Browser(flow.settings.public_url))
        await depositor.sign_in("U0ANA")
        engine = create_engine(engine_url(url))
        stack.callback(engine.dispose)
        policy = load(text, permissions={name: vendor.permissions for name, vendor in vendors.items()})
        known = Providers(vendors, policy=policy, clock=flow.clock)
        scope = {"provider": provider, **SCOPES[provider]}
        if provider == "openrouter":  # whose workspaces get new ids each time
            scope["project"] = next(one.id for one in await vendors[provider].projects() if one.name == "lab")
        stage = Stage(flow, all_desks.first, dying, browser, other, depositor, engine, known, provider, scope)
        self._now[database, provider] = stage, stack
        return self._now[database, provider]


@contextmanager
def _fresh(database: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """A migrated database."""
    if database == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), folder / "keydesk.db")
        yield f"sqlite:///{folder}/keydesk.db"
        return
    server, name = request.getfixturevalue("postgres"), f"test_{uuid4().hex}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield server.get_uri(database=name)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


def policy_of(provider: str) -> str:
    """One rule, for this provider alone; at OpenAI people bring keys of other kinds, too."""
    if provider == "openai":
        rule = ONE_APPROVER.replace("max_duration", "new_projects = true\ninvitations = true\nmax_duration", 1)
        return rule + WHAT_RUNS + BROUGHT_KINDS
    text = ONE_APPROVER.replace('provider = "openai"', f'provider = "{provider}"')
    return re.sub("permissions = .*", 'permissions = ["*"]', text) + ROTATION.format(provider=provider)
