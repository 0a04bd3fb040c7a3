"""How things look: pure functions from the domain to Block Kit, as plain dicts."""

from bot.slack.views.deposits import confirmed
from bot.slack.views.digest import chart_of, digest, digest_of, settings_form, settings_kept
from bot.slack.views.holding import extend_form, kept
from bot.slack.views.home import grant_list, home
from bot.slack.views.kit import Block, Message, View
from bot.slack.views.messages import (
    WHICH_TO_REVOKE,
    WHICH_TO_ROTATE,
    WHICH_TO_ROTATE_AT_ONCE,
    approval_card,
    ended,
    handover,
    help_text,
    lapsed,
    late,
    note,
    notice,
    outcome,
    receipt,
    revoked,
    unacknowledged,
    unfinished,
    unknown_command,
)
from bot.slack.views.modals import (
    deny_form,
    handover_view,
    lesson,
    problem_view,
    waiting_view,
)
from bot.slack.views.overview import provider_flaw, round_flaw
from bot.slack.views.request_form import model_options, permission_options, project_options, request_form
from bot.slack.views.rotation import AWAITED, awaited_view, put_off, rotated_at_once, switched, told_to_rotate
from bot.slack.views.unusual import explained, paused, suspected, unusual
from bot.slack.views.usage import budget, my_usage, overspent

__all__ = [
    "AWAITED",
    "WHICH_TO_REVOKE",
    "WHICH_TO_ROTATE",
    "WHICH_TO_ROTATE_AT_ONCE",
    "Block",
    "Message",
    "View",
    "approval_card",
    "awaited_view",
    "budget",
    "chart_of",
    "confirmed",
    "deny_form",
    "digest",
    "digest_of",
    "ended",
    "explained",
    "extend_form",
    "grant_list",
    "handover",
    "handover_view",
    "help_text",
    "home",
    "kept",
    "lapsed",
    "late",
    "lesson",
    "model_options",
    "my_usage",
    "note",
    "notice",
    "outcome",
    "overspent",
    "paused",
    "permission_options",
    "problem_view",
    "project_options",
    "provider_flaw",
    "put_off",
    "receipt",
    "request_form",
    "revoked",
    "rotated_at_once",
    "round_flaw",
    "settings_form",
    "settings_kept",
    "suspected",
    "switched",
    "told_to_rotate",
    "unacknowledged",
    "unfinished",
    "unknown_command",
    "unusual",
    "waiting_view",
]
