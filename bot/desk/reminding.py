"""Keys are to be rotated from time to time: their holders are reminded before, and where nobody rotates, more follows.

When each reminder comes, policy says, by provider. One that would fall outside of its holder's working hours comes before
them, so that there is time to act. At the time itself the holder hears once more, and whoever approved is told, once.
Where policy says so, a key that is overdue is switched off after a while, or revoked where its provider cannot do that.
A rotation that is under way needs no reminder. A grant that ends before its key is to be rotated has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.errors import present
from bot.desk.grants import Grants
from bot.desk.hours import last_working, next_working
from bot.desk.lapsing import over
from bot.desk.model import SYSTEM, Actor, Cause, Grant, Notice, NoticeKind, Story, Timer, TimerKind
from bot.desk.offer import Ability
from bot.desk.policy import Overdue, Policy, Rotating
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import came_of, goes_on, new_notice, tell
from bot.desk.switching import Switching
from bot.desk.timers import Act as Done
from bot.desk.zones import tz_of

LOOK_AGAIN = timedelta(hours=6)  # while a rotation is under way
LATER_AT_LEAST = timedelta(days=1)  # who wants to be reminded later does not mean today
ON_TIME = timedelta()

TOLD, OVERDUE = 1, 2
"""The steps of the timer: the holder was told of this rotation; it is overdue, and whoever approved was told."""


def plan(grant: Grant, terms: Rotating, tz: str) -> Mapping[timedelta, datetime]:
    """When the holder of this grant, in that zone, is to be told, by how long before its rotation; the last is on time."""
    if grant.rotates_at is None:
        return {}
    early = {before: last_working(grant.rotates_at - before, tz) for before in terms.remind}
    since = grant.held_since or grant.created_at
    planned = {before: at for before, at in early.items() if at > since}
    return {**planned, ON_TIME: next_working(grant.rotates_at, tz)}


def later(now: datetime, rotates_at: datetime, tz: str) -> datetime:
    """When somebody in that zone who wants to be reminded later is: half of the time that is left, a day at least."""
    return next_working(now + max(LATER_AT_LEAST, (rotates_at - now) / 2), tz)


class Reminding:
    """What the timers of rotations do, and the answer *Remind me later*."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        approvers: Approvers,
        providers: Providers,
        policy: Policy,
        grants: Grants,
        switching: Switching,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._providers = providers
        self._policy = policy
        self._grants = grants
        self._switching = switching
        self._bell = bell
        self._clock = clock
        self._random = random

    # ---- what time does

    async def look(self, timer: Timer) -> Done:
        """Tells the holder what is due, once; after an outage what came of several reminders is said in one.

        When the rotation is overdue it tells whoever approved, then does what policy says. Slack need not answer for it.
        """
        grant = await self._store.read(lambda tx: tx.grant(timer.team, timer.about))
        if grant is None or grant.state is not GrantState.ACTIVE:
            return over
        tz, now = await self._tz(grant.holder), self._clock()
        terms = self._policy.rotation(grant.draft.scope)
        overdue = timer.step < OVERDUE and now >= plan(grant, terms, tz).get(ON_TIME, now + LOOK_AGAIN)
        dues = {who: next_working(now, await self._tz(who)) for who in await self._approved(grant)} if overdue else {}

        def act(tx: Transaction) -> Timer | None:
            found = tx.grant(timer.team, timer.about)
            if found is None or found.state is not GrantState.ACTIVE:
                return None
            if found.rotates_at is None:
                found = self._begin(tx, found, terms, now)
            if not goes_on(found):
                return None
            if found.next_key_id is not None:
                return replace(timer, due_at=now + LOOK_AGAIN)
            if timer.step == OVERDUE:
                return self._follow(tx, found, timer, terms, now=now, tz=tz)
            waits = next_working(now, tz)
            planned = plan(found, terms, tz)
            due = [before for before, at in planned.items() if at <= now]
            if due and now < waits:
                return replace(timer, due_at=waits)
            told = self._remind(tx, found, timer, due, now)
            if ON_TIME not in due:
                return replace(told, due_at=min(at for at in planned.values() if at > now))
            if not overdue:
                return replace(told, due_at=now)  # it was not when people were looked up
            return self._overdue(tx, found, told, terms, dues=dues, now=now)

        return act

    def _begin(self, tx: Transaction, grant: Grant, terms: Rotating, now: datetime) -> Grant:
        """A key that was picked up before the desk knew of rotations: its holder is reminded of the first in time."""
        at = (grant.held_since or grant.created_at) + terms.interval
        at = max(at, now + max(terms.remind, default=LATER_AT_LEAST))
        return tx.move(grant, rotates_at=at) if grant.expires_at is None or at < grant.expires_at else grant

    def _remind(self, tx: Transaction, grant: Grant, timer: Timer, due: Sequence[timedelta], now: datetime) -> Timer:
        """One message for all of these that were not told yet; none while the holder put it off, unless it is time."""
        new = self._not_told(tx, grant, due, now)
        put_off = tx.timer(grant.team, TimerKind.ROTATE_LATER, grant.id)
        if not new or (put_off is not None and ON_TIME not in new):
            return timer
        if put_off is not None:
            tx.drop_timer(grant.team, TimerKind.ROTATE_LATER, grant.id)
        self._tell_holder(tx, grant, now, first=not timer.step)
        return replace(timer, step=TOLD)

    def _not_told(self, tx: Transaction, grant: Grant, due: Sequence[timedelta], now: datetime) -> Sequence[timedelta]:
        """Those of these reminders that were not told yet: from now on they are."""
        once = f"rotation {grant.id} {grant.rotates_at:%Y-%m-%dT%H:%M}"
        return [before for before in due if tx.first_time(grant.team, f"{once} {before.total_seconds():.0f}", now)]

    def _tell_holder(self, tx: Transaction, grant: Grant, now: datetime, *, first: bool) -> None:
        kind = NoticeKind.ROTATION_DUE
        if first:  # messages of rotations before this one tell of those
            tx.let_go(grant.team, grant.request_id, [kind, NoticeKind.ROTATION_OVERDUE])
        tx.redraw(grant.team, grant.request_id, now)
        tx.add(self._notice(kind, grant, grant.holder, due_at=self._clock()))

    def _overdue(
        self,
        tx: Transaction,
        grant: Grant,
        timer: Timer,
        terms: Rotating,
        *,
        dues: Mapping[str, datetime],
        now: datetime,
    ) -> Timer | None:
        """Nobody rotated in time: whoever approved is told, when they work next."""
        grant = tx.move(grant, overdue_since=now)
        tx.redraw(grant.team, grant.request_id, now)
        for who, at in dues.items():
            tx.add(self._notice(NoticeKind.ROTATION_OVERDUE, grant, who, due_at=at))
        self._record(tx, grant, Act.ROTATION_OVERDUE, now, told=" ".join(dues))
        return replace(timer, step=OVERDUE, due_at=now + terms.disable_after)  # what follows then, policy says then

    def _follow(
        self, tx: Transaction, grant: Grant, timer: Timer, terms: Rotating, *, now: datetime, tz: str
    ) -> Timer | None:
        """It is overdue for long: the key is switched off, or revoked, while its holder is at work."""
        if terms.overdue is not Overdue.DISABLE:
            return None
        if (waits := next_working(now, tz)) > now:
            return replace(timer, due_at=waits)
        key = tx.key(grant.team, grant.key_id or "")
        if key is None or key.paused_by == SYSTEM:
            return None  # it is off already
        if key.paused_by is not None or key.state is KeyState.ENABLING:
            return replace(timer, due_at=now + LOOK_AGAIN)  # a pause is no rotation: what policy says follows it
        if self._providers.offers(key.provider, Ability.DISABLE):
            self._switching.pause(tx, key, now, by=SYSTEM)
            self._tell_holder(tx, grant, now, first=False)
        else:
            self._grants.end(tx, grant, now, by=SYSTEM, because=Cause.NOT_ROTATED, recorded_as=Act.NOT_ROTATED)
        return None

    async def again(self, timer: Timer) -> Done:
        """The holder wanted to be reminded later: they are."""
        grant = await self._store.read(lambda tx: tx.grant(timer.team, timer.about))
        if grant is None or grant.state is not GrantState.ACTIVE:
            return over
        now, tz = self._clock(), await self._tz(grant.holder)
        waits, terms = next_working(now, tz), self._policy.rotation(grant.draft.scope)

        def act(tx: Transaction) -> Timer | None:
            found = tx.grant(timer.team, timer.about)
            if found is None or found.state is not GrantState.ACTIVE or not goes_on(found):
                return None
            if found.next_key_id is not None:
                return replace(timer, due_at=now + LOOK_AGAIN)
            if now < waits:
                return replace(timer, due_at=waits)
            # A reminder that is due in the same moment is told with this one.
            self._not_told(tx, found, [before for before, at in plan(found, terms, tz).items() if at <= now], now)
            self._tell_holder(tx, found, now, first=False)
            return None

        return act

    # ---- what the holder answers

    async def put_off(self, actor: Actor, grant_id: str) -> Story:
        """The holder wants to be reminded later. Again: nothing more happens. Raises `NotYours`, `NotThere`."""
        grant = await self._door.admit_holder(
            actor,
            grant_id,
            to=Act.ROTATION_PUT_OFF,
            otherwise="Only who holds a key is reminded of its rotation.",
        )
        tz, now = await self._tz(actor.id), self._clock()

        def act(tx: Transaction) -> Story:
            found = present(tx.grant(grant.team, grant.id))
            story = tell(tx, grant.team, grant.request_id, self._providers)
            if story.rotation is None or story.rotation.again_at is not None or found.rotates_at is None:
                return story
            at = later(now, found.rotates_at, tz)
            tx.set_timer(grant.team, TimerKind.ROTATE_LATER, grant.id, at)
            tx.redraw(grant.team, grant.request_id, now)
            self._record(tx, grant, Act.ROTATION_PUT_OFF, now, by=actor.id)
            return tell(tx, grant.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story

    # ----

    async def _approved(self, grant: Grant) -> Sequence[str]:
        """Who is told that a rotation is overdue."""
        asked, decision = await self._store.read(lambda tx: came_of(tx, grant))
        return sorted(await self._approvers.who_hears(present(asked), present(decision).approver))

    async def _tz(self, member: str) -> str:
        return await tz_of(member, self._directory)

    def _notice(self, kind: NoticeKind, grant: Grant, recipient: str, *, due_at: datetime) -> Notice:
        return new_notice(kind, grant, recipient, due_at=due_at, random=self._random, waits=True)

    def _record(
        self, tx: Transaction, grant: Grant, act: Act, now: datetime, *, by: str = SYSTEM, **detail: str
    ) -> None:
        tx.record(team=grant.team, at=now, actor=by, act=act, subject=grant.id, key=grant.key_id, **detail)
