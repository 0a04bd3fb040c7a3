"""The OpenAI adapter, against the pretend OpenAI and against broken ones, over real HTTP."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from bot.desk.errors import (
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.offer import Ability, AppliedLimit, Enforcer, KeyStatus, LimitKind, Project
from bot.desk.revoking import revoke
from bot.providers.openai import PERMISSIONS, SCOPES, OpenAI
from sandbox.faults import Fault
from sandbox.openai import SCOPES as KNOWN_SCOPES
from tests.providers.openai.world import ADMIN_KEY, World, adapter, scope
from tests.providers.serving import description, serve

DAY = timedelta(days=1)
EVERYTHING = OpenAI.abilities
ACCOUNTS = "/organization/projects/proj_lab/service_accounts"


async def test_a_minted_key_does_what_was_asked_until_it_is_revoked(world: World, provider: OpenAI) -> None:
    """The key works within its permission; find knows it by its marker; after revoke it is refused."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    [key] = world.keys()
    assert key["service_account_id"] == minted.handle
    assert (key["name"], key["project"], key["scopes"]) == ("keydesk-k1", "proj_lab", list(SCOPES["responses"]))
    assert key["expires_at"] == world.now + 86_400
    assert minted.fingerprint == "…" + minted.secret.expose()[-4:]
    assert world.opens(minted, "POST", "/responses", model="gpt-5-mini", input="Hello") == 200
    assert world.opens(minted, "GET", "/models") == 200
    assert world.opens(minted, "POST", "/embeddings", model="text-embedding-3-small", input="Hello") == 403

    assert await provider.find(marker="keydesk-k1", project="proj_lab") == [minted.handle]
    assert await provider.find(marker="keydesk-k", project="proj_lab") == []
    assert await provider.find(marker="keydesk-k1", project="proj_assist") == []
    await provider.revoke(handle=minted.handle, project="proj_lab")
    assert world.opens(minted, "GET", "/models") == 401
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == []
    await provider.revoke(handle=minted.handle, project="proj_lab")


@pytest.mark.parametrize("permission", [permission.id for permission in PERMISSIONS])
async def test_each_permission_mints_the_only_key_of_its_account(
    world: World, provider: OpenAI, permission: str
) -> None:
    """One key, with the preset's scopes, which the provider knows; no default key lives beside it."""
    assert set(SCOPES[permission]) <= KNOWN_SCOPES
    minted = await provider.mint(marker="keydesk-k1", scope=scope(permission), lifetime=DAY)
    [key] = world.keys()
    assert key["scopes"] == list(SCOPES[permission])
    assert world.opens(minted, "GET", "/models") == 200


def test_each_permission_is_offered_widest_last() -> None:
    """The presets that people choose from are those that the adapter knows."""
    assert [permission.id for permission in PERMISSIONS] == list(SCOPES)
    assert [name for name, scopes in SCOPES.items() if not scopes] == [PERMISSIONS[-1].id] == ["all"]


async def test_what_the_adapter_sends_is_as_openai_describes_it(world: World, provider: OpenAI) -> None:
    """Every request fits OpenAI's published description."""
    described = description()
    await provider.probe()
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    await provider.mint(marker="keydesk-k2", scope=scope("all"), lifetime=DAY)
    await provider.find(marker="keydesk-k1", project="proj_lab")
    await provider.get(handle=minted.handle, project="proj_lab")
    assert len([key async for key in provider.keys()]) == 2  # noqa: SIM118  (a provider is no dict)
    await provider.revoke(handle=minted.handle, project="proj_lab")
    await provider.revoke(handle=minted.handle, project="proj_lab")
    assert len(world.served.exchanges) == 20
    for exchange in world.served.exchanges:
        described.check(exchange)


async def test_find_reads_every_page_and_leaves_other_keys_alone(world: World, provider: OpenAI) -> None:
    """A marker is found behind a hundred other accounts; people's keys are none of the desk's."""
    state = world.pretend.dump()
    for number in range(101):
        other = {"id": f"svc_acct_{number}", "name": f"other {number}", "role": "none", "created_at": 0}
        state["accounts"].append({**other, "project": "proj_lab"})
    world.pretend.load(state)
    world.pretend.make_personal_key("proj_lab", name="keydesk-k1")
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == []
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == [minted.handle]


async def test_projects_are_asked_for_once_a_minute(world: World, provider: OpenAI) -> None:
    """Ten who ask at once cost one call; archived projects are not listed; a minute later it is asked anew."""
    listed = await asyncio.gather(*(provider.projects() for _ in range(10)))
    assert listed[0] == [
        Project(id="proj_search", name="search-prod"),
        Project(id="proj_assist", name="assistant-dev"),
        Project(id="proj_lab", name="lab"),
    ]
    assert len(world.served.exchanges) == 1
    world.pretend.set_project("proj_lab", "archived")
    world.now += 59
    assert len(await provider.projects()) == 3
    world.now += 1
    assert [project.id for project in await provider.projects()] == ["proj_search", "proj_assist"]
    assert len(world.served.exchanges) == 2


@pytest.mark.parametrize(
    ("scopes", "flaw", "left"),
    [
        ({"api.management.read", "api.management.write"}, "read usage", EVERYTHING - {Ability.USAGE}),
        ({"api.management.read", "api.usage.read"}, "make or change anything", {Ability.LIST, Ability.USAGE}),
        ({"api.management.read"}, "make or change anything, read usage", {Ability.LIST}),
        (set(), "OpenAI does not let the admin key do this", set()),
    ],
)
async def test_a_probe_says_what_the_credential_may_not_do(
    world: World, provider: OpenAI, scopes: set[str], flaw: str, left: set[Ability]
) -> None:
    """A restricted admin key loses what it may not do, and nothing else; nothing is changed by trying."""
    world.pretend.admin_scopes = frozenset(scopes)
    before = world.pretend.dump()
    probe = await provider.probe()
    assert probe.abilities == left
    assert flaw in str(probe.flaw)
    assert world.pretend.dump() == before


async def test_a_probe_says_what_the_credential_sees(world: World, provider: OpenAI) -> None:
    """A good credential shows its projects; with none, or a wrong one, the flaw names the mend."""
    probe = await provider.probe()
    assert (probe.abilities, probe.flaw) == (provider.abilities, None)
    assert probe.said == "OpenAI accepts the admin key. Active projects: search-prod, assistant-dev, lab."
    for project in await provider.projects():
        world.pretend.set_project(project.id, "archived")
    assert "Mend" in str((await provider.probe()).flaw)
    for key in ("sk-admin-wrong", "", " ", "sk-admin-…", "sk-admin-\nX"):
        async with adapter(world.served.url, admin_key=SecretStr(key)) as stranger:
            probe = await stranger.probe()
            assert "OPENAI_ADMIN_KEY" in str(probe.flaw)
            assert probe.abilities == frozenset()


async def test_limits_say_who_really_enforces_them(provider: OpenAI) -> None:
    """Expiry and permission bind the key; a budget binds nobody at OpenAI, and that is said."""
    assert provider.applied_limits(scope=scope(), lifetime=30 * DAY) == (
        AppliedLimit(LimitKind.EXPIRY, "expires after 30 days", Enforcer.KEY, "The desk revokes it then, too."),
        AppliedLimit(LimitKind.PERMISSION, "permission: responses", Enforcer.KEY),
        AppliedLimit(
            LimitKind.BUDGET, "$50 a month", Enforcer.NOBODY, "OpenAI caps the spending of whole projects only."
        ),
    )
    whole = provider.applied_limits(scope=scope("all"), lifetime=timedelta(hours=1))
    assert [limit.what for limit in whole[:2]] == ["expires after 1 hour", "everything in the project"]
    assert whole[1].enforcer is Enforcer.PROJECT


async def test_an_archived_project_holds_no_keys(world: World, provider: OpenAI) -> None:
    """Minting there is refused and leaves nothing; what was there is gone, and counts as revoked."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    world.pretend.set_project("proj_lab", "archived")
    with pytest.raises(ProviderInvalid):
        await provider.mint(marker="keydesk-k2", scope=scope(), lifetime=DAY)
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == []
    await provider.revoke(handle=minted.handle, project="proj_lab")
    assert world.alive() == []


async def test_not_found_counts_as_gone_only_where_the_project_is_seen(world: World, provider: OpenAI) -> None:
    """A credential of another organization is told "not found" of a living key; that revokes nothing."""
    for wrong in ("proj_elsewhere", "../proj_lab", ""):
        with pytest.raises(ProviderNotFound):
            await provider.revoke(handle="svc_acct_1", project=wrong)
        with pytest.raises(ProviderNotFound):
            await provider.find(marker="keydesk-k1", project=wrong)
        with pytest.raises(ProviderNotFound):
            await provider.mint(marker="keydesk-k1", scope=scope(project=wrong), lifetime=DAY)
    await provider.revoke(handle="svc_acct_1", project="proj_lab")
    assert world.accounts() == []


async def test_an_unknown_permission_mints_nothing(world: World, provider: OpenAI) -> None:
    """A preset that the adapter does not know is refused before anything is sent."""
    with pytest.raises(ProviderInvalid, match="preset"):
        await provider.mint(marker="keydesk-k1", scope=scope("admin"), lifetime=DAY)
    assert world.served.exchanges == []


async def test_keys_are_listed_with_their_makers_and_states(world: World, provider: OpenAI) -> None:
    """The desk's by marker and handle, people's by their own names; an expired one is gone, one without a role is off."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    world.pretend.make_personal_key("proj_search", name="notebook")
    bare = {"name": "bare", "create_service_account_only": True}
    account = world.admin("POST", ACCOUNTS, **bare)["id"]
    world.admin("POST", f"{ACCOUNTS}/{account}/api_keys", name="off")
    keys = {key.name: key for key in [key async for key in provider.keys()]}  # noqa: SIM118  (a provider is no dict)
    assert set(keys) == {"keydesk-k1", "notebook", "bare"}
    mine = keys["keydesk-k1"]
    assert (mine.handle, mine.meter, mine.project) == (minted.handle, minted.meter, "proj_lab")
    assert (mine.fingerprint, mine.status, mine.created_at) == (minted.fingerprint, KeyStatus.ACTIVE, world.clock())
    assert (keys["notebook"].project, keys["notebook"].handle) == ("proj_search", keys["notebook"].meter)
    assert keys["bare"].status is KeyStatus.DISABLED
    world.now += 86_400
    assert {key.name: key.status async for key in provider.keys()}["keydesk-k1"] is KeyStatus.GONE  # noqa: SIM118  (a provider is no dict)


async def test_a_key_is_looked_at_by_its_handle(world: World, provider: OpenAI) -> None:
    """As it is now; None once it is gone, or its project is archived; a stranger's "not found" tells nothing."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    key = await provider.get(handle=minted.handle, project="proj_lab")
    assert key is not None
    assert (key.name, key.status) == ("keydesk-k1", KeyStatus.ACTIVE)
    with pytest.raises(ProviderNotFound):
        await provider.get(handle=minted.handle, project="proj_elsewhere")
    await provider.revoke(handle=minted.handle, project="proj_lab")
    assert await provider.get(handle=minted.handle, project="proj_lab") is None
    world.pretend.set_project("proj_lab", "archived")
    assert await provider.get(handle=minted.handle, project="proj_lab") is None


@pytest.mark.parametrize("world", [{"account_deletion": False, "key_upkeep": True}], indirect=True)
async def test_where_accounts_stay_their_keys_are_deleted(world: World, provider: OpenAI) -> None:
    """OpenAI's newest API deletes single keys of service accounts; others' keys are left alone."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    other = await provider.mint(marker="keydesk-k2", scope=scope(), lifetime=DAY)
    await revoke(provider, handle=minted.handle, project="proj_lab")
    assert world.opens(minted, "GET", "/models") == 401
    assert world.opens(other, "GET", "/models") == 200
    await revoke(provider, handle=minted.handle, project="proj_lab")
    left = await provider.get(handle=minted.handle, project="proj_lab")
    assert left is not None
    assert left.status is KeyStatus.GONE


@pytest.mark.parametrize("world", [{"account_deletion": False}], indirect=True)
async def test_a_key_that_cannot_be_deleted_at_all_is_not_called_gone(world: World, provider: OpenAI) -> None:
    """Neither its account nor the key itself: the refusal comes through, and the key lives."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    with pytest.raises(ProviderForbidden):
        await provider.revoke(handle=minted.handle, project="proj_lab")
    assert world.opens(minted, "GET", "/models") == 200


@pytest.mark.parametrize("world", [{"key_expiry": False}], indirect=True)
async def test_where_keys_cannot_expire_the_desk_is_named(world: World, provider: OpenAI) -> None:
    """The key keeps its scopes, and the limits say from then on that the desk ends it."""
    minted = await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    [key] = world.alive()
    assert (key["expires_at"], key["scopes"]) == (None, list(SCOPES["responses"]))
    assert world.opens(minted, "GET", "/models") == 200
    assert provider.applied_limits(scope=scope(), lifetime=DAY)[0].enforcer is Enforcer.DESK


@pytest.mark.parametrize("world", [{"key_scopes": False}], indirect=True)
async def test_where_keys_cannot_be_limited_a_limited_key_is_refused(world: World, provider: OpenAI) -> None:
    """An older API mints "everything" by the account's own key, and nothing narrower."""
    with pytest.raises(ProviderInvalid, match="cannot limit"):
        await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    assert (world.keys(), world.accounts()) == ([], [])
    minted = await provider.mint(marker="keydesk-k1", scope=scope("all"), lifetime=DAY)
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == [minted.handle]
    assert len(world.alive()) == 1
    assert world.opens(minted, "GET", "/models") == 200
    assert provider.applied_limits(scope=scope("all"), lifetime=DAY)[0].enforcer is Enforcer.DESK
    await provider.revoke(handle=minted.handle, project="proj_lab")
    assert world.alive() == []


async def test_too_many_calls_say_how_long_to_wait(world: World, provider: OpenAI) -> None:
    """OpenAI's retry-after comes through, on reads and on mints, and nothing is repeated."""
    world.faults.add(Fault("openai", times=2, status=429, retry_after=7.5))
    for call in (provider.projects(), provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)):
        with pytest.raises(ProviderRateLimited) as limited:
            await call
        assert limited.value.retry_after == 7.5
    assert len(world.served.exchanges) == 2


# Broken vendors


CANARY = "sk-svcacct-CANARY-" + "x" * 40
ACCOUNT = {"object": "organization.project.service_account", "id": "svc_acct_1", "name": "n", "role": "none"}
KEY = {"id": "key_1", "value": CANARY, "name": "n", "created_at": 1, "expires_at": 2}

Act = Callable[[Request], Any]


def refusing(status: int, **headers: str) -> Act:
    """Answers with an error whose message quotes a secret."""
    error = {"message": f"About {CANARY}", "type": "invalid_request_error", "param": CANARY, "code": CANARY}
    return lambda request: JSONResponse({"error": error}, status, headers=headers)


def answering(body: Any) -> Act:
    return lambda request: JSONResponse(body)


def cutting(request: Request) -> Response:
    """Promises a long answer and breaks off."""
    return Response(CANARY, headers={"content-length": "4096"})


async def hanging(request: Request) -> Response:
    """Answers nothing until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


def rambling(request: Request) -> Response:
    """Goes on answering for as long as somebody listens."""

    async def words() -> AsyncIterator[bytes]:
        while not await request.is_disconnected():
            yield b" "

    return StreamingResponse(words())


def vendor(**acts: Act) -> list[BaseRoute]:
    """An OpenAI whose mint works but for the given steps: account, role, key, delete, project, accounts."""
    account = f"{ACCOUNTS}/{{id}}"
    steps: dict[str, tuple[str, str, Act]] = {
        "account": ("POST", ACCOUNTS, answering(ACCOUNT)),
        "role": ("POST", account, answering({**ACCOUNT, "role": "member"})),
        "key": ("POST", f"{account}/api_keys", answering(KEY)),
        "delete": ("DELETE", account, answering({"id": "svc_acct_1", "deleted": True})),
        "project": ("GET", "/organization/projects/proj_lab", answering({"id": "proj_lab", "status": "active"})),
        "accounts": ("GET", ACCOUNTS, answering({"data": [], "has_more": False})),
    }
    return [
        Route(path, _endpoint(acts.get(step, usual)), methods=[method]) for step, (method, path, usual) in steps.items()
    ]


def _endpoint(act: Act) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        answer = act(request)
        response: Response = await answer if asyncio.iscoroutine(answer) else answer
        return response

    return endpoint


MINT = [("POST", ACCOUNTS), ("POST", f"{ACCOUNTS}/svc_acct_1"), ("POST", f"{ACCOUNTS}/svc_acct_1/api_keys")]
DELETE = ("DELETE", f"{ACCOUNTS}/svc_acct_1")

REFUSALS: list[tuple[int, type[ProviderError]]] = [
    (400, ProviderInvalid),
    (401, ProviderAuth),
    (403, ProviderForbidden),
    (404, ProviderNotFound),
    (409, ProviderTransient),
    (422, ProviderInvalid),
    (429, ProviderRateLimited),
    (302, ProviderInvalid),
]


@pytest.mark.parametrize(("status", "error"), REFUSALS)
@pytest.mark.parametrize("step", ["account", "role", "key"])
async def test_a_refused_mint_leaves_nothing(step: str, status: int, error: type[ProviderError]) -> None:
    """Each refusal has its error; whatever was made before it is deleted; no step is tried twice."""
    if (step, status) == ("key", 404):
        error = ProviderInvalid  # the endpoint is missing, so the permission cannot be kept
    with serve(vendor(**{step: refusing(status)})) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(error) as refusal:
                await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    assert type(refusal.value) is error
    done = MINT[: ["account", "role", "key"].index(step) + 1]
    looked = [("GET", DELETE[1])] if (step, status) == ("key", 404) else []
    assert served.asked == (done if step == "account" else [*done, *looked, DELETE])


async def test_an_account_revoked_while_its_key_is_made(world: World, provider: OpenAI) -> None:
    """Found by its marker and deleted in that moment: no key, no second account, and no word of an old API."""
    world.faults.add(Fault("openai", "POST */api_keys", delay=0.3))
    minting = asyncio.create_task(provider.mint(marker="keydesk-k1", scope=scope("all"), lifetime=DAY))
    while not world.faults.record:
        await provider.probe()  # any call: the mint goes on beside it
    [handle] = await provider.find(marker="keydesk-k1", project="proj_lab")
    await provider.revoke(handle=handle, project="proj_lab")
    with pytest.raises(ProviderTransient, match="deleted while its key was being made"):
        await minting
    assert world.alive() == []
    assert await provider.find(marker="keydesk-k1", project="proj_lab") == []


@pytest.mark.parametrize("breaking", [cutting, refusing(500), refusing(503), refusing(408), answering({"object": "x"})])
@pytest.mark.parametrize("step", ["account", "key"])
async def test_a_mint_that_broke_has_an_unknown_outcome(step: str, breaking: Act) -> None:
    """After a cut, a 5xx or an answer that cannot be read the key may live; it is not tried again."""
    with serve(vendor(**{step: breaking})) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(OutcomeUnknown):
                await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
    assert served.asked.count(MINT[0]) == 1
    assert served.asked.count(MINT[2]) == (step == "key")
    assert served.asked.count(DELETE) == (step == "key")


@pytest.mark.parametrize("step", ["account", "key"])
@pytest.mark.parametrize("endless", [hanging, rambling])
async def test_a_mint_whose_answer_does_not_end_ends_in_time(endless: Act, step: str) -> None:
    """A vendor that is silent, or never done, costs the time-out, and the outcome is unknown."""
    with serve(vendor(**{step: endless})) as served:
        async with adapter(served.url, call_seconds=0.3) as provider:
            with pytest.raises(OutcomeUnknown):
                await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)


@pytest.mark.parametrize(
    "breaking", [cutting, refusing(500), refusing(401), answering({"id": "svc_acct_1", "deleted": False})]
)
async def test_half_a_key_that_cannot_be_taken_back_is_an_unknown_outcome(breaking: Act) -> None:
    """When the clean-up fails too, the desk has to look for the marker."""
    with serve(vendor(key=refusing(400), delete=breaking)) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(OutcomeUnknown):
                await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)


async def test_a_vendor_that_is_not_there_made_nothing() -> None:
    """A connection that never stood is no unknown outcome."""
    with serve([]) as gone:
        pass
    async with adapter(gone.url) as provider:
        with pytest.raises(ProviderTransient):
            await provider.mint(marker="keydesk-k1", scope=scope(), lifetime=DAY)
        with pytest.raises(ProviderTransient):
            await provider.projects()


@pytest.mark.parametrize("breaking", [cutting, hanging, refusing(500), refusing(408), answering([]), answering({})])
async def test_what_can_be_asked_again_is_transient(breaking: Act) -> None:
    """A read or a deletion that broke may simply be tried again."""
    with serve(vendor(accounts=breaking, delete=breaking)) as served:
        async with adapter(served.url, call_seconds=0.5) as provider:
            with pytest.raises(ProviderTransient):
                await provider.find(marker="keydesk-k1", project="proj_lab")
            with pytest.raises(ProviderTransient):
                await provider.revoke(handle="svc_acct_1", project="proj_lab")


@pytest.mark.parametrize(("status", "error"), REFUSALS)
async def test_a_refused_revoke_says_why(status: int, error: type[ProviderError]) -> None:
    """Only "not found" means gone; every other refusal leaves the key to be revoked."""
    with serve(vendor(delete=refusing(status), accounts=refusing(status))) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(error) as refusal:
                await provider.find(marker="keydesk-k1", project="proj_lab")
            assert type(refusal.value) is error
            if error is ProviderNotFound:
                await provider.revoke(handle="svc_acct_1", project="proj_lab")
                return
            with pytest.raises(error):
                await provider.revoke(handle="svc_acct_1", project="proj_lab")


async def test_a_deletion_of_something_else_is_no_revocation() -> None:
    """The provider has to say that this very account is gone."""
    with serve(vendor(delete=answering({"id": "svc_acct_2", "deleted": True}))) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderTransient):
                await provider.revoke(handle="svc_acct_1", project="proj_lab")


@pytest.mark.parametrize("last_id", [None, "svc_acct_1"])
async def test_a_list_without_end_is_given_up(last_id: str | None) -> None:
    """A vendor whose pages lead in a circle does not hold the desk."""
    endless = {"data": [ACCOUNT], "has_more": True, "last_id": last_id}
    with serve(vendor(accounts=answering(endless))) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderTransient, match="does not end"):
                await provider.find(marker="keydesk-k1", project="proj_lab")
    assert len(served.asked) == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("12", 12.0), ("0.5", 0.5), ("-1", 0.0), ("1e9", 3600.0), ("nan", 30.0), ("soon", 30.0), (None, 30.0)],
)
async def test_retry_after_is_read_with_care(header: str | None, seconds: float) -> None:
    """Whatever the vendor writes there, the wait is a sensible number of seconds."""
    headers = {} if header is None else {"retry-after": header}
    with serve(vendor(accounts=refusing(429, **headers))) as served:
        async with adapter(served.url) as provider:
            with pytest.raises(ProviderRateLimited) as limited:
                await provider.find(marker="keydesk-k1", project="proj_lab")
    assert limited.value.retry_after == seconds


async def test_no_value_shows_in_errors_logs_or_reprs(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a minted value nor the admin key is in what an operator may read, however the call ended."""
    caplog.set_level(logging.DEBUG)
    broken: list[Act] = [
        refusing(400),
        refusing(500),
        cutting,
        answering({**KEY, "created_at": []}),
        answering([CANARY]),
    ]
    broken.append(answering({"value": CANARY, "expires_at": CANARY}))
    written = []
    for act in broken:
        for step in ("account", "key"):
            with serve(vendor(**{step: act})) as served:
                async with adapter(served.url) as provider:
                    try:
                        written.append(repr(await provider.mint(marker="m", scope=scope(), lifetime=DAY)))
                    except ProviderError as error:
                        written.append("".join(traceback.format_exception(error)) + repr(error) + repr(error.args))
                    written.append(repr(provider) + repr(vars(provider)))
    assert len(written) == 24
    everything = "".join(written) + caplog.text
    assert CANARY not in everything
    assert ADMIN_KEY not in everything
