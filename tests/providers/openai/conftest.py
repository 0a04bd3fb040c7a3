"""The pretend OpenAI and the adapter of each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bot.providers.openai import OpenAI
from sandbox.openai import PretendOpenAI
from tests.providers.openai.world import ADMIN_KEY, World, adapter
from tests.providers.serving import serve


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A pretend OpenAI with the switches of the test."""
    world = World()
    world.pretend = PretendOpenAI(
        admin_key=ADMIN_KEY,
        clock=lambda: world.now,
        changed=lambda: None,
        **getattr(request, "param", {}),
    )
    with serve(world.pretend.routes, faults=world.faults) as world.served:
        yield world


@pytest.fixture
async def provider(world: World) -> AsyncIterator[OpenAI]:
    """The adapter, on the world's clock."""
    async with adapter(world.served.url, world.clock) as provider:
        yield provider
