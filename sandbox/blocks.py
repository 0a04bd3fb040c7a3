"""Block Kit's rules: what Slack takes in a message, a modal and a Home, and what it says about the rest.

A rule looks at a value and reports what is wrong with it, at a JSON pointer. The tables at the end are Slack's
reference of blocks, elements and composition objects, with its limits.
"""

import copy
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Rule = Callable[["Report", str, Any], None]

MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100
VIEW_BYTES = 250_000

_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "number", list: "array", dict: "object"}


@dataclass
class Report:
    """What is wrong, in Slack's words."""

    problems: list[str] = field(default_factory=list)

    def add(self, at: str, problem: str) -> None:
        """Notes one problem at one place."""
        self.problems.append(f"[ERROR] {problem} [json-pointer:{at}]")

    def is_a(self, at: str, value: Any, kind: type) -> bool:
        """Whether the value has this type; notes it where not."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return True
        self.add(at, f"must be of type: {_KINDS[kind]}")
        return False


def string(most: int | None = None, *, least: int = 0) -> Rule:
    """Text of a certain length."""

    def rule(report: Report, at: str, value: Any) -> None:
        if not report.is_a(at, value, str):
            return
        if len(value) < least:
            report.add(at, f"must be more than {least - 1} characters")
        if most is not None and len(value) > most:
            report.add(at, f"must be less than {most + 1} characters")

    return rule


def flag(report: Report, at: str, value: Any) -> None:
    """True or false."""
    report.is_a(at, value, bool)


def anything(report: Report, at: str, value: Any) -> None:
    """Not looked at."""


def number(least: int, most: int) -> Rule:
    """A whole number within bounds."""

    def rule(report: Report, at: str, value: Any) -> None:
        if report.is_a(at, value, int) and not least <= value <= most:
            report.add(at, f"must be between {least} and {most}")

    return rule


def figure(report: Report, at: str, value: Any) -> None:
    """A finite number, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        report.add(at, "must be of type: number")
    elif not math.isfinite(value):
        report.add(at, "must be finite")


def _same_labels(report: Report, at: str, value: Any) -> None:
    """Each series of a chart has a name of its own, and a point for each category, in their order."""
    if report.problems:
        return
    names = [series["name"] for series in value["series"]]
    if len(set(names)) < len(names):
        report.add(f"{at}/series", "names of series must be unique")
    for number, series in enumerate(value["series"]):
        if [point["label"] for point in series["data"]] != value["axis_config"]["categories"]:
            report.add(f"{at}/series/{number}/data", "labels must match the categories")


def _few_charts(report: Report, at: str, value: Any) -> None:
    """A message takes two."""
    blocks = value if isinstance(value, list) else []
    if sum(isinstance(one, dict) and one.get("type") == CHART for one in blocks) > CHARTS:
        report.add(at, f"no more than {CHARTS} items of type {CHART} allowed")


def one_of(*values: str) -> Rule:
    """One of a few words."""

    def rule(report: Report, at: str, value: Any) -> None:
        if value not in values:
            report.add(at, f"unexpected value: must be one of {', '.join(values)}")

    return rule


def items(rule: Rule, *, most: int, least: int = 1) -> Rule:
    """A list."""

    def check(report: Report, at: str, value: Any) -> None:
        if not report.is_a(at, value, list):
            return
        if len(value) < least:
            report.add(at, f"must have at least {least} item{'s' if least > 1 else ''}")
        if len(value) > most:
            report.add(at, f"no more than {most} items allowed")
        for index, item in enumerate(value):
            rule(report, f"{at}/{index}", item)

    return check


def shape(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """An object with these properties and no others."""
    known = {**required, **(optional or {})}

    def rule(report: Report, at: str, value: Any) -> None:
        if not report.is_a(at, value, dict):
            return
        for name in required:
            if value.get(name) is None:
                report.add(at, f"missing required field: {name}")
        for name, held in value.items():
            if name not in known:
                report.add(at, f"invalid additional property: {name}")
            elif held is not None:
                known[name](report, f"{at}/{name}", held)

    return rule


def typed(kinds: Mapping[str, Rule], what: str) -> Rule:
    """An object whose `type` says which of these it is."""

    def rule(report: Report, at: str, value: Any) -> None:
        if not report.is_a(at, value, dict):
            return
        if found := kinds.get(str(value.get("type"))):
            found(report, at, value)
        else:
            report.add(at, f"unsupported type of {what}: {value.get('type')}")

    return rule


def both(*rules: Rule) -> Rule:
    """All of these rules."""

    def rule(report: Report, at: str, value: Any) -> None:
        for one in rules:
            one(report, at, value)

    return rule


def _unique(name: str) -> Rule:
    """No two objects of a list have the same `name`."""

    def rule(report: Report, at: str, value: Any) -> None:
        seen: set[Any] = set()
        for index, item in enumerate(value if isinstance(value, list) else ()):
            held = item.get(name) if isinstance(item, dict) else None
            if isinstance(held, str) and held in seen:
                report.add(f"{at}/{index}/{name}", f"`{name}` must be unique: {held} already exists")
            if isinstance(held, str):
                seen.add(held)

    return rule


def _any_of(*names: str) -> Rule:
    """At least one of these properties is there."""

    def rule(report: Report, at: str, value: Any) -> None:
        if isinstance(value, dict) and not any(value.get(name) for name in names):
            report.add(at, f"must define either `{'` or `'.join(names)}`")

    return rule


def _text(most: int, *, mrkdwn: bool = False, least: int = 1) -> Rule:
    plain = shape({"type": anything, "text": string(most, least=least)}, {"emoji": flag})
    marked = shape({"type": anything, "text": string(most, least=least)}, {"verbatim": flag})
    return typed({"plain_text": plain, **({"mrkdwn": marked} if mrkdwn else {})}, "text")


def _option(*, mrkdwn: bool = False, url: bool = False) -> Rule:
    return shape(
        {"text": _text(75, mrkdwn=mrkdwn), "value": string(150, least=1)},
        {"description": _text(75, mrkdwn=mrkdwn), **({"url": string(3000)} if url else {})},
    )


def _element(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    common = {"action_id": string(255), "focus_on_load": flag}
    return shape({"type": anything, **required}, {**common, **(optional or {})})


_CONFIRM = shape(
    {"title": _text(100), "text": _text(300, mrkdwn=True), "confirm": _text(30), "deny": _text(30)},
    {"style": one_of("primary", "danger")},
)
_ASKED = {"confirm": _CONFIRM}
_HELD = {"placeholder": _text(150)}
_CHOICE = {**_ASKED, **_HELD}
_MANY = {**_CHOICE, "max_selected_items": number(1, 100)}
_OPTIONS = items(_option(), most=100)
_GROUPS = items(shape({"label": _text(75), "options": _OPTIONS}), most=100)
_ONE_LIST = _any_of("options", "option_groups")
_FILTER = shape({}, dict.fromkeys(("include", "exclude_external_shared_channels", "exclude_bot_users"), anything))
_DISPATCH = shape({}, {"trigger_actions_on": items(one_of("on_enter_pressed", "on_character_entered"), most=2)})
_DEFAULT_HERE = {"default_to_current_conversation": flag, "filter": _FILTER}
_NUMBERS = {name: string() for name in ("initial_value", "min_value", "max_value")}


def _line(**more: Rule) -> Rule:
    return _element({}, {"initial_value": string(3000), "dispatch_action_config": _DISPATCH, **_HELD, **more})


def _picker(name: str, **more: Rule) -> Rule:
    return _element({}, {name: string(10), **_CHOICE, **more})


_LIST = {"options": _OPTIONS, "option_groups": _GROUPS}
_SELECTS: dict[str, Rule] = {
    "static_select": both(_element({}, {**_LIST, "initial_option": _option(), **_CHOICE}), _ONE_LIST),
    "external_select": _element({}, {"initial_option": _option(), "min_query_length": number(0, 150), **_CHOICE}),
    "users_select": _element({}, {"initial_user": string(), **_CHOICE}),
    "conversations_select": _element(
        {}, {"initial_conversation": string(), "response_url_enabled": flag, **_DEFAULT_HERE, **_CHOICE}
    ),
    "channels_select": _element({}, {"initial_channel": string(), "response_url_enabled": flag, **_CHOICE}),
    "multi_static_select": both(_element({}, {**_LIST, "initial_options": _OPTIONS, **_MANY}), _ONE_LIST),
    "multi_external_select": _element({}, {"initial_options": _OPTIONS, "min_query_length": number(0, 150), **_MANY}),
    "multi_users_select": _element({}, {"initial_users": items(string(), most=100), **_MANY}),
    "multi_conversations_select": _element(
        {}, {"initial_conversations": items(string(), most=100), **_DEFAULT_HERE, **_MANY}
    ),
    "multi_channels_select": _element({}, {"initial_channels": items(string(), most=100), **_MANY}),
}
_FEW = items(_option(mrkdwn=True), most=10)
_PICKERS: dict[str, Rule] = {
    "datepicker": _picker("initial_date"),
    "timepicker": _picker("initial_time", timezone=string()),
    "datetimepicker": _element({}, {"initial_date_time": number(0, 9_999_999_999), **_ASKED}),
    "checkboxes": _element({"options": _FEW}, {"initial_options": _FEW, **_ASKED}),
    "radio_buttons": _element({"options": _FEW}, {"initial_option": _option(mrkdwn=True), **_ASKED}),
}
_LINES: dict[str, Rule] = {
    "plain_text_input": _line(multiline=flag, min_length=number(0, 3000), max_length=number(1, 3000)),
    "email_text_input": _line(),
    "url_text_input": _line(),
    "number_input": _element({"is_decimal_allowed": flag}, {**_NUMBERS, "dispatch_action_config": _DISPATCH, **_HELD}),
    "rich_text_input": _element({}, {"initial_value": anything, "dispatch_action_config": _DISPATCH, **_HELD}),
}
_BUTTON = shape(
    {"type": anything, "text": _text(75)},
    {
        "action_id": string(255),
        "url": string(3000),
        "value": string(2000),
        "style": one_of("primary", "danger"),
        "accessibility_label": string(75),
        **_ASKED,
    },
)
_IMAGE_PARTS: dict[str, Rule] = {"image_url": string(3000, least=1), "slack_file": anything}
_IMAGE = both(
    shape({"type": anything, "alt_text": string(2000)}, _IMAGE_PARTS),
    _any_of("image_url", "slack_file"),
)
_PRESSED: dict[str, Rule] = {
    "button": _BUTTON,
    "overflow": _element({"options": items(_option(url=True), most=5)}, _ASKED),
}
_INTERACTIVE = {**_PRESSED, **_SELECTS, **_PICKERS}


def _block(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    return shape({"type": anything, **required}, {"block_id": string(255), **(optional or {})})


_NOTE = _text(3000, mrkdwn=True)
_ACTED = {**_INTERACTIVE, "rich_text_input": _LINES["rich_text_input"]}
_ELEMENTS = both(items(typed(_ACTED, "element"), most=25), _unique("action_id"))
_COMMON_BLOCKS: dict[str, Rule] = {
    "section": both(
        _block(
            {},
            {
                "text": _text(3000, mrkdwn=True),
                "fields": items(_text(2000, mrkdwn=True), most=10),
                "accessory": typed({**_INTERACTIVE, "image": _IMAGE}, "element"),
                "expand": flag,
            },
        ),
        _any_of("text", "fields"),
    ),
    "header": _block({"text": _text(150)}),
    "divider": _block({}),
    "actions": _block({"elements": _ELEMENTS}),
    "context": _block(
        {"elements": items(typed({"image": _IMAGE, "plain_text": _NOTE, "mrkdwn": _NOTE}, "element"), most=10)}
    ),
    "image": both(
        _block({"alt_text": string(2000)}, {"title": _text(2000), **_IMAGE_PARTS}),
        _any_of("image_url", "slack_file"),
    ),
    "input": _block(
        {"label": _text(2000), "element": typed({**_SELECTS, **_PICKERS, **_LINES}, "element")},
        {"hint": _text(2000), "optional": flag, "dispatch_action": flag},
    ),
    "rich_text": _block(
        {
            "elements": items(
                shape(
                    {"type": anything, "elements": anything},
                    dict.fromkeys(("style", "indent", "offset", "border"), anything),
                ),
                most=1000,
            )
        }
    ),
}
_LABEL = string(20, least=1)
_POINTS = items(shape({"label": _LABEL, "value": figure}), most=20)
_SERIES_CHART = both(
    shape(
        {
            "type": anything,
            "series": items(shape({"name": _LABEL, "data": _POINTS}), most=12),
            "axis_config": shape(
                {"categories": items(_LABEL, most=20)}, {"x_label": string(50), "y_label": string(50)}
            ),
        }
    ),
    _same_labels,
)
_CHART = typed(
    {
        "pie": shape({"type": anything, "segments": items(shape({"label": _LABEL, "value": figure}), most=12)}),
        **dict.fromkeys(("bar", "area", "line"), _SERIES_CHART),
    },
    "chart",
)
CHART = "data_visualization"
CHARTS = 2
"""How many charts a message takes."""
_IN_MESSAGES: dict[str, Rule] = {
    **_COMMON_BLOCKS,
    "markdown": _block({"text": string(12_000, least=1)}),
    # https://docs.slack.dev/reference/block-kit/blocks/data-visualization-block
    CHART: _block({"title": string(50, least=1), "chart": _CHART}),
}
_MESSAGE = both(items(typed(_IN_MESSAGES, "block"), most=MESSAGE_BLOCKS, least=0), _few_charts)
_MESSAGE_WITHOUT_CHARTS = items(
    typed({name: rule for name, rule in _IN_MESSAGES.items() if name != CHART}, "block"), most=MESSAGE_BLOCKS, least=0
)
_VIEW = items(typed(_COMMON_BLOCKS, "block"), most=VIEW_BLOCKS, least=0)
_UNIQUE_BLOCKS = _unique("block_id")
_ANY_VIEW: dict[str, Rule] = {
    "private_metadata": string(3000),
    "callback_id": string(255),
    "external_id": string(255),
}
_VIEW_SHAPES = typed(
    {
        "modal": shape(
            {"type": anything, "title": _text(24), "blocks": both(_VIEW, _UNIQUE_BLOCKS)},
            {
                "submit": _text(24),
                "close": _text(24),
                "clear_on_close": flag,
                "notify_on_close": flag,
                "submit_disabled": flag,
                **_ANY_VIEW,
            },
        ),
        "home": shape({"type": anything, "blocks": both(_VIEW, _UNIQUE_BLOCKS)}, _ANY_VIEW),
    },
    "view",
)
_CHOICES = shape({}, {"options": items(_option(), most=100, least=0), "option_groups": _GROUPS})


def message_problems(blocks: Any, *, charts: bool = True) -> list[str]:
    """What Slack would mind about a message's blocks; in a workspace that has no charts, about those too."""
    report = Report()
    (_MESSAGE if charts else _MESSAGE_WITHOUT_CHARTS)(report, "/blocks", blocks)
    _UNIQUE_BLOCKS(report, "/blocks", blocks)
    return report.problems


def view_problems(view: Any) -> list[str]:
    """What Slack would mind about a view."""
    report = Report()
    _VIEW_SHAPES(report, "/view", view)
    if report.problems:
        return report.problems
    needs_submit = any(block["type"] == "input" for block in view["blocks"])
    if view["type"] == "modal" and needs_submit and not view.get("submit"):
        report.add("/view", "submit is required when an input block is within the blocks array")
    if sum(element.get("focus_on_load") is True for _, element in elements(view["blocks"])) > 1:
        report.add("/view/blocks", "only one element may have focus_on_load")
    return report.problems


def choice_problems(answer: Any) -> list[str]:
    """What Slack would mind about the options that an app suggests."""
    report = Report()
    _CHOICES(report, "", answer)
    if not report.problems and answer.get("options") is None and answer.get("option_groups") is None:
        report.add("", "must define either `options` or `option_groups`")
    return report.problems


def elements(blocks: Iterable[Json]) -> Iterable[tuple[Json, Json]]:
    """Every element that a member can use, with its block."""
    for block in blocks:
        if block["type"] == "input":
            yield block, block["element"]
        elif block["type"] == "actions":
            for element in block["elements"]:
                yield block, element
        elif block["type"] == "section" and block.get("accessory", {}).get("type", "image") != "image":
            yield block, block["accessory"]


def completed(blocks: list[Json]) -> list[Json]:
    """The blocks as Slack keeps them: every block and element with an id, every text with its flags."""
    blocks = copy.deepcopy(blocks)
    for block in blocks:
        block.setdefault("block_id", secrets.token_urlsafe(4)[:5])
    for _, element in elements(blocks):
        element.setdefault("action_id", secrets.token_urlsafe(4)[:5])
    _complete_texts(blocks)
    return blocks


def completed_view(view: Json) -> Json:
    """The view as Slack keeps it."""
    view = copy.deepcopy(view)
    view["blocks"] = completed(view["blocks"])
    _complete_texts([view.get(name) for name in ("title", "submit", "close")])
    return view


def _complete_texts(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _complete_texts(item)
    elif isinstance(value, dict):
        if value.get("type") == "plain_text":
            value.setdefault("emoji", True)
        elif value.get("type") == "mrkdwn":
            value.setdefault("verbatim", False)
        for item in list(value.values()):
            _complete_texts(item)
