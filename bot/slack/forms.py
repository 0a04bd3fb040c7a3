"""What was filled into a form: a draft, or what is wrong, by field."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict

from bot.desk.errors import DraftRejected
from bot.desk.hours import WORKDAYS
from bot.desk.model import Draft, Scope, Wish
from bot.desk.policy import parse_duration
from bot.desk.week import HOURS
from bot.slack.text import plain
from bot.slack.views.digest import COMES, HOUR, OFF, WEEKDAY
from bot.slack.views.kit import ERROR_TEXT
from bot.slack.views.request_form import BUDGET, DURATION, MODELS, PERMISSION, PROJECT, PROVIDER, REASON, WISH

Errors = dict[str, str]
"""What is wrong, by the name of the field that it sits on."""

_AMOUNT = re.compile(r"\$?\s*([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.([0-9]{1,2}))?")
_LARGEST = 10**9  # dollars; whatever policy allows is far below, and a database column is far above
_SPOKEN = re.compile(r"([0-9]{1,9})\s*(h|d|w)(?:ours?|rs?|ays?|eeks?)?", re.IGNORECASE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_FIELDS = {"monthly_budget_cents": BUDGET}


Values = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""A form's `state.values`: by block, by action."""


def parse(values: Values) -> Draft | Errors:
    """The request form's `state.values` as a draft. Whether it may be asked for is policy's to say."""
    errors: Errors = {}
    wished = wish(values)
    needed = (PROVIDER, PROJECT, PERMISSION) if wished is Wish.KEY else (PROVIDER, PROJECT)
    chosen = {field: _chosen(values, field) for field in needed}
    for field, value in chosen.items():
        if not value:
            errors[field] = f"Choose a {field}."
    duration, cents = timedelta(), 0
    if wished is Wish.KEY:
        try:
            duration = _duration(_typed(values, DURATION))
        except ValueError as error:
            errors[DURATION] = str(error)
        try:
            cents = _cents(_typed(values, BUDGET)) if BUDGET in values else 0
        except ValueError as error:
            errors[BUDGET] = str(error)
    reason = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", _typed(values, REASON))
    if not reason.strip():
        errors[REASON] = "Say in a sentence what the key is for."
    if errors:
        return errors
    models = tuple(dict.fromkeys(_many(values, MODELS))) if wished is Wish.KEY else ()
    scope = Scope(chosen[PROVIDER], chosen[PROJECT], chosen.get(PERMISSION, ""), cents, models)
    # The label beside a chosen id is whatever a client sent; the desk asks the provider for the name.
    return Draft(scope, project_name=scope.project, duration=duration, reason=reason, wish=wished)


class When(TypedDict):
    """When somebody's digest comes."""

    weekday: int
    hour: int
    off: bool


def digest_settings(values: Values) -> When:
    """What the form of the weekly digest says. Raises `DraftRejected` for what it does not offer."""
    try:
        weekday, hour = int(_chosen(values, WEEKDAY)), int(_chosen(values, HOUR))
    except ValueError:
        raise DraftRejected(WEEKDAY, "Choose a day and an hour.") from None
    if weekday not in WORKDAYS or hour not in HOURS:
        raise DraftRejected(WEEKDAY, "It comes on a workday, in working hours. Choose another time.")
    return {"weekday": weekday, "hour": hour, "off": _chosen(values, COMES) == OFF}


def extension(values: Values) -> tuple[timedelta, str] | Errors:
    """For how long, and why, a key is to be extended; or what is wrong."""
    errors: Errors = {}
    duration, why = timedelta(), reason(values)
    try:
        duration = _duration(_typed(values, DURATION))
    except ValueError as error:
        errors[DURATION] = str(error)
    if not why.strip():
        errors[REASON] = "Say in a sentence what the key is still needed for."
    return errors or (duration, why)


def wish(values: Values) -> Wish:
    """What the form asks for: a key, unless it says otherwise."""
    return Wish.INVITATION if _chosen(values, WISH) == Wish.INVITATION else Wish.KEY


def provider(values: Values) -> str:
    """The provider that is chosen in the form; empty where it says none."""
    return _chosen(values, PROVIDER)


def project(values: Values) -> str:
    """The project that is chosen in the form; empty where it says none."""
    return _chosen(values, PROJECT)


def reason(values: Values) -> str:
    """What the form's field for the reason says, as it can be stored."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", _typed(values, REASON))


def rejected(error: DraftRejected, values: Values) -> Errors:
    """The desk's objection, on the field that it is about; on the reason, where the form has no such field."""
    field = _FIELDS.get(error.field, error.field)
    return {field if field in values else REASON: plain(error.because, ERROR_TEXT)}


def _input(values: Values, field: str) -> Mapping[str, Any]:
    """The field's one element: its action may carry more than the field's name."""
    return next(iter(values.get(field, {}).values()), {})


def _typed(values: Values, field: str) -> str:
    return str(_input(values, field).get("value") or "")


def _chosen(values: Values, field: str) -> str:
    return str((_input(values, field).get("selected_option") or {}).get("value") or "")


def _many(values: Values, field: str) -> list[str]:
    return [str(one.get("value") or "") for one in _input(values, field).get("selected_options") or ()]


def _duration(text: str) -> timedelta:
    spoken = _SPOKEN.fullmatch(text.strip())
    try:
        return parse_duration(f"{int(spoken[1])}{spoken[2]}" if spoken else text)
    except ValueError as error:
        words = str(error)
        raise ValueError(f"{words[:1].upper()}{words[1:]}.") from None


def _cents(text: str) -> int:
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        if re.fullmatch(r"\$?\s*[-−]\s*\$?[0-9.,]+", text.strip()):
            raise ValueError("A budget is at least $1 a month.")
        raise ValueError('Write the budget in digits, in dollars and cents: "25" or "12.50".')
    digits = found[1].replace(",", "").lstrip("0") or "0"
    # Python refuses to read numbers of thousands of digits; nobody's budget has more than nine.
    dollars = int(digits) if len(digits) <= len(str(_LARGEST)) else _LARGEST
    cents = min(dollars, _LARGEST) * 100 + int((found[2] or "0").ljust(2, "0"))
    if cents < 100:
        raise ValueError("A budget is at least $1 a month.")
    return cents
