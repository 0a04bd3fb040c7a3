"""What holders read of rotations."""

from bot.desk.model import Key, Story
from bot.desk.states import GrantState, KeyState
from bot.slack.text import mention, when
from bot.slack.views import standing
from bot.slack.views.kit import Message, View, actions, modal, section, small

AWAITED = "A person makes this key: they were asked for a new one. You hear from me when it is here; the one that you have works on."


def rotated(story: Story) -> Message:
    """To the holder: another key took the place of the one before; when both were used last, and what becomes of the old one."""
    draft, grant, key = story.request.draft, story.grant, story.key
    what = f"Your {standing.key_named(draft)} was rotated"
    if grant is None or key is None or grant.state is not GrantState.ACTIVE:
        return {"text": f"{what}.", "blocks": [section(f"*{what}*\n{standing.standing(story)}")]}
    lines = [f"New key{standing.print_of(key)}: {_last_used(story, key)}"] if story.retiring else []
    lines += [
        f"Old key{standing.print_of(old)}: {_last_used(story, old)}. It works until {when(old.due_at)} at the latest."
        for old in story.retiring
        if old.due_at
    ]
    lines += [_ending(story, old) for old in story.others if old.state in (KeyState.REVOKING, KeyState.BY_HAND)]
    blocks = [section("\n".join([f"*{what}*", *(lines or ["The old key is revoked: calls with it are refused."])]))]
    if story.retiring:
        blocks += [
            section(
                "Put the new key wherever the old one is. Keydesk revokes the old one as soon as usage shows that you "
                "switched, or when you say so."
            ),
            actions(*standing.switched(story)),
        ]
    blocks.append(small(f"Now: {standing.standing(story)}"))
    return {
        "text": f"{what}." + (" Put the new key wherever the old one is." if story.retiring else ""),
        "blocks": blocks,
    }


def not_rotated(story: Story) -> Message:
    """To the holder: the key that was to follow did not come, or was not picked up; the one that they have works on."""
    named = standing.key_named(story.request.draft)
    what = f"Your {named} was not rotated"
    again = standing.rotate(story)
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
    what = f"Your {standing.key_named(story.request.draft)} was revoked at once"
    offered = standing.buttons(story)
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
    return f"Done: the old key is being revoked at {standing.at(story.request.draft)}. The new one goes on."


def told_to_rotate(story: Story) -> str:
    """To an approver who had somebody's key rotated at once."""
    draft, holder = story.request.draft, mention(story.request.requester)
    return f"Done: {standing.key_to(draft)} of {holder} is being revoked. They were told, and pick up another."


def _last_used(story: Story, key: Key) -> str:
    used = story.used.get(key.id)
    return f"last used around {when(used)}" if used else "no use reported yet"


def _ending(story: Story, key: Key) -> str:
    where = standing.at(story.request.draft)
    if key.state is KeyState.BY_HAND:
        return f"Old key{standing.print_of(key)}: *it still works* until a person revokes it at {where}. Keydesk asked for that."
    return f"Old key{standing.print_of(key)}: it is being revoked at {where}."
