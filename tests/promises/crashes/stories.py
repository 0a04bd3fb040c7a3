"""The stories in which a desk dies: what is before, the step that it dies of, and what people do again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from bot.desk.hands import LEASE
from bot.desk.model import RoundKind
from bot.desk.revoking import QUARANTINE
from bot.desk.watch import STALLED_AFTER
from tests.promises.crashes.stage import MINUTE, PATIENCE, POST, SECOND
from tests.promises.crashes.way import Way


@dataclass(frozen=True)
class Story:
    """A step that may die at one of its `points`, the first being the act that begins it; what is before, and after."""

    name: str
    points: tuple[str, ...]
    before: Callable[[Way], Awaitable[None]]
    step: Callable[[Way], Awaitable[None]]
    again: Callable[[Way], Awaitable[None]]
    end: str = "key"
    unreachable: str = ""
    ends: Callable[[Way], Awaitable[str]] = Way.to_the_end
    provider: str = "openai"

    def __str__(self) -> str:
        return self.name


async def time_passes(way: Way, by: timedelta) -> None:
    """The sweep may be the desk's last."""
    with suppress(EOFError):
        await way.flow.pass_time(by)


async def nothing_minted(way: Way) -> None:
    """A pick-up stalled before its mint."""
    await way.approved()
    await way.stage.dies(MINT_ACCOUNT, "before", lambda: way.done(way.pick_up))


async def half_minted(way: Way) -> None:
    """A pick-up stalled within its mint."""
    await way.approved()
    await way.stage.dies(MINT_ACCOUNT, "after", lambda: way.done(way.pick_up))


async def given_up(way: Way) -> None:
    """And the sweep gave it up."""
    await nothing_minted(way)
    await way.stage.later(STALLED_AFTER + SECOND)


def and_fault(
    before: Callable[[Way], Awaitable[None]], target: str, call: str, **what: Any
) -> Callable[[Way], Awaitable[None]]:
    """What is before, and then a fault of Slack's or of OpenAI's."""

    async def both(way: Way) -> None:
        await before(way)
        await way.stage.settled()
        await way.flow.sandbox.fault(target, call, **what)

    return both


async def held_and_revoked(way: Way) -> None:
    """Ben revokes while his key is minted; then the mint comes to its end."""
    await way.pick_up()
    await revoked_while_held(way)


async def revoked_while_held(way: Way) -> None:
    """Ben revokes while a call to the provider is held; then that comes to its end."""
    until = time.monotonic() + PATIENCE
    while not (await way.flow.sandbox.record())["held"]:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    grant = way.grant()
    assert grant is not None
    assert (await way.flow.ben.command(f"/apikey revoke {grant.id}")).acknowledged
    await way.flow.sandbox.release()


async def asked_where_the_channel_is_closed(way: Way) -> None:
    """Ben asks; the desk was thrown out of the approvers' channel."""
    await way.flow.sandbox.set_channel("C0KEYS", ["U0ANA", "U0CARA", "U0DEV"])
    await way.ask()


async def channel_opened(way: Way) -> None:
    """It is let in again."""
    await way.flow.sandbox.set_channel("C0KEYS", ["U0ANA", "U0CARA", "U0DEV", "U0KEYDESK"])
    await way.ask()


async def just_started(way: Way) -> None:
    """A desk that wrote to nobody yet, and so does not know their conversations with it."""
    await way.stage.settled()
    await way.stage.desk.stop()
    await way.stage.desk.start()


async def approves_himself(way: Way) -> None:
    """Ben presses on the card that Ana has, as only a forged request can."""
    way.shown = way.shown or await way.with_button(way.flow.ana, "approve")
    if not way.taken:
        way.taken = (await way.flow.sandbox.click_as(way.flow.ben, way.shown, "approve")).acknowledged


async def claimed_elsewhere(way: Way) -> None:
    """A second browser of Ben's asks for the envelope that the first one holds."""
    with suppress(httpx.TransportError):
        assert (await way.stage.other_browser.claim(way.url)).status_code == 409


async def rounds(way: Way) -> None:
    """The rounds at the provider are made."""
    with suppress(EOFError):
        way.flow.clock.ahead += timedelta(hours=1)
        await way.flow.sandbox.advance(timedelta(hours=1).total_seconds())
        await way.stage.desk.sweep("go_round")


async def rounds_to_their_end(way: Way) -> None:
    """The dead desk's lease ends, and the rounds are made anew: none has a flaw, none is left due."""
    await way.stage.later(LEASE + SECOND)
    until = time.monotonic() + PATIENCE
    while True:
        await way.stage.desk.sweep("go_round")
        every = await way.flow.store.read(lambda tx: tx.rounds(way.flow.team))
        made = [one for one in every if one.provider == way.stage.provider]
        now = way.flow.clock()
        undone = [one for one in made if one.flaw or one.attempts or one.due_at <= now or not one.ended_at]
        # The desk's own beat may hold a round in this moment.
        if not undone or time.monotonic() > until:
            break
        await asyncio.sleep(0.1)
    assert {one.kind for one in made} == set(RoundKind) - {RoundKind.HOLDERS}, "which is made at Slack"
    assert not undone


MINT_ACCOUNT, MINT_ROLE = "OpenAI._mint_on_bare_account: POST 1", "OpenAI._mint_on_bare_account: POST 2"
MINT_KEY, REVOKE = "OpenAI._create_key: POST 1", "OpenAI.revoke: DELETE"
LEASE_KEYS, LEASE_NOTICES = "Watch.retire.lease", "Messages.deliver.lease"
FOUND, WRITE_DOWN = "Revoking._found", "Revoking.carry_out.write_down"
KEEP_ROUND = "Lease.write.both"
SHOWN = "Messages._write_down"

STORIES = (
    Story("open the form", ("views.open",), Way.wait, Way.ask, Way.ask),
    Story(
        "submit",
        ("Requests.submit", LEASE_NOTICES, POST, SHOWN, "views.publish"),
        Way.wait,
        Way.ask,
        Way.ask,
    ),
    Story("submit to a desk that just started", ("conversations.open",), just_started, Way.ask, Way.ask),
    Story("approve", ("Requests.decide", "chat.update", SHOWN), Way.asked, Way.approve, Way.approve),
    Story("deny", ("Requests.decide",), Way.asked, Way.deny, Way.deny, end="denied"),
    Story("cancel", ("Requests.cancel",), Way.asked, Way.cancel, Way.cancel, end="cancelled"),
    Story(
        "pick up",
        ("Grants.pick_up", MINT_ACCOUNT, MINT_ROLE, MINT_KEY, "Grants._seal", "response_url"),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "pick up at Home", ("Grants.pick_up", "views.update"), Way.approved, Way.pick_up_at_home, Way.pick_up_at_home
    ),
    Story("pick up again", ("Grants.pick_up", REVOKE), Way.linked, Way.pick_up, Way.mint_over),
    Story("refuse", ("Door.refuse",), Way.asked, approves_himself, approves_himself),
    Story("bring", ("Deposits.deposit",), Way.awaited, Way.bring, Way.bring),
    Story("pick up what was brought", ("Grants.pick_up", "Grants._seal"), Way.brought, Way.pick_up, Way.pick_up),
    Story("give back what was brought", ("Grants.revoke", WRITE_DOWN), Way.held, Way.revoke, Way.revoke, end="over"),
    Story("revoked by hand", ("Deposits.revoked_by_hand",), Way.given_back, Way.confirm, Way.confirm, end="over"),
    Story("claim again", ("Links._second_claim",), Way.claimed, claimed_elsewhere, claimed_elsewhere),
    Story("claim", ("Links.claim",), Way.linked, Way.claim, Way.reveal),
    Story("acknowledge", ("Links.acknowledge",), Way.claimed, Way.acknowledge, Way.acknowledge),
    Story("revoke", ("Grants.revoke", LEASE_KEYS, REVOKE, WRITE_DOWN), Way.active, Way.revoke, Way.revoke, end="over"),
    Story("rotate", ("Rotation.rotate", MINT_KEY, "Grants._seal"), Way.active, Way.rotate, Way.rotation_over),
    Story("switched", ("Rotation.switched", REVOKE), Way.rotated, Way.say_switched, Way.say_switched),
    Story(
        "grace ends", ("Watch._end_grace",), Way.rotated, lambda way: time_passes(way, timedelta(hours=25)), Way.wait
    ),
    Story(
        "rotate at once",
        ("Rotation.rotate_at_once", REVOKE),
        Way.active,
        Way.rotate_at_once,
        Way.rotate_at_once,
    ),
    Story(
        "not opened",
        ("Watch._take_back", REVOKE, WRITE_DOWN),
        Way.linked,
        lambda way: time_passes(way, 16 * MINUTE),
        Way.wait,
    ),
    Story("not acknowledged", ("Watch._take_back",), Way.claimed, lambda way: time_passes(way, 3 * MINUTE), Way.wait),
    Story(
        "expire",
        ("Watch._expire",),
        Way.active,
        lambda way: time_passes(way, timedelta(days=7, minutes=1)),
        Way.wait,
        end="over",
    ),
    Story(
        "stalled before its mint",
        ("Watch._unfinished", WRITE_DOWN),
        nothing_minted,
        lambda way: time_passes(way, 3 * MINUTE),
        Way.wait,
    ),
    Story(
        "stalled within its mint",
        ("Watch._unfinished", FOUND, REVOKE, WRITE_DOWN),
        half_minted,
        lambda way: time_passes(way, 3 * MINUTE),
        Way.wait,
    ),
    Story("never minted", (WRITE_DOWN,), given_up, lambda way: time_passes(way, QUARANTINE), Way.wait),
    Story(
        "a mint fails",
        ("Grants._break_off",),
        and_fault(Way.approved, "openai", "POST */service_accounts", status=500),
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "half a key is taken back",
        (REVOKE, "Grants._break_off"),
        and_fault(Way.approved, "openai", "POST */service_accounts/*", status=429),
        Way.pick_up,
        Way.mint_over,
    ),
    Story(
        "revoked while it is minted",
        ("Grants.issue.minted_too_late",),
        and_fault(Way.approved, "openai", "POST */api_keys", held=True),
        held_and_revoked,
        Way.wait,
        end="over",
    ),
    Story(
        "a revocation fails",
        ("Revoking.carry_out.put_off",),
        and_fault(Way.active, "openai", "DELETE *", status=503),
        Way.revoke,
        Way.revoke,
        end="over",
    ),
    Story("Slack fails", (SHOWN,), and_fault(Way.wait, "slack", POST, status=500), Way.ask, Way.ask),
    Story(
        "Slack refuses a message",
        (SHOWN,),
        Way.wait,
        asked_where_the_channel_is_closed,
        channel_opened,
        unreachable="C0KEYS",
    ),
    Story(
        "what was brought is not opened",
        ("Watch._take_back",),
        Way.unwrapped,
        lambda way: time_passes(way, 16 * MINUTE),
        Way.wait,
    ),
    Story("rounds", ("Rounds._lease", KEEP_ROUND, "Lease.give_back"), Way.active, rounds, rounds_to_their_end),
    Story(
        "pick up at OpenRouter",
        ("OpenRouter.mint: POST", "OpenRouter._bind: POST"),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
        provider="openrouter",
    ),
    Story(
        "revoke at OpenRouter",
        ("OpenRouter.revoke: DELETE",),
        Way.active,
        Way.revoke,
        Way.revoke,
        end="over",
        provider="openrouter",
    ),
    Story(
        "pick up at LiteLLM",
        ("LiteLLM._made_once: POST 1",),
        Way.approved,
        Way.pick_up,
        Way.mint_over,
        provider="litellm",
    ),
    Story(
        "revoke at LiteLLM",
        ("LiteLLM.revoke: POST",),
        Way.active,
        Way.revoke,
        Way.revoke,
        end="over",
        provider="litellm",
    ),
)
