"""Who listens to what, found by its name.

Bolt asks its listeners one after another whether a delivery is theirs, and gathers all that it could tell each of them
before it asks: some 10 µs for each, and there are forty. So Bolt has one listener for each kind of delivery, and the name of
what was pressed, submitted or told finds the desk's.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.response import BoltResponse

Body = Mapping[str, Any]
Listening = Callable[..., Awaitable[None]]
"""Takes of `ack`, `body`, `event` and `context` those that it names, as Bolt's listeners do."""
Failing = Callable[..., Awaitable[BoltResponse]]

ANYTHING = re.compile(".*", re.DOTALL)


class Switchboard:
    """Takes what the rooms listen to, by Bolt's own words; `connect` puts Bolt through to them.

    The choices of some fields are one provider's: its name follows theirs after an "@", and the same listener takes them.
    """

    def __init__(self) -> None:
        self._actions: dict[str, Listening] = {}
        self._views: dict[str, Listening] = {}
        self._options: dict[str, Listening] = {}
        self._events: dict[str, Listening] = {}
        self._failed: Failing | None = None

    def action(self, name: str = "") -> Callable[[Listening], None]:
        """Presses and choices of this action id; without one, those that nobody else takes."""
        return _into(self._actions, name)

    def view(self, name: str) -> Callable[[Listening], None]:
        """Submissions of the form of this callback id."""
        return _into(self._views, name)

    def options(self, name: str) -> Callable[[Listening], None]:
        """Menus of this action id that are opened and want their options."""
        return _into(self._options, name)

    def event(self, name: str = "") -> Callable[[Listening], None]:
        """Events of this type; without one, those that nobody else takes."""
        return _into(self._events, name)

    def error(self, failed: Failing) -> None:
        """Answers whatever any of them raises."""
        self._failed = failed

    def connect(self, app: AsyncApp) -> None:
        """Bolt puts through to them from here on."""

        async def pressed(ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
            # An old attachment's button has a name of another kind; none of ours is one.
            name = body["actions"][0]["action_id"] if body["type"] == "block_actions" else ""
            await _of(name, self._actions)(ack=ack, body=body, context=context)

        async def submitted(ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
            await _of(body["view"]["callback_id"], self._views)(ack=ack, body=body, context=context)

        async def opened(ack: AsyncAck, body: Body, context: AsyncBoltContext) -> None:
            await _of(body["action_id"], self._options)(ack=ack, body=body, context=context)

        async def told(ack: AsyncAck, event: Body, body: Body, context: AsyncBoltContext) -> None:
            await _of(event["type"], self._events)(ack=ack, event=event, body=body, context=context)

        app.action(ANYTHING)(pressed)
        app.view(_any_of(self._views))(submitted)
        app.options({"action_id": _any_of(self._options)})(opened)
        app.event(ANYTHING)(told)
        if self._failed is not None:
            app.error(self._failed)


def _into(listening: dict[str, Listening], name: str) -> Callable[[Listening], None]:
    def take(listener: Listening) -> None:
        if name in listening:
            raise ValueError(f"{name!r} has a listener already")
        wanted = tuple(inspect.signature(listener).parameters)

        async def put_through(**told: Any) -> None:
            await listener(**{one: told[one] for one in wanted})

        listening[name] = put_through

    return take


def _any_of(listening: Mapping[str, Listening]) -> re.Pattern[str]:
    """The names that somebody takes: Bolt refuses others itself."""
    names = "|".join(re.escape(name) for name in listening)
    return re.compile(rf"\A(?:{names})(?:@.*)?\Z", re.DOTALL)


def _of(name: str, listening: Mapping[str, Listening]) -> Listening:
    return listening.get(name.partition("@")[0]) or listening[""]
