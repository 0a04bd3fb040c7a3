"""What the promises are tried with: the sandbox, and desks as processes of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.server import Running
from tests.flows.conftest import servers  # noqa: F401  # a fixture: used by name
from tests.promises.world import Desks, desks


@pytest.fixture
async def several(servers: Running, database_url: str, tmp_path: Path) -> AsyncIterator[Desks]:  # noqa: F811  # as above
    """Slack over HTTP by turns: to two desks on PostgreSQL, to one on SQLite, which several do not share."""
    count = 1 if database_url.startswith("sqlite") else 2
    async with desks(servers, mode="http", database_url=database_url, folder=tmp_path, count=count) as all_of_them:
        yield all_of_them
