"""The HTTP way in: nothing but Slack's own, fresh deliveries reaches a listener."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest

from bot.slack import build_app, build_client, events_route
from tests.providers.serving import serve

SECRET = "s3cret-of-this-test"
COMMAND = "command=%2Fapikey&text=request&user_id=U0BEN&team_id=T0ACME&trigger_id=1.2.3"


def app_with(secret: str | None = SECRET) -> tuple[AsyncApp, list[Any]]:
    """The app, and what reached its one listener."""
    client = build_client(SecretStr("xoxb-1"), "http://127.0.0.1:9/api/")
    app = build_app(client=client, signing_secret=SecretStr(secret) if secret else None)
    heard: list[Any] = []

    async def listen(ack: AsyncAck, body: dict[str, Any]) -> None:
        heard.append(body)
        await ack("heard")

    app.command("/apikey")(listen)
    return app, heard


@dataclass
class Endpoint:
    """A served app."""

    url: str
    heard: list[Any] = field(default_factory=list)

    def post(
        self, body: str | bytes, *, secret: str = SECRET, age: float = 0, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Delivers as Slack does, with these differences."""
        raw = body.encode() if isinstance(body, str) else body
        stamp = str(int(time.time() - age))
        signed = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + raw, hashlib.sha256).hexdigest()
        sent = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signed}",
            **(headers or {}),
        }
        return httpx.post(f"{self.url}/slack/events", content=raw, headers={k: v for k, v in sent.items() if v})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """The app behind its route, on a real socket."""
    app, heard = app_with()
    with serve([events_route(app)], base="") as served:
        yield Endpoint(served.url, heard)


def test_a_signed_fresh_delivery_is_heard(endpoint: Endpoint) -> None:
    """And answered by the listener."""
    answer = endpoint.post(COMMAND)
    assert (answer.status_code, answer.text) == (200, "heard")
    assert endpoint.heard[0]["text"] == "request"


@pytest.mark.parametrize(
    "difference",
    [
        {"secret": "another"},
        {"secret": ""},
        {"age": 600},
        {"age": -600},
        {"headers": {"X-Slack-Signature": ""}},
        {"headers": {"X-Slack-Request-Timestamp": ""}},
        {"headers": {"X-Slack-Signature": "v0=", "X-Slack-Request-Timestamp": "0"}},
    ],
    ids=str,
)
def test_what_is_forged_stale_or_unsigned_is_refused(endpoint: Endpoint, difference: dict[str, Any]) -> None:
    """401, and no listener hears of it."""
    assert endpoint.post(COMMAND, **difference).status_code == 401
    assert endpoint.heard == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"payload=%7B", b"payload=[]", b"payload=5", b'{"user": 5}', b"payload=" + b"[" * 100_000],
    ids=len,
)
def test_what_cannot_be_read_is_refused(endpoint: Endpoint, body: bytes) -> None:
    """A body that is no delivery at all is the sender's mistake, not an error of ours."""
    assert endpoint.post(body).status_code == 400
    assert endpoint.heard == []


def test_slacks_own_handshake_is_answered(endpoint: Endpoint) -> None:
    """The challenge comes back when it is signed, and only then."""
    challenge = json.dumps({"type": "url_verification", "challenge": "abc", "token": "t"})
    kind = {"Content-Type": "application/json"}
    assert endpoint.post(challenge, headers=kind).json() == {"challenge": "abc"}
    assert endpoint.post(challenge, secret="another", headers=kind).status_code == 401


def test_without_a_signing_secret_nothing_passes_for_slacks() -> None:
    """Where HTTP is not set up, an empty or guessed secret opens nothing."""
    app, heard = app_with(secret=None)
    with serve([events_route(app)], base="") as served:
        assert Endpoint(served.url).post(COMMAND, secret="").status_code == 401
    assert heard == []


async def test_the_environment_does_not_turn_the_app_into_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings may stand in variables that Bolt reads for other ends (OAuth installation): it must not."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "BOT_TOKEN", "SIGNING_SECRET", "VERIFICATION_TOKEN"):
        monkeypatch.setenv(f"SLACK_{name}", "from-the-environment")
    app, heard = app_with()
    body = dict(pair.split("=") for pair in COMMAND.replace("%2F", "/").split("&"))
    answer = await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))
    assert (answer.status, heard) == (200, [body])
    assert caplog.records == []
