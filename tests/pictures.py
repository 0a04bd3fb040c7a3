"""`make pictures`: takes the screenshots in docs/pictures anew, along the main job, from a running sandbox."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Page, async_playwright

from sandbox.server import running as sandbox_running
from tests import browser as chromium
from tests.flows.story import DepositStory, Story
from tests.flows.test_deposits import ASKED, VALUE
from tests.flows.test_deposits import FIRST as KEK
from tests.flows.test_deposits import POLICY as DEPOSITS
from tests.flows.world import settings_for, world

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
CLOSE_UP = {
    "request-form": '[data-testid="modal"]',
    "card-before": '[data-testid="message"] >> nth=-1',
    "card-after": '[data-testid="message"] >> nth=-1',
    "lesson": '[data-testid="modal"]',
    "outcome": '[data-testid="message"] >> nth=-1',
    "pick-up": '[data-testid="modal"]',
    "deposit-card": '[data-testid="message"] >> nth=-1',
    "link-before": "body",
    "link-after": "body",
}
"""What a picture shows, where it is not the whole window."""


async def snap(name: str, page: Page) -> None:
    """Takes one picture."""
    if name == "deposit-done":
        return  # it has little to see
    path = PICTURES / f"{name}.png"
    if name in CLOSE_UP and not name.startswith("link"):
        await page.locator(CLOSE_UP[name]).screenshot(path=path)
    else:
        await page.screenshot(path=path)


async def main() -> None:
    """Plays the story once."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sandbox_running() as servers, tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/desk.db"
        settings = settings_for(servers, mode="socket", database_url=database, folder=Path(folder))
        async with world(servers, settings), async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
            )
            story = Story(browser, servers.base_url, snap)
            ben = await story.person("U0BEN", "C0GENERAL")
            ana = await story.person("U0ANA", "D0ANA")
            await story.ask(ben)
            await story.approve(ana)
            await ben.get_by_test_id("channel-D0BEN").click()
            link = await story.pick_up(ben)
            await story.open_link(link, "Ben Okafor")
            home = await story.person("U0BEN", "D0BEN/home")
            await home.locator('[data-action-id="revoke"]').first.wait_for()
            await snap("home", home)
            await browser.close()
    await deposits()
    print(f"Taken: {', '.join(sorted(path.name for path in PICTURES.glob('*.png')))}")


async def deposits() -> None:
    """Plays the story of a key that a person brings, once."""
    with sandbox_running() as servers, tempfile.TemporaryDirectory() as folder:
        kek = Path(folder) / "kek"
        kek.write_text(KEK, encoding="ascii")
        settings = settings_for(
            servers,
            mode="socket",
            database_url=f"sqlite:///{folder}/desk.db",
            folder=Path(folder),
            policy=DEPOSITS,
            kek_file=str(kek),
        )
        async with world(servers, settings) as flow, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
            )
            await flow.ask(**ASKED, reason="The map on the careers page")
            await flow.ana.click(await flow.card(flow.ana), "approve")
            ana = await Story(browser, servers.base_url).person("U0ANA", "D0ANA")
            await DepositStory(snap).bring(ana, VALUE, "Ana Ruiz")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
