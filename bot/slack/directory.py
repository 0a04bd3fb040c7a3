"""Who people are, asked of Slack. Implements `Directory`."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.desk.errors import Unavailable
from bot.desk.model import Person
from bot.desk.ports import Clock
from bot.slack.client import code_of

PERSON_KEPT = timedelta(minutes=10)
EVERYBODY_KEPT = timedelta(minutes=9)  # below how long each of them is kept
GROUP_KEPT = timedelta(seconds=60)
MANAGER_KEPT = timedelta(seconds=60)
PAGE = 1000  # members, the most that Slack gives at once
PATIENCE = 2.5  # seconds; who clicked waits for the answer, and Slack gives the desk three in all

NO_SUCH_MEMBER = frozenset({"user_not_found", "users_not_found", "users_not_visible", "user_not_visible"})
NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found", "invalid_usergroup", "usergroup_not_found"})

Known = TypeVar("Known")


class SlackDirectory:
    """The members, user groups and managers of one workspace."""

    def __init__(self, *, client: AsyncWebClient, team: str, clock: Clock) -> None:
        self._client = client
        self._team = team
        self._people = _Kept[Person | None](PERSON_KEPT, clock)
        self._groups = _Kept[frozenset[str]](GROUP_KEPT, clock)
        self._managers = _Kept[str | None](MANAGER_KEPT, clock)
        self._clock = clock
        self._listed_at: datetime | None = None
        self._listing = asyncio.Lock()

    async def person(self, member: str, *, fresh: bool = False) -> Person | None:
        """None where the workspace knows no such member."""
        if not fresh and (kept := self._people.get(member)):
            return kept[0]
        answer = await self._ask(self._client.users_info(user=member), NO_SUCH_MEMBER, hurry=fresh)
        return self._people.keep(member, self._person(answer["user"]) if answer else None)

    def remembered(self, member: str) -> Person | None:
        """As last known, however long ago."""
        return self._people.last(member)

    async def know_everybody(self) -> None:
        """All members, page by page: a call for each thousand, where `person` takes one for each."""
        async with self._listing:
            now = self._clock()
            if self._listed_at is not None and timedelta() <= now - self._listed_at < EVERYBODY_KEPT:
                return
            async for page in self.everybody():
                for person in page:
                    self._people.keep(person.id, person)
            self._listed_at = now

    async def members(self, group: str) -> frozenset[str]:
        """The members of a user group; empty where there is no such group."""
        if kept := self._groups.get(group):
            return kept[0]
        answer = await self._ask(self._client.usergroups_users_list(usergroup=group), NO_SUCH_GROUP)
        return self._groups.keep(group, frozenset(answer["users"] or ()) if answer else frozenset())

    async def manager(self, member: str, profile_field: str) -> str | None:
        """The member that the profile field names."""
        key = f"{member} {profile_field}"
        if kept := self._managers.get(key):
            return kept[0]
        answer = await self._ask(self._client.users_profile_get(user=member), NO_SUCH_MEMBER)
        # Slack gives an empty list, or null, where no field is filled in.
        fields = (answer["profile"].get("fields") or {}) if answer else {}
        named = (
            re.search(r"\b[UW][A-Z0-9]{2,}\b", str(fields[profile_field]["value"])) if profile_field in fields else None
        )
        return self._managers.keep(key, named[0] if named else None)

    async def everybody(self) -> AsyncIterator[Sequence[Person]]:
        """Page by page, as Slack hands them out; rate limits are waited out. docs.slack.dev/apis/web-api/pagination"""
        cursor = ""
        while True:
            answer = await self._ask(
                self._client.users_list(team_id=self._team, limit=PAGE, cursor=cursor or None), frozenset()
            )
            yield [self._person(user) for user in answer["members"]]
            following = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not following:
                return
            if following == cursor:
                raise Unavailable("Slack's list of members does not come to its end.")
            cursor = following

    async def _ask(self, call: Awaitable[Any], none: frozenset[str], *, hurry: bool = False) -> Any:
        """The answer, or None where Slack says that there is no such thing. Anything else is `Unavailable`."""
        try:
            async with asyncio.timeout(PATIENCE if hurry else None):
                return await call
        except SlackApiError as error:
            code = code_of(error)
            if code in none:
                return None
            raise Unavailable(f"Slack cannot say who people are now ({code}).") from None
        except Exception as error:
            raise Unavailable(f"Slack does not answer now ({type(error).__name__}). Try again in a moment.") from None

    def _person(self, user: Any) -> Person:
        profile = user.get("profile") or {}
        home = str(user.get("team_id") or "")
        return Person(
            id=str(user["id"]),
            team=home,
            name=str(profile.get("display_name") or user.get("real_name") or user.get("name") or user["id"]),
            bot=bool(user.get("is_bot") or user.get("is_workflow_bot") or user["id"] == "USLACKBOT"),
            deleted=bool(user.get("deleted")),
            guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
            stranger=bool(user.get("is_stranger")) or home != self._team,
            email=str(profile["email"]) if profile.get("email") else None,
            tz=str(user.get("tz") or "UTC"),
        )


class _Kept(Generic[Known]):
    """Answers that may be a little old."""

    def __init__(self, age: timedelta, clock: Clock) -> None:
        self._age = age
        self._clock = clock
        self._found: dict[str, tuple[datetime, Known]] = {}

    def get(self, key: str) -> tuple[Known] | None:
        """The answer, in a tuple of its own so that "nobody" is one too; None where it must be asked for."""
        at, known = self._found.get(key, (None, None))
        return (known,) if at is not None and self._clock() - at < self._age else None  # type: ignore[return-value]  # at is None together with known alone

    def last(self, key: str) -> Known | None:
        """The answer, however old; None where there never was one."""
        return self._found[key][1] if key in self._found else None

    def keep(self, key: str, known: Known) -> Known:
        self._found[key] = self._clock(), known
        return known
