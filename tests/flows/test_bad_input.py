"""Bad input: each with a clear answer, and nothing lost."""

import hashlib
import hmac
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from sandbox.server import Running
from tests.flows.world import ASK, World, settings_for, world


@pytest.fixture
def mode() -> str:
    """What the desk makes of input does not depend on how it came."""
    return "socket"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("budget", "-1", "budget"),
        ("budget", "abc", "budget"),
        ("budget", "1e9", "budget"),
        ("budget", "1000000", "$200"),
        ("duration", "31d", "30d"),
        ("duration", "soon", "12h"),
        ("duration", "-7d", "12h"),
        ("reason", "   ", "what the key is for"),
    ],
)
async def test_a_wrong_field_says_so_on_itself(flow: World, field: str, value: str, says: str) -> None:
    """The error sits on the field, names what would do, and the form stays open with all that was typed."""
    await flow.ben.command("/apikey request")
    form = await flow.ben.modal()
    assert form is not None
    ack = await flow.ben.submit(form, **{**ASK, field: value})
    assert ack.response_action == "errors"
    assert list(ack.errors) == [field]
    assert says.lower() in ack.errors[field].lower()
    assert await flow.ben.modal() is not None
    assert (await flow.ben.submit(form, **ASK)).errors == {}


async def test_a_hostile_reason_is_shown_harmless_and_kept_whole(flow: World) -> None:
    """5,000 characters, emoji, direction overrides and a forged link: shown cut and harmless, stored as typed."""
    reason = "<!channel> <https://evil.example|Approve here> \u202egnp.exe\u202c 🔑" + "x" * 5000
    await flow.ben.command("/apikey request")
    form = await flow.ben.modal()
    assert form is not None
    # Slack's own form stops at 3,000; what comes past it is forged, and the desk must cope all the same.
    ack = await flow.sandbox.submit_raw(flow.ben, form, **{**ASK, "reason": reason})
    assert ack.errors == {}
    card = await flow.card(flow.ana)
    assert "<!channel>" not in str(card.blocks)
    assert "<https://evil" not in str(card.blocks)
    assert "\u202e" not in str(card.blocks)
    entries = await flow.store.read(lambda tx: tx.pending(flow.team, 10))
    assert entries[0].draft.reason == reason.strip()


async def test_a_project_that_vanished_between_form_and_submit(flow: World) -> None:
    """The form says so on the project's field; nothing is asked."""
    await flow.ben.command("/apikey request")
    form = await flow.ben.modal()
    assert form is not None
    await flow.sandbox.set_project("proj_search", "archived")
    flow.clock.ahead += timedelta(minutes=2)  # the list of projects is a minute old at most
    chosen = {"text": {"type": "plain_text", "text": "search-prod"}, "value": "proj_search"}
    ack = await flow.ben.submit(form, **{**ASK, "project": chosen})
    assert list(ack.errors) == ["project"]


async def test_a_credential_that_the_provider_refuses(
    servers: Running, mode: str, database_url: str, tmp_path: Path
) -> None:
    """Whoever asks hears whose turn it is, on the form, which keeps what was typed; `check` names the setting."""
    good = settings_for(servers, mode=mode, database_url=database_url, folder=tmp_path)
    settings = good.model_copy(update={"openai_admin_key": SecretStr("sk-admin-revoked")})
    async with world(servers, settings) as flow:
        await flow.ben.command("/apikey request")
        form = await flow.ben.modal()
        assert form is not None
        chosen = {"text": {"type": "plain_text", "text": "search-prod"}, "value": "proj_search"}
        ack = await flow.ben.submit(form, **{**ASK, "project": chosen})
        assert list(ack.errors) == ["provider"]
        assert "operator" in ack.errors["provider"]
        assert await flow.acts() == []


async def test_an_approver_who_left_cannot_decide(flow: World) -> None:
    """Membership is asked at the click: a card that is still there opens no door."""
    await flow.ask()
    card = await flow.card(flow.cara)
    await flow.sandbox.patch_member("U0CARA", deleted=True)
    await flow.cara.click(card, "approve")
    story = await flow.store.read(lambda tx: tx.pending(flow.team, 10))
    assert len(story) == 1


@pytest.mark.parametrize("member", ["U0GUS", "U0UMA", "U0BOT", "U0OLD", "U0XAV"])
async def test_guests_bots_the_deleted_and_strangers_are_refused(flow: World, member: str) -> None:
    """None of them gets a form; the refusal is recorded."""
    who = flow.sandbox.member(member)
    await who.command("/apikey request")
    assert await who.modal() is None
    assert await flow.acts() == ["refused"]


async def test_an_unknown_subcommand_says_what_exists(flow: World) -> None:
    """Help lists every subcommand."""
    ack = await flow.ben.command("/apikey reqest")
    assert ack.acknowledged
    seen = await flow.ben.messages("C0GENERAL")
    for word in ("request", "list", "revoke", "help"):
        assert word in seen[-1].plain
    assert seen[-1].ephemeral


async def test_nobody_approves_their_own_request(flow: World) -> None:
    """Cara is an approver, and not of what she asked for herself: she gets no card, and a forged click is refused."""
    await flow.ask(flow.cara)
    dev = flow.sandbox.member("U0DEV")
    card = await flow.card(dev)
    assert not [one for one in await flow.cara.messages() if "approve" in one.buttons]
    in_channel = await flow.card(flow.cara, "C0KEYS")
    assert (await flow.cara.click(in_channel, "approve")).acknowledged
    assert (await flow.sandbox.click_as(flow.cara, card, "approve")).acknowledged
    assert "refused" in await flow.acts()
    assert len(await flow.store.read(lambda tx: tx.pending(flow.team, 10))) == 1


class TestHttp:
    """What Slack's HTTP endpoint refuses."""

    @pytest.fixture
    def mode(self) -> str:
        """These are about HTTP."""
        return "http"

    @pytest.mark.parametrize("case", ["absent", "forged", "stale"])
    async def test_unsigned_forged_and_stale_deliveries(self, flow: World, case: str) -> None:
        """401, and nothing happens."""
        body = "command=%2Fapikey&text=request&user_id=U0BEN&team_id=T0ACME&trigger_id=1.2.3"
        stamp = str(int(time.time()) - (3600 if case == "stale" else 0))
        secret = "wrong" if case == "forged" else flow.servers.signing_secret
        signed = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if case != "absent":
            headers |= {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signed}"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{flow.settings.public_url}/slack/events", content=body, headers=headers)
        assert answer.status_code == 401
        assert await flow.ben.modal() is None
