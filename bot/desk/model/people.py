"""Who acts, and what the directory says of them."""

from dataclasses import dataclass

SYSTEM = "system"
"""Who acts where the desk does by itself, in an audit entry or as who ended or paused something; no member's id."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts: a Slack member of a team."""

    team: str
    id: str


@dataclass(frozen=True, slots=True)
class Person:
    """What the directory says of a member now. `team` is the member's home team, `tz` the IANA name of their time zone."""

    id: str
    team: str
    name: str
    bot: bool = False
    deleted: bool = False
    guest: bool = False
    stranger: bool = False
    email: str | None = None
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: who it is, and which of their browsers."""

    actor: Actor
    id: str
