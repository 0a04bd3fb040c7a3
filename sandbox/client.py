"""A typed client of the control API: what members do and see, for tests and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx

from sandbox.blocks import elements
from sandbox.inputs import MANY, STATE
from sandbox.workspace import Json

Snapshot = Json
T = TypeVar("T")

PATIENCE = 5.0


@dataclass(frozen=True)
class Ack:
    """What became of an interaction, as the member's client hears it."""

    acknowledged: bool
    status: int | None = None
    ms: int = 0
    body: Any = None
    error: str | None = None
    response_action: str | None = None
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shown:
    """Blocks on a member's screen."""

    blocks: list[Json]

    @property
    def plain(self) -> str:
        """All that can be read, a line each."""
        return "\n".join(_texts(self.blocks))

    @property
    def buttons(self) -> list[str]:
        """The action ids of all buttons."""
        return [element["action_id"] for _, element in elements(self.blocks) if element["type"] == "button"]

    @property
    def urls(self) -> list[str]:
        """Where the buttons with a URL lead."""
        return [element["url"] for _, element in elements(self.blocks) if element.get("url")]

    @property
    def inputs(self) -> list[str]:
        """The block ids of all inputs."""
        return [block["block_id"] for block in self.blocks if block["type"] == "input"]


@dataclass(frozen=True)
class Message(_Shown):
    """A message as a member sees it."""

    ts: str
    channel: str
    user: str
    text: str
    ephemeral: bool
    edited: bool

    @property
    def plain(self) -> str:
        """All that can be read: the blocks' texts, or the text where there are none."""
        return super().plain if self.blocks else self.text

    @property
    def container(self) -> Json:
        """How the control API calls it."""
        return {"channel": self.channel, "ts": self.ts}


@dataclass(frozen=True)
class View(_Shown):
    """A modal or a Home as its member sees it."""

    id: str
    type: str
    title: str
    callback_id: str
    private_metadata: str
    hash: str

    @property
    def container(self) -> Json:
        """How the control API calls it."""
        return {"view_id": self.id}


class Sandbox:
    """A running sandbox. Raises `AssertionError` where it is asked for something that no member could do."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def member(self, user_id: str) -> Member:
        """The member with this id."""
        return Member(self, user_id)

    async def get(self, path: str, **query: Any) -> Json:
        """Asks the control API."""
        return _told(await self._http.get(f"/control/{path}", params=query))

    async def post(self, path: str, **body: Any) -> Json:
        """Tells the control API."""
        return _told(await self._http.post(f"/control/{path}", json=body))

    async def state(self, as_: str) -> Snapshot:
        """What this member sees."""
        return await self.get("state", **{"as": as_})

    async def record(self) -> Json:
        """All calls and deliveries so far."""
        return await self.get("record")

    async def advance(self, seconds: float) -> None:
        """Moves the sandbox's clock."""
        await self.post("clock", advance=seconds)

    async def redeliver(self, delivery_id: str, *, retry_num: int = 1, reason: str = "http_timeout") -> Ack:
        """Sends a delivery once more, marked as a retry."""
        return _ack(await self.post("redeliver", delivery=delivery_id, retry_num=retry_num, reason=reason))

    async def reconnect(self) -> None:
        """Asks every Socket Mode connection to reconnect."""
        await self.post("reconnect")

    async def drop(self) -> None:
        """Breaks every Socket Mode connection."""
        await self.post("drop")

    async def disturb(self, kind: str = "*", *, times: int = 1, copies: int = 1, held: bool = False) -> None:
        """The next `times` deliveries of the kind are sent in copies at once, or held back until `release`."""
        await self.post("disturb", kind=kind, times=times, copies=copies, held=held)

    async def fault(self, target: str, call: str = "*", *, times: int | None = 1, **what: Any) -> None:
        """What goes wrong with the next calls of "slack" or of a vendor, such as "openai"; see `sandbox.faults.Fault`."""
        await self.post("fault", target=target, call=call, times=times, **what)

    async def down(self, target: str) -> None:
        """Nobody hears anything of "slack" or of a vendor until `mend`."""
        await self.fault(target, times=None, cut=True)

    async def mend(self, target: str | None = None) -> None:
        """Takes the faults of a target away, or all."""
        await self.post("mend", target=target)

    async def release(self) -> list[Ack]:
        """Lets held calls go on, and delivers what was held back, the last first."""
        return [_ack(told) for told in (await self.post("release"))["acks"]]

    async def ratelimit(self, method: str, *, times: int = 1, retry_after: float = 1) -> None:
        """The next `times` calls of Slack's method are answered 429."""
        await self.fault("slack", method, times=times, status=429, retry_after=retry_after)

    async def features(self, **has: Any) -> None:
        """What the workspace has: `charts=False`, `files=False`; `looks`: how often a fresh file is not there yet."""
        await self.post("features", **has)

    async def limits(self, **methods: Any) -> None:
        """Slack's rate limits from now on, by method; none, where none are named."""
        await self.post("limits", **methods)

    async def patch_member(self, user_id: str, **fields: Any) -> None:
        """Changes fields of a member, of the profile, or custom profile fields (`Xf…`)."""
        await self.post(f"members/{user_id}", **fields)

    async def set_group(self, group_id: str, users: Sequence[str]) -> None:
        """Says who is in a user group."""
        await self.post(f"groups/{group_id}", users=list(users))

    async def set_channel(self, channel_id: str, members: Sequence[str]) -> None:
        """Says who is in a channel."""
        await self.post(f"channels/{channel_id}", members=list(members))

    async def set_app(self, *, request_urls: Sequence[str] = (), redirect_urls: Sequence[str] | None = None) -> None:
        """Where deliveries go by turns (nowhere: Socket Mode), and where a sign-in may lead back to."""
        redirects = {} if redirect_urls is None else {"redirect_urls": list(redirect_urls)}
        await self.post("app", request_urls=list(request_urls), **redirects)

    async def uninstall(self, refusal: str = "account_inactive", *, told: bool = True) -> None:
        """The workspace takes the app away; `told`: the app gets its last events."""
        await self.post("uninstall", refusal=refusal, told=told)

    async def install(self) -> None:
        """The workspace has the app again, with the token that it had."""
        await self.post("install")

    async def set_project(self, project_id: str, status: str) -> None:
        """Makes a project of the pretend OpenAI "archived" or "active"."""
        await self.post(f"openai/projects/{project_id}", status=status)

    async def event(self, event: Json) -> Ack:
        """Sends an event to the app."""
        return _ack(await self.post("event", event=event))

    async def openai_keys(self) -> list[Json]:
        """The keys that the pretend OpenAI would accept now."""
        keys = (await self.state("U0ANA"))["openai"]["keys"]
        return [key for key in keys if key["status"] == "active"]

    async def submit_raw(self, member: Member, view: View, **values: Any) -> Ack:
        """Submits a form past the checks of Slack's client, as a forged request would."""
        return await member.submit(view, _forged=True, **values)

    async def click_as(self, member: Member, where: Message | View, action_id: str, value: str | None = None) -> Ack:
        """Clicks on what this member's client does not show, as a forged request would."""
        return await member.click(where, action_id, value, _forged=True)


class Member:
    """Somebody in front of their Slack."""

    def __init__(self, sandbox: Sandbox, id: str) -> None:
        self.id = id
        self._sandbox = sandbox

    @property
    def direct(self) -> str:
        """The id of the direct message with the app."""
        return "D" + self.id[1:]

    async def state(self) -> Snapshot:
        """All that this member sees."""
        return await self._sandbox.state(self.id)

    async def command(self, text: str, channel: str | None = None) -> Ack:
        """Types a slash command: in #general by default, or where the member may be instead."""
        if channel is None:
            channels = [one["id"] for one in (await self.state())["channels"] if one["kind"] == "channel"]
            channel = "C0GENERAL" if "C0GENERAL" in channels else channels[0]
        return await self._do("command", channel=channel, text=text)

    async def say(self, text: str, channel: str | None = None) -> None:
        """Posts a message."""
        await self._sandbox.post("message", **{"as": self.id}, channel=channel or self.direct, text=text)

    def visible(self, snapshot: Snapshot, channel: str | None = None) -> list[Message]:
        """The messages of a channel, None being the direct message with the app, oldest first."""
        id = channel or self.direct
        said: list[Json] = next((one["messages"] for one in snapshot["channels"] if one["id"] == id), [])
        return [
            Message(
                blocks=it["blocks"],
                ts=it["ts"],
                channel=id,
                user=it["user"],
                text=it["text"],
                ephemeral=it["ephemeral"],
                edited=it["edited"],
            )
            for it in said
        ]

    async def messages(self, channel: str | None = None) -> list[Message]:
        """The messages of a channel, None being the direct message with the app, oldest first."""
        return self.visible(await self.state(), channel)

    def top(self, snapshot: Snapshot) -> View | None:
        """The modal in front."""
        return _view(snapshot["views"][-1]) if snapshot["views"] else None

    async def modal(self) -> View | None:
        """The modal in front."""
        return self.top(await self.state())

    async def home(self, button: str = "", *, open: bool = True) -> View:
        """The app's Home: opened, once the app has drawn it for that; or as it stands.

        Once it has this `button`, too, where the app may be drawing it for what was done before.
        """
        before = (await self.state())["home"]
        if open:
            await self._do("home")
        known = before["hash"] if before and open else None

        def find(seen: Snapshot) -> View | None:
            if not seen["home"] or seen["home"]["hash"] == known:
                return None
            view = _view(seen["home"])
            return view if not button or button in view.buttons else None

        return await self.expect(find)

    async def click(
        self, where: Message | View, action_id: str, value: str | None = None, *, _forged: bool = False
    ) -> Ack:
        """Presses a button, or picks the option of this value in a select or an overflow menu."""
        block, element = _pick(where, action_id, value)
        return await self._do(
            "action",
            container=where.container,
            block_id=block["block_id"],
            action_id=element["action_id"],
            action={} if element["type"] == "button" else await self._state_of(where, element, value),
            **({"forged": True} if _forged else {}),
        )

    async def suggest(self, view: Message | View, action_id: str, query: str = "") -> list[Json]:
        """Types into an external select: the options that it offers."""
        block, element = _pick(view, action_id, None)
        told = await self._sandbox.post(
            "suggest",
            **{"as": self.id},
            container=view.container,
            block_id=block["block_id"],
            action_id=element["action_id"],
            query=query,
        )
        groups = told.get("option_groups") or [told]
        return [option for group in groups for option in group["options"]]

    async def submit(self, view: View, *, _forged: bool = False, **values: Any) -> Ack:
        """Fills in a form, by block id or action id, and submits it; the rest is as the form begins with it.

        Selects take an option's value, or an option as a dict; elements that hold several take a list.
        """
        state: Json = {}
        for name, value in values.items():
            block, element = _input(view, name)
            held = state.setdefault(block["block_id"], {})
            held[element["action_id"]] = await self._state_of(view, element, value)
        forged = {"forged": True} if _forged else {}
        return await self._do("submit", view_id=view.id, values=state, **forged)

    async def close(self, view: View, *, all: bool = False) -> Ack:
        """Closes a modal, or the whole stack with it."""
        return await self._do("close", view_id=view.id, all=all)

    async def reload(self) -> None:
        """Reloads the client: ephemeral messages are gone."""
        await self._sandbox.post("reload", **{"as": self.id})

    async def expect(self, what: Callable[[Snapshot], T | bool | None], timeout: float = PATIENCE) -> T:
        """What `what` finds, as soon as it finds something. Raises `AssertionError` with all that is visible."""
        until = time.monotonic() + timeout
        while True:
            seen = await self.state()
            if found := what(seen):
                return found  # type: ignore[return-value]  # a predicate's True is a find as well
            rest = until - time.monotonic()
            if rest <= 0:
                raise AssertionError(f"not seen within {timeout} s. {self.id} sees:\n{self._told(seen)}")
            await self._sandbox.get("wait", rev=seen["rev"], timeout=rest)

    async def expect_message(self, containing: str, channel: str | None = None, timeout: float = PATIENCE) -> Message:
        """The newest message with these words, in its blocks or in its text."""

        def find(seen: Snapshot) -> Message | None:
            messages = reversed(self.visible(seen, channel))
            return next((one for one in messages if containing in one.plain or containing in one.text), None)

        return await self.expect(find, timeout)

    async def expect_modal(self, containing: str = "", timeout: float = PATIENCE) -> View:
        """The modal in front, once it has these words in its title or its blocks."""

        def find(seen: Snapshot) -> View | None:
            view = self.top(seen)
            return view if view and containing in f"{view.title}\n{view.plain}" else None

        return await self.expect(find, timeout)

    async def _do(self, what: str, **how: Any) -> Ack:
        return _ack(await self._sandbox.post(what, **{"as": self.id}, **how))

    async def _state_of(self, where: Message | View, element: Json, value: Any) -> Json:
        """An element's state once the member has chosen `value`."""
        kind = element["type"]
        name = "selected_option" if kind == "overflow" else STATE[kind][0]
        if not name.startswith("selected_option"):
            return {"type": kind, name: value}
        if kind in MANY:
            return {"type": kind, name: [await self._option(where, element, one) for one in value or ()]}
        return {"type": kind, name: None if value is None else await self._option(where, element, value)}

    async def _option(self, where: Message | View, element: Json, value: str | Json) -> Json:
        if not isinstance(value, str):
            return value
        if "external" in element["type"]:
            least = element.get("min_query_length", 3)
            offered = await self.suggest(where, element["action_id"], "" if least == 0 else value)
        else:
            groups = element.get("option_groups") or [element]
            offered = [option for group in groups for option in group["options"]]
        for option in offered:
            if option["value"] == value:
                return option
        raise LookupError(
            f"{element['action_id']} has no option {value!r}, but {[option['value'] for option in offered]}"
        )

    def _told(self, seen: Snapshot) -> str:
        """A snapshot as text, for a failing test's reader."""
        lines = []
        for channel in seen["channels"]:
            lines.append(f"{channel['id']} {channel['name']}")
            for message in self.visible(seen, channel["id"]):
                marks = "".join(f" [{button}]" for button in message.buttons) + " (ephemeral)" * message.ephemeral
                lines.append(f"  {message.ts} {message.user}: {message.plain!r}{marks}")
        views = [_view(view) for view in (*seen["views"], seen["home"]) if view]
        lines += [f"{view.type} {view.title!r}: {view.plain!r} {view.buttons} {view.inputs}" for view in views]
        return "\n".join(lines)


def _told(answer: httpx.Response) -> Json:
    told: Json = answer.json()
    if answer.status_code != 200:
        raise AssertionError(f"the sandbox refused {answer.request.url.path}: {told}")
    return told


def _ack(told: Json) -> Ack:
    return Ack(**{name: told[name] for name in Ack.__dataclass_fields__ if name in told})


def _view(told: Json) -> View:
    return View(
        blocks=told["blocks"],
        id=told["id"],
        type=told["type"],
        title=(told["title"] or {}).get("text", ""),
        callback_id=told["callback_id"],
        private_metadata=told["private_metadata"],
        hash=told["hash"],
    )


def _pick(where: Message | View, action_id: str, value: str | None) -> tuple[Json, Json]:
    """The one element that is meant, by its action id; an input by its block id, too."""
    found = list(elements(where.blocks))
    named = [(block, element) for block, element in found if element["action_id"] == action_id] or [
        (block, element) for block, element in found if block["type"] == "input" and block["block_id"] == action_id
    ]
    if len(named) > 1 and value is not None:
        named = [found for found in named if found[1].get("value") == value]
    if len(named) == 1:
        return named[0]
    there = [(element["action_id"], element.get("value")) for _, element in elements(where.blocks)]
    raise LookupError(f"{len(named)} elements are {action_id!r} with value {value!r}; there are {there}")


def _input(view: View, name: str) -> tuple[Json, Json]:
    """The input of this block id or action id."""
    found = list(elements(view.blocks))
    for block, element in found:
        if name in (block["block_id"], element["action_id"]):
            return block, element
    raise LookupError(f"no input {name!r}; there are {[block['block_id'] for block, _ in found]}")


def _texts(value: Any) -> Iterator[str]:
    """Every text within blocks, in order."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for name, item in value.items():
            if name not in ("confirm", "placeholder"):
                yield from _texts(item)
