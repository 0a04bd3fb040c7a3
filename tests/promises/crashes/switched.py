"""Stories of desks that die while a key is switched off, as nobody rotated it, or on again."""

import time
from contextlib import suppress
from datetime import timedelta

from bot.desk.model import TimerKind
from bot.desk.states import KeyState
from tests.promises.crashes.stage import PATIENCE, SECOND, until
from tests.promises.crashes.stories import Story, and_fault
from tests.promises.crashes.way import Way

SWITCHED = "Switching.carry_out.write_down"


async def overdue(way: Way) -> None:
    """Ben's key is to be rotated, and Ana was told that it is overdue."""
    await way.active()
    end = time.monotonic() + PATIENCE
    while (grant := way.grant()) is None or grant.overdue_since is None:
        assert time.monotonic() < end, grant
        await time_of_the_rotation(way)


async def time_of_the_rotation(way: Way) -> None:
    """Time passes until there is something to do about the rotation, and a beat does it."""
    flow, grant = way.flow, way.grant()
    assert grant is not None
    await way.stage.settled()  # what is being posted is not overtaken by days
    timer = await flow.store.read(lambda tx: tx.timer(flow.team, TimerKind.ROTATION, grant.id))
    assert timer is not None
    with suppress(EOFError):
        await flow.pass_time(max(timer.due_at - flow.clock(), timedelta()) + SECOND)
        await way.stage.desk.sweep("tick")


async def until_it_is_off(way: Way) -> None:
    """It is switched off for that, in Ben's working hours."""
    end = time.monotonic() + PATIENCE
    while way.stage.desk.alive and _state(way) not in (KeyState.DISABLING, KeyState.DISABLED):
        assert time.monotonic() < end
        await time_of_the_rotation(way)


async def off(way: Way) -> None:
    """It is off."""
    await overdue(way)
    await way.done(lambda: until_it_is_off(way))
    await _is_in(way, KeyState.DISABLED)


async def is_off(way: Way) -> str:
    """The provider does not take it; switched on again, it does."""
    await _is_in(way, KeyState.DISABLED)
    assert not await way.works()
    await way.done(lambda: switches_on(way))
    return await is_on(way)


async def switches_on(way: Way) -> None:
    """Ana lets it go on."""
    await way.press(way.flow.ana, "switch_on")


async def is_on(way: Way) -> str:
    """The provider takes it again, until it is given back."""
    await _is_in(way, KeyState.LIVE)
    assert await way.works()
    await way.done(way.revoke)
    return await way.over()


async def another_works(way: Way) -> str:
    """Ben has another key; what was off is gone."""
    await _is_in(way, KeyState.REVOKED)
    assert await way.to_the_end() == "key"
    return "key"


def _state(way: Way) -> KeyState:
    """Of the first key of this way."""
    return min(way.keys(), key=lambda key: key.intended_at).state


async def _is_in(way: Way, state: KeyState) -> None:
    await until(lambda: _state(way), lambda found: found is state)
    await way.stage.settled()


def _switched(provider: str, switch: str) -> tuple[Story, ...]:
    return (
        Story(
            f"switch off at {provider}",
            ("Timers._lease", "Timers._carry_out", switch, SWITCHED),
            overdue,
            until_it_is_off,
            until_it_is_off,
            end="over",
            ends=is_off,
            provider=provider,
        ),
        Story(
            f"switch on at {provider}",
            ("Switching.switch_on", switch, SWITCHED),
            off,
            switches_on,
            switches_on,
            end="over",
            ends=is_on,
            provider=provider,
        ),
    )


STORIES = (
    *_switched("openrouter", "OpenRouter._switch: PATCH"),
    *_switched("litellm", "LiteLLM._switch: POST"),
    Story(
        "switching off fails",
        ("Switching.carry_out",),
        and_fault(overdue, "litellm", "POST */key/*", status=503),
        until_it_is_off,
        until_it_is_off,
        end="over",
        ends=is_off,
        provider="litellm",
    ),
    Story(
        "rotate what is off",
        ("Rotation.rotate", "LiteLLM.revoke: POST"),
        off,
        Way.rotate,
        Way.rotation_over,
        ends=another_works,
        provider="litellm",
    ),
    Story(
        "revoke what is off",
        ("Grants.revoke", "OpenRouter.revoke: DELETE"),
        off,
        Way.revoke,
        Way.revoke,
        end="over",
        provider="openrouter",
    ),
)
