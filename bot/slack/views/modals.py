"""The dialogs: forms, and what Home answers with."""

from bot.desk.model import Handover, Story
from bot.desk.policy import ANY, parse_duration
from bot.desk.requests import Menu
from bot.slack.text import mention, quoted, span
from bot.slack.views import standing
from bot.slack.views.kit import (
    OPTIONS,
    PLACEHOLDER_TEXT,
    View,
    entry,
    modal,
    option,
    plain_text,
    section,
)
from bot.slack.views.messages import handover_blocks

REQUEST_FORM, DENY_FORM = "request_form", "deny_form"
"""The callback ids of the desk's forms."""

PROVIDER, PROJECT, PERMISSION, DURATION, BUDGET, REASON = (
    "provider",
    "project",
    "permission",
    "duration",
    "budget",
    "reason",
)
"""The names of the forms' fields: block and action ids."""


def request_form(menu: Menu, *, warning: str = "") -> View:
    """The form that asks for a key, filled in with what policy proposes."""
    providers = [option(provider.label, provider.name) for provider in menu.providers[:OPTIONS]]
    first = menu.providers[0]
    rules = [rule for rule in menu.rules if rule.provider == first.name]
    allowed = {permission for rule in rules for permission in rule.permissions}
    permissions = [
        option(permission.label, permission.id)
        for permission in first.permissions
        if ANY in allowed or permission.id in allowed
    ][:OPTIONS]
    longest = max(parse_duration(rule.max_duration) for rule in rules)
    largest = max(rule.max_monthly_budget for rule in rules)
    blocks = [
        entry(
            PROVIDER,
            "Provider",
            {"type": "static_select", "options": providers, "initial_option": providers[0]},
        ),
        entry(
            PROJECT,
            "Project",
            {
                "type": "external_select",
                "min_query_length": 0,
                "placeholder": plain_text(f"One of the projects at {first.label}", PLACEHOLDER_TEXT),
            },
        ),
        entry(
            PERMISSION,
            "What the key may do",
            {
                "type": "static_select",
                "options": permissions,
                "placeholder": plain_text("As little as does the job", PLACEHOLDER_TEXT),
            },
        ),
        entry(
            DURATION,
            "How long",
            {"type": "plain_text_input", "initial_value": rules[0].default_duration, "max_length": 20},
            hint=f"Like 12h, 7d or 4w, counted from pick-up. At most {span(longest)}.",
        ),
        entry(
            BUDGET,
            "Monthly budget in US dollars",
            {"type": "plain_text_input", "initial_value": str(rules[0].default_monthly_budget), "max_length": 20},
            hint=f"Like 25 or 12.50. At most ${largest:,}.",
        ),
        entry(
            REASON,
            "Why",
            {
                "type": "plain_text_input",
                "multiline": True,
                "placeholder": plain_text("What it is for: your approver reads this", PLACEHOLDER_TEXT),
            },
        ),
    ]
    if warning:
        blocks.insert(0, section(f":warning: {warning}"))
    return modal(
        "Request an API key",
        blocks,
        close="Cancel",
        submit=plain_text("Ask for it", 24),
        callback_id=REQUEST_FORM,
    )


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
