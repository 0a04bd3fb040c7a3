"""Stories of desks that die while a key, or its holder, goes on: rotated, left, switched off, invited, in a new project."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

from bot.desk.audit import Act
from bot.desk.invitations import ASK_AGAIN
from bot.desk.model import Notice, NoticeKind, TimerKind
from bot.desk.revoking import QUARANTINE
from bot.desk.states import GrantState, KeyState
from sandbox.workspace import TEAM
from tests.flows.world import ASK
from tests.promises.crashes.stage import MINUTE, PATIENCE, SECOND
from tests.promises.crashes.stages import WAYS_ON_ONE_STAGE
from tests.promises.crashes.stories import (
    FOUND,
    LEASE_KEYS,
    MINT_ACCOUNT,
    MINT_KEY,
    REVOKE,
    WRITE_DOWN,
    Story,
    and_fault,
    time_passes,
)
from tests.promises.crashes.way import Way

EMAIL = "ben@acme.example"
LEASE_INVITATIONS, SWITCHED = "Watch.invite.lease", "Switching.carry_out.write_down"

# ---- rotated


async def another_linked(way: Way) -> None:
    """Ben has a key, and a link to the one that is to follow it."""
    await way.active()
    known = await way.links()
    await way.done(way.rotate)
    way.url = await way.link(known)


async def another_to_claim(way: Way) -> None:
    """As above; the key that he is asked for from here on is the new one."""
    await another_linked(way)
    way.key = ""


async def another_claimed(way: Way) -> None:
    """And his browser holds the lease of it."""
    await another_to_claim(way)
    await way.claim()


async def another_half_minted(way: Way) -> None:
    """A rotation stalled within its mint."""
    await way.active()
    await way.stage.dies(MINT_KEY, "after", lambda: way.done(way.rotate))


ROTATED = (
    Story("claim the next key", ("Links.claim",), another_to_claim, Way.claim, Way.reveal),
    Story("acknowledge the next key", ("Links.acknowledge",), another_claimed, Way.acknowledge, Way.acknowledge),
    Story(
        "the next key is not opened",
        ("Watch._take_back", REVOKE, WRITE_DOWN),
        another_linked,
        lambda way: time_passes(way, 16 * MINUTE),
        Way.wait,
    ),
    Story(
        "a rotation stalled within its mint",
        ("Watch._unfinished", FOUND, REVOKE, WRITE_DOWN),
        another_half_minted,
        lambda way: time_passes(way, 3 * MINUTE),
        Way.wait,
    ),
)


# ---- left


async def leaves(way: Way) -> None:
    """Ben is deactivated, and Slack tells of it; until it is taken it tells again. He is the last of this stage."""
    way.stage.ways = WAYS_ON_ONE_STAGE
    await way.flow.sandbox.patch_member("U0BEN", deleted=True)
    told = {"type": "user_change", "user": {"id": "U0BEN", "team_id": TEAM, "deleted": True}, "event_ts": "1.1"}
    if not way.taken:
        way.taken = (await way.flow.sandbox.event(told)).acknowledged


async def has_what_runs(way: Way) -> None:
    """Ben has a key that policy wants handed over when he leaves."""
    await way.active(permission="models")


async def offered(way: Way) -> None:
    """Ben left, and Ana is asked to take his key over."""
    await has_what_runs(way)
    await way.done(lambda: leaves(way))


async def offered_once(way: Way) -> str:
    """The key works on, one message offers it; nobody takes it, and it ends."""
    assert await way.works()
    request, stage = way.request(), way.stage
    while to_come := [
        one
        for one in stage.rows(Notice)
        if (one.kind, one.about) == (NoticeKind.ORPHANED, request.id) and one.shown < one.wanted
    ]:
        await stage.later(max(to_come[0].due_at - way.flow.clock(), timedelta()) + SECOND)  # her morning has come
    seen = [one for one in await way.flow.ana.messages() if float(one.ts) > way.since and "extend" in one.buttons]
    assert 1 <= len(seen) <= 1 + min(stage.posted, stage.deaths)  # where it was her morning, it may have been under way
    assert await way.works()
    await stage.later(timedelta(days=3))
    return await way.over()


LEFT = (
    Story(
        "leave with a key",
        ("Leaving.look", "Leaving.look.ask_others", LEASE_KEYS, REVOKE),
        Way.active,
        leaves,
        leaves,
        end="over",
        unreachable="U0BEN",
    ),
    Story("leave while a key is asked for", ("Leaving.look",), Way.asked, leaves, leaves, "left", "U0BEN"),
    Story(
        "leave with what runs",
        ("Leaving.look", "Leaving.look.ask_others"),
        has_what_runs,
        leaves,
        leaves,
        end="over",
        unreachable="U0BEN",
        ends=offered_once,
    ),
    Story(
        "nobody takes it over",
        ("Watch._expire", REVOKE),
        offered,
        lambda way: time_passes(way, timedelta(days=3, hours=1)),
        Way.wait,
        end="over",
        unreachable="U0BEN",
    ),
)


# ---- invited


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
    until = time.monotonic() + PATIENCE
    while not (await way.flow.sandbox.record())["held"]:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    grant = way.grant()
    assert grant is not None
    assert (await way.flow.ben.command(f"/apikey revoke {grant.id}")).acknowledged
    await way.flow.sandbox.release()


async def _is(way: Way, state: GrantState) -> None:
    until = time.monotonic() + PATIENCE
    while (grant := way.grant()) is None or grant.state is not state:
        assert time.monotonic() < until, grant
        await asyncio.sleep(0.02)


async def _is_followed(way: Way) -> None:
    """Until the desk knows that he came, and does not look any more."""
    until = time.monotonic() + PATIENCE
    while (grant := way.grant()) is None or grant.due_at is not None:
        assert time.monotonic() < until, grant
        await asyncio.sleep(0.02)


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


INVITED = (
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


# ---- in a new project


async def approved_in_a_new_project(way: Way) -> None:
    """Ben is to have a key in a project of its own, with a model and a budget."""
    name = f"crash-{uuid4().hex[:8]}"
    new = {"text": {"type": "plain_text", "text": f"New project: {name}"}, "value": f"new:{name}"}
    asked = {**ASK, "project": new, "models": ["gpt-5-mini"]}
    await way.done(
        lambda: way.fill_in(way.flow.ben, lambda: way.flow.ben.command("/apikey request", "C0GENERAL"), **asked),
        way.approve,
    )


async def in_one_project(way: Way) -> str:
    """His key works, and there is one project of that name: under its own name, with the limits that were agreed."""
    end = await way.to_the_end()
    grant = way.grant()
    assert grant is not None
    project = grant.draft.project_name
    named = [one for one in await way.stage.openai("projects") if one["name"].startswith(project)]
    assert [(one["id"], one["name"]) for one in named] == [(grant.draft.scope.project, project)]
    alerts = [one["threshold_amount"] for one in await way.stage.openai(f"projects/{named[0]['id']}/spend_alerts")]
    assert sorted(alerts) == [2000, 2500]
    return end


IN_A_PROJECT = (
    Story(
        "pick up in a new project",
        (
            "Projects._create: POST",
            *(f"Projects._limit: POST {number}" for number in range(1, 5)),
            "Projects.create: POST",
            "Grants._placed",
            MINT_ACCOUNT,
        ),
        approved_in_a_new_project,
        Way.pick_up,
        Way.mint_over,
        ends=in_one_project,
    ),
)


# ---- switched off and on


async def overdue(way: Way) -> None:
    """Ben's key is to be rotated, and Ana was told that it is overdue."""
    await way.active()
    until = time.monotonic() + PATIENCE
    while (grant := way.grant()) is None or grant.overdue_since is None:
        assert time.monotonic() < until, grant
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
    until = time.monotonic() + PATIENCE
    while way.stage.desk.alive and _state(way) not in (KeyState.DISABLING, KeyState.DISABLED):
        assert time.monotonic() < until
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
    until = time.monotonic() + PATIENCE
    while _state(way) is not state:
        assert time.monotonic() < until, _state(way)
        await asyncio.sleep(0.02)
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


SWITCHED_OFF = (
    *_switched("openrouter", "OpenRouter._switch: PATCH"),
    *_switched("litellm", "LiteLLM._switch: POST"),
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
STORIES = (*ROTATED, *LEFT, *INVITED, *IN_A_PROJECT, *SWITCHED_OFF)
