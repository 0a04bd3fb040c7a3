"""Durations as LiteLLM writes them ("30s", "12h", "30d", "1mo"), and budgets that begin anew with them."""

import re
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from decimal import Decimal

from sandbox.litellm.wire import Fault, money, typed
from sandbox.metering import DAY, HOUR
from sandbox.wire import Json, iso, moment

_SECONDS = {"s": 1, "m": 60, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"([1-9]\d*)(mo|[smhdw])")


@dataclass(frozen=True)
class Budget:
    """At most so many US dollars (None: no end) until `reset_at`, and then anew (None: never)."""

    most: float | None = None
    duration: str | None = None
    spent: Decimal = Decimal(0)
    reset_at: int | None = None

    @property
    def exhausted(self) -> bool:
        """Whether all of it is spent."""
        return self.most is not None and self.spent >= Decimal(str(self.most))

    def at(self, now: float) -> "Budget":
        """As it stands now."""
        budget = self
        while budget.duration is not None and budget.reset_at is not None and budget.reset_at <= now:
            budget = replace(budget, spent=Decimal(0), reset_at=_next_reset(budget.duration, budget.reset_at))
        return budget

    def less(self, cost: Decimal, now: int) -> "Budget":
        """With so much more spent of it."""
        budget = self.at(now)
        return replace(budget, spent=budget.spent + cost)

    def _lasting(self, duration: str | None, now: int) -> "Budget":
        """With another duration. What was spent so far still counts."""
        return replace(self, duration=duration, reset_at=None if duration is None else _next_reset(duration, now))

    def shown(self, now: int) -> Json:
        """As LiteLLM shows the budget of a key or a team."""
        budget = self.at(now)
        return {
            "max_budget": budget.most,
            "budget_duration": budget.duration,
            "budget_reset_at": iso(budget.reset_at),
            "spend": float(budget.spent),
        }

    def changed(self, body: Json, now: int) -> "Budget":
        """As a request's body wants it."""
        budget = self.at(now)
        if "max_budget" in body:
            budget = replace(budget, most=money(body, "max_budget"))
        if "budget_duration" in body:
            budget = budget._lasting(typed(body, "budget_duration", str), now)
        return budget

    def dump(self) -> Json:
        """For `load`."""
        return {**asdict(self), "spent": str(self.spent)}

    @classmethod
    def load(cls, state: Json) -> "Budget":
        """What `dump` gave."""
        return cls(**{**state, "spent": Decimal(state["spent"])})


def lifetime(duration: str, now: float) -> int:
    """When something that is made now and lasts for the duration is over."""
    number, unit = _read(duration)
    if unit == "mo":
        return int((moment(now) + timedelta(days=30 * number)).timestamp())
    return int(now) + number * _SECONDS[unit]


def _next_reset(duration: str, now: int) -> int:
    """Days begin at midnight, weeks on Monday, months (and 30 days) on the first, hours, minutes, seconds on the clock."""
    number, unit = _read(duration)
    midnight = now - now % DAY
    if unit == "mo" or (number, unit) == (30, "d"):
        first = moment(midnight).replace(day=1)
        for _ in range(number if unit == "mo" else 1):
            first = (first + timedelta(days=32)).replace(day=1)
        return int(first.timestamp())
    length = number * _SECONDS[unit]
    if length == 7 * DAY:
        return midnight + (7 - moment(now).weekday()) * DAY
    return midnight + length if length % DAY == 0 else now - now % length + length


def _read(duration: str) -> tuple[int, str]:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise Fault(400, f"Invalid duration format: {duration}", kind="bad_request_error")
    return int(match[1]), match[2]
