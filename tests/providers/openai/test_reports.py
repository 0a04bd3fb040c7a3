"""OpenAI's reports as the desk reads them: to the token and to the cent, by key, day and model."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.desk.errors import ProviderForbidden, ProviderInvalid, ProviderRateLimited, ProviderTransient
from bot.desk.offer import Basis, Usage
from bot.providers.openai import OpenAI
from sandbox.faults import Fault
from sandbox.metering import DAY, PRICES
from tests.providers.openai.world import World, adapter, scope
from tests.providers.serving import description, serve

TODAY = date(2027, 1, 15)
LONG = timedelta(days=90)


async def read(provider: OpenAI, since: date = TODAY, until: date = TODAY) -> list[Usage]:
    return [usage async for page in provider.usage(since=since, until=until) for usage in page]


async def mint(provider: OpenAI, marker: str = "keydesk-k1", project: str = "proj_lab") -> str:
    """A new key's id, which its use is reported under."""
    return (await provider.mint(marker=marker, scope=scope("all", project), lifetime=LONG)).meter


def micros(model: str, asked: int, answered: int) -> int:
    return int((PRICES[model].of(asked, answered) * 10**6).to_integral_value())


def dollars(usages: Sequence[Usage]) -> Decimal:
    return Decimal(sum(usage.cost_micros for usage in usages)) / 10**6


async def test_use_is_told_by_key_model_and_day(world: World, provider: OpenAI) -> None:
    """Requests, tokens and cost of each, the newest days as estimates; embeddings beside chat."""
    key = await mint(provider)
    for _ in range(3):
        world.pretend.use(key=key, asked=1000, answered=200)
    world.pretend.use(key=key, model="text-embedding-3-small", asked=5000, answered=0)
    world.now += DAY
    world.pretend.use(key=key, asked=10, answered=20_000)
    as_of = world.clock()

    def usage(day: date, model: str, requests: int, asked: int, answered: int) -> Usage:
        cost = micros(model, asked, answered)
        return Usage(key, day, model, requests, asked, answered, cost, Basis.ESTIMATED, as_of)

    tomorrow = TODAY + timedelta(days=1)
    assert sorted(await read(provider, until=tomorrow), key=lambda it: (it.day, it.model)) == [
        usage(TODAY, "gpt-5-mini", 3, 3000, 600),
        usage(TODAY, "text-embedding-3-small", 1, 5000, 0),
        usage(tomorrow, "gpt-5-mini", 1, 10, 20_000),
    ]
    assert [it.day for it in await read(provider, tomorrow, tomorrow)] == [tomorrow]
    world.now += 3 * DAY
    assert {(it.day, it.basis) for it in await read(provider, until=tomorrow)} == {
        (TODAY, Basis.BILLED),
        (tomorrow, Basis.ESTIMATED),
    }


async def test_what_belongs_to_no_key_is_told_once(world: World, provider: OpenAI) -> None:
    """The dashboard's use of all projects is one row a day and model, under no meter."""
    key = await mint(provider)
    world.pretend.use(key=key)
    world.pretend.use(project="proj_lab", asked=100, answered=0)
    world.pretend.use(project="proj_search", asked=200, answered=0)
    told = {usage.meter: (usage.requests, usage.tokens_in) for usage in await read(provider)}
    assert told == {key: (1, 10), "": (2, 300)}


async def test_use_of_keys_and_projects_that_are_gone_is_told(world: World, provider: OpenAI) -> None:
    """A key that was revoked, and a project that was archived since, still cost what they cost."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope("all"), lifetime=LONG)
    world.pretend.use(key=minted.meter, answered=1000)
    await provider.revoke(handle=minted.handle, project="proj_lab")
    before = await read(provider)
    world.pretend.set_project("proj_lab", "archived")
    assert [(usage.meter, usage.tokens_out) for usage in await read(provider)] == [(minted.meter, 1000)]
    assert before == await read(provider)


async def test_every_page_is_read(world: World, provider: OpenAI) -> None:
    """Two hundred days are more than a page of anything; each day counts once."""
    key = await mint(provider)
    for _ in range(200):
        world.pretend.use(key=key, asked=40, answered=100)
        world.now += DAY
    usages = await read(provider, until=TODAY + timedelta(days=199))
    assert len(usages) == len({usage.day for usage in usages}) == 200
    assert dollars(usages) == world.pretend.organization.meter.total().cost


async def test_calls_grow_with_projects_and_not_with_keys(world: World, provider: OpenAI) -> None:
    """A hundred keys cost as many calls as one."""
    world.pretend.use(key=await mint(provider))
    await read(provider)
    few = len(world.served.exchanges)
    for number in range(30):
        world.pretend.use(key=await mint(provider, f"keydesk-n{number}"))
    world.served.exchanges.clear()
    assert len(await read(provider)) == 31
    # What was said when there was one key took six calls of its mint besides.
    assert len(world.served.exchanges) == 14
    assert few - len(world.served.exchanges) <= 6


@pytest.mark.parametrize("times", range(1, 15))
async def test_figures_are_the_same_after_any_fault(world: World, provider: OpenAI, times: int) -> None:
    """Whichever call fails, the error is told, and the next reading has everything, to the cent."""
    key = await mint(provider)
    for answered in (5, 35, 499_995):
        world.pretend.use(key=key, asked=40, answered=answered)
        world.pretend.use(key=key, model="gpt-4.1-mini", asked=40, answered=answered)
    for _ in range(times - 1):
        world.faults.add(Fault("openai", "GET *", delay=0.001))
    world.faults.add(Fault("openai", "GET *", cut=True, times=1))
    with pytest.raises(ProviderTransient):
        await read(provider)
    usages = await read(provider)
    assert usages == await read(provider)
    assert dollars(usages) == world.pretend.organization.meter.total().cost


async def test_late_reports_are_read_when_they_are_there(world: World, provider: OpenAI) -> None:
    """What OpenAI does not report yet is not invented; read again later, the same day has it."""
    world.pretend.rule(usage_lag=7200)
    key = await mint(provider)
    world.pretend.use(key=key)
    assert await read(provider) == []
    world.now += 7200
    assert [usage.meter for usage in await read(provider)] == [key]


async def test_errors_are_told_as_they_are(world: World, provider: OpenAI) -> None:
    """Too often, with the wait; not permitted."""
    world.faults.add(Fault("openai", "GET */usage/*", status=429, retry_after=9))
    with pytest.raises(ProviderRateLimited) as limited:
        await read(provider)
    assert limited.value.retry_after == 9
    world.pretend.rule(admin_scopes=["api.management.read"])
    with pytest.raises(ProviderForbidden):
        await read(provider)


async def test_what_is_sent_is_as_openai_describes_it(world: World, provider: OpenAI) -> None:
    """Every request of a reading fits OpenAI's published description."""
    described = description()
    world.pretend.use(key=await mint(provider))
    world.served.exchanges.clear()
    await read(provider, since=TODAY - timedelta(days=3))
    assert len(world.served.exchanges) == 14
    for exchange in world.served.exchanges:
        described.check(exchange)


def reporting(costs: object, usage: object = (), images: object = ()) -> list[Route]:
    """An OpenAI of one project with these results on this day."""

    def page(results: object) -> JSONResponse:
        start = int(datetime(2027, 1, 15, tzinfo=UTC).timestamp())
        bucket = {"object": "bucket", "start_time": start, "end_time": start + DAY, "results": list(results)}  # type: ignore[call-overload]  # results are lists
        return JSONResponse({"object": "page", "data": [bucket], "has_more": False, "next_page": None})

    def projects(request: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "proj_lab", "name": "lab"}], "has_more": False})

    return [
        Route("/organization/projects", projects),
        Route("/organization/usage/completions", lambda request: page(usage)),
        Route("/organization/usage/images", lambda request: page(images)),
        Route("/organization/usage/{kind}", lambda request: page(())),
        Route("/organization/costs", lambda request: page(costs)),
    ]


async def test_costs_without_tokens_and_tokens_without_costs_are_kept() -> None:
    """Lines that no usage report explains count as money; use that is not billed yet counts as requests."""
    costs = [
        {"amount": {"value": 0.06, "currency": "usd"}, "api_key_id": "key_1", "line_item": "web search tool calls"},
        {"amount": {"value": 1e-7, "currency": "usd"}, "api_key_id": "key_1", "line_item": "o9, input"},
        {"amount": {"value": 0.0000019, "currency": "usd"}, "api_key_id": "key_1", "line_item": "o9, output"},
        {"amount": {"value": 3, "currency": "usd"}, "api_key_id": None, "line_item": None},
    ]
    usage = [{"num_model_requests": 2, "input_tokens": 5, "output_tokens": 6, "api_key_id": "key_2", "model": "o9"}]
    with serve(reporting(costs, usage)) as served:
        async with adapter(served.url) as provider:
            told = {(it.meter, it.model): (it.requests, it.cost_micros) for it in await read(provider)}
    assert told == {
        ("key_1", "web search tool calls"): (0, 60_000),
        ("key_1", "o9"): (0, 2),
        ("key_2", "o9"): (2, 0),
        ("", ""): (0, 3_000_000),
    }


async def test_what_few_keys_do_is_added_to_the_rest() -> None:
    """Images count as requests, beside the same key's money, even of a project that is not listed."""
    costs = [{"amount": {"value": 0.04, "currency": "usd"}, "api_key_id": "key_1", "line_item": "gpt-image, output"}]
    one = {"num_model_requests": 1, "images": 1, "model": "gpt-image"}
    images = [
        {**one, "project_id": "proj_lab", "api_key_id": "key_1"},
        {**one, "project_id": "proj_lost", "api_key_id": "key_2"},
        {**one, "project_id": "proj_lost", "api_key_id": None},
        {**one, "project_id": None, "api_key_id": None},
    ]
    with serve(reporting(costs, images=images)) as served:
        async with adapter(served.url) as provider:
            told = {(it.meter, it.model): (it.requests, it.cost_micros) for it in await read(provider)}
    assert told == {("key_1", "gpt-image"): (1, 40_000), ("key_2", "gpt-image"): (1, 0), ("", "gpt-image"): (2, 0)}


async def test_another_currency_is_not_taken_for_dollars() -> None:
    """Nothing is told rather than something wrong."""
    with serve(reporting([{"amount": {"value": 1, "currency": "eur"}, "api_key_id": "key_1"}])) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderInvalid, match="currency"):
                await read(provider)
