"""Rotation: a grant goes on with another key.

The holder picks the new key up through a link of its own, while the one that they have works on and the grant stays
active. Once the new one is shown, the old one retires: it is revoked as soon as usage shows that the new one is used
and the old one silent, when the holder says so, or at the latest when its grace ends. In an emergency the old one is
revoked first.
"""

from datetime import datetime, timedelta

from bot.desk import waiting
from bot.desk.approvers import Approvers
from bot.desk.audit import Act, stamp
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import AlreadyDelivered, NotAllowed, Superseded, present
from bot.desk.keys import (
    begin_delivery,
    budget_used_up,
    deliver_next,
    may_follow,
    new_key,
    off_until_rotated,
    put_away,
    retire,
    still_theirs,
    within_budget,
)
from bot.desk.lessons import heed
from bot.desk.limits import next_month
from bot.desk.model import SYSTEM, Actor, Cause, Grant, Key, NoticeKind, Round, Story, TimerKind
from bot.desk.policy import Policy
from bot.desk.ports import Clock, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.revoking import living
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import came_of, new_notice, tell

LEAST_LEFT = timedelta(minutes=15)  # of a grant's time, for another key to be worth its while: as long as a link lives

RETIRING_AT_MOST = 1000  # old keys of one provider at a time, looked at in one transaction
KNOWN_SILENCE = timedelta(minutes=15)  # of an old key, after all that may not be reported yet
HOUR = timedelta(hours=1)


class Rotation:
    """Has one key follow another."""

    def __init__(
        self,
        *,
        store: Store,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        policy: Policy,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._policy = policy
        self._bell = bell
        self._clock = clock
        self._random = random

    # ---- a new key

    async def rotate(self, actor: Actor, grant_id: str, *, delivery: str, acknowledged: bool = False) -> Key:
        """Stores the intention to have another key follow; `Grants.issue` carries it out. A retried `delivery`: nothing.

        A key that is off as its rotation is overdue is ended by it. Where a person brings the keys, its depositors are
        asked for one instead: the answer is then `AWAITED`, and the holder picks it up when it is here. The old key is
        untouched until the new one is shown. Raises `Superseded` when there is no key to follow, one is under way, too
        many old ones still work, or a new one would bring another budget, `LessonDue` as a pick-up does, `NotYours`,
        `AlreadyDelivered`, `NotThere`.
        """
        grant = await self._door.admit_holder(
            actor,
            grant_id,
            to=Act.ROTATION_STARTED,
            otherwise="This key is somebody else's. Only who holds a key can pick up the one that follows it.",
        )
        depositors = await self._depositors(grant)
        now = self._clock()

        def act(tx: Transaction) -> Key:
            if not tx.first_time(actor.team, delivery, now):
                raise AlreadyDelivered("This click was taken already.")
            grant = present(tx.grant(actor.team, grant_id))
            if grant.state is not GrantState.ACTIVE:
                raise Superseded(_WHY_NOT_ROTATE[grant.state], found=grant.state)
            still_theirs(grant)
            off = _off_until_rotated(tx, grant)
            if not off:
                may_follow(tx, grant)
            within_budget(tx, grant, now, self._providers)
            if grant.expires_at is not None and grant.expires_at < now + LEAST_LEFT:
                raise Superseded(
                    "This key's time is almost over. `/apikey request` asks for a new one.", found="ending"
                )
            if off:
                key = self._in_place_of(tx, grant, depositors, now, actor, acknowledged=acknowledged)
            elif depositors is not None and grant.next_key_id is None:
                key = self._ask_for_one(tx, grant, depositors, now)
                tx.move(grant, next_key_id=key.id, lapses_at=now + self._policy.bring_within)
            else:
                heed(tx, actor, now, acknowledged=acknowledged)
                key = deliver_next(tx, grant, now, self._random)
            return begin_delivery(
                tx, grant, key, now, by=actor.id, recorded_as=Act.ROTATION_STARTED, follows=grant.key_id
            )

        key = await self._store.write(act)
        self._bell.ring()
        return key

    def _in_place_of(
        self,
        tx: Transaction,
        grant: Grant,
        depositors: frozenset[str] | None,
        now: datetime,
        actor: Actor,
        *,
        acknowledged: bool,
    ) -> Key:
        """The key in place of one that is off, as its rotation is overdue: with nothing to overlap, the old one ends first."""
        if depositors is None:
            heed(tx, actor, now, acknowledged=acknowledged)
        replaced = self._replace(tx, grant, now, depositors)
        if replaced.state is GrantState.AWAITED:
            return present(tx.key(replaced.team, replaced.key_id or ""))
        return deliver_next(tx, replaced, now, self._random)

    async def _depositors(self, grant: Grant) -> frozenset[str] | None:
        """Who is to bring the key that follows; None where the provider mints it."""
        if self._providers.mints(grant.draft.scope.provider):
            return None
        asked, decision = await self._store.read(lambda tx: came_of(tx, grant))
        return await self._approvers.depositors(present(asked), present(decision).approver)

    def _ask_for_one(self, tx: Transaction, grant: Grant, depositors: frozenset[str], now: datetime) -> Key:
        """A key that somebody is to bring, to take the place of the one that the holder has, or had."""
        key = new_key(grant, KeyState.AWAITED, now, self._random)
        tx.add(key)
        waiting.for_deposit(tx, key)
        before = (NoticeKind.DEPOSIT, NoticeKind.NOT_BROUGHT, NoticeKind.STRANDED, NoticeKind.NOBODY)
        tx.let_go(grant.team, grant.request_id, before)  # what was said of the key before this one
        for depositor in sorted(depositors):
            self._notify(tx, NoticeKind.DEPOSIT, grant, depositor)
        return key

    def follow(self, tx: Transaction, grant: Grant, key: Key, now: datetime) -> Grant:
        """The key was shown to its holder: it takes the place of the one before, if there was one, which retires."""
        if grant.state is not GrantState.ACTIVE:
            return self._rotates(tx, waiting.held(tx, grant, now), now)
        old = present(tx.key(grant.team, grant.key_id or ""))
        ends = now + self._policy.rotation(grant.draft.scope).grace
        if grant.expires_at is not None:
            ends = min(ends, grant.expires_at)
        tx.move(old, KeyState.RETIRING, due_at=ends, attempts=0)
        held = tx.move(grant, key_id=key.id, next_key_id=None, held_since=now, lapses_at=None)
        rotated = self._rotates(tx, held, now)
        tx.let_go(grant.team, grant.request_id, [NoticeKind.ROTATED])
        self._notify(tx, NoticeKind.ROTATED, grant, grant.holder)
        tx.record(
            team=grant.team,
            at=now,
            actor=grant.holder,
            act=Act.ROTATED,
            subject=grant.id,
            key=key.id,
            follows=old.id,
            grace_ends=stamp(ends),
        )
        return rotated

    def _rotates(self, tx: Transaction, grant: Grant, now: datetime) -> Grant:
        """When the key that its holder has from now on is to be rotated; what was said of the one before is over."""
        at = now + self._policy.rotation(grant.draft.scope).interval
        due = at if grant.expires_at is None or at < grant.expires_at else None
        tx.drop_timer(grant.team, TimerKind.ROTATE_LATER, grant.id)
        tx.drop_unposted(grant.team, grant.request_id, [NoticeKind.ROTATION_DUE, NoticeKind.ROTATION_OVERDUE])
        if due is None:
            tx.drop_timer(grant.team, TimerKind.ROTATION, grant.id)
        else:
            tx.set_timer(grant.team, TimerKind.ROTATION, grant.id, now)
        return tx.move(grant, rotates_at=due, overdue_since=None)

    def lapse(self, tx: Transaction, grant: Grant, now: datetime, *, because: Cause, told_at: datetime) -> None:
        """Nobody brought the key that was to follow, or its holder did not fetch it: they go on with the one they have."""
        key = tx.key(grant.team, grant.next_key_id) if grant.next_key_id else None
        if key is None:
            return
        put_away(tx, grant, key, now, because=because)
        tx.move(grant, next_key_id=None, lapses_at=None)
        tx.let_go(grant.team, grant.request_id, [NoticeKind.NOT_ROTATED])
        tx.redraw(grant.team, grant.request_id, now)
        tx.add(new_notice(NoticeKind.NOT_ROTATED, grant, grant.holder, due_at=told_at, random=self._random, waits=True))
        tx.record(
            team=grant.team,
            at=now,
            actor=SYSTEM,
            act=Act.ROTATION_LAPSED,
            subject=grant.id,
            key=key.id,
            because=because,
        )

    # ---- the old key

    async def switched(self, actor: Actor, grant_id: str) -> Story:
        """The holder says that nothing uses the old keys any more: they are revoked now. Again: nothing more happens.

        Raises `NotYours`, `NotThere`.
        """
        grant = await self._door.admit_holder(
            actor,
            grant_id,
            to=Act.RETIRED,
            otherwise="Only who holds a key can say that they switched to the new one.",
        )
        now = self._clock()

        def act(tx: Transaction) -> Story:
            for key in living(tx, grant):
                if key.state is KeyState.RETIRING:
                    retire(tx, key, now, by=actor.id, because="switched")
            tx.redraw(grant.team, grant.request_id, now)
            return tell(tx, grant.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    def look_for_switches(self, of: Round, lag: timedelta, tx: Transaction) -> bool:
        """After a round read what keys used: an old key is revoked where the new one is used and the old one silent.

        It is silent when the new one was used in an hour after the last in which the old one can have been, and that hour is
        over for longer than the provider's reports are late. Whether there was anything to tell.
        """
        now = self._clock()
        old_keys = tx.retiring_keys(of.team, of.provider, RETIRING_AT_MOST)
        for old in old_keys:
            grant = present(tx.grant(old.team, old.grant_id))
            new = tx.key(grant.team, grant.key_id or "")
            used = tx.last_used(of.team, [old.id, *([new.id] if new else [])])
            new_used, old_used = used.get(new.id) if new else None, used.get(old.id)
            known = old.meter is not None  # else nothing tells that it is silent: its grace decides
            if known and new_used and _silent(old_used, before=new_used, held_since=grant.held_since, now=now, lag=lag):
                retire(tx, old, now, by=SYSTEM, because="silent")
            tx.redraw(grant.team, grant.request_id, now)  # the card tells when both were used last
        return bool(old_keys)

    def end_grace(self, tx: Transaction, key: Key, now: datetime) -> None:
        """The grace of an old key is over. Raises `Superseded` when it moved on."""
        retire(tx, key, now, by=SYSTEM, because="grace")
        grant = present(tx.grant(key.team, key.grant_id))
        tx.redraw(grant.team, grant.request_id, now)

    # ---- at once

    async def rotate_at_once(self, actor: Actor, grant_id: str) -> Story:
        """Revokes every key of an active grant first; then its holder picks up another. Again: nothing more happens.

        For its holder, and for whoever could revoke it. Raises `NotAllowed`, `NotThere`, `Superseded` where there is no key
        in anybody's hands.
        """
        await self._door.admit(actor, to=Act.ROTATED_AT_ONCE, subject=grant_id)
        grant = await self._grant(actor.team, grant_id)
        asked, decision = await self._store.read(lambda tx: came_of(tx, grant))
        if not await self._approvers.may_take_back(actor, present(asked), decision):
            refusal = NotAllowed("Only its holder or an approver can have a key rotated at once.")
            raise await self._door.refuse(actor, refusal, to=Act.ROTATED_AT_ONCE, subject=grant_id)
        depositors = await self._depositors(grant)
        now = self._clock()

        def act(tx: Transaction) -> Story:
            grant = present(tx.grant(actor.team, grant_id))
            if grant.state in (GrantState.READY, GrantState.AWAITED) and grant.held_since is not None:
                return tell(tx, actor.team, grant.request_id, self._providers)
            if grant.state is not GrantState.ACTIVE:
                raise Superseded(_WHY_NOT_ROTATE[grant.state], found=grant.state)
            key = tx.key(grant.team, grant.key_id or "")
            if key is None or key.state is not KeyState.LIVE:
                raise Superseded(
                    "This key is switched off, so no other can take its place. `/apikey revoke` ends it for good.",
                    found=key.state if key else "gone",
                )
            self.replace(tx, grant, now, by=actor.id, depositors=depositors)
            return tell(tx, actor.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    def replace(
        self, tx: Transaction, grant: Grant, now: datetime, *, by: str, depositors: frozenset[str] | None
    ) -> None:
        """Ends all keys of an active grant, and has its holder pick up another: one that is brought already, or a new one.

        They are told.
        """
        self._replace(tx, grant, now, depositors)
        self._notify(tx, NoticeKind.ROTATED_AT_ONCE, grant, grant.holder)
        tx.record(team=grant.team, at=now, actor=by, act=Act.ROTATED_AT_ONCE, subject=grant.id, key=grant.key_id)

    def _replace(self, tx: Transaction, grant: Grant, now: datetime, depositors: frozenset[str] | None) -> Grant:
        coming = tx.key(grant.team, grant.next_key_id) if grant.next_key_id else None
        if coming is not None and coming.state not in (KeyState.AWAITED, KeyState.DEPOSITED):
            coming = None
        for key in living(tx, grant):
            if coming is None or key.id != coming.id:
                put_away(tx, grant, key, now, because=Cause.ROTATED)
        if coming is None and depositors is not None:
            coming = self._ask_for_one(tx, grant, depositors, now)
        awaited = coming is not None and coming.state is KeyState.AWAITED
        # A pick-up that is refused until the month is over does not lapse before.
        opens = next_month(now) if budget_used_up(tx, grant, now, self._providers) else now
        for kind in (TimerKind.ROTATION, TimerKind.ROTATE_LATER):
            tx.drop_timer(grant.team, kind, grant.id)
        replaced = tx.move(
            grant,
            GrantState.AWAITED if awaited else GrantState.READY,
            key_id=coming.id if coming else grant.key_id,
            next_key_id=None,
            lapses_at=now + self._policy.bring_within if awaited else opens + self._policy.pick_up_within,
            rotates_at=None,
            overdue_since=None,
        )
        if not awaited:
            waiting.for_pick_up(tx, replaced, opens)
        tx.redraw(grant.team, grant.request_id, now)
        return replaced

    # ----

    def _notify(self, tx: Transaction, kind: NoticeKind, grant: Grant, recipient: str) -> None:
        tx.add(new_notice(kind, grant, recipient, due_at=self._clock(), random=self._random))

    async def _grant(self, team: str, grant_id: str) -> Grant:
        return present(await self._store.read(lambda tx: tx.grant(team, grant_id)))


def _silent(
    last: datetime | None, *, before: datetime, held_since: datetime | None, now: datetime, lag: timedelta
) -> bool:
    """Whether a key that can have been used last in the hour `last` is silent, where the other was used in the hour `before`."""
    if last is None:
        return held_since is None or now - held_since >= lag + KNOWN_SILENCE
    return last < before and now - (last + HOUR) >= lag + KNOWN_SILENCE


def _off_until_rotated(tx: Transaction, grant: Grant) -> bool:
    """Whether the key is off for no other reason than that its rotation is overdue."""
    key = tx.key(grant.team, grant.key_id) if grant.key_id else None
    return key is not None and off_until_rotated(key)


_WHY_NOT_ROTATE = {
    GrantState.AWAITED: "Somebody still has to bring this key. You hear here when it can be picked up.",
    GrantState.READY: "Its key is still to be picked up: there is nothing to rotate.",
    GrantState.ISSUING: "Your key is being made right now. Its link follows in a moment.",
    GrantState.DELIVERING: "The link to this key was not opened yet: there is nothing to rotate. Lost it? Get a new one.",
    GrantState.INVITING: "There is no key to rotate: you are being invited to the provider's own organisation.",
    GrantState.INVITED: "There is no key to rotate: you are invited to the provider's own organisation.",
    GrantState.ENDING: "This grant is over, its key is being revoked. `/apikey request` asks for a new one.",
    GrantState.ENDED: "This grant is over. `/apikey request` asks for a new one.",
}
