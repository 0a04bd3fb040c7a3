"""Desks that die where a test says: every commit and every act beyond the process is a point, before and after it.

The product knows nothing of this. In the desk's process `Dying` wraps the store's `write`, the vendors' HTTP client and
Slack's clients. Which points there are, and what they are called, is read from the source (`points`), so that none can
be added and forgotten:

- a commit is called as the function that runs in the transaction: `Grants.pick_up`;
- an act at a vendor as the function of the adapter that calls it, and its method: `OpenAI.revoke: DELETE`;
- an act at Slack as Slack calls it: `chat.postMessage`, or `response_url`.

Where two would have the same name they are numbered, in the order of the source.
"""

import ast
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
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
BOT, PROVIDERS, SLACK = ROOT / "bot", ROOT / "bot" / "providers", ROOT / "bot" / "slack"
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""The methods of HTTP that change something."""
READING = frozenset({"get", "history", "info", "list", "test"})
"""How the names of Slack's methods end that change nothing."""
RESPONSE_URL = "response_url"
ADAPTERS = str(PROVIDERS.relative_to(ROOT))
LONGEST = 600

Place = tuple[str, int]
"""A file, relative to the project, and a line."""


# ---- what there is, read from the source


@dataclass(frozen=True)
class Site:
    """A call in the source that leads to a point, from its first line to its last."""

    file: str
    first: int
    last: int
    point: str

    def holds(self, place: Place) -> bool:
        """Whether this is the place."""
        return place[0] == self.file and self.first <= place[1] <= self.last


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

    def is_given_to(self, node: ast.AST, method: str) -> bool:
        """Whether it stands among the arguments of a call of this method, itself or with some arguments bound."""
        around = self.above(node)
        if isinstance(around, ast.Call) and isinstance(around.func, ast.Name) and around.func.id == partial.__name__:
            around = self.above(around)
        return isinstance(around, ast.Call) and isinstance(around.func, ast.Attribute) and around.func.attr == method

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


@cache
def _sources(folder: Path) -> Sequence[Source]:
    return [Source(path) for path in sorted(folder.rglob("*.py"))]


def _numbered(names: Sequence[str]) -> list[str]:
    """Each name once: those that are the same get numbers, in their order."""
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _takes_a_transaction(source: Source, function: Any) -> bool:
    """By its annotation, which mypy asks of every function but a lambda, or by the name that the desk gives to it."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return any(
        arg.arg == "tx" or (arg.annotation is not None and ast.unparse(arg.annotation) == Transaction.__name__)
        for arg in arguments
    ) or (isinstance(function, ast.Lambda) and source.is_given_to(function, "write"))


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
        if not called and not source.is_given_to(use, "read"):
            return True
    return False


@cache
def commits() -> Mapping[Place, str]:
    """Every function that the product commits: where it begins, and the point that it is."""
    found: dict[Place, str] = {}
    for source in _sources(BOT):
        functions = [
            function
            for function in source.all(ast.FunctionDef, ast.Lambda)
            if _takes_a_transaction(source, function) and _handed_on(source, function)
        ]
        functions.sort(key=lambda function: function.lineno)
        names = _numbered([source.name(function) for function in functions])
        found |= {(source.file, function.lineno): name for function, name in zip(functions, names, strict=True)}
    return found


@cache
def vendor_calls() -> frozenset[Site]:
    """Every call in the adapters that changes something at the vendor; a function that is one such call stands for it."""
    found: set[Site] = set()
    for source in _sources(PROVIDERS):
        changing = {
            call: call.args[0].value
            for call in source.all(ast.Call)
            if call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value in CHANGING
        }
        for function in source.all(ast.AsyncFunctionDef):
            last = function.body[-1]
            told = last.value.value if isinstance(last, ast.Return) and isinstance(last.value, ast.Await) else None
            if (
                told in changing
                and function.name.startswith("_")
                and all(isinstance(line, ast.Expr) for line in function.body[:-1])
            ):
                method = changing.pop(told)
                changing |= dict.fromkeys(source.calls(function.name), method)
        calls = sorted(changing, key=lambda call: (call.lineno, call.col_offset))
        names = _numbered([f"{source.name(source.scope(call) or call)}: {changing[call]}" for call in calls])
        found |= {
            Site(source.file, call.lineno, call.end_lineno or call.lineno, name)
            for call, name in zip(calls, names, strict=True)
        }
    return frozenset(found)


@cache
def ways_out() -> frozenset[str]:
    """What the adapters call on their HTTP clients: `vendor_calls` knows `request` alone, and would miss another way."""
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


def points() -> frozenset[str]:
    """Every commit and every act beyond the process, by its name."""
    return frozenset({*commits().values(), *(site.point for site in vendor_calls()), *slack_calls()})


# ---- what a running desk meets


@dataclass
class Dying:
    """Makes a desk die at a point; to be its `prepare`. It records every point that it comes to."""

    record: Path
    _commits: Mapping[Place, str] = field(default_factory=commits)  # read here once, and not in each process
    _vendor_calls: frozenset[Site] = field(default_factory=vendor_calls)
    _fate: Any = field(default_factory=lambda: get_context("forkserver").Array("c", LONGEST))
    _fate_known: str = ""
    _passed: bool = False

    def at(self, point: str, when: str, *, since: str = "") -> None:
        """From now on: "before" or "after" this point, the first time that it is met after `since` was."""
        self._fate.value = "\n".join((point, when, since)).encode()

    def nowhere(self) -> None:
        """From now on it lives."""
        self._fate.value = b""

    def met(self) -> list[str]:
        """All points so far, in the order in which they were met."""
        return self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else []

    def __call__(self) -> None:
        """Wraps, in the desk's own process, what leads out of it."""
        write, request = SqlStore.write, httpx.AsyncClient.request
        api_call, send_dict = AsyncWebClient.api_call, AsyncWebhookClient.send_dict

        async def dying_write(store: SqlStore, act: Callable[[Transaction], Any]) -> Any:
            return await self._around(self._commit(act), write(store, act))

        async def dying_request(client: httpx.AsyncClient, method: str, url: Any, **more: Any) -> Any:
            going = request(client, method, url, **more)
            places = _places()
            if method not in CHANGING or not any(place[0].startswith(ADAPTERS) for place in places):
                return await going
            return await self._around(self._vendor_call(method, places), going)

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

    def _commit(self, act: Any) -> str:
        while isinstance(act, partial):
            act = act.func
        code: CodeType = getattr(act, "__func__", act).__code__
        place = _file(code), code.co_firstlineno
        return self._commits.get(place) or f"a commit that was not found in the source: {place}"

    def _vendor_call(self, method: str, places: Sequence[Place]) -> str:
        for place in places:
            for site in self._vendor_calls:
                if site.holds(place):
                    return site.point
        return f"a call that was not found in the source: {method}, {places}"

    def _come(self, point: str, when: str) -> None:
        if when == "before":
            with self.record.open("a", encoding="utf-8") as record:
                record.write(f"{point}\n")
        fate = self._fate.value.decode()
        if fate != self._fate_known:
            self._fate_known, self._passed = fate, fate.endswith("\n")
        if self._passed and fate.startswith(f"{point}\n{when}\n"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.endswith(f"\n{point}"):
            self._passed = True


def _file(code: CodeType) -> str:
    path = Path(os.path.abspath(code.co_filename))
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _places() -> list[Place]:
    """Where in the product this was called from, the innermost first."""
    found: list[Place] = []
    frame: FrameType | None = sys._getframe(1)
    while frame:
        found.append((_file(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return [place for place in found if place[0].startswith("bot/")]


def _reads(method: str) -> bool:
    return method.rpartition(".")[2] in READING
