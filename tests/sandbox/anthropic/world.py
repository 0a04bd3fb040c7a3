"""The pretend Anthropic, served to the official SDK."""

from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx

from sandbox.anthropic import PretendAnthropic
from sandbox.faults import Faults
from tests.providers.serving import Served

ADMIN_KEY = "sk-ant-admin01-" + "A" * 40
VERSION = {"anthropic-version": "2023-06-01"}


@dataclass
class World:
    """The pretend Anthropic, served, with a clock to turn and a count of its changes."""

    now: float = 1_800_000_000.0
    changes: int = 0
    faults: Faults = field(default_factory=Faults)
    pretend: PretendAnthropic = field(init=False)
    served: Served = field(init=False)

    def changed(self) -> None:
        self.changes += 1

    def make(self) -> PretendAnthropic:
        return PretendAnthropic(admin_key=ADMIN_KEY, clock=lambda: self.now, changed=self.changed)

    def client(self, key: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(api_key=key, base_url=self.served.url, max_retries=0)

    def key(self, name: str = "ci", workspace: str = "wrkspc_lab", lifetime: float | None = None) -> tuple[str, str]:
        """A new key's id and value, from the Console."""
        made = self.pretend.console.make_key(name, workspace=workspace, lifetime=lifetime)
        return made["id"], made["value"]

    def report(self, path: str, **asked: Any) -> Any:
        """A report, which the SDK has no method for, asked for as Anthropic's reference does."""
        url = f"{self.served.url}/v1/organizations/{path}"
        answer = httpx.get(url, params=asked, headers={"x-api-key": ADMIN_KEY, **VERSION})
        return answer.json() if answer.status_code == 200 else answer.status_code
