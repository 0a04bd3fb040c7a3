"""The week of one person: when its digest is due by the clock on their wall, and what it tells."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from bot.desk.hours import CLOSES, OPENS, WORKDAYS, zone
from bot.desk.model import Actor, Outsiders, Story

ONE_DAY, ONE_WEEK = timedelta(days=1), timedelta(days=7)
HOURS = range(OPENS.hour, CLOSES.hour)
"""The hours that a digest may be moved to: a message that can wait comes in working hours."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Whose digest comes when: on a weekday (0 is Monday) at an hour, both by their own clock; `off` where they want none.

    `week` is the Monday of the newest week whose digest is dealt with: sent, or there was nothing to tell. No moment before `since` is
    owed a digest. `due_at` is when the desk looks at it next, None while it is off. `sender` is the process that sends it
    now, `attempts` how often one began to since the last that is dealt with: then it may stand there already.
    """

    team: str
    member: str
    since: datetime
    weekday: int = 0
    hour: int = 9
    off: bool = False
    due_at: datetime | None = None
    week: date | None = None
    sender: str | None = None
    attempts: int = 0

    def __post_init__(self) -> None:
        if self.weekday not in WORKDAYS or self.hour not in HOURS:
            raise ValueError("a digest comes on a workday, in working hours")

    def moment(self, week: date, tz: str) -> datetime:
        """When the digest of this week is due, in UTC."""
        day = week + timedelta(days=self.weekday)
        return datetime.combine(day, time(self.hour), zone(tz)).astimezone(UTC)

    def owed(self, now: datetime, tz: str) -> date | None:
        """The newest week whose moment has come, unless it is dealt with. A week that was missed whole is not made up for."""
        week = monday(now, tz)
        if self.moment(week, tz) > now:
            week -= ONE_WEEK
        if self.moment(week, tz) < self.since or self._done(week):
            return None
        return week

    def following(self, now: datetime, tz: str) -> datetime | None:
        """When the desk is to look next: now where a digest is owed, else at the next moment; None while it is off."""
        if self.off:
            return None
        if self.owed(now, tz):
            return now
        week = monday(now, tz)
        while self.moment(week, tz) <= now or self._done(week):
            week += ONE_WEEK
        return self.moment(week, tz)

    def _done(self, week: date) -> bool:
        # A week further ahead than any change of zone leads was written by a clock that was wrong: it counts for nothing.
        return self.week is not None and week <= self.week <= week + ONE_WEEK


def monday(at: datetime, tz: str) -> date:
    """The Monday of the week that this moment lies in, in that zone."""
    day = at.astimezone(zone(tz)).date()
    return day - timedelta(days=day.weekday())


@dataclass(frozen=True, slots=True)
class Days:
    """The seven days that a digest tells of, both ends included, and the seven before them that it compares with.

    Days of UTC, as usage is reported by.
    """

    first: date
    last: date

    @classmethod
    def until(cls, last: date) -> "Days":
        """The seven that end with this one."""
        return cls(last - 6 * ONE_DAY, last)

    @property
    def before(self) -> date:
        """The first of the seven days before."""
        return self.first - ONE_WEEK


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in the seven days, and in the seven before. In millionths of a US dollar."""

    week: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class KeyWeek:
    """The week of one key. `month` is what it spent in the month of its last day, `last_day` when it was last used, if lately.

    `reported`: its provider tells the desk of its use; else all of this says nothing.
    """

    story: Story
    spent: Spent
    month: int
    last_day: date | None = None
    reported: bool = True


class Tip(StrEnum):
    """What a holder is advised, by what they did."""

    IDLE = "idle"  # a key lies unused
    JUMP = "jump"  # much more was spent than in the week before
    ROOMY = "roomy"  # a small part of a key's budget is used
    ONE_MODEL = "one_model"  # a key that may use every model used a single one
    LINK = "link"  # a link lapsed unopened
    LONG = "long"  # a key lives for months
    STORE = "store"  # none of these


@dataclass(frozen=True, slots=True)
class Advice:
    """One tip, the key that it is about, and what of it: the one model that was used."""

    tip: Tip
    story: Story | None = None
    what: str = ""


@dataclass(frozen=True, slots=True)
class HolderWeek:
    """A holder's part: what was spent, by day (`days`, and `days_before`, oldest first) and by key; what asks for something.

    `budget_cents` is what all living keys may spend in a month, `month` what was spent in the one that the last day lies in.
    """

    spent: Spent
    month: int
    budget_cents: int
    days: tuple[int, ...]
    days_before: tuple[int, ...]
    keys: tuple[KeyWeek, ...]
    more: int
    ending: tuple[Story, ...]
    rotating: tuple[Story, ...]
    idle: tuple[Story, ...]
    waiting: tuple[Story, ...]
    advice: Advice
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """What an approver has a say in: others' requests by `rules`, and by those of `managed` what they approved of `holders`.

    `rules` name them, or a group that they are in; `managed` name managers, and `holders` are those whose manager they are.
    """

    actor: Actor
    rules: frozenset[str] = frozenset()
    managed: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TeamKey:
    """One key of the team, for an approver."""

    request_id: str
    grant_id: str
    holder: str
    provider_name: str
    project_name: str
    spent: Spent = Spent()


@dataclass(frozen=True, slots=True)
class ApproverWeek:
    """An approver's part: what the keys spent that they may approve, or did; those most in use, and what waits for them.

    `idle` are some of the `idle_count` keys that nobody used for long, `overdue` of those that were to be rotated.
    """

    spent: Spent
    living: int
    top: tuple[TeamKey, ...]
    pending: tuple[Story, ...]
    pending_count: int
    idle: tuple[TeamKey, ...]
    idle_count: int
    overdue: tuple[TeamKey, ...] = ()
    overdue_count: int = 0


@dataclass(frozen=True, slots=True)
class ProjectWeek:
    """What one project's keys spent."""

    provider_name: str
    project_name: str
    spent: Spent


@dataclass(frozen=True, slots=True)
class Failing:
    """What of a provider fails: the flaw of its credential, and how many keys fail to be revoked or switched."""

    label: str
    flaw: str | None
    stuck: int


@dataclass(frozen=True, slots=True)
class AdminWeek:
    """An admin's part: what was spent, by project; keys that are nobody's, what fails, and unusual use.

    `by_hand` keys wait for a person, `overdue` for their holders to rotate them; `unusual` are some of the `unusual_count` incidents that the seven days brought.
    """

    spent: Spent
    projects: tuple[ProjectWeek, ...]
    more: int
    outsiders: tuple[Outsiders, ...]
    failing: tuple[Failing, ...]
    by_hand: int
    overdue: int = 0
    unusual: tuple[Story, ...] = ()
    unusual_count: int = 0


@dataclass(frozen=True, slots=True)
class Digest:
    """What one person is told of a week: one message with the parts that are theirs.

    `week` is its Monday; None where they asked for it now.
    """

    team: str
    member: str
    week: date | None
    days: Days
    tz: str
    holder: HolderWeek | None = None
    approver: ApproverWeek | None = None
    admin: AdminWeek | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return self.holder is None and self.approver is None and self.admin is None
