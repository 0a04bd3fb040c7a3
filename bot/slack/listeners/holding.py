"""Holding a key: asking for one that follows it, saying that it is needed, and rotating it later."""

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.slack import forms, views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener, value
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.views.buttons import EXTEND, KEEP, ROTATE_LATER
from bot.slack.views.holding import EXTEND_FORM


class Holding(Listener):
    """The buttons of what is said about a key that somebody holds."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action(EXTEND)(self.open_form)
        app.action(KEEP)(self.keep)
        app.action(ROTATE_LATER)(self.remind_later)
        app.view(EXTEND_FORM)(self.extend)
        return {}

    async def open_form(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self.desk.extending.look(self.actor(context), value(body))
        await self.answers.open(Place.of(body).trigger_id, views.extend_form(story))
        await ack()

    async def extend(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        view = body["view"]
        asked = forms.extension(view["state"]["values"])
        if isinstance(asked, dict):
            await ack(response_action="errors", errors=asked)
            return
        duration, reason = asked
        await self.desk.extending.ask(
            self.actor(context), view["private_metadata"], duration=duration, reason=reason, origin=view["id"]
        )
        await ack()

    async def keep(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor = self.actor(context)
        story = await self.desk.idling.keep(actor, value(body))
        await ack()
        self.background.start(self.answers.say(Place.of(body), views.kept(story)))

    async def remind_later(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        story = await self.desk.reminding.put_off(self.actor(context), value(body))
        await ack()
        self.background.start(self.answers.say(Place.of(body), views.put_off(story)))
