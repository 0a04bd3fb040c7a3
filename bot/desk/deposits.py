"""Deposits: keys that people make at a provider and bring, and those that only people can revoke there.

A depositor's browser seals the value to the desk. It rests sealed under the KEK until its holder's page acknowledged
that it showed the key, or the grant is over; then it is destroyed. Nobody is shown it but its holder, once.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.desk import waiting
from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import (
    DepositRejected,
    EnvelopeDamaged,
    KekFlaw,
    NotAllowed,
    NotThere,
    NotYours,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    Superseded,
    Unavailable,
)
from bot.desk.model import AccessRequest, Actor, Deposit, Grant, Key, Minted, NoticeKind, Secret, Session, Story
from bot.desk.offer import KeyStatus, ProviderKey
from bot.desk.ports import Clock, Directory, Provider, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.revoking import close
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import new_notice, stuck, tell
from bot.desk.vault import Place, Recipient, Vault

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 8, 4096  # characters of a value
RECOGNISE_PATIENCE = 20.0  # seconds
BATCH = 100  # deposits rewrapped in one transaction
GONE = (KeyState.REVOKED, KeyState.VOID)

_NOT_YOURS = "This key is not yours to bring, or nobody waits for it. Who may bring it was told so by Keydesk in Slack."


@dataclass(frozen=True, slots=True)
class Task:
    """What a depositor sees: the story, whose key it will be, and, while it is awaited, to whom the browser seals."""

    story: Story
    key: Key
    holder: str
    recipient: Recipient | None


class Deposits:
    """The way of a value from its depositor to the link that its holder opens."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        vault: Vault,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._vault = vault
        self._bell = bell
        self._clock = clock
        self._random = random

    # ---- bringing

    async def look(self, session: Session, key_id: str) -> Task:
        """What there is to bring. Changes nothing. Raises `NotYours`, `NotWelcome`, `Unavailable`."""
        await self._door.admit(session.actor, to="look", subject=key_id)
        key, request = await self._own(session.actor, key_id, to="look")
        story = await self._store.read(lambda tx: tell(tx, key.team, request.id, self._providers))
        awaited = key.state is KeyState.AWAITED
        recipient = await self._vault.recipient(_place(key), session.actor.id) if awaited else None
        holder = await self._directory.person(request.requester)
        return Task(story, key, holder.name if holder else request.requester, recipient)

    async def deposit(self, session: Session, key_id: str, sealed: bytes, kek: str) -> Story:
        """Takes a value that the depositor's browser sealed: the holder may pick it up. The first one counts.

        Raises `NotYours`, `DepositRejected` for a value that cannot be it, `Superseded` when it was brought before or is
        not wanted any more, `Unavailable`. Whatever it raises, nothing was taken, and it can be tried again.
        """
        actor = session.actor
        await self._door.admit(actor, to=Act.DEPOSITED, subject=key_id)
        key, request = await self._own(actor, key_id, to=Act.DEPOSITED)
        if key.state is not KeyState.AWAITED:
            raise Superseded("This key is not awaited any more.", found=key.state)
        place = _place(key)
        try:
            secret = await self._vault.received(sealed, kek=kek, place=place, depositor=actor.id)
        except EnvelopeDamaged:
            raise DepositRejected(
                "This page is older than the desk's own key. Reload it, and paste the key again."
            ) from None
        provider = self._providers.get(key.provider)
        if provider is None:
            raise Unavailable("This provider is not set up any more. Nothing was taken: tell your operator.")
        secret = _plausible(secret, provider, key)
        record = await self._recognised(provider, secret, key)
        at_rest, wrapped_by = await self._vault.wrapped(secret, place)
        fingerprint = (record and record.fingerprint) or _fingerprint(secret)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            if record and any(
                known.state not in GONE for known in tx.keys_metered(key.team, key.provider, _meter(record))
            ):
                raise DepositRejected("This very key is somebody's already. Make a new one: each holder has their own.")
            tx.move(
                key,
                KeyState.DEPOSITED,
                handle=record.handle if record else None,
                meter=_meter(record) if record else None,
                fingerprint=fingerprint,
            )
            tx.add(Deposit(key.team, key.id, actor.id, at_rest, wrapped_by, now))
            grant = _present(tx.grant(key.team, key.grant_id))
            if grant.state is not GrantState.ACTIVE:  # else it is to follow the key that the holder has
                grant = tx.move(grant, GrantState.READY)
            grant = tx.move(grant, lapses_at=now + self._approvers.policy.pick_up_within)
            waiting.for_pick_up(tx, grant, now)
            tx.let_go(key.team, request.id, [NoticeKind.DEPOSITED])
            tx.redraw(key.team, request.id, now)
            tx.add(
                new_notice(NoticeKind.DEPOSITED, request, request.requester, due_at=self._clock(), random=self._random)
            )
            tx.record(
                team=key.team,
                at=now,
                actor=actor.id,
                act=Act.DEPOSITED,
                subject=key.id,
                grant=key.grant_id,
                provider=key.provider,
                project=key.project,
                handle=record.handle if record else None,
                fingerprint=fingerprint,
                kek=wrapped_by,
            )
            return tell(tx, key.team, request.id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    async def _recognised(self, provider: Provider, secret: Secret, key: Key) -> ProviderKey | None:
        """The provider's own record of the key, where it has one. Raises `DepositRejected` for a key that is dead."""
        label = provider.label
        try:
            async with asyncio.timeout(RECOGNISE_PATIENCE):
                record = await provider.recognise(secret=secret, marker=key.marker, project=key.project)
        except (ProviderAuth, ProviderForbidden):
            raise Unavailable(
                f"{label} does not accept the desk's own credential, so it cannot be asked about this key. "
                "Nothing was taken: tell your operator."
            ) from None
        except (ProviderError, TimeoutError) as error:
            log.warning("a deposit for %s could not be looked up (%s)", key.id, type(error).__name__)
            raise Unavailable(
                f"{label} cannot be asked about this key now. Nothing was taken: try again in a minute."
            ) from None
        if record and record.status is not KeyStatus.ACTIVE:
            raise DepositRejected(f"{label} says that this key is {record.status}. Make a new one, and bring that.")
        if record and record.name != key.marker:
            # By what the provider shows of its value alone it could be somebody else's: the desk would end theirs.
            raise DepositRejected(
                f"{label} calls this key {record.name!r}. Name it {key.marker} there, and bring it again: "
                "so it is known for this one, and for nobody else's."
            )
        return record

    # ---- picking up

    async def taken_out(self, key: Key) -> Minted:
        """The value at rest, to be sealed behind a link at once. Raises `Superseded`, `Unavailable`."""
        deposit = await self._store.read(lambda tx: tx.deposit(key.team, key.id))
        if deposit is None:
            raise Superseded("This key was handed out, or taken back, before.", found=key.state)
        secret = await self._vault.unwrapped(deposit.sealed, kek=deposit.kek, place=_place(key))
        return Minted(handle=key.handle or "", fingerprint=key.fingerprint or "", secret=secret)

    # ---- revoking by hand

    async def revoked_by_hand(self, actor: Actor, key_id: str) -> Story:
        """A person says that they revoked a key where the desk cannot, or keeps failing to. Again: nothing more happens.

        Depositors, approvers and admins may; its holder, who could go on with it, never. Should it live after all, an
        inventory finds it and revokes it. Raises `NotAllowed`, `NotThere`, `Superseded`.
        """
        await self._door.admit(actor, to=Act.REVOKED, subject=key_id)
        _, request, approver = await self._about(actor.team, key_id)
        if not await self._may_confirm(actor, request, approver):
            refusal = NotAllowed("Only a depositor, an approver of this key or an admin can say that it is revoked.")
            raise await self._door.refuse(actor, refusal, to=Act.REVOKED, subject=key_id)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            found = _present(tx.key(actor.team, key_id))
            if found.state is KeyState.REVOKED:
                return tell(tx, actor.team, request.id, self._providers)
            if found.state is not KeyState.BY_HAND and not stuck(found):
                raise Superseded("Nobody was asked to revoke this key by hand.", found=found.state)
            tx.move(found, KeyState.REVOKED, due_at=None)
            tx.record(
                team=found.team,
                at=now,
                actor=actor.id,
                act=Act.REVOKED,
                subject=found.id,
                grant=found.grant_id,
                provider=found.provider,
                handle=found.handle or "",
            )
            close(tx, found, now)
            return tell(tx, actor.team, request.id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    async def _may_confirm(self, actor: Actor, request: AccessRequest, approver: str) -> bool:
        holder = Actor(request.team, request.requester)
        return actor != holder and (
            actor.id == approver
            or actor.id in await self._approvers.depositors(request, approver)
            or actor.id in await self._approvers.admins(actor.team)
            or await self._approvers.may_decide(actor, holder, request.draft)
        )

    # ---- what there is

    async def _own(self, actor: Actor, key_id: str, *, to: str) -> tuple[Key, AccessRequest]:
        """A key that this member may bring. One that is nobody's, and one that is others', answer alike."""
        refusal = NotYours(_NOT_YOURS)
        try:
            key, request, approver = await self._about(actor.team, key_id)
        except NotThere:
            raise refusal from None
        if actor.id not in await self._approvers.depositors(request, approver):
            raise await self._door.refuse(actor, refusal, to=to, subject=key_id)
        return key, request

    async def _about(self, team: str, key_id: str) -> tuple[Key, AccessRequest, str]:
        """A key, the request that it is for, and who approved that. Raises `NotThere`."""

        def look(tx: Transaction) -> tuple[Key, AccessRequest, str]:
            key = _present(tx.key(team, key_id))
            grant: Grant = _present(tx.grant(team, key.grant_id))
            request = _present(tx.request(team, grant.request_id))
            return key, request, _present(tx.decision(team, request.id)).approver

        return await self._store.read(look)


async def rewrap(store: Store, vault: Vault) -> int:
    """Wraps every deposit anew by the first KEK, while desks serve; how many. Again after a stop: it goes on.

    Raises `KekFlaw` when one is wrapped by a KEK that is not there.
    """
    first = await vault.first()
    wrapped, missing = 0, set[str]()
    while found := await _beside(store, {first.name} | missing):
        anew: list[tuple[Deposit, bytes]] = []
        for deposit, place in found:
            old = await vault.named(deposit.kek)
            if old is None:
                missing.add(deposit.kek)
            else:
                anew.append((deposit, vault.rewrapped(deposit.sealed, old=old, new=first, place=place)))
        wrapped += await _replace(store, anew, first.name)
    if missing:
        raise KekFlaw(
            f"{wrapped} deposits were wrapped anew, but some are wrapped by {', '.join(sorted(missing))}, which is not "
            "among the KEKs. Mend: add its line again, then run this once more"
        )
    return wrapped


async def _beside(store: Store, keks: Collection[str]) -> Sequence[tuple[Deposit, Place]]:
    def look(tx: Transaction) -> Sequence[tuple[Deposit, Place]]:
        deposits = tx.deposits_beside(keks, BATCH)
        return [(deposit, _place(_present(tx.key(deposit.team, deposit.key_id)))) for deposit in deposits]

    return await store.read(look)


async def _replace(store: Store, anew: Sequence[tuple[Deposit, bytes]], kek: str) -> int:
    def act(tx: Transaction) -> int:
        return sum(tx.rewrap(deposit, sealed=sealed, kek=kek) for deposit, sealed in anew)

    return await store.write(act)


T = TypeVar("T")


def _present(thing: T | None) -> T:
    if thing is None:
        raise NotThere("There is no such key here.")
    return thing


def _place(key: Key) -> Place:
    return Place(team=key.team, grant=key.grant_id, key=key.id)


def _meter(record: ProviderKey) -> str:
    return record.meter or record.handle


def _fingerprint(secret: Secret) -> str:
    return f"…{secret.expose()[-4:]}" if len(secret.expose()) >= 4 * SHORTEST else "…"


def _plausible(secret: Secret, provider: Provider, key: Key) -> Secret:
    """The value, without what a paste brings along. Raises `DepositRejected` for what cannot be a key."""
    secret = Secret(secret.expose().strip())  # never as a plain text in a variable: an error's report would show it
    prefix, length = provider.making(key.project).prefix, len(secret.expose())
    if not length:
        raise DepositRejected("There is nothing here yet. Paste the key.")
    if secret.expose() == key.marker:
        raise DepositRejected("This is the name that the key should have. Paste the key itself.")
    if length > LONGEST:
        raise DepositRejected(f"This is too long to be a key: at most {LONGEST:,} characters are taken.")
    if re.search(r"\s", secret.expose()):
        raise DepositRejected("There is a space or a line break inside. Paste the key alone, whole.")
    if not re.fullmatch(r"[!-~]+", secret.expose()):
        raise DepositRejected(
            "There are characters here that keys do not have. Was it copied while it was masked (•••)?"
        )
    if length < SHORTEST:
        raise DepositRejected("This is too short to be a key. Was it copied whole?")
    if not secret.expose().startswith(prefix):
        raise DepositRejected(f"A key of {provider.label} starts with {prefix}. This one does not.")
    return secret
