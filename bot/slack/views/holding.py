"""What is read of a key whose time is almost over, that nothing uses, or whose holder left; and the form that asks for one that follows it."""

from bot.desk.model import Story
from bot.desk.states import GrantState, RequestState
from bot.slack.text import day, mention, span, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.kit import Message, View, actions, button, entry, modal, plain_text, section, small
from bot.slack.views.request_form import DURATION, REASON

EXTEND_FORM = "extend_form"
"""Its callback id."""

GIVE_BACK = "Give it back"


def expiring(story: Story) -> Message:
    """To the holder: when the key's time is over, and what they can do."""
    draft, grant = story.request.draft, story.grant
    named = drafts.key_named(draft)
    if grant is None or grant.state is not GrantState.ACTIVE or grant.expires_at is None:
        what = f"Your {named} was about to expire"
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.standing(story)}")]}
    what = f"Your {named} expires {when(grant.expires_at)}"
    then = (
        "Then it is revoked, and whatever uses it stops working." if not story.by_hand else "Then it is to be revoked."
    )
    can = (
        "*Extend…* asks for a key that follows it; an approver decides. Not needed any more? Give it back now."
        if buttons.may_extend(story)
        else ""
    )
    return {
        "text": f"{what}. {then}",
        "blocks": [
            section(f"*{what}*\n{drafts.terms(draft)}\n{then} {can}".rstrip()),
            small(standing.standing(story)),
            actions(*buttons.extend(story), buttons.revoke(story, GIVE_BACK)),
        ],
    }


def succeeded(story: Story) -> str:
    """How far the key is that its holder asked for to follow one that is over; empty where they did not, or it is over, too."""
    if story.extension is None or story.grant is None or story.extension.requester != story.grant.holder:
        return ""
    if story.extension.state is RequestState.PENDING:
        return "You asked to extend it, and an approver decides still: a new key then follows it."
    if story.successor is None or not buttons.alive(story.successor):
        return ""
    if story.successor.state is GrantState.ACTIVE:
        return "You have the key that follows it: use that one."
    return "The key that follows it is approved, and is to be picked up."


def idle(story: Story) -> Message:
    """To the holder: nothing uses the key. Keep it, or give it back?"""
    draft, grant = story.request.draft, story.grant
    named = drafts.key_named(draft)
    if grant is None or grant.state is not GrantState.ACTIVE or not story.asked_idle:
        what = f"Your {named} was not used for a while"
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.standing(story)}")]}
    what = f"Is your {named} still needed?"
    then = (
        "No answer within 7 days, and it is revoked."
        if story.idle_revokes
        else "Without an answer it works on, and you are asked again."
    )
    used = f"It was last used on {day(story.spending.last_day)}" if story.spending else "It was never used"
    return {
        "text": f"{what} {used}. Keep it, or give it back?",
        "blocks": [
            section(f"*{what}*\n{used}, as far as it is reported. A key that nobody uses can only be stolen. {then}"),
            actions(button("Keep it", buttons.KEEP, grant.id, style="primary"), buttons.revoke(story, GIVE_BACK)),
            small(standing.standing(story)),
        ],
    }


def orphaned(story: Story) -> Message:
    """To who approved: the holder of a key left. Who takes it over?"""
    draft, grant = story.request.draft, story.grant
    whose = mention(story.request.requester)
    named = drafts.key_named(draft)
    if grant is None or not buttons.alive(grant) or grant.expires_at is None:
        what = f"{whose} left; about their {named}"
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.progress(story)}")]}
    asked = story.extension is not None and not buttons.may_extend(story)
    what = f"{whose} left, and their {named} works on"
    can = (
        ""
        if asked
        else (
            "\n*Take it over…* asks for a key of your own that follows it; an approver decides. Nothing needs it? Revoke it now: "
            f"{whose} still knows it."
        )
    )
    return {
        "text": f"{what} until {when(grant.expires_at)}. Take it over, or revoke it?",
        "blocks": [
            section(f"*{what}*\n{drafts.terms(draft)}{can}"),
            small(standing.progress(story)),
            actions(*buttons.extend(story), buttons.revoke(story)),
        ],
    }


def extend_form(story: Story) -> View:
    """The form that asks for how long, and why."""
    draft, grant = story.request.draft, story.grant
    left = grant is not None and grant.left_at is not None
    ends = f" It {'ends' if left else 'expires'} {when(grant.expires_at)}." if grant and grant.expires_at else ""
    whose = (
        f"The {drafts.key_named(draft)} of {mention(story.request.requester)}"
        if left
        else f"Your {drafts.key_named(draft)}"
    )
    return modal(
        "Take this key over" if left else "Extend this key",
        [
            section(
                f"*{whose}*\n{drafts.terms(draft)}.{ends}\n"
                "An approver decides. Then you pick up a new key that can do the same; once you have it, this one goes on "
                "for a day at most."
            ),
            entry(
                DURATION,
                "For how long?",
                {"type": "plain_text_input", "initial_value": span(draft.duration)},
                hint="Like 12h, 7d or 4w, counted from pick-up of the new key.",
            ),
            entry(
                REASON,
                "What is it still needed for?",
                {"type": "plain_text_input", "multiline": True},
                hint="The approvers read this.",
            ),
        ],
        close="Back",
        submit=plain_text("Ask", 24),
        callback_id=EXTEND_FORM,
        private_metadata=grant.id if grant else "",
    )


def kept(story: Story) -> str:
    """To whoever keeps a key."""
    return f"Good: you keep your {drafts.key_named(story.request.draft)}. You are not asked again for a month."
