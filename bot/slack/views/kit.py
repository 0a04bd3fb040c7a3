"""Block Kit as plain dicts, with Slack's limits as named constants."""

from typing import Any, TypedDict

from bot.slack.text import plain

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
HEADER_TEXT = 150
BUTTON_TEXT = 75
OPTION_TEXT = 75
OPTIONS = 100
PLACEHOLDER_TEXT = 150
MODAL_TEXT = 24  # title, submit and close of a modal
ERROR_TEXT = 300  # ours: an error under a field should be read at a glance

Block = dict[str, Any]
View = dict[str, Any]


class Message(TypedDict):
    """What is posted: the blocks, and the text that notifications and screen readers give."""

    text: str
    blocks: list[Block]


def plain_text(text: str, most: int) -> Block:
    """Text in which nothing is parsed."""
    return {"type": "plain_text", "text": plain(text, most), "emoji": False}


def mrkdwn(text: str) -> Block:
    """Our own markup. `verbatim` keeps Slack from making links of what people wrote in it."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def section(text: str) -> Block:
    """A paragraph."""
    return {"type": "section", "text": mrkdwn(text)}


def header(text: str) -> Block:
    """A large line."""
    return {"type": "header", "text": plain_text(text, HEADER_TEXT)}


def small(text: str) -> Block:
    """A line in small print."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def divider() -> Block:
    """A rule across."""
    return {"type": "divider"}


def actions(*buttons: Block) -> Block:
    """Buttons side by side."""
    return {"type": "actions", "elements": list(buttons)}


def button(text: str, action: str, value: str = "", *, style: str | None = None, **more: Any) -> Block:
    """A button; `value` says on what it acts."""
    made = {"type": "button", "text": plain_text(text, BUTTON_TEXT), "action_id": action, **more}
    if value:
        made["value"] = value
    if style:
        made["style"] = style
    return made


def option(text: str, value: str) -> Block:
    """One entry of a menu."""
    return {"text": plain_text(text, OPTION_TEXT), "value": value}


def entry(
    block_id: str, label: str, element: Block, *, hint: str = "", optional: bool = False, acts: bool = False
) -> Block:
    """A field of a form. Its block bears the name that errors sit on; so does its action, unless the element has one.

    `acts`: a choice made in it is told to the desk at once.
    """
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "label": plain_text(label, HEADER_TEXT),
        "element": {"action_id": block_id, **element},
    }
    if optional:
        block["optional"] = True
    if acts:
        block["dispatch_action"] = True
    if hint:
        block["hint"] = plain_text(hint, HEADER_TEXT)
    return block


def modal(title: str, blocks: list[Block], *, close: str = "Close", **more: Any) -> View:
    """A dialog."""
    return {
        "type": "modal",
        "title": plain_text(title, MODAL_TEXT),
        "close": plain_text(close, MODAL_TEXT),
        "blocks": blocks,
        **more,
    }
