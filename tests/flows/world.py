"""A whole desk against a whole sandbox, as an operator would run it, with a clock that tests move."""

import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx

from app import running
from bot.desk import audit
from bot.settings import Settings, load
from sandbox.blocks import elements
from sandbox.client import Member, Message, Sandbox, View
from sandbox.server import Running
from sandbox.workspace import TEAM
from storage.store import SqlStore

POLICY = """\
version = 1
approval_channel = "C0KEYS"
manager_field = "Xf0MANAGER"

[[rule]]
name = "everyday keys"
requesters = ["everyone"]
provider = "openai"
projects = ["*"]
permissions = ["read_only", "embeddings", "responses", "chat"]
approvers = ["manager", "S0PLATFORM"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 25
"""
ASK: dict[str, Any] = {
    "provider": "openai",
    "project": "proj_search",
    "permission": "chat",
    "duration": "7d",
    "budget": "25",
    "reason": "Nightly evaluation of the search prompts",
}


class Clock(Protocol):
    """A clock that tests move."""

    ahead: timedelta

    def __call__(self) -> datetime: ...


class MovableClock:
    """Now, plus what the test has added."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class World:
    """The sandbox, its people, and the desk that serves them."""

    sandbox: Sandbox
    servers: Running
    settings: Settings
    clock: Clock
    store: SqlStore
    sweep: Callable[[], Awaitable[None]]
    http: httpx.AsyncClient
    team: str = TEAM
    go_round: Callable[[], Awaitable[None]] | None = None
    tick: Callable[[], Awaitable[None]] | None = None
    send_digests: Callable[[], Awaitable[None]] | None = None

    @property
    def ana(self) -> Member:
        """Ben's manager."""
        return self.sandbox.member("U0ANA")

    @property
    def ben(self) -> Member:
        """The engineer who asks."""
        return self.sandbox.member("U0BEN")

    @property
    def cara(self) -> Member:
        """A platform lead, and so an approver."""
        return self.sandbox.member("U0CARA")

    async def ask(self, member: Member | None = None, **changes: Any) -> None:
        """Fills in the form and submits it. None is for a field that the provider's form has not."""
        who = member or self.ben
        assert (await who.command("/apikey request")).acknowledged
        form = await self.form(changes.get("provider", ASK["provider"]), who)
        filled = {name: value for name, value in {**ASK, **changes}.items() if value is not None}
        ack = await who.submit(form, **filled)
        assert ack.acknowledged
        assert ack.errors == {}

    async def form(self, provider: str, member: Member | None = None) -> View:
        """The form that is open, with this provider chosen in it."""
        who = member or self.ben
        form = await who.modal()
        assert form is not None
        if self._form_of(provider, form):
            return form
        assert (await who.click(form, "provider", provider)).acknowledged
        return await who.expect(lambda seen: self._form_of(provider, who.top(seen)))

    @staticmethod
    def _form_of(provider: str, form: View | None) -> View | None:
        """The form, once its fields are those of the provider."""
        named = [element["action_id"] for _, element in elements(form.blocks)] if form else []
        return form if f"project@{provider}" in named else None

    async def approved(self, **changes: Any) -> Message:
        """Ben asked, Ana approved: the message with his pick-up button."""
        await self.ask(**changes)
        card = await self.card(self.ana)
        assert (await self.ana.click(card, "approve")).acknowledged
        return await self.offer()

    async def card(self, approver: Member, channel: str | None = None) -> Message:
        """The newest approval card in front of this approver that can still be decided on."""
        return await approver.expect(
            lambda seen: next(
                (one for one in reversed(approver.visible(seen, channel)) if "approve" in one.buttons), None
            )
        )

    async def offer(self, after: str = "") -> Message:
        """The newest message in front of Ben with a pick-up button, later than `after`."""
        return await self.ben.expect(
            lambda seen: next(
                (one for one in reversed(self.ben.visible(seen)) if "pick_up" in one.buttons and one.ts > after), None
            )
        )

    async def no_key_left(self) -> None:
        """Waits until the provider has no key any more."""
        await self.ben.expect(lambda seen: not [key for key in seen["openai"]["keys"] if key["status"] == "active"])

    async def over(self) -> None:
        """Waits until Ben's messages say that his grant is over and its key gone."""
        await self.ben.expect(
            lambda seen: next(
                (
                    one
                    for one in self.ben.visible(seen)
                    if "revoked" in one.text.lower() and "being revoked" not in f"{one.text} {one.plain}"
                ),
                None,
            )
        )

    async def acts(self) -> list[str]:
        """What the audit log says was done, in order; the chain must fit."""
        entries, head = await self.store.audit_chain(self.team)
        assert audit.verify(entries, head) is None
        return [entry.act for entry in entries]

    async def picked_up(self) -> str:
        """Ben picked up, too: the link's URL."""
        outcome = await self.approved()
        assert (await self.ben.click(outcome, "pick_up")).acknowledged
        return await self.link()

    async def link(self, after: int = 0) -> str:
        """The URL in the newest private answer to Ben's pick-ups."""

        def find(snapshot: Any) -> str | None:
            urls = [
                url
                for message in self.ben.visible(snapshot)
                if message.ephemeral
                for url in message.urls
                if "/k/" in url
            ]
            return urls[-1] if len(urls) > after else None

        return await self.ben.expect(find)

    async def pass_time(self, by: timedelta) -> None:
        """Moves both clocks and lets the desk sweep once."""
        self.clock.ahead += by
        await self.sandbox.advance(by.total_seconds())
        await self.sweep()

    async def an_hour_later(self) -> None:
        """Time passes, and the rounds at the providers are made."""
        await self.pass_time(timedelta(hours=1))
        assert self.go_round is not None
        await self.go_round()

    async def digest(self) -> None:
        """The weekly digests that are due are sent."""
        assert self.send_digests is not None
        await self.send_digests()

    async def call(self, key: str, *, tokens: int | None = None) -> httpx.Response:
        """What the provider says to whoever shows this key and wants so many tokens."""
        most = {} if tokens is None else {"max_tokens": tokens}
        return await self.http.post(
            f"{self.servers.openai_url}/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}], **most},
        )


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings_for(
    servers: Running, *, mode: str, database_url: str, folder: Path, policy: str = POLICY, **more: str
) -> Settings:
    """What an operator would have put into `.env` for this sandbox; `more` settings where the story needs them."""
    file = folder / "policy.toml"
    file.write_text(policy, encoding="utf-8")
    port = free_port()
    ways: dict[str, Any] = {
        "socket": {"slack_app_token": servers.app_token},
        "http": {"slack_signing_secret": servers.signing_secret},
    }[mode]
    return load(
        _env_file=None,
        slack_bot_token=servers.bot_token,
        slack_client_id=servers.client_id,
        slack_client_secret=servers.client_secret,
        slack_api_url=servers.api_url,
        public_url=f"http://127.0.0.1:{port}",
        session_secret=secrets.token_urlsafe(32),
        database_url=database_url,
        policy_file=file,
        openai_admin_key=servers.openai_admin_key,
        openai_base_url=servers.openai_url,
        port=port,
        **ways,
        **more,
    )


@asynccontextmanager
async def world(servers: Running, settings: Settings) -> AsyncIterator[World]:
    """The desk runs against the sandbox, in this process, until the context ends."""
    clock = MovableClock()
    async with Sandbox(servers.base_url) as sandbox, httpx.AsyncClient(timeout=10) as http:
        await installed(sandbox, [settings])
        async with running(settings, clock=clock) as desk:
            yield World(
                sandbox,
                servers,
                settings,
                clock,
                desk.store,
                desk.watch.reconcile,
                http,
                go_round=desk.watch.go_round,
                tick=desk.watch.tick,
                send_digests=desk.watch.digest,
            )


async def installed(sandbox: Sandbox, desks: Sequence[Settings]) -> None:
    """Tells the sandbox where these desks are, as the app's page at Slack would be told."""
    await sandbox.set_app(
        request_urls=[f"{one.public_url}/slack/events" for one in desks if one.slack_signing_secret],
        redirect_urls=[f"{one.public_url}/auth/callback" for one in desks],
    )
