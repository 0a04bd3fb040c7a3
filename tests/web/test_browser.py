"""The link page in a real browser: what it shows, what it forgets, and when it acts."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from bot.desk.states import LinkState
from tests import browser as chromium
from tests.web.world import VALUE, World

CUT = "This link is cut short"
TWICE = "This link holds its secret part twice"
CHANGED = "This link was changed on its way"
INCOMPLETE = "This link is not complete"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(
            executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
        )


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab in which nothing may go wrong unseen: no script error, no breach of the page's own policy."""
    opened = await browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console",
        # That an answer was a 4xx or did not come is noted by the browser itself.
        lambda said: (
            wrong.append(said.text)
            if said.type in ("error", "warning") and "Failed to load resource" not in said.text
            else None
        ),
    )
    yield opened
    assert wrong == []


async def sign_in(page: Page, member: str = "U0BEN") -> None:
    """By the button, at Slack's page, and back."""
    await page.get_by_role("link", name="Sign in with Slack").click()
    await page.locator(f'button[value="{member}"]').click()


async def open_signed_in(page: Page, url: str, member: str = "U0BEN") -> None:
    """Opens the link and signs in."""
    await page.goto(url)
    await sign_in(page, member)
    await expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in to open this link")


async def heading(page: Page) -> str:
    """What the page says first."""
    return await page.locator("section:visible h1").inner_text()


async def kept_seeds(page: Page) -> list[str]:
    """What this tab keeps."""
    kept: list[str] = await page.evaluate("Object.values(sessionStorage)")
    return kept


async def pasted(page: Page) -> str:
    """What a paste brings."""
    await page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
    await page.locator("#paste").focus()
    await page.keyboard.press("Control+V")
    text = await page.locator("#paste").input_value()
    await page.evaluate("document.getElementById('paste').remove()")
    return text


async def test_from_the_link_to_the_key(desk: World, page: Page) -> None:
    """Sign in, look, show, copy, hide; the seed leaves the address bar first and the tab last."""
    url = await desk.link()
    seed = url.partition("#")[2]
    await page.goto(url)
    assert page.url == url.partition("#")[0]
    assert await heading(page) == "Sign in to open this link"
    assert await kept_seeds(page) == [seed]

    await sign_in(page)
    await expect(page.get_by_role("button", name="Show the key")).to_be_visible()
    assert page.url == url.partition("#")[0]
    assert (await desk.stored(url)).state is LinkState.OPEN  # signed in and looked at, and nothing is used up
    await expect(page.locator("#ready")).to_contain_text("search-prod")
    await expect(page.locator("#ready")).to_contain_text("Ben Okafor")

    await page.get_by_role("button", name="Show the key").click()
    value = page.locator("#value")
    await expect(value).to_have_text(VALUE)
    await expect(page.get_by_role("heading", name="Your key")).to_be_focused()
    async with asyncio.timeout(5):
        while await kept_seeds(page):
            pass  # the page's own policy forbids Playwright's wait_for_function, which evaluates a string
    assert (await desk.stored(url)).state is LinkState.REVEALED
    assert VALUE not in await page.get_by_role("status").inner_text()

    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("status")).to_contain_text("Copied")
    assert await pasted(page) == VALUE

    await page.emulate_media(media="print")
    await expect(value).to_be_hidden()
    await expect(page.get_by_text("The key is not printed.")).to_be_visible()
    await page.emulate_media(media="screen")

    await page.get_by_role("button", name="Hide").click()
    assert VALUE not in await page.content()
    await page.get_by_role("button", name="Show again").click()
    await expect(value).to_have_text(VALUE)

    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("A link shows its key once")
    assert VALUE not in await page.content()


async def test_time_hides_the_key_and_clears_the_clipboard(desk: World, page: Page) -> None:
    """A minute for the clipboard, two for the page; the tab can show it again."""
    await page.clock.install()
    await open_signed_in(page, await desk.link())
    await page.get_by_role("button", name="Show the key").click()
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("status")).to_contain_text("Copied")
    await page.clock.run_for(61_000)
    await expect(page.get_by_role("status")).to_have_text("The clipboard is cleared.")
    assert await pasted(page) == ""
    await expect(page.locator("#value")).to_have_text(VALUE)
    await page.clock.run_for(61_000)
    await expect(page.locator("#value")).to_have_text("Hidden")
    assert VALUE not in await page.content()
    await page.get_by_role("button", name="Show again").click()
    await expect(page.locator("#value")).to_have_text(VALUE)


async def test_damaged_fragments(desk: World, page: Page) -> None:
    """Each says what is wrong and what to do, signed out and signed in; no seed stays in the address bar or the tab."""
    url = await desk.link()
    base, _, seed = url.partition("#")
    damages = [
        ("", INCOMPLETE),
        ("#", INCOMPLETE),
        (f"#{seed[:42]}", CUT),
        (f"#{seed[:1]}", CUT),
        (f"#{seed}{seed}", TWICE),
        (f"#{seed}#{seed}", TWICE),
        (f"#{seed}%23{seed}", TWICE),
        (f"#{seed}A", CHANGED),
        (f"#{seed}?utm_source=mail", CHANGED),
        (f"#{seed[:-1]}.", CHANGED),
        (f"#{seed[:-1]}=", CHANGED),
        (f"#{seed[:-1]}B", CHANGED),  # of the last character's six bits two carry nothing, and must be zero
        (f"%23{seed}", CHANGED),
        (f"%2523{seed}", CHANGED),
        (f"/{seed}", CHANGED),
    ]
    for signed_in in (False, True):
        if signed_in:
            await open_signed_in(page, url)
            await page.evaluate("sessionStorage.clear()")
        for damage, says in damages[::4] if signed_in else damages:
            await page.goto(f"{desk.url}/healthz")  # else only the fragment would change
            await page.goto(base + damage)
            await expect(page.get_by_role("heading", level=1)).to_have_text(says)
            assert "ick up again" in await page.locator("#message .next").inner_text(), damage
            assert page.url == base, damage
            assert await kept_seeds(page) == [], damage
    assert (await desk.stored(url)).state is LinkState.OPEN
    await page.goto(url)
    await expect(page.get_by_role("button", name="Show the key")).to_be_visible()


async def test_the_whole_link_pasted_over_the_cut_one(desk: World, page: Page) -> None:
    """Only the fragment differs, so the browser would not load the page anew by itself."""
    url = await desk.link()
    await page.goto(url[:-5])
    await expect(page.get_by_role("heading", level=1)).to_have_text(CUT)
    await page.evaluate("url => { location.href = url }", url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to open this link")


async def retried_in_vain(page: Page) -> None:
    """Lets the page's time pass until it gives up retrying by itself."""
    async with asyncio.timeout(10):
        while "it takes the key back" not in await page.get_by_role("alert").inner_text():
            await page.clock.run_for(1000)


async def test_an_acknowledgement_that_does_not_arrive(desk: World, page: Page) -> None:
    """The page tries again, then says what is at stake; a reload inside the lease shows the key again."""
    url = await desk.link()
    await page.clock.install()
    await open_signed_in(page, url)
    await page.route("**/acknowledge", lambda route: route.abort())
    await page.get_by_role("button", name="Show the key").click()
    warning = page.get_by_role("alert")
    await expect(warning).to_contain_text("does not know yet")
    await expect(page.locator("#value")).to_have_text(VALUE)
    await retried_in_vain(page)
    assert (await desk.stored(url)).state is LinkState.CLAIMED

    await page.reload()
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.locator("#value")).to_have_text(VALUE)
    await retried_in_vain(page)
    await page.unroute("**/acknowledge")
    await page.get_by_role("button", name="Try again").click()
    await expect(warning).to_be_hidden()
    assert (await desk.stored(url)).state is LinkState.REVEALED
    assert await kept_seeds(page) == []


async def test_an_envelope_that_does_not_open_is_not_acknowledged(desk: World, page: Page) -> None:
    """Altered on its way, by one bit or in its context: nothing is shown, and the desk takes the key back."""
    url = await desk.link()
    alter = {"what": "envelope"}

    async def altered(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        if alter["what"] == "envelope":
            told["envelope"] = told["envelope"][:-1] + ("A" if told["envelope"][-1] != "A" else "Q")
        else:
            told["context"][alter["what"]] += "x"
        await route.fulfill(response=answer, body=json.dumps(told))

    await open_signed_in(page, url)
    await page.route("**/claim", altered)
    for alter["what"] in ("envelope", "holder", "link"):
        await page.get_by_role("button", name="Show the key").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("This key does not open")
        assert VALUE not in await page.content()
        assert (await desk.stored(url)).state is LinkState.CLAIMED
        await page.reload()


async def test_somebody_elses_link(desk: World, page: Page) -> None:
    """Cara reads that it is not hers; signing out keeps the seed, so that Ben goes on in the same tab."""
    url = await desk.link()
    await open_signed_in(page, url, "U0CARA")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("This link is not for you")
    await expect(page.locator("#message")).to_contain_text("Cara Lindqvist")
    await page.get_by_role("button", name="Sign in as somebody else").click()
    await sign_in(page)
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.locator("#value")).to_have_text(VALUE)


async def test_a_link_that_ended_while_it_was_looked_at(desk: World, page: Page) -> None:
    """A press on a link that was replaced meanwhile says so, and the tab forgets the seed."""
    grant = await desk.approved()
    await open_signed_in(page, (await desk.pick_up(grant)).url)
    await desk.pick_up(grant)
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("A newer link took the place")
    assert await kept_seeds(page) == []


async def test_a_desk_that_does_not_answer(desk: World, page: Page) -> None:
    """Nothing is lost, and one press tries again."""
    url = await desk.link()
    await open_signed_in(page, url)
    await page.route("**/claim", lambda route: route.abort())
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Keydesk does not answer")
    await page.unroute("**/claim")
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_role("button", name="Show the key").click()
    await expect(page.locator("#value")).to_have_text(VALUE)


async def test_a_browser_that_cannot(desk: World, page: Page) -> None:
    """Without Web Crypto the page says so, and does nothing."""
    url = await desk.link()
    await page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    await page.goto(url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("This browser cannot open the key here")


async def test_by_keyboard_alone(desk: World, page: Page) -> None:
    """Tab and Enter lead from the link to the key and its copy."""
    await page.goto(await desk.link())
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Sign in with Slack")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.locator('button[value="U0BEN"]').press("Enter")
    await expect(page.get_by_role("heading", name="Your key is ready")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Your key")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("Copied")
