"""The workspace: who its people are, the way into it, and what goes out to them."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bot.desk.model import Home, Notice, Person, ProviderState, Round, Story
from bot.desk.week import Digest


class Directory(Protocol):
    """Who people are. Raises `Unavailable` when it cannot be asked."""

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """None where the workspace knows no such member. `fresh` asks again; else up to ten minutes old."""

    def remembered(self, member: str) -> Person | None:
        """As last known, however long ago; asks nobody. None where it was never asked about them."""

    async def know_everybody(self) -> None:
        """Asks about all members at once, page by page, so that `person` need not ask about each of many.

        As long as that is known from the last time, nothing is asked.
        """

    async def members(self, group: str) -> frozenset[str]:
        """The members of a user group, up to a minute old. Empty where there is no such group."""

    async def manager(self, member: str, profile_field: str) -> str | None:
        """The member that the profile field names."""

    def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """The workspace's whole list, page by page; those who left stand in it, too. Asks each time."""


class Line(Protocol):
    """The desk's way into its workspace, which the workspace may take away. While it is refused, nothing passes."""

    @property
    def team(self) -> str:
        """The workspace it leads to."""

    @property
    def refused(self) -> str | None:
        """The word by which the workspace refuses the desk, as far as is known; None while it takes what is sent."""

    def hang_up(self, because: str) -> None:
        """Nothing passes from here on."""

    async def try_again(self) -> str | None:
        """Asks the workspace, changing nothing there; `refused` as it is from then on. Raises `Unavailable`."""


class Notifier(Protocol):
    """Everything outbound to people."""

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Posts the notice, or brings the posted one up to date; returns where it stands (channel and ts).

        Raises `Undeliverable` when it never can be, `Unavailable` when it may be later.
        """

    async def show_home(self, home: Home) -> None:
        """Publishes the member's Home."""

    async def send_digest(self, digest: Digest, *, again: bool) -> None:
        """Posts a digest to its member, not faster than the workspace takes it. Raises as `show` does.

        `again`: an earlier try may have posted it, so that it is looked for before.
        """

    async def warn(self, admin: str, about: ProviderState | Round) -> None:
        """Tells an admin, by direct message, that a provider does not serve the desk, or of a round's flaw.

        Raises as `show` does.
        """
