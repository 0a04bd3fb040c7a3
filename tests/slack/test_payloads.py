"""Deliveries in the very shape of Slack's own samples: every field that Slack may send is there, and misleads nobody."""

import hashlib
import hmac
import json
import logging
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from bot.slack import views
from sandbox.client import Message
from tests.flows.world import World
from tests.slack.seeing import acts, approved, card, private
from tests.slack.test_forms import filled

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "slack" / "samples"
NOISE = [
    "AppMention",
    "AppUninstalled",
    "FileShared",
    "LinkShared",
    "Message",
    "MessageBot",
    "MessageChanged",
    "MessageDeleted",
    "SubteamMembersChanged",
    "TeamJoin",
    "TokensRevoked",
    "UserChange",
]
KNOWN_EMPTY = {"team": {"id": "T0ACME"}, "api_app_id": "A0KEYDESK"}


@pytest.fixture
def mode() -> str:
    """These are signed and sent here."""
    return "http"


def sample(path: str, **meaning: Any) -> dict[str, Any]:
    """The sample with meaning in some of its fields; all others stay as Slack wrote them."""
    file = SAMPLES / path
    if not file.exists():
        pytest.skip(f"Slack's samples are not there: ../shared/data/slack/samples/{path}")
    merged: dict[str, Any] = merge(json.loads(file.read_text()), {**KNOWN_EMPTY, **meaning})
    return merged


def merge(into: Any, values: Any) -> Any:
    """`values` over `into`, deep; of a list, each of its items over the sample's first."""
    if isinstance(into, dict) and isinstance(values, dict):
        return {**into, **{key: merge(into.get(key), value) for key, value in values.items()}}
    if isinstance(into, list) and into and isinstance(values, list):
        return [merge(into[0], value) for value in values]
    return values


async def deliver(flow: World, payload: dict[str, Any], **headers: str) -> httpx.Response:
    """Signs and posts a payload as Slack does for its kind."""
    if payload.get("type") == "event_callback":
        body, kind = json.dumps(payload), "application/json"
    elif "command" in payload:
        body, kind = urlencode(payload), "application/x-www-form-urlencoded"
    else:
        body, kind = urlencode({"payload": json.dumps(payload)}), "application/x-www-form-urlencoded"
    stamp = str(int(time.time()))
    signed = hmac.new(flow.servers.signing_secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256)
    signature = f"v0={signed.hexdigest()}"
    sent = {"Content-Type": kind, "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature, **headers}
    answer = await flow.http.post(f"{flow.settings.public_url}/slack/events", content=body, headers=sent)
    assert answer.status_code == 200
    return answer


async def heard(flow: World, kind: str) -> dict[str, Any]:
    """The newest delivery of this kind that the sandbox made."""
    made = [one for one in (await flow.sandbox.record())["deliveries"] if one["kind"] == kind]
    body: dict[str, Any] = made[-1]["body"]
    return body


async def press(flow: World, member: str, where: Message, **action: Any) -> dict[str, Any]:
    """A button's press on a message, in Slack's shape, with a place to answer at."""
    await flow.sandbox.member(member).click(where, where.buttons[0])
    known = await heard(flow, "block_actions")
    return sample(
        "app-backend/interactive-components/BlockActionPayload.json",
        user={"id": member, "team_id": "T0ACME"},
        container={"type": "message", "message_ts": where.ts, "channel_id": where.channel},
        channel={"id": where.channel},
        message={"ts": where.ts},
        trigger_id="1.2.samples",
        response_url=known["response_url"],
        actions=[{"type": "button", **action}],
    )


@pytest.mark.parametrize(
    ("text", "says"), [("help", "/apikey request"), ("list", "None yet"), ("nonsense", "There is no")]
)
async def test_a_slash_command(flow: World, text: str, says: str) -> None:
    """Answered in its acknowledgement, privately."""
    answer = await deliver(
        flow,
        sample(
            "app-backend/slash-commands/SlashCommandPayload.json",
            command="/apikey",
            text=text,
            user_id="U0BEN",
            team_id="T0ACME",
            channel_id="C0GENERAL",
        ),
    )
    assert answer.json()["response_type"] == "ephemeral"
    assert says in json.dumps(answer.json()["blocks"])


async def test_a_slash_command_opens_the_form(flow: World) -> None:
    """With the trigger of a press that nothing used yet."""
    await flow.ben.command("/apikey help")
    trigger = (await heard(flow, "command"))["trigger_id"]
    payload = sample(
        "app-backend/slash-commands/SlashCommandPayload.json",
        command="/apikey",
        text="request",
        user_id="U0BEN",
        team_id="T0ACME",
        trigger_id=trigger,
    )
    assert (await deliver(flow, payload)).text == ""
    assert await flow.ben.expect_modal("Why")
    assert (await deliver(flow, payload)).text == ""  # delivered twice: the form is there, and nothing is wrong


async def test_a_slash_command_whose_trigger_is_late(flow: World) -> None:
    """Three seconds are over: a sentence, not silence."""
    await flow.ben.command("/apikey help")
    trigger = (await heard(flow, "command"))["trigger_id"]
    await flow.sandbox.advance(4)
    payload = sample(
        "app-backend/slash-commands/SlashCommandPayload.json",
        command="/apikey",
        text="request",
        user_id="U0BEN",
        team_id="T0ACME",
        trigger_id=trigger,
    )
    assert "in time" in (await deliver(flow, payload)).json()["text"]


def submission(callback: str, member: str, view_id: str = "V0SAMPLE", **view: Any) -> dict[str, Any]:
    """A submitted form in Slack's shape."""
    return sample(
        "app-backend/views/ViewSubmissionPayload.json",
        user={"id": member, "team_id": "T0ACME"},
        view={"id": view_id, "callback_id": callback, "app_installed_team_id": "T0ACME", **view},
    )


async def test_a_submitted_form(flow: World) -> None:
    """Asks; delivered again, also by a retry that says so, it asks no second time and answers the same."""
    payload = submission("request_form", "U0BEN", state={"values": filled()})
    for headers in ({}, {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}):
        assert (await deliver(flow, payload, **headers)).text == ""
    assert await acts(flow) == ["request.submitted"]
    await card(flow.ana)


async def test_a_submitted_form_with_errors(flow: World) -> None:
    """They come back by field."""
    answer = await deliver(flow, submission("request_form", "U0BEN", state={"values": filled(budget="abc")}))
    assert answer.json()["response_action"] == "errors"
    assert list(answer.json()["errors"]) == ["budget"]


@pytest.mark.parametrize(
    ("member", "says"), [("U0GUS", "Guests"), ("U0XAV", "own workspace"), ("U0NOBODY", "own workspace")]
)
async def test_a_form_of_somebody_who_may_not(flow: World, member: str, says: str) -> None:
    """A form that was open before the member changed asks for nothing; what was typed stays."""
    answer = await deliver(flow, submission("request_form", member, state={"values": filled()}))
    assert says in answer.json()["errors"]["reason"]
    assert await acts(flow) == ["refused"]


async def test_a_denial(flow: World) -> None:
    """The request is in the form's private metadata."""
    await flow.ask()
    [pending] = await flow.store.read(lambda tx: tx.pending(flow.team, 10))
    state = {"values": {"reason": {"reason": {"type": "plain_text_input", "value": "Not now"}}}}
    for _ in range(2):
        answer = await deliver(flow, submission("deny_form", "U0ANA", private_metadata=pending.id, state=state))
        assert answer.text == ""
    assert await acts(flow) == ["request.submitted", "request.denied"]
    answer = await deliver(flow, submission("deny_form", "U0CARA", private_metadata=pending.id, state=state))
    assert answer.json()["response_action"] == "update"
    assert "<@U0ANA> denied this" in json.dumps(answer.json())


async def test_presses(flow: World) -> None:
    """Pick up, and revoke, from a message that carries every field a message can have."""
    outcome = await approved(flow)
    grant_id = next(one["value"] for block in outcome.blocks for one in block.get("elements", ()) if "value" in one)
    payload = await press(flow, "U0BEN", outcome, action_id="pick_up", value=grant_id)
    assert (await flow.ben.expect(private(flow.ben))).urls
    await deliver(flow, {**payload, "trigger_id": "another"})
    await flow.ben.expect(lambda seen: len([one for one in flow.ben.visible(seen) if one.ephemeral and one.urls]) == 2)
    await deliver(flow, {**payload, "actions": [{**payload["actions"][0], "action_id": "revoke"}]})
    await flow.ben.expect_message("is over")


async def test_what_nobody_expected_has_a_reference(
    flow: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member gets it to quote; the log has the rest under it."""
    await flow.ask()
    monkeypatch.setattr(views, "deny_form", {}.__getitem__)  # a defect
    with caplog.at_level(logging.ERROR):
        await flow.ana.click(await card(flow.ana), "deny")
        answer = await flow.ana.expect(private(flow.ana))
    [reference] = re.findall(r"Reference `([0-9a-f]{8})`", answer.plain)
    assert reference in caplog.text
    assert "KeyError" in caplog.text
    assert reference not in str(await flow.cara.state())


async def test_a_press_without_its_value_presses_nothing(flow: World) -> None:
    """It names no request, so there is none."""
    await flow.ask()
    payload = await press(flow, "U0ANA", await card(flow.ana), action_id="approve")
    del payload["actions"][0]["value"]
    before = await acts(flow)
    await deliver(flow, payload)
    assert "no such" in (await flow.ana.expect(private(flow.ana))).plain.lower()
    assert await acts(flow) == before


async def test_a_button_of_an_older_desk(flow: World) -> None:
    """Leads to where the buttons are that work."""
    await flow.ask()
    await deliver(flow, await press(flow, "U0ANA", await card(flow.ana), action_id="older", value="x"))
    assert "/apikey list" in (await flow.ana.expect(private(flow.ana))).plain


async def test_an_opened_home(flow: World) -> None:
    """Is drawn for who opened it; the messages tab is not its business."""
    for tab in ("messages", "home"):
        payload = sample(
            "events/AppHomeOpenedPayload.json",
            type="event_callback",
            team_id="T0ACME",
            event_id="Ev1",
            event={"user": "U0BEN", "channel": "D0BEN", "tab": tab},
        )
        await deliver(flow, payload)
    assert (await flow.ben.home(open=False)).buttons == ["ask"]
    homes = [call for call in (await flow.sandbox.record())["calls"] if call["method"] == "views.publish"]
    assert len(homes) == 1


async def test_other_events_are_noise(flow: World, caplog: pytest.LogCaptureFixture) -> None:
    """Acknowledged, so that Slack does not send them again; nothing is done, nothing is wrong."""
    for name in NOISE:
        event = sample(f"events/{name}Payload.json", type="event_callback", team_id="T0ACME", event_id=f"Ev{name}")
        await deliver(flow, event)
    assert await acts(flow) == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
