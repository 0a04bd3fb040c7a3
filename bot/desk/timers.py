"""Timers: when time next does something about one thing.

A row says what is due and when. Whoever leases it looks at what its subject is now and does what is due in one
transaction, which moves the timer on or ends it: so it is done once, on one process or ten, and after a day's outage
too. A subject that moved on needs nobody to stop its timer: the next look ends it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bot.desk.bell import Bell
from bot.desk.due import DueKind
from bot.desk.errors import ProviderError, Superseded, Unavailable
from bot.desk.model import Timer, TimerKind
from bot.desk.ports import Clock, Directory, Store, Transaction
from bot.desk.retrying import wait_before
from bot.desk.sweeps import failed, handling
from bot.desk.zones import many_due

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)  # above any look outside that a handler takes
AT_ONCE = 8

Act = Callable[[Transaction], Timer | None]
"""Does what is due, and returns the timer as it is to be from then on, or None when it is over."""

Handler = Callable[[Timer], Awaitable[Act]]
"""Looks at whatever lies outside the store (people, their time zones) and returns the act. Raises as those do.

It reckons from the clock: `due_at` of the timer it is given is when the lease of it ends.
"""


@dataclass(frozen=True, slots=True)
class Timers:
    """Carries out the timers that are due."""

    store: Store
    directory: Directory
    bell: Bell
    clock: Clock
    handlers: Mapping[TimerKind, Handler]

    async def tick(self) -> None:
        """Every timer that is due and that nobody else carries out. One that fails is due again, later and later."""
        await self._know_people()
        while True:
            leased = await self.store.write(self._lease)
            if not leased:
                return
            handling(len(leased))
            await asyncio.gather(*(self._carry_out(timer) for timer in leased))

    async def _know_people(self) -> None:
        """Where many are due, everybody is asked about together, before any is leased. Those that need nobody do not wait for it."""
        if not await many_due(DueKind.TIMER, self.clock(), self.store):
            return
        try:
            await self.directory.know_everybody()
        except Unavailable as error:
            log.warning("whom the timers are about is asked one by one: %s", error)

    def _lease(self, tx: Transaction) -> Sequence[Timer]:
        return tx.lease_timers(self.clock(), self.clock() + LEASE, AT_ONCE)

    async def _carry_out(self, timer: Timer) -> None:
        try:
            act = await self.handlers[timer.kind](timer)
            await self.store.write(lambda tx: self._move_on(tx, timer, act))
        except Superseded:
            # Another process took it over, or its subject moved in this moment: the next look finds out.
            log.info("timer %s of %s was overtaken", timer.kind, timer.about)
            await self._put_off(timer, wait_before(timer.attempts))
        except (Unavailable, ProviderError) as error:
            log.warning("timer %s of %s: %s", timer.kind, timer.about, error)
            await self._put_off(timer, wait_before(timer.attempts, error))
        except Exception as error:
            log.exception("timer %s of %s failed and is tried again", timer.kind, timer.about)
            failed(error)
            await self._put_off(timer, wait_before(timer.attempts))
        else:
            self.bell.ring()

    def _move_on(self, tx: Transaction, timer: Timer, act: Act) -> None:
        following = act(tx)
        if following is None:
            tx.end_timer(timer)
        else:
            tx.move_timer(timer, due_at=following.due_at, step=following.step, attempts=0)

    async def _put_off(self, timer: Timer, wait: timedelta) -> None:
        until = self.clock() + wait
        try:
            await self.store.write(lambda tx: tx.move_timer(timer, due_at=until, attempts=timer.attempts + 1))
        except Superseded:
            log.info("timer %s of %s is another's now", timer.kind, timer.about)
        except Exception:
            log.exception("timer %s of %s could not be put off; its lease ends", timer.kind, timer.about)
