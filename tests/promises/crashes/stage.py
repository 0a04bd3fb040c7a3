"""A desk that can die, and what there is to see of it and of its provider."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Engine, and_, not_, select

from bot.desk import audit
from bot.desk.hands import LEASE
from bot.desk.model import AccessRequest, Grant, Key, Link, Notice
from bot.desk.offer import KeyStatus
from bot.desk.providers import Providers
from bot.desk.revoking import LOOK_AGAIN
from bot.desk.states import KeyState
from storage.rows import table, to_domain
from tests.flows.browsing import Browser
from tests.flows.world import World
from tests.processes import DeskProcess
from tests.promises.dying import Dying

Found = TypeVar("Found")
Thing = TypeVar("Thing", AccessRequest, Grant, Key, Link, Notice)
POST = "chat.postMessage"
PATIENCE = 120.0  # seconds of real time for what the desk does at once, on a machine busy with much else
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
UNKNOWN_COMMIT = "a commit that was not found"
"""As `dying` calls a commit whose function stands nowhere in the source as one that is committed."""
DEAD = (KeyState.REVOKED, KeyState.VOID)
AGAIN = (audit.Act.PICK_UP_STARTED, audit.Act.UNWRAPPED)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def until(look: Callable[[], Found], met: Callable[[Found], bool]) -> None:
    """Looks again and again until what is found is as it is to be; fails, and tells what it found, after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not met(found := look()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.02)


@dataclass
class Stage:
    """A desk that can die, its sandbox, and what there is to see of both.

    `deaths` is how often it died on the way of now, `posted` how many messages it had begun to post until then.
    """

    flow: World
    desk: DeskProcess
    dying: Dying
    browser: Browser
    other_browser: Browser
    depositor: Browser
    database: Engine
    vendors: Providers
    provider: str
    scope: Mapping[str, str]
    lived: set[str] = field(default_factory=set)
    died_at: datetime = LONG_AGO
    ways: int = 0
    deaths: int = 0
    posted: int = 0
    sound: bool = True

    def rows(self, kind: type[Thing]) -> list[Thing]:
        """All that the desk holds of a kind."""
        with self.database.connect() as connection:
            return [to_domain(kind, row) for row in connection.execute(select(table(kind))).mappings()]

    async def dies(self, point: str, when: str, step: Callable[[], Awaitable[None]], *, since: str = "") -> None:
        """The step, of which the desk dies there; started again."""
        await self.settled()
        met = len(self.dying.met())
        self.dying.at(point, when, since=since)
        await step()
        died = await self.desk.died(PATIENCE)
        came_to = self.dying.met()[met:]
        assert died, f"it did not come to {point}, but to {came_to}\n{self.desk.said()[-3000:]}"
        assert self.desk.exit_code == -signal.SIGKILL
        assert not [met for met in came_to if met.startswith(UNKNOWN_COMMIT)], "of which no list of points is told"
        self.died_at = self.flow.clock()
        self.lived |= set(await self.accounts())
        self.deaths += 1
        self.posted += came_to.count(POST)
        self.dying.nowhere()
        await self.desk.start()

    async def accounts(self) -> list[str]:
        """What lives at the provider, by its marker: at OpenAI the service accounts, elsewhere the keys."""
        if self.provider != "openai":
            listing = self.vendors[self.provider].keys()
            names = [key.name async for key in listing if key.status is not KeyStatus.GONE]
            return [name for name in names if name.startswith("keydesk-")]
        projects = await self.openai("projects")
        lists = [await self.openai(f"projects/{one['id']}/service_accounts") for one in projects]
        return [account["name"] for listed in lists for account in listed]

    async def openai(self, path: str) -> list[Any]:
        """What OpenAI's admin API lists there."""
        answer = await self.flow.http.get(
            f"{self.flow.servers.openai_url}/organization/{path}",
            params={"limit": 100},
            headers={"Authorization": f"Bearer {self.flow.servers.openai_admin_key}"},
        )
        listed: list[Any] = answer.json()["data"]
        return listed

    async def settled(self) -> None:
        """Returns once the desk has nothing to do now, or is dead. What a dead one had leased waits for its lease to end."""
        end = time.monotonic() + PATIENCE
        while self.desk.alive and (left := self._left()):
            assert time.monotonic() < end, f"still to do: {left}\n{self.desk.said()[-3000:]}"
            await asyncio.sleep(0.02)

    def _left(self) -> list[tuple[Any, ...]]:
        now = self.flow.clock()
        notices, keys = table(Notice), table(Key)
        # One whose mint may yet land is looked for again in a while; what is leased is due later than that.
        marked = and_(keys.c.fingerprint.is_(None), keys.c.due_at > now, keys.c.due_at <= now + LOOK_AGAIN)
        undone = (
            select(notices.c.kind, notices.c.due_at).where(notices.c.shown < notices.c.wanted),
            select(keys.c.id, keys.c.due_at).where(keys.c.state == KeyState.REVOKING.value, not_(marked)),
        )
        with self.database.connect() as connection:
            found = [tuple(row) for query in undone for row in connection.execute(query)]
        return [row for row in found if not now < row[1] <= self.died_at + LEASE]

    async def later(self, by: timedelta) -> None:
        """Time passes, one sweep, and what it rings for is done. What is under way before is not overtaken by it."""
        await self.settled()
        await self.flow.pass_time(by)
        await self.settled()

    async def sound_now(self) -> None:
        """No key lives unknown to the desk, none is counted twice, none that the desk believes in is missing."""
        accounts, keys = await self.accounts(), self.rows(Key)
        known = {key.marker: key.state for key in keys}
        assert max(Counter(accounts).values(), default=0) <= 1, "a marker stands twice at the provider"
        for marker in accounts:
            assert known.get(marker, "unknown") not in (*DEAD, "unknown"), f"{marker} lives, and is {known.get(marker)}"
        counted_on = (KeyState.SEALED, KeyState.LIVE, KeyState.RETIRING)
        alive = [key for key in keys if key.provider == self.provider and key.state in counted_on]
        assert {key.marker for key in alive} <= set(accounts)
        assert max(Counter((key.grant_id, key.state) for key in alive).values(), default=0) <= 1
        never_minted = {key.marker for key in keys if key.state is KeyState.VOID}
        assert not never_minted & self.lived, "it lived when the desk died, and passes for never minted"
        entries, head = await self.flow.store.audit_chain(self.flow.team)
        assert audit.verify(entries, head) is None
        brought = {key.id for key in keys if key.provider == "deposit"}  # picked up again, it is the same key
        told = [(entry.act, str(entry.detail.get("key") or entry.subject)) for entry in entries]
        once = Counter(one for one in told if not (one[1] in brought and one[0] in AGAIN))
        assert not [what for what, times in once.items() if times > 1 and what[0] != audit.Act.REFUSED]
