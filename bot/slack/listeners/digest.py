"""The weekly digest: shown now, moved, switched off."""

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Actor
from bot.desk.week import Digest
from bot.slack import forms, views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener, reply
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.views.digest import DIGEST_SETTINGS, SETTINGS_FORM


class Weekly(Listener):
    """The two commands, and the form of the second."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action(DIGEST_SETTINGS)(self.ask_when)
        app.view(SETTINGS_FORM)(self.choose_when)
        return {"digest": self.show, "settings": self.settings}

    async def show(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        """By direct message, as on Mondays: there it stays, and can be looked at again."""
        told = await self.desk.mailing.show(actor)
        if told.empty:
            await reply(ack, views.digest(told))
            return
        await reply(ack, views.note("Your week comes to your messages from this app, in a moment."))
        self.background.start(self._send(told, Place.of(body)))

    async def _send(self, told: Digest, place: Place) -> None:
        try:
            await self.notifier.send_digest(told, again=False)
        except (Undeliverable, Unavailable) as error:
            await self.answers.say(place, self.words(error))

    async def settings(self, ack: AsyncAck, body: Body, actor: Actor, rest: str) -> None:
        await self._open(actor, str(body.get("trigger_id") or ""))
        await ack()

    async def ask_when(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        await self._open(self.actor(context), str(body.get("trigger_id") or ""))
        await ack()

    async def _open(self, actor: Actor, trigger_id: str) -> None:
        held, tz = await self.desk.mailing.settings(actor)
        await self.answers.open(trigger_id, views.settings_form(held, tz))

    async def choose_when(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        chosen = forms.digest_settings(body["view"]["state"]["values"])
        kept = await self.desk.mailing.choose(self.actor(context), **chosen)
        await ack(response_action="update", view=views.settings_kept(kept))
