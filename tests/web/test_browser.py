"""The link page in a real browser: what it shows, what it forgets, and when it acts."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

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
    assert VALUE not in await page.locator("#status").inner_text()

    await page.get_by_role("button", name="Copy", exact=True).click()
    await expect(page.locator("#status")).to_contain_text("Copied")
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
    await page.get_by_role("button", name="Copy", exact=True).click()
    await expect(page.locator("#status")).to_contain_text("Copied")
    await page.clock.run_for(61_000)
    await expect(page.locator("#status")).to_have_text("The clipboard is cleared.")
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
    await expect(page.locator("#status")).to_contain_text("Copied")
    for place in ("1Password", "GitHub Actions", "macOS keychain"):
        for _ in range(2 if place == "1Password" else 0):  # past Hide, to the radio group
            await page.keyboard.press("Tab")
        if place == "1Password":
            await expect(page.get_by_role("radio", name=".env file")).to_be_focused()
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("radio", name=place)).to_be_checked()
        await expect(page.get_by_role("group", name="Where to keep it")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#kept")).to_have_text("Copied. The key is not in it.")


PLACES = {
    ".env file": [
        "touch .env && chmod 600 .env\ngit check-ignore -q .env || printf '\\n.env\\n' >> .gitignore",
        f"OPENAI_API_KEY={VALUE}",
    ],
    "1Password": [
        'printf \'Key: \'; read -rs KEY; echo; printf \'{"title":"openai-search-prod","category":"API_CREDENTIAL","fields":'
        '[{"id":"credential","label":"credential","type":"CONCEALED","value":"%s"}]}\' "$KEY" '
        "| op item create - > /dev/null && echo Kept; unset KEY",
        VALUE,
        'OPENAI_API_KEY="op://Private/openai-search-prod/credential"',
        "op run --env-file=.env -- your-command",
    ],
    "GitHub Actions": [
        "gh secret set OPENAI_API_KEY",
        VALUE,
        "env:\n  OPENAI_API_KEY: ${{ secrets.OPENAI_API_KEY }}",
    ],
    "macOS keychain": [
        'printf \'Key: \'; read -rs KEY; echo; printf \'add-generic-password -U -a "%s" -s "openai-search-prod" -w "%s"\\n\' '
        '"$USER" "$KEY" | security -i; unset KEY',
        VALUE,
        'export OPENAI_API_KEY="$(security find-generic-password -a "$USER" -s "openai-search-prod" -w)"',
    ],
}
"""What is copied in each place, step by step."""


async def test_where_to_keep_it(desk: World, page: Page) -> None:
    """Each place says what to do there and copies it. The key is in what says so and nowhere else, and stands in no step."""
    await open_signed_in(page, await desk.link())
    await page.get_by_role("button", name="Show the key").click()
    await page.get_by_role("button", name="Hide").click()
    for place, steps in PLACES.items():
        await page.get_by_role("radio", name=place).check()
        found = page.locator("#keeping button")
        await expect(found).to_have_count(len(steps))
        for number, step in enumerate(steps):
            await found.nth(number).click()
            warned = VALUE in step
            said = "Copied, with the key in it" if warned else "Copied. The key is not in it."
            await expect(page.locator("#kept")).to_contain_text(said)
            assert await pasted(page) == step, place
            assert ("the key" in await found.nth(number).inner_text()) is warned
    assert VALUE not in await page.content()


async def test_a_command_copied_over_the_key_is_not_cleared(desk: World, page: Page) -> None:
    """Only what holds the key is taken off the clipboard, a minute after it was copied last."""
    await page.clock.install()
    await open_signed_in(page, await desk.link())
    await page.get_by_role("button", name="Show the key").click()
    said = page.locator("#kept")
    await page.get_by_role("button", name="Copy the line, with the key").click()
    await expect(said).to_contain_text("Copied, with the key in it.")
    await page.clock.run_for(30_000)
    await page.get_by_role("button", name="Copy the commands").click()
    await expect(said).to_contain_text("Copied. The key is not in it.")
    await page.clock.run_for(61_000)
    assert "check-ignore" in await pasted(page)
    await page.get_by_role("button", name="Copy the line, with the key").click()
    await expect(said).to_contain_text("Copied, with the key in it.")
    await page.clock.run_for(61_000)
    await expect(said).to_have_text("The clipboard is cleared.")
    assert await pasted(page) == ""


async def test_a_key_that_is_taken_back_leaves_no_step(desk: World, page: Page) -> None:
    """Where the acknowledgement came too late, neither the key nor what copies it stays."""
    url = await desk.link()
    await page.clock.install()
    await open_signed_in(page, url)
    await page.route("**/acknowledge", lambda route: route.abort())
    await page.get_by_role("button", name="Show the key").click()
    await retried_in_vain(page)
    await page.unroute("**/acknowledge")
    await desk.pass_time(timedelta(minutes=3))
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("never confirmed")
    assert await page.locator("#keeping li").count() == 0
    assert VALUE not in await page.content()


async def test_names_and_keys_that_mean_something_to_a_shell(
    desk: World, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told to it so that it takes them for nothing else; what a key needs beside it comes along."""
    odd = "q7Qx'z#d$(u)&pzzzz"
    monkeypatch.setattr("tests.web.world.VALUE", odd)

    async def altered(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        told["about"] |= {
            "provider": "GitHub",
            "project": 'O\'Brien & "$(id)" `Übung` ../x',
            "variable": "GITHUB_API_KEY",
            "beside": {"LITELLM_PROXY_API_BASE": "https://llm.example:4000"},
        }
        await route.fulfill(response=answer, body=json.dumps(told))

    await open_signed_in(page, await desk.link())
    await page.route("**/claim", altered)
    await page.get_by_role("button", name="Show the key").click()
    await page.get_by_role("button", name="Copy the lines, with the key").click()
    await expect(page.locator("#kept")).to_contain_text("with the key in it")
    assert await pasted(page) == f'GITHUB_API_KEY="{odd}"\nLITELLM_PROXY_API_BASE=https://llm.example:4000'
    wanted = {
        "1Password": 'GITHUB_API_KEY="op://Private/github-o-brien-id-bung-x/credential"\n'
        'LITELLM_PROXY_API_BASE="https://llm.example:4000"',
        "GitHub Actions": "env:\n  GITHUB_API_KEY: ${{ secrets.GH_API_KEY }}\n"
        "  LITELLM_PROXY_API_BASE: https://llm.example:4000",
        "macOS keychain": 'export GITHUB_API_KEY="$(security find-generic-password -a "$USER" -s "github-o-brien-id-bung-x" -w)"\n'
        'export LITELLM_PROXY_API_BASE="https://llm.example:4000"',
    }
    for place, text in wanted.items():
        await page.get_by_role("radio", name=place).check()
        await expect(page.locator("#keeping pre").nth(1)).to_have_text(text)
    assert "gh secret set GH_API_KEY" not in await page.locator("#keeping").inner_text()
    await page.get_by_role("radio", name="GitHub Actions").check()
    await expect(page.locator("#keeping pre").first).to_have_text("gh secret set GH_API_KEY")


async def test_a_browser_that_does_not_let_the_page_copy(desk: World, page: Page) -> None:
    """A command is selected instead; a line with the key is not laid open for it."""
    await page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await open_signed_in(page, await desk.link())
    await page.get_by_role("button", name="Show the key").click()
    await page.get_by_role("button", name="Copy the commands").click()
    await expect(page.locator("#kept")).to_contain_text("It is selected")
    assert "check-ignore" in await page.evaluate("getSelection().toString()")
    await page.get_by_role("button", name="Copy the line, with the key").click()
    await expect(page.locator("#kept")).to_contain_text("Copy the key from above")
    assert VALUE not in await page.locator("#keeping").inner_text()
