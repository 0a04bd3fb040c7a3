"""The pretend LiteLLM proxy behaves as LiteLLM describes itself: to OpenAI's SDK, and to its published schemas."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest

from sandbox.client import Sandbox
from sandbox.faults import Fault, Faults
from sandbox.litellm import PretendLiteLLM
from sandbox.server import Running
from tests.providers.serving import Served, description, serve

MASTER_KEY = "sk-master-" + "a" * 32
CHOSEN = "sk-chosen-" + "b" * 32
BASE = "/litellm"
NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)  # a Friday
TEAM = "team-lab"

Json = dict[str, Any]


@dataclass
class World:
    """The pretend proxy, served, with a clock to turn and a count of its changes."""

    now: float = NOW.timestamp()
    changes: int = 0
    faults: Faults = field(default_factory=Faults)
    pretend: PretendLiteLLM = field(init=False)
    served: Served = field(init=False)

    def changed(self) -> None:
        self.changes += 1

    def make(self) -> PretendLiteLLM:
        return PretendLiteLLM(master_key=MASTER_KEY, clock=lambda: self.now, changed=self.changed)

    def pass_to(self, at: datetime) -> None:
        self.now = at.timestamp()

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=self.served.url, max_retries=0)

    def call(self, method: str, path: str, body: Json | None = None, **query: Any) -> Any:
        """An admin call that has to succeed."""
        answer = self.ask(method, path, body, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(
        self, method: str, path: str, body: Json | None = None, *, bearer: str = MASTER_KEY, **query: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {bearer}"}
        return httpx.request(method, self.served.url + path, json=body, params=query, headers=headers)

    def make_key(self, **body: Any) -> Json:
        made: Json = self.call("POST", "/key/generate", body)
        return made


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.pretend = world.make()
    with serve(world.pretend.routes, BASE, faults=world.faults) as world.served:
        yield world


def spend(client: openai.OpenAI, answered: int = 1000, model: str = "gpt-5-mini") -> str | None:
    """What a chat completion of so many tokens answers; one of 1,000 costs two tenths of a cent, and a little."""
    completion = client.chat.completions.create(
        model=model, max_tokens=answered, messages=[{"role": "user", "content": "Hello"}]
    )
    return completion.choices[0].message.content


ONE = 0.00200225  # 9 tokens asked, 1,000 answered


def embed(client: openai.OpenAI) -> int:
    """The length of a greeting's vector."""
    return len(client.embeddings.create(model="text-embedding-3-small", input="Hello").data[0].embedding)


def kind(refusal: pytest.ExceptionInfo[openai.APIStatusError]) -> tuple[int, str | None]:
    return refusal.value.status_code, refusal.value.type


def test_a_key_opens_its_models_until_it_expires(world: World) -> None:
    """The way of the desk: a chosen value, a list of models, a lifetime; the value is said by whoever chose it."""
    made = world.make_key(
        key=CHOSEN, key_alias="keydesk-k1", models=["text-embedding-3-small"], duration="3600s", team_id=TEAM
    )
    token = hashlib.sha256(CHOSEN.encode()).hexdigest()
    assert (made["key"], made["token"], made["token_id"]) == (CHOSEN, token, token)
    assert made["expires"] == "2027-01-15T09:00:00Z"
    with world.client(CHOSEN) as client:
        assert [it.id for it in client.models.list()] == ["text-embedding-3-small"]
        assert embed(client) == 1536
        with pytest.raises(openai.PermissionDeniedError) as denied:
            spend(client)
        assert kind(denied) == (403, "key_model_access_denied")
        world.now += 3600
        assert embed(client) == 1536  # to the second
        world.now += 1
        with pytest.raises(openai.AuthenticationError) as expired:
            embed(client)
        assert kind(expired) == (401, "expired_key")
    assert [it["status"] for it in world.pretend.snapshot()["keys"]] == ["expired"]


def test_routes_limit_a_key_too(world: World) -> None:
    """A key for embeddings only is refused for anything else, whatever the model."""
    key = world.make_key(allowed_routes=["/embeddings", "/v1/embeddings"])["key"]
    with world.client(key) as client:
        assert embed(client) == 1536
        with pytest.raises(openai.PermissionDeniedError, match="not allowed to call this route"):
            spend(client)
        with pytest.raises(openai.PermissionDeniedError):
            client.models.list()
    with openai.OpenAI(api_key=key, base_url=f"{world.served.url}/v1") as client:
        assert embed(client) == 1536


def test_an_alias_makes_a_mint_that_happens_once(world: World) -> None:
    """A second key with the alias is refused; the same value again makes no second key. A deleted alias is free."""
    world.make_key(key=CHOSEN, key_alias="keydesk-k1", max_budget=1)
    again = world.ask("POST", "/key/generate", {"key_alias": "keydesk-k1"})
    assert (again.status_code, again.json()["error"]["param"]) == (400, "key_alias")
    assert "already exists" in again.json()["error"]["message"]
    assert world.make_key(key=CHOSEN, key_alias="other", max_budget=9)["max_budget"] == 1
    assert len(world.pretend.snapshot()["keys"]) == 1
    world.call("POST", "/key/delete", {"key_aliases": ["keydesk-k1"]})
    assert world.make_key(key_alias="keydesk-k1")["key"].startswith("sk-")
    for short in ("sk-short", "no-sk-but-long-enough"):
        assert world.ask("POST", "/key/generate", {"key": short}).status_code == 400


@pytest.mark.parametrize(
    ("duration", "reset_at"),
    [
        ("30d", "2027-02-01T00:00:00Z"),
        ("1mo", "2027-02-01T00:00:00Z"),
        ("7d", "2027-01-18T00:00:00Z"),
        ("1d", "2027-01-16T00:00:00Z"),
        ("3d", "2027-01-18T00:00:00Z"),
        ("12h", "2027-01-15T12:00:00Z"),
        ("45m", "2027-01-15T08:15:00Z"),
    ],
)
def test_a_budget_bites_and_begins_anew(world: World, duration: str, reset_at: str) -> None:
    """Spent is what the present period cost; over the budget, 422 until its end, which is that of a calendar."""
    made = world.make_key(max_budget=0.003, budget_duration=duration)
    assert made["budget_reset_at"] == reset_at
    with world.client(made["key"]) as client:
        spend(client)
        spend(client)  # the last one goes over the budget
        assert world.call("GET", "/key/info", key=made["token"])["info"]["spend"] == pytest.approx(2 * ONE)
        with pytest.raises(openai.UnprocessableEntityError) as broke:
            spend(client)
        assert kind(broke) == (422, "budget_exceeded")
        world.pass_to(datetime.fromisoformat(reset_at))
        assert world.call("GET", "/key/info", key=made["token"])["info"]["spend"] == 0
        assert spend(client)


def test_a_budget_without_a_period_is_for_good(world: World) -> None:
    """A dollar is a dollar; raising it opens the key again."""
    made = world.make_key(max_budget=1)
    with world.client(made["key"]) as client:
        spend(client, 500_000)
        world.now += 400 * 86_400
        with pytest.raises(openai.UnprocessableEntityError):
            spend(client)
        changed = world.call("POST", "/key/update", {"key": made["token"], "max_budget": 2, "duration": "2d"})
        assert (changed["max_budget"], changed["spend"]) == (2, pytest.approx(1.00000225))
        assert spend(client)
        world.now += 2 * 86_400 + 1
        with pytest.raises(openai.AuthenticationError):
            spend(client)


def test_rates_are_those_of_the_minute(world: World) -> None:
    """Over the limit of requests or tokens a minute, 429 until the next."""
    for limit in ({"rpm_limit": 2}, {"tpm_limit": 2000}):
        with world.client(world.make_key(**limit)["key"]) as client:
            spend(client)
            spend(client)
            with pytest.raises(openai.RateLimitError, match="Rate limit exceeded"):
                spend(client)
            world.now += 60
            assert spend(client)


def test_a_team_limits_its_keys(world: World) -> None:
    """Models, budget and block of a team hold for each of its keys; a key cannot have a model that its team has not."""
    team = world.call("POST", "/team/new", {"team_alias": "new", "models": ["gpt-5-mini"], "max_budget": 0.001})
    assert [it["team_alias"] for it in world.call("GET", "/team/list")] == ["lab", "new", "search-prod"]
    id = team["team_id"]
    assert world.ask("POST", "/key/generate", {"team_id": id, "models": ["gpt-4.1-mini"]}).status_code == 403
    with world.client(world.make_key(team_id=id)["key"]) as client:
        assert [it.id for it in client.models.list()] == ["gpt-5-mini"]
        with pytest.raises(openai.PermissionDeniedError) as denied:
            embed(client)
        assert kind(denied) == (403, "team_model_access_denied")
        spend(client)
        with pytest.raises(openai.UnprocessableEntityError):
            spend(client)
        world.call("POST", "/team/update", {"team_id": id, "max_budget": 1, "budget_duration": "1d"})
        assert spend(client)
        world.call("POST", "/team/update", {"team_id": id, "blocked": True})
        with pytest.raises(openai.AuthenticationError, match="blocked"):
            spend(client)
        shown = world.call("GET", "/team/info", team_id=id)
        assert shown["team_info"]["spend"] == pytest.approx(2 * ONE)
        assert len(shown["keys"]) == 1
        world.call("POST", "/team/delete", {"team_ids": [id]})
        with pytest.raises(openai.AuthenticationError) as gone:
            spend(client)
        assert kind(gone) == (401, "token_not_found_in_db")
    assert world.ask("GET", "/team/info", team_id=id).status_code == 404


def test_a_blocked_key_opens_nothing_until_it_is_unblocked(world: World) -> None:
    """A deleted one never again; it is still shown, with its end."""
    made = world.make_key(key_alias="keydesk-k1")
    with world.client(made["key"]) as client:
        assert world.call("POST", "/key/block", {"key": made["token"]})["blocked"]
        with pytest.raises(openai.AuthenticationError, match="blocked"):
            spend(client)
        world.call("POST", "/key/unblock", {"key": made["token"]})
        assert spend(client)
        deleted = world.call("POST", "/key/delete", {"keys": [made["token"], "unknown"]})
        assert deleted == {"deleted_keys": [made["token"], "unknown"]}
        with pytest.raises(openai.AuthenticationError) as refusal:
            spend(client)
    assert made["key"] not in str(refusal.value)
    info = world.call("GET", "/key/info", key=made["token"])["info"]
    assert (info["status"], info["deleted_at"]) == ("deleted", "2027-01-15T08:00:00Z")
    for path in ("/key/block", "/key/update"):
        assert world.ask("POST", path, {"key": made["token"]}).status_code == 404
    assert world.ask("POST", "/key/delete", {"keys": [made["token"]]}).status_code == 404
    assert world.ask("GET", "/key/info", key="0" * 64).status_code == 404


def test_lists_come_in_pages_newest_first(world: World) -> None:
    """A hundred keys a page at most; by team, whole alias and status; whole objects only where they are asked for."""
    tokens = [world.make_key(key_alias=f"key-{number}", team_id=TEAM)["token"] for number in range(12)]
    elsewhere = world.make_key()["token"]
    first = world.call("GET", "/key/list", team_id=TEAM)
    assert first == {"keys": tokens[:1:-1], "total_count": 12, "current_page": 1, "total_pages": 2}
    rest = world.call("GET", "/key/list", team_id=TEAM, page="2")
    assert rest["keys"] == [tokens[1], tokens[0]]
    [whole] = world.call("GET", "/key/list", key_alias="key-1", return_full_object="true")["keys"]
    assert (whole["token"], whole["team_id"]) == (tokens[1], TEAM)
    assert world.call("GET", "/key/list", size="100")["keys"][0] == elsewhere
    assert world.call("GET", "/key/aliases", search="KEY-1")["aliases"] == ["key-1", "key-10", "key-11"]
    world.call("POST", "/key/block", {"key": tokens[0]})
    world.call("POST", "/key/delete", {"keys": [tokens[1]]})
    assert world.call("GET", "/key/list", status="revoked")["keys"] == [tokens[0]]
    assert world.call("GET", "/key/list", status="deleted")["keys"] == [tokens[1]]
    assert world.call("GET", "/key/list", key_hash=tokens[1])["keys"] == []
    for wrong in ({"size": "101"}, {"page": "0"}, {"size": "many"}):
        assert world.ask("GET", "/key/list", None, **wrong).status_code == 422


def test_use_is_told_by_day_model_and_key(world: World) -> None:
    """To the cent, in pages whose sums are those of their rows; of one team, or of all; request by request."""
    ours, other = world.make_key(key_alias="keydesk-k1", team_id=TEAM), world.make_key()
    for days in (1, 0):
        world.pass_to(NOW - timedelta(days=days))
        for made in (ours, other, ours):
            with world.client(made["key"]) as client:
                spend(client)
        with world.client(ours["key"]) as client:
            embed(client)
    span: Json = {"start_date": "2027-01-14", "end_date": "2027-01-15"}
    whole = world.call("GET", "/user/daily/activity", **span)
    assert [day["date"] for day in whole["results"]] == ["2027-01-15", "2027-01-14"]
    assert whole["metadata"]["total_api_requests"] == 8
    assert not whole["metadata"]["has_more"]
    for day in whole["results"]:
        chat = day["breakdown"]["models"]["gpt-5-mini"]
        assert chat["metrics"]["api_requests"] == 3
        mine = chat["api_key_breakdown"][ours["token"]]
        assert mine["metadata"] == {"key_alias": "keydesk-k1", "key_exists": True}
        assert mine["metrics"]["spend"] == pytest.approx(2 * ONE)
        assert (mine["metrics"]["prompt_tokens"], mine["metrics"]["completion_tokens"]) == (18, 2000)
        assert day["breakdown"]["api_keys"][ours["token"]]["metrics"]["api_requests"] == 3
    pages = [world.call("GET", "/user/daily/activity", **span, page_size="4", page=str(it)) for it in (1, 2)]
    assert [it["metadata"]["has_more"] for it in pages] == [True, False]
    assert [[day["date"] for day in it["results"]] for it in pages] == [["2027-01-15", "2027-01-14"], ["2027-01-14"]]
    assert sum(it["metadata"]["total_spend"] for it in pages) == pytest.approx(whole["metadata"]["total_spend"])
    team = world.call("GET", "/team/daily/activity", team_ids=TEAM, **span)
    assert team["metadata"]["total_api_requests"] == 6
    logs = world.call("GET", "/spend/logs", api_key=other["token"])
    assert [(it["model"], it["spend"]) for it in logs] == [("gpt-5-mini", pytest.approx(ONE))] * 2
    assert len(world.call("GET", "/spend/logs", summarize="true", **span)) == 2
    wrong_spans: list[Json] = [{}, {"start_date": "soon", "end_date": "2027-01-15"}]
    for wrong in wrong_spans:
        assert world.ask("GET", "/user/daily/activity", None, **wrong).status_code == 400


def test_without_a_database_nothing_is_possible(world: World) -> None:
    """Said with a 500 that no repetition mends; keys open nothing. The probe says so before anybody asks."""
    key = world.make_key()["key"]
    assert httpx.get(f"{world.served.url}/health/readiness").json() == {"status": "healthy", "db": "connected"}
    world.pretend.set(database=False)
    assert httpx.get(f"{world.served.url}/health/readiness").json()["db"] == "Not connected"
    for method, path, words in (
        ("POST", "/key/generate", "DB not connected"),
        ("GET", "/key/list", "Database not connected"),
        ("POST", "/key/delete", "Not connected to DB!"),
    ):
        answer = world.ask(method, path, {} if method == "POST" else None)
        assert answer.status_code == 500
        assert words in answer.json()["error"]["message"]
    with world.client(key) as client, pytest.raises(openai.BadRequestError, match="No connected db"):
        spend(client)
    world.pretend.set(database=True)
    with world.client(key) as client:
        assert spend(client)


def test_without_a_licence_keys_bear_no_tags(world: World) -> None:
    """What the free edition lacks comes as a 500, too."""
    answer = world.ask("POST", "/key/generate", {"tags": ["one"]})
    assert answer.status_code == 500
    assert "LiteLLM Enterprise" in answer.json()["error"]["message"]
    world.pretend.set(licensed=True)
    assert world.make_key(tags=["one"])["metadata"] == {"tags": ["one"]}


def test_whoever_may_not_is_told_so_in_litellms_shape(world: World) -> None:
    """Wrong, missing and misplaced credentials, unknown things, bad parameters, too many calls."""
    key = world.make_key()["key"]
    with world.client("sk-wrong") as client, pytest.raises(openai.AuthenticationError) as wrong:
        spend(client)
    assert kind(wrong) == (401, "token_not_found_in_db")
    assert world.ask("GET", "/key/list", bearer="not-even-a-key").status_code == 401
    assert httpx.get(f"{world.served.url}/key/list").status_code == 401
    refused = world.ask("POST", "/key/generate", {}, bearer=key)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "auth_error")
    with world.client(MASTER_KEY) as client:
        assert spend(client)  # the master key may do everything
        with pytest.raises(openai.BadRequestError, match="Invalid model name"):
            spend(client, model="gpt-9")
    bad: list[tuple[Json, int]] = [
        ({"max_budget": "much"}, 422),
        ({"max_budget": -1}, 400),
        ({"models": "gpt-5-mini"}, 422),
        ({"models": [1]}, 422),
        ({"duration": "soon"}, 400),
        ({"duration": 30}, 422),
        ({"rpm_limit": True}, 422),
        ({"colour": "red"}, 400),
    ]
    for body, status in bad:
        assert world.ask("POST", "/key/generate", body).status_code == status, body
    assert len(world.pretend.snapshot()["keys"]) == 1
    world.faults.add(Fault("litellm", status=429, retry_after=7))
    limited = world.ask("GET", "/key/list")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert world.ask("GET", "/nonsense").json() == {"detail": "Not Found"}


def test_state_outlives_a_restart_without_any_value(world: World) -> None:
    """What is dumped can be loaded elsewhere, holds no key's value, and still knows key, budget and use."""
    made = world.make_key(max_budget=0.001, team_id=TEAM, key=CHOSEN)
    with world.client(made["key"]) as client:
        spend(client)
    kept = json.dumps(world.pretend.dump())
    assert CHOSEN not in kept
    reborn = world.make()
    reborn.load(json.loads(kept))
    assert reborn.snapshot() == world.pretend.snapshot()
    with (
        serve(reborn.routes, BASE) as served,
        openai.OpenAI(api_key=CHOSEN, base_url=served.url) as client,
        pytest.raises(openai.UnprocessableEntityError),
    ):
        spend(client)


def test_every_change_of_state_is_announced(world: World) -> None:
    """Making, using, changing and deleting each tell whoever shows the state."""
    seen: list[bool] = []

    def done(act: Callable[[], object]) -> None:
        before = world.changes
        act()
        seen.append(world.changes > before)

    made = world.make_key()
    with world.client(made["key"]) as client:
        done(lambda: spend(client))
    for path in ("/key/update", "/key/block", "/key/unblock"):
        done(lambda path=path: world.call("POST", path, {"key": made["token"]}))  # type: ignore[misc]  # bound now
    done(lambda: world.call("POST", "/key/delete", {"keys": [made["token"]]}))
    done(lambda: world.call("POST", "/team/new", {}))
    assert seen == [True] * 6
    done(lambda: world.call("GET", "/key/list"))
    assert not seen[-1]


def test_all_that_passes_is_as_litellm_describes_it(world: World) -> None:
    """Requests and answers fit LiteLLM's published schemas, errors included."""
    described = description("litellm")
    team = world.call(
        "POST", "/team/new", {"team_alias": "new", "models": ["gpt-5-mini"], "max_budget": 9, "budget_duration": "30d"}
    )["team_id"]
    made = world.make_key(
        key=CHOSEN,
        key_alias="keydesk-k1",
        team_id=team,
        models=["gpt-5-mini"],
        duration="86400s",
        max_budget=5,
        budget_duration="1mo",
        tpm_limit=100_000,
        rpm_limit=60,
        allowed_routes=["llm_api_routes"],
        metadata={"made_by": "keydesk"},
    )
    with world.client(CHOSEN) as client:
        spend(client)
    world.call("POST", "/key/update", {"key": made["token"], "max_budget": 6, "duration": None})
    world.call("POST", "/key/block", {"key": made["token"]})
    world.call("POST", "/key/unblock", {"key": made["token"]})
    world.call("GET", "/key/info", key=made["token"])
    world.call("GET", "/key/list", page="1", size="100", return_full_object="true", status="active", team_id=team)
    world.call("GET", "/key/aliases")
    world.call("GET", "/spend/logs", api_key=made["token"])
    world.call("GET", "/team/info", team_id=team)
    world.call("POST", "/team/update", {"team_id": team, "blocked": True})
    world.call("POST", "/key/delete", {"keys": [made["token"]]})
    world.call("GET", "/key/list", return_full_object="true", status="deleted")
    world.call("POST", "/team/delete", {"team_ids": [team]})
    for status, path, body in (
        (404, "/key/block", {"key": made["token"]}),
        (404, "/key/delete", {"keys": [made["token"]]}),
        (400, "/key/generate", {"duration": "soon"}),
        (500, "/key/generate", {"tags": ["one"]}),
    ):
        assert world.ask("POST", path, body).status_code == status
    exchanges = [it for it in world.served.exchanges if it.path != "/chat/completions"]
    assert len(exchanges) == 18
    for exchange in exchanges:
        described.check(exchange)
    # The description is cut to the paths of keys; activity by user has the shape of activity by customer, which is in it.
    world.call("GET", "/user/daily/activity", start_date="2027-01-15", end_date="2027-01-15")
    described.check_answer("/customer/daily/activity", world.served.exchanges[-1])


async def test_the_control_api_takes_the_database_away(sandbox: Sandbox, servers: Running) -> None:
    """And gives it back; the sandbox tells where its proxy is."""
    master = {"Authorization": f"Bearer {servers.litellm_master_key}"}
    async with httpx.AsyncClient(base_url=servers.litellm_url, headers=master) as http:
        for there, status in ((False, 500), (True, 200)):
            await sandbox.post("litellm", database=there)
            assert (await http.get("/key/list")).status_code == status
