"""Rounds: what the desk goes and looks at, at each provider, again and again.

A row for each team, provider and kind says when it is due. Whoever leases it makes it; each step of it is written in a
transaction that keeps the lease, so that a process that lost it writes nothing more. A crash loses no more than the
step under way: the lease ends, and another process makes the round anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from bot.desk.due import Due, DueKind
from bot.desk.errors import ProviderError, Superseded, Unavailable
from bot.desk.limits import COLLECTED_EVERY
from bot.desk.model import Round, RoundKind
from bot.desk.offer import Ability
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import wait_before
from bot.desk.sweeps import failed, handling

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE = timedelta(minutes=2)  # from one step to the next; above any call's patience
AT_ONCE = 8
EVERY: Mapping[RoundKind, timedelta] = {
    RoundKind.CREDENTIAL: timedelta(minutes=1),
    RoundKind.USAGE: COLLECTED_EVERY,
    RoundKind.INVENTORY: timedelta(days=1),
    RoundKind.HOLDERS: timedelta(days=1),
}
NEEDS: Mapping[RoundKind, Ability | None] = {
    RoundKind.CREDENTIAL: None,
    RoundKind.USAGE: Ability.USAGE,
    RoundKind.INVENTORY: Ability.LIST,
}

SLACK = "slack"
"""What stands in a provider's place where a round is made at Slack."""


class Lease:
    """A round under way, and this process's right to write of it."""

    def __init__(self, round_: Round, *, store: Store, clock: Clock) -> None:
        self.round = round_
        self._store = store
        self._clock = clock

    async def write(self, act: Callable[[Transaction], T]) -> T:
        """Runs `act` and keeps the lease, in one transaction. Raises `Superseded` when another took the round over."""

        def both(tx: Transaction) -> tuple[Round, T]:
            return tx.move_round(self.round, due_at=self._clock() + LEASE), act(tx)

        self.round, done = await self._store.write(both)
        return done

    async def give_back(self, **changes: Any) -> None:
        """Writes down how the round ended, and when it is due again."""
        await self._store.write(lambda tx: tx.move_round(self.round, **changes))


Walk = Callable[[Lease], Awaitable[Mapping[str, Any]]]
"""Makes one round, and returns what there is to write down of it besides that it came to its end."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Makes the rounds that are due."""

    store: Store
    providers: Providers
    clock: Clock
    walks: Mapping[RoundKind, Walk]

    async def make(self) -> None:
        """Every round that is due and that nobody else makes. One that fails is due again, later and later."""
        await self._begin()
        while True:
            now = self.clock()
            leased = await self.store.write(partial(self._lease, now + LEASE))
            if not leased:
                return
            handling(len(leased))
            await asyncio.gather(*(self._make(one) for one in leased))

    def _lease(self, until: datetime, tx: Transaction) -> list[Round]:
        return list(tx.lease_rounds(self.clock(), until, AT_ONCE))

    async def _begin(self) -> None:
        """A provider that was set up, or a team that came, has its rounds from now on."""
        now = self.clock()
        for team, new in (await self._new()).items():
            await self.store.write(partial(_begin_all, team, new, now))

    async def to_begin(self) -> Sequence[Due]:
        """The rounds that the next pass begins to make, and that no table holds yet."""
        new = await self._new()
        return [
            Due(DueKind.ROUND, team, provider, kind.value, "", None)
            for team, rounds in new.items()
            for provider, kind in rounds
        ]

    async def _new(self) -> Mapping[str, list[tuple[str, RoundKind]]]:
        """By team, the rounds that it should have and has not."""
        new: dict[str, list[tuple[str, RoundKind]]] = {}
        for team in await self.store.teams():
            made = {(one.provider, one.kind) for one in await self.store.read(partial(_rounds_of, team))}
            if missing := self._wanted() - made:
                new[team] = sorted(missing)
        return new

    def _wanted(self) -> set[tuple[str, RoundKind]]:
        """The rounds that there is something to look at for, by what each provider can do now."""
        return {(SLACK, RoundKind.HOLDERS)} | {
            (name, kind)
            for name in self.providers
            for kind, needs in NEEDS.items()
            if needs is None or self.providers.offers(name, needs)
        }

    async def _make(self, leased: Round) -> None:
        lease = Lease(leased, store=self.store, clock=self.clock)
        try:
            wanted = (leased.provider, leased.kind) in self._wanted()
            told = await self.walks[leased.kind](lease) if wanted else {}
            now = self.clock()
            ended = {"attempts": 0, "flaw": None, "ended_at": now, "due_at": now + EVERY[leased.kind], **told}
            await lease.give_back(**ended)
        except Superseded:
            log.info("another process makes the round %s at %s", leased.kind, leased.provider)
        except (ProviderError, Unavailable) as error:
            await self._put_off(lease, str(error), error)
        except Exception as error:
            log.exception("the round %s at %s failed and is made again", leased.kind, leased.provider)
            failed(error)
            await self._put_off(lease, "It failed for a reason of our own; the log says why.", error)

    async def _put_off(self, lease: Lease, flaw: str, error: Exception) -> None:
        attempts = lease.round.attempts
        wait = wait_before(attempts, error)
        log.warning("the round %s at %s: %s Again in %s.", lease.round.kind, lease.round.provider, flaw, wait)
        try:
            await lease.give_back(due_at=self.clock() + wait, attempts=attempts + 1, flaw=flaw)
        except Exception:
            log.exception("the round %s could not be put off; its lease ends", lease.round.kind)


def _rounds_of(team: str, tx: Transaction) -> list[Round]:
    return list(tx.rounds(team))


def _begin_all(team: str, new: list[tuple[str, RoundKind]], now: datetime, tx: Transaction) -> None:
    for provider, kind in new:
        tx.begin_round(team, provider, kind, now)
