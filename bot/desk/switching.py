"""Switching keys off and on at the provider: carried out until the provider said so, and written down only then."""

import logging
from datetime import datetime

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import NotAllowed, NotThere, ProviderError, Superseded
from bot.desk.keys import break_off_rotation, retire
from bot.desk.limits import next_month
from bot.desk.model import SYSTEM, AccessRequest, Actor, Cause, Grant, Key, Story
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import wait_before
from bot.desk.revoking import living, revoke
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import tell

log = logging.getLogger(__name__)

OFF = frozenset({KeyState.DISABLING, KeyState.DISABLED})


class Switching:
    """Takes keys that are to be switched to where they are to be."""

    def __init__(
        self, *, store: Store, door: Door, approvers: Approvers, providers: Providers, bell: Bell, clock: Clock
    ) -> None:
        self._store = store
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._bell = bell
        self._clock = clock

    async def switch_on(self, actor: Actor, grant_id: str) -> Story:
        """An approver lets a key that was switched off go on. Again: nothing more happens.

        Its holder cannot, unless they paused it themselves: a budget that its own spender lifts is none, and what an
        approver paused is not theirs to lift. Raises `NotAllowed`, `NotThere`, `Superseded` when the key is being
        switched off in this moment, or its grant is over.
        """
        await self._door.admit(actor, to=Act.ENABLE_ASKED, subject=grant_id)
        grant, request, decision = await self._store.read(lambda tx: _decided(tx, actor.team, grant_id))
        holder = Actor(grant.team, grant.holder)
        approves = decision == actor.id != grant.holder or (
            actor != holder and await self._approvers.may_decide(actor, holder, request.draft)
        )
        now = self._clock()

        def off(tx: Transaction) -> list[Key]:
            """All that are off; of them none that this actor may not switch on."""
            grant, _, _ = _decided(tx, actor.team, grant_id)
            keys = [key for key in tx.keys_of(grant.team, grant.id) if key.state in OFF]
            if not approves and not (actor == holder and keys and all(_own_pause(key, actor) for key in keys)):
                raise NotAllowed("Only an approver can switch a key on again, or its holder where they paused it.")
            return keys

        def act(tx: Transaction) -> Story:
            keys = off(tx)
            grant, _, _ = _decided(tx, actor.team, grant_id)
            if grant.state is not GrantState.ACTIVE:
                raise Superseded("This grant is over; there is nothing to switch on.", found=grant.state)
            for key in keys:
                if key.state is KeyState.DISABLING:
                    raise Superseded(
                        "The key is being switched off in this moment. Try again in a minute.", found=key.state
                    )
                self.ask_on(tx, key, now, by=actor.id)
            return tell(tx, actor.team, grant.request_id, self._providers)

        try:
            story = await self._store.write(act)
        except NotAllowed as refusal:
            raise await self._door.refuse(actor, refusal, to=Act.ENABLE_ASKED, subject=grant_id) from None
        self._bell.ring()
        return story

    def ask_off(self, tx: Transaction, key: Key, now: datetime) -> None:
        """The key is to be switched off until the month is over; the desk does it by itself alone."""
        self._ask(tx, key, KeyState.DISABLING, Act.DISABLE_ASKED, now, by=SYSTEM)

    def pause(self, tx: Transaction, key: Key, now: datetime, *, by: str) -> None:
        """Somebody wants the key off until somebody wants it on. One that its budget has switched off stays off.

        Raises `Superseded` when it is being switched in this moment.
        """
        if key.paused_by is not None:
            return
        if key.state is KeyState.LIVE:
            self._ask(tx, key, KeyState.DISABLING, Act.DISABLE_ASKED, now, by=by, paused_by=by)
        elif key.state is KeyState.DISABLED:
            tx.move(key, paused_by=by)
            tx.record(
                team=key.team,
                at=now,
                actor=by,
                act=Act.DISABLE_ASKED,
                subject=key.id,
                grant=key.grant_id,
                provider=key.provider,
            )
        else:
            raise Superseded("The key is being switched in this moment. Try again in a minute.", found=key.state)

    def month_over(self, tx: Transaction, key: Key, now: datetime) -> None:
        """What the month's budget had switched off goes on, unless somebody paused it, too. Raises `Superseded`."""
        if key.paused_by is not None:
            tx.move(key, due_at=None)
            self._redraw(tx, key, now)  # where it is off for its rotation alone, its holder can turn that from here on
        else:
            self.ask_on(tx, key, now, by=SYSTEM)

    def ask_on(self, tx: Transaction, key: Key, now: datetime, *, by: str) -> None:
        """The key is to be switched on again."""
        self._ask(tx, key, KeyState.ENABLING, Act.ENABLE_ASKED, now, by=by)

    def _ask(
        self, tx: Transaction, key: Key, to: KeyState, act: Act, now: datetime, *, by: str, paused_by: str | None = None
    ) -> None:
        if to is KeyState.DISABLING:
            self._leave_no_other(tx, key, now)
        tx.move(key, to, due_at=now, attempts=0, paused_by=paused_by)
        tx.record(team=key.team, at=now, actor=by, act=act, subject=key.id, grant=key.grant_id, provider=key.provider)
        self._redraw(tx, key, now)

    def _leave_no_other(self, tx: Transaction, key: Key, now: datetime) -> None:
        """No other key of the grant goes on instead: one that was to follow does not, and old ones are revoked now."""
        grant = tx.grant(key.team, key.grant_id)
        if grant is None:
            return
        break_off_rotation(tx, grant, now, because=Cause.SWITCHED_OFF)
        for other in living(tx, grant):
            if other.state is KeyState.RETIRING:
                retire(tx, other, now, by=SYSTEM, because="switched off")

    async def carry_out(self, key: Key) -> None:
        """Switches a key at its provider. What fails is tried again, later and later.

        Raises `Superseded` when the key moved on meanwhile.
        """
        now = self._clock()
        off = key.state is KeyState.DISABLING
        try:
            await self._switch(key, off=off)
        except ProviderError as error:
            wait = wait_before(key.attempts, error)
            log.warning("%s %s failed (%s), again in %s", key.state, key.id, type(error).__name__, wait)
            await self._store.write(lambda tx: tx.move(key, due_at=now + wait, attempts=key.attempts + 1))
            return

        def write_down(tx: Transaction) -> None:
            if off:
                # It may have been asked for in the month before, of which nothing counts any more.
                spent = tx.spent(key.team, [key.id], now.date().replace(day=1), 100)
                until = None if key.paused_by else next_month(now) if spent else now
                tx.move(key, KeyState.DISABLED, due_at=until, attempts=0)
            else:
                tx.move(key, KeyState.LIVE, due_at=None, attempts=0)
            tx.record(
                team=key.team,
                at=now,
                actor=SYSTEM,
                act=Act.DISABLED if off else Act.ENABLED,
                subject=key.id,
                grant=key.grant_id,
                provider=key.provider,
            )
            self._redraw(tx, key, now)

        try:
            await self._store.write(write_down)
        except Superseded:
            if not off:
                await self._not_alive_again(key)
            raise
        self._bell.ring()

    async def _switch(self, key: Key, *, off: bool) -> None:
        provider = self._providers.get(key.provider)
        if provider is None or key.handle is None:
            raise ProviderError(f"provider {key.provider} is not set up")
        switch = provider.disable if off else provider.enable
        await switch(handle=key.handle, project=key.project)

    async def _not_alive_again(self, key: Key) -> None:
        """The key was revoked while it was switched on: where revoking is switching off for good, that undid it."""
        found = await self._store.read(lambda tx: tx.key(key.team, key.id))
        provider = self._providers.get(key.provider)
        if provider and key.handle and found and found.state in (KeyState.REVOKING, KeyState.REVOKED, KeyState.BY_HAND):
            await revoke(provider, handle=key.handle, project=key.project)

    def _redraw(self, tx: Transaction, key: Key, now: datetime) -> None:
        grant = tx.grant(key.team, key.grant_id)
        if grant is not None:
            tx.redraw(grant.team, grant.request_id, now)


def _own_pause(key: Key, actor: Actor) -> bool:
    """Whether it is off for no other reason than that this actor paused it."""
    return key.paused_by == actor.id and (key.due_at is None or key.state is KeyState.DISABLING)


def _decided(tx: Transaction, team: str, grant_id: str) -> tuple[Grant, AccessRequest, str | None]:
    """The grant, what was asked for, and who decided on it."""
    grant = tx.grant(team, grant_id)
    request = tx.request(team, grant.request_id) if grant else None
    if grant is None or request is None:
        raise NotThere("There is no such key here.")
    decision = tx.decision(team, grant.request_id)
    return grant, request, decision.approver if decision else None
