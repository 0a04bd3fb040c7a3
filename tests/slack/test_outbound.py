"""The directory and the notifier, against the sandbox's Web API."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from bot.desk.errors import Unavailable, Undeliverable
from bot.desk.model import Home, Notice, NoticeKind
from bot.slack import SlackDirectory, SlackNotifier, build_client, open_session
from sandbox.client import Sandbox
from sandbox.server import Running
from tests.flows.world import MovableClock
from tests.slack import stories

TEAM = "T0ACME"


@pytest.fixture
async def sandbox(servers: Running) -> AsyncIterator[Sandbox]:
    """The sandbox, with no desk."""
    async with Sandbox(servers.base_url) as sandbox:
        yield sandbox


@pytest.fixture
def clock() -> MovableClock:
    """The desk's clock."""
    return MovableClock()


@pytest.fixture
def directory(servers: Running, clock: MovableClock) -> SlackDirectory:
    """The directory of the sandbox's team."""
    client = build_client(SecretStr(servers.bot_token), servers.api_url)
    return SlackDirectory(client=client, team=TEAM, clock=clock)


@pytest.fixture
def notifier(servers: Running) -> SlackNotifier:
    """The notifier of the sandbox's team."""
    return SlackNotifier(client=build_client(SecretStr(servers.bot_token), servers.api_url), team=TEAM)


async def calls(sandbox: Sandbox, method: str) -> int:
    """How often the method was called."""
    return sum(call["method"] == method for call in (await sandbox.record())["calls"])


class TestDirectory:
    """Who people are."""

    @pytest.mark.parametrize(
        ("member", "marks"),
        [
            ("U0BEN", set()),
            ("U0GUS", {"guest"}),
            ("U0UMA", {"guest"}),
            ("U0BOT", {"bot"}),
            ("USLACKBOT", {"bot"}),
            ("U0OLD", {"deleted"}),
            ("U0XAV", {"stranger"}),
        ],
    )
    async def test_what_a_member_is(self, directory: SlackDirectory, member: str, marks: set[str]) -> None:
        """Guests, bots, the deleted and strangers are known as such."""
        person = await directory.person(member)
        assert person is not None
        assert {mark for mark in ("bot", "deleted", "guest", "stranger") if getattr(person, mark)} == marks
        assert (person.id, person.name != "") == (member, True)

    async def test_everybody_page_by_page(
        self, directory: SlackDirectory, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All who are listed, each once, those who left too; a rate limit in between is waited out."""
        monkeypatch.setattr("bot.slack.directory.PAGE", 2)
        await sandbox.fault("slack", "users.list", times=1, status=429, retry_after=1)
        pages = [page async for page in directory.everybody()]
        ids = [person.id for page in pages for person in page]
        assert max(len(page) for page in pages) == 2
        assert len(ids) == len(set(ids))
        assert {"U0BEN", "U0ANA", "U0GUS"} <= set(ids)
        assert [person for page in pages for person in page if person.deleted]
        assert await calls(sandbox, "users.list") == len(pages)

    async def test_everybody_is_known_at_once(
        self, directory: SlackDirectory, sandbox: Sandbox, clock: MovableClock
    ) -> None:
        """One list for all who ask in this moment, and none of the members is asked for one by one for as long as it is known."""
        await asyncio.gather(*(directory.know_everybody() for _ in range(3)))
        members = [person.id async for page in directory.everybody() for person in page]
        listed = await calls(sandbox, "users.list")
        assert listed == 2
        for wait in (timedelta(), timedelta(minutes=8)):
            clock.ahead += wait
            await directory.know_everybody()
            assert all([await directory.person(member) for member in members])
        assert (await calls(sandbox, "users.list"), await calls(sandbox, "users.info")) == (listed, 0)
        clock.ahead += timedelta(minutes=1)
        await directory.know_everybody()
        clock.ahead += timedelta(minutes=2)
        assert await directory.person(members[0])
        assert (await calls(sandbox, "users.list"), await calls(sandbox, "users.info")) == (listed + 1, 0)

    async def test_a_list_that_breaks_off(
        self, directory: SlackDirectory, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What came before is no whole list: it is said that it broke off."""
        monkeypatch.setattr("bot.slack.directory.PAGE", 2)
        pages = directory.everybody()
        assert len(await anext(pages)) == 2
        await sandbox.fault("slack", "users.list", status=500)
        with pytest.raises(Unavailable):
            await anext(pages)

    async def test_a_list_without_an_end(self, directory: SlackDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page that leads to itself is not read for ever."""

        async def same(**_: Any) -> dict[str, Any]:
            return {"members": [], "response_metadata": {"next_cursor": "same"}}

        monkeypatch.setattr("slack_sdk.web.async_client.AsyncWebClient.users_list", lambda self, **how: same(**how))
        with pytest.raises(Unavailable, match="does not come to its end"):
            assert [page async for page in directory.everybody()]

    async def test_who_was_known_once_is_remembered(
        self, directory: SlackDirectory, sandbox: Sandbox, clock: MovableClock
    ) -> None:
        """Long after, while Slack does not answer; of whom nobody asked about there is nothing to remember."""
        person = await directory.person("U0BEN")
        clock.ahead += timedelta(days=2)
        await sandbox.fault("slack", "users.info", status=500)
        with pytest.raises(Unavailable):
            await directory.person("U0BEN")
        assert person is not None
        assert directory.remembered("U0BEN") == person
        assert directory.remembered("U0ANA") is None

    async def test_a_member_nobody_knows(self, directory: SlackDirectory) -> None:
        """Is nobody; and so is an unknown group's membership."""
        assert await directory.person("U0NOBODY", fresh=True) is None
        assert await directory.members("S0NOWHERE") == frozenset()
        assert await directory.manager("U0NOBODY", "Xf0MANAGER") is None

    async def test_a_fresh_look_asks_again(
        self, directory: SlackDirectory, sandbox: Sandbox, clock: MovableClock
    ) -> None:
        """At a click a member's standing is that of this moment; to choose whom to ask it may be ten minutes old."""
        await directory.person("U0BEN")
        await sandbox.patch_member("U0BEN", deleted=True)
        stale, fresh = await directory.person("U0BEN"), await directory.person("U0BEN", fresh=True)
        assert stale is not None
        assert fresh is not None
        assert (stale.deleted, fresh.deleted) == (False, True)
        assert (await directory.person("U0BEN")) == fresh
        await sandbox.patch_member("U0BEN", deleted=False)
        clock.ahead += timedelta(minutes=10)
        assert (await directory.person("U0BEN")) != fresh

    async def test_groups_and_managers_are_a_minute_old_at_most(
        self, directory: SlackDirectory, sandbox: Sandbox, clock: MovableClock
    ) -> None:
        """Asked once a minute, not at each look."""
        assert await directory.members("S0PLATFORM") == {"U0CARA", "U0DEV"}
        assert await directory.manager("U0BEN", "Xf0MANAGER") == "U0ANA"
        assert await directory.manager("U0CARA", "Xf0MANAGER") is None
        await sandbox.set_group("S0PLATFORM", ["U0DEV"])
        await sandbox.patch_member("U0BEN", Xf0MANAGER="U0CARA")
        assert await directory.members("S0PLATFORM") == {"U0CARA", "U0DEV"}
        assert await directory.manager("U0BEN", "Xf0MANAGER") == "U0ANA"
        assert await calls(sandbox, "usergroups.users.list") == 1
        clock.ahead += timedelta(seconds=61)
        assert await directory.members("S0PLATFORM") == {"U0DEV"}
        assert await directory.manager("U0BEN", "Xf0MANAGER") == "U0CARA"

    async def test_when_slack_cannot_say_nobody_is_anybody(self, servers: Running, clock: MovableClock) -> None:
        """A refused token and an unreachable Slack are `Unavailable`, never an empty answer."""
        for token, url in (("xoxb-wrong", servers.api_url), (servers.bot_token, "http://127.0.0.1:9/api/")):
            directory = SlackDirectory(client=build_client(SecretStr(token), url), team=TEAM, clock=clock)
            for asked in (
                directory.person("U0BEN", fresh=True),
                directory.members("S0PLATFORM"),
                directory.manager("U0BEN", "Xf0MANAGER"),
            ):
                with pytest.raises(Unavailable):
                    await asked


def notice(recipient: str, **changes: Any) -> Notice:
    """A card that is due."""
    due = Notice(
        team=TEAM,
        id="n_1",
        kind=NoticeKind.APPROVAL,
        about="r_1",
        recipient=recipient,
        wanted=1,
        shown=0,
        due_at=stories.NOW,
    )
    return replace(due, **changes)


class TestNotifier:
    """What people are sent."""

    async def test_a_notice_is_posted_once_and_then_kept_current(
        self, notifier: SlackNotifier, sandbox: Sandbox
    ) -> None:
        """To a member by direct message, to a channel in the channel; later versions change the message in place."""
        for recipient, channel in (("U0ANA", None), ("C0KEYS", "C0KEYS")):
            at, ts = await notifier.show(notice(recipient), stories.pending())
            before = await sandbox.member("U0ANA").messages(channel)
            assert (before[-1].ts, before[-1].buttons) == (ts, ["approve", "deny"])
            again = notice(recipient, channel=at, ts=ts, wanted=2, shown=1)
            assert await notifier.show(again, stories.denied()) == (at, ts)
            after = await sandbox.member("U0ANA").messages(channel)
            assert len(after) == len(before)
            assert (after[-1].buttons, after[-1].edited) == ([], True)
        posts = [call["args"] for call in (await sandbox.record())["calls"] if call["method"] == "chat.postMessage"]
        assert all(str(post["unfurl_links"]).lower() in ("0", "false") for post in posts)
        assert all(str(post["unfurl_media"]).lower() in ("0", "false") for post in posts)

    @pytest.mark.parametrize("kind", NoticeKind)
    async def test_slack_takes_the_most_hostile_words(
        self, notifier: SlackNotifier, sandbox: Sandbox, kind: NoticeKind
    ) -> None:
        """Every kind of notice in every state is posted, and can be brought up to date."""
        for name, story in stories.every():
            at, ts = await notifier.show(notice("U0BEN", kind=kind), story)
            assert await notifier.show(notice("U0BEN", kind=kind, channel=at, ts=ts), story) == (at, ts), name

    @pytest.mark.parametrize("recipient", ["U0NOBODY", "U0BOT", "U0OLD", "C0NOWHERE"])
    async def test_whom_nothing_ever_reaches(self, notifier: SlackNotifier, recipient: str) -> None:
        """Is told apart from a bad moment, so that nothing is tried for ever."""
        with pytest.raises(Undeliverable):
            await notifier.show(notice(recipient), stories.pending())

    async def test_a_message_that_is_gone(self, notifier: SlackNotifier) -> None:
        """Somebody deleted the card: there is nothing left to bring up to date."""
        with pytest.raises(Undeliverable):
            await notifier.show(notice("C0KEYS", channel="C0KEYS", ts="1.000001"), stories.pending())

    async def test_another_teams_notice(self, notifier: SlackNotifier) -> None:
        """This client's token is of one team."""
        with pytest.raises(Undeliverable):
            await notifier.show(notice("U0ANA", team="T0OTHER"), stories.pending())

    async def test_a_rate_limit_is_waited_out(self, notifier: SlackNotifier, sandbox: Sandbox) -> None:
        """As long as Slack says, and then the message is there."""
        await sandbox.ratelimit("chat.postMessage", times=1, retry_after=0)
        await notifier.show(notice("U0ANA"), stories.pending())
        assert await calls(sandbox, "chat.postMessage") == 1
        assert [fault["call"] for fault in (await sandbox.record())["faults"]] == ["chat.postMessage"]

    async def test_a_refused_token_is_a_bad_moment(self, servers: Running) -> None:
        """What an operator can mend is tried again later."""
        notifier = SlackNotifier(client=build_client(SecretStr("xoxb-wrong"), servers.api_url), team=TEAM)
        with pytest.raises(Unavailable, match="invalid_auth"):
            await notifier.show(notice("U0ANA"), stories.pending())

    async def test_a_home_is_published(self, notifier: SlackNotifier, sandbox: Sandbox) -> None:
        """And whoever has none cannot be reached."""
        await notifier.show_home(Home("U0ANA", queue=(stories.pending(),)))
        assert (await sandbox.member("U0ANA").home(open=False)).buttons == ["ask", "approve", "deny"]
        with pytest.raises(Undeliverable):
            await notifier.show_home(Home("U0NOBODY"))


async def test_calls_of_one_session_share_a_connection() -> None:
    """Who clicks waits for no new connection: five calls arrive over one; without a session each has its own."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
                )
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/"
    async with server:
        async with open_session() as session:
            client = build_client(SecretStr("xoxb-1"), url, session=session)
            for _ in range(5):
                await client.auth_test()
            assert opened == 1
        lonely = build_client(SecretStr("xoxb-1"), url)
        for _ in range(2):
            await lonely.auth_test()
    assert opened == 3
