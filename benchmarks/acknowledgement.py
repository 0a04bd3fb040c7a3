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

`listeners`: Bolt tries its listeners one after another; ours are one for each kind of delivery. What that costs: an
event, which the last of them takes, against the same where it is the only one. Both only acknowledge; no server, no network, and the processor's time is counted. The limit is ours.
"""

import itertools
import json
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

from pydantic import SecretStr
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest

from benchmarks import desks, sampler
from benchmarks.figures import Figure, beside
from benchmarks.load import Ask, Load, Run, headers
from bot import slack as skin
from storage.store import SqlStore

CONNECTIONS = (1, 16, 64)
ROUNDS = 5
SECONDS = 0.8  # of a run
CLICKS = 40  # approvals in a run
CLICK_ROUNDS = 3
APPROVERS, ASKERS = 3, 400
SLACK_SECONDS = 0.2
QUIET_SECONDS = 150.0
P99_LIMIT = 50.0  # milliseconds, at 16 connections
HELP_AIM, REQUEST_AIM, APPROVE_AIM = 0.9, 0.9, 0.7
LISTENERS_LIMIT = 1000.0  # microseconds
EVENTS = 500  # in a round of `listeners`


@dataclass
class Rounds:
    """The runs of one server, by connections."""

    runs: dict[int, list[Run]] = field(default_factory=lambda: {many: [] for many in CONNECTIONS})

    def add(self, connections: int, run: Run) -> None:
        """Raises `RuntimeError` for answers other than 200: such a run measures nothing."""
        if run.failed:
            raise RuntimeError(f"{run.failed} of {run.requests} requests failed: {run.statuses}")
        self.runs[connections].append(run)

    @property
    def requests(self) -> int:
        """Of all runs."""
        return sum(run.requests for runs in self.runs.values() for run in runs)

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
    rounds, why = await _command("help", "empty")
    return figures("help", rounds["desk"], rounds["empty"], against="an empty Bolt app", aim=HELP_AIM, why=why)


async def request() -> list[Figure]:
    """`/apikey request`, to the opened modal, against an empty app, and against one that makes the same two calls."""
    rounds, why = await _command("request", "empty", "modal")
    ours, empty, modal = rounds["desk"], rounds["empty"], rounds["modal"]
    why = f"Two calls of Slack stand in it, `users.info` and `views.open`; an empty app makes none. {why}"
    same = "Bolt that makes the same two calls"
    return [
        *figures("request", ours, empty, against="an empty Bolt app", aim=REQUEST_AIM, why=why),
        *figures("request_like", ours, modal, against=same, aim=REQUEST_AIM, p99_aim=None, why=why),
    ]


async def _command(text: str, *peers: str) -> tuple[dict[str, Rounds], str]:
    """The desk and those peers by turns; and where the desk's time goes."""
    rounds = {name: Rounds() for name in ("desk", *peers)}
    asks = [desks.command(text, desks.member(number)) for number in range(ASKERS)]
    async with desks.folder() as folder, Load.start() as load, desks.far_side(folder, approvers=APPROVERS) as far:
        async with AsyncExitStack() as stack:
            running = {name: await stack.enter_async_context(desks.peer(name, folder, far.port)) for name in peers}
            running["desk"] = await stack.enter_async_context(desks.desk(folder, far.port))
            for one in running.values():
                await load.run(one.port, asks, connections=16, seconds=SECONDS)
            spent = {name: -one.cpu for name, one in running.items()}
            for _, many in itertools.product(range(ROUNDS), CONNECTIONS):
                for name, one in running.items():
                    rounds[name].add(many, await load.run(one.port, asks, connections=many, seconds=SECONDS))
            spent = {name: spent[name] + one.cpu for name, one in running.items()}
        why = await _where(folder, far, load, asks)
    each = ", ".join(f"{name} {spent[name] / rounds[name].requests * 1e6:.0f}" for name in rounds)
    return rounds, f"The processor's time for each, in µs: {each}. {why}"


async def _where(folder: Path, far: desks.Running, load: Load, asks: Sequence[Ask], *, database_url: str = "") -> str:
    """Where a desk's time goes while it answers these, each once, over 16 connections."""
    before = ("-m", "benchmarks.sampler", "run")
    async with desks.desk(folder, far.port, database_url=database_url, before=before) as desk:
        desk.process.send_signal(signal.SIGUSR1)
        await load.run(desk.port, asks, connections=16, once=True)
    return "At 16 connections, " + sampler.told(json.loads((folder / sampler.FILE).read_text(encoding="utf-8")))


async def approve() -> list[Figure]:
    """An approval, committed, against one raw commit; Slack's updates take their time."""
    return await _approvals("approve", SLACK_SECONDS)


async def approve_at_once() -> list[Figure]:
    """The same, where all that follows can follow at once."""
    return await _approvals("approve_at_once", 0.0)


async def _approvals(name: str, chat_seconds: float) -> list[Figure]:
    ours, theirs = Rounds(), Rounds()
    followed: list[float] = []
    runs = CLICK_ROUNDS * len(CONNECTIONS) + 3
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
        async with desks.far_side(folder, approvers=APPROVERS, chat_seconds=chat_seconds) as far:
            where = await _where(folder, far, load, _clicks([*next(each), *next(each)], far), database_url=url)
        await _all_decided_once(url, pending)
    why = (
        f"`users.info` is asked twice for each click, of who decides and of who asked. What followed {CLICKS} clicks was "
        f"done {statistics.median(followed):.1f} s after the last acknowledgement. {where}"
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


async def listeners() -> list[Figure]:
    """The last of all our listeners against the only one of an app."""
    client = skin.build_client(SecretStr("xoxb-benchmark"), f"http://{desks.HOST}:9/api/")
    ours, alone = (skin.build_app(client=client, signing_secret=SecretStr(desks.SIGNING_SECRET)) for _ in range(2))
    none = Mock()  # none of them is reached
    skin.register(ours, desk=none, notifier=none, team=desks.TEAM)

    async def acknowledge(ack: AsyncAck) -> None:
        await ack()

    alone.event("team_join")(acknowledge)
    await _dispatched(ours)
    await _dispatched(alone)
    mine, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(await _dispatched(alone))
        mine.append(await _dispatched(ours))
    count = len(ours._async_listeners)
    last, only = statistics.median(mine), statistics.median(theirs)
    why = f"{(last - only) / (count - 1):.0f} µs for each of the {count - 1} that are tried before it."
    return [
        beside(
            "listeners",
            ours=mine,
            unit=f"µs of the processor until the last of {count} listeners has it",
            against=f"a millisecond; the only listener of an app has it after {only:.0f}",
            theirs=[LISTENERS_LIMIT],
            aim=1.0,
            at_most=True,
            profile=why,
        )
    ]


async def _dispatched(app: AsyncApp) -> float:
    """Microseconds of the processor for each event. Raises `RuntimeError` for one that the app does not take."""
    ask = desks.event("team_join", desks.member(0))
    told: dict[str, str | Sequence[str]] = {name: [value] for name, value in headers(ask, int(time.time())).items()}
    events = [AsyncBoltRequest(body=ask.body, headers=told) for _ in range(EVENTS)]
    begin = time.process_time()
    for event in events:
        answer = await app.async_dispatch(event)
        if answer.status != 200:
            raise RuntimeError(f"an event was answered {answer.status}")
    return (time.process_time() - begin) / EVENTS * 1e6


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "help": help_,
    "request": request,
    "approve": approve,
    "approve_at_once": approve_at_once,
    "listeners": listeners,
}
