"""A desk for each test, on SQLite and on PostgreSQL in turn."""

from collections.abc import AsyncIterator

import pytest

from storage.store import SqlStore
from tests.desk.world import World


@pytest.fixture
async def world(store: SqlStore) -> AsyncIterator[World]:
    """The desk on a fresh database; what must hold after every story is checked when its test is over."""
    desk = World(store)
    yield desk
    await desk.must_hold()


@pytest.fixture
async def other(world: World, database_url: str) -> AsyncIterator[World]:
    """The same desk in another process: its own connections, the same database, people, vendor and time."""
    store = SqlStore.open(database_url)
    yield World(store, beside=world)
    await store.close()
