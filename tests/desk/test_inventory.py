"""Once a day the provider's keys are compared with the desk's; admins see how the desk stands with its providers."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.desk import overview, retrying, rounds
from bot.desk.audit import Act
from bot.desk.errors import ProviderTransient, Unavailable
from bot.desk.model import Cause, NoticeKind, RoundKind
from bot.desk.offer import KeyStatus, ProviderKey
from bot.desk.states import GrantState, KeyState
from storage.store import SqlStore
from tests.desk.metered import MeteredVendor, key_of_somebody
from tests.desk.world import ANA, BEN, CARA, DEV, GUEST, LEADS, MINUTE, NOON, POLICY, TEAM, SetClock, World

DAY = timedelta(days=1)
ADMINS = POLICY.replace("version = 1", f'version = 1\nadmins = ["{ANA.id}", "{LEADS}"]')
NOBODYS = "keydesk-k_aaaaaaaaaaaaaaaa"


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """At a vendor that lists its keys; Ana and the leads are admins."""
    clock = SetClock()
    desk = World(store, vendor=MeteredVendor(clock), policy=ADMINS)
    desk.clock = clock
    desk = World(store, beside=desk)
    yield desk
    await desk.must_hold()


def vendor_of(world: World) -> MeteredVendor:
    assert isinstance(world.vendor, MeteredVendor)
    return world.vendor


async def strays(world: World) -> list[str]:
    return [entry.subject for entry in await world.entries() if entry.act == Act.STRAY_REVOKED]


# ---- strays


async def test_a_key_that_bears_the_marker_and_is_nobodys_is_revoked(world: World) -> None:
    """One that no row knows, and one that was to be dead; each is written down once."""
    grant = await world.active()
    (dead,) = await world.keys(grant)
    await world.grants.revoke(BEN, grant.id)
    await world.sweep()
    other = await world.active()
    vendor = vendor_of(world)
    vendor.others = [key_of_somebody("risen", dead.marker), key_of_somebody("stray", NOBODYS)]
    await world.round()
    assert vendor.others == []
    assert await strays(world) == [dead.id, NOBODYS.removeprefix("keydesk-")]
    assert (await world.grant(other)).state is GrantState.ACTIVE
    await world.round(after=DAY)
    assert len(await strays(world)) == 2


@pytest.mark.parametrize(
    "name", ["keydesk-k_short", f"{NOBODYS}-copy", f"my {NOBODYS}", "keydesk-k_AAAAAAAAAAAAAAAA", "keydesk", ""]
)
async def test_what_only_resembles_a_marker_is_left(world: World, name: str) -> None:
    """A person may call a key as they like; it counts as nobody's here."""
    await world.active()
    vendor = vendor_of(world)
    vendor.others = [key_of_somebody("theirs", name)]
    await world.round()
    assert [one.handle for one in vendor.others] == ["theirs"]
    (counted,) = await world.store.read(lambda tx: tx.outsiders(TEAM))
    assert (counted.project_name, counted.keys) == ("search-prod", 1)


async def test_a_mint_under_way_and_one_in_quarantine_are_no_strays(world: World) -> None:
    """Their keys are looked for by those whose turn it is."""
    vendor = vendor_of(world)
    await world.active()
    minting = await world.picked_up(await world.approved())
    vendor.land(minting.marker)
    quarantined = await world.picked_up(await world.approved())
    await world.store.write(lambda tx: tx.move(quarantined, KeyState.REVOKING, due_at=world.clock.now + MINUTE))
    vendor.land(quarantined.marker)
    await world.watch.go_round()
    assert vendor.revoked == []
    assert await strays(world) == []


async def test_a_stray_that_is_off_or_dead_already_is_left(world: World) -> None:
    """Where revoking is switching off, what was revoked stays in the list, and is not revoked day after day."""
    grant = await world.active()
    (dead,) = await world.keys(grant)
    await world.grants.revoke(BEN, grant.id)
    await world.sweep()
    vendor = vendor_of(world)
    vendor.others = [
        ProviderKey("off", dead.marker, "proj_search", KeyStatus.DISABLED),
        ProviderKey("gone", dead.marker, "proj_search", KeyStatus.GONE),
    ]
    await world.round()
    assert len(vendor.others) == 2
    assert await strays(world) == []
    assert list(await world.store.read(lambda tx: tx.outsiders(TEAM))) == []


# ---- vanished


async def test_a_key_that_vanished_ends_its_grant(world: World) -> None:
    """The holder is told why; another's key is untouched."""
    grant, other = await world.active(), await world.active()
    vendor = vendor_of(world)
    (key,) = await world.keys(grant)
    assert key.handle
    vendor.living.pop(key.handle)
    await world.round(after=MINUTE)
    ended = await world.grant(grant)
    assert (ended.state, ended.ended_because) == (GrantState.ENDED, Cause.VANISHED)
    assert (await world.key(key.id)).state is KeyState.REVOKED
    assert Act.VANISHED in await world.acts()
    assert len(world.slack.standing(NoticeKind.ENDED, BEN)) == 1
    assert (await world.grant(other)).state is GrantState.ACTIVE


async def test_a_list_that_breaks_off_proves_nothing(world: World) -> None:
    """Only what the end of a listing did not have is looked for, and only what is not there then is gone."""
    grant = await world.active()
    vendor = vendor_of(world)
    (key,) = await world.keys(grant)
    assert key.handle
    vendor.list_faults = [ProviderTransient("down")]
    marker = vendor.living.pop(key.handle)
    await world.round(after=MINUTE)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    vendor.living[key.handle] = marker
    await world.round(after=MINUTE)
    assert (await world.grant(grant)).state is GrantState.ACTIVE


async def test_a_key_minted_while_the_list_was_read_did_not_vanish(world: World) -> None:
    """A listing may be older than the newest key."""
    grant = await world.active()
    vendor = vendor_of(world)
    (key,) = await world.keys(grant)
    assert key.handle
    marker = vendor.living.pop(key.handle)
    vendor.others = [
        ProviderKey(key.handle, "renamed by somebody", "proj_search", KeyStatus.ACTIVE, meter=key.meter or "")
    ]
    await world.round(after=MINUTE)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    vendor.others = []
    vendor.living[key.handle] = marker


async def test_another_organisations_credential_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees none of the keys and none of the projects: that is said to the admin, and every grant stays."""
    grant = await world.active()
    vendor = vendor_of(world)
    living = dict(vendor.living)
    vendor.living.clear()

    async def nothing() -> tuple[()]:
        return ()

    monkeypatch.setattr(vendor, "projects", nothing)
    await world.round(after=MINUTE)
    assert (await world.grant(grant)).state is GrantState.ACTIVE
    made = await world.store.read(lambda tx: tx.rounds(TEAM))
    flaw = next(one.flaw for one in made if one.kind is RoundKind.INVENTORY)
    assert flaw is not None
    assert "Mend:" in flaw
    vendor.living.update(living)


async def test_a_key_from_before_meters_learns_its_own(world: World) -> None:
    """What was minted by an older desk is counted from its first inventory on."""
    grant = await world.active()
    (key,) = await world.keys(grant)
    await world.store.write(lambda tx: tx.move(key, meter=None))
    vendor = vendor_of(world)
    await world.round()
    vendor.use(key, 5)
    await world.round(after=timedelta(hours=1))
    spending = await world.store.read(lambda tx: tx.spending(TEAM, grant.id))
    assert spending is not None
    assert spending.cost_micros == 5


# ---- admins


async def test_admins_and_nobody_else_see_how_the_desk_stands(world: World) -> None:
    """Looked up each time: who left the group sees it no more, and a guest never does."""
    vendor = vendor_of(world)
    await world.active()
    vendor.others = [key_of_somebody(f"k{number}") for number in range(14)]
    await world.round()
    home = await world.stories.home(ANA)
    assert home.overview is not None
    (state,) = home.overview.providers
    assert (state.label, state.flaw, [(one.project_name, one.keys) for one in state.outsiders]) == (
        "OpenAI",
        None,
        [("search-prod", 14)],
    )
    assert {one.kind for one in state.rounds} == set(RoundKind) - {RoundKind.HOLDERS}
    assert all(one.ended_at == world.clock.now for one in state.rounds)
    assert (await world.stories.home(CARA)).overview is not None
    assert (await world.stories.home(BEN)).overview is None
    world.people.groups[LEADS] = {DEV.id, GUEST.id}
    assert (await world.stories.home(CARA)).overview is None
    assert (await world.stories.home(GUEST)).overview is None


async def test_where_policy_names_no_admins_there_are_none(store: SqlStore) -> None:
    """Empty means nobody."""
    world = World(store)
    await world.asked()
    assert (await world.stories.home(ANA)).overview is None


async def test_admins_are_told_once_of_a_flaw_that_stays(world: World) -> None:
    """After some minutes, each; a flaw that goes by itself wakes nobody; a new one is told anew."""
    vendor = vendor_of(world)
    await world.active()
    vendor.flaw = "OpenAI does not accept the admin key. Mend: check OPENAI_ADMIN_KEY."
    for _ in range(overview.TOLD_AFTER - 1):
        await world.round(after=MINUTE)
    assert world.slack.warned == []
    vendor.flaw = None
    await world.round(after=timedelta(hours=1))
    vendor.flaw = "OpenAI does not accept the admin key. Mend: check OPENAI_ADMIN_KEY."
    for _ in range(3 * overview.TOLD_AFTER):
        await world.round(after=timedelta(hours=1))
    assert [(admin, state.flaw) for admin, state in world.slack.warned] == [
        (ANA.id, vendor.flaw),
        (CARA.id, vendor.flaw),
        (DEV.id, vendor.flaw),
    ]


async def test_a_flaw_that_could_not_be_told_is_told_later(world: World) -> None:
    """Slack was down when it was time."""
    vendor = vendor_of(world)
    await world.active()
    await world.sweep()
    vendor.flaw = "OpenAI does not accept the admin key. Mend: check OPENAI_ADMIN_KEY."
    for _ in range(overview.TOLD_AFTER):
        world.slack.faults = [Unavailable("down")] * 3
        world.clock.now += timedelta(hours=1)
        await world.watch.go_round()
    assert world.slack.warned == []
    world.slack.faults = []
    world.clock.now += MINUTE
    await world.watch.go_round()
    assert len(world.slack.warned) == 3


async def test_keys_that_keep_failing_to_be_revoked_are_counted(world: World) -> None:
    """For the admin; the desk goes on trying."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    for _ in range(retrying.STUCK_AFTER):
        world.vendor.revoke_faults.append(ProviderTransient("down"))
        await world.sweep(after=timedelta(minutes=15))
    states = (await world.stories.home(ANA)).overview
    assert states is not None
    assert states.providers[0].stuck == 1
    await world.sweep(after=timedelta(minutes=15))
    states = (await world.stories.home(ANA)).overview
    assert states is not None
    assert states.providers[0].stuck == 0


async def test_each_round_has_its_own_pace(world: World) -> None:
    """A failing inventory does not keep usage from being read."""
    await world.active()
    vendor = vendor_of(world)
    vendor.list_faults = [ProviderTransient("down")] * 3
    await world.round()
    await world.round(after=rounds.EVERY[RoundKind.USAGE])
    made = {one.kind: one for one in await world.store.read(lambda tx: tx.rounds(TEAM))}
    assert len(vendor.read) == 2
    assert made[RoundKind.USAGE].flaw is None
    assert made[RoundKind.INVENTORY].flaw == "down"
    assert made[RoundKind.INVENTORY].attempts == 2
    assert made[RoundKind.INVENTORY].due_at < NOON + DAY
