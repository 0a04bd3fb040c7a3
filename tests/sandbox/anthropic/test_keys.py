"""Keys of the pretend Anthropic: made by people in the Console, switched by API, opened by what their status says."""

import json
import re

import anthropic
import httpx
import pytest
from anthropic.resources.organization import Organization

from sandbox.faults import Fault
from tests.sandbox.anthropic.world import ADMIN_KEY, VERSION, World


def ask(client: anthropic.Anthropic, most: int = 10, model: str = "claude-haiku-4-5") -> anthropic.types.Message:
    return client.messages.create(
        model=model, max_tokens=most, messages=[{"role": "user", "content": "Hello"}], timeout=10
    )


def test_a_person_makes_a_key_in_the_console_and_sees_it_once(world: World, admin: Organization) -> None:
    """The page shows the value after it was made, and never again; the API cannot make one."""
    console = f"{world.served.url}/console"
    origin = console.partition("/anthropic")[0]
    form = {"name": "keydesk-k1 <ben>", "workspace": "wrkspc_search"}
    page = httpx.post(console, data=form, headers={"origin": origin})
    assert page.status_code == 200
    [value] = re.findall(r"sk-ant-api03-[\w-]{40,}", page.text)
    assert "keydesk-k1 &lt;ben&gt;" in page.text
    assert value not in httpx.get(console).text
    with world.client(value) as client:
        message = ask(client)
    assert message.content[0].type == "text"
    assert message.content[0].text == "A pretend claude-haiku-4-5 heard you."
    [key] = admin.api_keys.list()
    assert (key.name, key.status, key.expires_at) == ("keydesk-k1 <ben>", "active", None)
    assert key.scope.type == "workspace"
    assert key.scope.workspace_id == "wrkspc_search"
    assert key.partial_key_hint is not None
    assert key.partial_key_hint.endswith(value[-4:])
    made = httpx.post(
        f"{world.served.url}/v1/organizations/api_keys",
        json={"name": "x"},
        headers={"x-api-key": ADMIN_KEY, **VERSION},
    )
    assert (made.status_code, made.json()["error"]["type"]) == (404, "not_found_error")


def test_another_sites_page_makes_no_key(world: World) -> None:
    """A form that was sent from elsewhere, or names nothing, makes nothing."""
    console = f"{world.served.url}/console"
    form = {"name": "x", "workspace": "wrkspc_lab"}
    origin = console.partition("/anthropic")[0]
    assert httpx.post(console, data=form).status_code == 403
    assert httpx.post(console, data=form, headers={"origin": "https://evil.example"}).status_code == 403
    for wrong in ({"name": " "}, {"workspace": "wrkspc_none"}):
        assert httpx.post(console, data={**form, **wrong}, headers={"origin": origin}).status_code == 400
    assert world.pretend.snapshot()["keys"] == []


def test_a_key_opens_what_its_status_says(world: World, admin: Organization) -> None:
    """Switched off it is refused, on again it works; archived or expired it stays shut for good."""
    id, value = world.key()
    with world.client(value) as client:
        ask(client)
        assert admin.api_keys.update(id, status="inactive").status == "inactive"
        with pytest.raises(anthropic.AuthenticationError, match="disabled"):
            ask(client)
        renamed = admin.api_keys.update(id, name="renamed", status="active")
        assert (renamed.name, renamed.status) == ("renamed", "active")
        assert [model.id for model in client.models.list()] == [
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-haiku-4-5",
        ]
        admin.api_keys.update(id, status="archived")
        with pytest.raises(anthropic.AuthenticationError):
            ask(client)
    with pytest.raises(anthropic.BadRequestError):
        admin.api_keys.update(id, status="active")
    assert admin.api_keys.update(id, status="archived").status == "archived"
    short, value = world.key(lifetime=60)
    world.now += 60
    with world.client(value) as client, pytest.raises(anthropic.AuthenticationError, match="expired"):
        ask(client)
    assert admin.api_keys.retrieve(short).status == "expired"
    with pytest.raises(anthropic.BadRequestError):
        admin.api_keys.update(short, status="active")


def test_keys_are_listed_by_status_workspace_and_page(world: World, admin: Organization) -> None:
    """Filters narrow the list; cursors lead through it once, in order, and back."""
    ids = [world.key(f"key {number}")[0] for number in range(5)]
    default, _ = world.key("default", workspace="wrkspc_default")
    admin.api_keys.update(ids[1], status="inactive")
    assert [key.id for key in admin.api_keys.list(limit=2)] == [*ids, default]
    assert [key.id for key in admin.api_keys.list(status="inactive")] == [ids[1]]
    assert [key.id for key in admin.api_keys.list(workspace_id="wrkspc_default")] == [default]
    assert [key.id for key in admin.api_keys.list(before_id=ids[3], limit=2).data] == ids[1:3]
    assert list(admin.api_keys.list(created_by_user_id="user_none")) == []
    raw = httpx.get(
        f"{world.served.url}/v1/organizations/api_keys/{default}", headers={"x-api-key": ADMIN_KEY, **VERSION}
    ).json()
    assert raw["workspace_id"] is None  # as it was before there was a scope
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after_id": "apikey_none"}):
        with pytest.raises(anthropic.BadRequestError):
            admin.api_keys.list(**wrong)


def test_a_workspaces_limit_stops_its_keys(world: World) -> None:
    """A dollar, set in the Console: the call after it is refused with 400, as Anthropic does; others go on."""
    world.pretend.rule(workspace="wrkspc_lab", spend_limit=1)
    _, value = world.key()
    _, other = world.key(workspace="wrkspc_search")
    with world.client(value) as client, world.client(other) as free:
        ask(client, 200_000)
        with pytest.raises(anthropic.BadRequestError, match="usage limits"):
            ask(client)
        ask(free)


def test_whoever_may_not_is_told_so_in_anthropics_shape(world: World, admin: Organization) -> None:
    """Wrong, missing and misplaced credentials, a missing version, unknown things and wrong bodies, too many calls."""
    id, value = world.key()
    for key, error in (("sk-ant-wrong", anthropic.AuthenticationError), (ADMIN_KEY, anthropic.PermissionDeniedError)):
        with world.client(key) as client, pytest.raises(error):
            ask(client)
    with world.client(value) as client:
        with pytest.raises(anthropic.PermissionDeniedError):
            client.organization.api_keys.list()
        for most, model in ((0, "claude-haiku-4-5"), (10, "claude-1")):
            with pytest.raises(anthropic.APIStatusError):
                ask(client, most, model)
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(model="claude-haiku-4-5", max_tokens=1, messages=[])
    with world.client("sk-ant-wrong") as client, pytest.raises(anthropic.AuthenticationError):
        client.organization.api_keys.list()
    url = f"{world.served.url}/v1/organizations/api_keys"
    assert httpx.get(url, headers={"x-api-key": ADMIN_KEY}).status_code == 400
    assert httpx.get(url, headers=VERSION).status_code == 401
    with pytest.raises(anthropic.NotFoundError) as unknown:
        admin.api_keys.retrieve("apikey_none")
    assert isinstance(unknown.value.body, dict)
    assert unknown.value.body["type"] == "error"
    with pytest.raises(anthropic.BadRequestError, match="colour"):
        admin.api_keys.update(id, extra_body={"colour": "red"})
    with pytest.raises(anthropic.BadRequestError, match="status"):
        admin.api_keys.update(id, status="gone")  # type: ignore[arg-type]  # wrong on purpose
    world.faults.add(Fault("anthropic", status=429, retry_after=7))
    with pytest.raises(anthropic.RateLimitError) as limited:
        admin.api_keys.list()
    assert limited.value.response.headers["retry-after"] == "7"
    assert admin.retrieve().name == "Acme"


def test_state_outlives_a_restart_without_any_value(world: World, admin: Organization) -> None:
    """What is dumped can be loaded elsewhere, holds no key's value, and still knows the key."""
    _, value = world.key()
    with world.client(value) as client:
        ask(client)
    kept = json.dumps(world.pretend.dump())
    assert value not in kept
    reborn = world.make()
    reborn.load(json.loads(kept))
    assert reborn.snapshot() == world.pretend.snapshot()
    assert reborn.organization.meter.total() == world.pretend.organization.meter.total()
    assert reborn.organization.key_with(value) is not None


def test_every_change_of_state_is_announced(world: World, admin: Organization) -> None:
    """Making, using, switching and inviting each tell whoever shows the state; looking does not."""
    seen = 0

    def changed() -> bool:
        nonlocal seen
        before, seen = seen, world.changes
        return seen > before

    id, value = world.key()
    assert changed()
    with world.client(value) as client:
        ask(client)
    assert changed()
    admin.api_keys.update(id, status="inactive")
    assert changed()
    admin.invites.create(email="ben@acme.example", role="user")
    assert changed()
    list(admin.api_keys.list())
    assert not changed()
