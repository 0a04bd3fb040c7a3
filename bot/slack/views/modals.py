"""The dialogs but for the request form: the one that denies, how to keep a key safe, and what Home answers with."""

from bot.desk.model import Handover, Story
from bot.slack.text import mention, quoted
from bot.slack.views import drafts, standing
from bot.slack.views.kit import View, entry, modal, plain_text, section, small
from bot.slack.views.messages import handover_blocks
from bot.slack.views.request_form import REASON

DENY_FORM, LESSON = "deny_form", "lesson"
"""The callback ids of what is submitted."""
ROTATES = "rotates "
"""Before the grant that a lesson is about, where the key is to follow the one that its holder has."""

KEEPING_A_KEY_SAFE = (
    "*1. It is yours alone.* Nobody else works with it. Whoever needs one asks with `/apikey request` and gets their own.",
    "*2. Keep it where secrets are kept:* a secret manager, or a `.env` file that git ignores. Not in code, a chat, a "
    "ticket or a shared notebook. The page that shows the key has the commands.",
    "*3. Use it on machines that you trust:* your own, or your servers. Never in a web page or an app that others can "
    "open: they can read it there.",
    "*4. If in doubt, kill it.* It slipped into a commit, a log, a screenshot? `/apikey revoke` at once, then ask anew. "
    "That costs minutes, and nobody is blamed.",
)
"""The four points."""


def deny_form(story: Story) -> View:
    """The form that asks an approver why not."""
    request = story.request
    return modal(
        "Deny this request",
        [
            section(
                f"*{mention(request.requester)} asks {standing.wants(story)} {drafts.key_to(request.draft)}*\n"
                f"{drafts.terms(request.draft)}\n{quoted(request.draft.reason, standing.REASON_IN_LIST, lines=5)}"
            ),
            entry(
                REASON,
                "Why not",
                {"type": "plain_text_input", "multiline": True},
                hint="They read this. Say what they could ask for instead.",
            ),
        ],
        close="Back",
        submit=plain_text("Deny", 24),
        callback_id=DENY_FORM,
        private_metadata=request.id,
    )


def lesson(grant_id: str, *, rotates: bool = False) -> View:
    """How to keep a key safe, before one is picked up. To acknowledge it is to pick up, or to rotate; to close it is not."""
    return modal(
        "Keep this key safe",
        [
            *(section(point) for point in KEEPING_A_KEY_SAFE),
            small(
                "You read this once a year; that you did is written down. Close it, and nothing is made: the button waits."
            ),
        ],
        close="Not now",
        submit=plain_text("Got it, give me the key", 24),
        callback_id=LESSON,
        private_metadata=f"{ROTATES}{grant_id}" if rotates else grant_id,
    )


def waiting_view() -> View:
    """While a key is being made for somebody who pressed on Home."""
    return modal("Your key", [section("Your key is being made. Its link appears here in a few seconds.")])


def handover_view(handover: Handover) -> View:
    """What a pick-up on Home hands over."""
    return modal("Your key", handover_blocks(handover, "Close this, and the link is gone from Slack."))


def problem_view(text: str) -> View:
    """Why something did not work, for somebody who pressed on Home."""
    return modal("That did not work", [section(text)])
