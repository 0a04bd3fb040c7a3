"""The nightly check: are those who hold keys, or asked for some, still members? Slack's events get lost, its list does not.

All of them are held against Slack's whole list, and nobody is taken for gone by the list alone: each is asked for once
more. A list that broke off, or by which a large part of the holders would be gone at once, is not believed: nobody's
keys are revoked for it, and the admins are told.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from bot.desk.approvers import Approvers
from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.hours import next_working
from bot.desk.leaving import Leaving, why_gone
from bot.desk.model import Actor, Round, RoundKind, Timer, TimerKind
from bot.desk.ports import Clock, Directory, Line, Notifier, Store, Transaction
from bot.desk.replacing import Replacing
from bot.desk.retrying import STUCK_AFTER
from bot.desk.rounds import Lease
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

AT = time(3)  # UTC: night or early morning for most of the world; whoever is told of it is told in their working hours
NAMED_AT_MOST = 20  # in the message to the admins; the log names all
BROKEN_OFF = "the list broke off"  # whatever Slack said: the admins are told of it once


class Holders:
    """Makes the check, and tells the admins where it did not come to its end."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        line: Line,
        approvers: Approvers,
        leaving: Leaving,
        replacing: Replacing,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._line = line
        self._approvers = approvers
        self._leaving = leaving
        self._replacing = replacing
        self._notifier = notifier
        self._clock = clock

    async def check(self, lease: Lease) -> Mapping[str, Any]:
        """A round at Slack: whoever is missed has their grants ended as by Slack's event; questions find who answers them.

        Raises `Unavailable` where the list broke off; the round is made again, and after ten minutes the admins are told.
        """
        team, due = lease.round.team, {"due_at": _next_night(self._clock())}
        if team != self._line.team:
            return due  # one that this desk served before: its people are in no list that it sees
        try:
            flaw = await self._compared(lease)
        except Unavailable:
            if lease.round.attempts + 1 >= STUCK_AFTER:
                await self._have_admins_told(lease, BROKEN_OFF)
            raise
        if flaw is None:
            await self._replacing.review(team)
            return due
        log.error("the nightly check of the holders: %s", flaw)
        await self._have_admins_told(lease, flaw)
        return {**due, "flaw": flaw, "ended_at": lease.round.ended_at}

    async def _compared(self, lease: Lease) -> str | None:
        """What is wrong with the list, where it is not believed."""
        team = lease.round.team
        held = await self._store.read(lambda tx: tx.holders(team))
        # Of the list nothing is kept but who of the holders was not in it, and whom it calls gone.
        unlisted, gone = set(held), set[str]()
        async for page in self._directory.everybody():
            for person in page:
                if person.id in unlisted:
                    unlisted.discard(person.id)
                    if why_gone(person):
                        gone.add(person.id)
            await lease.write(_keep)
        suspected = sorted(gone | unlisted)
        if too_many(len(suspected), len(held)):
            log.error("by Slack's list these holders would be gone: %s", ", ".join(suspected))
            named = ", ".join(suspected[:NAMED_AT_MOST])
            more = f" and {len(suspected) - NAMED_AT_MOST} more" if len(suspected) > NAMED_AT_MOST else ""
            return (
                f"By Slack's list {len(suspected)} of {len(held)} holders would have left at once: {named}{more}. "
                "So much is not believed, and nothing was revoked. Whoever of them did leave: revoke their keys."
            )
        for who in suspected:
            await self._leaving.look(Actor(team, who), unlisted=who in unlisted)
            await lease.write(_keep)
        return None

    async def _have_admins_told(self, lease: Lease, flaw: str) -> None:
        """Each in their working hours, once since the check last came to its end, unless the flaw is mended by then.

        Raises `Unavailable` while nobody can say who the admins are; the next try of the check has them told.
        """
        team, now, dues = lease.round.team, self._clock(), dict[str, datetime]()
        once = f"nightly check after {lease.round.ended_at}: {flaw}"
        for admin in await self._approvers.admins(team):
            dues[admin] = next_working(now, await known_tz(admin, self._directory))

        def act(tx: Transaction) -> None:
            for admin, due_at in dues.items():
                if tx.first_time(team, f"{once} {admin}", now):
                    tx.set_timer(team, TimerKind.HOLDERS, admin, due_at)

        await lease.write(act)

    async def tell(self, timer: Timer) -> Callable[[Transaction], Timer | None]:
        """Tells an admin of the flaw, where there still is one. A crash right after it tells it once more."""
        found = await self._store.read(lambda tx: _round(tx, timer.team))
        admins = await self._approvers.admins(timer.team)
        person = await self._directory.person(timer.about)
        if found is None or found.flaw is None or person is None or timer.about not in admins:
            return lambda tx: None
        now = self._clock()
        due_at = next_working(now, person.tz)
        if due_at > now:
            return lambda tx: replace(timer, due_at=due_at)
        try:
            await self._notifier.warn(timer.about, found)
        except Undeliverable as error:
            log.warning("%s could not be told of the nightly check: %s", timer.about, error)
        return lambda tx: None


def too_many(gone: int, of: int) -> bool:
    """Whether so many cannot have left in a day: more than a third. One alone can, in however small a team."""
    return gone > 1 and 3 * gone > of


def _next_night(now: datetime) -> datetime:
    tonight = datetime.combine(now.date(), AT, UTC)
    return tonight if tonight > now else tonight + timedelta(days=1)


def _round(tx: Transaction, team: str) -> Round | None:
    return next((one for one in tx.rounds(team) if one.kind is RoundKind.HOLDERS), None)


def _keep(tx: Transaction) -> None:
    """Nothing is to be written: the lease is kept."""
