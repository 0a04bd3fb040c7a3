"""The list of sweeps: what each looks for, what it does, and how it went.

The metronome, the command line, /metrics and the admins' Home all go by it, so a sweep that is not on it is none.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from bot.desk.due import Due, DueKind, Queue, SweepName, SweepState, added
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.reference import reference, referring
from bot.desk.retrying import STUCK_AFTER

log = logging.getLogger(__name__)

# A pass takes milliseconds and comes several times a minute: no need to write each.
WRITTEN_EVERY = timedelta(minutes=1)
OVERDUE_AFTER = timedelta(minutes=5)  # two leases and a beat: what waits longer waits for more than a process that died


@dataclass(slots=True)
class Pass:
    """One pass of a sweep: how many things it handled, and what failed for a reason of the desk's own."""

    name: SweepName
    items: int = 0
    failures: int = 0
    flaw: str = ""
    seconds: float = 0.0


_UNDER_WAY: ContextVar[Pass | None] = ContextVar("pass", default=None)


def handling(items: int) -> None:
    """The pass under way, if this is one, handles so many things more."""
    if (now := _UNDER_WAY.get()) is not None:
        now.items += items


def failed(error: BaseException) -> None:
    """Something of the pass under way failed for a reason that nobody foresaw; the caller has logged it."""
    if (now := _UNDER_WAY.get()) is not None:
        now.failures += 1
        # Its kind alone: what it says may hold anything, and the log has it under the reference.
        now.flaw = f"{type(error).__name__}, reference {reference()}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep. `finds` are the kinds of what it looks for, each with how long past its time it becomes due.

    `at_ring`: it answers the bell, too. `asks` tells what it does that no table holds.
    """

    name: SweepName
    does: str
    do: Callable[[], Awaitable[None]]
    finds: Mapping[DueKind, timedelta]
    at_ring: bool = False
    asks: Callable[[], Awaitable[Sequence[Due]]] | None = None


class Sweeps(Mapping[SweepName, Sweep]):
    """All of them, by name. `heard` is told of each pass that ended."""

    def __init__(self, *sweeps: Sweep, store: Store, clock: Clock, heard: Callable[[Pass], None]) -> None:
        self._sweeps = {sweep.name: sweep for sweep in sweeps}
        self._store = store
        self._clock = clock
        self._heard = heard
        self._unwritten: dict[SweepName, SweepState] = {}
        self._written_at: dict[SweepName, datetime] = {}
        self._failing: set[SweepName] = set()

    def __getitem__(self, name: SweepName) -> Sweep:
        return self._sweeps[name]

    def __iter__(self) -> Iterator[SweepName]:
        return iter(self._sweeps)

    def __len__(self) -> int:
        return len(self._sweeps)

    # ---- doing

    async def run(self, name: SweepName) -> Pass:
        """One pass. What goes wrong in it is logged and counted, and does not come out of it."""
        one = Pass(name)
        with referring():
            token = _UNDER_WAY.set(one)
            began = time.perf_counter()
            try:
                await self[name].do()
            except Exception as error:
                log.exception("the sweep %s failed and will run again", name)
                failed(error)
            finally:
                _UNDER_WAY.reset(token)
            one.seconds = time.perf_counter() - began
            self._heard(one)
            await self._keep(one)
        return one

    async def _keep(self, one: Pass) -> None:
        """Adds it to what this process did; written down once a minute, and when it begins to fail."""
        now = self._clock()
        took = timedelta(seconds=one.seconds)
        state = SweepState(
            name=one.name,
            ran_at=now,
            took=took,
            day=now.date(),
            items=one.items,
            longest=took,
            failures=one.failures,
            failed_at=now if one.failures else None,
            flaw=one.flaw or None,
        )
        self._unwritten[one.name] = added(self._unwritten.get(one.name), state)
        begins_to_fail = bool(one.failures) and one.name not in self._failing
        (self._failing.add if one.failures else self._failing.discard)(one.name)
        written_at = self._written_at.get(one.name)
        # A clock that was turned back is no reason to wait for long.
        fresh = written_at is not None and timedelta() <= now - written_at < WRITTEN_EVERY
        if fresh and not begins_to_fail:
            return
        ours = self._unwritten.pop(one.name)
        self._written_at[one.name] = now
        try:
            await self._store.write(partial(self._write_down, ours))
        except Exception:
            log.warning("how the sweep %s went is written down later", one.name, exc_info=True)
            meanwhile = self._unwritten.get(one.name)
            self._unwritten[one.name] = added(ours, meanwhile) if meanwhile else ours

    def _write_down(self, ours: SweepState, tx: Transaction) -> None:
        """Adds what this process did to what all of them did."""
        stands = next((state for state in tx.sweep_states() if state.name is ours.name), None)
        tx.put_sweep(added(stands, ours))

    # ---- looking

    async def look(self, name: SweepName, limit: int) -> Sequence[Due]:
        """What a pass would find due now, so many of each kind at most, without doing any of it."""
        now, sweep = self._clock(), self[name]

        def look(tx: Transaction) -> Sequence[Due]:
            return [due for kind, late in sweep.finds.items() for due in tx.due(kind, now - late, limit)]

        found = await self._store.read(look) if sweep.finds else []
        return [*found, *(await sweep.asks() if sweep.asks else ())]

    async def queues(self) -> Sequence[Queue]:
        """How much of each kind waits, for all sweeps."""
        now = self._clock()

        def count(tx: Transaction) -> Sequence[Queue]:
            finds = [(kind, late) for sweep in self.values() for kind, late in sweep.finds.items()]
            return [tx.queue(kind, now - late, now - late - OVERDUE_AFTER, STUCK_AFTER) for kind, late in finds]

        return await self._store.read(count)
