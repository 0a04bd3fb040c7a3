"""The metronome of the sweeps."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest

from bot import serving
from bot.desk.due import SweepName
from bot.desk.errors import Unavailable
from bot.desk.sweeps import Sweep, Sweeps
from storage.store import SqlStore

BEATS = 3


class Counted:
    """Counts the beats of each sweep. The clock goes back by an hour as soon as all of them had one."""

    def __init__(self) -> None:
        self.beats = dict.fromkeys((SweepName.RECONCILE, SweepName.PROBE, SweepName.ROUNDS), 0)
        self.enough = asyncio.Event()

    def now(self) -> datetime:
        """The time on the wall."""
        return datetime.now(UTC) - timedelta(hours=1 if min(self.beats.values()) else 0)

    async def beat(self, name: SweepName) -> None:
        """One."""
        self.beats[name] += 1
        if min(self.beats.values()) == BEATS:
            self.enough.set()

    def sweeps(self) -> Sweeps:
        """These, and one that waits for the bell."""
        beating = [Sweep(name, "", partial(self.beat, name), {}) for name in self.beats]
        ringing = Sweep(SweepName.RETIRE, "", partial(self.beat, SweepName.RETIRE), {}, at_ring=True)
        store = cast(SqlStore, Unreachable())
        return Sweeps(*beating, ringing, store=store, clock=self.now, heard=lambda one: None)


class Unreachable:
    """A store that cannot be asked: how a sweep went is then written down later, and it goes on."""

    async def write(self, act: object) -> None:
        """Never."""
        raise Unavailable("gone")


async def test_the_sweeps_go_on_when_the_clock_is_turned_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next beats come when they would have come, and not an hour later."""
    watch = Counted()

    class Wall(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return watch.now()

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Wall)
    monkeypatch.setattr(serving, "now", watch.now)
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.05)
    with serving.metronome(watch.sweeps()):
        await asyncio.wait_for(watch.enough.wait(), 30)
    assert SweepName.RETIRE not in watch.beats
