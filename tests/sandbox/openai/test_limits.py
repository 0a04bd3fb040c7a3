"""Limits of the pretend OpenAI bite as OpenAI's do: scope, expiry, models, spending, rates."""

import openai
import pytest
from openai.resources.admin.organization.projects import Projects

from sandbox.metering import DAY
from tests.providers.serving import description
from tests.sandbox.openai.world import World


def ask(client: openai.OpenAI, model: str = "gpt-5-mini", **more: int) -> None:
    client.responses.create(model=model, input="Hello", **more)  # type: ignore[call-overload]  # a table of numbers


def test_a_key_for_embeddings_is_refused_for_anything_else(world: World, projects: Projects) -> None:
    """Its scopes open one endpoint; chat, responses and the list of models stay closed."""
    account = projects.service_accounts.create("proj_lab", name="ci", create_service_account_only=True)
    projects.service_accounts.update(account.id, project_id="proj_lab", role="member")
    key = projects.service_accounts.api_keys.create(
        account.id, project_id="proj_lab", scopes=["api.model.embeddings.request"]
    )
    with world.client(key.value) as client:
        assert client.embeddings.create(model="text-embedding-3-small", input="Hello").data
        with pytest.raises(openai.PermissionDeniedError, match=r"api\.responses\.write"):
            ask(client)
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
        with pytest.raises(openai.PermissionDeniedError):
            client.models.list()


def test_a_model_that_the_project_does_not_allow_is_refused(world: World, projects: Projects) -> None:
    """An allow-list opens what it names, a deny-list what it does not; without one all are open again."""
    permissions = projects.model_permissions
    assert permissions.retrieve("proj_lab").api_model_ids == []
    permissions.update("proj_lab", mode="allow_list", model_ids=["gpt-5-mini"])
    with world.client(world.key()) as client, world.client(world.key("proj_search")) as other:
        ask(client)
        ask(other, "gpt-4.1-mini")
        assert [model.id for model in client.models.list()] == ["gpt-5-mini"]
        with pytest.raises(openai.PermissionDeniedError, match=r"gpt-4\.1-mini") as refusal:
            ask(client, "gpt-4.1-mini")
        assert refusal.value.code == "model_not_found"
        permissions.update("proj_lab", mode="deny_list", model_ids=["gpt-5-mini"])
        ask(client, "gpt-4.1-mini")
        with pytest.raises(openai.PermissionDeniedError):
            ask(client)
        assert permissions.delete("proj_lab").deleted
        ask(client)
    with pytest.raises(openai.BadRequestError, match="gpt-2"):
        permissions.update("proj_lab", mode="allow_list", model_ids=["gpt-2"])


def test_a_dollar_of_spending_stops_the_project(world: World, projects: Projects) -> None:
    """At a dollar the next call is refused, until the month ends or the limit is lifted; other projects go on."""
    limit = projects.spend_limit
    with pytest.raises(openai.NotFoundError):
        limit.retrieve("proj_lab")
    limit.update("proj_lab", threshold_amount=100, currency="USD", interval="month")
    assert limit.retrieve("proj_lab").enforcement.status == "inactive"
    with world.client(world.key()) as client:
        ask(client, max_output_tokens=499_999)
        ask(client)
        assert limit.retrieve("proj_lab").enforcement.status == "enforcing"
        with pytest.raises(openai.RateLimitError) as refusal:
            ask(client)
        assert (refusal.value.code, refusal.value.type) == ("project_spend_limit_exceeded", "insufficient_quota")
        with world.client(world.key("proj_search")) as other:
            ask(other)
        world.now += 31 * DAY
        ask(client)
        world.now -= 31 * DAY
        with pytest.raises(openai.RateLimitError):
            ask(client)
        assert limit.delete("proj_lab").deleted
        ask(client)


def test_rate_limits_count_the_last_minute(world: World, projects: Projects) -> None:
    """Requests and tokens of a project with a model, each against its own limit; after a minute it goes on."""
    listed = {rate.model: rate for rate in projects.rate_limits.list_rate_limits("proj_lab")}
    rate = projects.rate_limits.update_rate_limit(
        listed["gpt-5-mini"].id, project_id="proj_lab", max_requests_per_1_minute=2, max_tokens_per_1_minute=1000
    )
    assert (rate.max_requests_per_1_minute, rate.max_tokens_per_1_minute) == (2, 1000)
    with world.client(world.key()) as client:
        ask(client)
        ask(client)
        with pytest.raises(openai.RateLimitError) as requests:
            ask(client)
        assert (requests.value.code, requests.value.type) == ("rate_limit_exceeded", "requests")
        ask(client, "gpt-4.1-mini")
        world.now += 60
        ask(client, max_output_tokens=1000)
        with pytest.raises(openai.RateLimitError) as tokens:
            ask(client)
        assert tokens.value.type == "tokens"
    with pytest.raises(openai.BadRequestError, match="above"):
        projects.rate_limits.update_rate_limit(rate.id, project_id="proj_lab", max_requests_per_1_minute=10**9)
    with pytest.raises(openai.NotFoundError):
        projects.rate_limits.update_rate_limit("rl-gpt-2", project_id="proj_lab", max_requests_per_1_minute=1)


def test_spend_alerts_are_kept_and_stop_nothing(world: World, projects: Projects) -> None:
    """An alert can be made, changed and deleted; a project beyond it goes on."""
    alerts = projects.spend_alerts
    alert = alerts.create(
        "proj_lab",
        threshold_amount=0,
        currency="USD",
        interval="month",
        notification_channel={"type": "email", "recipients": ["ana@acme.example"]},
    )
    changed = alerts.update(
        alert.id,
        project_id="proj_lab",
        threshold_amount=1,
        currency="USD",
        interval="month",
        notification_channel={"type": "email", "recipients": ["cara@acme.example"], "subject_prefix": "[lab]"},
    )
    assert [it.id for it in alerts.list("proj_lab")] == [alert.id]
    assert alerts.retrieve(alert.id, project_id="proj_lab") == changed
    with world.client(world.key()) as client:
        ask(client, max_output_tokens=500_000)
        ask(client)
    assert alerts.delete(alert.id, project_id="proj_lab").deleted
    with pytest.raises(openai.NotFoundError):
        alerts.delete(alert.id, project_id="proj_lab")
    with pytest.raises(openai.BadRequestError):
        alerts.create(
            "proj_lab",
            threshold_amount=1,
            currency="USD",
            interval="month",
            notification_channel={"type": "email", "recipients": ["nobody"]},
        )


@pytest.mark.parametrize("world", [{"key_upkeep": True}], indirect=True)
def test_the_newest_api_changes_and_deletes_single_keys(world: World, projects: Projects) -> None:
    """A key of a service account gets other scopes and another end, or goes, and its account stays."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    assert account.api_key is not None
    key = projects.api_keys.update(
        account.api_key.id, project_id="proj_lab", scopes=["api.model.read"], expires_in_seconds=60
    )
    assert key.expires_at == world.now + 60
    with world.client(account.api_key.value) as client:
        assert client.models.list().data
        with pytest.raises(openai.PermissionDeniedError):
            ask(client)
        assert projects.api_keys.delete(key.id, project_id="proj_lab").deleted
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    assert [it.id for it in projects.service_accounts.list("proj_lab")] == [account.id]
    assert list(projects.api_keys.list("proj_lab")) == []


def test_a_restricted_admin_key_is_told_what_it_lacks(world: World, projects: Projects) -> None:
    """One that may only read makes nothing, and sees no usage."""
    world.pretend.admin_scopes = frozenset({"api.management.read"})
    assert projects.list().data
    with pytest.raises(openai.PermissionDeniedError, match=r"api\.management\.write"):
        projects.create(name="new")
    usage = projects._client.admin.organization.usage
    with pytest.raises(openai.PermissionDeniedError, match=r"api\.usage\.read"):
        usage.costs(start_time=int(world.now))


def test_all_that_passes_is_as_openai_describes_it(world: World, projects: Projects) -> None:
    """Requests of the SDK and answers of the sandbox fit OpenAI's published schemas, errors included."""
    described = description()
    projects.update("proj_lab", name="laboratory")
    permissions, limit, alerts, rates = (
        projects.model_permissions,
        projects.spend_limit,
        projects.spend_alerts,
        projects.rate_limits,
    )
    permissions.retrieve("proj_lab")
    permissions.update("proj_lab", mode="allow_list", model_ids=["gpt-5-mini"])
    permissions.delete("proj_lab")
    with pytest.raises(openai.NotFoundError):
        limit.delete("proj_lab")
    limit.update("proj_lab", threshold_amount=1, currency="USD", interval="month")
    limit.retrieve("proj_lab")
    limit.delete("proj_lab")
    alert = alerts.create(
        "proj_lab",
        threshold_amount=1,
        currency="USD",
        interval="month",
        notification_channel={"type": "email", "recipients": ["ana@acme.example"]},
    )
    alerts.list("proj_lab", limit=10)
    alerts.retrieve(alert.id, project_id="proj_lab")
    alerts.delete(alert.id, project_id="proj_lab")
    rates.list_rate_limits("proj_lab", limit=2)
    rates.update_rate_limit("rl-gpt-5-mini", project_id="proj_lab", max_requests_per_1_minute=1)
    assert len(world.served.exchanges) == 14
    for exchange in world.served.exchanges:
        described.check(exchange)
    assert projects.retrieve("proj_lab").name == "laboratory"
