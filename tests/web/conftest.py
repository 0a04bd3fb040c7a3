"""The web side against the sandbox's Slack, on SQLite where a test does not ask for both databases."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.client import Sandbox
from sandbox.server import Running
from sandbox.server import running as sandbox_running
from storage.store import SqlStore
from tests.web.world import World, world


@pytest.fixture(scope="session")
def slack() -> Iterator[Running]:
    """One pretend Slack for all: here it is only signed in at."""
    with sandbox_running() as servers:
        yield servers


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A fresh migrated database."""
    path = tmp_path / "keydesk.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def embedded(sqlite_url: str) -> AsyncIterator[SqlStore]:
    """A store on SQLite."""
    opened = SqlStore.open(sqlite_url)
    yield opened
    await opened.close()


@asynccontextmanager
async def _at(slack: Running, store: SqlStore) -> AsyncIterator[World]:
    async with (
        world(
            store=store,
            slack_origin=slack.base_url,
            client_id=slack.client_id,
            client_secret=slack.client_secret,
        ) as served,
        Sandbox(slack.base_url) as sandbox,
    ):
        await sandbox.set_app(redirect_urls=[f"{served.url}/auth/callback"])
        yield served


@pytest.fixture
async def desk(embedded: SqlStore, slack: Running) -> AsyncIterator[World]:
    """A served desk on SQLite."""
    async with _at(slack, embedded) as served:
        yield served


@pytest.fixture
async def desk_on_each(store: SqlStore, slack: Running) -> AsyncIterator[World]:
    """A served desk on SQLite, and on PostgreSQL."""
    async with _at(slack, store) as served:
        yield served
