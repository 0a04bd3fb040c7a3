"""What holds for every provider, over real HTTP against its pretend vendor: one suite, run against each."""

import logging
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import SecretStr

from bot.desk.errors import (
    NotOffered,
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.model import Minted, Scope
from bot.desk.offer import Ability, Enforcer, KeyStatus, LimitKind, ProviderKey
from bot.desk.ports import Provider
from bot.desk.revoking import revoke
from bot.providers import PROVIDERS
from sandbox.faults import Fault
from tests.providers.serving import description
from tests.providers.worlds import WORLDS, World, adapting, serving

DAY = timedelta(days=1)
MARKER = "keydesk-k_1"


@pytest.fixture(params=WORLDS, ids=lambda world: str(world.vendor))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with serving(request.param()) as world:
        yield world


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Provider]:
    async with adapting(world) as provider:
        yield provider


def needs(provider: Provider, *abilities: Ability) -> None:
    """Leaves out what the provider says it cannot do; that it then answers NotOffered has a test of its own."""
    if not provider.abilities.issuperset(abilities):
        pytest.skip(f"{provider.label} offers no {', '.join(sorted(set(abilities) - provider.abilities))}")


async def every(provider: Provider) -> list[ProviderKey]:
    """Every key that the provider lists."""
    return [key async for key in provider.keys()]  # noqa: SIM118  (a provider is no dict)


def enforcer(provider: Provider, scope: Scope, kind: LimitKind) -> Enforcer:
    """Who holds a key of this scope to such a limit."""
    [limit] = [it for it in provider.applied_limits(scope=scope, lifetime=DAY) if it.kind is kind]
    return limit.enforcer


async def made(world: World, provider: Provider, marker: str = MARKER, *, lifetime: timedelta = DAY) -> Minted:
    """A key that does anything: minted, or made by a person at the vendor, brought, and recognised."""
    if Ability.MINT in provider.abilities:
        return await provider.mint(marker=marker, scope=world.scope(), lifetime=lifetime)
    secret = world.bring(marker)
    key = await provider.recognise(secret=secret, marker=marker, project=world.project)
    assert key is not None
    assert key.fingerprint is not None
    return Minted(handle=key.handle, fingerprint=key.fingerprint, secret=secret, meter=key.meter)


def test_every_provider_is_in_the_suite() -> None:
    """A provider in the registry that has keys of its own has a world here."""
    assert {world.vendor for world in WORLDS} == set(PROVIDERS) - {"deposit"}


async def test_a_good_credential_has_its_abilities(provider: Provider) -> None:
    """The probe finds no flaw, and changes nothing."""
    probe = await provider.probe()
    assert probe.flaw is None
    assert probe.abilities == provider.abilities
    assert provider.label in probe.said


@pytest.mark.parametrize("wrong", ["sk-or-v1-wrong", "", " ", "sk-admin-…", "sk-\nX"])
async def test_a_wrong_credential_says_so_with_its_mend(world: World, wrong: str) -> None:
    """In the probe, which never raises, and in a mint, which makes nothing."""
    async with adapting(world, credential=SecretStr(wrong)) as stranger:
        probe = await stranger.probe()
        assert probe.abilities == frozenset()
        assert probe.flaw is not None
        assert "Mend" in probe.flaw
        if Ability.MINT in stranger.abilities:
            with pytest.raises(ProviderAuth):
                await stranger.mint(marker=MARKER, scope=world.scope(), lifetime=DAY)
        with pytest.raises(ProviderAuth):
            await stranger.revoke(handle="0" * 64, project=world.project)
    assert world.keys() == []


async def test_what_a_provider_has_not_it_does_not_offer(provider: Provider) -> None:
    """Whatever is not among its abilities is refused with a word."""
    calls: dict[Ability, Callable[[], Awaitable[object]]] = {
        Ability.MINT: lambda: provider.mint(marker="m", scope=Scope("x", "p", "all", 1), lifetime=DAY),
        Ability.MODELS: lambda: provider.models(project="p"),
        Ability.NEW_PROJECT: lambda: provider.create_project(name="n", scope=Scope("x", "p", "all", 1)),
        Ability.DISABLE: lambda: provider.disable(handle="h", project="p"),
        Ability.INVITE: lambda: provider.invite(email="ana@acme.example", project="p"),
    }
    for ability, call in calls.items():
        if ability not in provider.abilities:
            with pytest.raises(NotOffered, match=provider.label):
                await call()


async def test_a_key_lives_from_mint_to_revoke(world: World, provider: Provider) -> None:
    """It works, is found by its marker alone, and after revoke it is refused and gone. Revoked again, it stays gone."""
    minted = await made(world, provider)
    assert minted.fingerprint == "…" + minted.secret.expose()[-4:]
    assert world.chat(minted.secret) == 200
    assert await provider.find(marker=MARKER, project=world.project) == [minted.handle]
    assert await provider.find(marker=MARKER[:-1], project=world.project) == []
    await provider.revoke(handle=minted.handle, project=world.project)
    assert world.chat(minted.secret) == 401
    assert world.alive() == []
    assert await provider.find(marker=MARKER, project=world.project) == []
    await provider.revoke(handle=minted.handle, project=world.project)


async def test_a_key_is_shown_as_it_is(world: World, provider: Provider) -> None:
    """By handle and in the list of all, with its marker, its project, and whether it is answered."""
    needs(provider, Ability.LIST)
    minted = await made(world, provider)
    seen = await provider.get(handle=minted.handle, project=world.project)
    assert seen is not None
    assert (seen.handle, seen.name, seen.project) == (minted.handle, MARKER, world.project)
    assert seen.status is KeyStatus.ACTIVE
    assert seen.created_at == world.clock()
    assert seen.meter == minted.meter
    assert await every(provider) == [seen]
    world.now += 86_401
    if enforcer(provider, world.scope(), LimitKind.EXPIRY) is Enforcer.KEY:
        assert [key.status for key in await every(provider)] == [KeyStatus.GONE]
    await provider.revoke(handle=minted.handle, project=world.project)
    assert await provider.get(handle=minted.handle, project=world.project) is None
    assert await every(provider) == []


async def test_each_permission_mints_a_key_that_does_it(world: World, provider: Provider) -> None:
    """Every preset makes exactly one key; one for embeddings is refused for anything else."""
    needs(provider, Ability.MINT)
    for number, permission in enumerate(provider.permissions):
        scope = world.scope(permission.id)
        minted = await provider.mint(marker=f"{MARKER}{number}", scope=scope, lifetime=DAY)
        assert len(world.alive()) == number + 1
        if permission.id == "embeddings":
            assert world.embed(minted.secret) == 200
            assert world.chat(minted.secret) in (403, 404)
    assert [it.id for it in provider.permissions][-1] == "all"
    before = len(world.served.exchanges)
    with pytest.raises(ProviderError, match="preset"):
        await provider.mint(marker=MARKER, scope=world.scope("admin"), lifetime=DAY)
    assert len(world.served.exchanges) == before


async def test_a_key_dies_at_its_time(world: World, provider: Provider) -> None:
    """Where the limits say that the provider holds the key to it."""
    scope = world.scope()
    if enforcer(provider, scope, LimitKind.EXPIRY) is not Enforcer.KEY:
        pytest.skip(f"{provider.label} does not expire keys")
    minted = await provider.mint(marker=MARKER, scope=scope, lifetime=timedelta(hours=1))
    world.now += 3599
    assert world.chat(minted.secret) == 200
    world.now += 2
    assert world.chat(minted.secret) == 401


async def test_a_budget_stops_the_key_until_the_month_is_over(world: World, provider: Provider) -> None:
    """A dollar is a dollar: the call after it is refused, and the first of the month begins anew."""
    scope = world.scope(cents=100)
    if enforcer(provider, scope, LimitKind.BUDGET) is not Enforcer.KEY:
        pytest.skip(f"{provider.label} holds no key to a budget")
    minted = await provider.mint(marker=MARKER, scope=scope, lifetime=60 * DAY)
    assert world.chat(minted.secret, answered=499_000) == 200
    assert world.chat(minted.secret) == 200
    assert world.chat(minted.secret) in (403, 422)
    world.now = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert world.chat(minted.secret) in (403, 422)
    world.now += 1
    assert world.chat(minted.secret) == 200


async def test_a_key_is_held_to_its_models(world: World, provider: Provider) -> None:
    """A list of models is all that the key may use; a model that is not there is refused, and no key made."""
    needs(provider, Ability.MODELS)
    assert {world.chat_model, world.other_model} <= set(await provider.models(project=world.project))
    scope = world.scope(models=(world.chat_model,))
    if enforcer(provider, scope, LimitKind.MODELS) is not Enforcer.KEY:
        pytest.skip(f"{provider.label} holds projects to models, not keys")
    minted = await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    assert world.chat(minted.secret) == 200
    assert world.chat(minted.secret, model=world.other_model) in (403, 404)
    assert world.embed(minted.secret) in (403, 404)


async def test_a_key_is_switched_off_and_on(world: World, provider: Provider) -> None:
    """Off, it is refused and shown as such; on again, it works. Twice is the same as once."""
    needs(provider, Ability.DISABLE)
    minted = await made(world, provider)
    for _ in range(2):
        await provider.disable(handle=minted.handle, project=world.project)
        assert world.chat(minted.secret) == 401
    seen = await provider.get(handle=minted.handle, project=world.project)
    assert seen is not None
    assert seen.status is KeyStatus.DISABLED
    assert await provider.find(marker=MARKER, project=world.project) == [minted.handle]
    for _ in range(2):
        await provider.enable(handle=minted.handle, project=world.project)
        assert world.chat(minted.secret) == 200


async def test_usage_is_what_was_used(world: World, provider: Provider) -> None:
    """By key, day and model, to the cent; again the same after a fault; of a key that is gone, too."""
    needs(provider, Ability.USAGE)
    first = await made(world, provider, lifetime=DAY * 9)
    second = await made(world, provider, f"{MARKER}b", lifetime=DAY * 9)
    meters = {(minted.meter or minted.handle): minted for minted in (first, second)}
    assert len(meters) == 2
    began = world.clock().date()
    for _ in range(3):
        assert world.chat(first.secret) == 200
        assert world.embed(second.secret) == 200
        assert world.chat(second.secret, model=world.other_model) == 200
        world.now += 86_400
    await provider.revoke(handle=second.handle, project=world.project)

    async def told(since: date, until: date) -> Counter[tuple[str, date, str]]:
        costs: Counter[tuple[str, date, str]] = Counter()
        async for rows in provider.usage(since=since, until=until):
            for row in rows:
                key = (row.meter, row.day, row.model.rpartition("/")[2].removesuffix("-2025-08-07"))
                assert key not in costs
                costs[key] = row.cost_micros
                assert (row.requests, row.as_of) == (int(world.counts_requests), world.clock())
        return costs

    whole = await told(began, began + 3 * DAY)
    assert len(whole) == 9
    name = first.meter or first.handle
    for number in range(3):
        model = world.chat_model.rpartition("/")[2]
        assert whole[name, began + number * DAY, model] == pytest.approx(world.chat_micros, abs=1)
    world.faults.add(Fault(world.vendor, status=500))
    with pytest.raises(ProviderTransient):
        await told(began, began + 3 * DAY)
    assert await told(began, began + 3 * DAY) == whole
    assert len(await told(began + DAY, began + DAY)) == 3


async def test_a_project_of_a_name_is_made_once(world: World, provider: Provider) -> None:
    """Asked for again it is the same; keys are made in it at once; it is listed."""
    needs(provider, Ability.NEW_PROJECT)
    made = await provider.create_project(name="brand new", scope=world.scope())
    assert made.name == "brand new"
    assert await provider.create_project(name="brand new", scope=world.scope()) == made
    assert [it for it in await provider.projects() if it.name == "brand new"] == [made]
    minted = await provider.mint(marker=MARKER, scope=world.scope(project=made.id), lifetime=DAY)
    assert world.chat(minted.secret) == 200


async def test_an_invitation_is_sent_once_and_taken_back(world: World, provider: Provider) -> None:
    """Open or accepted, it is one; asked for again after it was accepted it is a membership; withdrawn, it is neither."""
    needs(provider, Ability.INVITE)
    email = "ben@acme.example"
    invitation = await provider.invite(email=email, project=world.project)
    assert await provider.invite(email=email, project=world.project) == invitation
    assert (world.invited(), world.members()) == ([email], [])
    for _ in range(2):
        await provider.withdraw(invitation=invitation, project=world.project)
    assert (world.invited(), world.members()) == ([], [])
    again = await provider.invite(email=email, project=world.project)
    world.accept(email)
    for _ in range(2):
        joined = await provider.invite(email=email, project=world.project)
        assert (world.invited(), world.members()) == ([], [email])
    for invitation in (again, joined):
        await provider.withdraw(invitation=invitation, project=world.project)
        assert (world.invited(), world.members()) == ([], [])
    with pytest.raises(ProviderError):
        await provider.invite(email=email, project="elsewhere")


async def test_projects_are_asked_for_once_a_minute(world: World, provider: Provider) -> None:
    """The project of the test is among them, every id once; a second look costs nothing."""
    listed = await provider.projects()
    assert world.project in [it.id for it in listed]
    assert len({it.id for it in listed}) == len(listed)
    before = len(world.served.exchanges)
    assert await provider.projects() == listed
    assert len(world.served.exchanges) == before


async def test_a_mint_that_was_cut_off_leaves_one_key_at_most(world: World, provider: Provider) -> None:
    """Whether it arrived or not: either the key is in hand, or its outcome is unknown and the marker finds it."""
    needs(provider, Ability.MINT)
    for number, acts in enumerate((True, False)):
        marker = f"{MARKER}{number}"
        world.faults.add(Fault(world.vendor, world.mint_call, cut=True, acts=acts))
        try:
            minted = await provider.mint(marker=marker, scope=world.scope(), lifetime=DAY)
        except OutcomeUnknown:
            pass
        else:
            assert world.chat(minted.secret) == 200
            assert await provider.find(marker=marker, project=world.project) == [minted.handle]
        assert len(world.alive()) <= 1
        for handle in await provider.find(marker=marker, project=world.project):
            await provider.revoke(handle=handle, project=world.project)
        assert world.alive() == []


async def test_too_many_calls_say_how_long_to_wait(world: World, provider: Provider) -> None:
    """On whatever is asked; nothing is repeated."""
    world.faults.add(Fault(world.vendor, times=2, status=429, retry_after=7.5))
    for call in (
        provider.projects(),
        provider.revoke(handle="a" * 64, project=world.project),
    ):
        with pytest.raises(ProviderRateLimited) as limited:
            await call
        assert limited.value.retry_after == 7.5
    assert len(world.faults.record) == 2


async def test_a_revocation_that_broke_may_be_tried_again(world: World, provider: Provider) -> None:
    """It is not said to have happened; the next try does it, whether the first did or not."""
    for number, fault in enumerate((Fault(world.vendor, status=503), Fault(world.vendor, cut=True, acts=True))):
        minted = await made(world, provider, f"{MARKER}{number}")
        fault.call = world.kill_call
        world.faults.add(fault)
        with pytest.raises(ProviderTransient):
            await provider.revoke(handle=minted.handle, project=world.project)
        await provider.revoke(handle=minted.handle, project=world.project)
        assert world.chat(minted.secret) == 401


async def test_what_the_provider_still_shows_does_not_count_as_revoked(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The desk reads back: a provider that said so and did nothing has revoked nothing; once it is true, it is believed."""
    needs(provider, Ability.LIST)
    minted = await made(world, provider)

    async def says_so(*, handle: str, project: str) -> None:
        pass

    with monkeypatch.context() as forgetful:
        forgetful.setattr(provider, "revoke", says_so)
        with pytest.raises(ProviderTransient, match="still shows it"):
            await revoke(provider, handle=minted.handle, project=world.project)
    assert world.chat(minted.secret) == 200
    for _ in range(2):
        await revoke(provider, handle=minted.handle, project=world.project)
    assert world.chat(minted.secret) == 401


async def test_a_handle_is_no_path(world: World, provider: Provider) -> None:
    """An id with a slash or dots would name something else; it names nothing."""
    for handle in ("../secrets", "a/b", "", "k?x=1"):
        with suppress(ProviderNotFound):  # or it is gone, as long as the project is there
            await provider.revoke(handle=handle, project=world.project)
    assert {method for method, _ in world.served.asked} <= {"GET"}


async def test_a_stranger_cannot_say_that_a_key_is_gone(world: World) -> None:
    """Where the credential does not see the project, "not found" proves nothing."""
    async with adapting(world) as provider:
        with pytest.raises(ProviderNotFound):
            await provider.revoke(handle="a" * 64, project="elsewhere")


async def test_no_value_shows_anywhere(world: World, provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a key's value nor the credential is in errors, logs, reprs, queries or paths."""
    caplog.set_level(logging.DEBUG)
    minted = await made(world, provider)
    written = [repr(minted), repr(provider), repr(vars(provider))]
    for status in (400, 401, 403, 500):
        world.faults.add(Fault(world.vendor, status=status))
        try:
            if Ability.MINT in provider.abilities:
                await provider.mint(marker=f"{MARKER}{status}", scope=world.scope(), lifetime=DAY)
            else:
                await provider.recognise(secret=minted.secret, marker=MARKER, project=world.project)
        except ProviderError as error:
            written.append("".join(traceback.format_exception(error)) + repr(error) + repr(error.args))
    await provider.revoke(handle=minted.handle, project=world.project)
    written += [f"{exchange.path} {exchange.query}" for exchange in world.served.exchanges]
    everything = "".join(written) + caplog.text
    for secret in (minted.secret.expose(), world.credential):
        assert secret not in everything


async def test_what_is_sent_is_as_the_vendor_describes_it(world: World, provider: Provider) -> None:
    """Every request that the vendor's published description knows fits it."""
    described = description(world.vendor)
    await provider.probe()
    needs(provider, Ability.MINT)
    scope = world.scope(models=(world.chat_model,) if Ability.MODELS in provider.abilities else ())
    minted = await provider.mint(marker=MARKER, scope=scope, lifetime=DAY)
    await provider.find(marker=MARKER, project=world.project)
    if Ability.LIST in provider.abilities:
        await provider.get(handle=minted.handle, project=world.project)
        assert await every(provider)
    if Ability.DISABLE in provider.abilities:
        await provider.disable(handle=minted.handle, project=world.project)
        await provider.enable(handle=minted.handle, project=world.project)
    if Ability.NEW_PROJECT in provider.abilities:
        await provider.create_project(name="brand new", scope=scope)
    if Ability.USAGE in provider.abilities:
        assert [rows async for rows in provider.usage(since=world.clock().date(), until=world.clock().date())]
    await provider.revoke(handle=minted.handle, project=world.project)
    await provider.revoke(handle=minted.handle, project=world.project)
    known = [exchange for exchange in world.served.exchanges if described.knows(exchange)]
    assert len(known) >= len(world.served.exchanges) / 2
    for exchange in known:
        described.check(exchange)
