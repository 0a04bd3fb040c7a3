"""How Anthropic's Admin API is spoken to, and what of its answers the desk reads. Source: Anthropic's API reference."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from pydantic import Field, ValidationError

from bot.providers.calls import Calls, Read, Vendor

BASE = "/v1/organizations"
KEYS, WORKSPACES, USERS, INVITES = (f"{BASE}/{name}" for name in ("api_keys", "workspaces", "users", "invites"))
USAGE, COSTS = f"{BASE}/usage_report/messages", f"{BASE}/cost_report"
VERSION = "2023-06-01"
PAGE = 1000  # the most that Anthropic gives
DEFAULT = "default"
"""The desk's name for the default workspace where the API gives it no id."""

Item = TypeVar("Item", bound="Identified")
Result = TypeVar("Result", bound=Read)


class Identified(Read):
    """Whatever has an id that may become part of a path."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")


class Page(Read, Generic[Item]):
    """A page of a list."""

    data: list[Item]
    has_more: bool
    last_id: str | None = None


class Organization(Read):
    """Whose credential it is."""

    name: str


class Workspace(Identified):
    """A workspace."""

    name: str
    archived_at: datetime | None = None


class KeyScope(Read):
    """Where a key belongs, as newer answers say it."""

    workspace_id: str | None = None


class Key(Identified):
    """A key, without its value."""

    name: str
    status: str
    created_at: datetime
    expires_at: datetime | None = None
    partial_key_hint: str | None = None
    workspace_id: str | None = None
    scope: KeyScope | None = None

    @property
    def workspace(self) -> str:
        """The workspace's id; older answers have none for the default one."""
        told = self.scope.workspace_id if self.scope is not None else None
        return told or self.workspace_id or DEFAULT


class User(Identified):
    """A user of the organization."""

    email: str


class Invite(Identified):
    """An invitation to the organization."""

    email: str
    status: str


class Member(Read):
    """Somebody in a workspace."""

    user_id: str


class Gone(Read):
    """The API's word that something is gone."""

    type: str


class CacheCreation(Read):
    """Tokens written to the cache, by how long they stay there."""

    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


class Used(Read):
    """What was used of one kind, in one bucket of time."""

    api_key_id: str | None = None
    workspace_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    uncached_input_tokens: int = 0
    cache_creation: CacheCreation = CacheCreation()
    cache_read_input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> Mapping[str, int]:
        """By the types that the cost report knows."""
        return {
            "uncached_input_tokens": self.uncached_input_tokens,
            "cache_creation.ephemeral_1h_input_tokens": self.cache_creation.ephemeral_1h_input_tokens,
            "cache_creation.ephemeral_5m_input_tokens": self.cache_creation.ephemeral_5m_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
            "output_tokens": self.output_tokens,
        }


class Cost(Read):
    """What something cost, in cents."""

    amount: Decimal
    currency: str
    workspace_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    token_type: str | None = None


class Bucket(Read, Generic[Result]):
    """A span of time."""

    starting_at: datetime
    results: list[Result]


class Report(Read, Generic[Result]):
    """A page of buckets."""

    data: list[Bucket[Result]]
    has_more: bool
    next_page: str | None = None


class _Details(Read):
    error_code: str | None = None


class _Error(Read):
    type: str | None = None
    details: _Details | None = None


class _ErrorAnswer(Read):
    error: _Error


def words(body: bytes) -> Iterable[str | None]:
    """The kind of an error, and the code that some have."""
    try:
        error = _ErrorAnswer.model_validate_json(body).error
    except ValidationError:
        return ()
    return error.type, error.details.error_code if error.details else None


VENDOR = Vendor(
    label="Anthropic",
    credential="Admin API key",
    setting="ANTHROPIC_ADMIN_KEY",
    headers=lambda key: {"x-api-key": key, "anthropic-version": VERSION},
    words=words,
)


async def listed(calls: Calls, path: str, page: type[Page[Item]], **params: str | Sequence[str]) -> AsyncIterator[Item]:
    """Everything in a list, page by page."""

    def onward(read: Page[Item]) -> Mapping[str, str] | None:
        last = read.last_id or (read.data[-1].id if read.data else None)
        if not read.has_more:
            return None
        return {"after_id": last} if last is not None else {}

    async for read in calls.pages(path, page, onward, limit=PAGE, **params):
        for item in read.data:
            yield item
