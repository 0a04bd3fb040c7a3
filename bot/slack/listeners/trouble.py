"""The answer to whatever a listener raised, and to what none of them takes."""

import logging
from typing import Any

from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from bot.desk.errors import DraftRejected, NotThere, Superseded
from bot.slack import forms, views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.text import plain
from bot.slack.views.kit import ERROR_TEXT
from bot.slack.views.request_form import REASON

log = logging.getLogger(__package__)  # one name for all rooms, as operators know it

NOT_TO_BE_LOST = frozenset(
    {
        "user_change",
        "subteam_members_changed",
        "subteam_updated",
        "app_uninstalled",
        "tokens_revoked",
        "team_access_revoked",
    }
)


class Trouble(Listener):
    """Whatever goes wrong. What nobody else listens to is its, too."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action()(self.unknown_action)
        app.event()(self.acknowledge)
        app.error(self.failed)
        return {}

    async def acknowledge(self, ack: AsyncAck) -> None:
        await ack()

    async def unknown_action(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        old = "This button is of an older Keydesk. This app's Home, and `/apikey list`, have the ones that work."
        self.background.start(self.answers.say(Place.of(body), old))

    async def failed(self, error: Exception, body: Body) -> BoltResponse:
        """The answer to whatever a listener raised. Slack is told 200: the answer is in words, for who acted."""
        log.debug("refused: %s", type(error).__name__)
        match body.get("type"):
            case "block_suggestion":
                log.warning("no options can be offered: %s", type(error).__name__)
                return BoltResponse(status=200, body={"options": []})
            case "view_submission":
                return BoltResponse(status=200, body=self._on_form(error, body))
            case "block_actions":
                self.background.start(self.answers.say(Place.of(body), self.words(error)))
            case _ if "command" in body:
                return BoltResponse(status=200, body={"response_type": "ephemeral", **views.note(self.words(error))})
            case "event_callback" if (body.get("event") or {}).get("type") in NOT_TO_BE_LOST:
                # Nobody reads an answer, and a key may live on: Slack is not told that it is taken, and delivers it again.
                self.words(error)
                return BoltResponse(status=503, body="")
            case _:
                self.words(error)
        return BoltResponse(status=200, body="")

    def _on_form(self, error: Exception, body: Body) -> dict[str, Any]:
        """What was typed stays where it is, unless there is nothing left to submit."""
        if isinstance(error, DraftRejected):
            return {"response_action": "errors", "errors": forms.rejected(error, body["view"]["state"]["values"])}
        text = self.words(error)
        if isinstance(error, Superseded | NotThere):
            return {"response_action": "update", "view": views.problem_view(text)}
        fields = body["view"]["state"]["values"]
        field = REASON if REASON in fields else next(iter(fields), REASON)
        return {"response_action": "errors", "errors": {field: plain(text, ERROR_TEXT)}}
