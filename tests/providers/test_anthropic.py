"""What is Anthropic's alone: keys that people bring, workspaces, shares of the bill."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from bot.desk.errors import ProviderError, ProviderInvalid, ProviderNotFound, ProviderTransient
from bot.desk.model import Secret
from bot.desk.offer import Ability, Enforcer, KeyStatus, LimitKind, Project, Usage
from bot.desk.ports import Provider
from bot.providers.anthropic import Anthropic
from sandbox.faults import Fault
from sandbox.metering import DAY
from tests.providers.serving import serve
from tests.providers.worlds import AnthropicWorld, adapting, serving

TODAY = date(2027, 1, 15)
MARKER = "keydesk-k_1"
KEY = {
    "type": "api_key",
    "id": "apikey_1",
    "name": MARKER,
    "workspace_id": "wrkspc_lab",
    "created_at": "2027-01-15T08:00:00Z",
    "partial_key_hint": "sk-ant-api03-R2D...igAA",
    "status": "active",
}


@pytest.fixture
def world() -> Iterator[AnthropicWorld]:
    world = AnthropicWorld()
    with serving(world):
        yield world


@pytest.fixture
async def provider(world: AnthropicWorld) -> AsyncIterator[Provider]:
    async with adapting(world) as provider:
        yield provider


async def read(provider: Provider, since: date = TODAY, until: date = TODAY) -> list[Usage]:
    return [usage async for page in provider.usage(since=since, until=until) for usage in page]


def dollars(usages: list[Usage]) -> Decimal:
    return Decimal(sum(usage.cost_micros for usage in usages)) / 10**6


async def test_workspaces_are_projects(world: AnthropicWorld, provider: Provider) -> None:
    """The default one is among them, archived ones are not."""
    assert await provider.projects() == [
        Project(id="wrkspc_default", name="Default"),
        Project(id="wrkspc_search", name="search-prod"),
        Project(id="wrkspc_lab", name="lab"),
    ]


async def test_a_brought_key_is_recognised_by_its_hint(world: AnthropicWorld, provider: Provider) -> None:
    """Among others, in its own workspace, with what it is now; nothing of its value is sent for it."""
    secret, other = world.bring(MARKER), world.bring("notebook")
    key = await provider.recognise(secret=secret, marker=MARKER, project=world.project)
    assert key is not None
    assert (key.name, key.project, key.status) == (MARKER, "wrkspc_lab", KeyStatus.ACTIVE)
    assert key.fingerprint == "…" + secret.expose()[-4:]
    # A person who forgot the name still brings a key that the desk knows.
    unnamed = await provider.recognise(secret=other, marker=MARKER, project=world.project)
    assert unnamed is not None
    assert unnamed.name == "notebook"
    assert await provider.recognise(secret=secret, marker=MARKER, project="wrkspc_search") is None
    stranger = Secret("sk-ant-api03-" + "x" * 80)
    assert await provider.recognise(secret=stranger, marker=MARKER, project=world.project) is None
    await provider.disable(handle=key.handle, project=world.project)
    off = await provider.recognise(secret=secret, marker=MARKER, project=world.project)
    assert off is not None
    assert off.status is KeyStatus.DISABLED
    sent = "".join(f"{it.path} {it.query} {it.body}" for it in world.served.exchanges)
    assert secret.expose()[:20] not in sent


async def test_people_are_told_where_keys_are_made(world: AnthropicWorld, provider: Provider) -> None:
    """The Console's page, and how a key starts there; an Admin API key, which starts otherwise, is none."""
    making = provider.making(world.project)
    assert making.url == f"{world.served.url}/console"
    assert making.steps
    assert world.bring(MARKER).expose().startswith(making.prefix)
    assert not world.credential.startswith(making.prefix)


async def test_what_two_keys_fit_is_told_by_the_marker_or_not_at_all() -> None:
    """Two with the same hint: the one with the marker, if one has it."""
    twins = [{**KEY, "id": "apikey_1", "name": "a"}, {**KEY, "id": "apikey_2", "name": "b"}]
    secret = Secret("sk-ant-api03-R2D" + "x" * 70 + "igAA")
    with serve(listing(twins)) as served:
        async with adapter(served.url) as provider:
            assert await provider.recognise(secret=secret, marker=MARKER, project="wrkspc_lab") is None
            key = await provider.recognise(secret=secret, marker="b", project="wrkspc_lab")
    assert key is not None
    assert key.handle == "apikey_2"


@pytest.mark.parametrize("hint", [None, "", "sk-ant-api03-R2D", "sk-ant-api03-R2D...AA", "sk-ant-api03-R2E...igAA"])
async def test_a_hint_that_tells_too_little_recognises_nothing(hint: str | None) -> None:
    """No hint, half a hint, or another key's."""
    with serve(listing([{**KEY, "partial_key_hint": hint}])) as served:
        async with adapter(served.url) as provider:
            secret = Secret("sk-ant-api03-R2D" + "x" * 70 + "igAA")
            assert await provider.recognise(secret=secret, marker=MARKER, project="wrkspc_lab") is None


async def test_a_default_workspace_without_an_id_has_a_name() -> None:
    """Older answers give it none: its keys are found there, and nowhere else."""
    with serve(listing([{**KEY, "workspace_id": None}, {**KEY, "id": "apikey_2"}])) as served:
        async with adapter(served.url) as provider:
            assert await provider.find(marker=MARKER, project="default") == ["apikey_1"]
            assert await provider.find(marker=MARKER, project="wrkspc_lab") == ["apikey_2"]


@pytest.mark.parametrize("answer", [{**KEY, "id": "apikey_2", "status": "archived"}, KEY])
async def test_a_revocation_has_to_be_confirmed(answer: dict[str, str]) -> None:
    """The answer has to be about this key, and say that it is archived."""

    def update(request: Request) -> JSONResponse:
        return JSONResponse(answer)

    with serve([Route("/v1/organizations/api_keys/{id}", update, methods=["POST"])]) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderTransient):
                await provider.revoke(handle="apikey_1", project="wrkspc_lab")


async def test_an_archived_key_is_gone_and_stays_off(world: AnthropicWorld, provider: Provider) -> None:
    """It is listed no more and cannot be switched on; an expired one is listed as gone."""
    secret = world.bring(MARKER)
    [key] = [it async for it in provider.keys()]  # noqa: SIM118  (a provider is no dict)
    await provider.revoke(handle=key.handle, project=world.project)
    assert await provider.get(handle=key.handle, project=world.project) is None
    with pytest.raises(ProviderInvalid):
        await provider.enable(handle=key.handle, project=world.project)
    assert world.chat(secret) == 401
    world.pretend.console.make_key("short", workspace=world.project, lifetime=60)
    world.now += 60
    assert [it.status async for it in provider.keys()] == [KeyStatus.GONE]  # noqa: SIM118  (as above)
    with pytest.raises(ProviderNotFound):
        await provider.get(handle="apikey_none", project="wrkspc_none")


@pytest.mark.parametrize(
    ("scopes", "flaw", "left"),
    [
        ({"read", "write"}, "read usage", Anthropic.abilities - {Ability.USAGE}),
        ({"read", "usage"}, "switch keys", {Ability.LIST, Ability.USAGE}),
        (set(), "does not let the Admin API key do this", set()),
    ],
)
async def test_a_probe_says_what_the_credential_may_not_do(
    world: AnthropicWorld, provider: Provider, scopes: set[str], flaw: str, left: set[Ability]
) -> None:
    """A restricted Admin API key loses what it may not do, and nothing else; nothing is changed by trying."""
    world.pretend.rule(admin_scopes=scopes)
    before = world.pretend.dump()
    probe = await provider.probe()
    assert probe.abilities == left
    assert flaw in str(probe.flaw)
    assert "Mend" in str(probe.flaw) or not left
    assert world.pretend.dump() == before


async def test_limits_are_the_desks_or_the_workspaces(world: AnthropicWorld, provider: Provider) -> None:
    """Anthropic holds a key to nothing but its workspace, and that is said of each limit."""
    scope = world.scope(models=("claude-haiku-4-5",))
    limits = provider.applied_limits(scope=scope, lifetime=timedelta(days=30))
    assert {limit.kind: limit.enforcer for limit in limits} == {
        LimitKind.EXPIRY: Enforcer.DESK,
        LimitKind.PERMISSION: Enforcer.PROJECT,
        LimitKind.MODELS: Enforcer.NOBODY,
        LimitKind.BUDGET: Enforcer.NOBODY,
    }


async def test_costs_are_shared_by_tokens_and_add_up_to_the_bill(world: AnthropicWorld, provider: Provider) -> None:
    """Keys in the same workspace, with the same model, on the same day; the Workbench and other workspaces apart."""
    first, second = (world.pretend.console.make_key(name, workspace="wrkspc_lab")["id"] for name in ("a", "b"))
    third = world.pretend.console.make_key("c", workspace="wrkspc_default")["id"]
    world.pretend.use(key=first, asked=1000, answered=10)
    world.pretend.use(key=second, asked=1000, answered=990)
    world.pretend.use(key=third, model="claude-opus-5-5", asked=200, answered=200)
    world.pretend.use(asked=100, answered=100)
    world.now += DAY
    world.pretend.use(key=first, asked=0, answered=100_000)
    tomorrow = TODAY + timedelta(days=1)
    usages = await read(provider, until=tomorrow)
    told = {(it.meter, it.day, it.model): (it.tokens_in, it.tokens_out, it.cost_micros) for it in usages}
    assert told == {
        (first, TODAY, "claude-haiku-4-5"): (1000, 10, 1050),
        (second, TODAY, "claude-haiku-4-5"): (1000, 990, 5950),
        (third, TODAY, "claude-opus-5-5"): (200, 200, 6000),
        ("", TODAY, "claude-haiku-4-5"): (100, 100, 600),
        (first, tomorrow, "claude-haiku-4-5"): (0, 100_000, 500_000),
    }
    assert dollars(usages) == world.pretend.organization.meter.total().cost


async def test_every_page_is_read_and_no_fault_changes_a_figure(world: AnthropicWorld, provider: Provider) -> None:
    """Forty days are more than a page of anything; whatever broke, the next reading is whole."""
    key = world.pretend.console.make_key("a", workspace="wrkspc_lab")["id"]
    for _ in range(40):
        world.pretend.use(key=key)
        world.now += DAY
    for call in ("GET */usage_report/*", "GET */cost_report*"):
        world.faults.add(Fault("anthropic", call, cut=True))
        with pytest.raises(ProviderError):
            await read(provider, until=TODAY + timedelta(days=39))
    usages = await read(provider, until=TODAY + timedelta(days=39))
    assert len({usage.day for usage in usages}) == len(usages) == 40
    assert dollars(usages) == world.pretend.organization.meter.total().cost


async def test_what_has_a_price_and_no_tokens_belongs_to_no_key() -> None:
    """A web search is on the bill, and no key's; another currency is not taken for dollars."""
    search = {"amount": "12.5", "currency": "USD", "workspace_id": "wrkspc_lab", "token_type": None}
    with serve(reporting([search])) as served:
        async with adapter(served.url) as provider:
            assert [(it.meter, it.cost_micros) for it in await read(provider)] == [("", 125_000)]
    with serve(reporting([{**search, "currency": "EUR"}])) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderInvalid, match="currency"):
                await read(provider)


async def test_a_member_of_the_workspace_stays_in_the_organization(world: AnthropicWorld, provider: Provider) -> None:
    """Withdrawing takes the workspace, not the person; an invitation that ran out is gone already."""
    invitation = await provider.invite(email="ana@acme.example", project=world.project)
    assert world.members() == ["ana@acme.example"]
    await provider.withdraw(invitation=invitation, project=world.project)
    assert world.members() == []
    assert "user_ana" in world.pretend.organization.people
    late = await provider.invite(email="ben@acme.example", project=world.project)
    world.now += 22 * DAY
    await provider.withdraw(invitation=late, project=world.project)
    assert world.invited() == []
    with pytest.raises(ProviderNotFound):
        await provider.withdraw(invitation=invitation, project="wrkspc_none")


@asynccontextmanager
async def adapter(url: str) -> AsyncIterator[Anthropic]:
    """An adapter to a vendor of which only some calls are there."""
    provider = Anthropic(
        admin_key=SecretStr(AnthropicWorld.credential),
        base_url=url,
        console_url=f"{url}/console",
        clock=lambda: datetime(2027, 1, 15, 8, tzinfo=UTC),
    )
    try:
        yield provider
    finally:
        await provider.aclose()


def listing(keys: Sequence[Mapping[str, str | None]]) -> list[BaseRoute]:
    """An Anthropic that has these keys, whatever is asked."""

    def answer(request: Request) -> JSONResponse:
        return JSONResponse({"data": [dict(key) for key in keys], "has_more": False, "last_id": None})

    return [Route("/v1/organizations/api_keys", answer)]


def reporting(costs: Sequence[Mapping[str, str | None]]) -> list[BaseRoute]:
    """An Anthropic with these costs, and no use."""

    def page(results: object) -> JSONResponse:
        bucket = {"starting_at": "2027-01-15T00:00:00Z", "ending_at": "2027-01-16T00:00:00Z", "results": results}
        return JSONResponse({"data": [bucket], "has_more": False, "next_page": None})

    return [
        Route("/v1/organizations/usage_report/messages", lambda request: page([])),
        Route("/v1/organizations/cost_report", lambda request: page([dict(cost) for cost in costs])),
    ]
