"""What is told of unusual use: numbers in plain words, the buttons that its state offers, and nothing that misleads."""

from dataclasses import replace

import pytest

from bot.desk.findings import Unusual
from bot.desk.model import Answer, DeskState, Home, NoticeKind, Story
from bot.desk.states import GrantState, KeyState
from bot.slack import views
from tests.slack import stories
from tests.slack.limits import fits_message, fits_view
from tests.slack.test_views import buttons, harmless, texts

KINDS = (NoticeKind.UNUSUAL, NoticeKind.SUSPECTED)


def plain(story: Story, kind: NoticeKind = NoticeKind.UNUSUAL) -> str:
    message = views.notice(kind, story)
    return "\n".join([message["text"], *texts(message["blocks"])])


def offered(story: Story, kind: NoticeKind = NoticeKind.UNUSUAL) -> list[str]:
    return buttons(views.notice(kind, story)["blocks"])


def test_each_way_is_a_sentence_with_numbers() -> None:
    """What was used, when by whose clock, and what is usual."""
    told = plain(stories.suspected())
    for sentence in (
        "Unusual use of your key to search-prod at OpenAI",
        "4,210 requests between 02:00 and 03:00 on Tuesday 24 Nov, by your clock; on Tuesdays at that hour it has 0 to 12.",
        "$8.40 between 02:00 and 03:00 on Tuesday 24 Nov, by your clock; on Tuesdays at that hour it has $0.00 to $0.24.",
        "never used between midnight and 06:00 in the last eight weeks",
        "under $0.01 with *claude-opus-5-5* on Tuesday 24 Nov; this key never used that model before.",
        "$31.00 spent on Tuesday 24 Nov (UTC); on workdays it spends $0.00 to $2.10.",
        "9,000,000 tokens between 23:00 and 00:00",
        "in the busiest hours of eight weeks it had 400,000 tokens",
        "If this was you, say so.",
    ):
        assert sentence in told
    theirs = plain(stories.suspected(), NoticeKind.SUSPECTED)
    assert "Unusual use of <@U0BEN>'s key to search-prod at OpenAI" in theirs
    assert "by the holder's clock" in theirs
    assert "If you know of this, say so." in theirs


def test_what_costs_next_to_nothing_is_a_range_too() -> None:
    """Not "under $0.01 to $0.01"."""
    story = stories.suspected()
    assert story.incident
    spend = next(one for one in story.incident.findings if one.kind is Unusual.SPEND)
    for low, high, usual in ((200, 9_000, "up to $0.01"), (200, 900, "under $0.01"), (7_000, 24_000, "$0.01 to $0.02")):
        incident = replace(story.incident, findings=(replace(spend, low=low, high=high),))
        assert f"on workdays it spends {usual}." in plain(replace(story, incident=incident))


@pytest.mark.parametrize("kind", KINDS)
def test_the_buttons_are_those_that_can_do_something(kind: NoticeKind) -> None:
    """In each state; where keys cannot be switched off, the message says what the way is."""
    assert offered(stories.suspected(), kind) == ["that_was_me", "pause", "revoke"]
    cannot = stories.suspected(pausable=False)
    assert offered(cannot, kind) == ["that_was_me", "revoke"]
    assert "OpenAI cannot switch a key off and on: revoking is the way." in plain(cannot, kind)
    off = stories.suspected(answer=Answer.PAUSED, key=KeyState.DISABLED)
    assert offered(off, kind) == ["that_was_me", "switch_on", "revoke"]
    assert "<@U0BEN> paused it. *The key is switched off*" in plain(off, kind)
    mine = stories.suspected(answer=Answer.MINE)
    assert offered(mine, kind) == ["revoke"]
    assert "said that this was theirs" in plain(mine, kind)
    assert offered(stories.suspected(answer=Answer.QUIET), kind) == ["that_was_me", "revoke"]
    for state in (GrantState.ENDING, GrantState.ENDED):
        assert offered(stories.suspected(state=state), kind) == []


def test_who_paused_a_key_is_said_and_may_switch_it_on_from_their_list() -> None:
    """The holder who paused it; one whose approver or budget switched it off has no such button."""
    off = stories.suspected(answer=Answer.PAUSED, key=KeyState.DISABLED)
    listed = views.grant_list(Home("U0BEN", mine=(off,)))
    assert "<@U0BEN> paused it." in "\n".join(texts(listed["blocks"]))
    assert buttons(listed["blocks"]) == ["switch_on", "extend", "revoke"]
    assert off.key is not None
    by_approver = replace(off, key=replace(off.key, paused_by="U0CARA"))
    spent, both = stories.spent(1, key=KeyState.DISABLED), replace(off, key=replace(off.key, due_at=stories.NOW))
    for story in (by_approver, spent, both):
        assert buttons(views.grant_list(Home("U0BEN", mine=(story,)))["blocks"]) == ["extend", "revoke"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", [None, *Answer])
def test_hostile_names_do_nothing(kind: NoticeKind, answer: Answer | None) -> None:
    """Neither a project's nor a model's, and Slack's limits hold."""
    message = views.notice(kind, stories.suspected(stories.HOSTILE_DRAFT, answer=answer))
    fits_message(message)
    harmless([message["text"], *texts(message["blocks"])], message)


def test_admins_see_what_nobody_answered() -> None:
    """On their Home, a few and how many more; nobody else sees any of it."""
    many = (stories.suspected(stories.HOSTILE_DRAFT),) * 7
    home = views.home(Home("U0ANA", overview=DeskState(()), unusual=many))
    fits_view(home)
    harmless(texts(home["blocks"]), home)
    assert "… and 2 more." in "\n".join(texts(home["blocks"]))
    one = views.home(Home("U0ANA", overview=DeskState(()), unusual=(stories.suspected(),)))
    assert "4,210 requests" in "\n".join(texts(one["blocks"]))
    other = views.home(Home("U0BEN", unusual=many))
    assert "Unusual" not in str(other)
