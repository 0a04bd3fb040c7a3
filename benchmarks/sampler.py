"""Where the time goes: a timer's signal that looks at the threads every two milliseconds, while a benchmark drives.

`python -m benchmarks.sampler run` is `app.py run`, looked at from SIGUSR1 on; when it ends, `samples.json` in its working
folder holds what was seen. The looking costs some 5 %, so no figure is measured with it.
"""

import json
import re
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

import app

SECONDS = 0.002
TURN_SECONDS = 0.00001  # how long a thread may keep the interpreter while another waits for it
FILE = "samples.json"
LOOP, WRITER = "MainThread", "store-write"
THREADS = {LOOP: "the event loop", WRITER: "the writer's thread"}
LEAST = 0.03  # of a thread's time; what is less goes unsaid
FUNCTIONS = 4

Shares = dict[str, dict[str, float]]
"""For each thread, the share of each kind of work in its time; and under `busiest`, of the functions that take most."""


class Sampler:
    """Looks from its making until `stop`; both in the main thread, as signals are handled there.

    A thread that looks would get its turn only where the others wait, and would see nothing but their waiting.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, Counter[str]] = {}
        self._functions: Counter[str] = Counter()
        self._names = {thread.ident: thread.name for thread in threading.enumerate()}
        self._turns = sys.getswitchinterval()
        sys.setswitchinterval(TURN_SECONDS)
        signal.signal(signal.SIGALRM, self._look)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)

    def stop(self) -> Shares:
        """What was seen."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.setswitchinterval(self._turns)
        shares = {
            thread: {kind: count / counts.total() for kind, count in counts.most_common()}
            for thread, counts in self._kinds.items()
        }
        total = max(self._functions.total(), 1)
        shares["busiest"] = {name: count / total for name, count in self._functions.most_common(FUNCTIONS)}
        return shares

    def _look(self, _: int, interrupted: FrameType | None) -> None:
        main = threading.get_ident()
        for ident, current in sys._current_frames().items():
            frame = interrupted if ident == main else current
            name = self._name(ident)
            if frame is None or name not in THREADS:
                continue
            kind = _kind(frame)
            self._kinds.setdefault(name, Counter())[kind] += 1
            if kind != "idle":
                self._functions[_function(frame)] += 1

    def _name(self, ident: int) -> str:
        """Of a thread; without the number that an executor gives it."""
        if ident not in self._names:
            self._names |= {thread.ident: thread.name for thread in threading.enumerate()}
        return re.sub(r"_\d+$", "", self._names.get(ident, ""))


def _kind(frame: FrameType) -> str:
    """The work that is going on: the innermost package of those that matter here."""
    where, function = frame.f_code.co_filename, frame.f_code.co_name
    if (
        function in ("_worker", "select")
        or (function == "run" and where.endswith("runners.py"))
        or where.endswith(("selectors.py", "thread.py"))
    ):
        return "idle"
    if function == "do_commit" or (function == "commit" and "psycopg" in where):
        return "COMMIT"
    if function in ("do_execute", "do_executemany") or "psycopg" in where:
        return "the database's statements"
    inner: FrameType | None = frame
    while inner is not None:
        where = inner.f_code.co_filename
        for package in ("sqlalchemy", "slack_bolt", "slack_sdk", "starlette", "uvicorn", "h11", "aiohttp"):
            if f"/{package}/" in where:
                return package
        if "/bot/" in where or "/storage/" in where:
            return "the desk's own"
        inner = inner.f_back
    return "other"


def _function(frame: FrameType) -> str:
    """Its name, after its module's last part."""
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}"


def told(shares: Shares) -> str:
    """The shares in a sentence."""
    parts = []
    for thread, label in THREADS.items():
        kinds = [f"{kind} {share:.0%}" for kind, share in shares.get(thread, {}).items() if share >= LEAST]
        if kinds:
            parts.append(f"{label}: {', '.join(kinds)}")
    busiest = ", ".join(f"{name} {share:.0%}" for name, share in shares.get("busiest", {}).items())
    return f"{'; '.join(parts)}. Of what is busy most in {busiest}."


def main() -> int:
    """The command line of `app.py`, looked at."""
    samplers: list[Sampler] = []
    signal.signal(signal.SIGUSR1, lambda *_: samplers.append(Sampler()))
    status = app.main(sys.argv[1:])
    if samplers:
        Path(FILE).write_text(json.dumps(samplers[0].stop()), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
