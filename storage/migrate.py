"""Migrations, run at start. Two processes that start at once wait for each other."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url

LOCK = 0x6B657964  # "keyd": the advisory lock that PostgreSQL's migrations take


class OldSchema(Exception):
    """The database does not have the newest schema."""


def engine_url(url: str) -> URL:
    """The URL with the driver that Keydesk uses."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def upgrade(url: str) -> None:
    """Brings the database to the newest schema; one that has it is left alone."""
    engine = create_engine(engine_url(url))
    config = _config()
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
                connection.commit()
            else:
                # The driver would begin its transaction at the first change, too late to keep another process out.
                connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]  # sqlite3's
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                connection.exec_driver_sql("PRAGMA busy_timeout = 60000")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
                connection.commit()
            elif connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]  # sqlite3's
                connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()


def require_head(connection: Connection) -> None:
    """Raises `OldSchema` unless the database has the newest schema."""
    has = MigrationContext.configure(connection).get_current_revision()
    wants = ScriptDirectory.from_config(_config()).get_current_head()
    if has != wants:
        raise OldSchema(f"its schema is {has or 'missing'}, not {wants}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config
