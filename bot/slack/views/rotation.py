"""What holders read of rotations."""

from bot.desk.keys import off_until_rotated
from bot.desk.model import Key, Story
from bot.desk.states import GrantState, KeyState
from bot.slack.text import day, mention, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.holding import GIVE_BACK
from bot.slack.views.kit import Message, View, actions, button, modal, section, small

ENDING_SHOWN = 3  # old keys; a section takes 3000 characters
AWAITED = "A person makes this key: they were asked for a new one. You hear from me when it is here; the one that you have works on."


def due(story: Story) -> Message:
    """To the holder: the key is to be rotated, or should have been; with what they can do, while it is so."""
    draft, grant = story.request.draft, story.grant
    named = drafts.key_named(draft)
    if grant is None or grant.rotates_at is None or story.rotation is None:
        what = f"Your {named} was to be rotated"
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.standing(story)}")]}
    what = (
        f"Your {named} should have been rotated by {when(grant.rotates_at)}"
        if grant.overdue_since
        else f"Rotate your {named} by {when(grant.rotates_at)}"
    )
    lines = [f"*{what}*", drafts.terms(draft), _follows(story)]
    offered = [
        *(
            buttons.rotate(story, "Rotate now", "primary")
            or ([buttons.pick_up(story)] if buttons.may_pick_up(story) else [])
        ),
        *([button("Remind me later", buttons.ROTATE_LATER, grant.id)] if _can_wait(story) else []),
        buttons.revoke(story, GIVE_BACK),
    ]
    again = story.rotation.again_at
    reminded = [small(f"You are reminded again {when(again)}, as you wished.")] if again else []
    return {
        "text": f"{what}.",
        "blocks": [
            section("\n".join(line for line in lines if line)),
            actions(*offered),
            *reminded,
            small(standing.standing(story)),
        ],
    }


def _follows(story: Story) -> str:
    """How to rotate, and what follows where nobody does."""
    how = (
        "*Rotate now* gives you a new key; the old one works on beside it until you switched, and then dies by itself. "
        "Not needed any more? Give it back."
        if buttons.may_rotate(story)
        else ""
    )
    off_at, off = story.rotation.off_at if story.rotation else None, standing.off(story.key)
    if story.key is not None and off_until_rotated(story.key):
        how = f"It {off}: calls with it are refused. *Rotate now* gives you a new key that works."
    elif off_at and not off:
        how += f" If it is not rotated, it is {_switched_off(story)} from {when(off_at)} on."
    return how.strip()


def _switched_off(story: Story) -> str:
    return "switched off" if story.pausable else "revoked"


def _can_wait(story: Story) -> bool:
    """Whether a reminder later would still say something new."""
    return story.rotation is not None and story.rotation.again_at is None and buttons.may_rotate(story)


def overdue(story: Story) -> Message:
    """To whoever approved: a key was not rotated in time; when it was used last, and what follows."""
    draft, grant, holder = story.request.draft, story.grant, mention(story.request.requester)
    asked = drafts.key_to(draft)
    if grant is None or grant.overdue_since is None or grant.rotates_at is None or story.rotation is None:
        what = f"Its rotation was overdue: {asked} of {holder}"
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.progress(story)}")]}
    what = f"Not rotated in time: {asked} of {holder}"
    off_at, off, key = story.rotation.off_at, standing.off(story.key), story.key
    then = "The key goes on."
    if off:
        then = f"It {off} until they rotate it." if key and off_until_rotated(key) else f"It {off}."
    elif off_at:
        then = f"If it is not rotated, it is {_switched_off(story)} from {when(off_at)} on."
    used = f" It was last used on {day(story.spending.last_day)}." if story.spending else ""
    return {
        "text": f"{what}, by {when(grant.rotates_at)}.",
        "blocks": [
            section(
                f"*{what}*\n{drafts.terms(draft)}\nIt was to be rotated by {when(grant.rotates_at)}, and they were "
                f"reminded.{used} {then}"
            ),
            actions(*buttons.switch_on(story), buttons.revoke(story)),
            small(standing.progress(story)),
        ],
    }


def put_off(story: Story) -> str:
    """To whoever wants to be reminded later."""
    named = drafts.key_named(story.request.draft)
    if story.rotation is None or story.rotation.again_at is None:
        return f"There is nothing to be reminded of: {standing.standing(story)}"
    return f"You are reminded of your {named} again {when(story.rotation.again_at)}."


def rotated(story: Story) -> Message:
    """To the holder: another key took the place of the one before; when both were used last, and what becomes of the old one."""
    draft, grant, key = story.request.draft, story.grant, story.key
    what = f"Your {drafts.key_named(draft)} was rotated"
    if grant is None or key is None or grant.state is not GrantState.ACTIVE:
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.standing(story)}")]}
    lines = [f"New key{standing.print_of(key)}: {_last_used(story, key)}"] if story.retiring else []
    lines += [
        f"Old key{standing.print_of(old)}: {_last_used(story, old)}. It works until {when(old.due_at)} at the latest."
        for old in story.retiring
        if old.due_at
    ]
    ending = [old for old in story.others if old.state in (KeyState.REVOKING, KeyState.BY_HAND)]
    lines += [_ending(story, old) for old in ending[:ENDING_SHOWN]]
    if len(ending) > ENDING_SHOWN:
        lines.append(f"… and {len(ending) - ENDING_SHOWN} more old keys are still to be revoked.")
    blocks = [section("\n".join([f"*{what}*", *(lines or ["The old key is revoked: calls with it are refused."])]))]
    if story.retiring:
        blocks += [
            section(
                "Put the new key wherever the old one is. Keydesk revokes the old one as soon as usage shows that you "
                "switched, or when you say so."
            ),
            actions(*buttons.switched(story)),
        ]
    blocks.append(small(standing.standing(story)))
    return {
        "text": f"{what}." + (" Put the new key wherever the old one is." if story.retiring else ""),
        "blocks": blocks,
    }


def not_rotated(story: Story) -> Message:
    """To the holder: the key that was to follow did not come, or was not picked up; the one that they have works on."""
    named = drafts.key_named(story.request.draft)
    what = f"Your {named} was not rotated"
    again = buttons.rotate(story)
    why = (
        "The new key was not brought, or not picked up, in time: the rotation lapsed. The key that you have works on."
        if again
        else standing.standing(story)
    )
    return {
        "text": f"{what}. {why}",
        "blocks": [section(f"*{what}*\n{why}"), *([actions(*again)] if again else [])],
    }


def rotated_at_once(story: Story) -> Message:
    """To the holder: the key was revoked, and another is to be picked up."""
    what = f"Your {drafts.key_named(story.request.draft)} was revoked at once"
    offered = buttons.for_requester(story)
    return {
        "text": f"{what}. Another takes its place.",
        "blocks": [
            section(f"*{what}*\nWhatever uses it stops working. Your grant goes on, with another key."),
            section(standing.standing(story)),
            *([actions(*offered)] if offered else []),
        ],
    }


def awaited_view() -> View:
    """For somebody who rotated on Home a key that a person has to make."""
    return modal("Your new key", [section(AWAITED)])


def switched(story: Story) -> str:
    """To the holder who said that they switched."""
    if not story.others:
        return "The old key is revoked already: calls with it are refused."
    return f"Done: the old key is being revoked at {drafts.at(story.request.draft)}. The new one goes on."


def told_to_rotate(story: Story) -> str:
    """To an approver who had somebody's key rotated at once."""
    draft, holder = story.request.draft, mention(story.request.requester)
    return f"Done: {drafts.key_to(draft)} of {holder} is being revoked. They were told, and pick up another."


def _last_used(story: Story, key: Key) -> str:
    used = story.used.get(key.id)
    return f"last used around {when(used)}" if used else "no use reported yet"


def _ending(story: Story, key: Key) -> str:
    where = drafts.at(story.request.draft)
    if key.state is KeyState.BY_HAND:
        return f"Old key{standing.print_of(key)}: *it still works* until a person revokes it at {where}. Keydesk asked for that."
    return f"Old key{standing.print_of(key)}: it is being revoked at {where}."
