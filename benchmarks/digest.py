"""Digests: ten thousand people have theirs due at once, and the pretend Slack holds the desk to Slack's rate limits.

Slack is a process of its own, and so is the desk, which composes each digest from two weeks of use and posts it over HTTP.
At Slack's real limits that takes more than half an hour, so both run ten times as fast: the limits of the pretend Slack,
and the pace that the desk keeps. What is measured is how near to the limit's own floor the desk comes, whether Slack had
to refuse any call, and whether memory stays where it is.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from benchmarks.figures import Figure, beside
from benchmarks.sweeps import fill, memory_of
from bot import slack as skin
from bot.desk.assembly import assemble
from bot.desk.due import DueKind
from bot.desk.linting import load
from bot.slack import digests
from storage.migrate import engine_url
from storage.store import SqlStore
from tests.desk.world import POLICY, TEAM, Vendor

ROOT = Path(__file__).parent.parent
PEOPLE = 10_000
SPEED = 10  # times as fast as Slack
A_MINUTE = 300  # messages that Slack takes from an app in a workspace: it says "several hundred"
TIERS = {"users.list": 20, "conversations.open": 50, "conversations.history": 50, "users.info": 100}
MONDAY = datetime(2026, 11, 30, 9, tzinfo=UTC)
EARLY = PEOPLE // 10  # digests, after which memory is looked at first
CHILD_SECONDS = 290.0
AIM = 1.2  # of the floor: the desk leaves a tenth of the limit to messages that cannot wait
MEMORY_AIM = 1.1


# ---- Slack


@asynccontextmanager
async def _slack() -> AsyncIterator[dict[str, str]]:
    """Where a pretend Slack is that has so many members, and limits."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None  # noqa: S101  # it was asked for
    try:
        told: dict[str, str] = json.loads(await process.stdout.readline())
        async with httpx.AsyncClient(base_url=told["base_url"], timeout=60) as http:
            (await http.post("/control/furnish", json={"members": PEOPLE})).raise_for_status()
            by_channel = {"a_minute": 60, "by": "channel"}
            limits: dict[str, Any] = {"chat.postMessage": [{"a_minute": A_MINUTE * SPEED, "burst": 10}, by_channel]}
            # "Occasional bursts of more requests" are allowed: here as many at once as otherwise in a minute.
            limits |= {name: {"a_minute": most * SPEED, "burst": most} for name, most in TIERS.items()}
            (await http.post("/control/limits", json=limits)).raise_for_status()
        yield told
    finally:
        process.terminate()
        await process.wait()


async def _seen(base_url: str) -> dict[str, float]:
    """What Slack saw: how many calls it refused, and how many members have how many messages."""
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as http:
        told = (await http.post("/control/limits", json={})).json()
        counted = (await http.get("/control/direct")).json()["messages"]
    once = sum(many == 1 for member, many in counted.items() if member.startswith("U0M"))
    return {"refused": told["refused"], "once": once, "twice": sum(many > 1 for many in counted.values())}


# ---- the desk, in a process of its own


def _filled(url: str) -> None:
    """Each of them holds one key, used on each of the last fourteen days, and has a digest that is due."""
    fill(url, PEOPLE)
    engine = create_engine(engine_url(url))
    with engine.begin() as connection:
        for change in (
            "UPDATE requests SET requester = 'U0M' || substr(id, -6)",
            "UPDATE grants SET holder = 'U0M' || substr(id, -6), state = 'active', ended_at = NULL, ended_because = NULL",
            "UPDATE grants SET expires_at = '2027-06-01 00:00:00.000000'",
            "UPDATE keys SET state = 'live'",
        ):
            connection.execute(text(change))
        for back in range(1, 15):
            connection.execute(
                text(
                    "INSERT INTO usage (team, key_id, day, model, requests, tokens_in, tokens_out, cost_micros, currency, basis, as_of) "
                    "SELECT team, id, :day, 'gpt-5-mini', 12, 9000, 3000, 250000 + 1000 * :back, 'USD', 'billed', :at FROM keys"
                ),
                {"day": (MONDAY - timedelta(days=back)).date().isoformat(), "back": back, "at": _at(MONDAY)},
            )
        connection.execute(
            text(
                "INSERT INTO digests (team, member, since, weekday, hour, off, due_at, attempts) "
                "SELECT team, holder, :since, 0, 9, 0, :due, 0 FROM grants"
            ),
            {"since": _at(MONDAY - timedelta(days=3)), "due": _at(MONDAY)},
        )
    engine.dispose()


def _at(when: datetime) -> str:
    return when.replace(tzinfo=None).isoformat(" ", "microseconds")


class _Telling(skin.SlackNotifier):
    """Counts what is sent, and looks at this process's memory on the way."""

    sent = 0
    early = 0

    async def send_digest(self, *args: Any, **more: Any) -> None:
        await super().send_digest(*args, **more)
        self.sent += 1
        if self.sent == EARLY:
            self.early = memory_of("VmRSS")


async def sent(url: str, token: str, api_url: str) -> dict[str, float]:
    """What it took to send all of them. Raises `RuntimeError` where some are still due."""
    digests.A_MINUTE = {method: most * SPEED for method, most in digests.A_MINUTE.items()}  # as the limits
    began = time.perf_counter()

    def clock() -> datetime:
        return MONDAY + timedelta(seconds=time.perf_counter() - began)

    store = SqlStore.open(url)
    session = skin.open_session()
    client = skin.build_client(SecretStr(token), api_url, session=session)
    notifier = _Telling(client=client, team=TEAM)
    vendor = Vendor()
    desk = assemble(
        store=store,
        directory=skin.SlackDirectory(client=client, team=TEAM, clock=clock),
        notifier=notifier,
        line=skin.SlackLine(client=client, team=TEAM),
        policy=load(POLICY, permissions={"openai": Vendor.permissions}),
        providers={"openai": vendor},
        clock=clock,
        random=os.urandom,
        public_url="https://desk.example",
    )
    try:
        start, busy = time.perf_counter(), time.process_time()
        while await store.read(lambda tx: tx.due(DueKind.DIGEST, clock(), 1)):
            await desk.watch.digest()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        late = memory_of("VmRSS")
    finally:
        await session.close()
        await store.close()
    if notifier.sent < PEOPLE:
        raise RuntimeError(f"{notifier.sent} of {PEOPLE} digests were sent")
    return {"seconds": seconds, "busy": busy, "early": notifier.early, "late": late, "peak": memory_of("VmHWM")}


async def digest() -> list[Figure]:
    """Time against the limit's own floor, calls that Slack had to refuse, and memory from the first tenth to the end."""
    with tempfile.TemporaryDirectory(prefix="keydesk-digest-") as folder:
        url = f"sqlite:///{folder}/keydesk.db"
        await asyncio.to_thread(_filled, url)
        async with _slack() as slack:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.digest", url, slack["bot_token"], slack["api_url"]),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(CHILD_SECONDS):
                    told, _ = await process.communicate()
            except BaseException:
                process.kill()
                await process.wait()
                raise
            if process.returncode:
                raise RuntimeError("the desk did not send them")
            seen = await _seen(slack["base_url"])
    ours = json.loads(told)
    if seen["once"] != PEOPLE or seen["twice"]:
        raise RuntimeError(f"{seen['once']} people have one digest, {seen['twice']} more than one")
    mib = 1 << 20
    real = ours["seconds"] * SPEED / 60
    return [
        beside(
            f"digest of {PEOPLE:,} people",
            ours=[ours["seconds"]],
            unit="s, each once",
            against=f"Slack's limit of {A_MINUTE} messages a minute, {SPEED} times as fast",
            theirs=[PEOPLE * 60 / (A_MINUTE * SPEED)],
            aim=AIM,
            at_most=True,
            profile=f"The limit and the desk's own pace (nine tenths of it) both run {SPEED} times as fast as at Slack, where this is "
            f"{real:.0f} minutes. The desk works {ours['busy']:.0f} s of it, {ours['busy'] * 1000 / PEOPLE:.1f} ms for each; it waits for the rest. "
            f"Slack refused {seen['refused']:.0f} calls for coming too early.",
        ),
        beside(
            "digest, memory",
            ours=[ours["late"] / mib],
            unit=f"MiB after {PEOPLE:,} digests",
            against=f"after the first {EARLY:,}",
            theirs=[ours["early"] / mib],
            aim=MEMORY_AIM,
            at_most=True,
            profile=f"{ours['peak'] / mib:.0f} MiB at most. Eight digests at a time are held, and of everybody their name and time zone.",
        ),
    ]


BENCHMARKS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {"digest": digest}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(sent(*sys.argv[1:4]))))
