"""What keys used: read from the providers by a round every hour, and told to their holders.

A round reads the last days again, as providers still correct them, page by page; a page is written in pieces, each in
a transaction that holds the figures to the budgets, too. How far it came counts only when the round came to its end:
after a crash the same days are read again, and what is reported anew replaces what was reported before.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from bot.desk.bell import Bell
from bot.desk.budgets import Budgets, Unheard
from bot.desk.door import Door
from bot.desk.growth import Window, grown
from bot.desk.incidents import worth_a_look
from bot.desk.model import Actor, DayUse, KeyUse, MyUsage, ReportedBy, Round, RoundKind, Story, TimerKind
from bot.desk.offer import Ability, Usage
from bot.desk.ports import Clock, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.rotation import Rotation
from bot.desk.rounds import Lease
from bot.desk.states import GrantState
from bot.desk.stories import tell

log = logging.getLogger(__name__)

READ_AGAIN = timedelta(days=2)  # the days before the last one read, which a provider may still correct
TREND_DAYS = 14
HOURS_KEPT = timedelta(weeks=10)  # eight are looked back on, and a grant's may be two weeks of outages
FORGOTTEN_AT_ONCE = 5000  # hours, in one transaction
PIECE = 500  # figures written in one transaction, so that nobody waits long for their turn
SHOWN_AT_MOST = 15  # keys; a Slack message takes 50 blocks


class UsageDesk:
    """Reads what keys used, and tells it."""

    def __init__(
        self,
        *,
        store: Store,
        door: Door,
        providers: Providers,
        rotation: Rotation,
        budgets: Budgets,
        bell: Bell,
        clock: Clock,
    ) -> None:
        self._store = store
        self._door = door
        self._providers = providers
        self._rotation = rotation
        self._budgets = budgets
        self._bell = bell
        self._clock = clock

    # ---- reading

    async def collect(self, lease: Lease) -> Mapping[str, Any]:
        """One round at one provider. What belongs to no key of the desk is counted and left."""
        of = lease.round
        provider = self._providers[of.provider]
        today = self._clock().date()
        others = 0
        async for page in provider.usage(since=first_day(of.done_to, today), until=today):
            for start in range(0, len(page), PIECE):
                piece = page[start : start + PIECE]
                window = Window(of.ended_at, self._clock(), provider.usage_lag)
                nobodys, followed = await self._keep(lease, piece, window)
                others += nobodys
                if followed:
                    self._bell.ring()
        if await lease.write(partial(self._rotation.look_for_switches, of, provider.usage_lag)):
            self._bell.ring()
        while await lease.write(self._forget) == FORGOTTEN_AT_ONCE:
            pass
        log.info("usage at %s is read up to %s; %d figures belong to no key of the desk", of.provider, today, others)
        return {"done_to": today}

    async def _keep(self, lease: Lease, piece: Sequence[Usage], window: Window) -> tuple[int, bool]:
        """Writes a piece down; again, where somebody is to hear of it and had to be looked up first, which is seldom."""
        hears: dict[str, Sequence[str]] = {}
        while True:
            try:
                return await lease.write(partial(self._write_down, lease.round, piece, window, hears))
            except Unheard as some:
                hears |= await self._budgets.who_hears(some.grants)

    def _forget(self, tx: Transaction) -> int:
        return tx.forget_hours(self._clock() - HOURS_KEPT, FORGOTTEN_AT_ONCE)

    def _write_down(
        self, of: Round, piece: Sequence[Usage], window: Window, hears: Mapping[str, Sequence[str]], tx: Transaction
    ) -> tuple[int, bool]:
        """How many figures were nobody's, and whether a budget was warned of or stopped by the others."""
        meters = {one.meter for one in piece if one.meter}
        keys = tx.keys_by_meter(of.team, of.provider, meters)
        ours = [one for one in piece if one.meter in keys]
        _put(tx, of.team, [(keys[one.meter], one) for one in ours if one.total_since is None], window)
        totals = sorted(
            (one for one in ours if one.total_since is not None), key=lambda one: (one.total_since, one.day)
        )
        for (since, day), same in groupby(totals, key=lambda one: (one.total_since, one.day)):
            running = [(keys[one.meter], one) for one in same]
            before = tx.used_before(of.team, [key_id for key_id, _ in running], since or day, day)
            _put(tx, of.team, [(key_id, _less(one, before.get(key_id))) for key_id, one in running], window)
        month = self._clock().date().replace(day=1)
        now_used = {keys[one.meter] for one in ours if one.day >= month}
        followed = bool(now_used) and self._budgets.hold(tx, of.team, now_used, self._clock(), hears=hears)
        return len(piece) - len(ours), followed

    # ---- telling

    async def mine(self, actor: Actor) -> MyUsage:
        """What the member used this month, by key: those that live, and those of which something was used lately.

        Raises `NotWelcome`.
        """
        await self._door.admit(actor, to="look at usage", subject=actor.id)
        today = self._clock().date()
        month, trend_from = today.replace(day=1), today - timedelta(days=TREND_DAYS - 1)

        def look(tx: Transaction) -> MyUsage:
            used = tx.used_by(actor.team, actor.id, min(month, trend_from))
            by_grant: dict[str, list[DayUse]] = {}
            for one in used:
                by_grant.setdefault(one.grant_id, []).append(one)
            grants = [
                grant
                for grant in tx.grants_of(actor.team, actor.id, 200)
                if grant.id in by_grant or grant.state is GrantState.ACTIVE
            ]
            total = sum(one.cost_micros for one in used if one.day >= month)
            stories = [tell(tx, actor.team, grant.request_id, self._providers) for grant in grants[:SHOWN_AT_MOST]]
            shown = [self._key_use(story, by_grant, month, today) for story in stories]
            names = dict.fromkeys(grant.draft.scope.provider for grant in grants)
            return MyUsage(
                month=month,
                cost_micros=total,
                keys=tuple(sorted(shown, key=lambda one: -one.cost_micros)),
                sources=tuple(self._source(tx, actor.team, name) for name in names),
                more=len(grants) - len(stories),
            )

        return await self._store.read(look)

    def _key_use(self, story: Story, by_grant: Mapping[str, Sequence[DayUse]], month: date, today: date) -> KeyUse:
        days = by_grant.get(story.grant.id, ()) if story.grant else ()
        this_month = [one for one in days if one.day >= month]
        cost: dict[date, int] = {one.day: one.cost_micros for one in days}
        return KeyUse(
            story=story,
            cost_micros=sum(one.cost_micros for one in this_month),
            requests=sum(one.requests for one in this_month),
            tokens_in=sum(one.tokens_in for one in this_month),
            tokens_out=sum(one.tokens_out for one in this_month),
            last_day=max((one.day for one in days), default=None),
            trend=tuple(cost.get(today - timedelta(days=back), 0) for back in reversed(range(TREND_DAYS))),
            estimated=any(one.estimated for one in this_month),
            reported=self._providers.offers(story.request.draft.scope.provider, Ability.USAGE),
        )

    def _source(self, tx: Transaction, team: str, name: str) -> ReportedBy:
        provider = self._providers.get(name)
        if provider is None or not self._providers.offers(name, Ability.USAGE):
            return ReportedBy(provider.label if provider else name, None, timedelta(), reports=False)
        ended = [
            one.ended_at
            for one in tx.rounds(team)
            if (one.provider, one.kind) == (name, RoundKind.USAGE) and one.ended_at
        ]
        return ReportedBy(provider.label, ended[0] if ended else None, provider.usage_lag)


def first_day(done_to: date | None, today: date) -> date:
    """The first day that a round reads: the last days again; at first, this month and what a trend shows."""
    if done_to is None:
        return min(today.replace(day=1), today - timedelta(days=TREND_DAYS - 1))
    return min(done_to, today) - READ_AGAIN


def _put(tx: Transaction, team: str, figures: Sequence[tuple[str, Usage]], window: Window) -> None:
    """Writes the figures down, and the hours in which they grew: both or neither, so that no hour counts twice."""
    known = tx.known_usage(team, {key_id for key_id, _ in figures}, {one.day for _, one in figures})
    hours = grown(known, figures, window)
    tx.add_hours(team, hours)
    tx.put_usage(team, figures)
    looked_at = {(team, one.key_id) for one in hours if worth_a_look(one)}
    for grant_id in sorted({key.grant_id for key in tx.keys_of_teams(looked_at)}) if looked_at else ():
        tx.set_timer(team, TimerKind.UNUSUAL, grant_id, window.until)


def _less(total: Usage, before: Usage | None) -> Usage:
    """What of a running total falls on its own day."""
    if before is None:
        return total
    return replace(
        total,
        requests=max(total.requests - before.requests, 0),
        tokens_in=max(total.tokens_in - before.tokens_in, 0),
        tokens_out=max(total.tokens_out - before.tokens_out, 0),
        cost_micros=max(total.cost_micros - before.cost_micros, 0),
    )
