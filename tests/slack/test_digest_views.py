"""The weekly digest in words: the largest is one message that Slack takes, and what is to be rotated is said."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from bot.desk import digest as shown
from bot.desk.model import Draft, Outsiders, Story
from bot.desk.states import GrantState
from bot.desk.week import (
    AdminWeek,
    Advice,
    ApproverWeek,
    Days,
    Digest,
    Failing,
    HolderWeek,
    KeyWeek,
    ProjectWeek,
    Spent,
    TeamKey,
    Tip,
)
from bot.slack import views
from bot.slack.views.digest import OUTSIDERS_SHOWN
from tests.slack import stories
from tests.slack.limits import fits_message
from tests.slack.test_views import harmless, texts

DAYS = Days.until(date(2026, 11, 22))
SPENT = Spent(12_400_000, 9_100_000)


def largest(draft: Draft) -> Digest:
    """Of somebody who holds, approves and is an admin: all that there can be, as much of each as is shown."""
    attention = shown.ATTENTION_SHOWN
    active, ready = stories.rotating(draft, overdue=True), stories.granted(GrantState.READY, draft)
    scope = draft.scope
    key = TeamKey("r_1", "g_1", "U0BEN", draft.provider_name, draft.project_name, SPENT)
    return Digest(
        team="T0ACME",
        member="U0ANA",
        week=date(2026, 11, 23),
        days=DAYS,
        tz="UTC",
        holder=HolderWeek(
            spent=SPENT,
            month=SPENT.week,
            budget_cents=scope.monthly_budget_cents,
            days=(1_000_000,) * 7,
            days_before=(2_000_000,) * 7,
            keys=(KeyWeek(active, SPENT, SPENT.week, DAYS.last),) * shown.KEYS_SHOWN,
            more=9,
            ending=(active,) * attention,
            rotating=(active,) * shown.ROTATING_SHOWN,
            idle=(active,) * attention,
            waiting=(ready,) * attention,
            advice=Advice(Tip.JUMP, active),
            estimated=True,
        ),
        approver=ApproverWeek(
            spent=SPENT,
            living=600,
            top=(key,) * shown.TOP_SHOWN,
            pending=(stories.pending(draft),) * shown.PENDING_SHOWN,
            pending_count=99,
            idle=(key,) * attention,
            idle_count=99,
            overdue=(key,) * attention,
            overdue_count=99,
        ),
        admin=AdminWeek(
            spent=SPENT,
            projects=(ProjectWeek(draft.provider_name, draft.project_name, SPENT),) * shown.PROJECTS_SHOWN,
            more=99,
            outsiders=(Outsiders("T0ACME", "openai", "p", draft.project_name, 9, stories.NOW),) * (OUTSIDERS_SHOWN + 9),
            failing=(Failing(draft.provider_name, draft.reason, 9),) * 5,
            by_hand=9,
            overdue=9,
            unusual=(stories.suspected(draft),) * attention,
            unusual_count=99,
        ),
    )


@pytest.mark.parametrize("draft", [stories.DRAFT, stories.HOSTILE_DRAFT], ids=["plain", "hostile"])
def test_the_largest_digest_is_a_message_that_slack_takes(draft: Draft) -> None:
    """With a chart in it, and with people's words of any length."""
    told = views.digest(largest(draft), chart={"type": "divider"})
    fits_message(told)
    harmless([told["text"], *texts(told["blocks"])], told)


def test_it_tells_what_is_to_be_rotated_and_what_should_have_been() -> None:
    """To the holder with the button, by when; to approver and admin what was not rotated in time."""

    def said(story: Story) -> str:
        whole = largest(stories.DRAFT)
        assert whole.holder
        mine = replace(whole.holder, ending=(), idle=(), waiting=(), rotating=(story,))
        return " ".join(texts(views.digest(replace(whole, holder=mine))["blocks"]))

    soon = stories.rotating()
    assert soon.grant
    in_time = replace(soon, grant=replace(soon.grant, rotates_at=stories.NOW + timedelta(days=3)))
    assert "is to be rotated by" in said(in_time)
    assert "should have been rotated by" in said(stories.rotating(overdue=True))
    assert "99 keys were not rotated in time" in said(soon)
    assert "9 keys were not rotated in time. Whoever approved them was told" in said(soon)
