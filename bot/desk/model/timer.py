"""What time does next about one thing."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TimerKind(StrEnum):
    """What a timer is about, and what `about` names."""

    DECISION = "decision"  # a request: nobody decided on it yet
    PICK_UP = "pick_up"  # a grant: its holder did not pick up yet
    DEPOSIT = "deposit"  # a key: nobody brought it yet
    UNUSUAL = "unusual"  # a grant: whether its keys are used as they never were
    QUIET = "quiet"  # an incident: whether it is over, as nobody answered it
    EXPIRY = "expiry"  # a grant: its time runs out
    IDLE = "idle"  # a grant: whether its key is used
    ROTATION = "rotation"  # a grant: its key is to be rotated
    ROTATE_LATER = "rotate_later"  # a grant: its holder wants to be reminded of that again
    ASKED = "asked"  # a request: whether those who were asked about it can still answer
    HOLDERS = "holders"  # an admin: the nightly check of the holders has a flaw


@dataclass(frozen=True, slots=True)
class Timer:
    """When time next does something about one thing: one timer of a kind for each thing, which `about` names.

    `step` is how far it came, `attempts` how often it failed since it last came further.
    """

    team: str
    kind: TimerKind
    about: str
    due_at: datetime
    step: int = 0
    attempts: int = 0
