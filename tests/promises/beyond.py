"""What lies beyond the desk in a simulated year: the directory of the team, two vendors, and Slack, under the weather."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bot.desk.errors import OutcomeUnknown, ProviderRateLimited, ProviderTransient, Unavailable
from bot.desk.model import Minted, Notice, Person, Scope, Story
from bot.desk.offer import Basis, ProviderKey, Usage
from bot.desk.week import Digest
from tests.desk.depositing import Console
from tests.desk.metered import MeteredVendor
from tests.desk.world import Slack, Workspace
from tests.promises.chronicle import VENDOR, Skies, Truth, Weather, What
from tests.promises.planning import DAY, MINTING, Plan

PAGE = 200  # members in a page of Slack's list
THIEFS = "gpt-5-pro"  # a model that nobody here uses


@dataclass(frozen=True, slots=True)
class Beyond:
    """The weather, the time, and who writes down what happens to a key: to be called with its marker and a note."""

    skies: Skies
    truth: Truth
    write: Callable[[What, str], None]

    def meet(self, *, changes: bool = True) -> bool:
        """Whether a vendor says so when it did what it was asked. Raises what the weather says."""
        match self.skies.at(self.truth.now, *VENDOR):
            case Weather.RATE_LIMITED:
                raise ProviderRateLimited("Later.", retry_after=60)
            case Weather.FAILING:
                raise ProviderTransient("An error.")
            case Weather.LOST:
                raise OutcomeUnknown("No answer.")
            case Weather.LANDS if changes:
                return False
            case Weather.LANDS:
                raise OutcomeUnknown("No answer.")
        return True

    def reach_slack(self) -> None:
        """Raises `Unavailable` while Slack is down."""
        if self.skies.at(self.truth.now, Weather.SLACK_DOWN):
            raise Unavailable("Slack is down.")


class YearsWorkspace(Workspace):
    """The directory of the team, where Slack answers."""

    def __init__(self, of: Plan, beyond: Beyond) -> None:
        super().__init__()
        self._beyond = beyond
        self.people = {who: one for who, one in of.people.items() if who not in of.arrivals}
        self.groups = {}
        self.managers = dict(of.managers)

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """As known now."""
        self._beyond.reach_slack()
        return await super().person(member, fresh=fresh)

    async def members(self, group: str) -> frozenset[str]:
        """As known now."""
        self._beyond.reach_slack()
        return await super().members(group)

    async def manager(self, member: str, profile_field: str) -> str | None:
        """As known now."""
        self._beyond.reach_slack()
        return await super().manager(member, profile_field)

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """Page by page."""
        listed = list(self.people.values())
        for at in range(0, len(listed), PAGE):
            self._beyond.reach_slack()
            yield listed[at : at + PAGE]


class YearsVendor(MeteredVendor):
    """A vendor under the weather. What was used is kept by day."""

    def __init__(self, beyond: Beyond) -> None:
        super().__init__(lambda: beyond.truth.now)
        self._beyond = beyond
        self.by_day: dict[date, dict[tuple[str, str], Usage]] = defaultdict(dict)

    def land(self, marker: str) -> str:
        """A key comes to be."""
        handle = super().land(marker)
        self._beyond.write(What.MINTED, marker)
        return handle

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """As the weather is."""
        said = self._beyond.meet()
        minted = await super().mint(marker=marker, scope=scope, lifetime=lifetime)
        if not said:
            raise OutcomeUnknown("No answer.")
        return minted

    async def revoke(self, *, handle: str, project: str) -> None:
        """As the weather is."""
        said = self._beyond.meet()
        marker = self.living.get(handle)
        await super().revoke(handle=handle, project=project)
        if marker is not None:
            self._beyond.write(What.DIED, marker)
        if not said:
            raise OutcomeUnknown("No answer.")

    async def disable(self, *, handle: str, project: str) -> None:
        """As the weather is."""
        said = self._beyond.meet()
        if handle not in self.off:
            self._beyond.write(What.OFF, self.living[handle])
        await super().disable(handle=handle, project=project)
        if not said:
            raise OutcomeUnknown("No answer.")

    async def enable(self, *, handle: str, project: str) -> None:
        """As the weather is."""
        said = self._beyond.meet()
        if handle in self.off:
            self._beyond.write(What.ON, self.living[handle])
        await super().enable(handle=handle, project=project)
        if not said:
            raise OutcomeUnknown("No answer.")

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """As the weather is."""
        self._beyond.meet(changes=False)
        self.looked_for.clear()
        return await super().find(marker=marker, project=project)

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """As the weather is."""
        self._beyond.meet(changes=False)
        return await super().get(handle=handle, project=project)

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """As the weather is."""
        self._beyond.meet(changes=False)
        async for one in super().keys():
            yield one

    async def usage(self, *, since: date, until: date) -> AsyncIterator[Sequence[Usage]]:
        """Day by day, as the weather is."""
        self._beyond.meet(changes=False)
        for number in range((until - since).days + 1):
            yield list(self.by_day[since + number * DAY].values())
        self._beyond.write(What.READ, "")

    def used_by(self, handle: str, micros: int, *, requests: int = 7, model: str = "gpt-5-mini") -> None:
        """Calls of one day with one key."""
        meter, now = f"meter_{handle}", self._beyond.truth.now
        self.by_day[now.date()][meter, model] = Usage(
            meter, now.date(), model, requests, requests * 100, requests * 10, micros, Basis.BILLED, now
        )


class YearsConsole(Console):
    """The vendor at which people make keys, under the same weather."""

    def __init__(self, beyond: Beyond) -> None:
        super().__init__()
        self._beyond = beyond

    def made_for(self, marker: str) -> str:
        """A person makes a key; its value."""
        self._beyond.write(What.MINTED, marker)
        return self.made(marker)

    async def revoke(self, *, handle: str, project: str) -> None:
        """As the weather is."""
        said = self._beyond.meet()
        found = await super().get(handle=handle, project=project)
        alive = found is not None and handle in await super().find(marker=found.name, project=project)
        await super().revoke(handle=handle, project=project)
        if found is not None and alive:
            self._beyond.write(What.DIED, found.name)
        if not said:
            raise OutcomeUnknown("No answer.")

    async def get(self, *, handle: str, project: str) -> ProviderKey | None:
        """As the weather is."""
        self._beyond.meet(changes=False)
        return await super().get(handle=handle, project=project)

    async def keys(self) -> AsyncIterator[ProviderKey]:
        """As the weather is."""
        self._beyond.meet(changes=False)
        for one in self.keys_by_value.values():
            yield one


class YearsSlack(Slack):
    """The notifier: writes down what is told for the first time, and people react to it."""

    def __init__(self, beyond: Beyond, told: Callable[[Notice, Story], None], mailed: Callable[[Digest], None]) -> None:
        super().__init__()
        self._beyond = beyond
        self._told, self._mailed = told, mailed
        self._mailed_before: set[tuple[str, date | None]] = set()

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Under the weather as it is."""
        self._beyond.reach_slack()
        if notice.ts is None:
            self._told(notice, story)
        return await super().show(notice, story)

    async def send_digest(self, digest: Digest, *, again: bool) -> None:
        """As above. What stands there already is not posted again, where the desk says that it may."""
        self._beyond.reach_slack()
        week = (digest.member, digest.week)
        if not (again and week in self._mailed_before):
            self._mailed(digest)
        self._mailed_before.add(week)


def policy(admin: str) -> str:
    """Managers approve. Those keys of one rule that nobody uses are taken back; who leaves hands them over."""
    rules = (
        (MINTING, "chat", "ask", "revoke"),
        (MINTING, "all", "revoke", "hand_over"),
        ("console", "all", "ask", "revoke"),
    )
    told = [
        f"""
[[rule]]
name = "{provider}, {permission}"
requesters = ["everyone"]
provider = "{provider}"
projects = ["*"]
permissions = ["{permission}"]
approvers = ["manager"]
max_duration = "365d"
max_monthly_budget = 200
idle = "{idle}"
on_leaving = "{leaves}"
"""
        for provider, permission, idle, leaves in rules
    ]
    return "\n".join([f'version = 1\nmanager_field = "Xf0MANAGER"\nadmins = ["{admin}"]', *told])
