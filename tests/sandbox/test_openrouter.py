"""The pretend OpenRouter behaves as OpenRouter describes itself: to the official SDKs, and to its published schemas."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest
from openrouter import OpenRouter
from openrouter.errors import (
    BadRequestResponseError,
    ForbiddenResponseError,
    NotFoundResponseError,
    TooManyRequestsResponseError,
    UnauthorizedResponseError,
)
from openrouter.operations import CreateKeysResponse
from openrouter.utils import RetryConfig

from sandbox.faults import Fault, Faults
from sandbox.openrouter import PretendOpenRouter
from tests.providers.serving import Served, description, serve

MANAGEMENT_KEY = "sk-or-v1-" + "a" * 64
BASE = "/openrouter/api/v1"
NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)  # a Friday


@dataclass
class World:
    """The pretend OpenRouter, served, with a clock to turn and a count of its changes."""

    now: float = NOW.timestamp()
    changes: int = 0
    faults: Faults = field(default_factory=Faults)
    pretend: PretendOpenRouter = field(init=False)
    served: Served = field(init=False)

    def changed(self) -> None:
        self.changes += 1

    def make(self) -> PretendOpenRouter:
        return PretendOpenRouter(management_key=MANAGEMENT_KEY, clock=lambda: self.now, changed=self.changed)

    def pass_to(self, at: datetime) -> None:
        self.now = at.timestamp()

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=self.served.url, max_retries=0)

    def workspace(self, slug: str) -> str:
        return next(str(it["id"]) for it in self.pretend.snapshot()["projects"] if it["slug"] == slug)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.pretend = world.make()
    with serve(world.pretend.routes, BASE, faults=world.faults) as world.served:
        yield world


@pytest.fixture
def sdk(world: World) -> Iterator[OpenRouter]:
    """The official SDK with the management key. It tries nothing twice."""
    never = RetryConfig("none", None, False)  # type: ignore[arg-type]  # a strategy that it does not know is none
    with OpenRouter(api_key=MANAGEMENT_KEY, server_url=world.served.url, retry_config=never) as sdk:
        yield sdk


def spend(client: openai.OpenAI, answered: int = 1000, model: str = "openai/gpt-5-mini") -> str | None:
    """What a chat completion of so many tokens answers; one of 1,000 costs two tenths of a cent, and a little."""
    completion = client.chat.completions.create(
        model=model, max_tokens=answered, messages=[{"role": "user", "content": "Hello"}]
    )
    return completion.choices[0].message.content


def embed(client: openai.OpenAI) -> list[float]:
    """The vector of a greeting."""
    return client.embeddings.create(model="openai/text-embedding-3-small", input="Hello").data[0].embedding


def get(world: World, path: str, key: str = MANAGEMENT_KEY) -> Any:
    """What OpenRouter answers, without the SDK."""
    return httpx.get(world.served.url + path, headers={"Authorization": f"Bearer {key}"}).json()


def query(world: World, **body: Any) -> httpx.Response:
    """A query of the analytics. The SDK sends them, but drops what their rows hold."""
    headers = {"Authorization": f"Bearer {MANAGEMENT_KEY}"}
    return httpx.post(f"{world.served.url}/analytics/query", json=body, headers=headers)


def made(sdk: OpenRouter, **more: Any) -> CreateKeysResponse:
    return sdk.api_keys.create(**{"name": "keydesk-k1", **more})


def test_a_key_opens_models_until_it_expires(world: World, sdk: OpenRouter) -> None:
    """The way of the desk, by the official SDK; then the key at work, by OpenAI's."""
    key = made(sdk, limit=5, limit_reset="monthly", expires_at=NOW + timedelta(hours=1))
    assert (key.data.limit, key.data.limit_remaining, key.data.limit_reset) == (5, 5, "monthly")
    assert key.data.expires_at == NOW + timedelta(hours=1)
    assert key.data.workspace_id == world.workspace("default")
    with world.client(key.key) as client:
        assert next(it.id for it in client.models.list()) == "openai/gpt-5-mini"
        assert spend(client) == "A pretend openai/gpt-5-mini heard you."
        assert len(embed(client)) == 1536
        with pytest.raises(openai.BadRequestError, match="not a valid model ID"):
            spend(client, model="openai/gpt-9")
        with pytest.raises(openai.BadRequestError, match="not a valid model ID"):
            spend(client, model="openai/text-embedding-3-small")
        world.now += 3600
        with pytest.raises(openai.AuthenticationError, match="expired"):
            spend(client)
    assert [it["status"] for it in world.pretend.snapshot()["keys"]] == ["expired"]


def test_use_is_counted_by_period_and_a_limit_bites(world: World, sdk: OpenRouter) -> None:
    """Figures of the day, the week from Monday, the month, and all time; over the limit, 403 until the period is over."""
    key = made(sdk, limit=0.005, limit_reset="weekly")
    world.pass_to(NOW - timedelta(days=20))  # in the month before
    with world.client(key.key) as client:
        spend(client)
        world.pass_to(NOW - timedelta(days=5))  # Sunday
        spend(client)
        world.pass_to(NOW - timedelta(days=1))  # Thursday
        spend(client)
        world.pass_to(NOW)
        spend(client)
        spend(client)  # the last one goes over the limit
        one = 0.00200225  # 9 tokens asked, 1,000 answered
        seen = sdk.api_keys.get(hash=key.data.hash).data
        assert seen.usage == pytest.approx(5 * one)
        assert seen.usage_monthly == pytest.approx(4 * one)
        assert seen.usage_weekly == pytest.approx(3 * one)
        assert seen.usage_daily == pytest.approx(2 * one)
        assert seen.limit_remaining == pytest.approx(0.005 - 3 * one)
        with pytest.raises(openai.PermissionDeniedError, match=r"Key limit exceeded \(weekly limit\)"):
            spend(client)
        world.pass_to(NOW + timedelta(days=3))  # Monday
        assert spend(client)
    mine = get(world, "/key", key.key)["data"]
    assert (mine["usage_weekly"], mine["is_management_key"]) == (pytest.approx(one), False)
    assert get(world, "/key")["data"]["is_management_key"]


def test_a_limit_without_reset_is_for_good(world: World, sdk: OpenRouter) -> None:
    """A dollar is a dollar; raising the limit opens the key again. Limits can be changed, the expiry cannot."""
    key = made(sdk, limit=1, expires_at=NOW + timedelta(days=300))
    with world.client(key.key) as client:
        spend(client, 500_000)  # a dollar
        world.pass_to(NOW + timedelta(days=200))
        with pytest.raises(openai.PermissionDeniedError, match=r"total limit"):
            spend(client)
        changed = sdk.api_keys.update(hash=key.data.hash, limit=2, limit_reset="monthly").data
        assert (changed.limit, changed.limit_reset, changed.usage_monthly) == (2, "monthly", 0)
        assert changed.updated_at is not None
        assert spend(client)
    url = f"{world.served.url}/keys/{key.data.hash}"
    headers = {"Authorization": f"Bearer {MANAGEMENT_KEY}"}
    answer = httpx.patch(url, json={"expires_at": "2031-01-01T00:00:00Z"}, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["data"]["expires_at"] == "2027-11-11T08:00:00Z"


def test_without_credit_no_key_works(world: World, sdk: OpenRouter) -> None:
    """402 is the organization's empty purse, and not the key's limit."""
    key = made(sdk, limit=50)
    world.pretend.set_credits(1)
    with world.client(key.key) as client:
        spend(client, 500_000)
        with pytest.raises(openai.APIStatusError) as broke:
            spend(client)
    assert broke.value.status_code == 402
    credits = sdk.credits.get_credits().data
    assert credits.total_credits == 1
    assert credits.total_usage == pytest.approx(1.00000225)


def test_a_disabled_key_opens_nothing_until_it_is_enabled(world: World, sdk: OpenRouter) -> None:
    """And a deleted one never again."""
    key = made(sdk)
    with world.client(key.key) as client:
        assert sdk.api_keys.update(hash=key.data.hash, disabled=True).data.disabled
        with pytest.raises(openai.AuthenticationError, match="disabled"):
            spend(client)
        sdk.api_keys.update(hash=key.data.hash, disabled=False)
        assert spend(client)
        sdk.api_keys.delete(hash=key.data.hash)
        with pytest.raises(openai.AuthenticationError) as refusal:
            spend(client)
    assert key.key not in str(refusal.value)
    with pytest.raises(NotFoundResponseError):
        sdk.api_keys.get(hash=key.data.hash)
    with pytest.raises(NotFoundResponseError):
        sdk.api_keys.delete(hash=key.data.hash)


def test_a_guardrail_limits_models(world: World, sdk: OpenRouter) -> None:
    """A key that is bound to it uses the models on its list, which it names for good; unbound, it uses any."""
    key = made(sdk)
    guardrail = sdk.guardrails.create(name="embeddings only", allowed_models=["openai/text-embedding-3-small"]).data
    assert guardrail.allowed_models == ["openai/text-embedding-3-small"]
    with world.client(key.key) as client:
        assert spend(client)
        assert sdk.guardrails.bulk_assign_keys(id=guardrail.id, key_hashes=[key.data.hash]).assigned_count == 1
        assert len(embed(client)) == 1536
        with pytest.raises(openai.NotFoundError, match="guardrail restrictions"):
            spend(client)
        wider = sdk.guardrails.update(
            id=guardrail.id, allowed_models=["openai/text-embedding-3-small", "openai/gpt-5-mini"]
        )
        assert wider.data.allowed_models == ["openai/text-embedding-3-small", "openai/gpt-5-mini-2025-08-07"]
        assert spend(client)
        sdk.guardrails.update(id=guardrail.id, ignored_models=["openai/gpt-5-mini"])
        with pytest.raises(openai.NotFoundError):
            spend(client)
        assigned = sdk.guardrails.list_guardrail_key_assignments(id=guardrail.id)
        assert assigned is not None
        assert [(it.key_hash, it.key_name) for it in assigned.result.data] == [(key.data.hash, "keydesk-k1")]
        assert sdk.guardrails.bulk_unassign_keys(id=guardrail.id, key_hashes=[key.data.hash]).unassigned_count == 1
        assert spend(client)
    sdk.guardrails.delete(id=guardrail.id)
    with pytest.raises(NotFoundResponseError):
        sdk.guardrails.get(id=guardrail.id)
    with pytest.raises(BadRequestResponseError, match=r"openai/gpt-9"):
        sdk.guardrails.create(name="unknown", allowed_models=["openai/gpt-9"])


def test_lists_are_of_one_workspace_and_come_in_pages(world: World, sdk: OpenRouter) -> None:
    """A hundred keys a page, by offset; the disabled and the expired only where they are asked for."""
    lab = world.workspace("lab")
    made(sdk, name="elsewhere")
    state = world.pretend.dump()
    hashes = [f"{number:064x}" for number in range(103)]
    state["keys"] += [{**state["keys"][0], "hash": hash, "name": hash, "workspace": lab} for hash in hashes]
    world.pretend.load(state)
    first = sdk.api_keys.list(workspace_id=lab).data
    rest = sdk.api_keys.list(workspace_id=lab, offset=100).data
    assert [key.hash for key in [*first, *rest]] == hashes
    assert [key.name for key in sdk.api_keys.list().data] == ["elsewhere"]
    sdk.api_keys.update(hash=hashes[100], disabled=True)
    soon = made(sdk, name="short", workspace_id=lab, expires_at=NOW + timedelta(minutes=1)).data.hash
    world.now += 60

    def listed(*, disabled: bool = False, expired: bool = False) -> list[str]:
        page = sdk.api_keys.list(workspace_id=lab, offset=100, include_disabled=disabled, include_expired=expired)
        return [key.hash for key in page.data]

    assert listed() == hashes[101:]
    assert listed(disabled=True) == hashes[100:]
    assert listed(expired=True) == [*hashes[101:], soon]
    assert listed(disabled=True, expired=True) == [*hashes[100:], soon]
    workspaces = sdk.workspaces.list(limit=2)
    assert workspaces is not None
    assert [it.name for it in workspaces.result.data] == ["Default", "search-prod"]
    assert workspaces.result.total_count == 3
    created = sdk.workspaces.create(name="New", slug="new").data
    assert sdk.workspaces.get(id="new").data.id == created.id


def test_activity_is_told_of_completed_days(world: World, sdk: OpenRouter) -> None:
    """By day and model, of one key where asked; today's is not there yet, and neither is what is older than 30 days."""
    ours, other = made(sdk), made(sdk, name="other", workspace_id=world.workspace("lab"))
    for days in (40, 2, 1, 0):
        world.pass_to(NOW - timedelta(days=days))
        for key in (ours, other):
            with world.client(key.key) as client:
                spend(client)
                if key is ours:
                    embed(client)

    def told(**asked: Any) -> list[tuple[str, str, int, int]]:
        rows = sdk.analytics.get_user_activity(request=asked).data  # type: ignore[arg-type]  # a plain dict is typed
        return [(row.date_, row.model, int(row.requests), int(row.completion_tokens)) for row in rows]

    chat, vector = "openai/gpt-5-mini", "openai/text-embedding-3-small"
    assert told() == [
        ("2027-01-13", chat, 2, 2000),
        ("2027-01-13", vector, 1, 0),
        ("2027-01-14", chat, 2, 2000),
        ("2027-01-14", vector, 1, 0),
    ]
    assert told(date_="2027-01-14", api_key_hash=other.data.hash) == [("2027-01-14", chat, 1, 1000)]
    assert told(workspace_id=world.workspace("default"), date_="2027-01-13", group_by="workspace") == [
        ("2027-01-13", chat, 1, 1000),
        ("2027-01-13", vector, 1, 0),
    ]
    for wrong in ("2027-01-15", "2026-12-06", "soon"):
        with pytest.raises(BadRequestResponseError):
            told(date_=wrong)


def test_analytics_add_up_by_key_and_model(world: World, sdk: OpenRouter) -> None:
    """Today's too. Keys are shown by name and filtered by hash; what they used is told to the cent."""
    ours, other = made(sdk), made(sdk, name="other")
    for days in (1, 0):
        world.pass_to(NOW - timedelta(days=days))
        for key in (ours, other, ours):
            with world.client(key.key) as client:
                spend(client)
    body: dict[str, Any] = {
        "metrics": ["request_count", "total_usage", "tokens_prompt", "tokens_completion"],
        "dimensions": ["api_key_id", "model"],
        "granularity": "day",
        "time_range": {"start": "2027-01-08T00:00:00Z", "end": "2027-01-16T00:00:00Z"},
    }
    answer = query(world, **body).json()["data"]
    model = "openai/gpt-5-mini-2025-08-07"
    assert answer["data"] == [
        {
            "date__day": f"2027-01-{day}T00:00:00.000Z",
            "api_key_id": name,
            "model": model,
            "request_count": requests,
            "total_usage": pytest.approx(requests * 0.00200225),
            "tokens_prompt": requests * 9,
            "tokens_completion": requests * 1000,
        }
        for day in (14, 15)
        for name, requests in (("keydesk-k1", 2), ("other", 1))
    ]
    assert not answer["metadata"]["truncated"]
    one = [{"field": "api_key_id", "operator": "in", "value": [other.data.hash]}]
    filtered = query(world, **{**body, "filters": one, "limit": 1}).json()["data"]
    assert ([row["api_key_id"] for row in filtered["data"]], filtered["metadata"]["truncated"]) == (["other"], True)
    for wrong in ({"metrics": ["nonsense"]}, {"dimensions": ["colour"]}, {"granularity": "century"}, {"limit": 0}):
        assert query(world, **{**body, **wrong}).status_code == 400


def test_whoever_may_not_is_told_so_in_openrouters_shape(world: World, sdk: OpenRouter) -> None:
    """Wrong, missing and misplaced credentials, unknown things, bad parameters, too many calls."""
    key = made(sdk)
    with world.client("sk-or-v1-wrong") as client, pytest.raises(openai.AuthenticationError) as wrong:
        spend(client)
    assert wrong.value.body == {"message": "User not found.", "code": 401}
    assert httpx.get(f"{world.served.url}/keys").status_code == 401
    with world.client(MANAGEMENT_KEY) as client, pytest.raises(openai.PermissionDeniedError):
        spend(client)
    own, stranger = (OpenRouter(api_key=it, server_url=world.served.url) for it in (key.key, "sk-or-v1-wrong"))
    with own, pytest.raises(ForbiddenResponseError, match="Only management keys"):
        own.api_keys.create(name="mine")
    with stranger, pytest.raises(UnauthorizedResponseError):
        stranger.api_keys.list()
    bad: list[dict[str, Any]] = [
        {"name": ""},
        {"limit": -1},
        {"limit": True},
        {"limit_reset": "hourly"},
        {"expires_at": "2027-02-01T00:00:00+02:00"},
        {"expires_at": "soon"},
        {"expires_at": "2027-01-15T07:59:59Z"},
        {"workspace_id": "00000000-0000-0000-0000-000000000000"},
        {"include_byok_in_limit": "yes"},
    ]
    headers = {"Authorization": f"Bearer {MANAGEMENT_KEY}"}
    for body in bad:
        answer = httpx.post(f"{world.served.url}/keys", json={"name": "n", **body}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400), body
    assert len(world.pretend.snapshot()["keys"]) == 1
    world.faults.add(Fault("openrouter", status=429, retry_after=7))
    with pytest.raises(TooManyRequestsResponseError) as limited:
        sdk.api_keys.list()
    assert limited.value.headers["retry-after"] == "7"
    answer = httpx.post(f"{world.served.url}/nonsense", headers=headers)
    assert answer.json() == {"error": {"code": 404, "message": "Not Found"}}


def test_state_outlives_a_restart_without_any_value(world: World, sdk: OpenRouter) -> None:
    """What is dumped can be loaded elsewhere, holds no key's value, and still knows key, guardrail and use."""
    key = made(sdk, limit=0.001)
    guardrail = sdk.guardrails.create(name="one", allowed_models=["openai/gpt-5-mini"]).data
    sdk.guardrails.bulk_assign_keys(id=guardrail.id, key_hashes=[key.data.hash])
    with world.client(key.key) as client:
        spend(client)
    kept = json.dumps(world.pretend.dump())
    assert key.key not in kept
    reborn = world.make()
    reborn.load(json.loads(kept))
    assert reborn.snapshot() == world.pretend.snapshot()
    with serve(reborn.routes, BASE) as served, openai.OpenAI(api_key=key.key, base_url=served.url) as client:
        with pytest.raises(openai.PermissionDeniedError, match="Key limit exceeded"):
            spend(client)
        with pytest.raises(openai.NotFoundError):
            embed(client)


def test_every_change_of_state_is_announced(world: World, sdk: OpenRouter) -> None:
    """Making, using, changing and deleting each tell whoever shows the state."""
    key = made(sdk)
    with world.client(key.key) as client:
        spend(client)
    sdk.api_keys.update(hash=key.data.hash, name="renamed")
    sdk.api_keys.delete(hash=key.data.hash)
    assert world.changes == 4
    sdk.api_keys.list()
    assert world.changes == 4


def test_all_that_passes_is_as_openrouter_describes_it(world: World, sdk: OpenRouter) -> None:
    """Requests of the SDK and answers of the sandbox fit OpenRouter's published schemas, errors included."""
    described = description("openrouter")
    lab = world.workspace("lab")
    key = made(
        sdk,
        limit=1,
        limit_reset="daily",
        workspace_id=lab,
        include_byok_in_limit=True,
        expires_at=NOW + timedelta(days=9),
    )
    with OpenRouter(api_key=key.key, server_url=world.served.url) as own, pytest.raises(ForbiddenResponseError):
        own.credits.get_credits()
    get(world, "/models/user", key.key)
    get(world, "/key", key.key)  # the SDK warns of old fields in what this answers
    sdk.api_keys.list(include_disabled=True, include_expired=True, offset=0, workspace_id=lab)
    sdk.api_keys.get(hash=key.data.hash)
    sdk.api_keys.update(hash=key.data.hash, name="renamed", disabled=True, limit=None, limit_reset=None)
    sdk.workspaces.list()
    sdk.workspaces.create(name="New", slug="new")
    sdk.workspaces.get(id=lab)
    sdk.credits.get_credits()
    sdk.organization.list_members()
    guardrail = sdk.guardrails.create(
        name="g", description="d", allowed_models=["openai/gpt-5-mini"], workspace_id=lab
    ).data
    sdk.guardrails.list(workspace_id=lab)
    sdk.guardrails.get(id=guardrail.id)
    sdk.guardrails.update(id=guardrail.id, name="h", ignored_models=["openai/gpt-4.1-mini"])
    sdk.guardrails.bulk_assign_keys(id=guardrail.id, key_hashes=[key.data.hash])
    sdk.guardrails.list_guardrail_key_assignments(id=guardrail.id)
    sdk.guardrails.list_key_assignments()
    sdk.guardrails.bulk_unassign_keys(id=guardrail.id, key_hashes=[key.data.hash])
    sdk.guardrails.delete(id=guardrail.id)
    other = made(sdk)
    with world.client(other.key) as client:
        spend(client)
    world.now += 86_400
    sdk.analytics.get_user_activity()
    sdk.analytics.get_user_activity(request={"group_by": "workspace"})
    sdk.analytics.get_analytics_meta()
    sdk.analytics.query_analytics(metrics=["total_usage"], dimensions=["workspace"])
    sdk.api_keys.delete(hash=key.data.hash)
    with pytest.raises(NotFoundResponseError):
        sdk.api_keys.get(hash=key.data.hash)
    with pytest.raises(BadRequestResponseError):
        sdk.guardrails.create(name="g", allowed_models=["openai/gpt-9"])
    exchanges = [it for it in world.served.exchanges if it.path != "/chat/completions"]
    assert len(exchanges) == 29
    for exchange in exchanges:
        described.check(exchange)
