"""`make pictures`: takes the screenshots in docs/pictures anew, along the main job, from a running sandbox."""

import asyncio
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from playwright.async_api import BrowserType, Page, async_playwright

from bot.desk.offer import Basis, Usage
from bot.desk.ports import Transaction
from sandbox.client import Member, Snapshot
from sandbox.server import running as sandbox_running
from sandbox.workspace import TEAM
from storage.migrate import upgrade
from tests import browser as chromium
from tests.flows.browsing import Browser
from tests.flows.story import DepositStory, Story
from tests.flows.test_deposits import ASKED, VALUE
from tests.flows.test_deposits import FIRST as KEK
from tests.flows.test_deposits import POLICY as DEPOSITS
from tests.flows.world import POLICY as DIGESTS
from tests.flows.world import World, settings_for, world
from tests.gallery import messages
from tests.lessons import everybody_read

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
    await digests()
    await messages()
    print(f"Taken: {', '.join(sorted(path.stem for path in PICTURES.rglob('*.png')))}")


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


async def digests() -> None:
    """The weekly digests of a holder, with Slack's chart and with a picture, of who approves and administers; their form."""
    with sandbox_running() as servers, tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/desk.db"
        policy = DIGESTS.replace("version = 1", 'version = 1\nadmins = ["U0ANA"]')
        settings = settings_for(servers, mode="socket", database_url=database, folder=Path(folder), policy=policy)
        await asyncio.to_thread(upgrade, database)
        await asyncio.to_thread(everybody_read, database)
        async with world(servers, settings) as flow, async_playwright() as playwright:
            for project, budget, reason in (
                ("proj_search", "50", "Nightly evaluation"),
                ("proj_lab", "25", "Prompts for the demo"),
            ):
                await flow.ask(project=project, budget=budget, reason=reason, duration="8d")
                assert (await flow.ana.click(await flow.card(flow.ana), "approve")).acknowledged
                before = len([url for one in await flow.ben.messages() for url in one.urls])
                assert (await flow.ben.click(await flow.offer(), "pick_up")).acknowledged
                link = await flow.link(before)
                async with Browser(flow.settings.public_url) as reader:
                    await reader.sign_in("U0BEN")
                    await reader.reveal(link)
            await flow.digest()
            await flow.pass_time(timedelta(days=7))
            await flow.store.write(lambda tx: _use(tx, flow.clock().date()))
            await flow.ask(member=flow.cara, reason="Ranking the search results anew")
            for member, name in ((flow.ben, "digest"), (flow.ana, "digest-admin")):
                await digest_seen(flow, member, playwright.chromium, servers.base_url, name)
            await flow.sandbox.features(charts=False)
            await digest_seen(flow, flow.ben, playwright.chromium, servers.base_url, "digest-picture")


def _use(tx: Transaction, today: date) -> None:
    """Two weeks of use of Ben's two keys: workdays, more of it lately."""
    for place, grant in enumerate(sorted(tx.grants_of(TEAM, "U0BEN", 9), key=lambda one: one.created_at)):
        for back in range(1, 15):
            day = today - timedelta(days=back)
            cents = 0 if day.weekday() > 4 else (310 - 90 * place + 7 * back * back % 80) // (1 if back < 8 else 2)
            for key in tx.keys_of(TEAM, grant.id):
                at = datetime.combine(day, time(12), UTC)
                used = Usage("", day, "gpt-5-mini", 40, 90_000, 20_000, cents * 10_000, Basis.BILLED, at)
                tx.put_usage(TEAM, [(key.id, used)])


async def digest_seen(flow: World, member: Member, chromium_: BrowserType, base_url: str, name: str) -> None:
    """Asks for the digest, and takes the picture of it; of the form behind its last button, too."""
    known = {one.ts for one in await member.messages()}

    def came(seen: Snapshot) -> bool:
        return any(one.ts not in known and "The last seven days" in one.plain for one in member.visible(seen))

    assert (await member.command("/apikey digest", "C0GENERAL")).acknowledged
    await member.expect(came)
    browser = await chromium_.launch(
        executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
    )
    page = await Story(browser, base_url).person(member.id, member.direct)
    await page.set_viewport_size({"width": 1100, "height": 2200})
    message = page.get_by_test_id("message").filter(has_text="The last seven days").last
    await message.scroll_into_view_if_needed()
    await page.wait_for_function("[...document.images].every((image) => image.complete)")
    await message.screenshot(path=PICTURES / f"{name}.png")
    if name == "digest-picture":
        await message.locator('[data-action-id="set_digest"]').click()
        form = page.get_by_test_id("modal")
        await form.wait_for()
        await form.screenshot(path=PICTURES / "digest-settings.png")
    await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
