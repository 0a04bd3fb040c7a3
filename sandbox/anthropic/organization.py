"""All that the pretend Anthropic knows of one organization: its workspaces, people, keys and their use."""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal

from sandbox.anthropic.wire import new_id
from sandbox.metering import PRICES, Meter, Use
from sandbox.wire import Json, digest, moment

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
ACTIVE, INACTIVE, ARCHIVED, EXPIRED = "active", "inactive", "archived", "expired"
DEFAULT_WORKSPACE = "wrkspc_default"


@dataclass(frozen=True)
class Workspace:
    """`spend_limit` is in dollars a month, and set in the Console only; `members` are people's ids with their roles."""

    id: str
    name: str
    created_at: float
    archived_at: float | None = None
    spend_limit: float | None = None
    members: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """A user of the organization."""

    id: str
    name: str
    email: str
    role: str
    added_at: float


@dataclass(frozen=True)
class Invite:
    """An invitation by mail, to the organization; Anthropic's name no workspaces."""

    id: str
    email: str
    role: str
    invited_at: float
    expires_at: float
    accepted_at: float | None = None


@dataclass(frozen=True)
class Key:
    """A key that a person made in the Console. `switch` is active, inactive or, for good, archived."""

    id: str
    name: str
    workspace: str
    creator: str
    hint: str
    digest: str
    created_at: float
    expires_at: float | None = None
    switch: str = ACTIVE
    last_used_at: float | None = None


class Organization:
    """The state. `changed` is called after each change of it."""

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self.clock = clock
        self.changed = changed
        now = clock()
        self.workspaces = {
            id: Workspace(id=id, name=name, created_at=now)
            for id, name in (
                (DEFAULT_WORKSPACE, "Default"),
                ("wrkspc_search", "search-prod"),
                ("wrkspc_lab", "lab"),
            )
        }
        self.people = {"user_ana": Person("user_ana", "Ana Ruiz", "ana@acme.example", "admin", now)}
        self.invites: dict[str, Invite] = {}
        self.keys: dict[str, Key] = {}
        self.meter = Meter()
        self.usage_lag = 0.0
        self._by_digest: dict[str, str] = {}

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {
            "workspaces": [asdict(thing) for thing in self.workspaces.values()],
            "people": [vars(thing) for thing in self.people.values()],
            "invites": [vars(thing) for thing in self.invites.values()],
            "keys": [vars(thing) for thing in self.keys.values()],
            "usage_lag": self.usage_lag,
            "uses": self.meter.dump(),
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self.workspaces = {thing["id"]: Workspace(**thing) for thing in state["workspaces"]}
        self.people = {thing["id"]: Person(**thing) for thing in state["people"]}
        self.invites = {thing["id"]: Invite(**thing) for thing in state["invites"]}
        self.keys = {thing["id"]: Key(**thing) for thing in state["keys"]}
        self._by_digest = {key.digest: key.id for key in self.keys.values()}
        self.usage_lag = state["usage_lag"]
        self.meter.load(state["uses"])

    def keep(self, thing: Workspace | Person | Invite | Key) -> None:
        """Something new, or something as it is now."""
        match thing:
            case Workspace():
                self.workspaces[thing.id] = thing
            case Person():
                self.people[thing.id] = thing
            case Invite():
                self.invites[thing.id] = thing
            case Key():
                self.keys[thing.id] = thing
                self._by_digest[thing.digest] = thing.id
        self.changed()

    def issue(self, *, name: str, workspace: str, creator: str, lifetime: float | None = None) -> tuple[Key, str]:
        """A new key and its value, which is kept nowhere."""
        value = f"sk-ant-api03-{secrets.token_urlsafe(70)}AA"
        now = self.clock()
        key = Key(
            id=new_id("apikey"),
            name=name,
            workspace=workspace,
            creator=creator,
            hint=f"{value[:16]}...{value[-4:]}",
            digest=digest(value),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        self.keep(key)
        return key, value

    def key_with(self, value: str) -> Key | None:
        """The key that has this value, whatever its status."""
        id = self._by_digest.get(digest(value))
        return None if id is None else self.keys[id]

    def status(self, key: Key) -> str:
        """ "active", "inactive", "archived" or "expired"."""
        if key.switch != ARCHIVED and key.expires_at is not None and key.expires_at <= self.clock():
            return EXPIRED
        return key.switch

    def meter_use(self, *, workspace: str, key: str | None, model: str, asked: int, answered: int) -> None:
        """A request was answered, now. Without a key it came from the Console's Workbench."""
        cost = PRICES[model].of(asked, answered)
        self.meter.add(
            Use(
                at=int(self.clock()),
                project=workspace,
                key=key,
                model=model,
                kind="messages",
                asked=asked,
                answered=answered,
                cost=cost,
            )
        )
        self.changed()

    def spent(self, workspace: str) -> Decimal:
        """What was spent in a workspace this calendar month, in dollars."""
        month = moment(self.clock()).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return self.meter.total(start=month.timestamp(), projects=[workspace]).cost
