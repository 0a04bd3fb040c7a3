"""What is found unusual about the use of a key: the words for it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Measure(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"  # millionths of a US dollar


class Unusual(StrEnum):
    """In which way use is unusual."""

    VOLUME = "volume"  # more in an hour than there is at that hour of the week
    MODEL = "model"  # a model that was never used
    NIGHT = "night"  # the first use at night of its holder's time zone
    SPEND = "spend"  # more spent in a day than on such days


class Like(StrEnum):
    """What use is compared with."""

    NOTHING = "nothing"  # it never happened
    HOUR_OF_WEEK = "hour_of_week"  # the same hour of the week, and the hours beside it
    HOUR_OF_WORKDAYS = "hour_of_workdays"  # the same hour, and those beside it, of all workdays
    HOUR_OF_WEEKENDS = "hour_of_weekends"
    ALL_HOURS = "all_hours"
    WORKDAYS = "workdays"
    WEEKENDS = "weekends"


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which use is unusual. `at` is its hour, or the midnight of its day, by the holder's wall clock (naive).

    `found` was used where `low` to `high` are usual, in what `measure` counts.
    """

    kind: Unusual
    at: datetime
    measure: Measure
    found: int
    low: int = 0
    high: int = 0
    like: Like = Like.NOTHING
    model: str = ""
