"""Unusual use: what a grant's keys do now, held against what they usually do.

Pure. A `Baseline` holds what was used, by the hours of its holder's wall clock, and answers what is unusual about an hour
or a day. Use is judged on a logarithmic scale by median and MAD (median absolute deviation, scaled to a standard
deviation: Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993), which a few odd hours cannot
move. Under a floor nothing is unusual: two cents are no incident.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from heapq import nlargest
from itertools import islice
from math import expm1, log1p

from bot.desk.findings import Finding, Like, Measure, Unusual
from bot.desk.hours import zone
from bot.desk.model import HourUse

WEEKS = 8  # looked back on
LEARNING = timedelta(days=14)  # of measured use, before anything can be unusual
ACTIVE_HOURS, ACTIVE_DAYS = 20, 5  # and so many of them with use
SIMILAR = 8  # hours of the same hour of the week; with fewer, all days of its sort are looked at
DEVIATIONS = 6.0  # scaled MADs above the median
LEAST_SPREAD = 0.22  # of the logarithm: what never varies may still come to nearly four times its median
SCALED = 1.4826  # from a MAD to a standard deviation
ODD = 3  # the so-manieth highest stands for the highest: an odd hour or two do not raise it
ABOVE_SORT = 1.5  # times that, among the days of its sort
ABOVE_DAYS = 2.0  # times that, among all days
ABOVE_ALL = 3.0  # times that, among all hours
BESIDE_ALL = {True: 1.0, False: 2.0}  # at night, by day: a busy hour at another time of day is none to wake anybody for
AS_ACCEPTED = 1.5  # times what somebody said was theirs
ACCEPTED_FOR = timedelta(weeks=26)
NIGHT = range(6)  # hours of the day
DAY, WEEK = 24, 168  # in hours

SNAPSHOT = re.compile(r"[-@](20\d\d-?[01]\d-?[0-3]\d)$")


Figures = tuple[int, int, int]
"""In the order of `Measure`."""

NONE: Figures = (0, 0, 0)
IN_AN_HOUR: Figures = (200, 500_000, 1_000_000)  # no more is never unusual
FIRST_TIME: Figures = (20, 50_000, 250_000)  # nor is no more than that, at night or with a new model
IN_A_DAY = 5_000_000  # cost


@dataclass(frozen=True, slots=True)
class ModelDay:
    """What was used on one of the provider's days with one model."""

    day: date
    model: str
    requests: int
    tokens: int
    cost_micros: int

    @property
    def figures(self) -> Figures:
        """In the order of `Measure`."""
        return self.requests, self.tokens, self.cost_micros


@dataclass(slots=True)
class Baseline:
    """What the keys of one grant usually do; `tz` is its holder's time zone. Hours are numbered by that wall clock."""

    tz: str
    _hours: dict[int, Figures] = field(default_factory=dict)
    _first_hour: int | None = None
    _no_measure: set[int] = field(default_factory=set)  # hours that are no measure of what is usual
    _days: dict[date, Figures] = field(default_factory=dict)
    _no_measure_days: set[date] = field(default_factory=set)
    _models: dict[str, date] = field(default_factory=dict)  # with the first day of each
    _accepted: list[Finding] = field(default_factory=list)

    def add(self, use: HourUse) -> None:
        """What was used in an hour. Where it may have been one of several, none of them counts as known."""
        number = self._number(use.hour)
        if use.span > 1:
            self._no_measure.update(range(number, number + use.span))
            return
        was = self._hours.get(number, NONE)  # when clocks go back an hour comes twice: the busier one is kept
        requests, tokens, cost = was
        self._hours[number] = (
            max(requests, use.requests),
            max(tokens, use.tokens),
            max(cost, use.cost_micros),
        )
        if self._first_hour is None or number < self._first_hour:
            self._first_hour = number

    def add_day(self, use: ModelDay) -> None:
        """What was used on a day with one model."""
        requests, tokens, cost = self._days.get(use.day, NONE)
        self._days[use.day] = (requests + use.requests, tokens + use.tokens, cost + use.cost_micros)
        if use.model:
            name = plain(use.model)
            self._models[name] = min(self._models.get(name, use.day), use.day)

    def leave_out(self, since: datetime, until: datetime) -> None:
        """What was used between the two was found unusual, and nobody said that it was theirs: it is no measure."""
        self._no_measure.update(range(self._number(since), self._number(until) + 1))
        first, last = since.date().toordinal(), until.date().toordinal()
        self._no_measure_days.update(date.fromordinal(number) for number in range(first, last + 1))

    def accept(self, found: Finding) -> None:
        """Somebody said that this was theirs: as much, and half as much again, is usual for half a year."""
        self._accepted.append(found)

    def know(self, model: str) -> None:
        """Holder and approver were told of this model; once is enough."""
        self._models[plain(model)] = date.min

    # ---- what is unusual

    def hour(self, hour: datetime) -> list[Finding]:
        """What is unusual about an hour that was measured, against those before it."""
        number = self._number(hour)
        figures = self._hours.get(number, NONE)
        return [*self._volume(number, figures), *self._night(number, figures)]

    def _volume(self, number: int, figures: Figures) -> list[Finding]:
        """Requests, and what they cost, where they are above what is usual."""
        counted = (Measure.REQUESTS, Measure.COST) if figures[2] else (Measure.REQUESTS, Measure.TOKENS)
        found = [
            self._above_hours(number, measure, figures[index])
            for index, measure in enumerate(Measure)
            if measure in counted and figures[index] > IN_AN_HOUR[index]
        ]
        return [one for one in found if one]

    def _above_hours(self, number: int, measure: Measure, value: int) -> Finding | None:
        index = _INDEX[measure]
        wide = sorted(self._wide(number, index))
        # What three hours of these days came to, three of all hours did: what follows could not find it unusual either.
        if value <= ABOVE_SORT * _highest(wide) or not self._known(number):
            return None
        if value <= self._accepts(Unusual.VOLUME, measure, _at(number)):
            return None
        pool, like = sorted(self._near(number, index)), Like.HOUR_OF_WEEK
        if len(pool) < SIMILAR:
            pool, like = wide, Like.HOUR_OF_WEEKENDS if _weekend(number) else Like.HOUR_OF_WORKDAYS
        (low, high), usual = _usual(pool), max(_ceiling(pool), ABOVE_SORT * _highest(wide))
        ever = self._highest_of_all(number, index)
        usual = max(usual, BESIDE_ALL[number % DAY in NIGHT] * ever)
        if value > usual:
            return Finding(Unusual.VOLUME, _at(number), measure, value, low, high, like)
        if value > ABOVE_ALL * ever:
            return Finding(Unusual.VOLUME, _at(number), measure, value, 0, ever, Like.ALL_HOURS)
        return None

    def _night(self, number: int, figures: Figures) -> list[Finding]:
        if number % DAY not in NIGHT or not _above(figures, FIRST_TIME) or not self._known(number):
            return []
        tonight = number - number % DAY
        before = range(tonight - WEEKS * WEEK, tonight)
        used = (one for one in before if one in self._hours and one not in self._no_measure)
        # By UTC, too: what works by it keeps its hour there, and is at another on this clock once that is put.
        by_utc = self._utc(number) % DAY
        if any(one % DAY in NIGHT or self._utc(one) % DAY == by_utc for one in used):
            return []
        if any(one.kind is Unusual.NIGHT and one.at >= _at(tonight) for one in self._accepted):
            return []
        above = _above(figures, FIRST_TIME)
        measure = above[0] if Measure.REQUESTS in above else above[-1]
        return [Finding(Unusual.NIGHT, _at(number), measure, figures[_INDEX[measure]])]

    def day(self, uses: Iterable[ModelDay]) -> list[Finding]:
        """What is unusual about one of the provider's days, which `uses` are all of, against those before it."""
        found: list[Finding] = []
        for use in uses:
            found += self._model(use)
        for day in sorted({use.day for use in uses}):
            found += self._spend(day)
        return found

    def _model(self, use: ModelDay) -> list[Finding]:
        above = _above(use.figures, FIRST_TIME)
        new = use.model and self._models.get(plain(use.model), use.day) >= use.day
        if not new or not above or not self._used_before(use.day):
            return []
        found = use.figures[_INDEX[above[-1]]]
        return [Finding(Unusual.MODEL, _midnight(use.day), above[-1], found, model=use.model)]

    def _spend(self, day: date) -> list[Finding]:
        cost = self._days[day][2]
        accepted = self._accepts(Unusual.SPEND, Measure.COST, _midnight(day))
        if cost <= max(IN_A_DAY, accepted) or not self._used_before(day):
            return []
        first, weekend = min(self._days), day.weekday() in _WEEKEND
        before = [day - timedelta(days=back) for back in range(1, WEEKS * 7 + 1)]
        costs = {
            one: self._days.get(one, NONE)[2] for one in before if one >= first and one not in self._no_measure_days
        }
        pool = sorted(cost for one, cost in costs.items() if (one.weekday() in _WEEKEND) is weekend)
        if cost <= max(_ceiling(pool), ABOVE_DAYS * _highest(sorted(costs.values()))):
            return []
        like = Like.WEEKENDS if weekend else Like.WORKDAYS
        return [Finding(Unusual.SPEND, _midnight(day), Measure.COST, cost, *_usual(pool), like)]

    # ---- what is known

    def _utc(self, number: int) -> int:
        """The same hour, numbered by UTC."""
        ahead = _at(number).replace(tzinfo=zone(self.tz)).utcoffset() or timedelta()
        return number - ahead // timedelta(hours=1)

    def _number(self, at: datetime) -> int:
        local = at.astimezone(zone(self.tz))
        return local.toordinal() * DAY + local.hour

    def _known(self, number: int) -> bool:
        """Whether hours were measured for so long before this one, and enough of them had use."""
        if self._first_hour is None or (number - self._first_hour) * timedelta(hours=1) < LEARNING:
            return False
        return _as_many(ACTIVE_HOURS, (one < number for one in self._hours))

    def _used_before(self, day: date) -> bool:
        return day - min(self._days) >= LEARNING and _as_many(ACTIVE_DAYS, (one < day for one in self._days))

    def _accepts(self, kind: Unusual, measure: Measure, at: datetime) -> float:
        found = (one for one in self._accepted if (one.kind, one.measure) == (kind, measure))
        return AS_ACCEPTED * max((one.found for one in found if at - one.at < ACCEPTED_FOR), default=0)

    def _near(self, number: int, index: int) -> Iterator[int]:
        for back in range(1, WEEKS + 1):
            yield from self._around(number - back * WEEK, index)

    def _wide(self, number: int, index: int) -> Iterator[int]:
        for back in range(1, WEEKS * 7 // 2 + 1):
            there = number - back * DAY
            if _weekend(there) is _weekend(number):
                yield from self._around(there, index)

    def _around(self, number: int, index: int) -> Iterator[int]:
        """The hour and those beside it, where they were measured. An hour without use is one of none."""
        first = self._first_hour or number
        for one in (number - 1, number, number + 1):
            if one >= first and one not in self._no_measure:
                yield self._hours.get(one, NONE)[index]

    def _highest_of_all(self, number: int, index: int) -> int:
        before = range(number - WEEKS * WEEK, number)
        values = (self._hours[one][index] for one in before if one in self._hours and one not in self._no_measure)
        return min(nlargest(ODD, values), default=0)


_INDEX: Mapping[Measure, int] = {measure: index for index, measure in enumerate(Measure)}
_WEEKEND = (5, 6)


def plain(model: str) -> str:
    """Without the date of a snapshot: "gpt-5-mini-2025-08-07" is "gpt-5-mini"."""
    return SNAPSHOT.sub("", model)


def _as_many(count: int, true: Iterable[bool]) -> bool:
    """Whether at least so many are true; no more of them are looked at."""
    return sum(1 for _ in islice((one for one in true if one), count)) == count


def _above(figures: Figures, floor: Figures) -> list[Measure]:
    return [measure for index, measure in enumerate(Measure) if figures[index] > floor[index]]


def _ceiling(ordered: Sequence[int]) -> float:
    """What is usual at most, by median and MAD of the logarithms."""
    if not ordered:
        return 0.0
    logs = [log1p(value) for value in ordered]
    middle = logs[len(logs) // 2]
    deviation = sorted(abs(value - middle) for value in logs)[len(logs) // 2]
    return expm1(middle + DEVIATIONS * max(SCALED * deviation, LEAST_SPREAD))


def _highest(ordered: Sequence[int]) -> int:
    return ordered[-min(ODD, len(ordered))] if ordered else 0


def _usual(ordered: Sequence[int]) -> tuple[int, int]:
    """The range that is told: without the lowest and the highest, where there are enough."""
    cut = 1 if len(ordered) >= SIMILAR else 0
    return (ordered[cut], ordered[-1 - cut]) if ordered else (0, 0)


def _weekend(number: int) -> bool:
    return (number // DAY - 1) % 7 in _WEEKEND


def _at(number: int) -> datetime:
    return datetime.fromordinal(number // DAY) + timedelta(hours=number % DAY)


def _midnight(day: date) -> datetime:
    return datetime.fromordinal(day.toordinal())
