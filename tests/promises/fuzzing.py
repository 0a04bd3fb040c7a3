"""Sends a desk what strangers could send, at speed, and says what it could not take.

`python -m tests.promises.fuzzing [N]` sends N inputs (100,000) to a desk in a process of its own, over connections that
are kept alive. What fails is written to a file, to be sent again with `--replay FILE`.
"""

import argparse
import asyncio
import ctypes
import re
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import httpx
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from sandbox.client import Sandbox
from sandbox.server import Running
from sandbox.server import running as sandbox_running
from storage.migrate import engine_url, upgrade
from storage.store import SqlStore
from tests.flows.world import World, installed, settings_for
from tests.lessons import everybody_read
from tests.processes import DeskProcess, SharedClock, desk_process
from tests.promises.corpus import Corpus, lived
from tests.promises.inputs import NAMED, Input, make

SEED = 20
CONNECTIONS = 16
HANG_SECONDS = 5.0
SLACK_SECONDS = 3.0
GROWTH_BYTES = 32 * 2**20  # what the desk's memory may grow by after the first tenth
LATE = "answered too late for Slack"
HUNG = "no answer in time"
LONG = 2**16  # bytes: so much may still be under way when a server refuses and closes, which can cost its answer
_NO_ANSWER = ("cut", "broken off")  # the body never ends, so there is nobody to answer
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n((?:[ \t].*\n|\n)+)(\S.*)")
_FRAME = re.compile(
    r'File ".*?/((?:bot|storage|slack_bolt|starlette|uvicorn|authlib)/[^"]+|app\.py)", line (\d+), in (\S+)'
)


ILL_GOTTEN = {
    "a stranger's request": "SELECT id, requester FROM requests "
    "WHERE requester NOT IN ('U0ANA', 'U0BEN', 'U0CARA', 'U0DEV')",
    "a stranger's grant": "SELECT id, holder FROM grants WHERE holder NOT IN ('U0ANA', 'U0BEN', 'U0CARA', 'U0DEV')",
    "a request against policy": "SELECT id, permission FROM requests WHERE provider <> 'openai' OR permission NOT IN "
    "('read_only', 'embeddings', 'responses', 'chat') OR monthly_budget_cents > 20000 OR duration_seconds > 2592000",
    "a decision without the right": "SELECT request_id, approver FROM decisions JOIN requests ON requests.id = request_id "
    "WHERE approver = requester OR approver NOT IN ('U0ANA', 'U0CARA', 'U0DEV')",
    "an act without the right": "SELECT actor, act FROM audit_entries WHERE act <> 'refused' "
    "AND actor NOT IN ('system', 'U0ANA', 'U0BEN', 'U0CARA', 'U0DEV')",
}
"""What nobody had the right to: a query that finds it. The sandbox's members, and the policy of these tests."""


@dataclass(frozen=True)
class Answer:
    """What came back: no status where the connection was closed without one, or nothing came in time."""

    status: int | None
    seconds: float
    body: bytes = b""
    hung: bool = False


@dataclass(frozen=True)
class Finding:
    """What the desk could not take, with the input where it is known."""

    why: str
    input: Input | None = None
    more: str = ""


@dataclass
class Report:
    """What was sent, what came back, and what was wrong."""

    seconds: float = 0.0
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest: float = 0.0
    slow: list[Input] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """How many inputs."""
        return sum(sum(counted.values()) for counted in self.statuses.values())

    @property
    def growth(self) -> int:
        """Bytes that the desk's memory grew by from the first tenth to the last. What large bodies take for a moment is none."""
        settled = next((size for number, size in self.memory if number * 10 >= self.sent), 0)
        last = [size for number, size in self.memory if number * 10 >= self.sent * 9]
        return max(int(median(last)) - settled, 0) if last else 0

    def told(self) -> str:
        """For people."""
        lines = [
            f"{self.sent} inputs in {self.seconds:.0f} s: {self.sent / self.seconds:.0f}/s; slowest {self.slowest:.2f} s"
        ]
        for kind, counted in sorted(self.statuses.items()):
            lines.append(f"  {kind:18}" + "  ".join(f"{status} {count}" for status, count in sorted(counted.items())))
        curve = "  ".join(f"{number}: {size / 2**20:.0f}" for number, size in self.memory)
        lines.append(f"memory in MiB after inputs  {curve}  (grew {self.growth / 2**20:.1f} after the first tenth)")
        if self.slow:
            lines.append(f"{len(self.slow)} were slow, and were sent again alone")
        alike: dict[str, list[Finding]] = defaultdict(list)
        for one in self.findings:
            alike[one.why].append(one)
        for why, these in alike.items():
            shortest = min(these, key=lambda one: len(one.input.body) if one.input else 0)
            lines.append(f"\nFOUND {len(these)} times: {why}\n{shortest.more}{_shown(shortest.input)}")
        return "\n".join(lines)


def _shown(sent: Input | None) -> str:
    if sent is None:
        return ""
    line = sent.line()
    return line if len(line) < 4000 else f"{line[:2000]} … {line[-1000:]} ({len(line)} characters; whole in the file)"


class Wire:
    """A connection that is kept alive as long as both sides like, and opened again when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, pieces: Sequence[bytes], framing: str = "whole", method: str = "POST") -> Answer:
        """Writes, and reads one answer, for at most `HANG_SECONDS`."""
        reused = self._writer is not None
        answer = await self._once(pieces, framing, method)
        if reused and answer.status is None and not answer.hung and framing not in _NO_ANSWER:
            # A server may close a connection that nothing was asked on; then any client asks anew.
            return await self._once(pieces, framing, method)
        return answer

    async def _once(self, pieces: Sequence[bytes], framing: str, method: str) -> Answer:
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(HANG_SECONDS):
                status, body = await self._exchange(pieces, framing, method)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self.close()
            return Answer(None, time.perf_counter() - begin, hung=isinstance(error, TimeoutError))
        return Answer(status, time.perf_counter() - begin, body)

    async def _exchange(self, pieces: Sequence[bytes], framing: str, method: str) -> tuple[int | None, bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._reader, self._writer
        try:
            for piece in pieces:
                writer.write(piece)
                if framing == "dripped":
                    await asyncio.sleep(0.002)  # so that each piece arrives alone
            await writer.drain()
        except ConnectionError:
            pass  # refused before all was written: the answer is there to be read
        if framing in _NO_ANSWER:
            self.close()
            return None, b""
        status, headers = 100, b""
        while status == 100:
            head = await reader.readuntil(b"\r\n\r\n")
            status, headers = int(head.split(None, 2)[1]), head.lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", headers)
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif length:
            body = await reader.readexactly(int(length[1]))
        elif b"\r\ntransfer-encoding: chunked" in headers:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.read()
        if b"\r\nconnection: close" in headers or status == 101 or framing in ("too short", "raw"):
            self.close()
        return status, body

    def close(self) -> None:
        """Lets go of the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


class Log:
    """What a desk writes to its log, as it comes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r", errors="replace")
        self._rest = ""
        self.fresh()

    def fresh(self) -> list[tuple[str, str]]:
        """The tracebacks that came since the last call: where and what, and the whole."""
        told = self._rest + self._file.read()
        found = list(_TRACEBACK.finditer(told))
        # One that is still being written is read the next time.
        self._rest = told[found[-1].end() :] if found else told
        begun = self._rest.rfind("Traceback (most recent call last)")
        self._rest = self._rest[begun:] if begun >= 0 else self._rest[-200:]
        return [(f"{_where(one[1])}: {one[2].partition(':')[0][:80]}", _cut(one[0])) for one in found]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _cut(traceback: str) -> str:
    """Its last lines, each of a length that can be read."""
    return "".join(f"{line[:200]}\n" for line in traceback.splitlines()[-14:])


def _where(frames: str) -> str:
    found = _FRAME.findall(frames)
    ours = [one for one in found if one[0].startswith(("bot", "storage", "app"))] or found
    return "{} line {} in {}".format(*ours[-1]) if ours else "?"


def judged(sent: Input, answer: Answer) -> str | None:
    """What is wrong about this answer to this input."""
    if sent.framing in _NO_ANSWER or (sent.framing == "raw" and not sent.body.strip()):
        return None  # empty lines before a request are passed over (RFC 9112, 2.2), and none follows
    if answer.hung:
        return HUNG
    if answer.status is None:
        return None if len(sent.body) > LONG else "the connection was dropped without an answer"
    if answer.status >= 500:
        return f"answered {answer.status}"
    if sent.signed and answer.status != 200 and answer.status < 400:
        return f"answered {answer.status}, which says nothing to Slack"
    if sent.signed and answer.seconds > SLACK_SECONDS:
        return LATE
    # Slack's check of the certificate comes unsigned, and is answered by Bolt with an empty 200.
    if sent.kind == "unsigned" and answer.status < 400 and not ("ssl" in sent.body and not answer.body):
        return f"unsigned, and answered {answer.status}"
    if sent.kind.startswith("link") and b'"envelope"' in answer.body:
        return "an envelope was handed out"
    if sent.kind == "link, signed out" and answer.status < 300:
        return f"not signed in, and answered {answer.status}"
    return None


@dataclass
class Siege:
    """A desk under fire: where it is, what its world's things are called, and what is sent."""

    flow: World
    process: DeskProcess
    corpus: Corpus
    names: Mapping[str, str]

    def named(self, told: str) -> str:
        """With this world's ids in the place of their names."""
        return NAMED.sub(lambda found: self.names.get(found[1], found[0]), told)

    async def send(self, numbers: Iterable[int], *, seed: int = SEED, connections: int = CONNECTIONS) -> Report:
        """Sends the inputs of these numbers, and looks at everything afterwards."""
        return await self.send_all((make(self.corpus, seed, number) for number in numbers), connections=connections)

    async def send_all(self, inputs: Iterable[Input], *, connections: int = CONNECTIONS) -> Report:
        """Sends these inputs, and looks at everything afterwards."""
        report, log, begin = Report(), Log(self.process.log), time.perf_counter()
        recent: deque[Input] = deque(maxlen=4 * connections)
        seen: dict[str, tuple[str, list[Input]]] = {}
        queue = iter(inputs)
        count = 0

        async def work() -> None:
            nonlocal count
            wire = Wire(self.flow.settings.port)
            for sent in queue:
                recent.append(sent)
                answer = await wire.send(sent.pieces(self.names, self._secret), sent.framing, sent.method)
                self._keep(report, sent, answer)
                for where, whole in log.fresh():
                    seen.setdefault(where, (whole, list(recent)))
                count += 1
                if count % 500 == 0:
                    report.memory.append((count, resident(self.process.pid)))
                if count % 10_000 == 0:
                    print(f"{count} inputs in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
                if not self.process.alive:
                    break
            wire.close()

        await asyncio.gather(*(work() for _ in range(connections)))
        report.seconds = time.perf_counter() - begin
        if self.process.alive:
            await self._settle(log, seen, recent)
            report.memory.append((count, resident(self.process.pid)))
            await self._hurry(report)
            await self._blame(report, log, seen)
            report.findings += [Finding(why) for why in await self.wrong()]
        else:
            report.findings.append(Finding("the desk died", more=self.process.said()[-3000:]))
        if report.growth > GROWTH_BYTES:
            report.findings.append(Finding(f"memory grew by {report.growth / 2**20:.0f} MiB"))
        log.close()
        return report

    @property
    def _secret(self) -> str:
        return self.flow.servers.signing_secret

    def _keep(self, report: Report, sent: Input, answer: Answer) -> None:
        report.statuses[sent.kind][str(answer.status or ("hung" if answer.hung else "closed"))] += 1
        report.slowest = max(report.slowest, answer.seconds)
        why = judged(sent, answer)
        if why in (LATE, HUNG):
            report.slow.append(sent)
        elif why:
            report.findings.append(Finding(f"{sent.kind}: {why}", sent))

    async def _settle(self, log: Log, seen: dict[str, tuple[str, list[Input]]], recent: deque[Input]) -> None:
        """Waits until what follows the acknowledgements is done: until the log is quiet for a second."""
        quiet_since, size = time.monotonic(), 0
        until = quiet_since + 60
        while time.monotonic() < min(until, quiet_since + 1):
            for where, whole in log.fresh():
                seen.setdefault(where, (whole, list(recent)))
            if (now := self.process.log.stat().st_size) != size:
                quiet_since, size = time.monotonic(), now
            await asyncio.sleep(0.05)

    async def _hurry(self, report: Report) -> None:
        """What was slow is sent again, alone: it may have been the machine, with others at work on it."""
        wire = Wire(self.flow.settings.port)
        for sent in report.slow:
            answer = await wire.send(sent.pieces(self.names, self._secret), sent.framing, sent.method)
            if why := judged(sent, answer):
                report.findings.append(Finding(f"{sent.kind}: {why}", sent))
        wire.close()

    async def _blame(self, report: Report, log: Log, seen: Mapping[str, tuple[str, list[Input]]]) -> None:
        """Finds out which of the inputs that were under way made each traceback, by sending them one after another."""
        wire = Wire(self.flow.settings.port)
        for where, (whole, suspects) in seen.items():
            guilty = None
            for sent in reversed(suspects):
                log.fresh()
                await wire.send(sent.pieces(self.names, self._secret), sent.framing, sent.method)
                await asyncio.sleep(0.03)  # what follows the acknowledgement
                if where in {again for again, _ in log.fresh()}:
                    guilty = sent
                    break
            report.findings.append(Finding(f"a traceback in the log: {where}", guilty, whole))
        wire.close()

    async def wrong(self) -> list[str]:
        """What is wrong with the desk after all that was sent."""
        wrong = []
        for path in ("/readyz", "/healthz"):
            answer = await self.flow.http.get(f"{self.flow.settings.public_url}{path}")
            if answer.status_code != 200:
                wrong.append(f"{path} answers {answer.status_code}")
        try:
            await self.flow.acts()
        except AssertionError:
            wrong.append("the audit chain does not verify")
        wrong += await asyncio.to_thread(self._ill_gotten)
        try:
            await self.flow.ask()
        except AssertionError as failed:
            wrong.append(f"a member cannot ask any more: {failed}")
        return wrong

    def _ill_gotten(self) -> list[str]:
        """Requests, decisions, grants and acts that nobody had the right to."""
        wrong = []
        engine = create_engine(engine_url(self.flow.settings.database_url.get_secret_value()))
        with engine.connect() as connection:
            for what, query in ILL_GOTTEN.items():
                wrong += [f"{what}: {row}" for row in connection.execute(text(query)).all()[:3]]
        engine.dispose()
        return wrong


def resident(pid: int) -> int:
    """The bytes of memory that this process holds."""
    told = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("VmRSS"))) * 1024


def _gives_back(prepare: Callable[[], None] | None) -> None:
    """In the desk's process: what `prepare` does, and memory that is free goes back to the system, each second.

    Else glibc keeps what large bodies once took, in pieces, and from outside that looks as if the desk held it: 45 MiB more
    after 100,000 inputs, of which it used 6.
    """
    if prepare:
        prepare()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it

    def work() -> None:
        while trim:
            trim(0)
            time.sleep(1)

    threading.Thread(target=work, daemon=True).start()


@asynccontextmanager
async def besieged(
    servers: Running,
    *,
    database_url: str,
    folder: Path,
    prepare: Callable[[], None] | None = None,
    app_token: SecretStr | None = None,
    story: bool = True,
) -> AsyncIterator[Siege]:
    """A desk in a process of its own, ready to be sent whatever comes, with a `story` behind it or not.

    It takes Slack's deliveries by HTTP, and by Socket Mode beside it where there is an `app_token`.
    """
    http = settings_for(servers, mode="http", database_url=database_url, folder=folder)
    settings = http.model_copy(update={"slack_app_token": app_token})
    clock = SharedClock()

    async def no_sweep() -> None:
        """The desk sweeps by itself."""

    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(servers.base_url))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        store = SqlStore.open(database_url)
        stack.push_async_callback(store.close)
        await installed(sandbox, [settings])
        process = await stack.enter_async_context(
            desk_process(settings, clock, folder / "desk.log", partial(_gives_back, prepare))
        )
        flow = World(sandbox, servers, settings, clock, store, no_sweep, client)
        yield Siege(flow, process, *(await lived(flow) if story else (Corpus({}, (), ()), {})))


async def _fuzz(chosen: argparse.Namespace, database_url: str, folder: Path) -> Report:
    with sandbox_running() as servers:
        async with besieged(servers, database_url=database_url, folder=folder) as siege:
            if chosen.replay:
                again = [Input.of(line) for line in chosen.replay.read_text().splitlines() if line]
                return await siege.send_all(again, connections=1)
            numbers = range(chosen.first, chosen.first + chosen.count)
            return await siege.send(numbers, seed=chosen.seed, connections=chosen.connections)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0 where nothing was found, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.promises.fuzzing", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("count", nargs="?", type=int, default=100_000, help="how many inputs (100000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"what they are made from ({SEED})")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one (0)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help=f"how many at once ({CONNECTIONS})")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="send what stands there instead, one after another")
    parser.add_argument("--found", type=Path, default=Path("fuzzing-found.jsonl"), help="where what failed is written")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="keydesk-fuzzing-") as folder:
        url = f"sqlite:///{folder}/keydesk.db"
        upgrade(url)
        everybody_read(url)  # so that the story behind the siege comes to its links
        report = asyncio.run(_fuzz(chosen, url, Path(folder)))
    print(report.told())
    failed = [one.input.line() for one in report.findings if one.input]
    if failed and not chosen.replay:
        chosen.found.write_text("\n".join(failed) + "\n")
        print(f"\n{len(failed)} inputs are in {chosen.found}: --replay {chosen.found} sends them again.")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
