"""Private answers: to the one member who typed or pressed, where they did."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.desk.errors import Unavailable
from bot.slack import chart, views
from bot.slack.client import CALL_SECONDS, code_of, quiet

log = logging.getLogger(__name__)

TRIGGER_USED = frozenset({"exchanged_trigger_id", "trigger_exchanged"})
TRIGGER_LATE = frozenset({"expired_trigger_id", "trigger_expired", "invalid_trigger_id"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member pressed: a message, which can be answered by its URL, or a view, which a dialog answers.

    `digest` says of which digest the message is, if it is one (`views.digest_of`), and `chart` is the chart in it.
    """

    response_url: str | None
    trigger_id: str
    ephemeral: bool
    home: bool
    digest: tuple[date | None, date] | None = None
    chart: views.Block | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Place":
        """The place that an interaction's payload tells of."""
        container = body.get("container") or {}
        pressed, message = _first(body.get("actions")), body.get("message")
        return cls(
            response_url=body.get("response_url") or None,
            trigger_id=str(body.get("trigger_id", "")),
            ephemeral=bool(container.get("is_ephemeral")),
            home=(body.get("view") or {}).get("type") == "home",
            digest=views.digest_of(str(pressed.get("block_id") or "")),
            chart=chart.kept(message.get("blocks")) if isinstance(message, dict) else None,
        )


def _first(pressed: Any) -> Mapping[str, Any]:
    """What was pressed; nothing, where that has another shape than Slack's."""
    found = pressed[0] if isinstance(pressed, list) and pressed else None
    return found if isinstance(found, dict) else {}


class Answers:
    """Speaks to one member at a time; to nobody while `silent`."""

    def __init__(self, client: AsyncWebClient, *, silent: Callable[[], bool]) -> None:
        self._client = client
        self._silent = silent

    async def open(self, trigger_id: str, view: views.View) -> str | None:
        """Opens a dialog and returns its id; None where an earlier delivery of the same press opened one.

        Raises `Unavailable` when Slack does not take it in time.
        """
        if not trigger_id:
            raise Unavailable("Slack sent this without a way to open a dialog. Try once more.")
        try:
            opened = await self._client.views_open(trigger_id=trigger_id, view=view)
        except SlackApiError as error:
            code = code_of(error)
            if code in TRIGGER_USED:
                return None
            if code not in TRIGGER_LATE:
                raise
            raise Unavailable("Slack did not open the dialog in time. Try once more.") from None
        except (ClientError, TimeoutError):
            raise Unavailable("Slack does not answer right now. Try again in a moment.") from None
        return str(opened["view"]["id"])

    async def update(self, view_id: str, view: views.View) -> None:
        """Shows something else in an open dialog; one that was closed meanwhile is left closed."""
        try:
            await self._client.views_update(view_id=view_id, view=view)
        except SlackApiError as error:
            log.info("dialog %s could not be updated: %s", view_id, code_of(error))

    async def say(self, place: Place, text: str) -> None:
        """A sentence, private to who pressed there."""
        if place.response_url:
            await self.send(place, views.note(text))
            return
        try:
            await self.open(place.trigger_id, views.problem_view(text))
        except Unavailable:
            log.info("an answer came too late for its dialog")

    async def send(self, place: Place, message: views.Message, *, replace: bool = False) -> None:
        """A message at the place: beside what was pressed, seen by who pressed alone, or in its stead."""
        if not place.response_url:
            raise ValueError("a view has no URL to answer at")
        if self._silent():
            log.info("a private answer is not sent: the app is not installed any more")
            return
        webhook = AsyncWebhookClient(
            place.response_url,
            timeout=CALL_SECONDS,
            session=self._client.session,
            retry_handlers=self._client.retry_handlers,
            logger=quiet,
        )
        body: dict[str, Any] = {
            "text": message["text"],
            "blocks": message["blocks"],
            "replace_original": replace,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if not replace:
            body["response_type"] = "ephemeral"
        try:
            answer = await webhook.send_dict(body)
        except (ClientError, TimeoutError) as error:
            log.warning("Slack did not take a private answer: %s", type(error).__name__)
            return
        if answer.status_code != 200:
            log.warning("Slack did not take a private answer: %s %s", answer.status_code, answer.body[:100])
