"""The pretend Anthropic, and the official SDK that is pointed at it."""

from collections.abc import Iterator

import pytest
from anthropic.resources.organization import Organization

from tests.providers.serving import serve
from tests.sandbox.anthropic.world import ADMIN_KEY, World


@pytest.fixture
def world() -> Iterator[World]:
    """A pretend Anthropic."""
    world = World()
    world.pretend = world.make()
    with serve(world.pretend.routes, base="/anthropic", faults=world.faults) as world.served:
        yield world


@pytest.fixture
def admin(world: World) -> Iterator[Organization]:
    """The SDK's admin API."""
    with world.client(ADMIN_KEY) as client:
        yield client.organization
