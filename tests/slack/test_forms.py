"""What is typed into the forms: understood where it can be, and refused on its own field where it cannot."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk.errors import DraftRejected
from bot.desk.model import Draft
from bot.slack import forms
from tests.slack.stories import HOSTILE

GOOD = {
    "provider": "openai",
    "project": "proj_search",
    "permission": "chat",
    "duration": "7d",
    "budget": "25",
    "reason": "Nightly evaluation",
}


def filled(**changes: Any) -> Any:
    """The form's `state.values`, as Slack nests them."""
    values: dict[str, Any] = {}
    for field, value in {**GOOD, **changes}.items():
        if field in ("provider", "project", "permission"):
            option = {"text": {"type": "plain_text", "text": f"The {value}"}, "value": value} if value else None
            values[field] = {field: {"type": "static_select", "selected_option": option}}
        else:
            values[field] = {field: {"type": "plain_text_input", "value": value}}
    return values


def test_a_good_form_is_a_draft() -> None:
    """Every field arrives."""
    draft = forms.parse(filled())
    assert isinstance(draft, Draft)
    assert (draft.scope.provider, draft.scope.project, draft.scope.permission) == ("openai", "proj_search", "chat")
    assert (draft.duration, draft.scope.monthly_budget_cents) == (timedelta(days=7), 2500)
    assert (draft.project_name, draft.reason) == ("proj_search", "Nightly evaluation")


@pytest.mark.parametrize(
    ("typed", "cents"),
    [("25", 2500), ("12.50", 1250), ("12.5", 1250), ("$ 3", 300), ("1,000", 100_000), (" 007 ", 700), ("1", 100)],
)
def test_budgets_that_are_understood(typed: str, cents: int) -> None:
    """Dollars, and cents."""
    draft = forms.parse(filled(budget=typed))
    assert isinstance(draft, Draft)
    assert draft.scope.monthly_budget_cents == cents


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("abc", "digits"),
        ("1e9", "digits"),
        ("nan", "digits"),
        ("inf", "digits"),
        ("0x10", "digits"),
        ("1 000", "digits"),
        ("1.234", "digits"),
        ("٢٥", "digits"),
        ("25 euros", "digits"),
        ("", "digits"),
        (None, "digits"),
        ("-1", "at least $1"),
        ("-$5", "at least $1"),
        ("0", "at least $1"),
        ("0.99", "at least $1"),
    ],
)
def test_budgets_that_are_refused(typed: str | None, says: str) -> None:
    """On the budget's field, with what to write instead."""
    errors = forms.parse(filled(budget=typed))
    assert isinstance(errors, dict)
    assert list(errors) == ["budget"]
    assert says in errors["budget"]


@pytest.mark.parametrize("typed", ["9" * 5000, "999999999999", "10000000000.99"])
def test_a_huge_budget_is_left_to_policy(typed: str) -> None:
    """Digits are digits, and policy names the most it allows; the number stays one that a database can hold."""
    draft = forms.parse(filled(budget=typed))
    assert isinstance(draft, Draft)
    assert 10**9 < draft.scope.monthly_budget_cents < 2**53


@pytest.mark.parametrize(
    ("typed", "duration"),
    [
        ("12h", timedelta(hours=12)),
        (" 7D ", timedelta(days=7)),
        ("2 weeks", timedelta(weeks=2)),
        ("1 day", timedelta(days=1)),
        ("36 hours", timedelta(hours=36)),
    ],
)
def test_durations_that_are_understood(typed: str, duration: timedelta) -> None:
    """As policy writes them, and as people say them."""
    draft = forms.parse(filled(duration=typed))
    assert isinstance(draft, Draft)
    assert draft.duration == duration


@pytest.mark.parametrize(
    "typed", ["", None, "soon", "-7d", "0d", "7", "d", "1.5d", "9999d", "99999999999d", "7d7d", "30m"]
)
def test_durations_that_are_refused(typed: str | None) -> None:
    """On the duration's field, with what to write instead."""
    errors = forms.parse(filled(duration=typed))
    assert isinstance(errors, dict)
    assert list(errors) == ["duration"]
    assert '"' in errors["duration"]
    assert errors["duration"][0].isupper()


@pytest.mark.parametrize("field", ["provider", "project", "permission"])
def test_nothing_chosen(field: str) -> None:
    """Said on its field."""
    errors = forms.parse(filled(**{field: None}))
    assert isinstance(errors, dict)
    assert list(errors) == [field]


@pytest.mark.parametrize("typed", ["", "  \n\t ", None])
def test_an_empty_reason(typed: str | None) -> None:
    """An approver needs one."""
    errors = forms.parse(filled(reason=typed))
    assert isinstance(errors, dict)
    assert list(errors) == ["reason"]


def test_everything_wrong_at_once() -> None:
    """All errors are told together; an empty state is no crash. A form without a budget is the desk's to judge."""
    errors = forms.parse({})
    assert isinstance(errors, dict)
    assert list(errors) == ["provider", "project", "permission", "duration", "reason"]


def test_a_reason_is_kept_whole() -> None:
    """Whatever its length; only what no database holds is replaced."""
    draft = forms.parse(filled(reason=HOSTILE))
    assert isinstance(draft, Draft)
    assert len(draft.reason) == len(HOSTILE)
    assert draft.reason == HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    draft.reason.encode()


@pytest.mark.parametrize(
    ("field", "block"), [("monthly_budget_cents", "budget"), ("duration", "duration"), ("project", "project")]
)
def test_the_desks_objections_find_their_field(field: str, block: str) -> None:
    """What the draft calls a thing and what the form calls it meet."""
    assert forms.rejected(DraftRejected(field, "No."), filled()) == {block: "No."}
    without = {name: value for name, value in filled().items() if name != block}
    assert forms.rejected(DraftRejected(field, "No."), without) == {"reason": "No."}


@given(duration=st.text(max_size=30), budget=st.text(max_size=30), reason=st.text(max_size=200))
def test_whatever_is_typed_is_a_draft_or_errors_on_its_fields(duration: str, budget: str, reason: str) -> None:
    """Nothing typed makes the form fail otherwise."""
    parsed = forms.parse(filled(duration=duration, budget=budget, reason=reason))
    if isinstance(parsed, dict):
        assert set(parsed) <= {"duration", "budget", "reason"}
        assert all(parsed.values())
    else:
        assert parsed.scope.monthly_budget_cents >= 100
        parsed.reason.encode()
