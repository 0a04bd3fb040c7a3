"""Everything inbound: acknowledge, parse, call the desk once, answer whoever acted. A room for each matter.

Bolt runs with `process_before_response`: each listener does its act in one transaction, then acknowledges. What is
slow follows in the background of the same process.

Slack may deliver the same press twice. What identifies it: a press its `trigger_id`, which each interaction has its
own of and a redelivery repeats; a submitted form the id of its view. Deciding, cancelling and revoking need none, as
doing the same again changes nothing, nor do events: an opened Home is drawn anew, and whoever changed is asked about.
"""

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from bot.desk.assembly import Desk
from bot.desk.ports import Notifier
from bot.slack import views
from bot.slack.answers import Answers
from bot.slack.background import Background
from bot.slack.listeners.asking import Asking
from bot.slack.listeners.deciding import Deciding
from bot.slack.listeners.digest import Weekly
from bot.slack.listeners.events import Events
from bot.slack.listeners.holding import Holding
from bot.slack.listeners.keys import Keys
from bot.slack.listeners.listener import Body, Listener, reply
from bot.slack.listeners.switchboard import ANYTHING, Switchboard
from bot.slack.listeners.trouble import Trouble

ROOMS: tuple[type[Listener], ...] = (Asking, Deciding, Keys, Holding, Weekly, Events, Trouble)


def register(app: AsyncApp, *, desk: Desk, notifier: Notifier, team: str) -> Background:
    """Connects the desk to the app. Drain what is returned at shutdown."""
    switchboard = Switchboard()
    answers, background = Answers(app.client, silent=lambda: desk.installation.silent), Background()
    rooms = [room(desk, notifier, team, answers, background) for room in ROOMS]
    commands = {word: answer for room in rooms for word, answer in room.register(switchboard).items()}

    async def command(ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
        word, rest = (*str(body.get("text") or "").split(maxsplit=1), "", "")[:2]
        answer = commands.get(word.lower())
        if answer is not None:
            await answer(ack, body, rooms[0].actor(context), rest.strip())
        else:
            await reply(ack, views.help_text() if word.lower() in ("", "help") else views.unknown_command(word))

    app.command(ANYTHING)(command)
    switchboard.connect(app)
    return background
