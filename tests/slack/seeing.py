"""What tests of the skin look for on a member's screen."""

from typing import Any

from sandbox.client import Member, Message
from tests.flows.world import ASK, World


def asking(**changes: Any) -> dict[str, Any]:
    """What a good form is filled in with, and these changes."""
    return {**ASK, **changes}


async def told(member: Member, channel: str = "C0GENERAL") -> Message:
    """The newest message there, which is private."""
    message = (await member.messages(channel))[-1]
    assert message.ephemeral
    return message


async def card(member: Member, channel: str | None = None) -> Message:
    """The newest approval card."""
    return await member.expect_message("asks for a key", channel)


async def acts(flow: World) -> list[str]:
    """Every act that the audit log has."""
    entries, _ = await flow.store.audit_chain(flow.team)
    return [entry.act for entry in entries]


async def approved(flow: World) -> Message:
    """Ben asked, Ana approved: Ben's message with the button."""
    await flow.ask()
    assert (await flow.ana.click(await card(flow.ana), "approve")).acknowledged
    return await flow.ben.expect(
        lambda seen: next((one for one in flow.ben.visible(seen) if "pick_up" in one.buttons), None)
    )


def private(member: Member, channel: str | None = None) -> Any:
    """Finds the newest private message."""
    return lambda seen: next((one for one in reversed(member.visible(seen, channel)) if one.ephemeral), None)


def newer(member: Member, seen: int) -> Any:
    """Finds the newest message from the app when there are more than these."""
    return lambda state: member.visible(state)[-1] if len(member.visible(state)) > seen else None
