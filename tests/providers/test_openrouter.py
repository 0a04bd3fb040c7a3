"""What is OpenRouter's alone: guardrails, workspaces, an empty purse, reports that are cut off."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bot.desk.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderTransient,
)
from bot.desk.offer import AppliedLimit, Basis, Enforcer, LimitKind
from bot.desk.ports import Provider
from sandbox.faults import Fault
from tests.providers.serving import serve
from tests.providers.worlds import OpenRouterWorld, adapting, serving

DAY = timedelta(days=1)
MARKER = "keydesk-k_1"
CANARY = "sk-or-v1-CANARY-" + "x" * 40


@pytest.fixture
def world() -> Iterator[OpenRouterWorld]:
    world = OpenRouterWorld()
    with serving(world):
        yield world


@pytest.fixture
async def provider(world: OpenRouterWorld) -> AsyncIterator[Provider]:
    async with adapting(world) as provider:
        yield provider


def guardrails(world: OpenRouterWorld) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.pretend.snapshot()["guardrails"]
    return found


async def test_keys_with_the_same_models_share_a_guardrail(world: OpenRouterWorld, provider: Provider) -> None:
    """One for each list of models and workspace, in whatever order; one that somebody changed is not trusted."""
    both = world.scope(models=(world.chat_model, world.other_model))
    await provider.mint(marker="keydesk-1", scope=both, lifetime=DAY)
    turned = world.scope(models=(world.other_model, world.chat_model))
    await provider.mint(marker="keydesk-2", scope=turned, lifetime=DAY)
    [shared] = guardrails(world)
    assert len(shared["keys"]) == 2
    assert shared["allowed"] == ["openai/gpt-4.1-mini-2025-04-14", "openai/gpt-5-mini-2025-08-07"]
    await provider.mint(marker="keydesk-3", scope=world.scope(models=(world.chat_model,)), lifetime=DAY)
    assert len(guardrails(world)) == 2

    state = world.pretend.dump()
    state["guardrails"]["guardrails"][0]["allowed"].append("anthropic/claude-4.5-sonnet-20250929")
    world.pretend.load(state)
    minted = await provider.mint(marker="keydesk-4", scope=both, lifetime=DAY)
    assert len(guardrails(world)) == 3
    assert world.chat(minted.secret, model="anthropic/claude-sonnet-4.5") == 404
    assert world.chat(minted.secret) == 200
    await provider.mint(marker="keydesk-5", scope=world.scope(), lifetime=DAY)
    assert len(guardrails(world)) == 3  # a key for all models needs none


async def test_models_that_do_not_fit_make_no_key(world: OpenRouterWorld, provider: Provider) -> None:
    """One that is not there, and one that makes no embeddings where only those are asked for."""
    for scope in (
        world.scope(models=("openai/gpt-9",)),
        world.scope("embeddings", models=(world.embedding_model, world.chat_model)),
    ):
        with pytest.raises(ProviderInvalid, match="model"):
            await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    assert (world.keys(), guardrails(world)) == ([], [])


async def test_a_key_that_cannot_be_bound_is_taken_back(world: OpenRouterWorld, provider: Provider) -> None:
    """Before anybody had it; where that fails, too, the marker has to be looked for."""
    scope = world.scope(models=(world.chat_model,))
    world.faults.add(Fault("openrouter", "POST */assignments/keys", status=500))
    with pytest.raises(ProviderTransient):
        await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    assert world.alive() == []
    world.faults.add(Fault("openrouter", "POST */assignments/keys", status=500))
    world.faults.add(Fault("openrouter", "DELETE *", status=500))
    with pytest.raises(OutcomeUnknown):
        await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    [handle] = await provider.find(marker=MARKER, project=world.project)
    await provider.revoke(handle=handle, project=world.project)
    assert world.alive() == []


async def test_the_purse_and_the_kind_of_key_are_probed(world: OpenRouterWorld, provider: Provider) -> None:
    """Without credit keys are made, and open nothing; a key for models is no credential of the desk."""
    assert (await provider.probe()).said.endswith("Workspaces: Default, search-prod, lab. Credit left: $100.00.")
    minted = await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    world.pretend.set_credits(0)
    probe = await provider.probe()
    assert probe.abilities == provider.abilities
    assert probe.flaw == "OpenRouter has no credit left: its keys open nothing. Mend: add credit."
    assert world.chat(minted.secret) == 402
    world.faults.add(Fault("openrouter", status=402))
    with pytest.raises(ProviderForbidden, match="no credit"):
        await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    async with adapting(world, credential=SecretStr(minted.secret.expose())) as stranger:
        probe = await stranger.probe()
        assert probe.abilities == frozenset()
        assert probe.flaw is not None
        assert "no management key. Mend: set OPENROUTER_MANAGEMENT_KEY" in probe.flaw


async def test_a_marker_is_found_on_whatever_page(world: OpenRouterWorld, provider: Provider) -> None:
    """Behind a hundred others, disabled, or expired; twins are both found."""
    minted = await provider.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
    state = world.pretend.dump()
    [ours] = state["keys"]
    others = [{**ours, "hash": f"{number:064x}", "name": f"other {number}"} for number in range(150)]
    state["keys"] = [*others, ours, {**ours, "hash": "f" * 64, "disabled": True}]
    world.pretend.load(state)
    world.now += 86_400  # expired, too
    assert await provider.find(marker=MARKER, project=world.project) == [minted.handle, "f" * 64]
    assert len([key async for key in provider.keys()]) == 152  # noqa: SIM118  (a provider is no dict)


async def test_a_report_that_is_cut_off_is_asked_for_in_parts(
    world: OpenRouterWorld, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By workspace, and then by its keys: every row comes once, whatever the vendor's limit."""
    workspaces = [project.id for project in await provider.projects()]
    for number in range(6):
        scope = world.scope(project=workspaces[0] if number == 0 else workspaces[1])
        minted = await provider.mint(marker=f"{MARKER}{number}", scope=scope, lifetime=DAY)
        assert world.chat(minted.secret) == 200
    day = world.clock().date()

    async def told() -> list[tuple[str, int]]:
        pages = [rows async for rows in provider.usage(since=day, until=day)]
        assert {row.basis for rows in pages for row in rows} == {Basis.ESTIMATED}
        return sorted((row.meter, row.cost_micros) for rows in pages for row in rows)

    whole = await told()
    assert [meter for meter, _ in whole] == [f"{MARKER}{number}" for number in range(6)]
    world.served.exchanges.clear()
    monkeypatch.setattr("sandbox.openrouter.usage.ROWS", 5)
    assert await told() == whole
    assert world.served.asked.count(("POST", "/analytics/query")) == 4  # all, and each of three workspaces
    monkeypatch.setattr("sandbox.openrouter.usage.ROWS", 4)
    with pytest.raises(ProviderTransient, match="cut off"):
        await told()
    world.now += 86_400
    monkeypatch.undo()
    [rows] = [rows async for rows in provider.usage(since=day, until=day)]
    assert {row.basis for row in rows} == {Basis.BILLED}


async def test_limits_say_that_all_of_them_bind_the_key(world: OpenRouterWorld, provider: Provider) -> None:
    """In people's words, for the card."""
    scope = world.scope("embeddings", cents=1050, models=(world.embedding_model,))
    assert provider.applied_limits(scope=scope, lifetime=30 * DAY) == (
        AppliedLimit(
            LimitKind.EXPIRY,
            "expires after 30 days",
            Enforcer.KEY,
            "OpenRouter lets nobody move it; the desk revokes the key then, too.",
        ),
        AppliedLimit(LimitKind.PERMISSION, "embeddings only", Enforcer.KEY),
        AppliedLimit(LimitKind.MODELS, "only openai/text-embedding-3-small", Enforcer.KEY),
        AppliedLimit(
            LimitKind.BUDGET,
            "$10.50 a month",
            Enforcer.KEY,
            "Begins anew on the first, in UTC. The last request may go over it.",
        ),
    )


# Broken vendors


def made(**changes: Any) -> dict[str, Any]:
    """What a creation answers, where it keeps to what was asked."""
    key = {
        "hash": "a" * 64,
        "name": MARKER,
        "disabled": False,
        "limit": 50.0,
        "limit_reset": "monthly",
        "expires_at": "2027-01-16T08:00:00Z",
        "workspace_id": "lab",
    }
    return {"data": {**key, **changes}, "key": CANARY}


def vendor(created: Any, *, deleted: Any = None, listed: Any = None) -> list[BaseRoute]:
    """An OpenRouter that answers nothing but this."""

    def answering(body: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            return body if isinstance(body, Response) else JSONResponse(body)

        return endpoint

    return [
        Route("/keys", answering(created), methods=["POST"]),
        Route("/keys", answering(listed or {"data": []}), methods=["GET"]),
        Route("/keys/{hash}", answering(deleted or {"deleted": True}), methods=["DELETE"]),
    ]


@pytest.mark.parametrize(
    "wider",
    [
        {"limit": None},
        {"limit": 51.0},
        {"limit_reset": None},
        {"limit_reset": "daily"},
        {"expires_at": None},
        {"expires_at": "2027-01-17T08:00:00Z"},
        {"workspace_id": "default"},
    ],
)
async def test_a_key_that_is_wider_than_asked_is_taken_back(wider: dict[str, Any]) -> None:
    """Whatever the vendor left out of what was asked; nobody gets such a key."""
    world = OpenRouterWorld()
    scope = world.scope
    with serve(vendor(made(**wider)), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(ProviderInvalid, match="taken back"):
                await provider.mint(marker=MARKER, scope=scope(project="lab", cents=5000), lifetime=DAY)
    assert world.served.asked == [("POST", "/keys"), ("DELETE", f"/keys/{'a' * 64}")]


@pytest.mark.parametrize("answer", [{}, {"data": {}, "key": CANARY}, Response(CANARY, 500), {"data": made()["data"]}])
async def test_a_mint_whose_answer_cannot_be_read_is_unknown(answer: Any) -> None:
    """And holds on to no value."""
    world = OpenRouterWorld()
    with serve(vendor(answer), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(OutcomeUnknown) as unknown:
                await provider.mint(marker=MARKER, scope=world.scope(project="lab"), lifetime=DAY)
    assert CANARY not in repr(unknown.value.__context__) + repr(unknown.value)


async def test_a_vendor_without_end_or_sense_does_not_hold_the_desk() -> None:
    """A list whose pages are all the same is given up; an unconfirmed deletion is no revocation."""
    world = OpenRouterWorld()
    key = made()["data"]
    with serve(vendor(made(), deleted={"deleted": False}, listed={"data": [key]}), world.base) as world.served:
        async with adapting(world) as provider:
            with pytest.raises(ProviderTransient, match="does not end"):
                await provider.find(marker=MARKER, project="lab")
            with pytest.raises(ProviderTransient, match="confirm"):
                await provider.revoke(handle="a" * 64, project="lab")
            with pytest.raises(ProviderError):
                await provider.disable(handle="a" * 64, project="lab")
