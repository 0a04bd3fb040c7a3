"""A desk is killed before and after each commit and each act beyond it; nothing is lost, and no key lives unknown.

Each death is a real SIGKILL of a real process. The desk is started again, its people do again what got no answer, time
passes, one sweep runs: no key lives that the desk does not know of, none counts twice, every message tells how it
stands, and the holder comes to the end.

Where desks can die is read from the source (`dying.points`). **A new step needs a crash test**: whoever adds a commit, a
call of a vendor or a call of Slack finds the suite red until its name, which the failure tells,

1. is a point of a `Story` in one of the rooms of `crashes`: of one that comes to it already, or of a new one (how the way stands `before`, the `step`
   that leads there, what people do `again`, and what the way comes to in the `end`);
2. has its line in docs/lifecycle.md, under "What each crash point leaves".

The whole matrix runs on SQLite; where a later story comes to a point again, a desk dies only after it: before it stands
what the point before has left. Of OpenRouter and LiteLLM there is a pick-up and a revocation each, and a key is switched off and on; what else they have is
told in `crashes/elsewhere.py`, with the test that shows it. On PostgreSQL, where a crash differs by what a dead connection leaves of a transaction
and its locks, a desk dies once after each commit and each vendor's act.

`make crashes` runs all of it, in minutes. Each run of the suite kills desks at `HEART` alone, and holds the lists to the source.
"""

import os
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.desk.hands import LEASE
from bot.desk.watch import STALLED_AFTER
from tests.promises.crashes import going_on, invited, rounds, stories, switched
from tests.promises.crashes.elsewhere import ELSEWHERE
from tests.promises.crashes.stage import SECOND
from tests.promises.crashes.stages import Stages
from tests.promises.crashes.stories import Story
from tests.promises.dying import ROOT, points, slack_calls, ways_out

STORIES = tuple(story for room in (stories, going_on, invited, switched, rounds) for story in room.STORIES)
POINTS = tuple(dict.fromkeys(point for story in STORIES for point in story.points))
HEART = ("pick up", "claim", "acknowledge", "revoke")
FIRST = {point: next(story for story in STORIES if point in story.points) for point in POINTS}
CASES = [
    ("sqlite", story, point, when)
    for story in STORIES
    for point in story.points
    for when in ("before", "after")
    if when == "after" or story is FIRST[point]
]
CASES += [
    ("postgresql", story, point, "after")
    for point, story in FIRST.items()
    if story.provider == "openai" and point not in slack_calls()
]
if not os.environ.get("KEYDESK_CRASHES"):
    # All of them take minutes and much of the machine: `make crashes`. In each run of the suite: the heart of the promise.
    CASES = [case for case in CASES if case[0] == "postgresql" and str(case[1]) in HEART]


def test_every_step_has_its_crash() -> None:
    """Each commit, and each act at a vendor or at Slack, that the source has is one at which a desk dies here."""
    tried = {*POINTS, *ELSEWHERE}
    untried, gone = sorted(points() - tried), sorted(tried - points())
    assert untried == [], "steps without a crash test: see the beginning of this file"
    assert gone == [], "points that the source has no more"
    assert not ELSEWHERE.keys() & set(POINTS)
    assert {way.rpartition(": ")[2] for way in ways_out()} <= {"request", "aclose"}, "of which vendor_calls knows"


def test_what_each_crash_leaves_is_documented() -> None:
    """docs/lifecycle.md has a line for each point, and none for what is no point any more."""
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    section = page.split("## What each crash point leaves\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE)
    told = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    untold, gone = sorted(points() - told), sorted(told - points())
    assert untold == [], "steps of which docs/lifecycle.md does not tell what a crash leaves"
    assert gone == [], "points that the source has no more"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("database", "story", "point", "when"),
    CASES,
    ids=[f"{database}: {story}, {when} {point}" for database, story, point, when in CASES],
)
async def test_a_crash_loses_nothing_and_leaves_no_key_unknown(
    stages: Stages, database: str, story: Story, point: str, when: str
) -> None:
    """Whatever the desk died of, one sweep after its restart all is known, and its people come to their end."""
    async with stages.on(database, story.provider) as way:
        stage = way.stage
        await story.before(way)
        first = story.points[0]
        await stage.dies(point, when, lambda: story.step(way), since=first if point != first else "")
        await story.again(way)

        await stage.later(max(LEASE, STALLED_AFTER) + SECOND)
        await stage.sound_now()
        await way.current(unreachable=story.unreachable)
        assert await story.ends(way) == story.end
        await stage.sound_now()
        await way.current(unreachable=story.unreachable)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(request: pytest.FixtureRequest) -> AsyncIterator[Stages]:
    """Where desks die, for all tests of this file."""
    all_stages = Stages(request)
    yield all_stages
    await all_stages.close()
