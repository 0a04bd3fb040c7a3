"""How the desk stands with its providers and its sweeps, for the admins that policy names."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from bot.desk.approvers import Approvers
from bot.desk.due import SweepName
from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Actor, DeskState, ProviderState
from bot.desk.ports import Clock, Notifier, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import STUCK_AFTER
from bot.desk.rounds import Lease

log = logging.getLogger(__name__)

TOLD_AFTER = 5  # looks, a minute apart: a flaw that goes by itself wakes nobody
LATE_AFTER = timedelta(minutes=5)  # what runs several times a minute, and is written down every minute


class Overview:
    """Sees to it that the admins know."""

    def __init__(
        self, *, store: Store, approvers: Approvers, providers: Providers, notifier: Notifier, clock: Clock
    ) -> None:
        self._store = store
        self._approvers = approvers
        self._providers = providers
        self._notifier = notifier
        self._clock = clock

    async def of(self, actor: Actor) -> DeskState | None:
        """What this member may see of it: None unless policy names them, or a group that they are in now."""
        if actor.id not in await self._approvers.admins(actor.team):
            return None
        return await self._store.read(partial(self._desk, actor.team))

    async def look(self, lease: Lease) -> Mapping[str, Any]:
        """A round at one provider: whether the desk's credential serves. The admins are told once for each flaw that stays."""
        name = lease.round.provider
        await self._providers.refresh()
        probe = self._providers.known(name)
        if probe.flaw is None:
            return {}
        attempts = lease.round.attempts + 1
        if attempts == TOLD_AFTER and not await self._told(lease.round.team, name):
            attempts -= 1  # nobody could be reached: at the next look
        return {"attempts": attempts, "flaw": probe.flaw, "ended_at": lease.round.ended_at}

    async def _told(self, team: str, name: str) -> bool:
        """Whether somebody was, or nobody is to be."""
        admins = sorted(await self._approvers.admins(team))
        told = 0
        for admin in admins:
            try:
                state = await self._store.read(lambda tx: self._state(tx, team, name))
                await self._notifier.warn(admin, state)
                told += 1
            except (Unavailable, Undeliverable) as error:
                log.warning("%s could not be told of %s: %s", admin, name, error)
        return bool(told) or not admins

    def _desk(self, team: str, tx: Transaction) -> DeskState:
        sweeps, now = tx.sweep_states(), self._clock()
        return DeskState(
            providers=tuple(self._state(tx, team, name) for name in self._providers),
            sweeps=tuple(sorted(sweeps, key=lambda state: list(SweepName).index(state.name))),
            late=frozenset(state.name for state in sweeps if now - state.ran_at > LATE_AFTER),
        )

    def _state(self, tx: Transaction, team: str, name: str) -> ProviderState:
        probe = self._providers.known(name)
        return ProviderState(
            label=self._providers[name].label,
            said=probe.said,
            flaw=probe.flaw,
            rounds=tuple(one for one in tx.rounds(team) if one.provider == name),
            outsiders=tuple(one for one in tx.outsiders(team) if one.provider == name),
            stuck=tx.stuck_keys(team, name, STUCK_AFTER),
        )
