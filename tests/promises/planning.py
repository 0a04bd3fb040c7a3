"""What a year of a team holds, drawn from a seed before it begins: people, what they ask for and do, and the weather.

Everything is drawn by name and not in the order in which it comes up: so the same seed tells the same year, whichever of
several desks is faster.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

from bot.desk.model import Person
from tests.desk.world import TEAM
from tests.promises.chronicle import CLOCKS, VENDOR, Skies, Spell, Weather, next_at_work

BEGINS = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Sydney",
    "America/Los_Angeles",
    "Europe/London",
    "Asia/Tokyo",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "UTC",
)
LEAD = "U0LEAD"  # of all managers, and the desk's admin
SPAN_OF_CONTROL = 10  # people to a manager
MINTING, BROUGHT = "openai", "console"  # the provider that makes keys, and the one at which people do
EXTENSIONS = 1000  # an ask that extends another has its number, and so much more
HEIRS = 100_000  # as above, of one that takes the key of somebody over who left


@dataclass(frozen=True, slots=True)
class Ask:
    """One ask, and what those concerned will do about it. A delay of None: never."""

    number: int
    who: str
    at: datetime
    lifetime: timedelta
    dollars: int
    provider: str
    strict: bool  # whether the key is taken back where nobody says that it is needed
    decides: timedelta | None  # the approver, after so long
    denies: bool
    brings: timedelta | None  # the approver, where a person makes the key
    picks_up: timedelta | None  # the holder, after so long
    opens: str  # "at once", "later", "never", or "breaks off": the page takes the key and never shows it
    gives_back: timedelta | None  # the holder, so long after they opened it
    taken: timedelta | None  # the approver, as above
    uses: float  # on how many of 100 working days
    spends: float  # which part of a month's budget, in a month of daily use
    extends: bool  # once its end is told
    idle: str  # asked whether it is needed: "keep", "give back", or "" for no answer
    stolen: timedelta | None  # so long after it was opened; somebody else uses it for a day
    explains: str  # told of that: "mine", "revoke", "pause" (and on again after a while), or "" for no answer
    rotates: int | None  # its key, told so often that it is time; None: never
    puts_off: bool  # told so for the first time, they want to be reminded later
    hurries: timedelta | None  # so long after it was opened it leaks: its holder rotates it at once
    passes_on: bool  # whether its approver takes it over, where its holder leaves


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody leaves, or is a guest from then on. `lost`: Slack's event never comes."""

    who: str
    at: datetime
    guest: bool
    lost: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Somebody moves their digest, or wants none."""

    who: str
    at: datetime
    weekday: int
    hour: int
    off: bool


@dataclass(frozen=True)
class Plan:
    """All that is drawn."""

    seed: int
    begins: datetime
    ends: datetime
    people: Mapping[str, Person]
    managers: Mapping[str, str]
    arrivals: Mapping[str, datetime]
    departures: Sequence[Departure]
    choices: Sequence[Choice]
    asks: Sequence[Ask]
    skies: Skies

    def draw(self, *names: object) -> random.Random:
        """What is drawn under this name: the same whenever it is asked for."""
        return random.Random("/".join(map(str, (self.seed, *names))))

    def ask(self, number: int) -> Ask:
        """The one of this number; one that extends another, or takes it over, is like it, for a time of its own."""
        ask = self.asks[number % EXTENSIONS]
        if number < EXTENSIONS:
            return ask
        chance, inherits = self.draw(number, "extension"), number >= HEIRS
        return replace(
            ask,
            number=number,
            who=self.managers[ask.who] if inherits else ask.who,
            lifetime=chance.choice((7, 30, 90)) * DAY,
            decides=chance.choice((20 * MINUTE, 6 * HOUR, None)),
            denies=chance.random() < 0.1,
            picks_up=chance.choice((10 * MINUTE, DAY)),
            opens="at once",
            gives_back=None,
            taken=None,
            stolen=None,
            extends=chance.random() < 0.3 and not inherits,
            hurries=None,
            passes_on=ask.passes_on and not inherits,
        )


def plan(seed: int, *, people: int = 200, asks: int = 600, span: timedelta = timedelta(days=365)) -> Plan:
    """The year of this seed."""
    chance = random.Random(seed)
    ends = BEGINS + span

    def some_time(first: float = 0.0, last: float = 1.0) -> datetime:
        return BEGINS + chance.uniform(first, last) * span // MINUTE * MINUTE

    team = {LEAD: Person(LEAD, TEAM, "The lead", tz=ZONES[0])}
    for number in range(people - 1):
        member = f"U0{number:04}"
        team[member] = Person(member, TEAM, f"Member {number}", tz=ZONES[number % len(ZONES)])
    members = [member for member in team if member != LEAD]
    heads = members[: max(2, people // SPAN_OF_CONTROL)]
    managers = {member: heads[number % len(heads)] for number, member in enumerate(members[len(heads) :])}
    managers |= dict.fromkeys(heads, LEAD) | {LEAD: heads[0]}
    arrivals = {member: some_time(0.0, 0.7) for member in chance.sample(members[len(heads) :], people // 10)}
    leavers = chance.sample(members[1:], people // 8)
    departures = [
        Departure(
            who,
            next_at_work(max(some_time(0.1), arrivals.get(who, BEGINS) + 30 * DAY), team[who].tz),
            guest=chance.random() < 0.3,
            lost=chance.random() < 0.3,
        )
        for who in leavers
    ]
    movers = chance.sample([who for who in members if who not in arrivals], people // 8)
    choices = [
        Choice(
            who,
            next_at_work(some_time(), team[who].tz),
            chance.randrange(5),
            chance.randrange(9, 18),
            off=chance.random() < 0.3,
        )
        for who in movers
    ]
    return Plan(
        seed,
        BEGINS,
        ends,
        team,
        managers,
        arrivals,
        departures,
        choices,
        [
            _ask(number, team[who], chance=chance, arrives=arrivals.get(who, BEGINS), some_time=some_time)
            for number, who in zip(range(asks), cycle(members), strict=False)
        ],
        _skies(chance, span),
    )


def _ask(
    number: int,
    who: Person,
    *,
    chance: random.Random,
    arrives: datetime,
    some_time: Callable[[float, float], datetime],
) -> Ask:
    soon = chance.random() < 0.6  # most of the team asks when the desk is new
    at = max(some_time(0.0, 0.15 if soon else 0.95), arrives)
    hours = chance.choice((4, 8, 24, 7 * 24, 30 * 24, 90 * 24, 90 * 24, 180 * 24, 300 * 24))
    # What is rare is not left to chance: there is some of it in a small team's year, too.
    brought, dear, stolen = number % 10 == 7, number % 16 == 5, number % 10 == 4
    leaks = number % 12 == 8 and not stolen
    rarely = {3: "never", 9: "breaks off", 15: "later"}.get(number % 20)
    return Ask(
        number=number,
        who=who.id,
        at=next_at_work(at, who.tz) + chance.randrange(50) * MINUTE,
        lifetime=180 * DAY if stolen or leaks else 30 * DAY if dear else timedelta(hours=hours),
        dollars=chance.choice((5, 25, 100)),
        provider=BROUGHT if brought else MINTING,
        strict=chance.random() < 0.5,
        decides=None
        if chance.random() < 0.04
        else chance.choice((20 * MINUTE, 2 * HOUR, 6 * HOUR, 20 * HOUR, 2 * DAY)),
        denies=chance.random() < 0.05,
        brings=None if number % 20 == 17 else chance.choice((20 * MINUTE, 6 * HOUR, 2 * DAY)),
        picks_up=None if chance.random() < 0.04 else chance.choice((10 * MINUTE, HOUR, DAY, 3 * DAY, 6 * DAY)),
        opens=rarely or "at once",
        gives_back=chance.uniform(0.1, 40) * DAY if chance.random() < 0.1 and not (stolen or leaks) else None,
        taken=chance.uniform(0.1, 60) * DAY if chance.random() < 0.05 and not (stolen or leaks) else None,
        uses=95 if stolen or dear or leaks else chance.choice((0, 8, 60, 60, 95)),
        spends=chance.uniform(1.3, 2.2) if dear else chance.uniform(0.01, 0.4),
        extends=chance.random() < 0.25 and not leaks,
        idle=chance.choice(("keep", "keep", "give back", "")),
        stolen=chance.uniform(45, 80) * DAY if stolen else None,
        explains=("mine", "revoke", "pause", "")[number // 10 % 4],
        rotates=None if brought else (1, 3, None)[number % 3],
        puts_off=number % 4 < 2,
        hurries=chance.uniform(1, 40) * DAY if leaks else None,
        passes_on=number % 5 != 1,
    )


def _skies(chance: random.Random, span: timedelta) -> Skies:
    """Now and then something is wrong. No two kinds of bad weather at the vendor at once; else anything goes."""
    spells: list[Spell] = []
    monday = BEGINS + span // timedelta(weeks=2) * timedelta(
        weeks=1
    )  # in the middle of it; nobody gets a digest in time
    spells.append(Spell(Weather.ALL_DOWN, monday + 7 * HOUR, monday + 21 * HOUR))
    wanted = (
        (Weather.ALL_DOWN, 12, (2 * MINUTE, 20 * MINUTE, 3 * HOUR, 3 * HOUR, 26 * HOUR)),
        (Weather.ONE_DOWN, 20, (10 * MINUTE, 5 * HOUR, 2 * DAY)),
        (Weather.SLACK_DOWN, 20, (MINUTE, 30 * MINUTE, 4 * HOUR)),
        (Weather.RATE_LIMITED, 14, (5 * MINUTE, 2 * HOUR)),
        (Weather.FAILING, 14, (5 * MINUTE, HOUR, 9 * HOUR)),
        (Weather.LANDS, 10, (20 * MINUTE, 2 * HOUR)),
        (Weather.LOST, 10, (20 * MINUTE, 2 * HOUR)),
        (Weather.AHEAD, 4, (30 * MINUTE, 7 * HOUR)),
        (Weather.BEHIND, 4, (30 * MINUTE, 7 * HOUR)),
    )
    for weather, times, lengths in wanted:
        for _ in range(max(1, round(times * (span / timedelta(days=365))))):
            begins = BEGINS + chance.random() * span // MINUTE * MINUTE
            spell = Spell(weather, begins, begins + chance.choice(lengths))
            kin = VENDOR if weather in VENDOR else tuple(CLOCKS) if weather in CLOCKS else (weather,)
            if not any(one.weather in kin and one.begins <= spell.ends and spell.begins <= one.ends for one in spells):
                spells.append(spell)
    return Skies(spells)
