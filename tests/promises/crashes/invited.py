"""Stories of desks that die while somebody is invited to the provider's own organisation, or the invitation is withdrawn."""

from typing import Any

from bot.desk.audit import Act
from bot.desk.invitations import ASK_AGAIN
from bot.desk.revoking import QUARANTINE
from bot.desk.states import GrantState
from tests.promises.crashes.stage import SECOND, until
from tests.promises.crashes.stages import WAYS_ON_ONE_STAGE
from tests.promises.crashes.stories import Story, and_fault, revoked_while_held, time_passes
from tests.promises.crashes.way import Way

EMAIL = "ben@acme.example"
LEASE_INVITATIONS = "Watch.invite.lease"


async def asks_for_an_invitation(way: Way) -> None:
    """Ben asks to be invited, in place of a key. He is the last of this stage, which knows him afterwards."""
    way.stage.ways = WAYS_ON_ONE_STAGE
    ben = way.flow.ben
    assert (await ben.command("/apikey request", "C0GENERAL")).acknowledged
    form = await ben.expect_modal("Request an API key")
    assert (await ben.click(form, "wish@openai", "invitation")).acknowledged
    form = await ben.expect(lambda seen: view if (view := ben.top(seen)) and "permission" not in view.inputs else None)
    values: dict[str, Any] = {"project": "proj_lab", "reason": "To look at the dashboards", "wish": "invitation"}
    assert (await ben.submit(form, **values)).acknowledged


async def invitation_asked(way: Way) -> None:
    """Ben asked for an invitation."""
    await way.done(lambda: asks_for_an_invitation(way))


async def invited(way: Way) -> None:
    """And got it."""
    await invitation_asked(way)
    await way.done(way.approve)
    await _is(way, GrantState.INVITED)
    await way.stage.settled()


async def accepted(way: Way) -> None:
    """And is in the project."""
    await invited(way)
    await way.flow.sandbox.post("openai/accept", email=EMAIL)
    await way.stage.later(ASK_AGAIN + SECOND)
    await _is_followed(way)


async def a_member_asked(way: Way) -> None:
    """Ben is in the organisation, and asks for its project."""
    admin = {"Authorization": f"Bearer {way.flow.servers.openai_admin_key}"}
    url = f"{way.flow.servers.openai_url}/organization/invites"
    joins = {"email": EMAIL, "role": "reader", "projects": [{"id": "proj_assist", "role": "member"}]}
    assert (await way.flow.http.post(url, json=joins, headers=admin)).status_code == 200
    await way.flow.sandbox.post("openai/accept", email=EMAIL)
    await invitation_asked(way)


async def sent_by_a_desk_that_died(way: Way) -> None:
    """The invitation is there, and the desk that sent it does not know."""
    await invitation_asked(way)
    await way.stage.dies("People._send: POST", "after", lambda: way.done(way.approve))


async def gives_it_back(way: Way) -> None:
    """Ben types it: the message with the button is leased to the desk that died."""
    grant = way.grant()
    assert grant is not None
    if not way.taken:
        way.taken = (await way.flow.ben.command(f"/apikey revoke {grant.id}")).acknowledged


async def taken_back_while_it_is_sent(way: Way) -> None:
    """Ben gives it back while OpenAI is asked for it; then it comes."""
    await way.approve()
    await revoked_while_held(way)


async def _is(way: Way, state: GrantState) -> None:
    await until(way.grant, lambda grant: grant is not None and grant.state is state)


async def _is_followed(way: Way) -> None:
    """Until the desk knows that he came, and does not look any more."""
    await until(way.grant, lambda grant: grant is not None and grant.due_at is None)


async def _at_openai(way: Way) -> tuple[list[str], bool]:
    """The projects that open invitations of Ben's name, and whether he is in the one that he asked for."""
    invites = [one for one in await way.stage.openai("invites") if one["email"] == EMAIL and one["status"] == "pending"]
    members = await way.stage.openai("projects/proj_lab/users")
    return [joined["id"] for one in invites for joined in one["projects"]], EMAIL in [one["email"] for one in members]


async def invited_once(way: Way) -> str:
    """One invitation is open, or he is in the project; taken back, nothing of it is left."""
    await _is(way, GrantState.INVITED)
    open_ones, in_it = await _at_openai(way)
    assert (open_ones, in_it) in ((["proj_lab"], False), ([], True))
    acts = [entry.act for entry in (await way.flow.store.audit_chain(way.flow.team))[0]]
    assert acts.count(Act.INVITED) == 1
    await way.done(way.revoke)
    await way.stage.later(QUARANTINE + SECOND)
    assert await taken_back(way, stays=way.grant().invitation == "") == "over"  # type: ignore[union-attr]  # looked at above
    return "invited"


async def taken_back(way: Way, *, stays: bool = False) -> str:
    """No invitation is open, and he is not in the project; the desk looks no more.

    He `stays` in the project where a desk died before it knew that it had put him there itself.
    """
    await way.stage.later(QUARANTINE + SECOND)
    await _is(way, GrantState.ENDED)
    assert await _at_openai(way) == ([], stays)
    acts = [entry.act for entry in (await way.flow.store.audit_chain(way.flow.team))[0]]
    assert acts.count(Act.WITHDRAWN) == 1
    return "over"


STORIES = (
    Story(
        "invite",
        ("Requests.decide", LEASE_INVITATIONS, "Invitations._send 2", "People._send: POST", "Invitations._send 3"),
        invitation_asked,
        Way.approve,
        Way.approve,
        end="invited",
        ends=invited_once,
    ),
    Story(
        "invite who is there already",
        ("People._join: POST", "Invitations._send 3"),
        a_member_asked,
        Way.approve,
        Way.approve,
        end="invited",
        ends=invited_once,
    ),
    Story(
        "an invitation fails",
        ("Invitations.carry_out",),
        and_fault(invitation_asked, "openai", "POST */invites", status=503),
        Way.approve,
        Way.approve,
        end="invited",
        ends=invited_once,
    ),
    Story(
        "an invitation is followed",
        ("Invitations._follow",),
        invited,
        lambda way: time_passes(way, ASK_AGAIN + SECOND),
        Way.wait,
        end="invited",
        ends=invited_once,
    ),
    Story(
        "withdraw",
        ("Grants.revoke", LEASE_INVITATIONS, "People._delete: DELETE", "Invitations._withdraw 2"),
        invited,
        Way.revoke,
        Way.revoke,
        end="over",
        ends=taken_back,
    ),
    Story(
        "withdraw from the project",
        ("Grants.revoke", "People._leave: DELETE", "Invitations._withdraw 2"),
        accepted,
        Way.revoke,
        Way.revoke,
        end="over",
        ends=taken_back,
    ),
    Story(
        "withdraw what is not known",
        ("Invitations._withdraw 1",),
        sent_by_a_desk_that_died,
        gives_it_back,
        gives_it_back,
        end="over",
        ends=taken_back,
    ),
    Story(
        "taken back while it is sent",
        ("Invitations._send 4",),
        and_fault(invitation_asked, "openai", "POST */invites", held=True),
        taken_back_while_it_is_sent,
        Way.wait,
        end="over",
        ends=taken_back,
    ),
)
