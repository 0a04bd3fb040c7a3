"""The list of sweeps: what each would find, how each goes, and what an operator sees of both."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.desk import overview, sweeps
from bot.desk.due import Due, DueKind, SweepName, SweepState
from bot.desk.errors import ProviderTransient
from bot.desk.links import LINK_LIVES
from bot.desk.model import TimerKind
from bot.desk.ports import Transaction
from bot.desk.retrying import STUCK_AFTER
from bot.desk.states import KeyState
from storage.store import SqlStore
from tests.desk.world import ANA, BEN, MINUTE, POLICY, TEAM, World, invitation

SECOND = timedelta(seconds=1)
WITH_ADMIN = POLICY.replace("version = 1\n", 'version = 1\nadmins = ["U0ANA"]\n')


async def all_of_it(world: World) -> None:
    """Something of every kind is due."""
    grant = await world.active()
    (key,) = await world.keys(grant)
    world.clock.now += timedelta(days=7) - LINK_LIVES
    (switched,) = await world.keys(await world.active())
    (old,) = await world.keys(await world.active())

    def switch_off(tx: Transaction) -> None:
        disabling = tx.move(switched, KeyState.DISABLING)
        tx.move(disabling, KeyState.DISABLED, due_at=world.clock.now + MINUTE)
        tx.move(old, KeyState.RETIRING, due_at=world.clock.now + MINUTE)
        tx.set_timer(TEAM, TimerKind.DECISION, "r_of_old", world.clock.now)
        tx.subscribe(TEAM, [BEN.id], world.clock.now)

    await world.store.write(switch_off)
    await world.delivering()
    await world.approved(what=invitation())
    await world.picked_up(await world.approved())
    await world.grants.revoke(BEN, (await world.active()).id)
    assert key.expires_at is not None
    world.clock.now = key.expires_at


async def found(world: World, name: SweepName) -> Sequence[Due]:
    """What a pass would find now."""
    return await world.watch.sweeps.look(name, 100)


async def states(world: World) -> dict[SweepName, SweepState]:
    """As written down."""
    return {state.name: state for state in await world.store.read(lambda tx: tx.sweep_states())}


async def test_every_sweep_looks_for_what_it_does(world: World) -> None:
    """What a look finds, a pass takes up, and then a look finds it no more. Each kind is some sweep's."""
    await all_of_it(world)
    assert set(world.watch.sweeps) == set(SweepName)
    kinds: set[DueKind] = set()
    for name in world.watch.sweeps:
        due = await found(world, name)
        assert due, f"nothing is due for {name}"
        assert due == await found(world, name), "looking changed it"
        kinds |= {one.kind for one in due}
        one = await world.watch.sweeps.run(name)
        assert one.items >= len(due)
        assert await found(world, name) == []
    assert kinds == set(DueKind)


async def test_a_look_says_what_and_whose_and_since_when(world: World) -> None:
    """By id, its state, its holder, when it fell due and how often it was tried."""
    grant = await world.active()
    await world.grants.revoke(BEN, grant.id)
    (key,) = await world.keys(grant)
    assert await found(world, SweepName.RETIRE) == [
        Due(DueKind.KEY, TEAM, key.id, "revoking", BEN.id, world.clock.now, attempts=0)
    ]
    world.vendor.revoke_faults.append(ProviderTransient("down"))
    await world.watch.sweeps.run(SweepName.RETIRE)
    assert await found(world, SweepName.RETIRE) == []
    world.clock.now += timedelta(seconds=5)
    (due,) = await found(world, SweepName.RETIRE)
    assert (due.since, due.attempts) == (world.clock.now, 1)


async def test_queues_tell_what_waits_and_for_how_long(world: World) -> None:
    """The oldest, what waits longer than it should, and what failed again and again, due or put off."""
    queue = await waiting(world, DueKind.KEY)
    assert (queue.due, queue.overdue, queue.oldest, queue.stuck) == (0, 0, None, 0)
    await world.grants.revoke(BEN, (await world.active()).id)
    began = world.clock.now
    world.clock.now += sweeps.OVERDUE_AFTER - SECOND
    await world.grants.revoke(BEN, (await world.active()).id)
    queue = await waiting(world, DueKind.KEY)
    assert (queue.due, queue.overdue, queue.oldest) == (2, 0, began)
    world.clock.now += SECOND
    queue = await waiting(world, DueKind.KEY)
    assert (queue.due, queue.overdue, queue.oldest, queue.stuck) == (2, 1, began, 0)
    for _ in range(STUCK_AFTER):
        world.vendor.revoke_faults += [ProviderTransient("down")] * 2
        await world.watch.retire()
        world.clock.now += timedelta(minutes=15)
    assert (await waiting(world, DueKind.KEY)).stuck == 2
    await world.watch.retire()
    queue = await waiting(world, DueKind.KEY)
    assert (queue.due, queue.stuck) == (0, 0)
    assert {one.kind for one in await world.watch.sweeps.queues()} == set(DueKind) - {DueKind.PROBE}


async def waiting(world: World, kind: DueKind) -> Any:
    """The queue of this kind."""
    return next(queue for queue in await world.watch.sweeps.queues() if queue.kind is kind)


async def test_how_a_sweep_goes_is_written_down_once_a_minute(world: World) -> None:
    """What it did meanwhile is added then; a failure that begins is there at once, its kind and its reference alone."""
    run = world.watch.sweeps.run
    await run(SweepName.RECONCILE)
    began = world.clock.now
    assert (await states(world))[SweepName.RECONCILE].ran_at == began
    for _ in range(3):
        await world.delivering()
        world.clock.now += 15 * SECOND
        await run(SweepName.RECONCILE)
    assert (await states(world))[SweepName.RECONCILE].ran_at == began
    world.clock.now = began + LINK_LIVES
    await run(SweepName.RECONCILE)
    state = (await states(world))[SweepName.RECONCILE]
    assert (state.ran_at, state.items, state.failures) == (world.clock.now, 1, 0)


async def test_a_failure_is_counted_and_told_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One item that fails, or the whole pass. What an error says may hold a secret: the log has it, under the reference."""
    await world.watch.sweeps.run(SweepName.RECONCILE)
    await world.delivering()
    world.clock.now += LINK_LIVES

    def broken(*_: Any, **how: Any) -> None:
        raise ZeroDivisionError("sk-secret")

    monkeypatch.setattr(world.grants, "take_back", broken)
    one = await world.watch.sweeps.run(SweepName.RECONCILE)
    assert (one.items, one.failures) == (1, 1)
    state = (await states(world))[SweepName.RECONCILE]
    assert (state.failures, state.failed_at) == (1, world.clock.now)
    assert state.flaw is not None
    kind, _, reference = state.flaw.partition(", reference ")
    assert (kind, len(reference)) == ("ZeroDivisionError", 8)
    assert "sk-secret" not in state.flaw
    assert "sk-secret" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(world.store, "read", broken)
    one = await world.watch.sweeps.run(SweepName.RETIRE)
    assert (one.items, one.failures) == (0, 1)


async def test_what_several_desks_did_stands_together(world: World, other: World) -> None:
    """The sums of the day, the last pass of whoever ran last; a new day begins anew, and keeps when it last failed."""
    for desk in (world, other):
        await desk.grants.revoke(BEN, (await desk.active()).id)
        await desk.watch.sweeps.run(SweepName.RETIRE)
    state = (await states(world))[SweepName.RETIRE]
    assert (state.items, state.day) == (2, world.clock.now.date())
    failing = replace(state, failures=2, failed_at=state.ran_at, flaw="OSError", longest=MINUTE)
    await world.store.write(lambda tx: tx.put_sweep(failing))
    world.clock.now += timedelta(days=1)
    await other.watch.sweeps.run(SweepName.RETIRE)
    state = (await states(world))[SweepName.RETIRE]
    assert (state.items, state.failures, state.ran_at) == (0, 0, world.clock.now)
    assert state.longest < MINUTE
    assert (state.failed_at, state.flaw) == (failing.failed_at, "OSError")


async def test_an_admin_sees_how_the_sweeps_go(store: SqlStore) -> None:
    """In the order of their list; one that did not run for minutes is late."""
    world = World(store, policy=WITH_ADMIN)
    for name in (SweepName.ROUNDS, SweepName.RECONCILE):
        await world.watch.sweeps.run(name)
    world.clock.now += overview.LATE_AFTER
    seen = (await world.stories.home(ANA)).overview
    assert seen is not None
    assert ([state.name for state in seen.sweeps], seen.late) == ([SweepName.RECONCILE, SweepName.ROUNDS], frozenset())
    world.clock.now += SECOND
    await world.watch.sweeps.run(SweepName.ROUNDS)
    seen = (await world.stories.home(ANA)).overview
    assert seen is not None
    assert seen.late == {SweepName.RECONCILE}
    assert (await world.stories.home(BEN)).overview is None
