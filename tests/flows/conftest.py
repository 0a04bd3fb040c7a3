"""The desk in all its settings: both of Slack's modes, both databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox.server import Running
from sandbox.server import running as sandbox_running
from tests.flows.world import World, settings_for, world


@pytest.fixture
def servers() -> Iterator[Running]:
    """A sandbox of the test's own."""
    with sandbox_running() as servers:
        yield servers


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    """How Slack reaches the desk."""
    return str(request.param)


@pytest.fixture
async def flow(servers: Running, mode: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A running desk."""
    settings = settings_for(servers, mode=mode, database_url=database_url, folder=tmp_path)
    async with world(servers, settings) as running:
        yield running
