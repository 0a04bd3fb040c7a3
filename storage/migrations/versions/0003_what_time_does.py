"""What time does: timers, how the sweeps go, the hours in which keys are used, digests, what waits and lapses, rotation."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

TRIED = sa.text("attempts > 0")
EXTENDS = sa.text("extends IS NOT NULL")
OPEN = sa.text("closed_at IS NULL")
ROTATES = sa.text("rotates_at IS NOT NULL")
ACTIVE, GOES_ON = sa.text("state = 'active'"), sa.text("ended_at IS NULL")


def upgrade() -> None:
    _digests()
    op.create_table(
        "timers",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("team", "kind", "about"),
    )
    op.create_index("timers_due", "timers", ["due_at"])
    op.create_index("timers_failing", "timers", ["attempts"], sqlite_where=TRIED, postgresql_where=TRIED)
    op.create_table(
        "sweeps",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("longest_ms", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("flaw", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("notices_to", "notices", ["team", "recipient"])
    op.add_column("notices", sa.Column("waits", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "usage_hours",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        sa.PrimaryKeyConstraint("team", "key_id", "hour", "span"),
    )
    op.create_index("usage_hours_by_age", "usage_hours", ["hour"])
    op.create_table(
        "incidents",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answered_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["team", "grant_id"], ["grants.team", "grants.id"]),
        sa.PrimaryKeyConstraint("team", "id"),
    )
    op.create_index("incidents_of", "incidents", ["team", "grant_id", "opened_at"])
    op.create_index(
        "incidents_open", "incidents", ["team", "grant_id"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.add_column("keys", sa.Column("paused_by", sa.String(), nullable=True))
    op.create_table(
        "silences",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("because", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("team"),
    )
    op.create_table(
        "lessons",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("member", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team", "member"),
    )
    op.add_column("requests", sa.Column("lapses_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("requests", sa.Column("extends", sa.String(), nullable=True))
    op.create_index(
        "requests_that_extend", "requests", ["team", "extends"], sqlite_where=EXTENDS, postgresql_where=EXTENDS
    )
    op.add_column("grants", sa.Column("lapses_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("grants", sa.Column("next_key_id", sa.String(), nullable=True))
    op.add_column("grants", sa.Column("held_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("grants", sa.Column("rotates_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("grants", sa.Column("overdue_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "grants_that_rotate", "grants", ["team", "rotates_at"], sqlite_where=ROTATES, postgresql_where=ROTATES
    )
    op.execute("UPDATE grants SET held_since = created_at WHERE state = 'active'")
    op.drop_index("grants_that_expire", "grants", sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_index("grants_that_expire", "grants", ["expires_at"], sqlite_where=GOES_ON, postgresql_where=GOES_ON)
    op.add_column("grants", sa.Column("left_at", sa.DateTime(timezone=True), nullable=True))
    _what_waits_waits_from_now_on()


def _what_waits_waits_from_now_on() -> None:
    """What was there before the desk knew the time has all of it before it."""
    now = datetime.now(UTC)
    week, fortnight = now + timedelta(days=7), now + timedelta(days=14)
    _lapse("requests", ["pending"], now + timedelta(days=3))
    _lapse("grants", ["awaited", "ready", "issuing", "delivering"], week)
    _begin("decision", "requests", ["pending"], now)
    _begin("pick_up", "grants", ["ready", "issuing", "delivering"], now + timedelta(days=2))
    _begin("deposit", "keys", ["awaited"], now)
    _begin("expiry", "grants", ["active"], now)
    _begin("idle", "grants", ["active"], fortnight)
    _begin("rotation", "grants", ["active"], now)  # when each is to be rotated is policy's to say: its timer does


def _rows(name: str) -> sa.TableClause:
    return sa.table(
        name, sa.column("team"), sa.column("id"), sa.column("state"), sa.column("lapses_at", sa.DateTime(timezone=True))
    )


def _lapse(name: str, states: Sequence[str], at: datetime) -> None:
    rows = _rows(name)
    op.execute(rows.update().where(rows.c.state.in_(states)).values(lapses_at=at))


def _begin(kind: str, name: str, states: Sequence[str], due_at: datetime) -> None:
    rows = _rows(name)
    timers = sa.table("timers", *map(sa.column, ("team", "kind", "about", "due_at", "step", "attempts")))
    waiting = sa.select(
        rows.c.team,
        sa.literal(kind),
        rows.c.id,
        sa.literal(due_at, sa.DateTime(timezone=True)),
        sa.literal(0),
        sa.literal(0),
    ).where(rows.c.state.in_(states))
    op.execute(timers.insert().from_select(["team", "kind", "about", "due_at", "step", "attempts"], waiting))


def _digests() -> None:
    op.create_table(
        "digests",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("member", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("off", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("week", sa.Date(), nullable=True),
        sa.Column("sender", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("team", "member"),
    )
    for name, column in (("digests_due", "due_at"), ("digests_being_sent", "sender")):
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "digests", [column], sqlite_where=there, postgresql_where=there)
    op.create_index("decisions_of", "decisions", ["team", "approver"])


def downgrade() -> None:
    op.drop_table("lessons")
    with op.batch_alter_table("notices") as notices:
        notices.drop_column("waits")
    op.drop_index("notices_to", "notices")
    op.drop_index("grants_that_expire", "grants", sqlite_where=GOES_ON, postgresql_where=GOES_ON)
    op.create_index("grants_that_expire", "grants", ["expires_at"], sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.drop_index("grants_that_rotate", "grants")
    op.drop_column("grants", "overdue_since")
    op.drop_column("grants", "rotates_at")
    op.drop_column("grants", "held_since")
    op.drop_column("grants", "next_key_id")
    op.drop_table("silences")
    op.drop_column("keys", "paused_by")
    op.drop_table("incidents")
    op.drop_index("decisions_of", "decisions")
    op.drop_table("digests")
    op.drop_column("grants", "left_at")
    op.drop_column("grants", "lapses_at")
    op.drop_index("requests_that_extend", "requests")
    op.drop_column("requests", "extends")
    op.drop_column("requests", "lapses_at")
    op.drop_table("usage_hours")
    op.drop_table("sweeps")
    op.drop_table("timers")
