"""What is LiteLLM's alone: chosen values and unique aliases, teams, a missing database or licence, pages of use."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bot.desk.errors import (
    NotOffered,
    OutcomeUnknown,
    ProviderForbidden,
    ProviderInvalid,
    ProviderTransient,
)
from bot.desk.offer import AppliedLimit, Basis, Enforcer, LimitKind
from bot.desk.ports import Provider
from sandbox.faults import Fault
from tests.providers.serving import serve
from tests.providers.worlds import LiteLLMWorld, adapting, serving

DAY = timedelta(days=1)
MARKER = "keydesk-k_1"
GENERATE = ("POST", "/key/generate")


@pytest.fixture
def world() -> Iterator[LiteLLMWorld]:
    world = LiteLLMWorld()
    with serving(world):
        yield world


@pytest.fixture
async def provider(world: LiteLLMWorld) -> AsyncIterator[Provider]:
    async with adapting(world) as provider:
        yield provider


def make(world: LiteLLMWorld, path: str, **body: Any) -> Any:
    """An admin's own call, beside the desk."""
    answer = httpx.post(world.served.url + path, json=body, headers={"Authorization": f"Bearer {world.credential}"})
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize("acts", [True, False])
async def test_a_lost_answer_costs_no_key(world: LiteLLMWorld, provider: Provider, acts: bool) -> None:
    """The same is asked for once more: one key, and its value in hand, whether the first call arrived or not."""
    world.faults.add(Fault("litellm", "POST /key/generate", cut=True, acts=acts))
    minted = await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    [key] = world.keys()
    assert (key["id"], key["name"]) == (minted.handle, MARKER)
    assert minted.handle == hashlib.sha256(minted.secret.expose().encode()).hexdigest()
    assert world.chat(minted.secret) == 200


@pytest.mark.parametrize("second", [{"cut": True, "acts": True}, {"status": 500}, {"status": 429}])
async def test_an_answer_that_is_lost_twice_is_unknown(
    world: LiteLLMWorld, provider: Provider, second: dict[str, Any]
) -> None:
    """It is not asked for a third time; the marker finds the key that the first call made."""
    world.faults.add(Fault("litellm", "POST /key/generate", cut=True, acts=True))
    world.faults.add(Fault("litellm", "POST /key/generate", **second))
    with pytest.raises(OutcomeUnknown):
        await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    assert [record["call"] for record in world.faults.record] == ["POST /key/generate"] * 2
    [handle] = await provider.find(marker=MARKER, project=world.project)
    await provider.revoke(handle=handle, project=world.project)
    assert world.alive() == []


async def test_a_marker_that_is_taken_makes_no_key(world: LiteLLMWorld, provider: Provider) -> None:
    """Neither does it hand out somebody else's."""
    make(world, "/key/generate", key_alias=MARKER)
    with pytest.raises(ProviderInvalid, match="alias"):
        await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    world.faults.add(Fault("litellm", "POST /key/generate", cut=True))
    with pytest.raises(OutcomeUnknown, match="did not choose"):
        await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    assert len(world.keys()) == 1


async def test_without_a_database_nobody_is_told_to_try_again(world: LiteLLMWorld, provider: Provider) -> None:
    """LiteLLM's 500 is no failure of the moment: the probe and every call say what is missing, and the mend."""
    world.pretend.set(database=False)
    probe = await provider.probe()
    assert probe.abilities == frozenset()
    assert probe.flaw is not None
    assert "Mend: set DATABASE_URL" in probe.flaw
    with pytest.raises(ProviderForbidden, match="without a database"):
        await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    with pytest.raises(ProviderForbidden, match="Mend"):
        await provider.revoke(handle="a" * 64, project=world.project)
    with pytest.raises(ProviderForbidden):
        await provider.find(marker=MARKER, project=world.project)
    with pytest.raises(ProviderForbidden):
        await provider.projects()
    world.pretend.set(database=True)
    assert (await provider.probe()).said == "LiteLLM accepts the master key. Teams: lab, search-prod."


async def test_teams_are_projects(world: LiteLLMWorld, provider: Provider) -> None:
    """With their models; a new one has those of the request, and its budget; keys without a team are possible."""
    team = make(world, "/team/new", team_alias="narrow", models=["gpt-4.1-mini"])["team_id"]
    assert [it.name for it in await provider.projects()] == ["lab", "narrow", "search-prod", "No team"]
    assert await provider.models(project=team) == ["gpt-4.1-mini"]
    assert "gpt-5-mini" in await provider.models(project="team-lab")
    made = await provider.create_project(name="new", scope=world.scope(cents=700, models=("gpt-5-mini",)))
    [shown] = [it for it in world.pretend.snapshot()["projects"] if it["id"] == made.id]
    assert (shown["name"], shown["models"]) == ("new", ["gpt-5-mini"])
    assert (shown["limit"], shown["period"]) == (7.0, "1mo")
    await provider.mint(marker=MARKER, scope=world.scope(project="no-team"), lifetime=DAY)
    [key] = world.keys()
    assert key["project"] is None
    assert [it.project async for it in provider.keys()] == ["no-team"]  # noqa: SIM118  (a provider is no dict)
    await provider.revoke(handle=key["id"], project="no-team")
    await provider.revoke(handle=key["id"], project="no-team")
    assert world.alive() == []


async def test_two_who_make_a_team_at_once_make_one(world: LiteLLMWorld, provider: Provider) -> None:
    """Its id follows from its name: who comes second finds it."""
    await provider.create_project(name="new", scope=world.scope())
    state = world.pretend.dump()
    [made] = [it for it in state["teams"] if it["alias"] == "new"]
    made["alias"] = "renamed"
    world.pretend.load(state)
    with pytest.raises(ProviderInvalid):
        await provider.create_project(name="new", scope=world.scope())  # the id is taken by another name
    made["alias"] = "new"
    world.pretend.load(state)
    assert (await provider.create_project(name="new", scope=world.scope())).id == made["id"]


async def test_every_key_is_listed_page_by_page(world: LiteLLMWorld, provider: Provider) -> None:
    """A hundred a call; those of nobody here as well."""
    await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    state = world.pretend.dump()
    [ours] = state["keys"]
    state["keys"] += [{**ours, "token": f"{number:064x}", "alias": None} for number in range(205)]
    world.pretend.load(state)
    listed = [key async for key in provider.keys()]  # noqa: SIM118  (a provider is no dict)
    assert len({key.handle for key in listed}) == 206
    assert world.served.asked.count(("GET", "/key/list")) == 3
    assert await provider.find(marker=MARKER, project=world.project) == [ours["token"]]


async def test_a_day_that_is_on_several_pages_is_told_whole(
    world: LiteLLMWorld, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key and model once, with all that was used, though the proxy cuts pages where it likes."""
    for number in range(3):
        minted = await provider.mint(marker=f"{MARKER}{number}", scope=world.scope(), lifetime=DAY)
        for _ in range(2):
            assert world.chat(minted.secret) == 200
            assert world.embed(minted.secret) == 200
    day = world.clock().date()
    [whole] = [rows async for rows in provider.usage(since=day, until=day)]
    assert (
        sorted((row.model, row.requests) for row in whole)
        == [("gpt-5-mini", 2)] * 3 + [("text-embedding-3-small", 2)] * 3
    )
    assert {row.cost_micros for row in whole if row.model == "gpt-5-mini"} == {4004}
    assert {row.basis for row in whole} == {Basis.ESTIMATED}
    monkeypatch.setattr("bot.providers.litellm.ACTIVITY_PAGE", 4)
    [again] = [rows async for rows in provider.usage(since=day, until=day)]
    assert sorted(again, key=repr) == sorted(whole, key=repr)
    assert world.served.asked.count(("GET", "/user/daily/activity")) == 3


async def test_a_value_never_becomes_a_query(world: LiteLLMWorld, provider: Provider) -> None:
    """Given by mistake where a handle belongs, it is nobody's handle, and is not sent."""
    minted = await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    world.served.exchanges.clear()
    assert await provider.get(handle=minted.secret.expose(), project=world.project) is None
    assert world.served.exchanges == []
    assert await provider.get(handle="0" * 64, project=world.project) is None


async def test_limits_say_that_all_of_them_bind_the_key(world: LiteLLMWorld, provider: Provider) -> None:
    """In people's words, for the card."""
    limits = provider.applied_limits(scope=world.scope("chat", models=("gpt-5-mini",)), lifetime=timedelta(hours=1))
    assert limits == (
        AppliedLimit(LimitKind.EXPIRY, "expires after 1 hour", Enforcer.KEY, "The desk revokes it then, too."),
        AppliedLimit(LimitKind.PERMISSION, "permission: chat completions", Enforcer.KEY),
        AppliedLimit(LimitKind.MODELS, "only gpt-5-mini", Enforcer.KEY),
        AppliedLimit(
            LimitKind.BUDGET,
            "$50 a month",
            Enforcer.KEY,
            "By LiteLLM's own prices; begins anew on the first. The last request may go over it.",
        ),
    )


# Proxies with other settings, and broken ones


def made(value: str = "sk-made-by-the-proxy", **changes: Any) -> dict[str, Any]:
    key = {
        "token": "a" * 64,
        "key_alias": MARKER,
        "max_budget": 50.0,
        "budget_duration": "1mo",
        "models": ["gpt-5-mini"],
        "allowed_routes": ["llm_api_routes"],
        "expires": "2027-01-16T08:00:00Z",
    }
    return {"key": value, **key, **changes}


def said(status: int, message: str, **more: Any) -> Response:
    return JSONResponse(
        {"error": {"message": message, "type": "x", "param": None, "code": str(status), **more}}, status
    )


def proxy(*generated: Any) -> list[BaseRoute]:
    """A proxy that answers mints with these, one after the other."""
    waiting = list(generated)

    async def generate(request: Request) -> Response:
        await request.json()
        answer = waiting.pop(0)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    async def delete(request: Request) -> Response:
        return JSONResponse({"deleted_keys": (await request.json())["keys"]})

    return [Route("/key/generate", generate, methods=["POST"]), Route("/key/delete", delete, methods=["POST"])]


async def test_a_proxy_that_makes_values_itself_makes_the_key() -> None:
    """Told so, the desk leaves the value to it; the answer is then the only place where it is."""
    world = LiteLLMWorld()
    refusal = said(403, "{'error': 'Custom API key values are disabled by your administrator.'}")
    scope = world.scope(models=("gpt-5-mini",))
    with serve(proxy(refusal, made()), world.base) as world.served:
        async with adapting(world) as provider:
            minted = await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    assert (minted.handle, minted.secret.expose()) == ("a" * 64, "sk-made-by-the-proxy")
    first, second = (exchange.body for exchange in world.served.exchanges)
    assert first.pop("key").startswith("sk-")
    assert first == second
    with serve(proxy(refusal, Response("", 500)), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(OutcomeUnknown):
                await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)


@pytest.mark.parametrize(
    "wider",
    [
        {"max_budget": None},
        {"max_budget": 51.0},
        {"budget_duration": None},
        {"models": []},
        {"models": ["gpt-5-mini", "gpt-4.1-mini"]},
        {"allowed_routes": []},
        {"allowed_routes": None},
        {"expires": None},
    ],
)
async def test_a_key_that_is_wider_than_asked_is_taken_back(wider: dict[str, Any]) -> None:
    """Whatever the proxy left out of what was asked; nobody gets such a key."""
    world = LiteLLMWorld()
    with serve(proxy(made(**wider)), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(ProviderInvalid, match="taken back"):
                await provider.mint(marker=MARKER, scope=world.scope(models=("gpt-5-mini",)), lifetime=DAY)
    assert world.served.asked == [GENERATE, ("POST", "/key/delete")]


async def test_what_needs_a_licence_is_not_offered() -> None:
    """LiteLLM says it with a 500; nobody tries it again."""
    world = LiteLLMWorld()
    message = "You must be a LiteLLM Enterprise user to use this feature. Please set `LITELLM_LICENSE` in your env."
    with serve(proxy(said(500, message)), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(NotOffered, match="licence"):
                await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    assert world.served.asked == [GENERATE]


async def test_an_unconfirmed_switch_is_no_switch() -> None:
    """The key has to be shown as blocked, or as not blocked any more."""
    world = LiteLLMWorld()

    async def unmoved(request: Request) -> Response:
        return JSONResponse({"token": "a" * 64, "blocked": request.url.path.endswith("unblock")})

    routes = [Route(f"/key/{verb}", unmoved, methods=["POST"]) for verb in ("block", "unblock")]
    with serve(routes, world.base) as world.served:
        async with adapting(world) as provider:
            for switch in (provider.disable, provider.enable):
                with pytest.raises(ProviderTransient, match="confirm"):
                    await switch(handle="a" * 64, project="no-team")
