"""The pretend OpenAI, and the official SDK that is pointed at it."""

from collections.abc import Iterator

import openai
import pytest
from openai.resources.admin.organization import Organization
from openai.resources.admin.organization.projects import Projects

from tests.providers.serving import serve
from tests.sandbox.openai.world import ADMIN_KEY, World


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A pretend OpenAI with the switches of the test."""
    world = World()
    world.pretend = world.make(**getattr(request, "param", {}))
    with serve(world.pretend.routes, faults=world.faults) as world.served:
        yield world


@pytest.fixture
def admin(world: World) -> Iterator[Organization]:
    """The SDK's admin API."""
    with openai.OpenAI(admin_api_key=ADMIN_KEY, api_key="", base_url=world.served.url, max_retries=0) as client:
        yield client.admin.organization


@pytest.fixture
def projects(admin: Organization) -> Projects:
    """The SDK's admin API of projects."""
    return admin.projects
