"""Before a key's time is over, its holder hears of it, and may ask for another that follows it, or give it back.

A tenth of its time before, half an hour at least and a week at most; where that is two days or more, once more a day
before. A key that lives for a day or longer is told of while its holder is at work: what would fall outside of their
hours is said before. One that lives shorter was picked up a few hours ago, and would be over before they are at work again:
that notice cannot wait.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.desk.hours import last_working, next_working
from bot.desk.lapsing import over
from bot.desk.model import Grant, NoticeKind, Timer
from bot.desk.ports import Clock, Directory, Random, Store, Transaction
from bot.desk.states import GrantState
from bot.desk.stories import new_notice
from bot.desk.timers import Act as Done
from bot.desk.zones import known_tz

EARLIEST, LATEST = timedelta(days=7), timedelta(minutes=30)
ONE_DAY = timedelta(days=1)
CAN_WAIT = ONE_DAY  # keys that live so long are told of in working hours


def notices_before(life: timedelta) -> Sequence[timedelta]:
    """How long before its end the holder of a key that lives so long is told of it."""
    first = min(max(life / 10, LATEST), EARLIEST)
    return (first, ONE_DAY) if first >= 2 * ONE_DAY else (first,)


def plan(grant: Grant, tz: str) -> Sequence[datetime]:
    """When the holder of this grant, in that zone, is to be told that its time runs out."""
    if grant.expires_at is None:
        return ()
    ends, life = grant.expires_at, grant.draft.duration
    return tuple(_told_at(ends - before, picked_up=ends - life, life=life, tz=tz) for before in notices_before(life))


def _told_at(at: datetime, *, picked_up: datetime, life: timedelta, tz: str) -> datetime:
    if life < CAN_WAIT:
        return at
    before = last_working(at, tz)
    return before if before > picked_up else at


class Expiring:
    """What the timers of grants that run their time do."""

    def __init__(self, *, store: Store, directory: Directory, clock: Clock, random: Random) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._random = random

    async def look(self, timer: Timer) -> Done:
        """Tells the holder what is due, once; after an outage what came of several notices is said in one."""
        grant = await self._store.read(lambda tx: tx.grant(timer.team, timer.about))
        if grant is None or grant.expires_at is None:
            return over
        tz = await known_tz(grant.holder, self._directory)
        now = self._clock()

        def act(tx: Transaction) -> Timer | None:
            found = tx.grant(timer.team, timer.about)
            if found is None or found.state is not GrantState.ACTIVE or found.expires_at is None:
                return None
            if now >= found.expires_at:
                return None
            planned = plan(found, tz)
            due = [number for number, at in enumerate(planned) if at <= now]
            later = min((at for at in planned if at > now), default=None)
            waits = next_working(now, tz)
            can_wait = found.draft.duration >= CAN_WAIT
            if due and can_wait and now < waits < found.expires_at:
                return replace(timer, due_at=waits)
            # By its end, too: another key may have taken the place of this one, or the desk may be asked anew.
            once = f"expiring {found.id} {found.expires_at:%Y-%m-%dT%H:%M}"
            if [number for number in due if tx.first_time(found.team, f"{once} {number}", now)]:
                tx.add(
                    new_notice(
                        NoticeKind.EXPIRING,
                        found,
                        found.holder,
                        due_at=self._clock(),
                        random=self._random,
                        waits=can_wait,
                    )
                )
            return replace(timer, due_at=later) if later else None

        return act
