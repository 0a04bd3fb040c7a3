"""How fast Slack hears: `/apikey help`, `/apikey request` and an approval, signed, over HTTP, against an empty Bolt app.

The desk is `app.py run` on SQLite. Its peers stand on the same server, uvicorn and Starlette in one process: Bolt with one
listener that acknowledges, and for the approval the same with one raw SQLite commit (synchronous FULL) before that. By
turns in one run; a figure is the median of its rounds.

Slack is a `FarSide` in a process of its own. What an acknowledgement waits for (`users.info`, `views.open`) it answers at
once. `request` counts the whole way to the opened modal. Every approval decides another request, whose cards stand at
three approvers, in the channel and at who asked. What follows a click runs on in the desk meanwhile: its updates take
200 ms each at Slack, about what they take there, and the desk has eight under way at a time, so it works on them through
the whole run. `approve_at_once` is the same with updates that take no time, which is the most that can follow. Between
two runs the desk is given the time to finish.
"""

import itertools
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import desks
from benchmarks.figures import Figure, beside
from benchmarks.load import Ask, Load, Run
from storage.store import SqlStore

CONNECTIONS = (1, 16, 64)
ROUNDS = 5
SECONDS = 0.8  # of a run
CLICKS = 120  # approvals in a run
CLICK_ROUNDS = 3
APPROVERS, ASKERS = 3, 400
SLACK_SECONDS = 0.2
QUIET_SECONDS = 150.0
P99_LIMIT = 50.0  # milliseconds, at 16 connections
HELP_AIM, REQUEST_AIM, APPROVE_AIM = 0.9, 0.9, 0.7


@dataclass
class Rounds:
    """The runs of one server, by connections."""

    runs: dict[int, list[Run]] = field(default_factory=lambda: {many: [] for many in CONNECTIONS})

    def add(self, connections: int, run: Run) -> None:
        """Raises `RuntimeError` for answers other than 200: such a run measures nothing."""
        if run.failed:
            raise RuntimeError(f"{run.failed} of {run.requests} requests failed: {run.statuses}")
        self.runs[connections].append(run)

    def rates(self, connections: int) -> list[float]:
        """Requests a second."""
        return [run.rate for run in self.runs[connections]]

    def latency(self, connections: int) -> str:
        """Medians of the runs' p50 and p99."""
        runs = self.runs[connections]
        return (
            f"p50 {statistics.median(r.p50 for r in runs):.1f} ms, p99 {statistics.median(r.p99 for r in runs):.1f} ms"
        )


def figures(
    name: str, ours: Rounds, theirs: Rounds, *, against: str, aim: float, p99_aim: float | None = P99_LIMIT, why: str
) -> list[Figure]:
    """Requests a second at each number of connections, and the p99 at 16."""
    found = [
        beside(
            f"{name}_{many}",
            ours=ours.rates(many),
            unit=f"requests/s, {many} connection{'s' * (many > 1)}",
            against=against,
            theirs=theirs.rates(many),
            aim=aim,
            profile=f"{ours.latency(many)}; {against}: {theirs.latency(many)}. {why}".strip(),
        )
        for many in CONNECTIONS
    ]
    if p99_aim is not None:
        found.append(
            beside(
                f"{name}_p99_16",
                ours=[run.p99 for run in ours.runs[16]],
                unit="ms, p99 at 16 connections",
                against=f"the limit; {against} has {statistics.median(run.p99 for run in theirs.runs[16]):.1f}",
                theirs=[p99_aim],
                aim=1.0,
                at_most=True,
                profile=why,
            )
        )
    return found


async def help_() -> list[Figure]:
    """`/apikey help` against an empty app."""
    against = "an empty Bolt app"
    ours, theirs = await _command("help")
    why = "Beside Bolt, which both have, goes the time into the answer's blocks and the pages' middleware."
    return figures("help", ours, theirs, against=against, aim=HELP_AIM, why=why)


async def request() -> list[Figure]:
    """`/apikey request`, to the opened modal, against an empty app."""
    ours, theirs = await _command("request")
    why = "Two calls of Slack, `users.info` and `views.open`, stand in it; an empty app makes none."
    return figures("request", ours, theirs, against="an empty Bolt app", aim=REQUEST_AIM, why=why)


async def _command(text: str) -> tuple[Rounds, Rounds]:
    ours, theirs = Rounds(), Rounds()
    asks = [desks.command(text, desks.member(number)) for number in range(ASKERS)]
    async with (
        desks.folder() as folder,
        Load.start() as load,
        desks.far_side(folder, approvers=APPROVERS) as far,
        desks.desk(folder, far.port) as desk,
        desks.peer("empty", folder, far.port) as peer,
    ):
        for running in (desk, peer):
            await load.run(running.port, asks, connections=16, seconds=SECONDS)
        for _, many in itertools.product(range(ROUNDS), CONNECTIONS):
            theirs.add(many, await load.run(peer.port, asks, connections=many, seconds=SECONDS))
            ours.add(many, await load.run(desk.port, asks, connections=many, seconds=SECONDS))
    return ours, theirs


async def approve() -> list[Figure]:
    """An approval, committed, against one raw commit; Slack's updates take their time."""
    return await _approvals("approve", SLACK_SECONDS)


async def approve_at_once() -> list[Figure]:
    """The same, where all that follows can follow at once."""
    return await _approvals("approve_at_once", 0.0)


async def _approvals(name: str, chat_seconds: float) -> list[Figure]:
    ours, theirs = Rounds(), Rounds()
    followed: list[float] = []
    runs = CLICK_ROUNDS * len(CONNECTIONS) + 1
    async with desks.folder() as folder, Load.start() as load:
        database = folder / "keydesk.db"
        url = f"sqlite:///{database}"
        pending = await desks.fill(url, requests=runs * CLICKS, askers=ASKERS, approvers=APPROVERS)
        async with (
            desks.far_side(folder, approvers=APPROVERS, chat_seconds=chat_seconds) as far,
            desks.desk(folder, far.port, database_url=url) as desk,
            desks.peer("commit", folder, far.port) as peer,
        ):
            each = iter([pending[begin : begin + CLICKS] for begin in range(0, len(pending), CLICKS)])
            await _click(load, far, desk, database, next(each), 16)
            await load.run(peer.port, _clicks(pending, far), connections=16, seconds=SECONDS)
            for _, many in itertools.product(range(CLICK_ROUNDS), CONNECTIONS):
                theirs.add(many, await load.run(peer.port, _clicks(pending, far), connections=many, seconds=SECONDS))
                run, seconds = await _click(load, far, desk, database, next(each), many)
                ours.add(many, run)
                followed.append(seconds)
        await _all_decided_once(url, pending)
    why = (
        f"`users.info` is asked twice for each click, of who decides and of who asked. What followed {CLICKS} clicks was "
        f"done {statistics.median(followed):.1f} s after the last acknowledgement."
    )
    against = "one raw SQLite commit before the ack"
    return figures(name, ours, theirs, against=against, aim=APPROVE_AIM, why=why)


def _clicks(requests: Sequence[str], far: desks.Running) -> list[Ask]:
    return [
        desks.click("approve", request, desks.approver(number % APPROVERS), far_port=far.port)
        for number, request in enumerate(requests)
    ]


async def _click(  # noqa: PLR0917  # one caller, and each of them is what a run is made of
    load: Load, far: desks.Running, desk: desks.Running, database: Path, requests: Sequence[str], connections: int
) -> tuple[Run, float]:
    """Approves each, once; and how long what followed took."""
    run = await load.run(desk.port, _clicks(requests, far), connections=connections, once=True)
    return run, await desks.quiet(far, database, patience=QUIET_SECONDS)


async def _all_decided_once(url: str, requests: Sequence[str]) -> None:
    """Raises `RuntimeError` where a click was acknowledged and its decision is not there."""
    store = SqlStore.open(url)
    try:
        missing = await store.read(
            lambda tx: [one for one in requests if not (tx.decision(desks.TEAM, one) and tx.grant_of(desks.TEAM, one))]
        )
    finally:
        await store.close()
    if missing:
        raise RuntimeError(f"{len(missing)} acknowledged approvals were not committed, {missing[0]} the first")


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "help": help_,
    "request": request,
    "approve": approve,
    "approve_at_once": approve_at_once,
}
