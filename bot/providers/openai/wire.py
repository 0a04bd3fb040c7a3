"""How OpenAI's admin API is spoken to, and what of its answers the desk reads.

Source: OpenAI's published description and, where that is older, its official SDK.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Generic, TypeVar

from pydantic import Field, SecretStr, ValidationError

from bot.desk.errors import NotOffered, ProviderError
from bot.providers.calls import Calls, Read, Refusal, Vendor

PAGE = 100  # the most that OpenAI gives

Item = TypeVar("Item", bound="Identified")


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


async def listed(calls: Calls, path: str, page: type[Page[Item]], **params: str) -> AsyncIterator[Item]:
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
