"""Usage: a day's use of 10,000 and of 100,000 keys in 100 projects is read from a served pretend OpenAI, one round of the desk.

The vendor is a process of its own, and so is the desk, which says how long the round took and how much memory it came
to. Every key used two models. The round is the hourly one: it reads three days, of which two were quiet.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.figures import Figure, beside
from benchmarks.sweeps import NOW, fill, memory_of
from bot.desk.assembly import assemble
from bot.desk.audit import Act
from bot.desk.linting import load
from bot.desk.model import Person, RoundKind
from bot.desk.ports import Transaction
from bot.providers.openai import OpenAI
from sandbox.metering import PRICES, Use
from sandbox.openai import PretendOpenAI
from sandbox.openai.organization import Key, Project
from storage.migrate import engine_url
from storage.store import SqlStore
from tests.desk.world import POLICY, TEAM, Line, SetClock, Slack, Vendor, Workspace

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
ADMIN_KEY = "sk-admin-benchmark"
FEW, MANY, PROJECTS = 10_000, 100_000, 100
MODELS = ("gpt-5-mini", "gpt-4.1-mini")
ASKED, ANSWERED = 1_000, 500  # tokens, of each key with each model
COSTS = {model: PRICES[model].of(ASKED, ANSWERED) for model in MODELS}
MINUTE = 60.0
CHILD_SECONDS = 240.0
MEMORY_AIM = (
    2.0  # times what a tenth of the keys takes: a project is read at a time, and its answer is ten times as long
)


# ---- the vendor


class _Counted:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            self.calls += 1
        await self._app(scope, receive, send)


def serve(keys: int, port: int) -> None:
    """The pretend OpenAI, all keys of which were used today."""
    pretend = PretendOpenAI(admin_key=ADMIN_KEY, clock=NOW.timestamp, changed=lambda: None)
    held, at = pretend.organization, int(NOW.timestamp()) - 3600
    held.projects = {
        f"proj_{it:03}": Project(id=f"proj_{it:03}", name=f"team-{it}", created_at=at) for it in range(PROJECTS)
    }
    for number in range(keys):
        project, key = f"proj_{number % PROJECTS:03}", _meter(number)
        held.put_key(Key(key, key, project, f"user-{number}", "sk-…wxyz", key, at))
        for model in MODELS:
            held.meter.add(
                Use(
                    at=at,
                    project=project,
                    key=key,
                    model=model,
                    kind="completions",
                    asked=ASKED,
                    answered=ANSWERED,
                    cost=COSTS[model],
                )
            )

    async def calls(_: Request) -> JSONResponse:
        return JSONResponse(counted.calls)

    app = Starlette(routes=[Route("/calls", calls), Mount("/v1", routes=pretend.routes)])
    counted = _Counted(app)
    uvicorn.run(counted, host=HOST, port=port, log_config=None, access_log=False)


def _meter(number: int) -> str:
    return f"key_{number:08}"


@asynccontextmanager
async def _vendor(keys: int) -> AsyncIterator[int]:
    """The port of a vendor that serves."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.usage", "serve", str(keys), str(port), cwd=ROOT
    )
    try:
        async with httpx.AsyncClient() as http, asyncio.timeout(CHILD_SECONDS):
            while True:
                if process.returncode is not None:
                    raise RuntimeError("the vendor did not start")
                try:
                    await http.get(f"http://{HOST}:{port}/calls")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
        yield port
    finally:
        process.terminate()
        await process.wait()


# ---- the desk, in a process of its own


async def collected(url: str, port: int, keys: int) -> dict[str, float]:
    """What a round took: seconds, and bytes at most. Raises `RuntimeError` where the figures are not what was used."""
    clock = SetClock()
    clock.now = NOW
    store = SqlStore.open(url)
    vendor = OpenAI(admin_key=SecretStr(ADMIN_KEY), base_url=f"http://{HOST}:{port}/v1", clock=clock)
    people = Workspace()
    people.people |= {who: Person(who, TEAM, who) for who in await store.read(lambda tx: tx.holders(TEAM))}
    desk = assemble(
        store=store,
        directory=people,
        notifier=Slack(),
        line=Line(Workspace()),
        policy=load(POLICY, permissions={"openai": Vendor.permissions}),
        providers={"openai": vendor},
        clock=clock,
        random=os.urandom,
        public_url="https://desk.example",
    )

    def begin(tx: Transaction) -> None:
        tx.record(team=TEAM, at=NOW, actor="system", act=Act.EXPIRED, subject="g_00000000")
        for kind in RoundKind:
            tx.begin_round(TEAM, "openai", kind, NOW if kind is RoundKind.USAGE else NOW + timedelta(days=1))
        (usage,) = tx.lease_rounds(NOW, NOW + timedelta(seconds=1), 9)
        tx.move_round(usage, done_to=NOW.date(), due_at=NOW)

    try:
        await store.write(begin)
        before = memory_of("VmRSS")
        start = time.perf_counter()
        await desk.watch.go_round()
        seconds = time.perf_counter() - start
        peak = memory_of("VmHWM")
        rounds = await store.read(lambda tx: tx.rounds(TEAM))
    finally:
        await vendor.aclose()
        await store.close()
    engine = create_engine(engine_url(url))
    with engine.connect() as connection:
        rows, micros = connection.execute(text("SELECT count(*), sum(cost_micros) FROM usage")).one()
    engine.dispose()
    flaw = next(one.flaw for one in rounds if one.kind is RoundKind.USAGE)
    wanted = keys * len(MODELS), int(keys * sum(COSTS.values()) * 1_000_000)
    if flaw or (rows, int(micros or 0)) != wanted:
        raise RuntimeError(f"{rows} rows and {micros} micros, not {wanted}; {flaw}")
    return {"seconds": seconds, "peak": peak, "grown": peak - before}


async def _measured(keys: int) -> dict[str, float]:
    """One round, from an empty table, and how many calls it made."""
    with tempfile.TemporaryDirectory(prefix="keydesk-usage-") as folder:
        url = f"sqlite:///{folder}/keydesk.db"
        await asyncio.to_thread(_filled, url, keys)
        async with _vendor(keys) as port:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.usage", "collect", url, str(port), str(keys)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(CHILD_SECONDS):
                told, _ = await process.communicate()
            if process.returncode:
                raise RuntimeError("the desk did not collect")
            async with httpx.AsyncClient() as http:
                calls = (await http.get(f"http://{HOST}:{port}/calls")).json()
    return {**json.loads(told), "calls": calls}


def _filled(url: str, keys: int) -> None:
    fill(url, keys)
    engine = create_engine(engine_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE keys SET meter = 'key_' || substr(id, 3)"))
    engine.dispose()


async def usage() -> list[Figure]:
    """Time, calls and memory of one round over 100,000 keys; calls and memory against a tenth of the keys."""
    few, many = await _measured(FEW), await _measured(MANY)
    mib = 1 << 20
    what = f"{MANY:,} keys in {PROJECTS} projects, {len(MODELS)} models each"
    return [
        beside(
            f"usage of {MANY:,} keys",
            ours=[many["seconds"]],
            unit="s for one round",
            against="a minute",
            theirs=[MINUTE],
            aim=1.0,
            at_most=True,
            profile=f"{what}: {many['calls']:.0f} calls, {MANY * len(MODELS):,} rows, all correct to the micro-dollar; "
            f"of {FEW:,} keys {few['seconds']:.1f} s. {MANY * len(MODELS) / many['seconds']:,.0f} rows a second, the waiting for the vendor included.",
        ),
        beside(
            "usage, calls made",
            ours=[many["calls"]],
            unit=f"calls for {MANY:,} keys",
            against=f"for {FEW:,} keys in as many projects",
            theirs=[few["calls"]],
            aim=1.0,
            at_most=True,
            profile="Three reports of each project, and what few keys do of all at once: calls follow projects and pages.",
        ),
        beside(
            "usage, memory",
            ours=[many["peak"] / mib],
            unit=f"MiB at most for {MANY:,} keys",
            against=f"for {FEW:,} keys",
            theirs=[few["peak"] / mib],
            aim=MEMORY_AIM,
            at_most=True,
            profile=f"The round itself added {many['grown'] / mib:.0f} MiB, and {few['grown'] / mib:.0f}: a project at a time is held.",
        ),
    ]


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"usage": usage}


def _main(what: str, *rest: Any) -> None:
    if what == "serve":
        serve(int(rest[0]), int(rest[1]))
    else:
        print(json.dumps(asyncio.run(collected(rest[0], int(rest[1]), int(rest[2])))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
