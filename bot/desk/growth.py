"""When a key was used: what a report adds to the one before it, and the hours in which that can have been.

Providers report days; the desk reads them every hour, so what a day grew by between two reads was used between them.
Only what a read of the hour before and this one enclose counts as measured. All else, after an outage or when a
provider corrects a day that was over, is kept with all the hours that it may belong to: it must never look like a burst.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil

from bot.desk.model import HourUse
from bot.desk.offer import Usage

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MEASURED = timedelta(minutes=90)  # what is between two reads of hourly rounds, and some patience with a slow one

Known = Mapping[tuple[str, date, str], Usage]
"""What was written down before, by key, day and model."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time between two reads. `since` is None at the first; `lag` is how late the provider reports as a rule."""

    since: datetime | None
    until: datetime
    lag: timedelta

    def hours(self, day: date, *, running: bool) -> tuple[datetime, int]:
        """The first hour, and how many, in which a day's growth can have been used.

        `running`: the figure is a total, of which a day is only what the days before it leave over.
        """
        midnight = datetime.combine(day, time(), UTC)
        begin = self.since if running and self.since else midnight
        start, end = max(self.since or midnight, begin), min(self.until, midnight + DAY)
        if self.until <= midnight:  # the provider's clock is ahead
            return _hour(self.until), 1
        if start < end:
            if end - start > MEASURED:
                return _hour(start), ceil((end - _hour(start)) / HOUR)
            return _hour(start + (end - start) / 2), 1
        if start - (midnight + DAY) <= self.lag:  # reported late, as usual: it was the end of that day
            return midnight + DAY - HOUR, 1
        return midnight, DAY // HOUR


def grown(known: Known, reported: Iterable[tuple[str, Usage]], window: Window) -> list[HourUse]:
    """What these keys used since the read before, by key and hours. A figure that shrank adds nothing."""
    sums: dict[tuple[str, datetime, int], Counter[str]] = {}
    for key_id, one in reported:
        was = known.get((key_id, one.day, one.model))
        more = Counter(
            requests=max(one.requests - (was.requests if was else 0), 0),
            tokens=max(_tokens(one) - (_tokens(was) if was else 0), 0),
            cost_micros=max(one.cost_micros - (was.cost_micros if was else 0), 0),
        )
        if any(more.values()):
            hour, span = window.hours(one.day, running=one.total_since is not None)
            sums.setdefault((key_id, hour, span), Counter()).update(more)
    return [HourUse(key_id, hour, span, **found) for (key_id, hour, span), found in sums.items()]


def _tokens(one: Usage) -> int:
    return one.tokens_in + one.tokens_out


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
