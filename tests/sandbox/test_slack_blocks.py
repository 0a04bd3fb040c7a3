"""Block Kit's limits: what fits is taken, one more is refused, and Slack's published types agree with what is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.blocks import choice_problems, message_problems, view_problems
from tests.sandbox.serving import actions, button, field, modal, option, section, text

Json = dict[str, Any]
SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "slack" / "slack-types.strict.schema.json"


def options(count: int, size: int = 1) -> list[Json]:
    """So many options, of so long a value."""
    return [{"text": text("o"), "value": f"{index:0{size}}"} for index in range(count)]


def confirm(title: int, words: int, choice: int) -> Json:
    """A confirmation with texts of these lengths."""
    return {
        "title": text("t" * title),
        "text": text("t" * words),
        "confirm": text("t" * choice),
        "deny": text("t" * choice),
    }


def select(**more: Any) -> Json:
    """A select in an actions block."""
    return actions({"type": "static_select", "action_id": "s", "placeholder": text("Choose"), **more})


MESSAGE_LIMITS: dict[str, Callable[[int], list[Json]]] = {
    "blocks": lambda size: [{"type": "divider"} for _ in range(size)],
    "section text": lambda size: [section("x" * size)],
    "section fields": lambda size: [{"type": "section", "fields": [text("x")] * size}],
    "field text": lambda size: [{"type": "section", "fields": [text("x" * size)]}],
    "header": lambda size: [{"type": "header", "text": text("x" * size)}],
    "context elements": lambda size: [{"type": "context", "elements": [text("x")] * size}],
    "actions": lambda size: [actions(*(button(f"b{index}") for index in range(size)))],
    "button text": lambda size: [actions({**button("b"), "text": text("x" * size)})],
    "button value": lambda size: [actions(button("b", "x" * size))],
    "button url": lambda size: [actions(button("b", url="h" * size))],
    "action id": lambda size: [actions({**button("b"), "action_id": "x" * size})],
    "block id": lambda size: [section("x", block_id="x" * size)],
    "options": lambda size: [select(options=options(size))],
    "option text": lambda size: [select(options=[{"text": text("x" * size), "value": "v"}])],
    "option value": lambda size: [select(options=options(1, size))],
    "option description": lambda size: [select(options=[{**option("v"), "description": text("x" * size)}])],
    "placeholder": lambda size: [select(options=options(1), placeholder=text("x" * size))],
    "overflow": lambda size: [actions({"type": "overflow", "action_id": "o", "options": options(size)})],
    "confirm title": lambda size: [actions(button("b", confirm=confirm(size, 1, 1)))],
    "confirm text": lambda size: [actions(button("b", confirm=confirm(1, size, 1)))],
    "confirm buttons": lambda size: [actions(button("b", confirm=confirm(1, 1, size)))],
    "label": lambda size: [{**field("f"), "label": text("x" * size)}],
    "hint": lambda size: [{**field("f"), "hint": text("x" * size)}],
    "max_length": lambda size: [field("f", max_length=size)],
    "image alt": lambda size: [{"type": "image", "image_url": "https://a.example/b.png", "alt_text": "x" * size}],
}
MOST = {
    "blocks": 50,
    "section text": 3000,
    "section fields": 10,
    "field text": 2000,
    "header": 150,
    "context elements": 10,
    "actions": 25,
    "button text": 75,
    "button value": 2000,
    "button url": 3000,
    "action id": 255,
    "block id": 255,
    "options": 100,
    "option text": 75,
    "option value": 150,
    "option description": 75,
    "placeholder": 150,
    "overflow": 5,
    "confirm title": 100,
    "confirm text": 300,
    "confirm buttons": 30,
    "label": 2000,
    "hint": 2000,
    "max_length": 3000,
    "image alt": 2000,
}
VIEW_LIMITS: dict[str, tuple[int, Callable[[int], Json]]] = {
    "blocks": (100, lambda size: modal("m", *({"type": "divider"} for _ in range(size)))),
    "title": (24, lambda size: modal("m", section("x"), title=text("x" * size))),
    "submit": (24, lambda size: modal("m", section("x"), submit=text("x" * size))),
    "close": (24, lambda size: modal("m", section("x"), close=text("x" * size))),
    "private_metadata": (3000, lambda size: modal("m", section("x"), private_metadata="x" * size)),
    "callback_id": (255, lambda size: modal("m", section("x"), callback_id="x" * size)),
    "external_id": (255, lambda size: modal("m", section("x"), external_id="x" * size)),
    "home blocks": (100, lambda size: {"type": "home", "blocks": [{"type": "divider"} for _ in range(size)]}),
}


@pytest.mark.parametrize("limit", MESSAGE_LIMITS)
def test_limits_of_messages(limit: str) -> None:
    """As much as the limit is fine, one more is not."""
    blocks, most = MESSAGE_LIMITS[limit], MOST[limit]
    assert message_problems(blocks(most)) == []
    problem = message_problems(blocks(most + 1))[0]
    assert problem.startswith("[ERROR] ")
    assert "[json-pointer:/blocks" in problem


@pytest.mark.parametrize("limit", VIEW_LIMITS)
def test_limits_of_views(limit: str) -> None:
    """As much as the limit is fine, one more is not."""
    most, view = VIEW_LIMITS[limit]
    assert view_problems(view(most)) == []
    assert view_problems(view(most + 1)) != []


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"type": "hologram"}, "unsupported type of block: hologram"),
        ({}, "unsupported type of block"),
        ("divider", "must be of type: object"),
        ({"type": "section"}, "must define either `text` or `fields`"),
        ({"type": "header"}, "missing required field: text"),
        ({"type": "header", "text": text("x", "mrkdwn")}, "unsupported type of text: mrkdwn"),
        ({"type": "header", "text": text("")}, "must be more than 0 characters"),
        ({"type": "header", "text": "x"}, "must be of type: object"),
        ({"type": "divider", "color": "red"}, "invalid additional property: color"),
        ({"type": "actions", "elements": []}, "must have at least 1 item"),
        (actions({"type": "slider"}), "unsupported type of element: slider"),
        (actions({"type": "plain_text_input"}), "unsupported type of element: plain_text_input"),
        (actions(button("b", style="loud")), "unexpected value"),
        (actions(button("b"), button("b")), "`action_id` must be unique"),
        (actions({"type": "button", "action_id": "b"}), "missing required field: text"),
        (select(), "must define either `options` or `option_groups`"),
        (select(options=[]), "must have at least 1 item"),
        ({"type": "input", "label": text("x")}, "missing required field: element"),
        ({"type": "input", "element": {"type": "plain_text_input"}}, "missing required field: label"),
        ({"type": "input", "label": text("x"), "element": button("b")}, "unsupported type of element: button"),
        (field("f", "number_input"), "missing required field: is_decimal_allowed"),
        (field("f", multiline="yes"), "must be of type: boolean"),
        ({"type": "image", "image_url": "https://a.example/b.png"}, "missing required field: alt_text"),
    ],
)
def test_what_is_malformed(block: Any, says: str) -> None:
    """Each problem is told with the place where it is."""
    problems = message_problems([section("fine"), block])
    assert any(says in problem and "[json-pointer:/blocks/1" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (None, "must be of type: object"),
        ({"type": "window", "blocks": []}, "unsupported type of view: window"),
        ({"type": "modal", "title": text("x")}, "missing required field: blocks"),
        ({"type": "modal", "blocks": []}, "missing required field: title"),
        ({**modal("m", field("f")), "submit": None}, "submit is required when an input block"),
        (modal("m", section("x", block_id="a"), section("y", block_id="a")), "`block_id` must be unique"),
        ({"type": "home", "blocks": [], "title": text("x")}, "invalid additional property: title"),
        (modal("m", field("f", focus_on_load=True), field("g", focus_on_load=True)), "only one element"),
        (modal("m", title=text("x", "mrkdwn")), "unsupported type of text"),
    ],
)
def test_views_that_are_malformed(view: Any, says: str) -> None:
    """Slack says what is wrong with them."""
    assert any(says in problem for problem in view_problems(view)), view_problems(view)


def test_options_that_an_app_suggests() -> None:
    """One list or several, of a hundred at most."""
    assert choice_problems({"options": options(100)}) == []
    assert choice_problems({"options": []}) == []
    assert choice_problems({"option_groups": [{"label": text("g"), "options": options(2)}]}) == []
    wrongs: list[Any] = [None, [], {}, {"options": options(101)}, {"options": [{"text": "x", "value": "y"}]}]
    for wrong in wrongs:
        assert choice_problems(wrong) != []


async def test_refusals_name_the_problems(client: AsyncWebClient) -> None:
    """`invalid_blocks` for messages, `invalid_arguments` for views; the SDK finds the problems in the metadata."""
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C0KEYS", text="x", blocks=[section("x" * 3001)])
    problem = "[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert caught.value.response["error"] == "invalid_blocks"
    assert caught.value.response["response_metadata"]["messages"] == [problem]
    with pytest.raises(SlackApiError) as caught:
        await client.views_publish(user_id="U0BEN", view={"type": "home", "blocks": [{"type": "header"}]})
    assert caught.value.response["error"] == "invalid_arguments"
    (problem,) = caught.value.response["response_metadata"]["messages"]
    assert problem == "[ERROR] missing required field: text [json-pointer:/view/blocks/0]"


def test_what_is_taken_fits_slacks_published_types() -> None:
    """The largest messages and views that pass here are blocks and views to Slack's own types, too."""
    if not SCHEMA.exists():
        pytest.skip("Slack's types are not there: ../shared/data/slack/slack-types.strict.schema.json")
    schema = json.loads(SCHEMA.read_text())

    def fits(name: str, value: Json) -> None:
        Draft7Validator({**schema, "$ref": f"#/definitions/{name}"}).validate(value)

    for limit, make in MESSAGE_LIMITS.items():
        for block in make(MOST[limit])[:3]:
            fits("KnownBlock", block)
    for most, make_view in VIEW_LIMITS.values():
        fits("View", make_view(most))
