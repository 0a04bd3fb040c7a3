"""What goes wrong when the control API says so, as its callers see it and as the sandbox keeps it."""

import asyncio

import httpx
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Member, Sandbox
from sandbox.server import Running
from tests.sandbox.serving import bolt, connected, listening


@pytest.fixture
def client(servers: Running) -> AsyncWebClient:
    """The app's client, which tries nothing twice."""
    return AsyncWebClient(token=servers.bot_token, base_url=servers.api_url, retry_handlers=[], timeout=5)


async def said(ben: Member) -> list[str]:
    return [message.text for message in await ben.messages()]


async def test_a_status_without_and_with_the_effect(client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """An error means nothing happened, unless the fault says that it acts; other methods are as ever."""
    await sandbox.fault("slack", "chat.*", status=503)
    await sandbox.fault("slack", "chat.postMessage", status=500, acts=True)
    for text in ("lost", "posted"):
        assert (await client.users_info(user="U0BEN"))["ok"]
        with pytest.raises(SlackApiError):
            await client.chat_postMessage(channel="U0BEN", text=text)
    await client.chat_postMessage(channel="U0BEN", text="mended")
    assert await said(ben) == ["posted", "mended"]


async def test_a_cut_before_and_after_the_effect(client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """The caller cannot tell them apart: the connection breaks without an answer."""
    for text, acts in (("before", False), ("after", True)):
        await sandbox.fault("slack", "chat.postMessage", cut=True, acts=acts)
        with pytest.raises(Exception, match=r"disconnected|Cannot write|reset"):
            await client.chat_postMessage(channel="U0BEN", text=text)
    assert await said(ben) == ["after"]


async def test_an_effect_long_after_the_time_out(servers: Running, sandbox: Sandbox) -> None:
    """A held call takes effect when it is released, whether or not its caller still waits."""
    await sandbox.fault("openai", "POST */service_accounts", held=True)
    headers = {"Authorization": f"Bearer {servers.openai_admin_key}"}
    url = f"{servers.openai_url}/organization/projects/proj_lab/service_accounts"
    async with httpx.AsyncClient(timeout=0.2) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(url, headers=headers, json={"name": "late"})
    assert await sandbox.openai_keys() == []
    assert (await sandbox.record())["held"] == 1
    await sandbox.release()
    await sandbox.member("U0ANA").expect(lambda seen: seen["openai"]["keys"])
    assert [key["status"] for key in await sandbox.openai_keys()] == ["active"]


async def test_down_until_mended(client: AsyncWebClient, servers: Running, sandbox: Sandbox) -> None:
    """Everything of one target is silent, the other goes on; what was said meanwhile is on the record."""
    await sandbox.down("slack")
    for _ in range(3):
        with pytest.raises(Exception, match=r"disconnected|Cannot write|reset"):
            await client.chat_postMessage(channel="U0BEN", text="unheard")
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {servers.openai_admin_key}"}) as http:
        assert (await http.get(f"{servers.openai_url}/organization/projects")).status_code == 200
    await sandbox.mend("slack")
    assert (await client.auth_test())["ok"]
    faults = (await sandbox.record())["faults"]
    assert len(faults) == 3
    assert "unheard" in faults[0]["body"]


async def test_deliveries_in_copies_and_held_back(servers: Running, sandbox: Sandbox, ben: Member) -> None:
    """Copies arrive at once, the later ones marked as retries; what is held back arrives late, the last first."""
    heard: list[tuple[str, str | None]] = []
    app = bolt(servers)

    @app.command("/apikey")
    async def command(ack: AsyncAck, body: dict[str, str], request: object) -> None:
        retries = getattr(request, "headers", {}).get("x-slack-retry-num", [None])
        heard.append((body["text"], retries[0]))
        await ack("fine")

    async with listening(app, sandbox) as url:
        await sandbox.set_app(request_urls=[url, url])
        await sandbox.disturb("command", copies=3)
        assert (await ben.command("/apikey three")).acknowledged
        assert sorted(heard, key=str) == [("three", "1"), ("three", "2"), ("three", None)]
        heard.clear()
        await sandbox.disturb("command", times=2, held=True)
        assert [(await ben.command(f"/apikey {word}")).error for word in ("one", "two")] == ["operation_timeout"] * 2
        assert (await ben.command("/apikey now")).acknowledged
        assert [ack.acknowledged for ack in await sandbox.release()] == [True, True]
        assert [text for text, _ in heard] == ["now", "two", "one"]


async def test_a_broken_socket_is_opened_again(servers: Running, sandbox: Sandbox, ben: Member) -> None:
    """Bolt's client comes back by itself after its connection broke."""
    app: AsyncApp = bolt(servers)

    @app.command("/apikey")
    async def command(ack: AsyncAck) -> None:
        await ack("fine")

    async with connected(app, servers):
        assert (await ben.command("/apikey")).acknowledged
        await sandbox.drop()
        async with asyncio.timeout(20):
            while not (await ben.command("/apikey")).acknowledged:
                await ben.expect(lambda seen: seen["app"]["connected"], timeout=20)


async def test_people_act_at_a_vendor_too(servers: Running, sandbox: Sandbox) -> None:
    """The control API uses a model without a key, makes reports late, restricts the admin key, accepts an invitation."""
    headers = {"Authorization": f"Bearer {servers.openai_admin_key}"}
    async with httpx.AsyncClient(base_url=f"{servers.openai_url}/organization/", headers=headers) as http:
        invited = {"email": "ben@acme.example", "role": "reader", "projects": []}
        assert (await http.post("invites", json=invited)).status_code == 200
        await sandbox.post("openai/accept", email="ben@acme.example")
        assert [it["status"] for it in (await http.get("invites")).json()["data"]] == ["accepted"]
        await sandbox.post("openai/use", project="proj_lab", answered=1000)
        [bucket] = (await http.get("costs?start_time=0&end_time=4000000000&limit=1")).json()["data"][:1]
        assert bucket["results"] == []
        today = int((await sandbox.state("U0ANA"))["now"])
        spent = (await http.get(f"costs?start_time={today}")).json()["data"][0]["results"]
        assert [cost["amount"]["value"] for cost in spent] == [0.0020025]
        await sandbox.post("openai/rule", usage_lag=3600)
        assert (await http.get(f"costs?start_time={today}")).json()["data"][0]["results"] == []
        await sandbox.post("openai/rule", admin_scopes=["api.management.read"])
        assert (await http.get(f"costs?start_time={today}")).status_code == 403
        assert (await http.get("projects")).status_code == 200
