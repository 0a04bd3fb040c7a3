"""The main job in a real browser: from the form to the decrypted key, and what a link that was damaged says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect

from sandbox.server import Running
from tests import browser as chromium
from tests.flows.story import Story
from tests.flows.world import World, settings_for, world
from tests.lessons import LONG_AGO, read


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(
            executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
        )


@pytest.fixture
async def flow(servers: Running, migrated_file: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A desk on SQLite by Socket Mode: the browser does not see the difference."""
    database = tmp_path / "desk.db"
    database.write_bytes(migrated_file.read_bytes())
    settings = settings_for(servers, mode="socket", database_url=f"sqlite:///{database}", folder=tmp_path)
    async with world(servers, settings) as running:
        yield running


async def test_from_the_form_to_the_key_and_to_its_end(flow: World, browser: Browser) -> None:
    """Ben asks in a form, Ana presses Approve, Ben reads how to keep a key safe and opens his link; the key works until he revokes it."""
    await read(flow.store, "U0BEN", datetime.now(UTC) - LONG_AGO)
    story = Story(browser, flow.servers.base_url)
    ben = await story.person("U0BEN", "C0GENERAL")
    ana = await story.person("U0ANA", "D0ANA")
    await story.ask(ben)
    await story.approve(ana)
    await ben.get_by_test_id("channel-D0BEN").click()
    link = await story.pick_up(ben)
    key = await story.open_link(link, "Ben Okafor")
    assert (await flow.call(key)).status_code == 200

    await link.reload()
    await expect(link.locator("#message")).to_be_visible()
    assert key not in await link.content()

    composer = ben.get_by_test_id("composer")
    await composer.fill("/apikey revoke")
    await composer.press("Enter")
    listed = ben.locator('[data-testid="message"][data-ephemeral="true"]').last
    await listed.locator('[data-action-id="revoke"]').first.click()
    await ben.get_by_test_id("confirm-ok").click()
    await flow.no_key_left()
    assert (await flow.call(key)).status_code == 401


@pytest.mark.parametrize("damage", ["cut", "doubled", "mangled", "gone"])
async def test_a_damaged_link_says_what_to_do(flow: World, browser: Browser, damage: str) -> None:
    """A fragment cut, doubled, mangled to %23 or gone: the page says so, and nothing is used up."""
    url = await flow.picked_up()
    page_url, _, seed = url.partition("#")
    damaged = {
        "cut": f"{page_url}#{seed[:20]}",
        "doubled": f"{page_url}#{seed}#{seed}",
        "mangled": f"{page_url}%23{seed}",
        "gone": page_url,
    }[damage]
    page = await browser.new_page()
    await page.goto(damaged)
    told = page.locator("main")
    await expect(told).to_contain_text("pick up", ignore_case=True, use_inner_text=True)
    await expect(told).to_contain_text("Nothing was used up", use_inner_text=True)
    await expect(page.get_by_role("button", name="Show the key")).to_be_hidden()
    assert "link.claimed" not in await flow.acts()
