"""The sandbox as a process, and how it stops."""

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Sandbox
from sandbox.server import Running, running
from tests.sandbox.serving import section

ROOT = Path(__file__).parents[2]


async def start(data: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Starts it, and reads what it says about itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--data", str(data), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    return process, json.loads(await process.stdout.readline())


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Tokens, people, messages, Homes, keys and the clock are as they were."""
    process, told = await start(tmp_path / "data")
    try:
        async with Sandbox(told["base_url"]) as sandbox:
            client = AsyncWebClient(token=told["bot_token"], base_url=told["api_url"])
            await client.chat_postMessage(channel="U0BEN", text="Remember me")
            await client.views_publish(user_id="U0BEN", view={"type": "home", "blocks": [section("Home")]})
            await sandbox.patch_member("U0CARA", deleted=True)
            await sandbox.advance(1000)
            await sandbox.set_project("proj_lab", "archived")
            before = await sandbox.state("U0BEN")
    finally:
        process.terminate()
        await process.wait()
    again, told_again = await start(tmp_path / "data")
    try:
        credentials = {name for name in told if not name.endswith("_url")}
        assert {name: told[name] for name in credentials} == {name: told_again[name] for name in credentials}
        async with Sandbox(told_again["base_url"]) as sandbox:
            after = await sandbox.state("U0BEN")
            for part in ("members", "groups", "channels", "home", "openai", "openrouter", "litellm"):
                assert after[part] == before[part]
            assert after["now"] >= before["now"]
    finally:
        again.terminate()
        await again.wait()


async def test_it_stops_at_once() -> None:
    """Whoever waits for a change hears that there will be none, and whoever holds a websocket that it is closed."""
    with ExitStack() as stack:
        servers = stack.enter_context(running())
        app = AsyncWebClient(token=servers.app_token, base_url=servers.api_url)
        url = str((await app.apps_connections_open(app_token=servers.app_token))["url"])
        async with Sandbox(servers.base_url) as sandbox, aiohttp.ClientSession() as http:
            websocket = await http.ws_connect(url)
            assert (await websocket.receive_json())["type"] == "hello"
            rev = (await sandbox.state("U0BEN"))["rev"]
            waiting = asyncio.create_task(sandbox.get("wait", rev=rev, timeout=30))
            closing = asyncio.create_task(websocket.receive())
            await sandbox.state("U0BEN")
            begin = time.monotonic()
            await asyncio.to_thread(stack.close)
            assert time.monotonic() - begin < 1
            assert (await waiting)["rev"] > rev
            assert (await closing).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize("path", ["/", "/control/state?as=U0BEN", "/api/auth.test"])
async def test_it_answers_by_its_own_name_only(servers: Running, path: str) -> None:
    """A web page that makes its own name lead to this machine gets nothing."""
    async with httpx.AsyncClient(base_url=servers.base_url) as http:
        assert (await http.get(path)).status_code == 200
        assert (await http.get(path, headers={"Host": "evil.example"})).status_code == 400


async def test_the_control_api_says_what_is_wrong(servers: Running) -> None:
    """With status 400 and a word."""
    async with httpx.AsyncClient(base_url=f"{servers.base_url}/control") as http:
        for path, body, error in (
            ("/command", {"as": "U0NOBODY", "channel": "C0GENERAL", "text": "/apikey"}, "user_not_found"),
            ("/command", {"as": "U0BEN", "text": "/apikey"}, "missing or unknown: channel"),
            ("/submit", {"as": "U0BEN", "view_id": "V0NOWHERE", "values": {}}, "not_found"),
            ("/redeliver", {"delivery": "dlv_0"}, "missing or unknown: dlv_0"),
            (
                "/fault",
                {"target": "mars", "cut": True},
                "a fault's target is one of slack, openai, openrouter, litellm, anthropic, not 'mars'",
            ),
            ("/fault", {"target": "slack"}, "a fault has a status, a delay, is held, or cuts the connection"),
            ("/openai/projects/proj_lab", {"status": "lost"}, "a project is active or archived, not 'lost'"),
        ):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()) == (400, {"ok": False, "error": error})
        answer = await http.post("/command", content="[]")
        assert (answer.status_code, answer.json()["ok"]) == (400, False)
