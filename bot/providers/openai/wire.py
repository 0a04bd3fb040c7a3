"""How OpenAI's admin API is spoken to, and what of its answers the desk reads.

Source: OpenAI's published description and, where that is older, its official SDK.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Generic, TypeVar

from pydantic import Field, SecretStr, ValidationError

from bot.desk.errors import NotOffered, ProviderError
from bot.providers.calls import Calls, Read, Refusal, Vendor

PAGE = 100  # the most that OpenAI gives

Item = TypeVar("Item", bound="Identified")
Result = TypeVar("Result", bound=Read)


class Unknown(NotOffered):
    """This API is older than what was asked of it. `parameter` is the one it does not know, if it named one."""

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class Identified(Read):
    """Whatever has an id that may become part of a path."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]+$")


class Page(Read, Generic[Item]):
    """A page of a list."""

    data: list[Item]
    has_more: bool
    last_id: str | None = None


class Project(Identified):
    """A project."""

    name: str | None = None
    status: str | None = None
    archived_at: int | None = None

    @property
    def archived(self) -> bool:
        """Whether it is closed for good."""
        return self.status == "archived" or self.archived_at is not None


class Account(Identified):
    """A service account."""

    name: str
    role: str | None = None
    created_at: int | None = None


class Key(Identified):
    """A key at the only moment in which its value is told."""

    value: SecretStr = Field(min_length=20)
    expires_at: int | None = None


class AccountWithKey(Account):
    """What the API answers where an account comes with a key."""

    api_key: Key


class Owner(Identified):
    """Whose key it is, as far as the desk needs to know."""

    name: str
    role: str | None = None


class KeyOwner(Read):
    """A person or a service account."""

    user: Owner | None = None
    service_account: Owner | None = None


class ProjectKey(Identified):
    """A key as a project lists it, without its value."""

    name: str | None = None
    redacted_value: str
    created_at: int
    expires_at: int | None = None
    owner: KeyOwner
    owner_project_access: str | None = None


class RateLimit(Identified):
    """What a project may do in a minute with a model. Its id is made of the model's, which may hold dots."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.:-]*$")
    model: str


class ModelPermissions(Read):
    """Which models the keys of a project may use."""

    mode: str
    model_ids: list[str]

    def allows(self, model: str) -> bool:
        """Whether a key of the project may use it."""
        listed_there = model in self.model_ids
        return listed_there if self.mode == "allow_list" else not listed_there


class SpendLimit(Read):
    """What a project may spend in a month before its keys are refused, in cents."""

    threshold_amount: int


class Alert(Identified):
    """A mail that goes out at a threshold."""

    threshold_amount: int


class User(Identified):
    """A member of the organization or of a project."""

    email: str | None = None


class InvitedTo(Read):
    """A project that an invitation opens, and as what."""

    id: str
    role: str


class Invite(Identified):
    """An invitation to the organization."""

    email: str
    role: str
    status: str
    projects: tuple[InvitedTo, ...] = ()


class UsageResult(Read):
    """What was used: of a key, of a model, in one bucket of time. Not every kind of use counts tokens."""

    num_model_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    project_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class Amount(Read):
    """Money."""

    value: Decimal
    currency: str


class CostResult(Read):
    """What it cost: of a key, of a line of the bill."""

    amount: Amount
    api_key_id: str | None = None
    line_item: str | None = None


class Bucket(Read, Generic[Result]):
    """A span of time."""

    start_time: int
    results: list[Result]


class Report(Read, Generic[Result]):
    """A page of buckets."""

    data: list[Bucket[Result]]
    has_more: bool
    next_page: str | None = None


class Deleted(Identified):
    """The API's word that something is gone."""

    deleted: bool


class _Error(Read):
    code: str | None = None
    param: str | None = None


class _ErrorAnswer(Read):
    error: _Error


def words(body: bytes) -> Iterable[str | None]:
    """The code of an error, and the parameter that it is about."""
    try:
        error = _ErrorAnswer.model_validate_json(body).error
    except ValidationError:
        return ()
    return error.code, error.param


def refused(refusal: Refusal) -> ProviderError | None:
    """A parameter that the API does not know tells how old it is."""
    if refusal.status == 400 and refusal.words[:1] == ("unknown_parameter",):
        message = f"OpenAI does not know a parameter ({refusal.said})."
        return Unknown(message, parameter=refusal.words[1] if len(refusal.words) > 1 else None)
    return None


VENDOR = Vendor(
    label="OpenAI",
    credential="admin key",
    setting="OPENAI_ADMIN_KEY",
    headers=lambda key: {"Authorization": f"Bearer {key}"},
    words=words,
)


async def listed(calls: Calls, path: str, page: type[Page[Item]], **params: str | Sequence[str]) -> AsyncIterator[Item]:
    """Everything in a list, page by page."""

    def onward(read: Page[Item]) -> Mapping[str, str] | None:
        last = read.last_id or (read.data[-1].id if read.data else None)
        if not read.has_more:
            return None
        return {"after": last} if last is not None else {}

    async for read in calls.pages(path, page, onward, limit=PAGE, **params):
        for item in read.data:
            yield item


class Paths:
    """Where things are, below the API's base. An id that is none is `ProviderNotFound`."""

    projects = "/organization/projects"
    users = "/organization/users"
    invites = "/organization/invites"

    def __init__(self, calls: Calls) -> None:
        self._checked = calls.checked

    def project(self, project: str) -> str:
        """A project."""
        return f"{self.projects}/{self._checked(project)}"

    def accounts(self, project: str) -> str:
        """Its service accounts."""
        return f"{self.project(project)}/service_accounts"

    def account(self, project: str, handle: str) -> str:
        """One of them."""
        return f"{self.accounts(project)}/{self._checked(handle)}"

    def keys(self, project: str) -> str:
        """Its keys, whoever owns them."""
        return f"{self.project(project)}/api_keys"

    def key(self, project: str, key: str) -> str:
        """One of them."""
        return f"{self.keys(project)}/{self._checked(key)}"
