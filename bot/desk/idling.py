"""Keys that nothing uses: their holder is asked whether they are still needed.

Only where the provider reports usage, and only while the desk has read it to its end. Without an answer the grant ends
where policy says so; else they are asked again after as long as at first.
"""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.door import Door
from bot.desk.grants import Grants
from bot.desk.hours import next_working
from bot.desk.lapsing import over
from bot.desk.model import SYSTEM, Actor, Cause, Grant, Key, NoticeKind, RoundKind, Story, Timer, TimerKind
from bot.desk.offer import Ability
from bot.desk.policy import Idle
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import new_notice, tell
from bot.desk.timers import Act as Done
from bot.desk.waiting import IDLE_AFTER
from bot.desk.zones import tz_of

ANSWER_WITHIN = timedelta(days=7)
KEPT_FOR = timedelta(days=30)  # who said that it is needed is not asked again in two weeks
LOOK_AGAIN = timedelta(hours=6)  # while usage cannot be read, or the key is switched off
READ_WITHIN = timedelta(days=1)  # usage that was read longer ago tells nothing of the last days
ONE_DAY = timedelta(days=1)


class Idling:
    """Asks, and does what follows."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        providers: Providers,
        grants: Grants,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._providers = providers
        self._grants = grants
        self._bell = bell
        self._clock = clock
        self._random = random

    async def look(self, timer: Timer) -> Done:
        """Looks when the key was used last; asks its holder, or takes the key back when no answer came."""
        grant = await self._store.read(lambda tx: tx.grant(timer.team, timer.about))
        if grant is None:
            return over
        tz, now = await tz_of(grant.holder, self._directory), self._clock()

        def act(tx: Transaction) -> Timer | None:
            found = tx.grant(timer.team, timer.about)
            if found is None or found.state is not GrantState.ACTIVE:
                return None
            if found.expires_at is not None and found.expires_at - now <= ANSWER_WITHIN and not timer.step:
                return None  # it ends before an answer would be due
            request = tx.request(found.team, found.request_id)
            key = tx.key(found.team, found.key_id) if found.key_id else None
            if request is None or key is None:
                return None
            what = self._providers.idle(request)
            if what is Idle.LEAVE or not self._providers.offers(key.provider, Ability.USAGE):
                return self._not_asked(tx, found, timer, now, due_at=now + IDLE_AFTER)
            if key.state is not KeyState.LIVE or not self._known(tx, key, now):
                return replace(timer, due_at=now + LOOK_AGAIN)
            used = _last_used(tx, found)
            if now < used + IDLE_AFTER:
                return self._not_asked(tx, found, timer, now, due_at=used + IDLE_AFTER)
            at = next_working(now, tz)
            if at > now:
                return replace(timer, due_at=at)
            if not timer.step:
                return self._ask(tx, found, timer, now, tz)
            if what is Idle.REVOKE:
                self._grants.end(tx, found, now, by=SYSTEM, because=Cause.IDLE, recorded_as=Act.IDLE)
                return None
            return self._not_asked(tx, found, timer, now, due_at=now + IDLE_AFTER)

        return act

    def _known(self, tx: Transaction, key: Key, now: datetime) -> bool:
        """Whether the desk can know, and has read to its end and lately, what the key used."""
        if key.meter is None:
            return False  # nothing that is reported tells of it
        rounds = [one for one in tx.rounds(key.team) if (one.provider, one.kind) == (key.provider, RoundKind.USAGE)]
        return any(not one.attempts and one.ended_at and now - one.ended_at < READ_WITHIN for one in rounds)

    def _ask(self, tx: Transaction, grant: Grant, timer: Timer, now: datetime, tz: str) -> Timer:
        tx.redraw(grant.team, grant.request_id, now)
        tx.add(new_notice(NoticeKind.IDLE, grant, grant.holder, due_at=self._clock(), random=self._random, waits=True))
        tx.record(team=grant.team, at=now, actor=SYSTEM, act=Act.IDLE_ASKED, subject=grant.id)
        return replace(timer, step=1, due_at=next_working(now + ANSWER_WITHIN, tz))

    def _not_asked(self, tx: Transaction, grant: Grant, timer: Timer, now: datetime, *, due_at: datetime) -> Timer:
        """There is no question any more, or none yet."""
        if timer.step:
            tx.redraw(grant.team, grant.request_id, now)
        return replace(timer, step=0, due_at=due_at)

    async def keep(self, actor: Actor, grant_id: str) -> Story:
        """The holder needs the key. Again: nothing more happens. Raises `NotYours`, `NotThere`."""
        grant = await self._door.admit_holder(
            actor,
            grant_id,
            to=Act.KEPT,
            otherwise="Only who holds a key can say that it is needed.",
        )
        now = self._clock()

        def act(tx: Transaction) -> Story:
            timer = tx.timer(grant.team, TimerKind.IDLE, grant.id)
            if timer is not None and timer.step:
                tx.set_timer(grant.team, TimerKind.IDLE, grant.id, now + KEPT_FOR)
                tx.redraw(grant.team, grant.request_id, now)
                tx.record(team=grant.team, at=now, actor=actor.id, act=Act.KEPT, subject=grant.id)
            return tell(tx, grant.team, grant.request_id, self._providers)

        story = await self._store.write(act)
        self._bell.ring()
        return story


def _last_used(tx: Transaction, grant: Grant) -> datetime:
    """When its keys can have been used last; when the newest of them was picked up, where they were not since."""
    picked_up = grant.held_since or grant.created_at  # who rotates a key means to use it
    spending = tx.spending(grant.team, grant.id)
    if spending is None:
        return picked_up
    return max(picked_up, datetime.combine(spending.last_day + ONE_DAY, time(), UTC))
