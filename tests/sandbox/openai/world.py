"""The pretend OpenAI, served to the official SDK."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import openai

from sandbox.faults import Faults
from sandbox.openai import PretendOpenAI
from sandbox.openai.organization import Account
from tests.providers.serving import Served

ADMIN_KEY = "sk-admin-" + "A" * 40


@dataclass
class World:
    """The pretend OpenAI, served, with a clock to turn and a count of its changes."""

    now: float = 1_800_000_000.0
    changes: int = 0
    faults: Faults = field(default_factory=Faults)
    pretend: PretendOpenAI = field(init=False)
    served: Served = field(init=False)

    def changed(self) -> None:
        self.changes += 1

    def make(self, **switches: bool) -> PretendOpenAI:
        return PretendOpenAI(admin_key=ADMIN_KEY, clock=lambda: self.now, changed=self.changed, **switches)

    def key(self, project: str = "proj_lab", *, lifetime: int | None = None, scopes: Sequence[str] = ()) -> str:
        """A new key's value, from the dashboard."""
        owner = Account(id=f"svc_acct_{project}", name="ci", project=project, role="member", created_at=int(self.now))
        self.pretend.organization.put_account(owner)
        issue = self.pretend.organization.issue
        return issue(name="ci", project=project, owner=owner.id, lifetime=lifetime, scopes=scopes)[1]

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=self.served.url, max_retries=0)
