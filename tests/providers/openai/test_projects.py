"""OpenAI's projects as the desk makes and uses them: models, budgets, alerts and rates stand on the project."""

import asyncio
from datetime import timedelta

import pytest

from bot.desk.errors import ProviderError, ProviderInvalid, ProviderTransient
from bot.desk.model import NEW_PROJECT
from bot.desk.offer import AppliedLimit, Enforcer, LimitKind
from bot.providers.openai import OpenAI
from bot.providers.openai.projects import UNFINISHED, Terms
from sandbox.faults import Fault
from tests.providers.openai.world import World, adapter, scope
from tests.providers.serving import description

DAY = timedelta(days=1)
MINI = ("gpt-5-mini",)
TERMS = Terms(alert=["ana@acme.example"], requests_per_minute=7)


async def test_a_new_project_holds_its_keys_to_models_and_budget(world: World, provider: OpenAI) -> None:
    """A key in it is refused another model, and after fifty dollars any; a key elsewhere is not."""
    wanted = scope("models", models=MINI)
    project = await provider.create_project(name="search-dev", scope=wanted)
    assert project.name == "search-dev"
    assert project in await provider.projects()
    assert await provider.models(project=project.id) == list(MINI)
    here = await provider.mint(marker="keydesk-k1", scope=scope("models", project.id, MINI), lifetime=DAY)
    there = await provider.mint(marker="keydesk-k2", scope=scope("models"), lifetime=DAY)
    ask = {"model": "gpt-5-mini", "input": "Hello"}
    assert world.opens(here, "POST", "/responses", **ask) == 200
    assert world.opens(here, "POST", "/responses", **{**ask, "model": "gpt-4.1-mini"}) == 403
    assert world.opens(here, "POST", "/responses", **ask, max_output_tokens=25_000_000) == 200
    assert world.opens(here, "POST", "/responses", **ask) == 429
    assert world.opens(there, "POST", "/responses", **{**ask, "model": "gpt-4.1-mini"}) == 200


async def test_alerts_and_rates_come_from_the_settings(world: World) -> None:
    """Mails at 80 and 100 per cent of the budget, and a rate for each model of the scope."""
    async with adapter(world.served.url, world.clock, terms=TERMS) as provider:
        project = await provider.create_project(name="search-dev", scope=scope(models=MINI))
        new = scope(project=f"{NEW_PROJECT}search-dev", models=MINI)
        assert provider.applied_limits(scope=new, lifetime=DAY)[-1] == AppliedLimit(
            LimitKind.RATE, "7 requests a minute", Enforcer.PROJECT, "For each model."
        )
    held = world.pretend.organization.projects[project.id]
    assert [alert["threshold_amount"] for alert in held.alerts.values()] == [4000, 5000]
    assert {alert["notification_channel"]["recipients"][0] for alert in held.alerts.values()} == {"ana@acme.example"}
    assert held.rates == {"gpt-5-mini": {"max_requests_per_1_minute": 7}}


@pytest.mark.parametrize("broken", range(8))
@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_project_that_was_half_made_is_finished(world: World, broken: int, how: str) -> None:
    """Wherever it breaks off, before or after the effect, no bare project takes the name, and the next try ends well."""
    calls = ("/projects", "*/model_permissions", "*/spend_limit", "*/spend_alerts", "*/rate_limits/*", "*/projects/*")
    acts = how == "after"
    for number, call in enumerate(("*" + calls[0], *calls[1:])):
        if number == broken:
            world.faults.add(Fault("openai", f"POST {call}", cut=True, acts=acts))
    if broken >= len(calls):
        world.faults.add(Fault("openai", "GET *", times=1, status=503))
    async with adapter(world.served.url, world.clock, terms=TERMS) as provider:
        with pytest.raises(ProviderError):
            await provider.create_project(name="search-dev", scope=scope(models=MINI))
        for project in world.pretend.organization.projects.values():
            if project.name == "search-dev":
                assert (project.spend_limit, len(project.alerts), len(project.rates)) == (5000, 2, 1)
        world.faults.mend()
        made = await provider.create_project(name="search-dev", scope=scope(models=MINI))
        again = await provider.create_project(name="search-dev", scope=scope(models=MINI))
    assert made == again
    [project] = [it for it in world.pretend.organization.projects.values() if it.name.startswith("search-dev")]
    assert (project.name, project.spend_limit, len(project.alerts)) == ("search-dev", 5000, 2)
    assert project.models == {"mode": "allow_list", "model_ids": list(MINI)}


async def test_two_who_want_the_same_project_get_the_same(world: World, provider: OpenAI) -> None:
    """At once, or one after the other; somebody else's of that name, held to other limits, is refused and left alone."""
    made = await asyncio.gather(
        *(provider.create_project(name="search-dev", scope=scope(models=MINI)) for _ in range(3))
    )
    assert made[0] == made[1] == made[2]
    with pytest.raises(ProviderInvalid, match="other limits"):
        await provider.create_project(name="lab", scope=scope(models=MINI))
    held = world.pretend.organization.projects["proj_lab"]
    assert (held.models, held.spend_limit) == (None, None)
    assert not [it for it in world.pretend.organization.projects.values() if it.name.endswith(UNFINISHED)]


async def test_models_are_those_that_the_project_allows(world: World, provider: OpenAI) -> None:
    """Asked anew after a minute; for a project that is still to be made, all that the organization has."""
    everything = ["gpt-5-mini", "gpt-4.1-mini", "text-embedding-3-small"]
    assert await provider.models(project="proj_lab") == everything
    path = "/organization/projects/proj_lab/model_permissions"
    world.admin("POST", path, mode="deny_list", model_ids=["gpt-4.1-mini"])
    assert await provider.models(project="proj_lab") == everything
    world.now += 60
    assert await provider.models(project="proj_lab") == ["gpt-5-mini", "text-embedding-3-small"]
    assert await provider.models(project="proj_search") == everything
    assert await provider.models(project=f"{NEW_PROJECT}search-dev") == everything


async def test_limits_say_what_the_project_really_enforces(world: World, provider: OpenAI) -> None:
    """A new project will hold its keys; one that is there holds them only to what was seen on it."""
    new = scope(project=f"{NEW_PROJECT}search-dev", models=MINI)
    lab = scope(models=MINI)

    def enforcers(wanted: object = lab) -> dict[LimitKind, Enforcer]:
        limits = provider.applied_limits(scope=wanted, lifetime=DAY)  # type: ignore[arg-type]  # it is a scope
        return {limit.kind: limit.enforcer for limit in limits}

    both = (LimitKind.MODELS, LimitKind.BUDGET)
    assert [enforcers(new)[kind] for kind in both] == [Enforcer.PROJECT] * 2
    assert [enforcers()[kind] for kind in both] == [Enforcer.NOBODY] * 2
    await provider.models(project="proj_lab")
    assert [enforcers()[kind] for kind in both] == [Enforcer.NOBODY] * 2
    project = "/organization/projects/proj_lab"
    world.admin("POST", f"{project}/model_permissions", mode="allow_list", model_ids=list(MINI))
    world.admin("POST", f"{project}/spend_limit", threshold_amount=4000, currency="USD", interval="month")
    world.now += 60
    await provider.models(project="proj_lab")
    assert [enforcers()[kind] for kind in both] == [Enforcer.PROJECT] * 2
    [budget] = [it for it in provider.applied_limits(scope=lab, lifetime=DAY) if it.kind is LimitKind.BUDGET]
    assert budget.note == "OpenAI stops the whole project at $40 a month, a little late."
    world.admin("POST", f"{project}/spend_limit", threshold_amount=5001, currency="USD", interval="month")
    world.now += 60
    await provider.models(project="proj_lab")
    assert enforcers()[LimitKind.BUDGET] is Enforcer.NOBODY


async def test_a_wrong_model_makes_no_project(world: World, provider: OpenAI) -> None:
    """OpenAI's refusal comes through; no project of the name is there."""
    with pytest.raises(ProviderInvalid):
        await provider.create_project(name="search-dev", scope=scope(models=("gpt-2",)))
    assert "search-dev" not in [project.name for project in await provider.projects()]


async def test_what_is_sent_is_as_openai_describes_it(world: World) -> None:
    """Every request that makes or reads a project's limits fits OpenAI's published description."""
    described = description()
    async with adapter(world.served.url, world.clock, terms=TERMS) as provider:
        made = await provider.create_project(name="search-dev", scope=scope(models=MINI))
        await provider.models(project=made.id)
    asked = world.served.asked
    assert ("POST", f"/organization/projects/{made.id}") in asked
    assert len(asked) == 13
    for exchange in world.served.exchanges:
        described.check(exchange)


async def test_a_vendor_that_does_not_answer_is_transient(provider: OpenAI, world: World) -> None:
    """Nothing is repeated, and nothing is remembered of it."""
    world.faults.add(Fault("openai", times=None, status=503))
    for asking in (provider.models(project="proj_lab"), provider.create_project(name="x", scope=scope())):
        with pytest.raises(ProviderTransient):
            await asking
    assert len(world.served.exchanges) == 2
    world.faults.mend()
    assert await provider.models(project="proj_lab")
