"""Revoking at the provider: carried out until the provider shows that the key is gone, and written down only then.

What keeps failing becomes somebody's task, while the desk goes on trying.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import NotThere, ProviderError, ProviderTransient, Superseded, Unavailable
from bot.desk.model import NEW_PROJECT, SYSTEM, AccessRequest, Decision, Grant, Key, NoticeKind
from bot.desk.offer import Ability, KeyStatus
from bot.desk.ports import Clock, Provider, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import STUCK_AFTER, wait_before
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import came_of, new_notice

log = logging.getLogger(__name__)

QUARANTINE = timedelta(minutes=10)  # how long a mint of unknown outcome may still land: longer than any time-out
LOOK_AGAIN = timedelta(seconds=30)


async def revoke(provider: Provider, *, handle: str, project: str) -> None:
    """Revokes a key, and reads back that it is gone: what a provider says that it did is not yet what it did.

    A key that is only switched off could be switched on again, and does not count as gone. A provider that cannot
    show its keys is believed. Raises `ProviderError`.
    """
    await provider.revoke(handle=handle, project=project)
    if Ability.LIST not in provider.abilities:
        return
    left = await provider.get(handle=handle, project=project)
    if left is not None and left.status is not KeyStatus.GONE:
        raise ProviderTransient(f"{provider.label} said that the key is revoked, and still shows it")


class Revoking:
    """Takes keys that are to be revoked to their end."""

    def __init__(
        self,
        *,
        store: Store,
        approvers: Approvers,
        providers: Providers,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._approvers = approvers
        self._providers = providers
        self._random = random
        self._bell = bell
        self._clock = clock

    async def carry_out(self, key: Key) -> None:
        """Revokes a key at its provider. What fails is tried again, later and later, and told to people when it stays so.

        A key whose mint has an unknown outcome is looked for by its marker until its quarantine is over, and revoked
        each time it is found: one that was found may have a twin that lands later. Where only a person can revoke
        it, people are asked to. Raises `Superseded` when the key moved on meanwhile.
        """
        now = self._clock()
        try:
            handles = await self._handles(key)
            known = " ".join(handles or ())
            if known and known != key.handle:
                # Written down before it is revoked: after a crash it must not pass for one that never was.
                key = await self._store.write(partial(self._found, key, known, now))
            for handle in handles or ():
                await revoke(self._provider(key), handle=handle, project=key.project)
            ask = await self._whom_to_ask(key) if handles is None else None
        except (ProviderError, Unavailable) as error:
            wait = wait_before(key.attempts, error)
            log.warning("revoking %s failed (%s), again in %s", key.id, type(error).__name__, wait)
            people = await self._whom_to_tell(key) if key.attempts + 1 >= STUCK_AFTER else ()
            why = type(error).__name__

            def put_off(tx: Transaction) -> None:
                self._as_it_was(tx, key)
                failing = tx.move(key, due_at=now + wait, attempts=key.attempts + 1)
                if people and tx.first_time(key.team, f"stuck {key.id}", now):
                    self._make_it_a_task(tx, failing, people, now, because=why)

            await self._store.write(put_off)
            self._bell.ring()
            return

        def write_down(tx: Transaction) -> None:
            if ask is not None:
                self._leave_to_people(tx, key, ask, now)
            else:
                self._write_down(tx, key, now)

        await self._store.write(write_down)
        self._bell.ring()

    def _provider(self, key: Key) -> Provider:
        provider = self._providers.get(key.provider)
        if provider is None:
            raise ProviderError(f"provider {key.provider} is not set up")
        return provider

    async def _handles(self, key: Key) -> Sequence[str] | None:
        """What there is to revoke: nothing where nothing bears the marker, None where only a person can revoke it."""
        # A value that somebody brought, and of which the provider could not tell which key it is.
        unknown = key.mint_ended and not key.handle
        if unknown and self._providers.get(key.provider) is None:
            return None
        provider = self._provider(key)
        if Ability.REVOKE not in provider.abilities or (unknown and Ability.LIST not in provider.abilities):
            return None
        if key.mint_ended and key.handle:
            return key.handle.split()
        if key.project.startswith(NEW_PROJECT):
            return []  # its project's id is written down before any key is made in it
        handles = await provider.find(marker=key.marker, project=key.project)
        return None if unknown and not handles else handles

    def _found(self, key: Key, known: str, now: datetime, tx: Transaction) -> Key:
        self._as_it_was(tx, key)
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=Act.FOUND,
            subject=key.id,
            grant=key.grant_id,
            provider=key.provider,
            handle=known,
        )
        return tx.move(key, handle=known)

    async def _whom_to_ask(self, key: Key) -> Sequence[str]:
        """Who is to revoke it by hand: its depositors, or whoever else could be; else the channel of approvals."""

        def look(tx: Transaction) -> tuple[AccessRequest | None, Decision | None]:
            grant = tx.grant(key.team, key.grant_id)
            return came_of(tx, grant) if grant else (None, None)

        request, decision = await self._store.read(look)
        if request is None or decision is None:
            raise NotThere("There is no such key here.")
        channel = self._approvers.policy.file.approval_channel
        people = sorted(await self._approvers.depositors(request, decision.approver))
        return people or ([channel] if channel else [])

    async def _whom_to_tell(self, key: Key) -> Sequence[str]:
        """Who can see to a key that fails to be revoked: who could be asked to by hand, and the admins.

        Nobody, where people cannot be looked up now: the next failure asks again.
        """
        try:
            people = frozenset(await self._whom_to_ask(key)) | await self._approvers.admins(key.team)
        except Unavailable as error:
            log.warning("nobody could be looked up to see to %s: %s", key.id, error)
            return ()
        grant = await self._store.read(lambda tx: tx.grant(key.team, key.grant_id))
        if found := sorted(people - {grant.holder if grant else ""}):
            return found
        log.error("nobody is left who could see to it that %s is revoked at %s", key.marker, key.provider)
        return ()

    def _make_it_a_task(self, tx: Transaction, key: Key, people: Sequence[str], now: datetime, *, because: str) -> None:
        grant = tx.grant(key.team, key.grant_id)
        if grant is None:
            raise NotThere("There is no such key here.")
        tx.redraw(grant.team, grant.request_id, now)
        for who in people:
            tx.add(new_notice(NoticeKind.STUCK, grant, who, due_at=self._clock(), random=self._random))
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=Act.STUCK,
            subject=key.id,
            grant=key.grant_id,
            provider=key.provider,
            handle=key.handle or "",
            attempts=key.attempts,
            because=because,
            asked=" ".join(people),
        )

    def _leave_to_people(self, tx: Transaction, key: Key, people: Sequence[str], now: datetime) -> None:
        self._as_it_was(tx, key)
        if not people:
            log.error("nobody is left who could be asked to revoke %s at %s: see to it", key.marker, key.provider)
        tx.move(key, KeyState.BY_HAND, due_at=None, attempts=0)
        grant = tx.grant(key.team, key.grant_id)
        if grant is None:
            raise NotThere("There is no such key here.")
        tx.redraw(grant.team, grant.request_id, now)
        # A card that stands open tells of all such keys.
        more = any(one.state is KeyState.BY_HAND and one.id != key.id for one in tx.keys_of(key.team, grant.id))
        notices = tx.notices(key.team, grant.request_id) if more else ()
        told = {one.recipient for one in notices if one.kind is NoticeKind.BY_HAND}
        for who in (one for one in people if one not in told):
            tx.add(new_notice(NoticeKind.BY_HAND, grant, who, due_at=self._clock(), random=self._random))
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=Act.BY_HAND,
            subject=key.id,
            grant=key.grant_id,
            provider=key.provider,
            handle=key.handle or "",
            asked=" ".join(people),
        )

    def _write_down(self, tx: Transaction, key: Key, now: datetime) -> None:
        self._as_it_was(tx, key)
        if not key.mint_ended and now < key.intended_at + QUARANTINE:
            tx.move(key, due_at=now + LOOK_AGAIN, attempts=0)  # it was looked for: nothing failed
            return
        outcome, act = (KeyState.REVOKED, Act.REVOKED) if key.handle else (KeyState.VOID, Act.VOIDED)
        tx.move(key, outcome, due_at=None)
        tx.record(
            team=key.team,
            at=now,
            actor=SYSTEM,
            act=act,
            subject=key.id,
            grant=key.grant_id,
            provider=key.provider,
            handle=key.handle or "",
        )
        close(tx, key, now)

    def _as_it_was(self, tx: Transaction, key: Key) -> None:
        """The answer of a late mint may have come while the provider was asked: then there is a handle to revoke."""
        found = tx.key(key.team, key.id)
        if found is None or (found.state, found.mint_ended, found.handle) != (key.state, key.mint_ended, key.handle):
            raise Superseded("The key moved on.", found=found.state if found else "gone")


def close(tx: Transaction, key: Key, now: datetime) -> None:
    """A key is gone: with the last of its keys a grant that is ending has ended."""
    grant = tx.grant(key.team, key.grant_id)
    if grant is None:
        raise NotThere("There is no such key here.")
    if grant.state is GrantState.ENDING and not living(tx, grant):
        tx.move(grant, GrantState.ENDED)
        tx.record(team=grant.team, at=now, actor=SYSTEM, act=Act.ENDED, subject=grant.id)
    tx.redraw(grant.team, grant.request_id, now)


def living(tx: Transaction, grant: Grant) -> list[Key]:
    """The grant's keys of which the provider has not yet said that they are gone."""
    return [key for key in tx.keys_of(grant.team, grant.id) if key.state not in (KeyState.REVOKED, KeyState.VOID)]
