"""What Slack accepts: its published types, and its limits as the design lists them. Knows nothing of the views."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "slack"
TYPES = DATA / "slack-types.strict.schema.json"


@functools.cache
def _validator(definition: str) -> Draft7Validator:
    schema = json.loads(TYPES.read_text())
    return Draft7Validator({"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]})


def fits_types(definition: str, thing: Any) -> None:
    """Fails unless the thing is what Slack publishes as that type; skips where the types are not there."""
    if not TYPES.exists():
        pytest.skip("Slack's types are not there: ../shared/data/slack/slack-types.strict.schema.json")
    flaws = [
        f"{'/'.join(map(str, flaw.path))}: {flaw.message[:200]}" for flaw in _validator(definition).iter_errors(thing)
    ]
    assert not flaws, flaws


def _walk(thing: Any) -> Iterator[dict[str, Any]]:
    if isinstance(thing, dict):
        yield thing
        for value in thing.values():
            yield from _walk(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from _walk(value)


def _text(thing: dict[str, Any], key: str, most: int) -> None:
    if key in thing:
        text = thing[key]["text"] if isinstance(thing[key], dict) else thing[key]
        assert 1 <= len(text) <= most, (key, len(text), text[:80])


def fits_limits(blocks: list[dict[str, Any]], *, most: int) -> None:
    """Fails unless the blocks keep to Slack's limits."""
    assert 1 <= len(blocks) <= most
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    assert len(ids) == len(set(ids))
    for block in blocks:
        match block["type"]:
            case "section":
                assert "text" in block or "fields" in block
                _text(block, "text", 3000)
                assert len(block.get("fields", ())) <= 10
                for field in block.get("fields", ()):
                    _text(field, "text", 2000)
            case "header":
                _text(block, "text", 150)
            case "context":
                assert 1 <= len(block["elements"]) <= 10
                for element in block["elements"]:
                    _text(element, "text", 3000)
            case "actions":
                assert 1 <= len(block["elements"]) <= 25
                names = [element["action_id"] for element in block["elements"]]
                assert len(names) == len(set(names))
            case "input":
                _text(block, "label", 2000)
                _text(block, "hint", 2000)
            case "divider":
                pass
            case other:
                pytest.fail(f"a block of type {other}, which this test does not know")
    for thing in _walk(blocks):
        _element(thing)


def _element(thing: dict[str, Any]) -> None:
    for key in ("block_id", "action_id"):
        assert len(thing.get(key, "")) <= 255
    match thing.get("type"):
        case "button":
            _text(thing, "text", 75)
            _text(thing, "value", 2000)
            _text(thing, "url", 3000)
        case "static_select" | "external_select":
            _text(thing, "placeholder", 150)
            assert len(thing.get("options", ())) <= 100
            assert "options" not in thing or thing["options"]
        case "plain_text_input":
            _text(thing, "placeholder", 150)
            assert 0 < thing.get("max_length", 3000) <= 3000
            assert len(thing.get("initial_value", "")) <= thing.get("max_length", 3000)
    for option in thing.get("options", ()):
        fits_option(option)
    confirm = thing.get("confirm")
    if isinstance(confirm, dict) and "title" in confirm:
        _text(confirm, "title", 100)
        _text(confirm, "text", 300)
        _text(confirm, "confirm", 30)
        _text(confirm, "deny", 30)


def fits_option(option: dict[str, Any]) -> None:
    """Fails unless the menu's entry keeps to Slack's limits."""
    _text(option, "text", 75)
    _text(option, "value", 75)


def fits_message(message: Any) -> None:
    """Fails unless Slack would take the message."""
    assert 10 <= len(message["text"]) <= 4000
    fits_limits(message["blocks"], most=50)
    for block in message["blocks"]:
        fits_types("KnownBlock", block)
    assert all(block["type"] != "input" for block in message["blocks"])


def fits_view(view: Any) -> None:
    """Fails unless Slack would take the view."""
    fits_limits(view["blocks"], most=100)
    if view["type"] == "modal":
        for key in ("title", "submit", "close"):
            _text(view, key, 24)
        assert len(view.get("private_metadata", "")) <= 3000
        assert len(view.get("callback_id", "")) <= 255
        assert "submit" in view or all(block["type"] != "input" for block in view["blocks"])
    fits_types("ModalView" if view["type"] == "modal" else "HomeView", view)
