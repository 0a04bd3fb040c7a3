"""How alembic reaches the database: over the connection that `storage.migrate` gives it."""

from alembic import context
from sqlmodel import SQLModel

import storage.tables  # noqa: F401  # fills SQLModel.metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transactional_ddl=True,  # SQLite can, once the driver does not begin and commit by itself: all steps or none
)
with context.begin_transaction():
    context.run_migrations()
