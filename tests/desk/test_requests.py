"""Asking, deciding, cancelling: who may, who may not, and who was faster."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.desk.audit import Act
from bot.desk.errors import (
    DraftRejected,
    NotAllowed,
    NotThere,
    NotWelcome,
    ProviderAuth,
    ProviderTransient,
    Superseded,
)
from bot.desk.model import Actor, Draft, NoticeKind, Ruling, Story
from bot.desk.states import GrantState, RequestState
from tests.desk.world import (
    ANA,
    BEN,
    BOT,
    CARA,
    CHANNEL,
    DEV,
    GONE,
    GUEST,
    LEADS,
    NOBODY,
    STRANGER,
    TEAM,
    World,
    draft,
)

UNWELCOME = pytest.mark.parametrize(
    "who", [GUEST, BOT, GONE, STRANGER, NOBODY], ids=["guest", "bot", "deleted", "stranger", "nobody"]
)


async def refusal_recorded(world: World, by: Actor, to: Act, subject: str) -> None:
    """The newest entry says who was refused what."""
    entry = await world.last_entry()
    assert (entry.actor, entry.act, entry.subject, entry.detail["to"]) == (by.id, Act.REFUSED, subject, to)
    assert entry.detail["because"]


async def test_an_ask_is_stored_recorded_and_shown_to_everybody_it_concerns(world: World) -> None:
    """A submission leaves a pending request, one entry, a receipt and a card for each decider and the channel."""
    story = await world.asked()
    assert story.request.state is RequestState.PENDING
    assert story.request.rule == "everyday keys"
    assert await world.acts() == [Act.SUBMITTED]
    await world.watch.deliver()
    assert len(world.slack.standing(NoticeKind.RECEIPT, BEN)) == 1
    recipients = {notice.recipient for notice, _ in world.slack.messages.values() if notice.kind is NoticeKind.APPROVAL}
    assert recipients == {ANA.id, CARA.id, DEV.id, CHANNEL}


async def test_names_come_from_the_provider_and_not_from_the_form(world: World) -> None:
    """An approver reads what the provider calls project and permission, whatever the form said."""
    asked = (await world.asked()).request.draft
    assert (asked.provider_name, asked.project_name, asked.permission_name) == (
        "OpenAI",
        "search-prod",
        "Chat completions",
    )


async def test_the_same_form_asks_once(world: World) -> None:
    """The same origin, delivered again, answers with the first request and leaves nothing more."""
    first = await world.requests.submit(BEN, draft(), origin="V1")
    again = await world.requests.submit(BEN, draft(), origin="V1")
    assert again == first
    assert await world.acts() == [Act.SUBMITTED]


async def test_the_same_form_delivered_to_two_processes_at_once_asks_once(world: World, other: World) -> None:
    """Two processes that take one form at the same moment make one request, and both answer with it."""
    stories = await asyncio.gather(
        *(desk.requests.submit(BEN, draft(), origin="V1") for desk in (world, other, world, other))
    )
    assert len({story.request.id for story in stories}) == 1
    assert await world.acts() == [Act.SUBMITTED]


@UNWELCOME
async def test_whom_the_desk_does_not_serve_cannot_ask(world: World, who: Actor) -> None:
    """Guests, bots, deactivated accounts, strangers and unknown ids are refused, and the refusal is recorded."""
    with pytest.raises(NotWelcome):
        await world.requests.submit(who, draft(), origin="V1")
    assert await world.acts() == [Act.REFUSED]
    await refusal_recorded(world, who, Act.SUBMITTED, "a new request")


@UNWELCOME
async def test_whom_the_desk_does_not_serve_cannot_decide(world: World, who: Actor) -> None:
    """Not even when policy names them: a group may hold anybody."""
    world.people.groups[LEADS].add(who.id)
    request = (await world.asked()).request
    with pytest.raises(NotWelcome):
        await world.requests.decide(who, request.id, Ruling.APPROVE)
    await refusal_recorded(world, who, Act.APPROVED, request.id)
    assert (await world.stories.of(TEAM, request.id)).request.state is RequestState.PENDING


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (draft(reason=" \n"), "reason"),
        (draft(days=31), "duration"),
        (draft(dollars=201), "monthly_budget_cents"),
        (draft(permission="all"), "permission"),
        (draft(permission="no such"), "permission"),
        (draft(project="proj_gone"), "project"),
    ],
)
async def test_what_cannot_be_asked_for_names_its_field(world: World, asked: Draft, field: str) -> None:
    """A draft that policy or the provider does not accept comes back on the field to mend; nothing is stored."""
    with pytest.raises(DraftRejected) as caught:
        await world.asked(what=asked)
    assert caught.value.field == field
    assert await world.acts() == []


@pytest.mark.parametrize("fault", [ProviderAuth("no"), ProviderTransient("no")])
async def test_a_provider_that_does_not_answer_keeps_the_form_open(world: World, fault: Exception) -> None:
    """Nothing is asked for that could not be named; the form says so on its field."""
    world.vendor.project_faults.append(fault)
    with pytest.raises(DraftRejected) as caught:
        await world.asked()
    assert caught.value.field == "provider"
    assert await world.acts() == []


async def test_an_ask_that_nobody_could_decide_is_not_taken(world: World) -> None:
    """An empty list of approvers means nobody: the requester hears it at once."""
    world.people.groups[LEADS] = {BEN.id, GONE.id}
    world.people.managers.clear()
    with pytest.raises(DraftRejected):
        await world.asked()


async def test_an_approval_grants_and_mints_nothing(world: World) -> None:
    """Approved means: a grant that waits for its holder; no key exists."""
    request = (await world.asked()).request
    story = await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    assert story.request.state is RequestState.APPROVED
    assert story.grant is not None
    assert (story.grant.state, story.grant.holder, story.grant.expires_at) == (GrantState.READY, BEN.id, None)
    assert world.vendor.minted == []
    assert await world.acts() == [Act.SUBMITTED, Act.APPROVED]
    await world.watch.deliver()
    assert len(world.slack.standing(NoticeKind.OUTCOME, BEN)) == 1
    assert {told.request.state for told in world.slack.standing(NoticeKind.APPROVAL)} == {RequestState.APPROVED}


async def test_a_denial_carries_its_reason_and_grants_nothing(world: World) -> None:
    """Without a reason it is not taken; with one, it is kept and the request is over."""
    request = (await world.asked()).request
    with pytest.raises(DraftRejected) as caught:
        await world.requests.decide(CARA, request.id, Ruling.DENY, "  ")
    assert caught.value.field == "reason"
    story = await world.requests.decide(CARA, request.id, Ruling.DENY, " Use the shared one ")
    assert story.decision is not None
    assert (story.request.state, story.decision.reason, story.grant) == (
        RequestState.DENIED,
        "Use the shared one",
        None,
    )


async def test_the_same_decision_again_changes_nothing(world: World) -> None:
    """A second press of the same button by the same person answers as the first did."""
    request = (await world.asked()).request
    first = await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    assert await world.requests.decide(CARA, request.id, Ruling.APPROVE) == first
    with pytest.raises(Superseded):
        await world.requests.decide(CARA, request.id, Ruling.DENY, "Changed my mind")
    assert await world.acts() == [Act.SUBMITTED, Act.APPROVED]


async def test_nobody_decides_on_their_own_request(world: World) -> None:
    """An approver's own request is refused to them and decided by another approver."""
    request = (await world.asked(by=CARA)).request
    for ruling in Ruling:
        with pytest.raises(NotAllowed):
            await world.requests.decide(CARA, request.id, ruling, "Mine")
    await refusal_recorded(world, CARA, Act.DENIED, request.id)
    await world.watch.deliver()
    assert world.slack.standing(NoticeKind.APPROVAL, CARA) == []
    assert (await world.requests.decide(DEV, request.id, Ruling.APPROVE)).grant is not None


async def test_who_is_no_approver_cannot_decide(world: World) -> None:
    """A full member whom policy does not name for this draft is refused: Ana is Ben's manager, not Cara's."""
    request = (await world.asked(by=CARA)).request
    for who in (ANA, BEN):
        with pytest.raises(NotAllowed):
            await world.requests.decide(who, request.id, Ruling.APPROVE)
        await refusal_recorded(world, who, Act.APPROVED, request.id)


async def test_an_approver_who_left_the_group_cannot_decide_any_more(world: World) -> None:
    """Each click is authorised by the group of this moment, not of the moment of the ask."""
    request = (await world.asked()).request
    world.people.groups[LEADS].discard(CARA.id)
    with pytest.raises(NotAllowed):
        await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    await refusal_recorded(world, CARA, Act.APPROVED, request.id)
    world.people.groups[LEADS].add(CARA.id)
    await world.requests.decide(CARA, request.id, Ruling.APPROVE)


@pytest.mark.parametrize("became", [{"deleted": True}, {"guest": True}, {"team": "T0OTHER"}])
async def test_who_left_since_asking_is_not_granted_anything(world: World, became: dict[str, Any]) -> None:
    """A requester who may not hold keys any more can be denied, not approved."""
    request = (await world.asked()).request
    world.people.people[BEN.id] = replace(world.people.people[BEN.id], **became)
    with pytest.raises(NotAllowed):
        await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    await refusal_recorded(world, CARA, Act.APPROVED, request.id)
    assert (await world.requests.decide(CARA, request.id, Ruling.DENY, "Left")).grant is None


async def outcomes(*acts: "asyncio.Future[Story]") -> tuple[list[Story], list[BaseException]]:
    """Who won, and what the others got."""
    found = await asyncio.gather(*acts, return_exceptions=True)
    return [one for one in found if isinstance(one, Story)], [one for one in found if isinstance(one, BaseException)]


async def test_two_approvers_at_once_leave_one_decision(world: World, other: World) -> None:
    """Approve and deny race from two processes: one wins, the other hears that somebody was faster."""
    request = (await world.asked()).request
    won, lost = await outcomes(
        asyncio.ensure_future(world.requests.decide(CARA, request.id, Ruling.APPROVE)),
        asyncio.ensure_future(other.requests.decide(DEV, request.id, Ruling.DENY, "Not now")),
    )
    assert len(won) == 1
    assert [type(error) for error in lost] == [Superseded]
    story = await world.stories.of(TEAM, request.id)
    assert story == won[0]
    assert (story.grant is not None) == (story.request.state is RequestState.APPROVED)
    assert len(await world.acts()) == 2


async def test_cancelling_and_approving_at_once_leave_one_of_them(world: World, other: World) -> None:
    """A cancelled request has no grant, an approved one is not cancelled."""
    request = (await world.asked()).request
    won, lost = await outcomes(
        asyncio.ensure_future(world.requests.cancel(BEN, request.id)),
        asyncio.ensure_future(other.requests.decide(CARA, request.id, Ruling.APPROVE)),
    )
    assert len(won) == 1
    assert [type(error) for error in lost] == [Superseded]
    story = await world.stories.of(TEAM, request.id)
    assert (story.grant is None) == (story.request.state is RequestState.CANCELLED)


async def test_only_who_asked_cancels_and_only_while_it_is_pending(world: World) -> None:
    """Others are refused; again changes nothing; a decided request stays decided."""
    request = (await world.asked()).request
    with pytest.raises(NotAllowed):
        await world.requests.cancel(CARA, request.id)
    await refusal_recorded(world, CARA, Act.CANCELLED, request.id)
    cancelled = await world.requests.cancel(BEN, request.id)
    assert cancelled.request.state is RequestState.CANCELLED
    assert await world.requests.cancel(BEN, request.id) == cancelled
    with pytest.raises(Superseded):
        await world.requests.decide(CARA, request.id, Ruling.APPROVE)
    decided = await world.approved()
    with pytest.raises(Superseded):
        await world.requests.cancel(BEN, decided.request_id)


async def test_another_teams_request_is_not_there(world: World) -> None:
    """A request is found within its own team only."""
    request = (await world.asked()).request
    with pytest.raises(NotThere):
        await world.stories.of("T0OTHER", request.id)


async def test_the_menu_offers_what_policy_lets_this_member_ask_for(world: World) -> None:
    """Leads see both rules, others one; whom the desk does not serve sees none."""
    assert [rule.name for rule in (await world.menus.of(BEN)).of("openai").rules] == ["everyday keys"]
    assert [rule.name for rule in (await world.menus.of(CARA)).choices[0].rules] == ["everyday keys", "all of it"]
    with pytest.raises(NotWelcome):
        await world.menus.of(GUEST)


async def test_home_shows_mine_and_what_waits_for_me(world: World) -> None:
    """The requester finds their own, each decider the queue; looking records nothing."""
    request = (await world.asked()).request
    assert [story.request.id for story in (await world.stories.home(BEN)).mine] == [request.id]
    assert (await world.stories.home(BEN)).queue == ()
    for who in (ANA, CARA, DEV):
        home = await world.stories.home(who)
        assert (home.mine, [story.request.id for story in home.queue]) == ((), [request.id])
    assert (await world.stories.home(GUEST)).unwelcome
    assert await world.acts() == [Act.SUBMITTED]
