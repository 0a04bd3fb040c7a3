"""The Slack skin: everything inbound and outbound, and how things look. Holds no behaviour."""

from bot.slack.app import SocketMode, build_app, events_route
from bot.slack.client import SlackClient, SlackLine, build_client, open_session
from bot.slack.directory import SlackDirectory
from bot.slack.listeners import register
from bot.slack.notifier import SlackNotifier

__all__ = [
    "SlackClient",
    "SlackDirectory",
    "SlackLine",
    "SlackNotifier",
    "SocketMode",
    "build_app",
    "build_client",
    "events_route",
    "open_session",
    "register",
]
