"""The log of a desk, as JSON: a line for each record, under the reference of what it belongs to."""

import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.slack import views
from sandbox.client import Message
from sandbox.server import Running
from tests.promises.world import desks

log = logging.getLogger("planted")


def broken() -> None:
    """In the desk's process: a denial's form is logged in two lines, and then cannot be made."""

    def deny_form(story: Any) -> Any:
        log.warning("the form of\n%s", story.request.id)
        raise ZeroDivisionError("nobody foresaw this")

    setattr(views, "deny_form", deny_form)  # noqa: B010  (a plain assignment to a function does not pass mypy)


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    """How Slack reaches the desk."""
    return str(request.param)


async def test_each_record_is_a_line_under_its_reference(
    servers: Running, mode: str, tmp_path: Path, migrated_file: Path
) -> None:
    """What a member is told to quote is the reference of each line of their press, the traceback's among them, and of no other's."""
    database = f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'keydesk.db')}"
    async with desks(
        servers, mode=mode, database_url=database, folder=tmp_path, prepare=broken, log_format="json"
    ) as running:
        flow, ana = running.flow, running.flow.ana
        await flow.ask()
        card = await flow.card(ana)
        for _ in range(2):
            assert (await ana.click(card, "deny")).acknowledged
        told = await ana.expect(lambda seen: _quoted(ana.visible(seen)))
        await running.first.stop()
        lines = [json.loads(line) for line in running.said().splitlines()]
    for reference in told:
        of_the_press = [line for line in lines if line.get("reference") == reference]
        warned, failed = [line for line in of_the_press if line["level"] in ("warning", "error")]
        assert re.fullmatch("the form of\nr_[a-z2-7]{16}", warned["message"])
        assert (warned["logger"], failed["logger"]) == ("planted", "bot.slack.listeners")
        assert failed["traceback"].startswith("Traceback")
        assert "\nZeroDivisionError: nobody" in failed["traceback"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", failed["time"])
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error"}


def _quoted(messages: Sequence[Message]) -> set[str] | None:
    """The references in these messages, once there are two."""
    found = {reference for one in messages for reference in re.findall(r"Reference `([0-9a-f]{8})`", one.plain)}
    return found if len(found) == 2 else None
