"""What the desk takes: memory over many requests, and the time until it serves.

`memory`: resident memory of `app.py run` on SQLite, before and after the load. The load is what a desk meets: mostly
commands from many members, forms that open, and from strangers bodies with a wrong signature, pages and calls of the
link API without a session. Growth is counted from 5,000 requests on, when every path has run and every cache is filled
once; `TOLERANCE` covers what an allocator keeps.

`start`: from the start of the process until `/readyz` says 200, on a database that has the newest schema, by turns with a
Python that only imports what the desk stands on.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import desks
from benchmarks.figures import Figure, beside
from benchmarks.load import ROOT, Ask, Load
from storage.migrate import upgrade

REQUESTS, SETTLED = 50_000, 5_000
PORTION = 1_000
MEMBERS = 500
TOLERANCE = 1.05
ROUNDS = 7
START_AIM = 1.5  # times what the imports take
FLOOR = "import alembic, authlib, cryptography, httpx, slack_bolt.async_app, sqlmodel, starlette, uvicorn"


async def memory() -> list[Figure]:
    """Memory after 50,000 requests, against memory after the first 5,000."""
    after: dict[int, int] = {}
    async with (
        desks.folder() as folder,
        Load.start() as load,
        desks.far_side(folder) as far,
        desks.desk(folder, far.port) as desk,
    ):
        asks = _mixed()
        start = desk.rss
        for done in range(PORTION, REQUESTS + 1, PORTION):
            portion = [asks[(done + number) % len(asks)] for number in range(PORTION)]
            await load.run(desk.port, portion, connections=16, once=True)
            after[done] = desk.rss
    mib = 1 << 20
    course = ", ".join(f"{done:,}: {after[done] / mib:.1f}" for done in (1_000, 5_000, 10_000, 20_000, 30_000, 50_000))
    return [
        beside(
            "memory",
            ours=[after[REQUESTS] / mib],
            unit=f"MiB after {REQUESTS:,} requests",
            against=f"after the first {SETTLED:,}",
            theirs=[after[SETTLED] / mib],
            aim=TOLERANCE,
            at_most=True,
            profile=f"{start / mib:.1f} MiB at the start; after so many requests, in MiB: {course}.",
        )
    ]


def _mixed() -> list[Ask]:
    """Half helps; a tenth each of lists, forms, wrong signatures, pages, and calls of the link API."""
    asks: list[Ask] = []
    for number in range(MEMBERS * 10):
        who = desks.member(number % MEMBERS)
        match number % 10:
            case 0 | 1 | 2 | 3 | 4:
                asks.append(desks.command("help", who))
            case 5:
                asks.append(desks.command("list", who))
            case 6:
                asks.append(desks.command("request", who))
            case 7:
                asks.append(Ask(desks.command("help", who).body, secret="somebody-else's"))
            case 8:
                asks.append(Ask("", path=f"/k/link{number}", method="GET"))
            case _:
                asks.append(Ask('{"token": "x"}', path=f"/api/links/link{number}/claim", kind="application/json"))
    return asks


async def start() -> list[Figure]:
    """From the process's start to `/readyz`, against the imports alone."""
    ours: list[float] = []
    theirs: list[float] = []
    fresh: list[float] = []
    async with desks.folder() as folder, desks.far_side(folder) as far:
        url = f"sqlite:///{folder}/keydesk.db"
        await asyncio.to_thread(upgrade, url)
        for number in range(ROUNDS + 1):
            took = await _python("-c", FLOOR)
            async with desks.desk(folder, far.port, database_url=url) as desk:
                pass
            if number:  # the first one compiles what is not compiled yet
                theirs.append(took)
                ours.append(desk.seconds)
        for number in range(3):
            async with desks.desk(folder, far.port, database_url=f"sqlite:///{folder}/fresh{number}.db") as desk:
                fresh.append(desk.seconds)
        where = await _imports(folder)
    why = (
        f"On a database that is not there yet {statistics.median(fresh):.2f} s. Imports that take most, in ms: {where}."
    )
    return [
        beside(
            "start",
            ours=ours,
            unit="s until /readyz",
            against="Python with the same libraries imported",
            theirs=theirs,
            aim=START_AIM,
            at_most=True,
            profile=why,
        )
    ]


async def _python(*arguments: str) -> float:
    """How long a Python with these arguments takes, start and end included."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    if await process.wait():
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return time.perf_counter() - begin


async def _imports(folder: Path) -> str:
    """The packages whose modules take longest to import themselves, with `python -X importtime`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "import app",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    packages: dict[str, int] = {}
    for line in told.decode().splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().partition(".")[0]
        packages[package] = packages.get(package, 0) + int(own)
    most = sorted(packages.items(), key=lambda item: -item[1])[:12]
    return f"{', '.join(f'{name} {own / 1000:.0f}' for name, own in most)}; all {sum(packages.values()) / 1000:.0f}"


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"memory": memory, "start": start}
