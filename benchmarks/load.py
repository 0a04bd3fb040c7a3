"""The load generator: a process of its own that keeps connections busy with requests signed beforehand.

It speaks just enough HTTP/1.1 for servers that answer with a Content-Length, on plain sockets and one selector, so that
it takes a small part of what any server under test takes. Started by `Load.start`, it is told jobs as lines of JSON.
"""

import asyncio
import hashlib
import hmac
import json
import selectors
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECEIVE = 1 << 16
STUCK_SECONDS = 20.0  # nothing arrives for that long: the server hangs
LONGEST_LINE = 1 << 26


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: what is signed as Slack signs it (`secret`), or plain where there is no secret."""

    body: str
    path: str = "/slack/events"
    kind: str = "application/x-www-form-urlencoded"
    secret: str = ""
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to: requests a second, and milliseconds from sending to the whole answer."""

    requests: int
    seconds: float
    rate: float
    p50: float
    p99: float
    slowest: float
    statuses: dict[str, int]

    @property
    def failed(self) -> int:
        """How many were answered with anything but 200."""
        return self.requests - self.statuses.get("200", 0)


class Load:
    """The running process. One job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["Load"]:
        """Runs until the context ends."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.load",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        try:
            yield cls(process)
        finally:
            if process.stdin:
                process.stdin.close()
            await process.wait()

    async def run(
        self, port: int, asks: Sequence[Ask], *, connections: int, seconds: float = 60.0, once: bool = False
    ) -> Run:
        """Sends the asks over that many connections, over and over until the seconds are up; or each one `once`.

        Raises `RuntimeError` when the server hangs or closes.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the load generator has no pipes")
        job = {
            "port": port,
            "asks": [asdict(ask) for ask in asks],
            "connections": connections,
            "seconds": seconds,
            "once": once,
        }
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        await self._process.stdin.drain()
        told = json.loads(await self._process.stdout.readline() or "{}")
        if "requests" not in told:
            raise RuntimeError(f"the load generator gave up: {told.get('error', 'it ended')}")
        return Run(**told)


def headers(ask: Ask, at: int) -> dict[str, str]:
    """What is said beside the body: its type, and the signature of that time."""
    told = {
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "Accept": "application/json,*/*",
        "Content-Type": ask.kind,
    }
    if ask.secret:
        mac = hmac.new(ask.secret.encode(), f"v0:{at}:{ask.body}".encode(), hashlib.sha256).hexdigest()
        told |= {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={mac}"}
    return told


def written(ask: Ask, port: int, at: int) -> bytes:
    """The request's bytes, signed at that time."""
    body = ask.body.encode()
    lines = [f"{ask.method} {ask.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers(ask, at).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection:
    """One socket with one request under way at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self._got = b""

    def send(self, request: bytes) -> None:
        """Sends it. Requests are small and the socket is idle, so it takes all of it."""
        self.begun = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> str | None:
        """The status, once the whole answer is there."""
        piece = self.socket.recv(RECEIVE)
        if not piece:
            raise ConnectionError("the server closed a connection")
        self._got += piece
        head, between, body = self._got.partition(b"\r\n\r\n")
        if not between:
            return None
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length or 0):
            return None
        self._got = b""
        return head[9:12].decode()


def drive(port: int, requests: Sequence[bytes], *, connections: int, seconds: float, once: bool) -> Run:
    """Keeps every connection busy. Requests go round, or each goes once."""
    took: list[float] = []
    statuses: dict[str, int] = {}
    next_one, count = 0, len(requests)
    with selectors.DefaultSelector() as selector:
        open_ones = [_Connection(port) for _ in range(min(connections, count) if once else connections)]
        begin = time.perf_counter()
        until = begin + seconds
        for connection in open_ones:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(requests[next_one % count])
            next_one += 1
        under_way = len(open_ones)
        while under_way:
            ready = selector.select(STUCK_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer for {STUCK_SECONDS:g} s, {under_way} requests under way")
            for key, _ in ready:
                connection = key.data
                status = connection.receive()
                if status is None:
                    continue
                now = time.perf_counter()
                took.append(now - connection.begun)
                statuses[status] = statuses.get(status, 0) + 1
                if next_one < count if once else now < until:
                    connection.send(requests[next_one % count])
                    next_one += 1
                else:
                    under_way -= 1
        elapsed = time.perf_counter() - begin
        for connection in open_ones:
            connection.socket.close()
    cuts = statistics.quantiles(took, n=100) if len(took) > 1 else took * 99
    return Run(
        requests=len(took),
        seconds=elapsed,
        rate=len(took) / elapsed,
        p50=cuts[49] * 1000,
        p99=cuts[98] * 1000,
        slowest=max(took) * 1000,
        statuses=statuses,
    )


def main() -> None:
    """Does the jobs that arrive on standard input, and answers each with a line."""
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        port, at = job["port"], int(time.time())
        requests = [written(Ask(**ask), port, at) for ask in job["asks"]]
        try:
            told = asdict(
                drive(port, requests, connections=job["connections"], seconds=job["seconds"], once=job["once"])
            )
        except (OSError, ValueError) as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
