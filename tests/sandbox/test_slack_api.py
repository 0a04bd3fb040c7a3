"""The Web API answers the official SDK as Slack does: fields, refusals, scopes, rate limits."""

import json
from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Member, Sandbox
from sandbox.server import SCOPES, Running, running
from tests.sandbox.serving import actions, button, modal, sample, section, unknown_fields

Json = dict[str, Any]
READING = (*SCOPES, "channels:read", "im:read", "team:read", "users:read.email")


async def refusal(client: AsyncWebClient, method: str, **args: Any) -> Json:
    """What the API answers to a call that it refuses."""
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(method, json=args)
    told: Json = caught.value.response.data
    return told


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        ("chat.postMessage", {"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "U0NOBODY", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "D0NOBODY", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "U0OLD", "text": "x"}, "user_disabled"),
        ("chat.postMessage", {"channel": "U0BOT", "text": "x"}, "cannot_dm_bot"),
        ("chat.postMessage", {"channel": "C0GENERAL"}, "no_text"),
        ("chat.postMessage", {"channel": "C0GENERAL", "text": "x" * 40_001}, "msg_too_long"),
        ("chat.postMessage", {"channel": "C0GENERAL", "blocks": "{]"}, "invalid_blocks_format"),
        ("chat.postEphemeral", {"channel": "C0KEYS", "user": "U0BEN", "text": "x"}, "user_not_in_channel"),
        ("chat.postEphemeral", {"channel": "C0GENERAL", "user": "U0OLD", "text": "x"}, "user_not_in_channel"),
        ("chat.postEphemeral", {"channel": "C0GENERAL", "user": "U0NOBODY", "text": "x"}, "user_not_in_channel"),
        ("chat.update", {"channel": "C0GENERAL", "ts": "1.2", "text": "x"}, "message_not_found"),
        ("chat.delete", {"channel": "C0GENERAL", "ts": "1.2"}, "message_not_found"),
        ("chat.getPermalink", {"channel": "C0GENERAL", "message_ts": "1.2"}, "message_not_found"),
        ("conversations.open", {"users": "U0NOBODY"}, "user_not_found"),
        ("conversations.open", {"users": "U0OLD"}, "user_disabled"),
        ("conversations.open", {"users": "U0BOT"}, "cannot_dm_bot"),
        ("conversations.open", {}, "users_list_not_supplied"),
        ("users.info", {"user": "U0NOBODY"}, "user_not_found"),
        ("users.profile.get", {"user": "U0NOBODY"}, "user_not_found"),
        ("usergroups.users.list", {"usergroup": "S0NOWHERE"}, "no_such_subteam"),
        ("bots.info", {"bot": "B0NOBODY"}, "bot_not_found"),
        ("views.update", {"view_id": "V0NOWHERE", "view": modal("x", section("?"))}, "not_found"),
        ("views.update", {"view": modal("x", section("?"))}, "invalid_arguments"),
        ("views.open", {"view": modal("x", section("?"))}, "invalid_arguments"),
        ("views.open", {"trigger_id": "1.2.3", "view": modal("x", section("?"))}, "invalid_trigger_id"),
        ("views.publish", {"user_id": "U0BEN", "view": modal("x", section("?"))}, "invalid_arguments"),
        ("views.publish", {"user_id": "U0NOBODY", "view": {"type": "home", "blocks": []}}, "user_not_found"),
        ("files.upload", {}, "unknown_method"),
        ("apps.connections.open", {}, "not_allowed_token_type"),
    ],
)
async def test_refusals(client: AsyncWebClient, method: str, args: Json, error: str) -> None:
    """Each by Slack's name for it, with status 200."""
    assert (await refusal(client, method, **args))["error"] == error


async def test_tokens(servers: Running) -> None:
    """An unknown token, none at all, and another kind than the method takes."""
    wrong = AsyncWebClient(token="xoxb-wrong", base_url=servers.api_url)
    assert (await refusal(wrong, "auth.test"))["error"] == "invalid_auth"
    assert (await refusal(AsyncWebClient(base_url=servers.api_url), "auth.test"))["error"] == "not_authed"
    app = AsyncWebClient(token=servers.app_token, base_url=servers.api_url)
    assert (await refusal(app, "chat.postMessage"))["error"] == "not_allowed_token_type"
    assert (await app.apps_connections_open(app_token=servers.app_token))["url"].startswith("ws://127.0.0.1:")


async def test_arguments_come_in_several_ways(servers: Running) -> None:
    """As a query, a form or JSON; the token in the header or the body."""
    bearer = {"Authorization": f"Bearer {servers.bot_token}"}
    blocks = [section("Hello")]
    async with httpx.AsyncClient(base_url=servers.api_url) as http:
        ways = [
            await http.post("chat.postMessage", headers=bearer, params={"channel": "C0KEYS", "text": "x"}),
            await http.post(
                "chat.postMessage", headers=bearer, data={"channel": "C0KEYS", "blocks": json.dumps(blocks)}
            ),
            await http.post("chat.postMessage", headers=bearer, json={"channel": "C0KEYS", "blocks": blocks}),
            await http.post(
                "chat.postMessage", data={"token": servers.bot_token, "channel": "C0KEYS", "text": "a&b=c"}
            ),
        ]
        answers = [way.json() for way in ways]
        assert [answer["ok"] for answer in answers] == [True] * 4
        assert answers[1]["message"]["blocks"][0]["text"] == answers[2]["message"]["blocks"][0]["text"]
        assert answers[3]["message"]["text"] == "a&b=c"
        broken = await http.post("auth.test", content="{", headers={**bearer, "Content-Type": "application/json"})
        assert broken.json() == {"ok": False, "error": "invalid_json"}


async def test_scopes(client: AsyncWebClient) -> None:
    """A token tells its scopes; what it lacks is refused, with what would be needed; so is its way to emails."""
    with running(scopes=("commands", "users:read")) as servers:
        poor = AsyncWebClient(token=servers.bot_token, base_url=servers.api_url)
        assert (await poor.auth_test()).headers["x-oauth-scopes"] == "commands,users:read"
        assert await refusal(poor, "chat.postMessage", channel="C0KEYS", text="x") == {
            "ok": False,
            "error": "missing_scope",
            "needed": "chat:write",
            "provided": "commands,users:read",
        }
        assert "email" not in (await poor.users_info(user="U0BEN"))["user"]["profile"]
    assert (await refusal(client, "conversations.info", channel="C0KEYS"))["error"] == "missing_scope"
    assert (await refusal(client, "team.info"))["needed"] == "team:read"


async def test_rate_limits(client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """429 with Retry-After, for as many calls as asked for; the SDK's handler waits it out."""
    await sandbox.ratelimit("chat.postMessage", times=1, retry_after=1)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="U0BEN", text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "1"
    assert caught.value.response["error"] == "ratelimited"
    await sandbox.ratelimit("chat.postMessage", times=2, retry_after=0)
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
    await client.chat_postMessage(channel="U0BEN", text="patience")
    assert [it.text for it in await ben.messages()] == ["patience"]


async def test_messages_live_and_die(client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """Posted, linked to, changed, deleted. Blocks stay unless a change names others; other people's stay as they are."""
    posted = await client.chat_postMessage(channel="U0BEN", text="One", blocks=[section("One")])
    where = {"channel": posted["channel"], "ts": posted["ts"]}
    assert where["channel"] == "D0BEN"
    link = await client.chat_getPermalink(channel=where["channel"], message_ts=where["ts"])
    assert link["permalink"].endswith(f"/archives/D0BEN/p{where['ts'].replace('.', '')}")
    await client.chat_update(**where, text="Two")
    assert [(it.text, it.plain, it.edited) for it in await ben.messages()] == [("Two", "One", True)]
    await client.chat_update(**where, text="Three", blocks=[])
    assert [it.plain for it in await ben.messages()] == ["Three"]
    assert (await refusal(client, "chat.update", **where, text="x" * 4001))["error"] == "msg_too_long"
    await ben.say("Mine")
    mine = (await ben.messages())[-1]
    assert (await refusal(client, "chat.update", **mine.container, text="x"))["error"] == "cant_update_message"
    assert (await refusal(client, "chat.delete", **mine.container))["error"] == "cant_delete_message"
    await client.chat_delete(**where)
    assert [it.text for it in await ben.messages()] == ["Mine"]


async def test_a_channel_without_the_bot(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """Not to be posted to."""
    await sandbox.set_channel("C0KEYS", ["U0ANA"])
    assert (await refusal(client, "chat.postMessage", channel="C0KEYS", text="x"))["error"] == "not_in_channel"


async def test_people(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """Who they are, which group they are in, who manages them; all of it may change."""
    users = {user["id"]: user for user in (await client.users_list())["members"]}
    assert users["U0GUS"]["is_restricted"]
    assert users["U0UMA"]["is_ultra_restricted"]
    assert users["U0BOT"]["is_bot"]
    assert users["U0OLD"]["deleted"]
    assert "U0XAV" not in users
    stranger = (await client.users_info(user="U0XAV"))["user"]
    assert (stranger["team_id"], stranger["is_stranger"]) == ("T0OTHER", True)
    assert "has_2fa" not in users["U0BEN"]
    assert "is_stranger" not in users["U0BEN"]
    assert (await client.usergroups_users_list(usergroup="S0PLATFORM"))["users"] == ["U0CARA", "U0DEV"]
    profile = (await client.users_profile_get(user="U0BEN"))["profile"]
    assert profile["fields"] == {"Xf0MANAGER": {"value": "U0ANA", "alt": ""}}
    assert (await client.users_profile_get(user="U0ANA"))["profile"]["fields"] == []

    await sandbox.patch_member("U0BEN", deleted=True, has_2fa=False, Xf0MANAGER=None)
    await sandbox.patch_member("U0CARA", profile={"fields": {"Xf0MANAGER": {"value": "U0DEV"}}, "real_name": "Cara L"})
    await sandbox.set_group("S0PLATFORM", ["U0ANA"])
    ben = (await client.users_info(user="U0BEN"))["user"]
    assert (ben["deleted"], ben["has_2fa"]) == (True, False)
    assert (await client.users_profile_get(user="U0BEN"))["profile"]["fields"] == []
    cara = (await client.users_profile_get(user="U0CARA"))["profile"]
    assert (cara["real_name"], cara["fields"]["Xf0MANAGER"]["value"]) == ("Cara L", "U0DEV")
    assert (await client.usergroups_list(include_users=True))["usergroups"][0]["users"] == ["U0ANA"]
    with pytest.raises(AssertionError, match="invalid_profile_field"):
        await sandbox.patch_member("U0BEN", shoe_size=43)


async def test_pages(client: AsyncWebClient) -> None:
    """A limit and a cursor lead through a list."""
    found, cursor = [], ""
    while True:
        page = await client.users_list(limit=4, cursor=cursor)
        found += [user["id"] for user in page["members"]]
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert len(found) == len(set(found)) == 10


async def test_answers_have_the_fields_of_slacks_samples(sandbox: Sandbox, ben: Member) -> None:
    """No answer has a field that Slack's recorded answers do not have."""
    with running(scopes=READING) as servers:
        client = AsyncWebClient(token=servers.bot_token, base_url=servers.api_url)
        posted = await client.chat_postMessage(channel="C0KEYS", text="x", blocks=[actions(button("go"))])
        where = {"channel": posted["channel"], "ts": posted["ts"]}
        answers = {
            "auth.test": await client.auth_test(),
            "apps.connections.open": await client.apps_connections_open(app_token=servers.app_token),
            "chat.postMessage": posted,
            "chat.update": await client.chat_update(**where, text="y"),
            "chat.postEphemeral": await client.chat_postEphemeral(channel="C0KEYS", user="U0ANA", text="x"),
            "chat.getPermalink": await client.chat_getPermalink(channel="C0KEYS", message_ts=posted["ts"]),
            "chat.delete": await client.chat_delete(**where),
            "conversations.open": await client.conversations_open(users="U0BEN", return_im=True),
            "conversations.info": await client.conversations_info(channel="C0PLATFORM"),
            "conversations.members": await client.conversations_members(channel="C0PLATFORM"),
            "users.info": await client.users_info(user="U0BEN"),
            "users.list": await client.users_list(),
            "team.info": await client.team_info(),
            "usergroups.list": await client.usergroups_list(include_users=True),
            "usergroups.users.list": await client.usergroups_users_list(usergroup="S0PLATFORM"),
            "views.publish": await client.views_publish(user_id="U0BEN", view={"type": "home", "blocks": []}),
        }
        extra = {method: unknown_fields(told.data, sample(f"api/{method}.json")) for method, told in answers.items()}
        assert {method: fields for method, fields in extra.items() if fields} == {}


async def test_everything_is_on_record(client: AsyncWebClient, servers: Running, sandbox: Sandbox) -> None:
    """Each call with its arguments and answer, and no token."""
    await client.chat_postMessage(channel="C0KEYS", text="x")
    with pytest.raises(SlackApiError):
        await AsyncWebClient(token="xoxb-wrong", base_url=servers.api_url).auth_test()
    post, test = (await sandbox.record())["calls"]
    assert (post["method"], post["token_ok"], post["args"]) == (
        "chat.postMessage",
        True,
        {"channel": "C0KEYS", "text": "x"},
    )
    assert post["response"]["ok"]
    assert (test["method"], test["token_ok"], test["response"]["error"]) == ("auth.test", False, "invalid_auth")
    assert servers.bot_token not in json.dumps([post, test])
