"""Deposits, usage, invitations, models; a key may be delivered by several links, one after the other."""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

OPEN, CLAIMED, REVOKING = (sa.text(f"state = '{state}'") for state in ("open", "claimed", "revoking"))
DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    for drafts in ("requests", "grants"):
        op.add_column(drafts, sa.Column("models", sa.JSON(), nullable=False, server_default=sa.text("'[]'")))
        op.add_column(drafts, sa.Column("wish", sa.String(), nullable=False, server_default="key"))
    op.add_column("grants", sa.Column("invitation", sa.String(), nullable=True))
    op.add_column("grants", sa.Column("email", sa.String(), nullable=True))
    op.add_column("grants", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("grants", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("grants_with_invitations", "grants", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.add_column("keys", sa.Column("meter", sa.String(), nullable=True))
    op.drop_index("keys_to_revoke", "keys", sqlite_where=REVOKING, postgresql_where=REVOKING)
    op.create_index("keys_to_act_on", "keys", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.create_index("keys_by_meter", "keys", ["team", "provider", "meter"])
    _links_anew(one_for_each_key=False)

    op.create_table(
        "deposits",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("depositor", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("kek", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        sa.PrimaryKeyConstraint("team", "key_id"),
    )
    op.create_index("deposits_by_kek", "deposits", ["kek"])
    op.create_table(
        "usage",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        sa.PrimaryKeyConstraint("team", "key_id", "day", "model"),
    )
    op.create_table(
        "rounds",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_to", sa.Date(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("flaw", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("team", "provider", "kind"),
    )
    op.create_index("rounds_due", "rounds", ["due_at"])
    op.create_table(
        "outsiders",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("project_name", sa.String(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("team", "provider", "project"),
    )


def downgrade() -> None:
    for table in ("outsiders", "rounds", "usage", "deposits"):
        op.drop_table(table)
    _links_anew(one_for_each_key=True)
    op.drop_index("keys_by_meter", "keys")
    op.drop_index("keys_to_act_on", "keys", sqlite_where=DUE, postgresql_where=DUE)
    op.create_index("keys_to_revoke", "keys", ["due_at"], sqlite_where=REVOKING, postgresql_where=REVOKING)
    op.drop_column("keys", "meter")
    op.drop_index("grants_with_invitations", "grants", sqlite_where=DUE, postgresql_where=DUE)
    for column in ("attempts", "due_at", "email", "invitation"):
        op.drop_column("grants", column)
    for drafts in ("requests", "grants"):
        op.drop_column(drafts, "wish")
        op.drop_column(drafts, "models")


def _links_anew(*, one_for_each_key: bool) -> None:
    """SQLite changes no constraint of a table that is there: the table is made anew, its rows carried over."""
    columns = [
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_because", sa.String(), nullable=True),
    ]
    names = ", ".join(column.name for column in columns)
    op.create_table(
        "links_anew",
        *columns,
        sa.ForeignKeyConstraint(["team", "key_id"], ["keys.team", "keys.id"]),
        sa.PrimaryKeyConstraint("id"),
        *([sa.UniqueConstraint("team", "key_id")] if one_for_each_key else []),
    )
    op.execute(f"INSERT INTO links_anew ({names}) SELECT {names} FROM links")
    op.drop_table("links")
    op.rename_table("links_anew", "links")
    if not one_for_each_key:
        op.create_index("links_of", "links", ["team", "key_id", "created_at"])
    op.create_index("links_claimed", "links", ["lease_until"], sqlite_where=CLAIMED, postgresql_where=CLAIMED)
    op.create_index("links_open", "links", ["expires_at"], sqlite_where=OPEN, postgresql_where=OPEN)
