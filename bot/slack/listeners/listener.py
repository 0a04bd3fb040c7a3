"""What every listener has at hand: the desk, the ways to answer, and who acts."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.assembly import Desk
from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Actor
from bot.desk.ports import Notifier
from bot.desk.reference import reference
from bot.slack import views
from bot.slack.answers import Answers, Place
from bot.slack.background import Background
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.sentences import SORRY, sentence

log = logging.getLogger(__package__)  # one name for all rooms, as operators know it

Body = Mapping[str, Any]
Command = Callable[[AsyncAck, Body, Actor, str], Awaitable[None]]
"""Answers one word of `/apikey`: how to acknowledge, the delivery, who typed it, and what stands after the word."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The base of all that listen."""

    desk: Desk
    notifier: Notifier
    team: str
    answers: Answers
    background: Background

    def register(self, app: Switchboard) -> dict[str, Command]:
        """Connects itself to the app; the commands that it answers, by their word."""
        raise NotImplementedError

    def actor(self, context: AsyncBoltContext) -> Actor:
        """Who acts at this team's desk. Their own team is the directory's to say, and the door refuses any other.

        A payload's team will not do: members of this team act in channels of others, and people of other teams act
        in channels shared with this one, where a refusal belongs into this team's log.
        """
        return Actor(self.team, str(context.user_id))

    def words(self, error: Exception) -> str:
        """What to say; what nobody expected is logged under the reference that its sentence carries."""
        known = sentence(error)
        if known is not None:
            return known
        log.error("unexpected error, reference %s", reference(), exc_info=error)
        return f"{SORRY} Reference `{reference()}`."

    async def show_home(self, actor: Actor) -> None:
        try:
            await self.notifier.show_home(await self.desk.stories.home(actor))
        except (Undeliverable, Unavailable) as error:
            log.warning("the Home of %s was not drawn: %s", actor.id, error)

    async def refresh(self, actor: Actor, place: Place, said: str = "") -> None:
        """Brings up to date what only its viewer sees: their Home, their digest, or the list that was an answer to them."""
        if place.home:
            await self.show_home(actor)
        elif place.digest and place.response_url:
            week, last = place.digest
            told = await self.desk.mailing.show(actor, week=week, last=last)
            await self.answers.send(place, views.digest(told, chart=place.chart), replace=True)
            if said:
                await self.answers.say(place, said)
        elif place.ephemeral and place.response_url:
            await self.answers.send(
                place, views.grant_list(await self.desk.stories.home(actor), said=said), replace=True
            )


async def reply(ack: AsyncAck, message: views.Message) -> None:
    """Answers a command, for whoever typed it alone."""
    await ack(text=message["text"], blocks=message["blocks"], response_type="ephemeral")


def value(body: Body) -> str:
    """What the pressed button is about."""
    return str(body["actions"][0].get("value") or "")
