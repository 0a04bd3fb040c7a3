"""The metronome of the sweeps."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

import app
from bot.desk.watch import Watch

BEATS = 3


class Counted:
    """A watch that counts the beats of each sweep. The clock goes back by an hour as soon as all of them had one."""

    def __init__(self) -> None:
        self.beats = {"reconcile": 0, "probe": 0, "go_round": 0}
        self.enough = asyncio.Event()

    def now(self) -> datetime:
        """The time on the wall."""
        return datetime.now(UTC) - timedelta(hours=1 if min(self.beats.values()) else 0)

    def __getattr__(self, sweep: str) -> Any:
        async def beat() -> None:
            self.beats[sweep] += 1
            if min(self.beats.values()) == BEATS:
                self.enough.set()

        return beat


async def test_the_sweeps_go_on_when_the_clock_is_turned_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next beats come when they would have come, and not an hour later."""
    watch = Counted()

    class Wall(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return watch.now()

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Wall)
    monkeypatch.setattr(app, "now", watch.now)
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.05)
    with app._metronome(cast(Watch, watch)):
        await asyncio.wait_for(watch.enough.wait(), 30)
    assert set(watch.beats) == {"reconcile", "probe", "go_round"}
