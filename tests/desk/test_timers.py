"""Timers: what is due is done once, on one process or ten, after an outage too."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import Superseded, Unavailable
from bot.desk.model import Person, Timer, TimerKind
from bot.desk.ports import Transaction
from bot.desk.timers import LEASE, Handler, Timers
from bot.desk.timers import Act as Done
from bot.desk.zones import MANY, tz_of
from storage.store import SqlStore
from tests.desk.world import NOON, TEAM, SetClock, Workspace

HOUR = timedelta(hours=1)


class Reminders:
    """A handler that reminds hourly, three times, and writes down each time that it did."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.faults: list[Exception] = []
        self.looked = asyncio.Event()
        self.at_look: asyncio.Event | None = None

    async def __call__(self, timer: Timer) -> Done:
        self.looked.set()
        if self.at_look is not None:
            await self.at_look.wait()
        fault = self.faults.pop(0) if self.faults else None
        if fault and not isinstance(fault, Superseded):
            raise fault

        def act(tx: Transaction) -> Timer | None:
            tx.record(team=TEAM, at=NOON, actor="system", act=Act.SUBMITTED, subject=timer.about, step=timer.step)
            if fault:
                raise fault
            return replace(timer, due_at=self.clock() + HOUR, step=timer.step + 1) if timer.step < 2 else None

        return act


class Asked(Workspace):
    """The directory of a workspace of whose members nothing is known until somebody asks. It counts the calls that this takes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.known = set[str]()

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """One call for each who is not known."""
        if member not in self.known:
            self.calls += 1
        return await super().person(member)

    async def know_everybody(self) -> None:
        """One call."""
        self.calls += 1
        await super().know_everybody()
        self.known |= set(self.people)


def timers(store: SqlStore, clock: SetClock, handler: Handler, directory: Workspace | None = None) -> Timers:
    handlers: Mapping[TimerKind, Handler] = {TimerKind.DECISION: handler}
    return Timers(store=store, directory=directory or Workspace(), bell=Bell(), clock=clock, handlers=handlers)


async def begun(store: SqlStore, *about: str) -> None:
    def act(tx: Transaction) -> None:
        for name in about:
            tx.set_timer(TEAM, TimerKind.DECISION, name, NOON + HOUR)

    await store.write(act)


async def done(store: SqlStore) -> list[tuple[str, int]]:
    """What was done, in order."""
    entries, _ = await store.audit_chain(TEAM)
    return [(entry.subject, entry.detail["step"]) for entry in entries]


async def due_at(store: SqlStore, about: str) -> timedelta | None:
    """When it is due, counted from noon; None where it is over."""
    found = await store.read(lambda tx: tx.timer(TEAM, TimerKind.DECISION, about))
    return found.due_at - NOON if found else None


async def test_step_by_step_each_at_its_time(store: SqlStore) -> None:
    """Nothing before its time, each step once, and then it is over."""
    handler = Reminders(clock := SetClock())
    await begun(store, "r1")
    for hours, so_far in ((0, 0), (1, 1), (1, 1), (2, 2), (3, 3), (9, 3)):
        clock.now = NOON + hours * HOUR
        await timers(store, clock, handler).tick()
        assert await done(store) == [("r1", step) for step in range(so_far)]
    assert await due_at(store, "r1") is None


async def test_after_a_day_of_outage_all_that_is_due_is_done_once(store: SqlStore) -> None:
    """Two processes wake up at once with more to do than they lease at a time: each thing is done once."""
    handler = Reminders(clock := SetClock())
    names = [f"r{number}" for number in range(20)]
    await begun(store, *names)
    clock.now = NOON + 24 * HOUR
    await asyncio.gather(*(timers(store, clock, handler).tick() for _ in range(2)))
    assert sorted(await done(store)) == sorted((name, 0) for name in names)


async def test_people_cannot_be_asked_and_it_is_tried_later(store: SqlStore) -> None:
    """While Slack is silent nothing is done and nothing is lost."""
    handler = Reminders(clock := SetClock())
    handler.faults = [Unavailable("Slack is down"), RuntimeError("a defect")]
    await begun(store, "r1")
    clock.now = NOON + HOUR
    await timers(store, clock, handler).tick()
    assert await due_at(store, "r1") == HOUR + timedelta(seconds=5)
    clock.now += timedelta(seconds=5)
    await timers(store, clock, handler).tick()
    assert await due_at(store, "r1") == HOUR + timedelta(seconds=15)
    clock.now += timedelta(seconds=10)
    await timers(store, clock, handler).tick()
    assert await done(store) == [("r1", 0)]


async def test_what_moves_in_this_moment_is_looked_at_again(store: SqlStore) -> None:
    """An act that lost to somebody faster leaves nothing, and the next look finds out what to do."""
    handler = Reminders(clock := SetClock())
    handler.faults = [Superseded("Somebody was faster.", found="approved")]
    await begun(store, "r1")
    clock.now = NOON + HOUR
    await timers(store, clock, handler).tick()
    assert await done(store) == []
    clock.now += timedelta(seconds=5)
    await timers(store, clock, handler).tick()
    assert await done(store) == [("r1", 0)]


async def test_who_lost_the_lease_writes_nothing(store: SqlStore) -> None:
    """A process that looked for too long, or died, is overtaken by another; it does nothing when it wakes up."""
    clock = SetClock()
    slow, quick = Reminders(clock), Reminders(clock)
    slow.at_look = asyncio.Event()
    await begun(store, "r1")
    clock.now = NOON + HOUR
    sleeping = asyncio.create_task(timers(store, clock, slow).tick())
    await slow.looked.wait()
    await timers(store, clock, quick).tick()
    assert not quick.looked.is_set(), "it is leased"
    clock.now += LEASE
    await timers(store, clock, quick).tick()
    slow.at_look.set()
    await sleeping
    assert await done(store) == [("r1", 0)]


async def test_set_anew_it_begins_anew(store: SqlStore) -> None:
    """And dropped, it is over."""
    handler = Reminders(clock := SetClock())
    await begun(store, "r1")
    clock.now = NOON + HOUR
    await timers(store, clock, handler).tick()
    await store.write(lambda tx: tx.set_timer(TEAM, TimerKind.DECISION, "r1", NOON + 2 * HOUR))
    clock.now = NOON + 2 * HOUR
    await timers(store, clock, handler).tick()
    assert await done(store) == [("r1", 0), ("r1", 0)]
    await store.write(lambda tx: tx.drop_timer(TEAM, TimerKind.DECISION, "r1"))
    assert await due_at(store, "r1") is None


@pytest.mark.parametrize(("due", "calls"), [(200, 1), (MANY - 1, MANY - 1)])
async def test_many_that_are_due_at_once_take_few_calls(store: SqlStore, due: int, calls: int) -> None:
    """Two hundred people, who would take Slack two minutes one by one, are asked about together; few are not worth a list of all."""
    people = Asked()
    names = [f"U0MEMBER{number}" for number in range(due)]
    people.people = {name: Person(name, TEAM, name) for name in names}

    async def look(timer: Timer) -> Done:
        tz = await tz_of(timer.about, people)

        def act(tx: Transaction) -> None:
            tx.record(team=TEAM, at=NOON, actor="system", act=Act.SUBMITTED, subject=timer.about, step=0, tz=tz)

        return act

    await begun(store, *names)
    clock = SetClock()
    clock.now = NOON + HOUR
    await timers(store, clock, look, people).tick()
    assert people.calls == calls
    assert sorted(await done(store)) == sorted((name, 0) for name in names)


async def test_many_that_are_due_do_not_wait_for_slack(store: SqlStore) -> None:
    """While nobody can be asked about, what needs nobody is done all the same."""
    handler = Reminders(clock := SetClock())
    people = Asked()
    people.silent = True
    names = [f"r{number}" for number in range(MANY)]
    await begun(store, *names)
    clock.now = NOON + HOUR
    await timers(store, clock, handler, people).tick()
    assert sorted(await done(store)) == sorted((name, 0) for name in names)
    assert people.calls == 1
