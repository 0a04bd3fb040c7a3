"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table('audit_entries',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('index', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor', sa.String(), nullable=False),
    sa.Column('act', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False),
    sa.Column('previous', sa.String(), nullable=False),
    sa.Column('leaf', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('team', 'index')
    )
    op.create_table('audit_heads',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('leaf', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('team')
    )
    op.create_table('deliveries',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('team', 'id')
    )
    op.create_table('requests',
    sa.Column('provider', sa.String(), nullable=False),
    sa.Column('provider_name', sa.String(), nullable=False),
    sa.Column('project', sa.String(), nullable=False),
    sa.Column('project_name', sa.String(), nullable=False),
    sa.Column('permission', sa.String(), nullable=False),
    sa.Column('permission_name', sa.String(), nullable=False),
    sa.Column('monthly_budget_cents', sa.BigInteger(), nullable=False),
    sa.Column('duration_seconds', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('requester', sa.String(), nullable=False),
    sa.Column('rule', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('origin', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('team', 'id'),
    sa.UniqueConstraint('team', 'origin')
    )
    with op.batch_alter_table('requests', schema=None) as batch_op:
        batch_op.create_index('requests_by_state', ['team', 'state', 'created_at'], unique=False)
        batch_op.create_index('requests_of', ['team', 'requester', 'created_at'], unique=False)

    op.create_table('decisions',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('request_id', sa.String(), nullable=False),
    sa.Column('approver', sa.String(), nullable=False),
    sa.Column('ruling', sa.String(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['team', 'request_id'], ['requests.team', 'requests.id'], ),
    sa.PrimaryKeyConstraint('team', 'request_id')
    )
    op.create_table('grants',
    sa.Column('provider', sa.String(), nullable=False),
    sa.Column('provider_name', sa.String(), nullable=False),
    sa.Column('project', sa.String(), nullable=False),
    sa.Column('project_name', sa.String(), nullable=False),
    sa.Column('permission', sa.String(), nullable=False),
    sa.Column('permission_name', sa.String(), nullable=False),
    sa.Column('monthly_budget_cents', sa.BigInteger(), nullable=False),
    sa.Column('duration_seconds', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('request_id', sa.String(), nullable=False),
    sa.Column('holder', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('key_id', sa.String(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_by', sa.String(), nullable=True),
    sa.Column('ended_because', sa.String(), nullable=True),
    sa.ForeignKeyConstraint(['team', 'request_id'], ['requests.team', 'requests.id'], ),
    sa.PrimaryKeyConstraint('team', 'id'),
    sa.UniqueConstraint('team', 'request_id')
    )
    with op.batch_alter_table('grants', schema=None) as batch_op:
        batch_op.create_index('grants_of', ['team', 'holder', 'created_at'], unique=False)
        batch_op.create_index('grants_that_expire', ['expires_at'], unique=False, sqlite_where=sa.text("state = 'active'"), postgresql_where=sa.text("state = 'active'"))

    op.create_table('notices',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('about', sa.String(), nullable=False),
    sa.Column('recipient', sa.String(), nullable=False),
    sa.Column('wanted', sa.Integer(), nullable=False),
    sa.Column('shown', sa.Integer(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('channel', sa.String(), nullable=True),
    sa.Column('ts', sa.String(), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['team', 'about'], ['requests.team', 'requests.id'], ),
    sa.PrimaryKeyConstraint('team', 'id')
    )
    with op.batch_alter_table('notices', schema=None) as batch_op:
        batch_op.create_index('notices_about', ['team', 'about'], unique=False)
        batch_op.create_index('notices_due', ['due_at'], unique=False, sqlite_where=sa.text('shown < wanted'), postgresql_where=sa.text('shown < wanted'))

    op.create_table('keys',
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('grant_id', sa.String(), nullable=False),
    sa.Column('provider', sa.String(), nullable=False),
    sa.Column('project', sa.String(), nullable=False),
    sa.Column('marker', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('intended_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('handle', sa.String(), nullable=True),
    sa.Column('fingerprint', sa.String(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['team', 'grant_id'], ['grants.team', 'grants.id'], ),
    sa.PrimaryKeyConstraint('team', 'id'),
    sa.UniqueConstraint('team', 'marker')
    )
    with op.batch_alter_table('keys', schema=None) as batch_op:
        batch_op.create_index('keys_minting', ['intended_at'], unique=False, sqlite_where=sa.text("state = 'minting'"), postgresql_where=sa.text("state = 'minting'"))
        batch_op.create_index('keys_of', ['team', 'grant_id'], unique=False)
        batch_op.create_index('keys_to_revoke', ['due_at'], unique=False, sqlite_where=sa.text("state = 'revoking'"), postgresql_where=sa.text("state = 'revoking'"))

    op.create_table('links',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('team', sa.String(), nullable=False),
    sa.Column('grant_id', sa.String(), nullable=False),
    sa.Column('key_id', sa.String(), nullable=False),
    sa.Column('holder', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('token_hash', sa.LargeBinary(), nullable=False),
    sa.Column('envelope', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('session', sa.String(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_because', sa.String(), nullable=True),
    sa.ForeignKeyConstraint(['team', 'key_id'], ['keys.team', 'keys.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('team', 'key_id')
    )
    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.create_index('links_claimed', ['lease_until'], unique=False, sqlite_where=sa.text("state = 'claimed'"), postgresql_where=sa.text("state = 'claimed'"))
        batch_op.create_index('links_open', ['expires_at'], unique=False, sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))




def downgrade() -> None:

    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.drop_index('links_open', sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"))
        batch_op.drop_index('links_claimed', sqlite_where=sa.text("state = 'claimed'"), postgresql_where=sa.text("state = 'claimed'"))

    op.drop_table('links')
    with op.batch_alter_table('keys', schema=None) as batch_op:
        batch_op.drop_index('keys_to_revoke', sqlite_where=sa.text("state = 'revoking'"), postgresql_where=sa.text("state = 'revoking'"))
        batch_op.drop_index('keys_of')
        batch_op.drop_index('keys_minting', sqlite_where=sa.text("state = 'minting'"), postgresql_where=sa.text("state = 'minting'"))

    op.drop_table('keys')
    with op.batch_alter_table('notices', schema=None) as batch_op:
        batch_op.drop_index('notices_due', sqlite_where=sa.text('shown < wanted'), postgresql_where=sa.text('shown < wanted'))
        batch_op.drop_index('notices_about')

    op.drop_table('notices')
    with op.batch_alter_table('grants', schema=None) as batch_op:
        batch_op.drop_index('grants_that_expire', sqlite_where=sa.text("state = 'active'"), postgresql_where=sa.text("state = 'active'"))
        batch_op.drop_index('grants_of')

    op.drop_table('grants')
    op.drop_table('decisions')
    with op.batch_alter_table('requests', schema=None) as batch_op:
        batch_op.drop_index('requests_of')
        batch_op.drop_index('requests_by_state')

    op.drop_table('requests')
    op.drop_table('deliveries')
    op.drop_table('audit_heads')
    op.drop_table('audit_entries')

