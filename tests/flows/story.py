"""The main job in a real browser, step by step; the flow test plays it, and the docs' pictures are taken along it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Browser, BrowserContext, Page, expect

Snap = Callable[[str, Page], Awaitable[None]]


async def no_snap(name: str, page: Page) -> None:
    """Takes no picture."""


@dataclass
class Story:
    """Ben asks, Ana approves, Ben picks up and opens; each in a browser of their own."""

    browser: Browser
    base_url: str
    snap: Snap = no_snap

    async def person(self, member: str, place: str) -> Page:
        """A browser of this member's, in the sandbox workspace, at a channel or `D…/home`."""
        context: BrowserContext = await self.browser.new_context(
            viewport={"width": 1360, "height": 900}, device_scale_factor=1, reduced_motion="reduce"
        )
        page = await context.new_page()
        await page.goto(f"{self.base_url}/?as={member}#{place}")
        await expect(page.get_by_test_id("composer").or_(page.get_by_test_id("home-view")).first).to_be_visible()
        return page

    async def ask(self, page: Page) -> None:
        """Types the command, fills in the form, submits."""
        composer = page.get_by_test_id("composer")
        await composer.fill("/apikey request")
        await composer.press("Enter")
        modal = page.get_by_test_id("modal")
        await expect(modal).to_be_visible()
        await choose(page, "project", "search-prod")
        await choose(page, "permission", "Chat completions")
        reason = modal.locator('[data-action-id="reason"]')
        await reason.fill("Nightly evaluation of the search prompts; results go to the team's dashboard.")
        await self.snap("request-form", page)
        await modal.get_by_test_id("submit").click()
        await expect(modal).to_be_hidden()

    async def approve(self, page: Page) -> None:
        """Presses Approve on the newest card."""
        card = page.get_by_test_id("message").last
        await expect(card).to_contain_text("search-prod")
        await self.snap("card-before", page)
        await card.locator('[data-action-id="approve"]').click()
        await expect(card).to_contain_text("pproved by")
        await self.snap("card-after", page)

    async def pick_up(self, page: Page) -> Page:
        """Presses Pick up on the outcome, acknowledges how to keep a key safe, and opens the link: its page, in a tab of its own."""
        outcome = page.get_by_test_id("message").filter(has=page.locator('[data-action-id="pick_up"]')).last
        await self.snap("outcome", page)
        await outcome.locator('[data-action-id="pick_up"]').click()
        modal = page.get_by_test_id("modal")
        await expect(modal).to_contain_text("yours alone")
        await self.snap("lesson", page)
        await modal.get_by_test_id("submit").click()
        await expect(modal).to_contain_text("is ready")
        await self.snap("pick-up", page)
        async with page.context.expect_page() as opened:
            await modal.get_by_role("link", name="Open the key").first.click()
        await modal.get_by_role("button", name="Close").last.click()
        return await opened.value

    async def open_link(self, page: Page, name: str) -> str:
        """Signs in with Slack, shows the key, and reads it off the page."""
        await page.get_by_role("link", name="Sign in with Slack").click()
        await page.get_by_role("button", name=name).first.click()
        show = page.get_by_role("button", name="Show the key")
        await expect(show).to_be_visible()
        assert "#" not in page.url
        await self.snap("link-before", page)
        await show.click()
        value = page.locator("#value")
        await expect(value).to_contain_text("sk-")
        await self.snap("link-after", page)
        return (await value.inner_text()).strip()


@dataclass
class DepositStory:
    """Ana makes a key at a service that the desk knows nothing of, and brings it; later she revokes it by hand."""

    snap: Snap = no_snap

    async def bring(self, page: Page, value: str, name: str) -> Page:
        """From the card in Slack to the page that says that the key is handed in."""
        card = page.get_by_test_id("message").filter(has=page.get_by_role("link", name="Bring the key")).last
        await expect(card).to_contain_text("Name it")
        await self.snap("deposit-card", page)
        async with page.context.expect_page() as opened:
            await card.get_by_role("link", name="Bring the key").click()
        form = await opened.value
        await form.get_by_role("link", name="Sign in with Slack").click()
        await form.get_by_role("button", name=name).first.click()
        field = form.get_by_label("Paste it here")
        await expect(field).to_be_visible()
        await field.fill(value)
        await self.snap("deposit-page", form)
        await form.get_by_role("button", name="Seal it and hand it in").click()
        await expect(form.get_by_role("heading", level=1)).to_have_text("The key is handed in")
        await self.snap("deposit-done", form)
        return form

    async def revoke_by_hand(self, page: Page) -> None:
        """Presses the button of the card that asks for it."""
        card = page.get_by_test_id("message").filter(has=page.locator('[data-action-id="revoked_by_hand"]')).last
        await expect(card).to_contain_text("It still works")
        await self.snap("by-hand-card", page)
        await card.locator('[data-action-id="revoked_by_hand"]').click()
        await page.get_by_test_id("confirm-ok").click()


async def choose(page: Page, action_id: str, label: str) -> None:
    """Picks an option of a menu by what it says."""
    modal = '[data-testid="modal"]'
    box = page.locator(f'{modal} [data-action-id="{action_id}"], {modal} [data-action-id^="{action_id}@"]')
    await box.click()
    await page.get_by_role("option", name=label).first.click()
