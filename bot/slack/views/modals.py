"""The dialogs but for the request form: the one that denies, and what Home answers with."""

from bot.desk.model import Handover, Story
from bot.slack.text import mention, quoted
from bot.slack.views import standing
from bot.slack.views.kit import View, entry, modal, plain_text, section
from bot.slack.views.messages import handover_blocks
from bot.slack.views.request_form import REASON

DENY_FORM = "deny_form"
"""Its callback id."""


def deny_form(story: Story) -> View:
    """The form that asks an approver why not."""
    request = story.request
    return modal(
        "Deny this request",
        [
            section(
                f"*{mention(request.requester)} asks for {standing.key_to(request.draft)}*\n"
                f"{standing.terms(request.draft)}\n{quoted(request.draft.reason, standing.REASON_IN_LIST, lines=5)}"
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


def waiting_view() -> View:
    """While a key is being made for somebody who pressed on Home."""
    return modal("Your key", [section("Your key is being made. Its link appears here in a few seconds.")])


def handover_view(handover: Handover) -> View:
    """What a pick-up on Home hands over."""
    return modal("Your key", handover_blocks(handover, "Close this, and the link is gone from Slack."))


def problem_view(text: str) -> View:
    """Why something did not work, for somebody who pressed on Home."""
    return modal("That did not work", [section(text)])
