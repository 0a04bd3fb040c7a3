"""What Slack tells of by itself: somebody opened Home, somebody changed."""

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from bot.desk.model import Actor
from bot.slack.listeners.listener import Body, Command, Listener


class Events(Listener):
    """The events that the manifest subscribes to."""

    def register(self, app: AsyncApp) -> dict[str, Command]:
        app.event("app_home_opened")(self.home_opened)
        app.event("user_change")(self.member_changed)
        return {}

    async def home_opened(self, ack: AsyncAck, event: Body, context: AsyncBoltContext) -> None:
        await ack()
        if event.get("tab") == "home":
            self.background.start(self.show_home(self.actor(context)))

    async def member_changed(self, ack: AsyncAck, event: Body) -> None:
        """Whoever left loses their keys. The event only says whom to ask about: it may be old, or come twice."""
        user = event.get("user")
        if isinstance(user, dict) and user.get("id"):
            await self.desk.leaving.look(Actor(self.team, str(user["id"])))
        await ack()
