"""The state of Block Kit's inputs, and what Slack's own client checks before it submits a form."""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from sandbox.blocks import elements
from sandbox.workspace import Json

STATE = {
    **dict.fromkeys(
        ("plain_text_input", "email_text_input", "url_text_input", "number_input"), ("value", "initial_value")
    ),
    "rich_text_input": ("rich_text_value", "initial_value"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    **dict.fromkeys(("static_select", "external_select", "radio_buttons"), ("selected_option", "initial_option")),
    **dict.fromkeys(
        ("multi_static_select", "multi_external_select", "checkboxes"), ("selected_options", "initial_options")
    ),
    "users_select": ("selected_user", "initial_user"),
    "multi_users_select": ("selected_users", "initial_users"),
    "channels_select": ("selected_channel", "initial_channel"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
}
"""Under which name an element's state carries its value, and which property holds the one to begin with."""

MANY = frozenset(kind for kind, (name, _) in STATE.items() if name.endswith("s"))
"""Elements whose value is a list."""

LONGEST_LINE = 3000
REQUIRED = "Please complete this required field."


def state_values(blocks: Iterable[Json], typed: Json) -> Json:
    """The whole `state.values`: what was typed, and for the rest what the inputs begin with."""
    values: Json = {}
    for block, element in elements(blocks):
        kind = element["type"]
        if kind not in STATE:
            continue
        name, initial = STATE[kind]
        block_id, action_id = block["block_id"], element["action_id"]
        given = typed.get(block_id, {}).get(action_id)
        begin = element.get(initial, [] if kind in MANY else None)
        held = given.get(name, [] if kind in MANY else None) if given is not None else begin
        values.setdefault(block_id, {})[action_id] = {"type": kind, name: held}
    return values


def client_errors(blocks: Iterable[Json], values: Json) -> dict[str, str]:
    """By block, what Slack's client says about a form instead of submitting it."""
    errors = {}
    for block, element in elements(blocks):
        if block["type"] != "input":
            continue
        name, _ = STATE[element["type"]]
        held = values[block["block_id"]][element["action_id"]][name]
        if not held:
            if not block.get("optional"):
                errors[block["block_id"]] = REQUIRED
        elif isinstance(held, str) and (problem := _line_problem(element, held)):
            errors[block["block_id"]] = problem
    return errors


def _line_problem(element: Json, text: str) -> str | None:
    match element["type"]:
        case "plain_text_input":
            least, most = element.get("min_length", 0), element.get("max_length", LONGEST_LINE)
            if len(text) < least:
                return f"Please enter at least {least} characters."
            return f"Please enter no more than {most} characters." if len(text) > most else None
        case "number_input":
            return _number_problem(element, text)
        case "email_text_input":
            return None if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else "Please enter a valid email address."
        case "url_text_input":
            return None if re.fullmatch(r"https?://\S+", text) else "Please enter a valid URL."
    return None


def _number_problem(element: Json, text: str) -> str | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return "Please enter a valid number."
    if not value.is_finite():
        return "Please enter a valid number."
    if not element["is_decimal_allowed"] and value != value.to_integral_value():
        return "Please enter a whole number."
    least, most = element.get("min_value"), element.get("max_value")
    if least is not None and value < Decimal(least):
        return f"Please enter a number that is at least {least}."
    if most is not None and value > Decimal(most):
        return f"Please enter a number that is at most {most}."
    return None
