"""Deciding on what others ask for."""

from slack_bolt.async_app import AsyncAck, AsyncBoltContext

from bot.desk.errors import Superseded
from bot.desk.model import Actor, Ruling
from bot.desk.states import RequestState
from bot.slack import forms, views
from bot.slack.answers import Place
from bot.slack.listeners.listener import Body, Command, Listener, value
from bot.slack.listeners.switchboard import Switchboard
from bot.slack.views.buttons import APPROVE, DENY
from bot.slack.views.modals import DENY_FORM


class Deciding(Listener):
    """The approval card."""

    def register(self, app: Switchboard) -> dict[str, Command]:
        app.action(APPROVE)(self.approve)
        app.action(DENY)(self.ask_why_not)
        app.view(DENY_FORM)(self.deny)
        return {}

    async def approve(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, request_id, place = self.actor(context), value(body), Place.of(body)
        try:
            await self.desk.requests.decide(actor, request_id, Ruling.APPROVE)
        except Superseded:
            await ack()
            self.background.start(self._too_late(actor, request_id, place))
        else:
            await ack()
            self.background.start(self.refresh(actor, place))

    async def ask_why_not(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, request_id, place = self.actor(context), value(body), Place.of(body)
        story = await self.desk.stories.of(actor.team, request_id)
        if story.request.state is not RequestState.PENDING:
            await ack()
            self.background.start(self._too_late(actor, request_id, place))
        else:
            await self.answers.open(place.trigger_id, views.deny_form(story))
            await ack()

    async def deny(self, ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        actor, view = self.actor(context), body["view"]
        request_id = view["private_metadata"]
        try:
            await self.desk.requests.decide(actor, request_id, Ruling.DENY, forms.reason(view["state"]["values"]))
        except Superseded:
            late = views.late(await self.desk.stories.of(actor.team, request_id))
            await ack(response_action="update", view=views.problem_view(late))
        else:
            await ack()

    async def _too_late(self, actor: Actor, request_id: str, place: Place) -> None:
        """Tells who was faster, and brings the copy that was pressed up to date: it may be one the desk lost."""
        story = await self.desk.stories.of(actor.team, request_id)
        await self.answers.say(place, views.late(story))
        if place.response_url and not place.ephemeral and not place.digest:
            await self.answers.send(place, views.approval_card(story), replace=True)
        await self.refresh(actor, place)
