"""What inputs are made of: what Slack really delivers, in a story or in its samples, and texts and values that hurt.

Ids of a running world stand in it as names like `QQpendingQQ`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.desk.states import GrantState
from sandbox.client import Message
from tests.flows.browsing import Browser
from tests.flows.world import World

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "slack" / "samples"
BUTTONS = ("ask", "approve", "deny", "cancel", "pick_up", "revoke", "open_key")
THINGS = ("QQpendingQQ", "QQreadyQQ", "QQsealedQQ", "QQliveQQ", "QQoverQQ", "QQlinkQQ")
DEEP = "QQQdeepQQQ"  # stands for nesting that json.dumps would not write


@dataclass(frozen=True)
class Template:
    """A delivery in JSON, the way to each of its places, and to those that the desk reads."""

    text: str
    paths: Sequence[tuple[Any, ...]]
    read: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, text: str) -> "Template":
        """Of the JSON."""
        paths = list(_paths(json.loads(text)))
        return cls(text, paths, [path for path in paths if not path or path[-1] in READ])


@dataclass(frozen=True)
class Corpus:
    """What inputs are made of: templates in JSON by kind, hostile texts, and hostile values in JSON."""

    templates: Mapping[str, Sequence[Template]]
    texts: Sequence[str]
    values: Sequence[str]

    @classmethod
    def of(cls, recorded: Sequence[tuple[str, Any]]) -> "Corpus":
        """From a record of deliveries, by kind, and from Slack's samples where they are present."""
        templates: dict[str, list[str]] = {}
        for kind, body in [*recorded, *_samples()]:
            told = json.dumps(body, sort_keys=True)
            # No other host is ever named: the desk answers where a delivery tells it to.
            told = re.sub(r'https?://[^/"\\]+', "QQslackQQ", told)
            if told not in templates.setdefault(kind, []):
                templates[kind].append(told)
        texts, values = _hostile()
        known = {kind: [Template.of(told) for told in these] for kind, these in templates.items()}
        return cls(known, texts, values)


READ = tuple(
    re.findall(
        r"\w+",
        """
        actions value action_id trigger_id response_url container is_ephemeral view state values private_metadata id
        type user team selected_option text command user_id team_id event tab blocks block_id initial_option
        callback_id authorizations message channel response_urls is_enterprise_install enterprise
        app_installed_team_id bot_id function_execution_id function_data bot_access_token inputs item
        assistant_thread previous_message thread_ts action_ts element name enterprise_id channel_id
        is_ext_shared_channel user_team bot_profile bot_user_id app_id subtype challenge ssl_check token api_app_id
        tokens bot team_ids subteam_id subteam
        provider project permission duration budget reason options
        """,
    )
)
"""What Bolt or the desk look for in a delivery."""

_TEXTS = (
    "",
    " ",
    "\x00",
    "U0BEN\x00",
    "\ud800",
    "a\udfffb",
    "\ufeff",
    "\u202eABC",
    "\U0010ffff" * 3,
    "e\u0301" * 50,
    "🔑👩‍👩‍👧‍👦",
    "\u0130\u0131ﬃ",
    "x" * 300,
    "U" * 5000,
    "<!channel>",
    "<@U0BEN>",
    "<QQslackQQ/x|click>",
    "*bold* `code` ~~~ ```",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}{%x%}",
    "%s%n%d{0}",
    "'; DROP TABLE request; --",
    "../../../../etc/passwd",
    "..%2f..%2f",
    "\r\nSet-Cookie: a=b",
    "\n" * 200,
    "NaN",
    "-1",
    "1e400",
    "9" * 5000,
    "٣٤",
    "request",
    "revoke g_aaaaaaaaaaaaaaaa",
    "null",
    "[]",
    "http://",
    "http://127.0.0.1:1/",
    "http://[::1",
    "QQslackQQ/response/nothing",
    "file:///etc/passwd",
    *("U0BEN", "T0ACME", "T0OTHER", "home", "true", "block_actions", "event_callback", "url_verification"),
)
_NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, 0.1, float("nan"), float("inf"), -0.0)
_VALUES: Sequence[Any] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [{}],
    {"": ""},
    [None],
    {"id": None},
    {"id": {}},
    {"value": []},
    DEEP,
    DEEP,
)


@cache
def _hostile() -> tuple[Sequence[str], Sequence[str]]:
    """Texts, and values in JSON: those that are known to hurt, and what hypothesis thinks of."""
    texts = [*_TEXTS, *_drawn(st.text(st.characters(), max_size=30), 80)]
    leaves = st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(texts)),
        *(st.sampled_from(_NUMBERS), st.sampled_from(THINGS), st.sampled_from(BUTTONS)),
    )
    keys = st.sampled_from(READ) | st.sampled_from(texts[:20])
    shapes = st.recursive(leaves, lambda it: st.lists(it, max_size=4) | st.dictionaries(keys, it, max_size=4))
    values = [*_VALUES, *_NUMBERS, *texts, *_drawn(shapes, 150)]
    return texts, [json.dumps(value) for value in values]


def _samples() -> Iterator[tuple[str, Any]]:
    """Slack's own samples, their empty fields filled in so that they reach the listeners."""
    kinds = {"interactive-components": "block_actions", "slash-commands": "command", "views": "view_submission"}
    for file in sorted(SAMPLES.glob("app-backend/*/*.json")):
        yield kinds[file.parent.name], _filled(json.loads(file.read_text()))
    for file in sorted(SAMPLES.glob("events/*.json")):
        yield "event_callback", _filled(json.loads(file.read_text()))


def _filled(sample: Any, key: str = "") -> Any:
    known = {"user_id": "U0BEN", "user": "U0BEN", "team_id": "T0ACME", "api_app_id": "A0KEYDESK", "command": "/apikey"}
    known |= {
        "action_id": "approve",
        "value": "QQpendingQQ",
        "callback_id": "request_form",
        "trigger_id": "QQtriggerQQ",
    }
    if isinstance(sample, dict):
        own = {"user": "U0BEN", "team": "T0ACME"}.get(key, "")
        return {
            name: own if name == "id" and not value else _filled(value, name)
            for name, value in sample.items()
            if name not in ("attachments", "files", "root")  # tens of kilobytes that nobody reads
        }
    if isinstance(sample, list):
        return [_filled(one) for one in sample]
    return known.get(key, "") if sample == "" else sample


def _drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Examples of the strategy, always the same."""
    drawn: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(strategy)
    def draw(value: Any) -> None:
        drawn.append(value)

    draw()
    return drawn


def _paths(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every place in the tree."""
    yield above
    within = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in within:
        yield from _paths(value, (*above, key))


async def lived(flow: World) -> tuple[Corpus, dict[str, str]]:
    """Lives through a story at this desk: what Slack delivered in it, and what its things are called.

    It leaves a pending request, a grant that waits for its pick-up, one with a sealed link, one with a key in use, and
    one that is over.
    """
    ana, ben = flow.ana, flow.ben
    for words in ("", "help", "revoke g_aaaaaaaaaaaaaaaa"):
        await ben.command(f"/apikey {words}")

    await flow.ask()
    await ana.click(await flow.card(ana), "deny")
    await ana.submit(await ana.expect_modal("Deny"), reason="Ask for less")
    await flow.ask()
    home = await ben.home("cancel")
    await ben.click(home, "cancel")
    await ben.click(home, "ask")
    await ben.suggest(await ben.expect_modal("Request"), "project", "sea")

    shown = await _picked_up(flow, 0)
    browser = Browser(flow.settings.public_url)
    async with browser:
        await browser.sign_in(ben.id, f"/k/{_link_id(shown)}")
        await browser.reveal(shown)
        session, csrf = browser.http.cookies["keydesk_session"], browser.csrf
    sealed = await _picked_up(flow, 1)
    await ben.click(await ben.expect_message("Open"), "open_key")
    await _approved(flow)
    await ben.command("/apikey list")
    over = (await flow.store.read(lambda tx: tx.grants_of(flow.team, ben.id, 1)))[0]
    await ben.click((await ben.messages("C0GENERAL"))[-1], "revoke", over.id)
    await _approved(flow)
    await flow.ask()

    requests = await flow.store.read(lambda tx: tx.requests_of(flow.team, ben.id, 9))
    grants = {grant.state: grant.id for grant in await flow.store.read(lambda tx: tx.grants_of(flow.team, ben.id, 9))}
    record = (await flow.sandbox.record())["deliveries"]
    commands = [one["body"] for one in record if one["kind"] == "command"]
    triggers, answer = [one["trigger_id"] for one in commands], commands[-1]["response_url"].rpartition("/")[2]
    async with Browser(flow.settings.public_url) as another:
        state = await _half_signed_in(another, _link_id(sealed))
        login = another.http.cookies["keydesk_session"]
    names = {
        "desk": flow.settings.public_url,
        "slack": flow.servers.base_url,
        "pending": requests[0].id,
        "ready": grants[GrantState.READY],
        "sealed": grants[GrantState.DELIVERING],
        "live": grants[GrantState.ACTIVE],
        "over": over.id,
        "link": _link_id(sealed),
        "shown": _link_id(shown),
        "session": session,
        "csrf": csrf,
        "other": login,
        "logincookie": login,
        "state": state,
        "code": "0.used",
        "trigger": triggers[-1],
        "oldtrigger": triggers[0],
        "answer": answer,
    }
    called = {id: f"QQ{name}QQ" for name, id in names.items()}
    called |= {request.id: "QQpendingQQ" for request in requests}
    called |= dict.fromkeys(triggers, "QQtriggerQQ")
    return Corpus.of([(one["kind"], _renamed(one["body"], called)) for one in record]), names


def _renamed(body: Any, called: Mapping[str, str]) -> Any:
    told = json.dumps(body)
    for id, name in called.items():
        told = told.replace(id, name)
    told = re.sub(r"\d{13}\.\d+\.[0-9a-f]{32}", "QQoldtriggerQQ", told)
    return json.loads(re.sub(r"/response/[\w-]+", "/response/QQanswerQQ", told))


def _link_id(url: str) -> str:
    return url.partition("/k/")[2].partition("#")[0]


async def _approved(flow: World) -> Message:
    before = [one.ts for one in await flow.ben.messages() if "pick_up" in one.buttons]
    await flow.ask()
    [asked] = await flow.store.read(lambda tx: tx.pending(flow.team, 1))

    def card(seen: Any) -> Message | None:
        # The one of an earlier request may still have its buttons.
        return next((one for one in flow.ana.visible(seen) if asked.id in str(one.blocks)), None)

    await flow.ana.click(await flow.ana.expect(card), "approve")
    return await flow.offer(after=max(before, default=""))


async def _picked_up(flow: World, links: int) -> str:
    await flow.ben.click(await _approved(flow), "pick_up")
    return await flow.link(after=links)


async def _half_signed_in(browser: Browser, link_id: str) -> str:
    """On the way to Slack, from where the browser never comes back: the state that it was sent with."""
    away = await browser.http.get("/auth/login", params={"next": f"/k/{link_id}"})
    return str(httpx.URL(away.headers["location"]).params["state"])
