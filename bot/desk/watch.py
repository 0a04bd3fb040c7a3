"""What time and the world do: sweeps.

Each sweep asks the store for what is due and handles every item in its own transaction, claimed by a guarded update:
safe to run twice, to skip, and to run in several processes at once.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.budgets import Budgets
from bot.desk.due import DueKind, SweepName
from bot.desk.errors import NotThere, Superseded, Unavailable, Undeliverable
from bot.desk.grants import Grants
from bot.desk.hours import next_working
from bot.desk.installation import Installation
from bot.desk.invitations import Invitations
from bot.desk.mailing import Mailing
from bot.desk.model import Actor, Cause, Grant, Key, Link, Notice, NoticeKind, Story
from bot.desk.ports import Clock, Directory, Notifier, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.retrying import wait_before
from bot.desk.revoking import Revoking
from bot.desk.rotation import Rotation
from bot.desk.rounds import Rounds
from bot.desk.states import GrantState, KeyState, LinkState
from bot.desk.stories import Stories, new_notice
from bot.desk.sweeps import Pass, Sweep, Sweeps, failed, handling
from bot.desk.switching import Switching
from bot.desk.timers import Timers
from bot.desk.week import Subscription
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

Item = TypeVar("Item", Grant, Key, Notice, Subscription)
Ripe = TypeVar("Ripe", Key, Link, Grant)
Ended = TypeVar("Ended")

STALLED_AFTER = timedelta(minutes=2)  # a mint still open then has lost its process; above any mint's patience
BATCH = 100
AT_ONCE = 8  # items of one kind under way at a time
LEASE = timedelta(minutes=2)  # how long one process may work on an item before another takes it over
LONGEST_PASS = timedelta(
    minutes=4
)  # of digests: a sweep of which nothing is heard for five passes for one that stands still
PATIENCE = timedelta(seconds=90)  # with one message, Slack's rate limits waited out; below the lease


@dataclass(frozen=True, slots=True)
class _Showing:
    """How the showing of a notice ended: where it stands, or when it is tried again; whether a Home is old by it.

    Not `failed`: it waits for its reader's morning.
    """

    notice: Notice
    channel: str | None
    ts: str | None
    again_at: datetime | None = None
    failed: bool = True
    changes_home: bool = False


class Watch:
    """Does what the sweeps do; `sweeps` is the list of them. `run` answers the bell between the beats of the metronome."""

    def __init__(
        self,
        *,
        store: Store,
        providers: Providers,
        stories: Stories,
        grants: Grants,
        revoking: Revoking,
        switching: Switching,
        rotation: Rotation,
        budgets: Budgets,
        rounds: Rounds,
        timers: Timers,
        invitations: Invitations,
        installation: Installation,
        mailing: Mailing,
        notifier: Notifier,
        directory: Directory,
        bell: Bell,
        clock: Clock,
        random: Random,
        heard: Callable[[Pass], None],
    ) -> None:
        self._store = store
        self._providers = providers
        self._stories = stories
        self._grants = grants
        self._revoking = revoking
        self._switching = switching
        self._rotation = rotation
        self._budgets = budgets
        self._rounds = rounds
        self._timers = timers
        self._invitations = invitations
        self._installation = installation
        self._mailing = mailing
        self._notifier = notifier
        self._directory = directory
        self._bell = bell
        self._clock = clock
        self._random = random
        self._stopping = False
        self._stale_homes: set[Actor] = set()
        self._home_ear = asyncio.Event()
        now = timedelta()
        self.sweeps = Sweeps(
            Sweep(
                SweepName.RECONCILE,
                "puts right what a crash, or time, left: stalled mints, unopened links, expired grants, old keys whose grace is over, "
                "months that are over",
                self.reconcile,
                {
                    DueKind.MINT: STALLED_AFTER,
                    DueKind.LINK: now,
                    DueKind.GRANT: now,
                    DueKind.GRACE: now,
                    DueKind.MONTH: now,
                },
            ),
            Sweep(
                SweepName.TIMERS,
                "reminds people, lets what waited too long lapse, asks about idle keys, looks at unusual use",
                self.tick,
                {DueKind.TIMER: now},
            ),
            Sweep(
                SweepName.RETIRE,
                "revokes keys at their providers, and switches them off and on",
                self.retire,
                {DueKind.KEY: now},
                at_ring=True,
            ),
            Sweep(
                SweepName.INVITE,
                "sends invitations, follows them, and withdraws them",
                self.invite,
                {DueKind.INVITATION: now},
                at_ring=True,
            ),
            Sweep(
                SweepName.DELIVER,
                "posts messages, and brings posted ones up to date",
                self.deliver,
                {DueKind.NOTICE: now},
                at_ring=True,
            ),
            Sweep(SweepName.DIGEST, "sends the weekly digests", self.digest, {DueKind.DIGEST: now}),
            Sweep(
                SweepName.PROBE,
                "asks the providers what the desk's credentials may do",
                self.probe,
                {},
                asks=providers.to_be_asked,
            ),
            Sweep(
                SweepName.ROUNDS,
                "makes the rounds at the providers",
                self.go_round,
                {DueKind.ROUND: now},
                asks=rounds.to_begin,
            ),
            store=store,
            clock=clock,
            heard=heard,
        )
        self._ears: tuple[tuple[asyncio.Event, Callable[[], Awaitable[object]]], ...] = (
            *((bell.ear(), partial(self.sweeps.run, name)) for name, sweep in self.sweeps.items() if sweep.at_ring),
            (self._home_ear, self.redraw),
        )

    async def run(self) -> None:
        """Carries out, at each ring, what the acts before it left to do. Runs until `stop`, or until cancelled."""
        async with asyncio.TaskGroup() as group:
            for ear, work in self._ears:
                group.create_task(self._answer(ear, work))

    def stop(self) -> None:
        """Ends `run` as soon as what is under way is done and written down; nothing new is begun."""
        self._stopping = True
        for ear, _ in self._ears:
            ear.set()

    async def _answer(self, ear: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping:
            await ear.wait()
            ear.clear()
            try:
                await work()
            except Exception:
                # The scheduler's next beat rings again; one failure must not end all of them.
                log.exception("what a ring had to be answered with failed, and will run again")

    async def reconcile(self) -> None:
        """Puts right what a crash, or time, left: stalled mints, unopened links, expired grants, old keys, months that are over.

        Rings after each batch, and once where there is none.
        """
        now = self._clock()
        await self._settle_all(
            lambda few: self._store.read(lambda tx: tx.stalled_mints(now - STALLED_AFTER, few)), self._unfinished
        )
        await self._settle_all(lambda few: self._store.read(lambda tx: tx.overdue_links(now, few)), self._take_back)
        await self._settle_all(lambda few: self._store.read(lambda tx: tx.expired_grants(now, few)), self._expire)
        await self._settle_all(lambda few: self._store.read(lambda tx: tx.retired_keys(now, few)), self._end_grace)
        await self._settle_all(lambda few: self._store.read(lambda tx: tx.disabled_keys(now, few)), self._begin_anew)
        self._bell.ring()

    async def probe(self) -> None:
        """Asks the providers, where it is time, what the desk's credentials may do there."""
        await self._providers.refresh()

    async def go_round(self) -> None:
        """Makes the rounds at the providers that are due: usage, inventory, credentials."""
        await self._rounds.make()

    async def tick(self) -> None:
        """Finds out whether the workspace still has the app, and carries out the timers that are due."""
        await self._installation.tick()
        await self._timers.tick()

    async def digest(self) -> None:
        """Sends the weekly digests that are due. Slack takes no more than so many a minute: the next pass goes on with the rest."""
        began = time.monotonic()

        def lease(room: int, tx: Transaction) -> Sequence[Subscription]:
            over = time.monotonic() - began > LONGEST_PASS.total_seconds()
            return () if over or self._installation.silent else self._mailing.lease(tx, room)

        if not self._installation.silent:
            await self._mailing.prepare()
            await self._each(DueKind.DIGEST, lease, partial(map, self._mailing.send))

    async def _settle_all(
        self, due: Callable[[int], Awaitable[Sequence[Ripe]]], act: Callable[[Ripe, Transaction], None]
    ) -> None:
        """All that is due now, a batch at a time. What failed, and so is due still, is tried again by the next pass."""
        tried, still_due = set[str](), 0
        while not self._stopping:
            limit = BATCH + still_due
            found = await due(limit)
            new = [one for one in found if one.id not in tried]
            for one in new:
                await self._settle(partial(act, one))
            if len(found) < limit:
                return
            tried |= {one.id for one in new}
            still_due = len(found) - len(new)
            self._bell.ring()

    async def _settle(self, act: Callable[[Transaction], None]) -> None:
        handling(1)
        try:
            with suppress(Superseded):  # another process, or the holder, was faster
                await self._store.write(act)
        except Exception as error:
            log.exception("one item of a sweep failed; the others go on")
            failed(error)

    def _unfinished(self, key: Key, tx: Transaction) -> None:
        now = self._clock()
        self._grants.break_off(tx, key, now, certain=False, because="the pick-up did not come to its end")
        grant = tx.grant(key.team, key.grant_id)
        if grant is not None and grant.state in (GrantState.READY, GrantState.ACTIVE):
            tx.add(new_notice(NoticeKind.UNFINISHED, grant, grant.holder, due_at=self._clock(), random=self._random))

    def _take_back(self, link: Link, tx: Transaction) -> None:
        unread = link.state is LinkState.OPEN
        self._grants.take_back(
            tx,
            link,
            self._clock(),
            because=Cause.LAPSED if unread else Cause.UNACKNOWLEDGED,
            kind=NoticeKind.LAPSED if unread else NoticeKind.UNACKNOWLEDGED,
        )

    def _expire(self, grant: Grant, tx: Transaction) -> None:
        by = Actor.system(grant.team).id
        because, act = (Cause.LEFT, Act.HOLDER_LEFT) if grant.left_at else (Cause.EXPIRED, Act.EXPIRED)
        self._grants.end(tx, grant, self._clock(), by=by, because=because, recorded_as=act)

    def _end_grace(self, key: Key, tx: Transaction) -> None:
        self._rotation.end_grace(tx, key, self._clock())

    def _begin_anew(self, key: Key, tx: Transaction) -> None:
        self._budgets.begin_anew(tx, key, self._clock())

    async def retire(self) -> None:
        """Carries out at their providers what is due of the keys: revokes them, or switches them off or on."""

        def lease(room: int, tx: Transaction) -> Sequence[Key]:
            return tx.lease_keys(self._clock(), self._clock() + LEASE, room)

        await self._each(DueKind.KEY, lease, partial(map, self._retire))

    async def _retire(self, key: Key) -> None:
        try:
            with suppress(Superseded):  # another process wrote it down first
                switched = key.state in (KeyState.DISABLING, KeyState.ENABLING)
                await (self._switching if switched else self._revoking).carry_out(key)
        except Exception as error:
            log.exception("%s %s failed; its lease ends, and it is tried again", key.state, key.id)
            failed(error)

    async def invite(self) -> None:
        """Sends the invitations that are to be sent, and withdraws those that are over."""

        def lease(room: int, tx: Transaction) -> Sequence[Grant]:
            return tx.lease_invitations(self._clock(), self._clock() + LEASE, room)

        await self._each(DueKind.INVITATION, lease, partial(map, self._invite))

    async def _invite(self, grant: Grant) -> None:
        try:
            with suppress(Superseded):  # it was taken back, or another process was faster
                await self._invitations.carry_out(grant)
        except Exception as error:
            log.exception("the invitation of %s failed; its lease ends, and it is tried again", grant.id)
            failed(error)

    async def deliver(self) -> None:
        """Posts, or brings up to date, every notice that is due. While the workspace has not the app, they wait."""

        def lease(room: int, tx: Transaction) -> Sequence[Notice]:
            if self._installation.silent:  # it may have fallen silent in the middle of a sweep
                return ()
            return tx.lease_notices(self._clock(), self._clock() + LEASE, room)

        under_way: Counter[Actor] = Counter()
        old: set[Actor] = set()  # whose Homes are; one is drawn when nothing more to its owner is under way

        def show(notices: Sequence[Notice]) -> Iterable[Coroutine[Any, Any, _Showing]]:
            under_way.update(Actor(notice.team, notice.recipient) for notice in notices)
            draw({who for who in old if not under_way[who]})
            # What is leased together is often about one request. It is read after the lease, once for all of them.
            stories = {
                about: asyncio.create_task(self._stories.of(*about))
                for about in dict.fromkeys((notice.team, notice.about) for notice in notices)
            }
            return [self._show(notice, stories[notice.team, notice.about]) for notice in notices]

        async def keep(shown: Sequence[_Showing]) -> None:
            under_way.subtract(Actor(one.notice.team, one.notice.recipient) for one in shown)
            old.update(Actor(one.notice.team, one.notice.recipient) for one in shown if one.changes_home)
            await self._keep(shown)

        def draw(homes: set[Actor]) -> None:
            if homes:
                old.difference_update(homes)
                self._stale_homes |= homes
                self._home_ear.set()

        try:
            await self._each(DueKind.NOTICE, lease, show, keep)
        finally:
            draw(set(old))

    async def _each(
        self,
        kind: DueKind,
        lease: Callable[[int, Transaction], Sequence[Item]],
        handle: Callable[[Sequence[Item]], Iterable[Coroutine[Any, Any, Ended]]],
        keep: Callable[[Sequence[Ended]], Awaitable[None]] | None = None,
    ) -> None:
        """Handles all that is due, `AT_ONCE` at a time. No more than those are leased, so a crash holds up few.

        `keep` is told of those that ended meanwhile, all together.
        """
        under_way: set[asyncio.Task[Ended]] = set()
        try:
            while not self._stopping:
                # Looked for first: most rings leave nothing of a kind to do, and to lease is to hold all other writers up.
                due = await self._store.read(lambda tx: tx.due(kind, self._clock(), 1))
                items = await self._store.write(partial(lease, AT_ONCE - len(under_way))) if due else ()
                handling(len(items))
                under_way |= {asyncio.create_task(handling_one) for handling_one in handle(items)}
                if not under_way:
                    return
                ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if keep:
                    await keep([task.result() for task in ended])
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            rest = await asyncio.gather(*under_way, return_exceptions=True)
            if keep:
                await keep([one for one in rest if not isinstance(one, BaseException)])

    async def _keep(self, shown: Sequence[_Showing]) -> None:
        """Writes down what was shown since the last time: a message that took a moment longer waits for no commit of its own."""
        if not shown:
            return
        try:
            await self._store.write(partial(self._write_down, shown))
        except Exception as error:
            log.exception("%s may be shown and are not written down", ", ".join(one.notice.id for one in shown))
            failed(error)

    def _write_down(self, shown: Sequence[_Showing], tx: Transaction) -> None:
        for one in shown:
            if one.again_at is not None:
                tx.put_off(one.notice, one.again_at, failed=one.failed)
            else:
                tx.shown(one.notice, channel=one.channel, ts=one.ts)

    async def _show(self, notice: Notice, told: Awaitable[Story]) -> _Showing:
        try:
            story = await told
            async with asyncio.timeout(PATIENCE.total_seconds()):
                if (opens := await self._opens(notice, story)) is not None:
                    return _Showing(notice, notice.channel, notice.ts, opens, failed=False)
                channel, ts = await self._notifier.show(notice, story)
        except (Undeliverable, NotThere) as error:
            log.warning("notice %s (%s) cannot be delivered: %s", notice.id, notice.kind, error)
            return _Showing(notice, notice.channel, notice.ts)
        except Exception as error:
            # Slack is down, or something of ours is wrong: keep the notice, try later and later.
            known = isinstance(error, Unavailable | TimeoutError)
            log.warning("notice %s (%s) is tried again: %s", notice.id, notice.kind, error, exc_info=not known)
            if not known:
                failed(error)
            again_at = self._clock() + wait_before(notice.attempts)
            return _Showing(notice, notice.channel, notice.ts, again_at)
        return _Showing(notice, channel, ts, changes_home=_changes_home(notice, story))

    async def _opens(self, notice: Notice, story: Story) -> datetime | None:
        """When the notice may be posted, if not now: what waited for its reader's morning, and came late for it, waits for the next.

        Unless the key of which it tells would be over by then.
        """
        now = self._clock()
        if not notice.waits or notice.ts is not None or notice.recipient[0] not in "UW":
            return None
        opens = next_working(now, await known_tz(notice.recipient, self._directory))
        ends = story.grant.expires_at if story.grant and story.grant.state is GrantState.ACTIVE else None
        return None if opens <= now or (ends is not None and now < ends <= opens) else opens

    async def redraw(self) -> None:
        """Draws the Homes of those whom notices went to. A crash loses that: opening a Home draws it anew."""
        if self._installation.silent:
            self._stale_homes.clear()
        while self._stale_homes and not self._stopping:
            some = [self._stale_homes.pop() for _ in range(min(AT_ONCE, len(self._stale_homes)))]
            await asyncio.gather(*(self._show_home(actor) for actor in some))

    async def _show_home(self, actor: Actor) -> None:
        try:
            await self._notifier.show_home(await self._stories.home(actor))
        except (Undeliverable, Unavailable) as error:
            log.warning("the Home of %s was not redrawn: %s", actor.id, error)
        except Exception:
            log.exception("the Home of %s was not redrawn; opening it draws it anew", actor.id)


def _changes_home(notice: Notice, story: Story) -> bool:
    """Whether the recipient's Home may look different since the notice was last shown. A channel has none.

    What waits for a decision stands in the Homes of those who are asked, and how the key fares afterwards does not.
    """
    if notice.recipient[0] not in "UW":
        return False
    if notice.kind not in (NoticeKind.APPROVAL, NoticeKind.REMINDER) or story.decision is None:
        return True
    # One that fell behind by the decision, or before it, was not shown since. When one that was put off did, it does not say.
    return notice.due_at <= story.decision.at or notice.attempts > 0 or not notice.shown
