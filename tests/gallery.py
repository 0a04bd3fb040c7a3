"""A picture of each message that the desk sends, for docs/messages.md: in the pretend Slack, of one made-up story each."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
from playwright.async_api import async_playwright

from bot.desk.model import NoticeKind, Story
from bot.desk.states import GrantState, KeyState
from bot.slack import views
from sandbox.server import Running
from sandbox.server import running as sandbox_running
from tests import browser as chromium
from tests.flows.story import Story as Window
from tests.slack import stories

PICTURES = Path(__file__).parents[1] / "docs" / "pictures" / "messages"
YEAR = replace(stories.DRAFT, duration=timedelta(days=365))
ASKED, READY = stories.pending(), stories.granted(GrantState.READY)
TOLD: Mapping[NoticeKind, Story] = {
    NoticeKind.APPROVAL: ASKED,
    NoticeKind.RECEIPT: ASKED,
    NoticeKind.OUTCOME: READY,
    NoticeKind.LAPSED: READY,
    NoticeKind.UNACKNOWLEDGED: READY,
    NoticeKind.UNFINISHED: READY,
    NoticeKind.ENDED: stories.granted(GrantState.ENDED),
    NoticeKind.DEPOSIT: stories.brought(KeyState.AWAITED),
    NoticeKind.DEPOSITED: stories.brought(KeyState.DEPOSITED),
    NoticeKind.BY_HAND: stories.brought(KeyState.BY_HAND),
    NoticeKind.STUCK: stories.failing(),
    NoticeKind.STRANDED: ASKED,
    NoticeKind.NOBODY: ASKED,
    NoticeKind.BUDGET: stories.spent(20_400_000),
    NoticeKind.OVERSPENT: stories.spent(25_100_000, key=KeyState.DISABLED),
    NoticeKind.UNUSUAL: stories.suspected(),
    NoticeKind.SUSPECTED: stories.suspected(),
    NoticeKind.REMINDER: ASKED,
    NoticeKind.PICK_UP: READY,
    NoticeKind.NOT_BROUGHT: stories.brought(KeyState.AWAITED),
    NoticeKind.EXPIRING: stories.granted(GrantState.ACTIVE),
    NoticeKind.IDLE: stories.idle(revokes=True),
    NoticeKind.ROTATION_DUE: stories.rotating(YEAR),
    NoticeKind.ROTATION_OVERDUE: stories.rotating(YEAR, overdue=True),
    NoticeKind.ROTATED: stories.in_grace(YEAR),
    NoticeKind.NOT_ROTATED: stories.rotating(YEAR),
    NoticeKind.ROTATED_AT_ONCE: READY,
    NoticeKind.ORPHANED: stories.orphaned(to=GrantState.ENDED),
}
"""A story in which each kind of message is sent."""


async def messages() -> None:
    """Posts each of them as the desk would, and takes its picture."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sandbox_running() as servers:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
            )
            page = await Window(browser, servers.base_url).person("U0BEN", "D0BEN")
            await page.set_viewport_size({"width": 1200, "height": 900})
            await page.clock.set_fixed_time(stories.NOW)
            for kind, story in TOLD.items():
                await _post(servers, views.notice(kind, story))
                message = page.get_by_test_id("message").last
                await page.wait_for_function(
                    "(count) => document.querySelectorAll('[data-testid=message]').length >= count",
                    arg=list(TOLD).index(kind) + 1,
                )
                await message.screenshot(path=PICTURES / f"{kind}.png")
            await browser.close()


async def _post(servers: Running, message: views.Message) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {servers.bot_token}"}) as http:
        answer = await http.post(f"{servers.api_url}chat.postMessage", json={"channel": "U0BEN", **message})
    assert answer.json()["ok"], answer.text
