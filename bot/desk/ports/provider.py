"""One vendor, where keys are made."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from typing import Protocol

from bot.desk.errors import NotOffered
from bot.desk.model import Minted, Scope, Secret
from bot.desk.offer import (
    Ability,
    AppliedLimit,
    Environment,
    Invitation,
    Making,
    Permission,
    Probe,
    Project,
    ProviderKey,
    Usage,
)


class Provider(Protocol):
    """One vendor. Every call has a time-out and raises only `ProviderError`s.

    An adapter inherits from this class. What it does not override answers `NotOffered`; `abilities` says what it does.
    """

    @property
    def name(self) -> str:
        """As policy and storage call it: "openai"."""

    @property
    def label(self) -> str:
        """As people call it: "OpenAI"."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What the adapter is built for. A probe tells how much of it the desk's credential may do."""

    @property
    def permissions(self) -> Sequence[Permission]:
        """The presets of what a key may do, widest last."""

    @property
    def usage_lag(self) -> timedelta:
        """How late usage is reported, at most, as a rule."""
        return timedelta(hours=1)

    async def probe(self) -> Probe:
        """Asks the provider what the credential may do, changing nothing there. Never raises: what is wrong is its flaw."""

    async def projects(self) -> Sequence[Project]:
        """The projects that a key can be made in; may be up to a minute old."""

    async def models(self, *, project: str) -> Sequence[str]:
        """The ids of the models that a key of this project may be held to; may be up to a minute old. MODELS.

        For a project that is still to be made (`NEW_PROJECT`): those of any.
        """
        raise self._not_offered()

    async def create_project(self, *, name: str, scope: Scope) -> Project:
        """The project of this name, made where there is none, with the scope's models and budget set on it. NEW_PROJECT.

        Again with the same name: the same project.
        """
        raise self._not_offered()

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Creates one key that does no more than `scope`. Raises `OutcomeUnknown` when it may yet exist. MINT."""
        raise self._not_offered()

    def making(self, project: str) -> Making:
        """How a person makes a key of this project, where MINT is not there."""
        return Making()

    def environment(self, project: str) -> Environment:
        """How programs are told of a key of this project; as most vendors' own libraries call it, unless overridden."""
        return Environment(f"{self.name.upper().replace('-', '_')}_API_KEY")

    async def recognise(self, *, secret: Secret, marker: str, project: str) -> ProviderKey | None:
        """The provider's own record of a key that a person brought; None where it has none, or cannot tell."""
        return None

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """Handles of whatever bears the marker. LIST."""
        raise self._not_offered()

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """The key as it is now; None where it is not there any more. LIST."""
        raise self._not_offered()

    def keys(self) -> AsyncIterator[ProviderKey]:
        """Every key of every project that the credential sees, whoever made it, page by page. LIST."""
        raise self._not_offered()

    async def revoke(self, *, handle: str, project: str) -> None:
        """Returns only when the provider said the key is gone; one that is not there is gone. REVOKE."""
        raise self._not_offered()

    async def disable(self, *, handle: str, project: str) -> None:
        """Switches a key off; one that is off stays off. DISABLE."""
        raise self._not_offered()

    async def enable(self, *, handle: str, project: str) -> None:
        """Switches a key on again; one that is on stays on. DISABLE."""
        raise self._not_offered()

    def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """What was used on these days, both included, by all keys of all projects: page by page, as it comes. USAGE.

        The number of calls grows with the pages that the provider makes of it, not with keys.
        """
        raise self._not_offered()

    async def invite(self, *, email: str, project: str) -> Invitation:
        """Invites to the provider's organisation and to this project alone, with the least role. INVITE.

        Who was invited before, or is a member of the organisation, is added to the project; who is in the project
        already is left as they are, and the invitation has no handle.
        """
        raise self._not_offered()

    async def follow(self, *, invitation: Invitation, project: str) -> Invitation:
        """How far an invitation is; who accepted it is in the project now. Never sends one. INVITE."""
        raise self._not_offered()

    async def withdraw(self, *, invitation: Invitation, project: str) -> None:
        """Takes an invitation back, or the membership of the project that it became. Gone is gone. INVITE.

        Without a handle: an open invitation to this address and project, and no membership, which may be older.
        """
        raise self._not_offered()

    def applied_limits(self, *, scope: Scope, lifetime: timedelta) -> tuple[AppliedLimit, ...]:
        """Which limit the provider really enforces, and where. What it does not hold a key to is NOBODY's here."""

    async def aclose(self) -> None:
        """Gives its connections back; nothing is called after it."""

    def _not_offered(self) -> NotOffered:
        return NotOffered(f"{self.label} offers no such thing.")
