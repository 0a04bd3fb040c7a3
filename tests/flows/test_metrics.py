"""/metrics of a whole desk, over the wire."""

import asyncio
import re
import secrets
from pathlib import Path

import httpx

from sandbox.server import Running
from tests.desk.test_metrics import Figures, read
from tests.flows.world import World, settings_for, world


async def shown(flow: World, token: str) -> Figures:
    """The page, as Prometheus reads it."""
    answer = await scraped(flow, f"Bearer {token}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    names_nobody(answer.text, token)
    return read(answer.content)


async def scraped(flow: World, *authorization: str) -> httpx.Response:
    """What the desk answers to whoever shows this."""
    return await flow.http.get(
        f"{flow.settings.public_url}/metrics", headers=[("authorization", one) for one in authorization]
    )


def names_nobody(page: str, token: str) -> None:
    """No member, team, channel, key, request or secret is on it."""
    assert not re.findall(r"\b[UTCD]0[A-Z0-9]+|\b[a-z]_[a-z2-7]{16}\b|sk-|xox", page)
    assert token not in page


async def test_the_page_tells_what_to_alarm_on_to_whoever_has_the_token(
    servers: Running, database_url: str, tmp_path: Path
) -> None:
    """A mint that fails, and a pause that Slack asked for, are on it; without the token nothing is."""
    token = secrets.token_urlsafe(32)
    settings = settings_for(servers, mode="http", database_url=database_url, folder=tmp_path, metrics_token=token)
    async with world(servers, settings) as flow:
        offer = await flow.approved()
        await flow.sandbox.fault("openai", "POST */service_accounts", status=500)
        await flow.sandbox.ratelimit("chat.update", retry_after=1)
        assert (await flow.ben.click(offer, "pick_up")).acknowledged
        await flow.ben.expect_message("Nothing is lost")
        await flow.ben.expect(
            lambda seen: next((one for one in flow.ben.visible(seen) if "pick_up" in one.buttons), None)
        )
        for _ in range(300):  # a pause, and the pass in which it is, are counted when they are over
            told = await shown(flow, token)
            if told["keydesk_slack_rate_limits_total",] and told["keydesk_sweep_seconds_count", "deliver"]:
                break
            await asyncio.sleep(0.05)
        assert told["keydesk_slack_rate_limit_wait_seconds_total",] >= 1
        assert told["keydesk_provider_calls_total", "mint", "openai"] == 1
        assert told["keydesk_provider_errors_total", "mint", "outcome_unknown", "openai"] == 1
        assert told["keydesk_sweep_seconds_count", "deliver"] > 0
        assert told["keydesk_database_up",] == 1
        assert told["keydesk_due", "grant"] == 0
        assert told["process_resident_memory_bytes",] > 0
        for refused in (
            (),
            ("Bearer",),
            (token,),
            (f"Bearer {token}x",),
            (f"Basic {token}",),
            (f"Bearer {token}",) * 2,
        ):
            answer = await scraped(flow, *refused)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "keydesk_" not in answer.text


async def test_without_a_token_there_is_no_such_page(servers: Running, tmp_path: Path) -> None:
    """An operator who never heard of it shows it to nobody."""
    settings = settings_for(servers, mode="http", database_url=f"sqlite:///{tmp_path}/desk.db", folder=tmp_path)
    async with world(servers, settings) as flow:
        assert (await scraped(flow)).status_code == 404
        assert (await scraped(flow, "Bearer x")).status_code == 404
