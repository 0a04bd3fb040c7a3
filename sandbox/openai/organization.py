"""All that the pretend OpenAI knows of one organization: its projects, people, service accounts, keys and their use."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from sandbox.metering import PRICES, Meter, Use
from sandbox.openai.wire import new_id
from sandbox.wire import Json, digest, moment

MODELS = ("gpt-5-mini", "gpt-4.1-mini", "text-embedding-3-small")
RATES = {"max_requests_per_1_minute": 30_000, "max_tokens_per_1_minute": 180_000_000}
"""What a project may do in a minute with a model, where nothing else was said."""


@dataclass(frozen=True)
class Project:
    """`archived_at` is None while the project is active.

    `models` is the model permissions as they were set; `spend_limit` is in cents a month; `rates` holds what was said
    of a model's rate limits; `alerts` and `members` are by id, members with their role and when they were added.
    """

    id: str
    name: str
    created_at: int
    archived_at: int | None = None
    models: Json | None = None
    spend_limit: int | None = None
    rates: dict[str, dict[str, int]] = field(default_factory=dict)
    alerts: dict[str, Json] = field(default_factory=dict)
    members: dict[str, Json] = field(default_factory=dict)

    def allows(self, model: str) -> bool:
        """Whether the project's keys may use the model."""
        if self.models is None:
            return True
        listed = model in self.models["model_ids"]
        return listed if self.models["mode"] == "allow_list" else not listed


@dataclass(frozen=True)
class Person:
    """A user of the organization, who may make keys on the dashboard. `role` is "owner" or "reader"."""

    id: str
    name: str
    email: str
    created_at: int
    role: str = "owner"


@dataclass(frozen=True)
class Invite:
    """An invitation by mail. `projects` are those that whoever accepts it joins, with their roles."""

    id: str
    email: str
    role: str
    created_at: int
    expires_at: int
    projects: list[dict[str, str]]
    accepted_at: int | None = None


@dataclass(frozen=True)
class Account:
    """A service account. Role "none" may do nothing in its project, and neither may its keys."""

    id: str
    name: str
    project: str
    role: str
    created_at: int


@dataclass(frozen=True)
class Key:
    """A key of a service account or of a person. A revoked one is kept, so that it can be shown as such."""

    id: str
    name: str
    project: str
    owner: str
    redacted: str
    digest: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    scopes: list[str] = field(default_factory=list)


class Organization:
    """The state. `changed` is called after each change of it."""

    def __init__(self, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self.clock = clock
        self.changed = changed
        now = self.now()
        self.projects = {
            id: Project(id=id, name=name, created_at=now)
            for id, name in (("proj_search", "search-prod"), ("proj_assist", "assistant-dev"), ("proj_lab", "lab"))
        }
        self.people = {"user_ana": Person(id="user_ana", name="Ana Ruiz", email="ana@acme.example", created_at=now)}
        self.invites: dict[str, Invite] = {}
        self.meter = Meter()
        self.usage_lag = 0.0
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        # Large organizations are paged through by project; whoever calls comes with a value.
        self._accounts_in: dict[str, dict[str, None]] = defaultdict(dict)
        self._keys_in: dict[str, list[str]] = defaultdict(list)
        self._by_digest: dict[str, str] = {}

    def dump(self) -> Json:
        """All state, for `load`. Holds no key's value."""
        return {
            "projects": [asdict(thing) for thing in self.projects.values()],
            "people": [asdict(thing) for thing in self.people.values()],
            "invites": [asdict(thing) for thing in self.invites.values()],
            "accounts": [vars(thing) for thing in self.accounts.values()],
            "keys": [vars(thing) for thing in self.keys.values()],
            "usage_lag": self.usage_lag,
            "uses": self.meter.dump(),
        }

    def load(self, state: Json) -> None:
        """Takes up the state that `dump` gave."""
        self.projects = {thing["id"]: Project(**thing) for thing in state["projects"]}
        self.people = {thing["id"]: Person(**thing) for thing in state["people"]}
        self.invites = {thing["id"]: Invite(**thing) for thing in state.get("invites", ())}
        self.accounts, self.keys = {}, {}
        self._accounts_in.clear()
        self._keys_in.clear()
        self._by_digest.clear()
        for thing in state["accounts"]:
            self.put_account(Account(**thing))
        for thing in state["keys"]:
            self.put_key(Key(**thing))
        self.usage_lag = state.get("usage_lag", 0.0)
        self.meter.load(state.get("uses", ()))

    def now(self) -> int:
        """Whole seconds, as OpenAI tells times."""
        return int(self.clock())

    def amend(self, project: Project, **changes: Any) -> Project:
        """The project, changed so."""
        amended = self.projects[project.id] = replace(project, **changes)
        self.changed()
        return amended

    def set_project(self, id: str, status: str) -> None:
        """Archives a project and its service accounts with it, or (which OpenAI cannot) makes it active again.

        `KeyError` where there is no such project.
        """
        if status not in ("active", "archived"):
            raise ValueError(f"a project is active or archived, not {status!r}")
        project = self.projects[id]
        if status == "archived":
            for account in self.accounts_of(id):
                self.drop(account)
        self.amend(project, archived_at=self.now() if status == "archived" else None)

    # Service accounts and keys

    def put_account(self, account: Account) -> None:
        """A new account, or one as it is now."""
        self.accounts[account.id] = account
        self._accounts_in[account.project][account.id] = None

    def accounts_of(self, project: str) -> list[Account]:
        """Of a project, oldest first."""
        return [self.accounts[id] for id in self._accounts_in[project]]

    def drop(self, account: Account) -> None:
        """Deletes an account and revokes its keys."""
        del self.accounts[account.id]
        del self._accounts_in[account.project][account.id]
        for key in self.keys_of(account.project):
            if key.owner == account.id:
                self.keys[key.id] = replace(key, revoked_at=self.now())

    def put_key(self, key: Key) -> None:
        """A new key, or one as it is now."""
        if key.id not in self.keys:
            self._keys_in[key.project].append(key.id)
            self._by_digest[key.digest] = key.id
        self.keys[key.id] = key

    def keys_of(self, project: str) -> list[Key]:
        """Of a project, oldest first, without those that were revoked."""
        keys = (self.keys[id] for id in self._keys_in[project])
        return [key for key in keys if key.revoked_at is None]

    def key_with(self, value: str) -> Key | None:
        """The key that has this value, unless it was revoked."""
        id = self._by_digest.get(digest(value))
        return self.keys[id] if id is not None and self.keys[id].revoked_at is None else None

    def issue(
        self,
        *,
        name: str,
        project: str,
        owner: str,
        lifetime: int | None = None,
        scopes: Iterable[str] = (),
        prefix: str = "sk-svcacct-",
    ) -> tuple[Key, str]:
        """A new key and its value, which is kept nowhere."""
        value = prefix + secrets.token_urlsafe(48)
        now = self.now()
        key = Key(
            id=new_id("key"),
            name=name,
            project=project,
            owner=owner,
            redacted=redacted(value),
            digest=digest(value),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            scopes=list(scopes),
        )
        self.put_key(key)
        self.changed()
        return key, value

    def access(self, key: Key) -> str:
        """Whether the key's owner may do anything in its project: "active" or "inactive"."""
        account = self.accounts.get(key.owner)
        return "inactive" if account is not None and account.role == "none" else "active"

    def status(self, key: Key) -> str:
        """ "active", "expired" or "revoked"."""
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= self.clock() else "active"

    # Use and spending

    def meter_use(self, *, project: str, key: str | None, model: str, kind: str, asked: int, answered: int) -> None:
        """A request was answered, now. Without a key it came from the dashboard's playground."""
        cost = PRICES[model].of(asked, answered)
        self.meter.add(
            Use(
                at=self.now(),
                project=project,
                key=key,
                model=model,
                kind=kind,
                asked=asked,
                answered=answered,
                cost=cost,
            )
        )
        self.changed()

    def spent(self, project: Project) -> Decimal:
        """What the project spent this calendar month, in dollars."""
        month = moment(self.clock()).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return self.meter.total(start=month.timestamp(), projects=[project.id]).cost

    def overspent(self, project: Project) -> bool:
        """Whether the project's hard limit stops its keys now."""
        return project.spend_limit is not None and self.spent(project) * 100 >= project.spend_limit


def redacted(value: str) -> str:
    """What may be shown of a key's value."""
    return f"{value[:8]}...{value[-4:]}" if len(value) > 24 else "***"
