"""Which limit holds a key, and how surely: the provider's own, and what the desk adds by watching."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.desk.offer import AppliedLimit, Enforcer, LimitKind
from bot.desk.policy import OverBudget

COLLECTED_EVERY = timedelta(hours=1)  # how often usage is read; a budget that the desk enforces bites that much later
WARN_AT = (50, 80, 100)  # per cent of a month's budget
MICROS_IN_A_CENT = 10_000


def next_month(now: datetime) -> datetime:
    """When the calendar month of `now` is over, in UTC, and with it what was used of its budget."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)


def watched(
    limits: Sequence[AppliedLimit], *, over_budget: OverBudget, disables: bool, usage_lag: timedelta
) -> tuple[AppliedLimit, ...]:
    """The limits, where the desk reads what is used: a budget that nobody else holds the key to, it does itself.

    `disables` says whether the provider can switch a key off; where it cannot, the desk revokes it instead.
    """
    return tuple(
        _watched(limit, over_budget, disables, usage_lag + COLLECTED_EVERY)
        if limit.kind is LimitKind.BUDGET and limit.enforcer is Enforcer.NOBODY
        else limit
        for limit in limits
    )


def _watched(limit: AppliedLimit, over_budget: OverBudget, disables: bool, lag: timedelta) -> AppliedLimit:
    if over_budget is OverBudget.TELL:
        told = "Keydesk tells holder and approver when it is used up."
        return replace(limit, note=f"{limit.note} {told}".strip(), lag=lag)
    then = (
        "The key is then switched off until the month is over."
        if over_budget is OverBudget.DISABLE and disables
        else "The key is then revoked."
    )
    return replace(limit, enforcer=Enforcer.DESK, note=then, lag=lag)
