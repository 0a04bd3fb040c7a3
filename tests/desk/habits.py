"""A year of keys in normal use, of different characters, and thefts among it: how often the desk is wrong, and how soon right.

`python -m tests.desk.habits` prints what docs/unusual.md states. Everything comes from seeds, nothing from the detection:
what is normal was written down before it was tried.
"""

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import exp, pi, sin

from bot.desk.findings import Finding, Unusual
from bot.desk.hours import zone
from bot.desk.model import HourUse
from bot.desk.unusual import Baseline, ModelDay

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
YEAR = 365
SEED = "stated"  # the constants of bot/desk/unusual.py were chosen by looking at another
FOLLOWED = timedelta(days=14)  # how long a theft may take to be noticed
QUIET = timedelta(hours=24)  # as the desk closes what nobody answers
ZONES = ("Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Australia/Sydney", "Asia/Tokyo")
MODELS = ("gpt-5-mini", "gpt-5", "gpt-4.1-mini", "gpt-5.1", "gpt-5.1-mini", "o5", "o5-mini", "gpt-6")
PRICE = {"gpt-5-mini": 3_000, "gpt-4.1-mini": 2_500, "gpt-5.1-mini": 3_000, "o5-mini": 6_000}  # micros a request

Hours = dict[datetime, Counter[str]]
"""Requests by hour (UTC) and model."""


@dataclass
class Days:
    """A person's year: when they are away, when it is busy, when they stay up."""

    chance: random.Random
    tz: str
    away: set[date] = field(default_factory=set)
    crunch: set[date] = field(default_factory=set)
    late: set[date] = field(default_factory=set)

    def __post_init__(self) -> None:
        for _ in range(3):  # holidays: two weeks, and one twice
            begin = BEGIN.date() + timedelta(days=self.chance.randrange(YEAR))
            self.away |= {begin + timedelta(days=number) for number in range(self.chance.choice((7, 7, 14)))}
        self.away |= {date(2026, 12, day) for day in range(24, 32)} | {date(2027, 1, day) for day in range(1, 4)}
        begin = BEGIN.date() + timedelta(days=self.chance.randrange(YEAR))
        self.crunch = {begin + timedelta(days=number) for number in range(12)}
        nights = self.chance.choice((0, 1, 1, 2))
        self.late = {BEGIN.date() + timedelta(days=self.chance.randrange(YEAR)) for _ in range(nights)}

    def local(self) -> Iterator[tuple[datetime, datetime]]:
        """Every hour of the year, in UTC and by the person's clock."""
        where = zone(self.tz)
        for number in range(YEAR * 24):
            at = BEGIN + number * HOUR
            yield at, at.astimezone(where)


def _some(chance: random.Random, middle: float, spread: float) -> int:
    """A number of requests: lognormal."""
    return int(middle * exp(chance.gauss(0, spread)))


def office(days: Days) -> Hours:
    """Somebody at a desk: workdays, some evenings, rarely a weekend, once or twice a year past midnight."""
    chance, used, rate = days.chance, Hours(), days.chance.uniform(15, 120)
    model, models = MODELS[0], list(MODELS[1:])
    for at, local in days.local():
        today, hour = local.date(), local.hour
        if today in days.away:
            continue
        if chance.random() < 1.5 / YEAR / 24:
            model = models.pop(0) if models else model
        workday = local.weekday() < 5
        likely = {True: 0.7 if 9 <= hour < 18 and hour != 12 else 0.25 if 18 <= hour < 22 or hour in (8, 12) else 0}
        likely[False] = 0.03 if 10 <= hour < 20 else 0
        probability = likely[workday]
        if today in days.late and hour < 2:
            probability = 1
        if chance.random() < probability:
            much = rate * (chance.uniform(1.5, 3) if today in days.crunch else 1)
            used[at] = Counter({model: max(_some(chance, much, 0.7), 1)})
    return used


def nightly(days: Days) -> Hours:
    """A batch each night, by UTC as machines have it; some fail, some run again by day, the last of a month is long."""
    chance, used = days.chance, Hours()
    rate, begin, model = chance.uniform(400, 4000), chance.randrange(0, 6), chance.choice(MODELS[:3])
    today_again: date | None = None
    for at, _ in days.local():
        if at.hour == 0:
            today_again = at.date() if chance.random() < 0.02 else None
        last = (at + DAY).month != at.month
        length = 5 if last else 2
        if (begin <= at.hour < begin + length and chance.random() < 0.97) or (
            today_again == at.date() and 14 <= at.hour < 16
        ):
            used[at] = Counter({model: _some(chance, rate, 0.2)})
    return used


def researcher(days: Days) -> Hours:
    """Bursts at any hour of a waking day, of any size; a new model every two months."""
    chance, used = days.chance, Hours()
    models = list(MODELS)
    chance.shuffle(models)
    model, left, size = models.pop(), 0, 0.0
    for at, local in days.local():
        if local.date() in days.away:
            continue
        if models and chance.random() < 6 / YEAR / 24:
            model = models.pop()
        waking = 9 <= local.hour < 24 or (local.hour < 3 and left)
        if not left and waking and chance.random() < (0.06 if local.weekday() < 5 else 0.03):
            left, size = chance.randrange(1, 7), _some(chance, 150, 1.2)
        if left and waking:
            used[at] = Counter({model: _some(chance, size, 0.4)})
            left -= 1
    return used


def service(days: Days) -> Hours:
    """Round the clock, with the day's wave; it grows, and once it is launched somewhere else and doubles."""
    chance, used = days.chance, Hours()
    rate, growth, model = chance.uniform(100, 2000), chance.uniform(0.005, 0.03), MODELS[0]
    launch, change = chance.randrange(60, YEAR), chance.randrange(60, YEAR)
    for number, (at, local) in enumerate(days.local()):
        day = number / 24
        wave = 1 + 0.7 * sin((local.hour - 8) / 24 * 2 * pi)
        much = rate * wave * (1 + growth) ** (day / 7) * (2 if day > launch else 1)
        if chance.random() < 0.002:
            much *= 0.05  # an outage of its own
        if day > change:
            model = MODELS[4]
        used[at] = Counter({model: _some(chance, much, 0.2)})
    return used


def ci(days: Days) -> Hours:
    """Checks on each push, and the nightly build."""
    chance, used = days.chance, Hours()
    rate, build = chance.uniform(20, 150), chance.randrange(1, 5)
    for at, local in days.local():
        pushes = chance.choices((0, 1, 2, 3, 6), (4, 4, 3, 2, 1))[0] if 8 <= local.hour < 20 else 0
        requests = _some(chance, rate * pushes, 0.3) if local.weekday() < 5 else 0
        requests += _some(chance, rate * 2, 0.15) if at.hour == build else 0
        if requests:
            used[at] = Counter({MODELS[0]: requests})
    return used


def month_end(days: Days) -> Hours:
    """Reports: little on workdays, much on the last two of a month."""
    chance, used = days.chance, Hours()
    rate = chance.uniform(20, 60)
    for at, local in days.local():
        if local.weekday() >= 5 or not 8 <= local.hour < 18:
            continue
        closing = (local + 2 * DAY).month != local.month
        if chance.random() < (0.9 if closing else 0.3):
            used[at] = Counter({MODELS[0]: _some(chance, rate * (15 if closing else 1), 0.4)})
    return used


CHARACTERS: Mapping[str, tuple[int, Callable[[Days], Hours]]] = {
    "office hours": (20, office),
    "nightly batch": (8, nightly),
    "bursty researcher": (10, researcher),
    "growing service": (10, service),
    "checks and builds": (6, ci),
    "month's end": (6, month_end),
}


# ---- thefts

OWN, LONG = "the key's own", " with much context"  # models, as thieves name them


def bulk_at_night(chance: random.Random, begin: datetime, usual: int) -> Hours:
    """Thousands of requests an hour while the holder sleeps, for five hours."""
    return Hours({begin + number * HOUR: Counter({OWN: chance.randrange(2000, 6000)}) for number in range(5)})


def bulk_by_day(chance: random.Random, begin: datetime, usual: int) -> Hours:
    """Twenty times what the key does, or 3,000 an hour, from one afternoon on."""
    much = max(20 * usual, 3000)
    return Hours({begin + number * HOUR: Counter({OWN: _some(chance, much, 0.2)}) for number in range(12)})


def trickle(chance: random.Random, begin: datetime, usual: int) -> Hours:
    """Half of what the key does, every hour, for two weeks."""
    much = max(usual // 2, 25)
    return Hours({begin + number * HOUR: Counter({OWN: _some(chance, much, 0.2)}) for number in range(336)})


def other_model(chance: random.Random, begin: datetime, usual: int) -> Hours:
    """A dear model that nobody here uses, 60 requests an hour, for a day."""
    return Hours({begin + number * HOUR: Counter({"claude-opus-5-5": _some(chance, 60, 0.3)}) for number in range(24)})


def spend_run(chance: random.Random, begin: datetime, usual: int) -> Hours:
    """No more requests than usual, each with as much context as fits: forty times the cost, for a day."""
    much = max(usual, 30)
    return Hours({begin + number * HOUR: Counter({OWN + LONG: _some(chance, much, 0.3)}) for number in range(24)})


THEFTS: Mapping[str, tuple[int, int, Callable[[random.Random, datetime, int], Hours]]] = {
    "bulk at night": (12, 2, bulk_at_night),  # how many, and at which hour of the holder's clock it begins
    "bulk by day": (12, 14, bulk_by_day),
    "slow trickle": (12, 10, trickle),
    "another model": (12, 11, other_model),
    "spend run": (12, 9, spend_run),
}


# ---- what the desk sees of it


@dataclass
class Watched:
    """One key as the desk watches it: what it said, and when."""

    tz: str
    chance: random.Random
    baseline: Baseline = field(init=False)
    incidents: list[tuple[datetime, list[Finding]]] = field(default_factory=list)
    _open: bool = False
    _last: datetime = BEGIN
    _answered: datetime | None = None
    _today: dict[str, ModelDay] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.baseline = Baseline(self.tz)

    def see(self, at: datetime, used: Mapping[str, int], span: int = 1) -> bool:
        """What the round after that hour finds; whether an incident began with it."""
        day = (at + (span - 1) * HOUR).date()
        self._pass(at)
        if not used:
            return False
        cost = {model: requests * price(model) for model, requests in used.items()}
        self.baseline.add(HourUse("", at, span, sum(used.values()), 0, sum(cost.values())))
        self._today = {model: one for model, one in self._today.items() if one.day == day}
        for model, requests in used.items():
            named = model.removesuffix(LONG)
            was = self._today.get(named, ModelDay(day, named, 0, 0, 0))
            self._today[named] = ModelDay(day, named, was.requests + requests, 0, was.cost_micros + cost[model])
            self.baseline.add_day(ModelDay(day, named, requests, 0, cost[model]))
        found = self.baseline.day(self._today.values())
        found += self.baseline.hour(at) if span == 1 else []
        if not found:
            return False
        self._last = at
        for one in found:
            if one.model:
                self.baseline.know(one.model)
        if self._open:
            self.incidents[-1][1].extend(found)
            return False
        self._open = True
        # Four of five are answered, within a day; the others become quiet.
        answers = self.chance.random() < 0.8
        self._answered = at + timedelta(hours=self.chance.randrange(1, 24)) if answers else None
        self.incidents.append((at, list(found)))
        return True

    def _pass(self, at: datetime) -> None:
        if not self._open:
            return
        if self._answered is not None and at >= self._answered:
            for one in self.incidents[-1][1]:
                self.baseline.accept(one)
            self._open = False
        elif self._answered is None and at >= self._last + QUIET:
            self.baseline.leave_out(self.incidents[-1][0], self._last)
            self._open = False


def price(model: str) -> int:
    """Millionths of a dollar for one request."""
    if model.endswith(LONG):
        return 40 * price(model.removesuffix(LONG))
    return 60_000 if model == "claude-opus-5-5" else PRICE.get(model, 15_000)


def reads(chance: random.Random, used: Hours) -> Iterator[tuple[datetime, Counter[str], int]]:
    """As rounds see it: hours cut at the minute of the round, and twice a year nothing for a day or a half."""
    late = chance.random() * 0.8  # of each hour is reported with the next
    outages = {chance.randrange(30 * 24, YEAR * 24): chance.randrange(6, 30) for _ in range(2)}
    carried: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    since, left = 0, 0
    for number in range(YEAR * 24):
        at = BEGIN + number * HOUR
        now = used.get(at, Counter())
        later = Counter({model: int(requests * late) for model, requests in now.items()})
        seen, carried = carried + (now - later), later
        if number in outages:
            since, left, missed = number, outages[number], Counter()
        if left:
            missed += seen
            left -= 1
            if left or BEGIN + since * HOUR == at:
                continue
            yield BEGIN + since * HOUR, missed, number - since + 1
            continue
        yield at, +seen, 1


@dataclass(frozen=True)
class Year:
    """What the desk said of one key: how often it was wrong, and how soon it was right (None: not at all)."""

    character: str
    alarms: int
    findings: Counter[Unusual]
    theft: str = ""
    caught_after: timedelta | None = None


def lived(number: int, character: str, theft: str = "", *, seed: str = SEED) -> Year:
    """A year of one key; with a theft in its last three months, of which the ten weeks before it are looked at alone."""
    chance = random.Random(f"{seed} {character} {number} {theft}")
    days = Days(chance, ZONES[number % len(ZONES)])
    used = CHARACTERS[character][1](days)
    begin, since = BEGIN + YEAR * DAY, BEGIN
    if theft:
        _, hour, take = THEFTS[theft]
        day = BEGIN + timedelta(days=chance.randrange(280, 340))
        begin = day.astimezone(zone(days.tz)).replace(hour=hour).astimezone(UTC)
        usual = int(statistics.median([sum(one.values()) for one in used.values()]))
        own = max((at, model) for at, models in used.items() if at < begin for model in models)[1]
        for at, taken in take(chance, begin, usual).items():
            named = Counter({model.replace(OWN, own): requests for model, requests in taken.items()})
            used[at] = used.get(at, Counter()) + named
        since = begin - 70 * DAY
    watched = Watched(days.tz, chance)
    caught: timedelta | None = None
    for at, seen, span in reads(chance, used):
        began = at >= since and watched.see(at, seen, span)
        if began and begin <= at < begin + FOLLOWED:
            caught = at + span * HOUR - begin  # the round comes when the hour is over
            break
    findings = Counter(one.kind for _, found in watched.incidents for one in found[:1])
    return Year(character, len(watched.incidents), findings, theft, caught)


def normal(part: int = 1) -> list[Year]:
    """A year of each key; with `part`, of every so-manieth."""
    return [
        lived(number, character) for character, (count, _) in CHARACTERS.items() for number in range(0, count, part)
    ]


def stolen(part: int = 1) -> list[Year]:
    """Every theft, at a key of each character in turn."""
    names = list(CHARACTERS)
    return [
        lived(number, names[number % len(names)], theft)
        for theft, (count, _, _) in THEFTS.items()
        for number in range(0, count, part)
    ]


def told(years: Sequence[Year], thefts: Sequence[Year]) -> str:
    """The tables of docs/unusual.md."""
    lines = [
        "| keys | in normal use for a year | false alarms | for a key and year | most of one key |",
        "|---|---|---|---|---|",
    ]
    for character in CHARACTERS:
        alarms = [year.alarms for year in years if year.character == character]
        mean = sum(alarms) / len(alarms)
        lines.append(f"| {len(alarms)} | {character} | {sum(alarms)} | {mean:.1f} | {max(alarms)} |")
    total = sum(year.alarms for year in years)
    lines.append(f"| {len(years)} | all | {total} | {total / len(years):.1f} | {max(year.alarms for year in years)} |")
    kinds = sum((year.findings for year in years), Counter[Unusual]())
    lines += ["", "By what was found first: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()), ""]
    lines += ["| thefts | of the kind | caught | median after | at the latest |", "|---|---|---|---|---|"]
    for theft in THEFTS:
        after = [year.caught_after for year in thefts if year.theft == theft]
        caught = sorted(one for one in after if one is not None)
        when = f"{_hours(statistics.median_low(caught))} | {_hours(caught[-1])}" if caught else "– | –"
        lines.append(f"| {len(after)} | {theft} | {len(caught)} | {when} |")
    caught = sorted(year.caught_after for year in thefts if year.caught_after is not None)
    lines.append(
        f"| {len(thefts)} | all | {len(caught)} | {_hours(statistics.median_low(caught))} | {_hours(caught[-1])} |"
    )
    return "\n".join(lines)


def _hours(after: timedelta) -> str:
    return f"{after / HOUR:.0f} h"


if __name__ == "__main__":
    print(told(normal(), stolen()))
