"""Posting the messages that are due, and keeping them current, with the Homes of those to whom they go."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bot.desk.due import DueKind
from bot.desk.errors import NotThere, Unavailable, Undeliverable
from bot.desk.hands import AT_ONCE, LEASE, Hands
from bot.desk.hours import next_working
from bot.desk.installation import Installation
from bot.desk.model import Actor, Notice, NoticeKind, Story
from bot.desk.ports import Clock, Directory, Notifier, Store, Transaction
from bot.desk.retrying import wait_before
from bot.desk.states import GrantState
from bot.desk.stories import Stories
from bot.desk.sweeps import failed
from bot.desk.zones import known_tz

log = logging.getLogger(__name__)

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


class Messages:
    """Shows people what they are owed. `homes_due` is set when there are Homes to be drawn anew."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        stories: Stories,
        notifier: Notifier,
        installation: Installation,
        hands: Hands,
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._stories = stories
        self._notifier = notifier
        self._installation = installation
        self._hands = hands
        self._clock = clock
        self._old_homes: set[Actor] = set()
        self.homes_due = asyncio.Event()

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
                self._old_homes |= homes
                self.homes_due.set()

        try:
            await self._hands.each(DueKind.NOTICE, lease, show, keep)
        finally:
            draw(set(old))

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

    async def draw_homes(self) -> None:
        """Draws the Homes of those whom notices went to. A crash loses that: opening a Home draws it anew."""
        if self._installation.silent:
            self._old_homes.clear()
        while self._old_homes and not self._hands.stopping:
            some = [self._old_homes.pop() for _ in range(min(AT_ONCE, len(self._old_homes)))]
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
