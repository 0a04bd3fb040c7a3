"""Stories of desks that die while a key, or its holder, goes on: rotated, left, or begun in a project of its own."""

from datetime import timedelta
from uuid import uuid4

from bot.desk.model import Notice, NoticeKind
from bot.desk.states import KeyState
from sandbox.workspace import TEAM
from tests.flows.world import ASK
from tests.promises.crashes.stage import MINUTE, SECOND
from tests.promises.crashes.stages import WAYS_ON_ONE_STAGE
from tests.promises.crashes.stories import (
    FOUND,
    LEASE_KEYS,
    MINT_ACCOUNT,
    MINT_KEY,
    REVOKE,
    WRITE_DOWN,
    Story,
    time_passes,
)
from tests.promises.crashes.way import Way

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


async def held_of_hers(way: Way) -> None:
    """Ben has what Ana brought; what was said of it stays as it is when another follows."""
    await way.held()
    await way.stage.settled()
    way.let_go = frozenset(await way.standing())


async def another_awaited(way: Way) -> None:
    """Ben has what Ana brought, and she is to bring another."""
    await held_of_hers(way)
    await way.done(way.rotate)


async def another_brought(way: Way) -> None:
    """And did."""
    await another_awaited(way)
    await way.done(way.bring)


async def another_of_hers_claimed(way: Way) -> None:
    """And Ben's browser holds the lease of it."""
    await another_brought(way)
    known = await way.links()
    await way.done(way.pick_up)
    way.url, way.key = await way.link(known), ""
    await way.claim()


async def by_hand(way: Way) -> str:
    """Ana is asked to revoke the old one by hand once its grace is over, and says that she did; the new one is Ben's."""
    assert await way.to_the_end() == "key"
    old, new = sorted(way.keys(), key=lambda key: key.intended_at)
    assert (old.state, new.state) == (KeyState.RETIRING, KeyState.LIVE)
    await way.stage.later(timedelta(hours=25))
    await way.done(way.confirm)
    await way.stage.settled()
    old, new = sorted(way.keys(), key=lambda key: key.intended_at)
    assert (old.state, new.state) == (KeyState.REVOKED, KeyState.LIVE)
    return "key"


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

ROTATED_BY_HAND = (
    Story("rotate what was brought", ("Rotation.rotate",), held_of_hers, Way.rotate, Way.rotate),
    Story("bring the next", ("Deposits.deposit",), another_awaited, Way.bring, Way.bring),
    Story(
        "pick up the next that was brought",
        ("Grants.pick_up", "Grants._seal"),
        another_brought,
        Way.pick_up,
        Way.pick_up,
    ),
    Story(
        "acknowledge the next that was brought",
        ("Links.acknowledge",),
        another_of_hers_claimed,
        Way.acknowledge,
        Way.acknowledge,
        ends=by_hand,
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

STORIES = (*ROTATED, *ROTATED_BY_HAND, *LEFT, *IN_A_PROJECT)
