"""The buttons that a state offers, and what they are called where they are pressed."""

from bot.desk.keys import OLD_KEYS_AT_MOST, off_until_rotated
from bot.desk.model import Grant, Story
from bot.desk.states import GrantState, KeyState, RequestState
from bot.slack.views import drafts
from bot.slack.views.kit import Block, button, plain_text

# The action ids.
APPROVE = "approve"
DENY = "deny"
CANCEL = "cancel"
PICK_UP = "pick_up"
REVOKE = "revoke"
ASK = "ask"
OPEN_KEY = "open_key"
OPEN_DEPOSIT = "open_deposit"
REVOKED_BY_HAND = "revoked_by_hand"
SWITCH_ON = "switch_on"
ROTATE = "rotate"
SWITCHED = "switched"
EXTEND = "extend"
KEEP = "keep"
ROTATE_LATER = "rotate_later"


def for_requester(story: Story) -> list[Block]:
    """What its requester can do now."""
    if story.request.state is RequestState.PENDING:
        return [button("Cancel request", CANCEL, story.request.id)]
    if story.grant is None or not alive(story.grant):
        return []
    if story.grant.left_at:
        return []  # whoever had left and is back has it no more: it is offered to others
    offered = [pick_up(story)] if may_pick_up(story) else []
    offered += rotate(story)
    if story.key and story.key.paused_by == story.grant.holder and story.key.due_at is None:
        offered += switch_on(story)
    return [*offered, *switched(story), *extend(story), revoke(story)]


def deposited(story: Story) -> bool:
    """Whether the key was brought by a person and rests until it is picked up."""
    return story.under_way is not None and story.under_way.state is KeyState.DEPOSITED


def may_pick_up(story: Story) -> bool:
    """Whether a press on *Pick up* can succeed."""
    if story.grant is None or story.grant.left_at:
        return False
    if story.grant.state is GrantState.ACTIVE:
        follows = story.next_key is not None and story.next_key.state in (KeyState.DEPOSITED, KeyState.SEALED)
        return follows and _on(story)
    return story.grant.state in (GrantState.READY, GrantState.DELIVERING)


def may_rotate(story: Story) -> bool:
    """Whether a press on *Rotate* can succeed."""
    if story.grant is None or story.grant.state is not GrantState.ACTIVE or story.next_key is not None:
        return False
    if story.grant.left_at or len(story.retiring) >= OLD_KEYS_AT_MOST:
        return False
    return _on(story) or (story.key is not None and off_until_rotated(story.key))


def rotate(story: Story, named: str = "Rotate", style: str = "") -> list[Block]:
    """The holder's button, while there is a key to follow."""
    if story.grant is None or not may_rotate(story):
        return []
    return [button(named, ROTATE, story.grant.id, **({"style": style} if style else {}))]


def _on(story: Story) -> bool:
    return story.key is not None and story.key.state is KeyState.LIVE


def switched(story: Story) -> list[Block]:
    """The holder's button, where old keys still work; it asks once more."""
    if story.grant is None or not story.retiring:
        return []
    return [
        button(
            "Switched: revoke the old key",
            SWITCHED,
            story.grant.id,
            confirm={
                "title": plain_text("Is the new key in use?", 100),
                "text": plain_text("The old key stops working within seconds. Whatever still uses it fails then.", 300),
                "confirm": plain_text("Revoke the old key", 30),
                "deny": plain_text("Not yet", 30),
            },
        )
    ]


def switch_on(story: Story) -> list[Block]:
    """The approvers' button, where the key was switched off, and its holder's, where they paused it."""
    if story.grant is None or not alive(story.grant):
        return []
    if story.key is None or story.key.state is not KeyState.DISABLED:
        return []
    return [button("Switch on again", SWITCH_ON, story.grant.id)]


def alive(grant: Grant) -> bool:
    """Whether there is something to revoke."""
    return grant.state not in (GrantState.ENDING, GrantState.ENDED)


def pick_up(story: Story) -> Block:
    """The holder's button."""
    grant_id = story.grant.id if story.grant else ""
    if story.under_way is not None and story.under_way.state is KeyState.SEALED:
        return button("Get a new link", PICK_UP, grant_id)
    return button("Pick up the new key" if story.next_key else "Pick up key", PICK_UP, grant_id, style="primary")


def revoke(story: Story, named: str = "Revoke") -> Block:
    """The holder's and the approvers' button. It stands beside healthy keys, so it is plain; what it asks once more is not."""
    grant = story.grant
    if grant is not None and drafts.invited(grant.draft):
        return button(
            "Withdraw",
            REVOKE,
            grant.id,
            confirm={
                "title": plain_text("Withdraw the invitation?", 100),
                "text": plain_text("Who accepted it is taken out of the project again.", 300),
                "confirm": plain_text("Withdraw", 30),
                "deny": plain_text("Keep it", 30),
                "style": "danger",
            },
        )
    return button(
        named,
        REVOKE,
        story.grant.id if story.grant else "",
        confirm={
            "title": plain_text("Revoke this key?", 100),
            "text": plain_text(f"{_then(story)} It cannot be undone: a new key needs a new request.", 300),
            "confirm": plain_text("Revoke", 30),
            "deny": plain_text("Keep it", 30),
            "style": "danger",
        },
    )


def _then(story: Story) -> str:
    """What a revocation does."""
    made = story.grant and story.grant.state in (GrantState.ACTIVE, GrantState.DELIVERING, GrantState.ISSUING)
    if not made and not deposited(story):
        return "No key was made yet; none will be."
    if story.by_hand:
        return "A person is asked to revoke it by hand: it works until they did."
    return "Whatever uses this key stops working within seconds."


def may_extend(story: Story) -> bool:
    """Whether a press on *Extend* can succeed."""
    if story.grant is None or story.grant.state is not GrantState.ACTIVE or story.grant.expires_at is None:
        return False
    under_way = story.extension is not None and story.extension.state is RequestState.PENDING
    return not under_way and not (story.successor is not None and alive(story.successor))


def extend(story: Story) -> list[Block]:
    """The button of the holder, or of who may take over what they left, while there is something to extend."""
    if story.grant is None or not may_extend(story):
        return []
    return [button("Take it over…" if story.grant.left_at else "Extend…", EXTEND, story.grant.id)]
