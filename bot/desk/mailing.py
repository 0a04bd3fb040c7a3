"""Sending digests: to each person the one of their week, at their own time, exactly once.

A row says whose digest is due when, and which week they have. One process of all sends at a time, as fast as the workspace
takes messages; the others take over when it dies. That sending began is written down before anything is posted: where it
is not known how that ended, what stands in the person's messages is looked at before anything is posted again.

Digests have a lane of their own, beside timers: ten thousand of them are due in the same second, and what else time does
must not wait behind them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.digest import Digests
from bot.desk.door import Door, unwelcome
from bot.desk.due import DueKind
from bot.desk.errors import Superseded, Unavailable, Undeliverable
from bot.desk.hours import next_working, zone
from bot.desk.model import Actor
from bot.desk.policy import MANAGER
from bot.desk.ports import Clock, Directory, Notifier, Random, Store, Transaction
from bot.desk.retrying import wait_before
from bot.desk.sweeps import failed
from bot.desk.week import ONE_DAY, Digest, Subscription
from bot.desk.zones import many_due

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=3)  # above `PATIENCE`
PATIENCE = timedelta(seconds=120)  # with one digest, Slack's rate limits waited out
ENROL_EVERY = timedelta(hours=1)  # who got a key, or a say, has a digest from then on
ASKED_AGAIN = timedelta(minutes=5)  # while nobody can be looked up: not by everybody's digest at each beat
LOOK = "look at the digest"
PIECE = 500  # people who are enrolled in one transaction

Settle = Callable[[Transaction], None]


class Mailing:
    """Sends the digests that are due, and knows who wants theirs when."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        door: Door,
        approvers: Approvers,
        digests: Digests,
        notifier: Notifier,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._directory = directory
        self._door = door
        self._approvers = approvers
        self._digests = digests
        self._notifier = notifier
        self._clock = clock
        self._sender = random(8).hex()
        self._enrolled_at: datetime | None = None
        self._many = False

    # ---- who has one

    async def prepare(self) -> None:
        """Before digests are sent: whoever became a holder, an approver or an admin has one from now on."""
        now = self._clock()
        if self._enrolled_at is None or not timedelta() <= now - self._enrolled_at < ENROL_EVERY:
            await self._enrol(now)
            self._enrolled_at = now
        self._many = await many_due(DueKind.DIGEST, now, self._store)

    async def _enrol(self, now: datetime) -> None:
        named = sorted(await self._named())
        for team in await self._store.teams():
            await self._store.write(lambda tx, team=team: tx.subscribe(team, named, now))  # type: ignore[misc]  # bound for each
        while new := await self._store.read(lambda tx: tx.unsubscribed(PIECE)):
            await self._store.write(lambda tx, new=new: self._subscribe(tx, new, now))  # type: ignore[misc]  # bound for each

    def _subscribe(self, tx: Transaction, new: Sequence[tuple[str, str]], now: datetime) -> None:
        for team, member in new:
            tx.subscribe(team, [member], now)

    async def _named(self) -> frozenset[str]:
        """Whom policy names as an admin or an approver, with the members of the groups that it names."""
        policy = self._approvers.policy.file
        named = {*policy.admins, *(who for rule in policy.rule for who in rule.approvers if who != MANAGER)}
        return frozenset[str]().union(*[await self._approvers.behind(who) for who in named])

    # ---- sending

    def lease(self, tx: Transaction, room: int) -> Sequence[Subscription]:
        """Some that are due, for this process to send."""
        return tx.lease_subscriptions(self._clock(), self._clock() + LEASE, self._sender, room)

    async def send(self, leased: Subscription) -> None:
        """Sends the digest that is owed, if one is and there is something to tell, and writes down when the next is due."""
        try:
            settle = await self._settle(leased)
            await self._store.write(settle)
        except Superseded:
            log.info("the digest of %s is another process's now", leased.member)
        except Exception as error:
            log.exception("the digest of %s may be sent, and is not written down: it is looked for", leased.member)
            failed(error)

    async def _settle(self, leased: Subscription) -> Settle:
        """What there is to write down, once what is to be sent is."""
        now, actor = self._clock(), Actor(leased.team, leased.member)
        try:
            if self._many:
                await self._directory.know_everybody()
            person = await self._directory.person(leased.member)
        except Unavailable as error:
            log.warning("the digest of %s waits: %s", leased.member, error)
            return self._later(leased, now + ASKED_AGAIN, attempts=leased.attempts)
        tz = person.tz if person else "UTC"
        week = None if leased.off else leased.owed(now, tz)
        if week is None or person is None or unwelcome(actor, person):
            return self._next(leased, tz, week=week)  # a week in which they were not welcome is not made up for
        opens = next_working(now, tz)
        if opens > now:
            return self._later(leased, opens, attempts=leased.attempts)
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                digest = await self._digests.of(actor, person, week=week, last=_eve(leased.moment(week, tz), tz))
                if not digest.empty:
                    await self._notifier.send_digest(digest, again=leased.attempts > 0)
        except Undeliverable as error:
            log.warning("the digest of %s cannot be delivered: %s", leased.member, error)
        except (Unavailable, TimeoutError) as error:
            log.warning("the digest of %s is tried again: %s", leased.member, error)
            return self._later(leased, now + wait_before(leased.attempts), attempts=leased.attempts + 1)
        return self._next(leased, tz, week=week)

    def _later(self, leased: Subscription, until: datetime, *, attempts: int) -> Settle:
        def put_off(tx: Transaction) -> None:
            tx.move_subscription(leased, due_at=until, attempts=attempts, sender=None)

        return put_off

    def _next(self, leased: Subscription, tz: str, *, week: date | None = None) -> Settle:
        """On to the next moment; `week` is dealt with. It may have been moved, or switched off, meanwhile."""

        def go_on(tx: Transaction) -> None:
            held = tx.subscription(leased.team, leased.member) or leased
            done = replace(held, week=week or held.week)
            # Of whom no digest was due, none was owed: what is owed by a choice made meanwhile is looked at once more.
            due_at = done.following(self._clock(), tz)
            tx.move_subscription(leased, due_at=due_at, week=done.week, attempts=0, sender=None)

        return go_on

    # ---- whose choice it is

    async def show(self, actor: Actor, *, week: date | None = None, last: date | None = None) -> Digest:
        """The digest of the seven days that end with `last`, or today, as things stand now. Raises `NotWelcome`."""
        person = await self._door.admit(actor, to=LOOK, subject=actor.id)
        today = self._clock().astimezone(zone(person.tz)).date()
        return await self._digests.of(actor, person, week=week, last=last or today)

    async def settings(self, actor: Actor) -> tuple[Subscription, str]:
        """When this member's digest comes, and in which time zone. Raises `NotWelcome`."""
        person = await self._door.admit(actor, to=LOOK, subject=actor.id)
        held = await self._store.read(lambda tx: tx.subscription(actor.team, actor.id))
        return held or self._new(actor), person.tz

    async def choose(self, actor: Actor, *, weekday: int, hour: int, off: bool) -> Subscription:
        """From now on it comes then, or not at all. Raises `NotWelcome`, ValueError for no workday or working hour."""
        person = await self._door.admit(actor, to=Act.DIGEST_SET, subject=actor.id)
        now = self._clock()

        def act(tx: Transaction) -> Subscription:
            held = tx.subscription(actor.team, actor.id) or self._new(actor)
            # What came due while it was off is not made up for.
            chosen = replace(
                held, weekday=weekday, hour=hour, off=off, since=now if held.off and not off else held.since
            )
            being_sent = held.sender is not None and held.due_at is not None and held.due_at > now
            if not being_sent:  # else whoever sends it goes on by what is chosen here
                chosen = replace(chosen, due_at=chosen.following(now, person.tz), sender=None)
            if chosen != held:
                tx.put_subscription(chosen)
                tx.record(
                    team=actor.team,
                    at=now,
                    actor=actor.id,
                    act=Act.DIGEST_SET,
                    subject=actor.id,
                    weekday=weekday,
                    hour=hour,
                    off=off,
                )
            return chosen

        return await self._store.write(act)

    def _new(self, actor: Actor) -> Subscription:
        return Subscription(actor.team, actor.id, since=self._clock())


def _eve(at: datetime, tz: str) -> date:
    """The day before, by the clock on that person's wall."""
    return at.astimezone(zone(tz)).date() - ONE_DAY
