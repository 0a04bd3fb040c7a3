"""Desks that die where a test says: every commit and every act beyond the process is a point, before and after it.

The product knows nothing of this. In the desk's process `Dying` wraps the store's `write`, the vendor's HTTP client and
Slack's clients; which points there must be is read from the source, so that none can be added and forgotten.
"""

import ast
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.desk.ports import Transaction
from storage.store import SqlStore

ROOT = Path(__file__).parents[2]
DESK, PROVIDERS, SLACK = ROOT / "bot" / "desk", ROOT / "bot" / "providers", ROOT / "bot" / "slack"
READING = frozenset({"get", "info", "list", "test"})
"""How the names of Slack's methods end that change nothing."""
RESPONSE_URL = "response_url"
LONGEST = 600

Place = tuple[str, int]
"""A file, relative to the project, and a line."""


# ---- what there is, read from the source


@dataclass(frozen=True)
class Site:
    """A call in the source that leads to a point. `code` is the call as it stands there."""

    file: str
    first: int
    last: int
    code: str

    def holds(self, place: Place) -> bool:
        """Whether this is the place."""
        return place[0] == self.file and self.first <= place[1] <= self.last

    def __str__(self) -> str:
        return f"{self.file}:{self.first} {self.code}"


class Source:
    """One file, with the way from each node to the nodes around it."""

    def __init__(self, path: Path) -> None:
        self.file = str(path.relative_to(ROOT))
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self._above = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def all(self, *kinds: type[Any]) -> Iterator[Any]:
        """Every node of these kinds."""
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def calls(self, name: str) -> Iterator[ast.Call]:
        """Every call of an attribute of this name."""
        return (call for call in self.all(ast.Call) if isinstance(call.func, ast.Attribute) and call.func.attr == name)

    def above(self, node: ast.AST) -> ast.AST | None:
        """The node around it."""
        return self._above.get(node)

    def scope(self, node: ast.AST) -> ast.AST | None:
        """The function or class around it."""
        found = self.above(node)
        while found and not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            found = self.above(found)
        return found

    def name(self, function: ast.AST) -> str:
        """Its qualified name, without what says nothing: `act`, and lambdas."""
        names: list[str] = []
        node: ast.AST | None = function
        while node is not None:
            if (name := getattr(node, "name", "act")) != "act":
                names.insert(0, name)
            node = self.scope(node)
        return ".".join(names)

    def site(self, call: ast.Call) -> Site:
        """Where the call stands."""
        return Site(self.file, call.lineno, call.end_lineno or call.lineno, ast.unparse(call))


def _sources(folder: Path) -> list[Source]:
    return [Source(path) for path in sorted(folder.rglob("*.py"))]


def _takes_a_transaction(function: Any) -> bool:
    return any(arg.arg == "tx" for arg in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs))


def _handed_on(source: Source, function: Any) -> bool:
    """Whether the function is handed on to run in a transaction that writes, instead of being called or only read with."""
    scope = source.scope(function)
    if isinstance(function, ast.Lambda):
        uses: list[ast.AST] = [function]
    elif isinstance(scope, ast.ClassDef):
        uses = [use for use in source.all(ast.Attribute) if use.attr == function.name and isinstance(use.ctx, ast.Load)]
    else:
        uses = [use for use in ast.walk(scope or source.tree) if isinstance(use, ast.Name) and use.id == function.name]
    for use in uses:
        around = source.above(use)
        called = isinstance(around, ast.Call) and around.func is use
        read = isinstance(around, ast.Call) and isinstance(around.func, ast.Attribute) and around.func.attr == "read"
        if not called and not read:
            return True
    return False


@cache
def commits() -> dict[Place, str]:
    """Every function that the desk commits: where it begins, and its name. Where names are the same, they are numbered."""
    found: dict[Place, str] = {}
    for source in _sources(DESK):
        functions = [
            function
            for function in source.all(ast.FunctionDef, ast.Lambda)
            if _takes_a_transaction(function) and _handed_on(source, function)
        ]
        names = [source.name(function) for function in functions]
        for name in dict.fromkeys(names):
            same = sorted(f.lineno for f, its in zip(functions, names, strict=True) if its == name)
            for number, line in enumerate(same, 1):
                found[source.file, line] = name if len(same) == 1 else f"{name} {number}"
    return found


@cache
def writes() -> frozenset[Site]:
    """Every call of the store's `write` in the desk."""
    return frozenset(source.site(call) for source in _sources(DESK) for call in source.calls("write"))


@cache
def vendor_calls() -> frozenset[Site]:
    """Every call in the adapters that changes something at the vendor; a function that is one such call stands for it."""
    found: set[Site] = set()
    for source in _sources(PROVIDERS):
        direct = {
            call
            for call in source.all(ast.Call)
            if call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value in _CHANGING
        }
        for function in source.all(ast.AsyncFunctionDef):
            last = function.body[-1]
            told = last.value.value if isinstance(last, ast.Return) and isinstance(last.value, ast.Await) else None
            if told in direct and all(isinstance(line, ast.Expr) for line in function.body[:-1]):
                direct = (direct - {told}) | set(source.calls(function.name))
        found |= {source.site(call) for call in direct}
    return frozenset(found)


_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@cache
def ways_out() -> frozenset[str]:
    """What the adapters call on their HTTP clients: there must be one way, or `vendor_calls` could miss another."""
    return frozenset(
        f"{source.file}: {node.attr}"
        for source in _sources(PROVIDERS)
        for node in source.all(ast.Attribute)
        if isinstance(node.value, ast.Attribute) and node.value.attr == "_client"
    )


@cache
def slack_calls() -> frozenset[str]:
    """Every call of Slack's that changes something, as Slack names it, and the URLs that answer a press."""
    found: set[str] = set()
    for source in _sources(SLACK):
        for call in source.all(ast.Call):
            if not isinstance(call.func, ast.Attribute):
                if isinstance(call.func, ast.Name) and call.func.id == AsyncWebhookClient.__name__:
                    found.add(RESPONSE_URL)
                continue
            owner = call.func.value
            client = getattr(owner, "attr", getattr(owner, "id", ""))
            method = call.func.attr.replace("_", ".")
            if client in ("_client", "client") and not _reads(method):
                found.add(method)
    return frozenset(found)


# ---- what a running desk meets


@dataclass(frozen=True)
class Met:
    """A point that a desk came to, and the places in the source that led there."""

    point: str
    places: tuple[Place, ...]


@dataclass
class Dying:
    """Makes a desk die at a point; to be its `prepare`. It records every point that it comes to."""

    record: Path
    _fate: Any = field(default_factory=lambda: get_context("forkserver").Array("c", LONGEST))
    _fate_known: str = ""
    _passed: bool = False

    def at(self, point: str, when: str, *, since: str = "") -> None:
        """From now on: "before" or "after" this point, the first time that it is met after `since` was."""
        self._fate.value = "\n".join((point, when, since)).encode()

    def nowhere(self) -> None:
        """From now on it lives."""
        self._fate.value = b""

    def met(self) -> list[Met]:
        """All points so far, in the order in which they were met."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        parts = [line.split("\t") for line in lines]
        return [Met(point, tuple(_place(place) for place in places)) for point, *places in parts]

    def __call__(self) -> None:
        """Wraps, in the desk's own process, what leads out of it."""
        write, request = SqlStore.write, httpx.AsyncClient.request
        api_call, send_dict = AsyncWebClient.api_call, AsyncWebhookClient.send_dict

        async def dying_write(store: SqlStore, act: Callable[[Transaction], Any]) -> Any:
            return await self._around(_commit(act), write(store, act))

        async def dying_request(client: httpx.AsyncClient, method: str, url: Any, **more: Any) -> Any:
            going = request(client, method, url, **more)
            act = _outermost(PROVIDERS)
            if act is None or method not in _CHANGING:
                return await going
            return await self._around(f"{act}: {method} {_shortened(str(url))}", going)

        async def dying_api_call(client: AsyncWebClient, api_method: str, **more: Any) -> Any:
            going = api_call(client, api_method, **more)
            return await (going if _reads(api_method) else self._around(api_method, going))

        async def dying_send(client: AsyncWebhookClient, *body: Any, **more: Any) -> Any:
            return await self._around(RESPONSE_URL, send_dict(client, *body, **more))

        SqlStore.write = dying_write  # type: ignore[method-assign,assignment]  # in the desk's process alone
        httpx.AsyncClient.request = dying_request  # type: ignore[method-assign,assignment]  # as above
        AsyncWebClient.api_call = dying_api_call  # type: ignore[method-assign,assignment]  # as above
        AsyncWebhookClient.send_dict = dying_send  # type: ignore[method-assign,assignment]  # as above

    async def _around(self, point: str, going: Awaitable[Any]) -> Any:
        self._come(point, "before")
        answer = await going
        self._come(point, "after")
        return answer

    def _come(self, point: str, when: str) -> None:
        if when == "before":
            line = "\t".join((point, *(f"{file}:{number}" for file, number in _places())))
            with self.record.open("a", encoding="utf-8") as record:
                record.write(line + "\n")
        fate = self._fate.value.decode()
        if fate != self._fate_known:
            self._fate_known, self._passed = fate, fate.endswith("\n")
        if self._passed and fate.startswith(f"{point}\n{when}\n"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.endswith(f"\n{point}"):
            self._passed = True


def _frames() -> Iterator[FrameType]:
    """The frames that led here, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        yield frame
        frame = frame.f_back


def _file(code: CodeType) -> Path:
    return Path(os.path.abspath(code.co_filename))


def _places() -> list[Place]:
    """Where in the product this was called from."""
    found = [(_file(frame.f_code), frame.f_lineno) for frame in _frames()]
    return [(str(file.relative_to(ROOT)), line) for file, line in found if file.is_relative_to(ROOT / "bot")]


def _place(text: str) -> Place:
    file, _, line = text.rpartition(":")
    return file, int(line)


def _outermost(folder: Path) -> str | None:
    """The function of this folder's that was called first on the way here."""
    names = [frame.f_code.co_name for frame in _frames() if _file(frame.f_code).is_relative_to(folder)]
    return names[-1] if names else None


def _commit(act: Any) -> str:
    """The name of what is committed."""
    while isinstance(act, partial):
        act = act.func
    code: CodeType = getattr(act, "__func__", act).__code__
    place = str(_file(code).relative_to(ROOT)), code.co_firstlineno
    return commits().get(place) or f"unknown commit {place[0]}:{place[1]}"


def _shortened(path: str) -> str:
    """The path with its ids left out."""
    below = re.sub(r"^.*/projects/[^/]+", "…", path)
    return re.sub(r"/(service_accounts|api_keys)/[^/]+", r"/\1/{id}", below)


def _reads(method: str) -> bool:
    return method.rpartition(".")[2] in READING
