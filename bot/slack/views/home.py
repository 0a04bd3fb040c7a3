"""A member's Home, and the same as an answer to `/apikey list`."""

from collections.abc import Sequence

from bot.desk.model import Home, Story
from bot.desk.states import RequestState
from bot.slack.text import mention, quoted, when
from bot.slack.views import buttons, drafts, standing
from bot.slack.views.kit import (
    MESSAGE_BLOCKS,
    VIEW_BLOCKS,
    Block,
    Message,
    View,
    actions,
    button,
    divider,
    header,
    section,
    small,
)
from bot.slack.views.overview import overview_blocks
from bot.slack.views.unusual import open_incidents

EARLIER_SHOWN = 5  # of what is over


def home(home: Home) -> View:
    """The Home tab."""
    if home.unwelcome:
        return {"type": "home", "blocks": [header("Keydesk"), section(home.unwelcome)]}
    ask = button("Request a key", buttons.ASK, style="primary")
    blocks = [
        header("Keydesk"),
        section("API keys that expire, without a key ever being pasted into chat."),
        actions(ask),
    ]
    if home.queue:
        waiting = [to_decide(story) for story in home.queue]
        blocks += [header("Waiting for your decision"), *_fitting(waiting, room=VIEW_BLOCKS // 2 - 6)]
    overview = [*open_incidents(home.unusual), *overview_blocks(home.overview)] if home.overview else []
    blocks += [divider(), *_mine(home, room=VIEW_BLOCKS - len(blocks) - len(overview) - 1), *overview]
    return {"type": "home", "blocks": blocks}


def grant_list(home: Home, *, said: str = "") -> Message:
    """The answer to `/apikey list`, or after an act in it, with what was done on top."""
    if home.unwelcome:
        return {"text": home.unwelcome, "blocks": [section(home.unwelcome)]}
    top = [section(said)] if said else []
    living = sum(_open(story) for story in home.mine)
    counted = f"Your keys and requests: {living} open." if living else "You have no key, and asked for none."
    if home.queue:
        top.append(small(f"{len(home.queue)} waiting for your decision, on this app's Home."))
    return {"text": said or counted, "blocks": [*top, *_mine(home, room=MESSAGE_BLOCKS - len(top), ids=True)]}


def _mine(home: Home, *, room: int, ids: bool = False) -> list[Block]:
    current = [story for story in home.mine if _open(story)]
    over = [story for story in home.mine if not _open(story)][:EARLIER_SHOWN]
    title = header(
        "Your keys and invitations" if any(drafts.invited(one.request.draft) for one in home.mine) else "Your keys"
    )
    if not home.mine:
        asks = "`/apikey request` asks" if ids else "The button above asks"
        return [title, section(f"None yet. {asks} for one.")]
    earlier: list[Block] = [header("Earlier"), *(_past(story) for story in over)] if over else []
    shown = [_current(story, ids=ids) for story in current] or [[section("No open request, and no key in use.")]]
    return [title, *_fitting(shown, room=room - 1 - len(earlier)), *earlier]


def _fitting(entries: Sequence[list[Block]], *, room: int) -> list[Block]:
    """As many entries as there is room for, and how many more there are."""
    blocks: list[Block] = []
    for number, entry in enumerate(entries):
        rest = len(entries) - number
        if len(blocks) + len(entry) > room - (1 if rest > 1 else 0):
            return [*blocks, small(f"… and {rest} more. They show up here as these are dealt with.")]
        blocks += entry
    return blocks


def to_decide(story: Story) -> list[Block]:
    """A request that waits for a decision, in short, with the buttons that decide it."""
    request = story.request
    return [
        section(
            f"*{mention(request.requester)} asks {standing.wants(story)} {drafts.key_to(request.draft)}*\n"
            f"{drafts.terms(request.draft)} · asked {when(request.created_at)}\n"
            f"{quoted(request.draft.reason, standing.REASON_IN_LIST, lines=5)}"
        ),
        actions(
            button("Approve", buttons.APPROVE, request.id, style="primary"),
            button("Deny…", buttons.DENY, request.id),
        ),
    ]


def _current(story: Story, *, ids: bool) -> list[Block]:
    named = f" · `{story.grant.id}`" if ids and story.grant else ""
    text = f"*{_title(story)}*\n{drafts.terms(story.request.draft)}{named}\n{standing.standing(story)}"
    offered = buttons.for_requester(story)
    return [section(text), *([actions(*offered)] if offered else [])]


def _past(story: Story) -> Block:
    return small(f"*{_title(story)}*, asked {when(story.request.created_at)}. {standing.standing(story)}")


def _title(story: Story) -> str:
    words = drafts.key_named(story.request.draft)
    return words[:1].upper() + words[1:]


def _open(story: Story) -> bool:
    if story.grant is None:
        return story.request.state is RequestState.PENDING
    return buttons.alive(story.grant)
