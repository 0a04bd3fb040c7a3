"""The inventory: once a day the keys that a provider has are compared with those that the desk knows of.

What bears the desk's marker and belongs to nobody is revoked. A key of a holder's that is not there any more ends its
grant. Keys that were made outside the desk are counted for the admins, and never touched.
"""

import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import ProviderTransient
from bot.desk.grants import Grants
from bot.desk.keys import not_delivered, put_away, retire
from bot.desk.model import SYSTEM, Cause, Grant, Key, Outsiders, Round
from bot.desk.offer import KeyStatus, ProviderKey
from bot.desk.ports import Clock, Provider, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.revoking import revoke
from bot.desk.rounds import Lease
from bot.desk.states import GrantState, KeyState

log = logging.getLogger(__name__)

MARKED = re.compile(r"keydesk-(k_[a-z2-7]{16})")  # the whole of it: what only resembles a marker is a person's name
PIECE = 500
LIVING = (
    KeyState.DEPOSITED,
    KeyState.SEALED,
    KeyState.LIVE,
    KeyState.RETIRING,
    KeyState.DISABLING,
    KeyState.DISABLED,
    KeyState.ENABLING,
)
"""The states in which the desk counts on a key's being there."""
OVER = (KeyState.REVOKED, KeyState.VOID)


@dataclass(slots=True)
class _Walk:
    """What one inventory has met so far; it holds ids, not keys."""

    began: datetime
    seen: set[str] = field(default_factory=set)
    outsiders: Counter[str] = field(default_factory=Counter)


class Inventory:
    """Compares, and puts right what is the desk's own."""

    def __init__(self, *, store: Store, providers: Providers, grants: Grants, bell: Bell, clock: Clock) -> None:
        self._store = store
        self._providers = providers
        self._grants = grants
        self._bell = bell
        self._clock = clock

    async def take(self, lease: Lease) -> Mapping[str, Any]:
        """One inventory of one provider. What vanished is believed only when the listing came to its end."""
        of = lease.round
        provider = self._providers[of.provider]
        teams = await self._store.teams()
        names = {project.id: project.name for project in await provider.projects()}
        walk = _Walk(self._clock())
        async for piece in _pieces(provider.keys()):
            strays = await lease.write(partial(self._compare, of, teams, walk, piece))
            for stray in strays:
                await self._revoke_stray(lease, provider, stray)
        vanished = 0
        async for keys in self._unseen(of, walk):
            for key in keys:
                vanished += await self._look_again(
                    lease, provider, key, believed=bool(walk.seen) or key.project in names
                )
        found = [
            Outsiders(of.team, of.provider, project, names.get(project, project), number, walk.began)
            for project, number in walk.outsiders.items()
        ]
        await lease.write(lambda tx: tx.put_outsiders(of.team, of.provider, found))
        log.info("inventory at %s: %d of the desk's, %d vanished", of.provider, len(walk.seen), vanished)
        return {}

    def _compare(
        self, of: Round, teams: Sequence[str], walk: _Walk, piece: Sequence[ProviderKey], tx: Transaction
    ) -> Sequence[ProviderKey]:
        """Those of these keys that bear the marker and belong to nobody."""
        marked = {one.handle: match[1] for one in piece if (match := MARKED.fullmatch(one.name))}
        ids = sorted({(team, key_id) for key_id in marked.values() for team in teams})
        ours = {key.id: key for key in tx.keys_of_teams(ids)}
        by_meter = tx.keys_by_meter(of.team, of.provider, {_meter(one) for one in piece if one.handle not in marked})
        strays = []
        for one in piece:
            key_id = marked.get(one.handle)
            if key_id is None:
                if known := by_meter.get(_meter(one)):
                    if one.status is not KeyStatus.GONE:
                        walk.seen.add(known)
                elif one.status is not KeyStatus.GONE:
                    walk.outsiders[one.project] += 1
                continue
            key = ours.get(key_id)
            if key is None or (key.state in OVER and key.provider == of.provider):
                if one.status is KeyStatus.ACTIVE:
                    strays.append(one)
                continue
            if one.status is not KeyStatus.GONE:
                walk.seen.add(key.id)
            if key.meter is None:
                tx.know_meter(key, _meter(one))
            _note_switched(key, one)
        return strays

    async def _revoke_stray(self, lease: Lease, provider: Provider, listed: ProviderKey) -> None:
        """Revokes it, unless it died since it was listed."""
        of = lease.round
        now = await provider.get(handle=listed.handle, project=listed.project)
        if now is None or now.status is not KeyStatus.ACTIVE:
            return
        log.warning("%s has a key %s that bears the desk's marker and is nobody's", provider.label, listed.name)
        await revoke(provider, handle=listed.handle, project=listed.project)

        def write_down(tx: Transaction) -> None:
            tx.record(
                team=of.team,
                at=self._clock(),
                actor=SYSTEM,
                act=Act.STRAY_REVOKED,
                subject=listed.name.removeprefix("keydesk-"),
                provider=of.provider,
                project=listed.project,
                handle=listed.handle,
            )

        await lease.write(write_down)

    async def _unseen(self, of: Round, walk: _Walk) -> AsyncIterator[Sequence[Key]]:
        """The desk's keys that are older than the listing and were not in it, piece by piece."""
        after = ""
        while True:
            here = after
            keys = await self._store.read(lambda tx, here=here: tx.keys_at(of.team, of.provider, LIVING, here, PIECE))  # type: ignore[misc]  # bound for each
            if not keys:
                return
            after = keys[-1].id
            yield [key for key in keys if key.id not in walk.seen and key.intended_at < walk.began]

    async def _look_again(self, lease: Lease, provider: Provider, key: Key, *, believed: bool) -> bool:
        """Ends the grant of a key that is really not there any more. Whether it was not."""
        if key.handle is None:
            return False
        found = await provider.get(handle=key.handle, project=key.project)
        if found is not None and found.status is not KeyStatus.GONE:
            return False
        if not believed:
            # A credential of another organisation sees neither the keys nor the projects: nothing vanished.
            raise ProviderTransient(
                f"{provider.label} shows none of the desk's keys and none of their projects. Mend: a credential of the "
                "organisation in which the keys were made."
            )

        def end(tx: Transaction) -> bool:
            now_key = tx.key(key.team, key.id)
            grant = tx.grant(key.team, key.grant_id)
            if now_key is None or now_key.state not in LIVING or grant is None:
                return False
            if grant.key_id != key.id:
                return self._another_vanished(tx, grant, now_key)
            if grant.state in (GrantState.ENDING, GrantState.ENDED):
                return False
            self._grants.end(tx, grant, self._clock(), by=SYSTEM, because=Cause.VANISHED, recorded_as=Act.VANISHED)
            return True

        ended = await lease.write(end)
        self._bell.ring()
        return ended

    def _another_vanished(self, tx: Transaction, grant: Grant, key: Key) -> bool:
        """Beside the key that the holder has: an old one is gone before its grace ended, or the next one is not coming."""
        now = self._clock()
        if key.state is KeyState.RETIRING:
            retire(tx, key, now, by=SYSTEM, because="vanished")
        elif key.id == grant.next_key_id:
            put_away(tx, grant, key, now, because=Cause.VANISHED)
            not_delivered(tx, key)
        else:
            return False
        tx.redraw(grant.team, grant.request_id, now)
        return True


async def _pieces(keys: AsyncIterator[ProviderKey]) -> AsyncIterator[Sequence[ProviderKey]]:
    piece: list[ProviderKey] = []
    async for one in keys:
        piece.append(one)
        if len(piece) == PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _meter(listed: ProviderKey) -> str:
    return listed.meter or listed.handle


def _note_switched(key: Key, listed: ProviderKey) -> None:
    """A key that somebody switched at the provider is theirs to switch: the desk only says what it saw."""
    off = listed.status is KeyStatus.DISABLED
    if (off and key.state is KeyState.LIVE) or (not off and key.state is KeyState.DISABLED):
        log.warning("key %s is %s at %s, and %s here", key.id, listed.status, key.provider, key.state)
