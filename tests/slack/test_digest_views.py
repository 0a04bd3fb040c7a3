"""The weekly digest in words: the largest is one message that Slack takes, and what is to be rotated is said."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from bot.desk import digest as shown
from bot.desk.model import Answer, Draft, Outsiders, Story
from bot.desk.states import GrantState, KeyState
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


def said_of(holder: HolderWeek) -> str:
    """A digest of this alone."""
    return " ".join(
        texts(views.digest(replace(largest(stories.DRAFT), holder=holder, approver=None, admin=None))["blocks"])
    )


def test_what_the_desk_does_not_see_is_not_said_to_be_nothing() -> None:
    """A key whose provider reports no use, and one that is not picked up yet: no sums of them, and no sum of them all."""
    holder = largest(stories.DRAFT).holder
    assert holder
    unseen = KeyWeek(stories.brought(KeyState.LIVE), Spent(), 0, reported=False)
    waits = KeyWeek(stories.granted(GrantState.READY), Spent(), 0)
    mine = replace(holder, spent=Spent(), more=0, keys=(unseen,), ending=(), rotating=(), idle=(), waiting=())
    alone = said_of(mine)
    assert "*Keydesk does not see what your keys spend.*" in alone
    assert "Keydesk does not see what it spends" in alone
    assert "$0" not in alone
    beside = said_of(replace(mine, keys=(unseen, waits)))
    assert "You spent nothing" in beside
    assert "not picked up yet" in beside


def test_sums_that_grew_manifold_are_said_side_by_side() -> None:
    """72,444% tells nobody anything."""
    holder = largest(stories.DRAFT).holder
    assert holder
    assert "*You spent $38.44, after $0.05 in the week before.*" in said_of(
        replace(holder, spent=Spent(38_440_000, 53_000))
    )
    assert "100% more than in the week before" in said_of(replace(holder, spent=Spent(200_000, 100_000)))


def test_nothing_is_drawn_of_what_is_less_than_a_cent() -> None:
    """Slack's chart shows cents: bars of nothing say less than the words below them."""
    whole = largest(stories.DRAFT)
    holder, admin = whole.holder, whole.admin
    assert holder
    assert admin
    flat = (9_999,) * 7
    small = replace(whole, holder=replace(holder, days=flat, days_before=flat), admin=None)
    assert views.chart_of(small) is None
    assert views.chart_of(replace(small, holder=replace(holder, days=(10_000, *flat[1:]), days_before=flat)))
    project = replace(admin.projects[0], spent=Spent(9_999, 0))
    assert views.chart_of(replace(small, holder=None, admin=replace(admin, projects=(project,)))) is None


def test_only_a_holder_is_sent_to_their_usage() -> None:
    """And one key is "it"."""
    whole = largest(stories.DRAFT)
    assert whole.admin
    told = " ".join(texts(views.digest(replace(whole, holder=None, admin=replace(whole.admin, overdue=1)))["blocks"]))
    assert "/apikey usage" not in told
    assert "1 key was not rotated in time. Whoever approved it was told" in told


def test_a_key_that_is_switched_off_is_said_to_be() -> None:
    """Else its holder wonders in the week's sums why it does nothing."""
    holder = largest(stories.DRAFT).holder
    assert holder
    off = KeyWeek(stories.rotating(overdue=True, off=True), SPENT, SPENT.week, DAYS.last)
    assert "`…abcd` (switched off): $12.40" in said_of(replace(holder, keys=(off,)))


def test_an_admin_reads_what_came_of_unusual_use() -> None:
    """Of each incident of the week: who answered what, or that nobody did."""
    whole = largest(stories.DRAFT)
    assert whole.admin
    for answer, word in (
        (None, "*Nobody answered yet.*"),
        (Answer.MINE, "said that it was theirs."),
        (Answer.PAUSED, "paused the key."),
        (Answer.QUIET, "nothing unusual came for a day"),
        (Answer.OVER, "The key is over."),
    ):
        admin = replace(whole.admin, unusual=(stories.suspected(answer=answer),))
        assert word in " ".join(texts(views.digest(replace(whole, admin=admin))["blocks"]))
