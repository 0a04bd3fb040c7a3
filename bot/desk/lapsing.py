"""What waits for people lapses: a request that nobody decided, a key that nobody brought, or that its holder does not fetch.

Before that, whoever is waited for is reminded, in their own working hours.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.grants import Grants
from bot.desk.hours import after_working, next_working
from bot.desk.model import SYSTEM, AccessRequest, Actor, Cause, Decision, Grant, Key, Notice, NoticeKind, Timer
from bot.desk.policy import Refuse
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.requests import redraw_extended
from bot.desk.rotation import Rotation
from bot.desk.states import GrantState, KeyState, RequestState
from bot.desk.stories import came_of, new_notice
from bot.desk.timers import Act as Done
from bot.desk.waiting import REMIND_APPROVERS_AFTER, REMIND_DEPOSITORS_AFTER
from bot.desk.zones import tz_of

A_DAY_MORE = timedelta(days=1)  # for a holder who is about to pick up when it would lapse

Dues = Mapping[str, datetime]
"""When each of these members is to be reminded."""


class Lapsing:
    """What the timers of requests, of pick-ups and of deposits do."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        approvers: Approvers,
        grants: Grants,
        rotation: Rotation,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._approvers = approvers
        self._grants = grants
        self._rotation = rotation
        self._clock = clock
        self._random = random

    # ---- a decision

    async def decision(self, timer: Timer) -> Done:
        """Nobody decided: each of today's approvers is reminded once; then the request lapses."""
        request = await self._store.read(lambda tx: tx.request(timer.team, timer.about))
        if request is None or request.state is not RequestState.PENDING:
            return over
        requester = Actor(request.team, request.requester)
        verdict = await self._approvers.verdict(requester.id, request.draft)
        deciders = () if isinstance(verdict, Refuse) else await self._approvers.people(requester, verdict)
        now = self._clock()
        dues = await self._dues(deciders, request.created_at, REMIND_APPROVERS_AFTER, now)
        told_at = next_working(now, await self._tz(requester.id))

        def act(tx: Transaction) -> Timer | None:
            found = tx.request(timer.team, timer.about)
            if found is None or found.state is not RequestState.PENDING or found.lapses_at is None:
                return None
            if now >= found.lapses_at:
                self._lapse(tx, found, now, told_at)
                return None
            self._remind(tx, found, dues, now, kind=NoticeKind.REMINDER, once=f"reminder {found.id}")
            return replace(timer, due_at=_next(dues, now, found.lapses_at))

        return act

    def _lapse(self, tx: Transaction, request: AccessRequest, now: datetime, told_at: datetime) -> None:
        tx.move(request, RequestState.LAPSED)
        tx.redraw(request.team, request.id, now)
        redraw_extended(tx, request, now)
        tx.add(self._notice(NoticeKind.OUTCOME, request, request.requester, due_at=told_at))
        tx.record(team=request.team, at=now, actor=SYSTEM, act=Act.LAPSED, subject=request.id)

    # ---- a pick-up

    async def pick_up(self, timer: Timer) -> Done:
        """The holder did not pick up: they are reminded once; then the grant lapses. Who is about to gets a day more.

        Where a key that was brought waits to follow the one that they have, what lapses is that rotation alone.
        """
        grant = await self._store.read(lambda tx: tx.grant(timer.team, timer.about))
        if grant is None:
            return over
        now = self._clock()
        told_at = next_working(now, await self._tz(grant.holder))

        def act(tx: Transaction) -> Timer | None:
            grant = tx.grant(timer.team, timer.about)
            if grant is None or grant.lapses_at is None:
                return None
            request = tx.request(grant.team, grant.request_id)
            key = tx.key(grant.team, grant.under_way) if grant.under_way else None
            if request is None or not _to_pick_up(grant, key):
                return None
            rests = grant.state is GrantState.READY or (key is not None and key.state is KeyState.DEPOSITED)
            if now >= grant.lapses_at:
                if not rests:
                    tx.move(grant, lapses_at=now + A_DAY_MORE)
                    tx.redraw(grant.team, grant.request_id, now)
                    return replace(timer, due_at=now + A_DAY_MORE)
                if grant.state is GrantState.ACTIVE:
                    self._rotation.lapse(tx, grant, now, because=Cause.NOT_PICKED_UP, told_at=told_at)
                    return None
                self._end(tx, grant, request, now, because=Cause.NOT_PICKED_UP, told_at=told_at)
                return None
            if timer.step == 0:
                if told_at > now:
                    return replace(timer, due_at=min(told_at, grant.lapses_at))
                if rests:
                    tx.let_go(grant.team, grant.request_id, [NoticeKind.PICK_UP])
                    tx.add(self._notice(NoticeKind.PICK_UP, request, grant.holder, due_at=self._clock()))
            return replace(timer, step=1, due_at=grant.lapses_at)

        return act

    # ---- a deposit

    async def deposit(self, timer: Timer) -> Done:
        """Nobody brought the key: each of today's depositors is reminded once; then the grant lapses.

        Where it was to follow a key that its holder has, what lapses is that rotation alone.
        """

        def look(tx: Transaction) -> tuple[Key, AccessRequest, Decision] | None:
            key = tx.key(timer.team, timer.about)
            grant = tx.grant(key.team, key.grant_id) if key else None
            request, decision = came_of(tx, grant) if grant else (None, None)
            return (key, request, decision) if key and request and decision else None

        found = await self._store.read(look)
        if found is None or found[0].state is not KeyState.AWAITED:
            return over
        key, request, decision = found
        now = self._clock()
        depositors = await self._approvers.depositors(request, decision.approver)
        dues = await self._dues(depositors, key.intended_at, REMIND_DEPOSITORS_AFTER, now)
        told_at = next_working(now, await self._tz(request.requester))

        def act(tx: Transaction) -> Timer | None:
            key = tx.key(timer.team, timer.about)
            grant = tx.grant(key.team, key.grant_id) if key else None
            if key is None or key.state is not KeyState.AWAITED or grant is None or grant.lapses_at is None:
                return None
            if now >= grant.lapses_at:
                if grant.state is GrantState.ACTIVE:
                    self._rotation.lapse(tx, grant, now, because=Cause.NOT_BROUGHT, told_at=told_at)
                    return None
                self._end(tx, grant, request, now, because=Cause.NOT_BROUGHT, told_at=told_at)
                return None
            self._remind(tx, request, dues, now, kind=NoticeKind.NOT_BROUGHT, once=f"reminder {key.id}")
            return replace(timer, due_at=_next(dues, now, grant.lapses_at))

        return act

    # ----

    async def _dues(self, people: Iterable[str], since: datetime, worked: timedelta, now: datetime) -> Dues:
        """When each of these has worked for so long since then; where that has passed, when they work next."""
        dues = {}
        for who in people:
            tz = await self._tz(who)
            due = after_working(since, worked, tz)
            dues[who] = due if due > now else next_working(now, tz)
        return dues

    async def _tz(self, member: str) -> str:
        return await tz_of(member, self._directory)

    def _remind(
        self, tx: Transaction, request: AccessRequest, dues: Dues, now: datetime, *, kind: NoticeKind, once: str
    ) -> None:
        for who in sorted(who for who, due in dues.items() if due <= now):
            if tx.first_time(request.team, f"{once} {who}", now):
                tx.add(self._notice(kind, request, who, due_at=self._clock()))

    def _end(
        self,
        tx: Transaction,
        grant: Grant,
        request: AccessRequest,
        now: datetime,
        *,
        because: Cause,
        told_at: datetime,
    ) -> None:
        self._grants.end(tx, grant, now, by=SYSTEM, because=because, recorded_as=Act.OFFER_LAPSED, tell_at=told_at)
        redraw_extended(tx, request, now)

    def _notice(self, kind: NoticeKind, request: AccessRequest, recipient: str, *, due_at: datetime) -> Notice:
        return new_notice(kind, request, recipient, due_at=due_at, random=self._random, waits=True)


def over(tx: Transaction) -> Timer | None:
    """What a timer does whose subject moved on: it ends."""
    return None


def _next(dues: Dues, now: datetime, lapses_at: datetime) -> datetime:
    return min([*(due for due in dues.values() if due > now), lapses_at])


def _to_pick_up(grant: Grant, key: Key | None) -> bool:
    """Whether a key is there for its holder, or would be made for them."""
    if grant.state is GrantState.ACTIVE:
        return key is not None and key.state in (KeyState.DEPOSITED, KeyState.SEALED)
    return grant.state in (GrantState.READY, GrantState.ISSUING, GrantState.DELIVERING)
