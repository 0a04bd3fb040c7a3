"""What keys used, as far as their providers have reported it, and what was unusual about it."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from bot.desk.findings import Finding
from bot.desk.offer import Basis


@dataclass(frozen=True, slots=True)
class Spending:
    """What the keys of one grant used in a calendar month (UTC), as far as their provider has reported it.

    `month` is its first day, `cost_micros` in millionths of a US dollar; `basis` is billed only where all of it is.
    """

    month: date
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    last_day: date
    basis: Basis
    as_of: datetime


@dataclass(frozen=True, slots=True)
class DayUse:
    """What a grant's keys used on one day, whatever the model. Cost in millionths of a US dollar."""

    grant_id: str
    day: date
    cost_micros: int
    requests: int
    tokens_in: int
    tokens_out: int
    estimated: bool
    as_of: datetime


@dataclass(frozen=True, slots=True)
class HourUse:
    """What a key used in the `span` hours from `hour` on (UTC); measured where that is one, else in some of them."""

    key_id: str
    hour: datetime
    span: int
    requests: int
    tokens: int
    cost_micros: int


class Answer(StrEnum):
    """How an incident was closed."""

    MINE = "mine"  # somebody said that it was theirs
    PAUSED = "paused"  # somebody had the key switched off
    QUIET = "quiet"  # nobody answered, and nothing unusual came after it
    OVER = "over"  # its grant ended


@dataclass(frozen=True, slots=True)
class Incident:
    """Unusual use of a grant's keys, told once; open until it is answered, or quiet for a while.

    `seen_at` is until when use was unusual. `findings` holds the most of each kind.
    """

    team: str
    id: str
    grant_id: str
    opened_at: datetime
    seen_at: datetime
    findings: tuple[Finding, ...]
    closed_at: datetime | None = None
    answer: Answer | None = None
    answered_by: str | None = None
