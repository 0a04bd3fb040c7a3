"""The pretend OpenAI, served to the desk's adapter."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from bot.desk.model import Minted, Scope
from bot.providers.openai import OpenAI
from sandbox.faults import Faults
from sandbox.openai import PretendOpenAI
from tests.providers.serving import Served

ADMIN_KEY = "sk-admin-" + "A" * 40


@dataclass
class World:
    """The pretend OpenAI, served, and its time."""

    now: float = 1_800_000_000.0
    faults: Faults = field(default_factory=Faults)
    pretend: PretendOpenAI = field(init=False)
    served: Served = field(init=False)

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def keys(self) -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = self.pretend.snapshot()["keys"]
        return keys

    def alive(self) -> list[dict[str, Any]]:
        return [key for key in self.keys() if key["status"] == "active"]

    def accounts(self) -> list[Any]:
        return list(self.pretend.dump()["accounts"])

    def admin(self, method: str, path: str, **body: Any) -> Any:
        """What somebody else does with the admin key."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.request(method, self.served.url + path, headers=headers, json=body or None).json()

    def opens(self, minted: Minted, method: str, path: str, **body: Any) -> int:
        """The status that the key's value gets at an endpoint."""
        return httpx.request(
            method,
            self.served.url + path,
            headers={"Authorization": f"Bearer {minted.secret.expose()}"},
            json=body or None,
        ).status_code


@asynccontextmanager
async def adapter(
    url: str, clock: Callable[[], datetime] = lambda: datetime(2027, 1, 15, tzinfo=UTC), **options: Any
) -> AsyncIterator[OpenAI]:
    """The adapter, closed at the end."""
    provider = OpenAI(**{"admin_key": SecretStr(ADMIN_KEY), "base_url": url, "clock": clock, **options})
    try:
        yield provider
    finally:
        await provider.aclose()


def scope(permission: str = "responses", project: str = "proj_lab", models: tuple[str, ...] = ()) -> Scope:
    """Fifty dollars a month."""
    return Scope(provider="openai", project=project, permission=permission, monthly_budget_cents=5000, models=models)
