"""Budgets: what a key used is held against what was agreed for the month, in the transaction that writes it down."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from bot.desk.approvers import Approvers
from bot.desk.audit import Act
from bot.desk.grants import Grants
from bot.desk.limits import MICROS_IN_A_CENT, WARN_AT
from bot.desk.model import SYSTEM, Cause, Grant, Key, NoticeKind
from bot.desk.offer import Ability
from bot.desk.policy import OverBudget, Policy
from bot.desk.ports import Clock, Random, Store, Transaction
from bot.desk.providers import Providers
from bot.desk.states import GrantState, KeyState
from bot.desk.stories import came_of, new_notice
from bot.desk.switching import Switching


class Unheard(Exception):
    """Budgets of these grants are used up, and it is not known yet who is told: nothing is written until it is."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        super().__init__(", ".join(grant.id for grant in grants))
        self.grants = grants


class Budgets:
    """Warns, and switches off or revokes as the rule that granted a key says today. Months are calendar months, in UTC."""

    def __init__(
        self,
        *,
        store: Store,
        policy: Policy,
        approvers: Approvers,
        providers: Providers,
        grants: Grants,
        switching: Switching,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._policy = policy
        self._approvers = approvers
        self._providers = providers
        self._grants = grants
        self._switching = switching
        self._clock = clock
        self._random = random

    async def who_hears(self, grants: Iterable[Grant]) -> Mapping[str, Sequence[str]]:
        """By grant, who is told that its budget is used up."""
        hears = {}
        for grant in grants:
            request, decision = await self._store.read(partial(came_of, grant=grant))
            found = await self._approvers.who_hears(request, decision.approver) if request and decision else ()
            hears[grant.id] = sorted(found)
        return hears

    def hold(
        self, tx: Transaction, team: str, key_ids: Iterable[str], now: datetime, *, hears: Mapping[str, Sequence[str]]
    ) -> bool:
        """Holds what these keys used to the budgets of their grants; whether anything followed from it.

        Each step is told, and each stop made, once a month: a key that an approver switched on again goes on. Raises `Unheard`
        where a budget is used up now and `hears` does not say who is told.
        """
        month = now.date().replace(day=1)
        followed, unheard = False, list[Grant]()
        for grant, micros in tx.spent(team, key_ids, month, WARN_AT[0]):
            percent = micros * 100 // (grant.draft.scope.monthly_budget_cents * MICROS_IN_A_CENT)
            once = f"budget {grant.id} {month:%Y-%m}"
            crossed = [at for at in WARN_AT if percent >= at and tx.first_time(team, f"{once} {at}", now)]
            stopped = percent >= 100 and self._stop(tx, grant, now, once=f"{once} stop")
            if crossed and crossed[-1] >= 100 and grant.id not in hears:
                unheard.append(grant)
            elif crossed:
                self._tell(tx, grant, now, percent=crossed[-1], spent_micros=micros, hears=hears.get(grant.id, ()))
            followed = followed or stopped or bool(crossed)
        if unheard:
            raise Unheard(unheard)
        return followed

    def _tell(
        self, tx: Transaction, grant: Grant, now: datetime, *, percent: int, spent_micros: int, hears: Sequence[str]
    ) -> None:
        tx.redraw(grant.team, grant.request_id, now)
        found = tx.grant(grant.team, grant.id)
        if found is not None and found.state is GrantState.ACTIVE:  # one that ended by it was told so
            # What is not used up can wait for their working hours; what waited there is told with it.
            tx.drop_unposted(grant.team, grant.request_id, [NoticeKind.BUDGET])
            self._notify(tx, NoticeKind.BUDGET, grant, grant.holder, waits=percent < 100)
        for who in hears if percent >= 100 else ():
            self._notify(tx, NoticeKind.OVERSPENT, grant, who)
        tx.record(
            team=grant.team,
            at=now,
            actor=SYSTEM,
            act=Act.WARNED,
            subject=grant.id,
            per_cent=percent,
            spent_micros=spent_micros,
            monthly_budget_cents=grant.draft.scope.monthly_budget_cents,
        )

    def _notify(self, tx: Transaction, kind: NoticeKind, grant: Grant, recipient: str, *, waits: bool = False) -> None:
        tx.add(new_notice(kind, grant, recipient, due_at=self._clock(), random=self._random, waits=waits))

    def _stop(self, tx: Transaction, grant: Grant, now: datetime, *, once: str) -> bool:
        """Whether the key is to be stopped from here on."""
        request = tx.request(grant.team, grant.request_id)
        key = tx.key(grant.team, grant.key_id) if grant.key_id else None
        if request is None or key is None or key.state is not KeyState.LIVE:
            return False
        over = self._policy.over_budget(request.rule, grant.draft.scope)
        if over is OverBudget.TELL or not tx.first_time(grant.team, once, now):
            return False
        if over is OverBudget.DISABLE and self._providers.offers(key.provider, Ability.DISABLE):
            self._switching.ask_off(tx, key, now)
        else:
            self._grants.end(tx, grant, now, by=SYSTEM, because=Cause.OVERSPENT, recorded_as=Act.OVERSPENT)
        return True

    def begin_anew(self, tx: Transaction, key: Key, now: datetime) -> None:
        """A month is over: a key that its budget had switched off goes on. Raises `Superseded` when it moved on."""
        found = tx.key(key.team, key.id)  # somebody may have paused it since `key` was read
        if found is not None and found.state is KeyState.DISABLED and found.due_at is not None and found.due_at <= now:
            self._switching.month_over(tx, found, now)
