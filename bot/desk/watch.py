"""What time and the world do: sweeps.

Each sweep asks the store for what is due and handles every item in its own transaction, claimed by a guarded update:
safe to run twice, to skip, and to run in several processes at once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TypeVar

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.budgets import Budgets
from bot.desk.due import DueKind, SweepName
from bot.desk.errors import Superseded
from bot.desk.grants import Grants
from bot.desk.hands import LEASE, Hands
from bot.desk.installation import Installation
from bot.desk.invitations import Invitations
from bot.desk.mailing import Mailing
from bot.desk.messages import Messages
from bot.desk.model import SYSTEM, Cause, Grant, Key, Link, NoticeKind
from bot.desk.ports import Clock, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.revoking import Revoking
from bot.desk.rotation import Rotation
from bot.desk.rounds import Rounds
from bot.desk.states import GrantState, KeyState, LinkState
from bot.desk.stories import new_notice
from bot.desk.sweeps import Pass, Sweep, Sweeps, failed, handling
from bot.desk.switching import Switching
from bot.desk.timers import Timers
from bot.desk.week import Subscription

log = logging.getLogger(__name__)

Ripe = TypeVar("Ripe", Key, Link, Grant)

STALLED_AFTER = timedelta(minutes=2)  # a mint still open then has lost its process; above any mint's patience
BATCH = 100
# Of digests: a sweep of which nothing is heard for five passes for one that stands still.
LONGEST_PASS = timedelta(minutes=4)


class Watch:
    """Does what the sweeps do; `sweeps` is the list of them. `run` answers the bell between the beats of the metronome."""

    def __init__(
        self,
        *,
        store: Store,
        providers: Providers,
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
        messages: Messages,
        hands: Hands,
        bell: Bell,
        clock: Clock,
        random: Random,
        heard: Callable[[Pass], None],
    ) -> None:
        self._store = store
        self._providers = providers
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
        self._messages = messages
        self._hands = hands
        self._bell = bell
        self._clock = clock
        self._random = random
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
            (messages.homes_due, self.redraw),
        )

    async def run(self) -> None:
        """Carries out, at each ring, what the acts before it left to do. Runs until `stop`, or until cancelled."""
        async with asyncio.TaskGroup() as group:
            for ear, work in self._ears:
                group.create_task(self._answer(ear, work))

    def stop(self) -> None:
        """Ends `run` as soon as what is under way is done and written down; nothing new is begun."""
        self._hands.stopping = True
        for ear, _ in self._ears:
            ear.set()

    async def _answer(self, ear: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
        while not self._hands.stopping:
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
            await self._hands.each(DueKind.DIGEST, lease, partial(map, self._mailing.send))

    async def _settle_all(
        self, due: Callable[[int], Awaitable[Sequence[Ripe]]], act: Callable[[Ripe, Transaction], None]
    ) -> None:
        """All that is due now, a batch at a time. What failed, and so is due still, is tried again by the next pass."""
        tried, still_due = set[str](), 0
        while not self._hands.stopping:
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
        because, act = (Cause.LEFT, Act.HOLDER_LEFT) if grant.left_at else (Cause.EXPIRED, Act.EXPIRED)
        self._grants.end(tx, grant, self._clock(), by=SYSTEM, because=because, recorded_as=act)

    def _end_grace(self, key: Key, tx: Transaction) -> None:
        self._rotation.end_grace(tx, key, self._clock())

    def _begin_anew(self, key: Key, tx: Transaction) -> None:
        self._budgets.begin_anew(tx, key, self._clock())

    async def retire(self) -> None:
        """Carries out at their providers what is due of the keys: revokes them, or switches them off or on."""

        def lease(room: int, tx: Transaction) -> Sequence[Key]:
            return tx.lease_keys(self._clock(), self._clock() + LEASE, room)

        await self._hands.each(DueKind.KEY, lease, partial(map, self._retire))

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

        await self._hands.each(DueKind.INVITATION, lease, partial(map, self._invite))

    async def _invite(self, grant: Grant) -> None:
        try:
            with suppress(Superseded):  # it was taken back, or another process was faster
                await self._invitations.carry_out(grant)
        except Exception as error:
            log.exception("the invitation of %s failed; its lease ends, and it is tried again", grant.id)
            failed(error)

    async def deliver(self) -> None:
        """Posts, or brings up to date, every message that is due."""
        await self._messages.deliver()

    async def redraw(self) -> None:
        """Draws the Homes that the messages made old."""
        await self._messages.draw_homes()
