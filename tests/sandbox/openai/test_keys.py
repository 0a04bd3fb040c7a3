"""The pretend OpenAI behaves as OpenAI describes itself: to the official SDK, and to its published schemas."""

import json

import httpx
import openai
import pytest
from openai.resources.admin.organization.projects import Projects
from openai.types.admin.organization.projects import ServiceAccountCreateResponse

from sandbox.faults import Fault
from tests.providers.serving import description, serve
from tests.sandbox.openai.world import ADMIN_KEY, World


def chat(client: openai.OpenAI) -> str | None:
    """What a chat completion answers to a greeting."""
    completion = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
    return completion.choices[0].message.content


def value(account: ServiceAccountCreateResponse) -> str:
    """The value of the key that came with the account."""
    assert account.api_key is not None
    return account.api_key.value


def test_a_limited_key_opens_what_its_scopes_say_until_it_expires(world: World, projects: Projects) -> None:
    """The way of the desk, by the official SDK: a bare account, its role, a key; then the key at work."""
    account = projects.service_accounts.create("proj_search", name="keydesk-k1", create_service_account_only=True)
    assert (account.role, account.api_key) == ("none", None)
    joined = projects.service_accounts.update(account.id, project_id="proj_search", role="member")
    assert joined.role == "member"
    key = projects.service_accounts.api_keys.create(
        account.id,
        project_id="proj_search",
        name="keydesk-k1",
        scopes=["api.responses.write", "api.model.read"],
        expires_in_seconds=3600,
    )
    assert key.expires_at == key.created_at + 3600

    with world.client(key.value) as client:
        assert [model.id for model in client.models.list()] == ["gpt-5-mini", "gpt-4.1-mini", "text-embedding-3-small"]
        answer = client.responses.create(model="gpt-5-mini", input="Hello")
        assert answer.output_text == "A pretend gpt-5-mini heard you."
        assert answer.usage is not None
        assert answer.usage.total_tokens > 0
        with pytest.raises(openai.PermissionDeniedError, match=r"Missing scopes: model\.request"):
            chat(client)
        with pytest.raises(openai.PermissionDeniedError, match=r"Missing scopes: model\.request"):
            client.embeddings.create(model="text-embedding-3-small", input="Hello")
        world.now += 3600
        with pytest.raises(openai.AuthenticationError, match="expired"):
            client.models.list()

    [shown] = world.pretend.snapshot()["keys"]
    assert shown == {
        "name": "keydesk-k1",
        "id": key.id,
        "service_account_id": account.id,
        "project": "proj_search",
        "redacted": f"{key.value[:8]}...{key.value[-4:]}",
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "status": "expired",
        "last_used_at": key.created_at,
        "scopes": ["api.responses.write", "api.model.read"],
    }


def test_deleting_a_service_account_kills_its_keys(world: World, projects: Projects) -> None:
    """A deleted account's key is refused at once, and both are gone from every list."""
    account = projects.service_accounts.create("proj_lab", name="ci", expires_in_seconds=60)
    assert account.api_key is not None
    assert account.api_key.expires_at == account.created_at + 60
    with world.client(account.api_key.value) as client:
        assert chat(client) == "A pretend gpt-5-mini heard you."
        vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b", "a"]).data
        assert len(vectors[0].embedding) == 1536
        assert vectors[0].embedding == vectors[2].embedding != vectors[1].embedding

        assert projects.service_accounts.delete(account.id, project_id="proj_lab").deleted
        with pytest.raises(openai.AuthenticationError) as refusal:
            chat(client)
    assert refusal.value.code == "invalid_api_key"
    assert account.api_key.value not in str(refusal.value)
    assert not list(projects.service_accounts.list("proj_lab"))
    assert not list(projects.api_keys.list("proj_lab", owner_project_access="any"))
    with pytest.raises(openai.NotFoundError):
        projects.service_accounts.retrieve(account.id, project_id="proj_lab")
    assert [key["status"] for key in world.pretend.snapshot()["keys"]] == ["revoked"]


def test_a_key_without_an_owner_with_access_opens_nothing(world: World, projects: Projects) -> None:
    """A bare account's key is made, and useless until the account joins the project."""
    account = projects.service_accounts.create("proj_lab", name="bare", create_service_account_only=True)
    key = projects.service_accounts.api_keys.create(account.id, project_id="proj_lab")
    with world.client(key.value) as client, pytest.raises(openai.PermissionDeniedError):
        client.models.list()
    assert not list(projects.api_keys.list("proj_lab"))
    [listed] = projects.api_keys.list("proj_lab", owner_project_access="inactive")
    assert listed.id == key.id


def test_keys_of_service_accounts_are_deleted_with_their_account_only(world: World, projects: Projects) -> None:
    """OpenAI answers 400 to the deletion of such a key; a person's key can be deleted."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    personal = world.pretend.make_personal_key("proj_lab", name="notebook")
    theirs, persons = projects.api_keys.list("proj_lab")
    assert theirs.owner.service_account is not None
    assert theirs.owner.service_account.id == account.id
    assert persons.owner.user is not None
    assert persons.owner.user.name == "Ana Ruiz"
    with pytest.raises(openai.BadRequestError):
        projects.api_keys.delete(theirs.id, project_id="proj_lab")
    assert projects.api_keys.delete(persons.id, project_id="proj_lab").deleted
    with pytest.raises(openai.NotFoundError):
        projects.api_keys.retrieve(persons.id, project_id="proj_lab")
    with world.client(personal) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_an_archived_project_is_closed(world: World, projects: Projects) -> None:
    """It is listed only on demand, takes no service accounts, and the keys in it open nothing."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    personal = world.pretend.make_personal_key("proj_lab", name="notebook")
    world.pretend.set_project("proj_lab", "archived")
    assert [project.id for project in projects.list()] == ["proj_search", "proj_assist"]
    assert [project.status for project in projects.list(include_archived=True)] == ["active", "active", "archived"]
    assert projects.retrieve("proj_lab").status == "archived"
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.create("proj_lab", name="late")
    for key in (value(account), personal):
        with world.client(key) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
    world.pretend.set_project("proj_lab", "active")
    assert not list(projects.service_accounts.list("proj_lab"))


def test_lists_come_in_pages(world: World, projects: Projects) -> None:
    """`after`, `limit` and `has_more` lead through a list once, in order."""
    names = [f"project {number}" for number in range(7)]
    for name in names:
        projects.create(name=name)
    first = projects.list(limit=4)
    assert (len(first.data), first.has_more) == (4, True)
    assert [project.name for project in first] == ["search-prod", "assistant-dev", "lab", *names]
    for limit in (0, 101):
        with pytest.raises(openai.BadRequestError):
            projects.list(limit=limit)
    with pytest.raises(openai.BadRequestError):
        projects.list(after="proj_none")


def test_whoever_may_not_is_told_so_in_openais_shape(world: World, projects: Projects) -> None:
    """Wrong, missing and misplaced credentials, unknown things and parameters, too many calls."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    with world.client("sk-wrong") as client, pytest.raises(openai.AuthenticationError) as wrong:
        client.models.list()
    assert wrong.value.body == {
        "message": "Incorrect API key provided: ***.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert httpx.get(f"{world.served.url}/models").status_code == 401
    with world.client(ADMIN_KEY) as client, pytest.raises(openai.PermissionDeniedError, match=r"model\.read"):
        client.models.list()
    with (
        openai.OpenAI(admin_api_key=value(account), api_key="", base_url=world.served.url) as client,
        pytest.raises(openai.PermissionDeniedError, match=r"api\.management\.read"),
    ):
        client.admin.organization.projects.list()
    with pytest.raises(openai.NotFoundError):
        projects.retrieve("proj_none")
    with pytest.raises(openai.NotFoundError):
        projects.service_accounts.retrieve(account.id, project_id="proj_search")
    with pytest.raises(openai.BadRequestError) as unknown:
        projects.service_accounts.create("proj_lab", name="ci", extra_body={"colour": "red"})
    assert (unknown.value.code, unknown.value.param) == ("unknown_parameter", "colour")
    with pytest.raises(openai.BadRequestError, match=r"unauthorized scopes: api\.everything"):
        projects.service_accounts.api_keys.create(account.id, project_id="proj_lab", scopes=["api.everything"])
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.create("proj_lab", name="ci", create_service_account_only=True, expires_in_seconds=60)
    world.faults.add(Fault("openai", status=429, retry_after=7))
    with pytest.raises(openai.RateLimitError) as limited:
        projects.list()
    assert limited.value.response.headers["retry-after"] == "7"
    assert len(projects.list().data) == 3
    answer = httpx.post(f"{world.served.url}/organization/nonsense")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize("world", [{"key_scopes": False}, {"key_expiry": False}], indirect=True)
def test_the_older_api_does_not_know_expiry(world: World, projects: Projects) -> None:
    """Before keys could expire, the parameter was unknown."""
    with pytest.raises(openai.BadRequestError) as unknown:
        projects.service_accounts.create("proj_lab", name="ci", expires_in_seconds=60)
    assert unknown.value.param == "expires_in_seconds"


@pytest.mark.parametrize("world", [{"key_scopes": False}], indirect=True)
def test_the_oldest_api_makes_keys_with_their_account_only(world: World, projects: Projects) -> None:
    """Before keys were made apart, the endpoint was not there, and every account came with a key."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    assert account.api_key is not None
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        projects.service_accounts.api_keys.create(account.id, project_id="proj_lab")
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.create("proj_lab", name="ci", create_service_account_only=True)


def test_state_outlives_a_restart_without_any_value(world: World, projects: Projects) -> None:
    """What is dumped can be loaded elsewhere, holds no key's value, and still knows the key."""
    account = projects.service_accounts.create("proj_lab", name="ci")
    kept = json.dumps(world.pretend.dump())
    assert value(account) not in kept
    reborn = world.make()
    reborn.load(json.loads(kept))
    assert reborn.snapshot() == world.pretend.snapshot()
    with serve(reborn.routes) as served, openai.OpenAI(api_key=value(account), base_url=served.url) as client:
        assert client.models.list().data


def test_every_change_of_state_is_announced(world: World, projects: Projects) -> None:
    """Making, using, joining, deleting and archiving each tell whoever shows the state."""
    seen = 0

    def changed() -> bool:
        nonlocal seen
        before, seen = seen, world.changes
        return seen > before

    account = projects.service_accounts.create("proj_lab", name="ci")
    assert changed()
    with world.client(value(account)) as client:
        client.models.list()
    assert changed()
    projects.service_accounts.update(account.id, project_id="proj_lab", name="renamed")
    assert changed()
    projects.service_accounts.delete(account.id, project_id="proj_lab")
    assert changed()
    projects.archive("proj_lab")
    assert changed()
    projects.list()
    assert not changed()


def test_all_that_passes_is_as_openai_describes_it(world: World, projects: Projects) -> None:
    """Requests of the SDK and answers of the sandbox fit OpenAI's published schemas, errors included."""
    described = description()
    project = projects.create(name="new")
    bare = projects.service_accounts.create(project.id, name="bare", create_service_account_only=True)
    projects.service_accounts.update(bare.id, project_id=project.id, role="member")
    projects.service_accounts.api_keys.create(bare.id, project_id=project.id, name="k", scopes=["api.model.read"])
    projects.service_accounts.create(project.id, name="with key", expires_in_seconds=60)
    world.pretend.make_personal_key(project.id, name="notebook")
    projects.list(limit=1, after="proj_search", include_archived=True)
    projects.retrieve(project.id)
    projects.service_accounts.list(project.id)
    projects.service_accounts.list("proj_search")
    projects.service_accounts.retrieve(bare.id, project_id=project.id)
    keys = list(projects.api_keys.list(project.id, owner_project_access="any"))
    projects.api_keys.retrieve(keys[0].id, project_id=project.id)
    with pytest.raises(openai.BadRequestError):
        projects.api_keys.delete(keys[0].id, project_id=project.id)
    projects.api_keys.delete(keys[2].id, project_id=project.id)
    projects.service_accounts.delete(bare.id, project_id=project.id)
    projects.archive(project.id)
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.list(project.id)
    with pytest.raises(openai.NotFoundError):
        projects.retrieve("proj_none")
    assert len(world.served.exchanges) == 18
    for exchange in world.served.exchanges:
        described.check(exchange)
