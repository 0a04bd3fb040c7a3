"""The rows. Every one carries its team. What comes from outside is validated in the domain first: rows validate nothing."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC, with microseconds, on both databases. SQLite keeps no zone, so none is given to it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _time(*, optional: bool = False) -> Any:
    return Field(default=None, sa_type=UtcTime, nullable=True) if optional else Field(sa_type=UtcTime)


class DraftRow(SQLModel):
    """The columns of a draft, which requests and grants both carry."""

    provider: str
    provider_name: str
    project: str
    project_name: str
    permission: str
    permission_name: str
    monthly_budget_cents: int = Field(sa_type=BigInteger)
    duration_seconds: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    models: list[str] = Field(default_factory=list, sa_type=JSON)
    wish: str = "key"


class RequestRow(DraftRow, table=True):
    """One ask."""

    __tablename__ = "requests"
    __table_args__ = (
        UniqueConstraint("team", "origin"),
        Index("requests_of", "team", "requester", "created_at"),
        Index("requests_by_state", "team", "state", "created_at"),
        Index(
            "requests_that_extend",
            "team",
            "extends",
            sqlite_where=text("extends IS NOT NULL"),
            postgresql_where=text("extends IS NOT NULL"),
        ),
    )
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    requester: str
    rule: str
    state: str
    created_at: datetime = _time()
    origin: str
    lapses_at: datetime | None = _time(optional=True)
    extends: str | None = None


class DecisionRow(SQLModel, table=True):
    """A person's approve or deny; one for each request."""

    __tablename__ = "decisions"
    __table_args__ = (
        ForeignKeyConstraint(["team", "request_id"], ["requests.team", "requests.id"]),
        Index("decisions_of", "team", "approver"),
    )
    team: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    approver: str
    ruling: str
    reason: str = Field(sa_type=Text)
    at: datetime = _time()


class GrantRow(DraftRow, table=True):
    """The standing right to a key; one for each approved request."""

    __tablename__ = "grants"
    __table_args__ = (
        UniqueConstraint("team", "request_id"),
        ForeignKeyConstraint(["team", "request_id"], ["requests.team", "requests.id"]),
        Index("grants_of", "team", "holder", "created_at"),
        Index(
            "grants_that_expire",
            "expires_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "grants_that_rotate",
            "team",
            "rotates_at",
            sqlite_where=text("rotates_at IS NOT NULL"),
            postgresql_where=text("rotates_at IS NOT NULL"),
        ),
        Index(
            "grants_with_invitations",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    request_id: str
    holder: str
    state: str
    created_at: datetime = _time()
    key_id: str | None = None
    next_key_id: str | None = None
    held_since: datetime | None = _time(optional=True)
    rotates_at: datetime | None = _time(optional=True)
    overdue_since: datetime | None = _time(optional=True)
    expires_at: datetime | None = _time(optional=True)
    ended_at: datetime | None = _time(optional=True)
    ended_by: str | None = None
    ended_because: str | None = None
    invitation: str | None = None
    email: str | None = None
    due_at: datetime | None = _time(optional=True)
    attempts: int = 0
    lapses_at: datetime | None = _time(optional=True)
    left_at: datetime | None = _time(optional=True)


class KeyRow(SQLModel, table=True):
    """A provider-side key; never its value."""

    __tablename__ = "keys"
    __table_args__ = (
        UniqueConstraint("team", "marker"),
        ForeignKeyConstraint(["team", "grant_id"], ["grants.team", "grants.id"]),
        Index("keys_of", "team", "grant_id"),
        Index(
            "keys_minting",
            "intended_at",
            sqlite_where=text("state = 'minting'"),
            postgresql_where=text("state = 'minting'"),
        ),
        Index(
            "keys_to_act_on",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("keys_by_meter", "team", "provider", "meter"),
    )
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    grant_id: str
    provider: str
    project: str
    marker: str
    state: str
    intended_at: datetime = _time()
    handle: str | None = None
    fingerprint: str | None = None
    expires_at: datetime | None = _time(optional=True)
    due_at: datetime | None = _time(optional=True)
    attempts: int = 0
    meter: str | None = None
    paused_by: str | None = None


class LinkRow(SQLModel, table=True):
    """A one-time delivery. The URL names no team, so its id is unique among all."""

    __tablename__ = "links"
    __table_args__ = (
        ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        Index("links_of", "team", "key_id", "created_at"),
        Index("links_open", "expires_at", sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")),
        Index(
            "links_claimed",
            "lease_until",
            sqlite_where=text("state = 'claimed'"),
            postgresql_where=text("state = 'claimed'"),
        ),
    )
    id: str = Field(primary_key=True)
    team: str
    grant_id: str
    key_id: str
    holder: str
    state: str
    token_hash: bytes = Field(sa_type=LargeBinary)
    envelope: bytes | None = Field(default=None, sa_type=LargeBinary, nullable=True)
    created_at: datetime = _time()
    expires_at: datetime = _time()
    session: str | None = None
    lease_until: datetime | None = _time(optional=True)
    closed_because: str | None = None


class DepositRow(SQLModel, table=True):
    """The value of a key that a person brought, sealed under a data key that a KEK wraps."""

    __tablename__ = "deposits"
    __table_args__ = (
        ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        Index("deposits_by_kek", "kek"),
    )
    team: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    depositor: str
    sealed: bytes = Field(sa_type=LargeBinary)
    kek: str
    at: datetime = _time()


class UsageRow(SQLModel, table=True):
    """What was used with one key on one day with one model; reported anew, it is replaced."""

    __tablename__ = "usage"
    __table_args__ = (ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),)
    team: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    model: str = Field(primary_key=True)
    requests: int = Field(sa_type=BigInteger)
    tokens_in: int = Field(sa_type=BigInteger)
    tokens_out: int = Field(sa_type=BigInteger)
    cost_micros: int = Field(sa_type=BigInteger)
    currency: str = "USD"
    basis: str
    as_of: datetime = _time()


class UsageHourRow(SQLModel, table=True):
    """What was used with one key in the `span` hours from `hour` on."""

    __tablename__ = "usage_hours"
    __table_args__ = (
        ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        Index("usage_hours_by_age", "hour"),
    )
    team: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    hour: datetime = Field(sa_type=UtcTime, primary_key=True)
    span: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    requests: int = Field(sa_type=BigInteger)
    tokens: int = Field(sa_type=BigInteger)
    cost_micros: int = Field(sa_type=BigInteger)


class IncidentRow(SQLModel, table=True):
    """Unusual use of a grant's keys."""

    __tablename__ = "incidents"
    __table_args__ = (
        ForeignKeyConstraint(["team", "grant_id"], ["grants.team", "grants.id"]),
        Index("incidents_of", "team", "grant_id", "opened_at"),
        Index(
            "incidents_open",
            "team",
            "grant_id",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    grant_id: str
    opened_at: datetime = _time()
    seen_at: datetime = _time()
    findings: list[dict[str, Any]] = Field(sa_type=JSON)
    closed_at: datetime | None = _time(optional=True)
    answer: str | None = None
    answered_by: str | None = None


class RoundRow(SQLModel, table=True):
    """A round that the desk makes at one provider: how far it came, and when it is due again."""

    __tablename__ = "rounds"
    __table_args__ = (Index("rounds_due", "due_at"),)
    team: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    due_at: datetime = _time()
    attempts: int = 0
    done_to: date | None = None
    ended_at: datetime | None = _time(optional=True)
    flaw: str | None = None


class TimerRow(SQLModel, table=True):
    """When time next does something about one thing."""

    __tablename__ = "timers"
    __table_args__ = (
        Index("timers_due", "due_at"),
        Index("timers_failing", "attempts", sqlite_where=text("attempts > 0"), postgresql_where=text("attempts > 0")),
    )
    team: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    about: str = Field(primary_key=True)
    due_at: datetime = _time()
    step: int = 0
    attempts: int = 0


class SilenceRow(SQLModel, table=True):
    """A team that has not the desk's app any more: nothing is sent there."""

    __tablename__ = "silences"
    team: str = Field(primary_key=True)
    since: datetime = _time()
    because: str


class SweepRow(SQLModel, table=True):
    """How a sweep went, whichever process ran it: its last pass, and what there was on one day."""

    __tablename__ = "sweeps"
    name: str = Field(primary_key=True)
    ran_at: datetime = _time()
    took_ms: int
    day: date
    items: int
    longest_ms: int
    failures: int
    failed_at: datetime | None = _time(optional=True)
    flaw: str | None = None


class DigestRow(SQLModel, table=True):
    """Whose digest comes when, and which week's they have."""

    __tablename__ = "digests"
    __table_args__ = (
        Index(
            "digests_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index(
            "digests_being_sent",
            "sender",
            sqlite_where=text("sender IS NOT NULL"),
            postgresql_where=text("sender IS NOT NULL"),
        ),
    )
    team: str = Field(primary_key=True)
    member: str = Field(primary_key=True)
    since: datetime = _time()
    weekday: int
    hour: int
    off: bool
    due_at: datetime | None = _time(optional=True)
    week: date | None = None
    sender: str | None = None
    attempts: int


class OutsiderRow(SQLModel, table=True):
    """How many keys of a project were made outside the desk, at the last inventory."""

    __tablename__ = "outsiders"
    team: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    project: str = Field(primary_key=True)
    project_name: str
    keys: int
    at: datetime = _time()


class NoticeRow(SQLModel, table=True):
    """A message owed to somebody."""

    __tablename__ = "notices"
    __table_args__ = (
        ForeignKeyConstraint(["team", "about"], ["requests.team", "requests.id"]),
        Index("notices_about", "team", "about"),
        Index("notices_to", "team", "recipient"),
        Index(
            "notices_due",
            "due_at",
            sqlite_where=text("shown < wanted"),
            postgresql_where=text("shown < wanted"),
        ),
    )
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    kind: str
    about: str
    recipient: str
    wanted: int
    shown: int
    due_at: datetime = _time()
    channel: str | None = None
    ts: str | None = None
    attempts: int = 0
    waits: bool = False


class LessonRow(SQLModel, table=True):
    """When a member last acknowledged how to keep a key safe."""

    __tablename__ = "lessons"
    team: str = Field(primary_key=True)
    member: str = Field(primary_key=True)
    at: datetime = _time()


class DeliveryRow(SQLModel, table=True):
    """A delivery of Slack's that was acted on."""

    __tablename__ = "deliveries"
    team: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    at: datetime = _time()


class AuditEntryRow(SQLModel, table=True):
    """One entry of a team's audit chain."""

    __tablename__ = "audit_entries"
    team: str = Field(primary_key=True)
    index: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at: datetime = _time()
    actor: str
    act: str
    subject: str
    detail: dict[str, Any] = Field(sa_type=JSON)
    previous: str
    leaf: str


class AuditHeadRow(SQLModel, table=True):
    """How long a team's chain is, and what it ends with."""

    __tablename__ = "audit_heads"
    team: str = Field(primary_key=True)
    size: int = Field(sa_type=BigInteger)
    leaf: str
