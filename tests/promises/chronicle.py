"""What happened in a simulated year, as somebody outside of the desk saw it, and under which weather."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import groupby
from operator import attrgetter
from zoneinfo import ZoneInfo

from tests.desk.world import SetClock


class Weather(StrEnum):
    """What can be wrong for a while."""

    ALL_DOWN = "no desk is up"
    ONE_DOWN = "the second desk is down"
    SLACK_DOWN = "Slack answers nothing"
    RATE_LIMITED = "the vendor says: later"
    FAILING = "the vendor says: an error, nothing happened"
    LANDS = "the vendor does what it is asked and never says so"
    LOST = "the vendor never says anything, and does nothing"
    AHEAD = "the first desk's clock is an hour ahead"
    BEHIND = "the first desk's clock is an hour behind"


VENDOR = (Weather.RATE_LIMITED, Weather.FAILING, Weather.LANDS, Weather.LOST)
CLOCKS = {Weather.AHEAD: timedelta(hours=1), Weather.BEHIND: timedelta(hours=-1)}


@dataclass(frozen=True, slots=True)
class Spell:
    """Weather that lasts from `begins` until `ends`."""

    weather: Weather
    begins: datetime
    ends: datetime


class Skies:
    """The weather of the year."""

    def __init__(self, spells: Sequence[Spell]) -> None:
        self.spells = sorted(spells, key=lambda spell: spell.begins)
        self.edges = sorted({edge for spell in spells for edge in (spell.begins, spell.ends)})
        self._now: tuple[datetime, list[Weather]] = (datetime.min, [])  # what was asked last is asked again

    def at(self, moment: datetime, *kinds: Weather) -> Weather | None:
        """The first of these kinds that reigns at this moment."""
        if self._now[0] is not moment:
            self._now = (moment, [one.weather for one in self.spells if one.begins <= moment < one.ends])
        return next((weather for weather in self._now[1] if weather in kinds), None)

    def touch(self, begins: datetime, ends: datetime, *kinds: Weather) -> bool:
        """Whether any of these kinds reigns at some time between the two."""
        return any(one.weather in kinds and one.begins <= ends and begins < one.ends for one in self.spells)

    def clears(self, moment: datetime, patience: timedelta, *kinds: Weather) -> datetime:
        """When something that is due at this moment, and fails under these kinds of weather, is done at the latest.

        Who failed tries again within `patience` after the weather cleared, if it holds.
        """
        for spell in self.spells:
            if spell.weather in kinds and spell.begins <= moment < spell.ends:
                moment = spell.ends + patience
        return moment


class Truth:
    """The true time."""

    def __init__(self, now: datetime) -> None:
        self.now = now


class DeskClock(SetClock):
    """The clock on one desk's wall: true, but for the spells in which it is not."""

    def __init__(self, truth: Truth, skies: Skies, *, jumps: bool) -> None:
        super().__init__()
        self._truth = truth
        self._skies = skies
        self._jumps = jumps

    @property
    def wrong_by(self) -> timedelta:
        """How far ahead it is."""
        wrong = self._skies.at(self._truth.now, *CLOCKS) if self._jumps else None
        return CLOCKS[wrong] if wrong else timedelta()

    def __call__(self) -> datetime:
        return self._truth.now + self.wrong_by


class What(StrEnum):
    """What can happen, and what `note` says of it."""

    ASKED = "asked"
    APPROVED = "approved"  # by `who`
    DENIED = "denied"  # by `who`
    SEALED = "sealed"  # a key, for its holder to open
    OPENED = "opened"  # its link, and the key was shown
    CLAIMED = "claimed"  # its link, by a page that never showed the key
    GIVEN_BACK = "given back"
    TAKEN = "taken"  # by an approver
    MINTED = "minted"  # a key, at the vendor
    DIED = "died"  # a key, at the vendor
    TOLD = "told"  # who was told, and what: the notice's kind
    BROUGHT = "brought"  # a key that a person made
    KEPT = "kept"  # a key that nobody used: its holder said that it is needed
    EXPLAINED = "explained"  # unusual use: its holder said that it was theirs
    PUT_OFF = "put off"  # a reminder to rotate: its holder wants to be reminded later
    HURRIED = "rotated at once"  # by its holder: a key that leaked
    PAUSED = "paused"  # a key that is used unusually, by its holder
    RESUMED = "resumed"  # by its holder, who had paused it
    OFF = "off"  # a key, at the vendor
    ON = "on"  # a key, at the vendor
    DIGEST = "digest"  # of the week of the note
    CHOSE = "chose"  # another time for their digest, or none
    USED = "used"  # a key, for so many millionths of a dollar
    STOLEN = "stolen"  # a key: somebody else used it, as above
    READ = "read"  # the desk read all usage
    LEFT = "left"  # a member: deactivated or guest
    HEARD = "heard"  # that a member left: Slack's event came through
    COULD_NOT = "could not"  # somebody tried something; the note says why it was refused


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, when by the clocks of the desks, to which ask, by or to whom, with which key."""

    at: datetime
    by_desk: datetime
    what: What
    ask: int
    who: str
    marker: str
    note: str
    number: int

    def __str__(self) -> str:
        skew = "" if self.at == self.by_desk else f" (desk: {self.by_desk:%H:%M:%S})"
        return f"{self.at:%a %Y-%m-%d %H:%M:%S}{skew} {self.what} {self.who} {self.marker} {self.note}".rstrip()


NOBODY = -1  # the ask of what belongs to none


@dataclass
class Chronicle:
    """All that happened, in order."""

    entries: list[Entry] = field(default_factory=list)
    _by_ask: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    _by_what: dict[What, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def write(
        self,
        at: datetime,
        what: What,
        *,
        ask: int = NOBODY,
        by_desk: datetime | None = None,
        who: str = "",
        marker: str = "",
        note: str = "",
    ) -> None:
        """One more thing happened."""
        self.add(Entry(at, by_desk or at, what, ask, who, marker, note, len(self.entries)))

    def add(self, entry: Entry) -> None:
        """As `write`."""
        self.entries.append(entry)
        self._by_ask[entry.ask].append(entry)
        self._by_what[entry.what].append(entry)

    def of(self, ask: int, *whats: What) -> list[Entry]:
        """What happened to one ask."""
        return [one for one in self._by_ask.get(ask, ()) if not whats or one.what in whats]

    def all(self, *whats: What) -> Iterator[Entry]:
        """What happened to any."""
        return merge(*(self._by_what[what] for what in whats), key=attrgetter("number"))

    def asks(self) -> list[int]:
        """Every ask of which there is something to tell."""
        return sorted(ask for ask in self._by_ask if ask != NOBODY)

    def story(self, ask: int) -> str:
        """What happened to one ask, to be read: of use that follows use, how often alone."""
        told = []
        for used, entries in groupby(self.of(ask), key=lambda one: one.what is What.USED):
            first, *others = entries
            told += [f"{first}, and {len(others)} times more"] if used and others else [str(first), *map(str, others)]
        return "\n".join(f"    {line}" for line in told)


def at_work(moment: datetime, tz: str) -> bool:
    """Whether somebody in this zone is at work: Monday to Friday, 9 to 18 on the clock on their wall."""
    local = moment.astimezone(ZoneInfo(tz))
    return local.weekday() < 5 and 9 <= local.hour < 18


def next_at_work(moment: datetime, tz: str) -> datetime:
    """This moment where they are at work; else the full quarter of an hour at which they next are.

    Found by looking at the clock again and again: no arithmetic on days, that could go wrong as the desk's could.
    """
    if at_work(moment, tz):
        return moment
    quarter = timedelta(minutes=15)
    moment = (
        moment - timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond) + quarter
    )
    hour = timedelta(hours=1)
    while not at_work(moment + hour, tz) and not at_work(moment, tz):
        moment += hour
    while not at_work(moment, tz):
        moment += quarter
    return moment


def worked(since: datetime, hours: int, tz: str) -> datetime:
    """When somebody has been at work for so many hours since then, counted from one full quarter to the next."""
    moment, left, quarter = next_at_work(since, tz), timedelta(hours=hours), timedelta(minutes=15)
    while left > timedelta():
        if not at_work(moment, tz):
            moment = next_at_work(moment, tz)
            continue
        begun = timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond)
        step = min(quarter - begun, left)
        left -= step
        moment += step
    return moment


def last_at_work(moment: datetime, tz: str) -> datetime:
    """This moment where they are at work; else an hour before they last went home, found as above."""
    if at_work(moment, tz):
        return moment
    quarter, hour = timedelta(minutes=15), timedelta(hours=1)
    # Whoever is home later than a full quarter has been so since it.
    moment -= timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond)
    while not at_work(moment - hour, tz):
        moment -= hour
    while not at_work(moment - quarter, tz):
        moment -= quarter
    return moment - hour
