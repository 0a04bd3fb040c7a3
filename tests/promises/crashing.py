"""Desks whose processes die, or stand still while others go on, at every commit and every act beyond the process.

Each act of the desk runs as a `Turn`, which passes hooks on its way: before and after each commit, each call of the
vendor and each message. At the one that its fate names, its process dies, or the turn stands still until it is
released. Of a process that died nothing goes on: whatever it had under way ends at its next hook.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

from bot.desk.audit import Entry, Head
from bot.desk.errors import (
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)
from bot.desk.model import Minted, Notice, Scope, Secret, Story
from bot.desk.ports import Random, Transaction
from storage.store import SqlStore
from tests.desk.world import POLICY, SetClock, Slack, Vendor, Workspace, World

T = TypeVar("T")

CALM = 25  # turns of the event loop without any work after which nothing is under way
PATIENCE = timedelta(seconds=25)  # what the desk waits for a mint; one that it did not even send by then is not sent
LATEST = timedelta(minutes=10) - timedelta(seconds=1)  # after its intention a mint lands by then, or never


class Died(BaseException):
    """The process is dead from here on. No `except Exception` of the desk's may catch it."""


class Defect(Exception):
    """An error that no adapter foresees."""


class Fate(StrEnum):
    """What becomes of a turn."""

    RUN = "run"
    DIE = "die"
    HOLD = "hold"


@dataclass(eq=False)
class Life:
    """One run of one process."""

    desk: int
    dead: bool = False


@dataclass(eq=False)
class Turn:
    """One act on its way through one process. It meets its fate at the hook number `after`.

    `session` is the browser it comes from, `delivery` the click, `mint` the plan that its mint meets.
    """

    life: Life
    what: str
    fate: Fate = Fate.RUN
    after: int = 0
    session: str | None = None
    delivery: str | None = None
    mint: str = "fine"
    intended_at: datetime | None = None
    undisturbed: bool = True
    held: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def must_live(self) -> None:
        """Raises `Died` in a dead process."""
        if self.life.dead:
            raise Died

    async def passes(self) -> None:
        """A hook: goes on, dies, or stands still."""
        self.must_live()
        if self.fate is Fate.RUN:
            return
        if self.after:
            self.after -= 1
            return
        fate, self.fate, self.undisturbed = self.fate, Fate.RUN, False
        if fate is Fate.DIE:
            self.life.dead = True
            raise Died
        self.held.set()
        await self.released.wait()
        self.must_live()


TURN: ContextVar[Turn] = ContextVar("TURN")
"""Whose hook is being passed."""


@dataclass(frozen=True)
class Plan:
    """What a mint meets: an error in place of the answer, and how long after it a key lands, and another."""

    error: Callable[[], Exception] | None = None
    lands: tuple[timedelta, ...] = ()


def _unknown() -> Exception:
    return OutcomeUnknown("no answer")


NOW = timedelta()
CERTAIN: dict[str, Callable[[], ProviderError]] = {
    "auth": lambda: ProviderAuth("wrong credential"),
    "forbidden": lambda: ProviderForbidden("not with this credential"),
    "not found": lambda: ProviderNotFound("no such project"),
    "invalid": lambda: ProviderInvalid("not like this"),
    "rate limited": lambda: ProviderRateLimited("slow down", retry_after=90),
    "transient": lambda: ProviderTransient("down"),
}
MINTS: dict[str, Plan] = {
    "fine": Plan(),
    **{name: Plan(error) for name, error in CERTAIN.items()},
    "unknown, never lands": Plan(_unknown),
    "unknown, landed": Plan(_unknown, (NOW,)),
    "unknown, lands soon": Plan(_unknown, (timedelta(seconds=40),)),
    "unknown, lands late": Plan(_unknown, (timedelta(days=1),)),
    "unknown, lands twice": Plan(_unknown, (NOW, timedelta(minutes=5))),
    "time-out, landed": Plan(TimeoutError, (NOW,)),
    "time-out, lands late": Plan(TimeoutError, (timedelta(days=1),)),
    "defect, landed": Plan(Defect, (NOW,)),
}
CALLS: dict[str, Callable[[], ProviderError] | None] = {
    "fine": None,
    "answer lost": lambda: OutcomeUnknown("cut"),
    **CERTAIN,
}
"""What a find or a revoke meets. One whose answer is lost took effect; the others did not."""
POSTS = ("fine", "down", "answer lost")


class ShakyVendor(Vendor):
    """The vendor, with plans for what its calls meet, and keys that land after nobody waits any more."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self.clock = clock
        self.coming: list[tuple[datetime, str]] = []
        self.finds: list[str] = []
        self.revokes: list[str] = []
        self.secrets: dict[str, str] = {}

    def land(self, marker: str) -> str:
        """A key comes to be; its handle."""
        handle = super().land(marker)
        self.secrets[handle] = f"example-{handle}"
        return handle

    def arrive(self) -> None:
        """What was under way lands, as far as its time has come."""
        for at, marker in [late for late in self.coming if late[0] <= self.clock.now]:
            self.coming.remove((at, marker))
            self.land(marker)

    async def mint(self, *, marker: str, scope: Scope, lifetime: timedelta) -> Minted:
        """Meets the plan of its turn."""
        turn, plan = TURN.get(), MINTS[TURN.get().mint]
        began = self.clock.now
        latest = (turn.intended_at or began) + LATEST
        await turn.passes()
        if self.clock.now > began + PATIENCE:
            raise TimeoutError
        if plan.error is None:
            handle = self.land(marker)
            await turn.passes()
            return Minted(handle=handle, fingerprint=f"exa…{handle}", secret=Secret(self.secrets[handle]))
        self.coming += [(min(began + after, latest), marker) for after in plan.lands if began <= latest]
        self.arrive()
        await turn.passes()
        raise plan.error()

    async def find(self, *, marker: str, project: str) -> Sequence[str]:
        """Meets the next of `finds`."""
        await TURN.get().passes()
        error = CALLS[self.finds.pop(0) if self.finds else "fine"]
        if error:
            raise error()
        handles = await super().find(marker=marker, project=project)
        await TURN.get().passes()
        return handles

    async def revoke(self, *, handle: str, project: str) -> None:
        """Meets the next of `revokes`."""
        await TURN.get().passes()
        name = self.revokes.pop(0) if self.revokes else "fine"
        if name in ("fine", "answer lost"):
            await super().revoke(handle=handle, project=project)
        await TURN.get().passes()
        if error := CALLS[name]:
            raise error()


class ShakySlack(Slack):
    """Slack, which may be down, or take a message and not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[str] = []

    async def show(self, notice: Notice, story: Story) -> tuple[str, str]:
        """Meets the next of `posts`."""
        await TURN.get().passes()
        name = self.posts.pop(0) if self.posts else "fine"
        if name == "down":
            raise ConnectionError
        place = await super().show(notice, story)
        await TURN.get().passes()
        if name == "answer lost":
            raise ConnectionError
        return place


class Around:
    """What the desks of one story share: time, people, the vendor, Slack, and a lock that orders their transactions.

    With one transaction under way at a time a story runs the same way each time; who overtakes whom is the story's.
    `committed` is called after each commit, before anybody else comes to one.
    """

    def __init__(self, *, random: Random, committed: Callable[[Turn], None]) -> None:
        self.policy = POLICY
        self.clock = SetClock()
        self.people = Workspace()
        self.vendor = ShakyVendor(self.clock)
        self.slack = ShakySlack()
        self.random = random
        self.committed = committed
        self.lock = asyncio.Lock()

    async def quiet(self) -> None:
        """Returns when everything that runs has ended or stands still."""
        calm = 0
        while calm < CALM:
            if self.lock.locked():
                calm = 0
                async with self.lock:
                    pass
            else:
                calm += 1
                await asyncio.sleep(0)


class MortalStore(SqlStore):
    """The real store, seen from a process that can die."""

    def __init__(self, real: SqlStore, around: Around) -> None:
        self._real = real
        self._around = around

    async def write(self, act: Callable[[Transaction], T]) -> T:
        """A hook, the real transaction, a hook."""
        turn = TURN.get()
        await turn.passes()
        async with self._around.lock:
            turn.must_live()
            answer = await self._real.write(act)
            self._around.committed(turn)
        await turn.passes()
        return answer

    async def read(self, look: Callable[[Transaction], T]) -> T:
        """The real one."""
        turn = TURN.get()
        async with self._around.lock:
            turn.must_live()
            return await self._real.read(look)

    async def audit_chain(self, team: str) -> tuple[Sequence[Entry], Head | None]:
        """The real one."""
        return await self._real.audit_chain(team)

    async def teams(self) -> Sequence[str]:
        """The real one."""
        return await self._real.teams()


class Desk(World):
    """The objects of one process, built anew after each of its deaths."""

    def __init__(self, real: SqlStore, around: Around) -> None:
        # Of what it stands beside a desk takes the clock, the people, the vendor and Slack, and no more.
        super().__init__(MortalStore(real, around), beside=cast(World, around))
        for part in cast(Sequence[Any], (self.requests, self.grants, self.rotation, self.watch)):
            part._random = around.random  # the same ids each time, so that a story can be told again
