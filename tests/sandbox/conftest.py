"""A sandbox for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Member, Sandbox
from sandbox.server import Running, running


@pytest.fixture
def servers() -> Iterator[Running]:
    """A running sandbox."""
    with running() as servers:
        yield servers


@pytest.fixture
async def sandbox(servers: Running) -> AsyncIterator[Sandbox]:
    """A client of its control API."""
    async with Sandbox(servers.base_url) as sandbox:
        yield sandbox


@pytest.fixture
def client(servers: Running) -> AsyncWebClient:
    """The official SDK, with the app's token."""
    return AsyncWebClient(token=servers.bot_token, base_url=servers.api_url)


@pytest.fixture
def ben(sandbox: Sandbox) -> Member:
    """Ben."""
    return sandbox.member("U0BEN")


@pytest.fixture
def cara(sandbox: Sandbox) -> Member:
    """Cara."""
    return sandbox.member("U0CARA")
