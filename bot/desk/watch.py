"""What time and the world do: sweeps.

Each sweep asks the store for what is due and handles every item in its own transaction, claimed by a guarded update:
safe to run twice, to skip, and to run in several processes at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import NotThere, Superseded, Unavailable, Undeliverable
from bot.desk.grants import Grants
from bot.desk.model import Actor, Cause, Grant, Key, Link, Notice, NoticeKind
from bot.desk.ports import Clock, Notifier, Random, Store, Transaction
from bot.desk.requests import Requests, new_notice
from bot.desk.states import GrantState, LinkState

log = logging.getLogger(__name__)

STALLED_AFTER = timedelta(minutes=2)  # a mint still open then has lost its process; above any mint's patience
BATCH = 100
AT_ONCE = 8  # notices under way to Slack at a time
LEASE = timedelta(minutes=1)  # how long one process may work on an item before another takes it over
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=15)


class Watch:
    """The sweeps. `reconcile` is run by the scheduler; `run` answers the bell between its beats."""

    def __init__(
        self,
        *,
        store: Store,
        requests: Requests,
        grants: Grants,
        notifier: Notifier,
        bell: Bell,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._requests = requests
        self._grants = grants
        self._notifier = notifier
        self._bell = bell
        self._clock = clock
        self._random = random
        self._ears = ((bell.ear(), self.retire), (bell.ear(), self.deliver))

    async def run(self) -> None:
        """Carries out, at each ring, what the acts before it left to do. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for ear, sweep in self._ears:
                group.create_task(self._answer(ear, sweep))

    async def _answer(self, ear: asyncio.Event, sweep: Callable[[], Awaitable[None]]) -> None:
        while True:
            await ear.wait()
            ear.clear()
            try:
                await sweep()
            except Exception:
                # The scheduler's next beat rings again; one failed pass must not end all of them.
                log.exception("a sweep failed and will run again")

    async def reconcile(self) -> None:
        """Puts right what a crash, or time, left: stalled mints, unopened links, expired grants. Then rings."""
        now = self._clock()
        mints = await self._store.read(lambda tx: tx.stalled_mints(now - STALLED_AFTER, BATCH))
        for key in mints:
            await self._settle(partial(self._unfinished, key))
        links = await self._store.read(lambda tx: tx.overdue_links(now, BATCH))
        for link in links:
            await self._settle(partial(self._take_back, link))
        grants = await self._store.read(lambda tx: tx.expired_grants(now, BATCH))
        for grant in grants:
            await self._settle(partial(self._expire, grant))
        self._bell.ring()

    async def _settle(self, act: Callable[[Transaction], None]) -> None:
        try:
            with suppress(Superseded):  # another process, or the holder, was faster
                await self._store.write(act)
        except Exception:
            log.exception("one item of a sweep failed; the others go on")

    def _unfinished(self, key: Key, tx: Transaction) -> None:
        now = self._clock()
        self._grants.break_off(tx, key, now, certain=False, because="the pick-up did not come to its end")
        grant = tx.grant(key.team, key.grant_id)
        if grant is not None and grant.state is GrantState.READY:
            tx.add(
                new_notice(
                    NoticeKind.UNFINISHED,
                    grant.team,
                    grant.request_id,
                    grant.holder,
                    clock=self._clock,
                    random=self._random,
                )
            )

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
        self._grants.end(tx, grant, self._clock(), by=by, because=Cause.EXPIRED, recorded_as=Act.EXPIRED)

    async def retire(self) -> None:
        """Revokes at their providers what is to be revoked and due."""
        while keys := await self._store.write(lambda tx: tx.lease_keys(self._clock(), self._clock() + LEASE, BATCH)):
            await asyncio.gather(*(self._retire(key) for key in keys))

    async def _retire(self, key: Key) -> None:
        try:
            with suppress(Superseded):  # another process wrote it down first
                await self._grants.carry_out(key)
        except Exception:
            log.exception("revoking %s failed; its lease ends, and it is tried again", key.id)

    async def deliver(self) -> None:
        """Posts, or brings up to date, every notice that is due; then the Homes of those it went to."""
        gate = asyncio.Semaphore(AT_ONCE)
        while due := await self._store.write(lambda tx: tx.lease_notices(self._clock(), self._clock() + LEASE, BATCH)):
            await asyncio.gather(*(self._show(notice, gate) for notice in due))
            homes = {Actor(one.team, one.recipient) for one in due if one.recipient[0] in "UW"}
            await asyncio.gather(*(self._show_home(actor, gate) for actor in homes))

    async def _show(self, notice: Notice, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                story = await self._requests.story(notice.team, notice.about)
                channel, ts = await self._notifier.show(notice, story)
            except (Undeliverable, NotThere) as error:
                log.warning("notice %s (%s) cannot be delivered: %s", notice.id, notice.kind, error)
                await self._store.write(lambda tx: tx.shown(notice, channel=notice.channel, ts=notice.ts))
            except Exception:
                # Slack is down, or something of ours is wrong: keep the notice, try later and later.
                log.exception("notice %s (%s) failed and will be tried again", notice.id, notice.kind)
                wait = min(FIRST_RETRY * 2 ** min(notice.attempts, 10), LONGEST_RETRY)
                until = self._clock() + wait
                await self._store.write(lambda tx: tx.put_off(notice, until))
            else:
                await self._store.write(lambda tx: tx.shown(notice, channel=channel, ts=ts))

    async def _show_home(self, actor: Actor, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                await self._notifier.show_home(await self._requests.home(actor))
            except (Undeliverable, Unavailable) as error:
                log.warning("the Home of %s was not redrawn: %s", actor.id, error)
            except Exception:
                log.exception("the Home of %s was not redrawn; opening it draws it anew", actor.id)
