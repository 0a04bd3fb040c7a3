"""The sandbox's browser UI, in a real browser: what members see is what the app sent, and what they do arrives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, async_playwright, expect
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Member, Sandbox
from sandbox.inputs import REQUIRED
from sandbox.server import Running, running
from tests import browser
from tests.sandbox.serving import actions, bolt, button, connected, field, modal, option, section, text

Json = dict[str, Any]
Open = Callable[..., Awaitable[Page]]

CONFIRM = {"title": text("Sure?"), "text": text("It *counts*.", "mrkdwn"), "confirm": text("Yes"), "deny": text("No")}


@pytest.fixture
async def show(servers: Running) -> AsyncIterator[Open]:
    """Opens the workspace as a member, at a channel, each time in a browser of its own; no page may raise an error."""
    errors: list[str] = []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=browser.find(), args=browser.arguments())

        async def show(member: str, place: str = "C0GENERAL", base_url: str = servers.base_url) -> Page:
            context = await chromium.new_context(reduced_motion="reduce")
            context.on("weberror", lambda error: errors.append(str(error.error)))
            page = await context.new_page()
            await page.goto(f"{base_url}/?as={member}#{place}")
            await expect(page.get_by_test_id("member-switcher")).to_be_visible()
            return page

        yield show
        await chromium.close()
    assert errors == []


@pytest.fixture
async def app(servers: Running) -> AsyncIterator[AsyncApp]:
    """A connected Bolt app; listeners may be added to it."""
    app = bolt(servers)
    async with connected(app, servers):
        yield app


async def send(page: Page, words: str) -> None:
    """Types into the composer and presses Enter."""
    await page.get_by_test_id("composer").fill(words)
    await page.get_by_test_id("composer").press("Enter")


def opens(app: AsyncApp, view: Json) -> None:
    """Lets the app answer its command with this modal."""

    async def open(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await client.views_open(trigger_id=body["trigger_id"], view=view)
        await ack()

    app.command("/apikey")(open)


async def test_a_command_is_completed_and_its_modal_filled_in(app: AsyncApp, show: Open) -> None:
    """The popup knows the command; errors sit on their fields and keep what was typed; the app gets every value."""
    opens(
        app,
        modal(
            "ask",
            field("project", "external_select", min_query_length=0, placeholder=text("Which project?")),
            field("plan", "static_select", options=[option("small"), option("large")], initial_option=option("small")),
            field("scopes", "checkboxes", options=[option("chat"), option("models")]),
            field("days", "radio_buttons", options=[option("1"), option("7")]),
            field("budget", "number_input", is_decimal_allowed=False),
            field("why", multiline=True),
            field("from", "datepicker", optional=True),
            field("tell", "multi_users_select", optional=True),
        ),
    )
    got: list[Json] = []

    @app.options("project")
    async def suggest(ack: Any, body: Json) -> None:
        await ack(options=[option(name) for name in ("search-prod", "lab") if body["value"] in name])

    @app.view("ask")
    async def ask(ack: Any, view: Json) -> None:
        got.append(view["state"]["values"])
        await (ack() if len(got) > 1 else ack(response_action="errors", errors={"budget": "At most 50."}))

    page = await show("U0BEN")
    composer, form = page.get_by_test_id("composer"), page.get_by_test_id("modal")
    await composer.fill("/")
    await expect(page.get_by_role("option", name="/apikey")).to_be_visible()
    await composer.press("Enter")
    await expect(composer).to_have_value("/apikey ")
    await composer.press("Enter")
    await expect(form.get_by_role("heading", name="ask")).to_be_visible()

    await form.get_by_test_id("submit").click()
    await expect(form.get_by_test_id("error-why")).to_have_text(REQUIRED)
    await expect(form.get_by_role("combobox", name="project")).to_be_focused()
    await form.get_by_role("combobox", name="project").press_sequentially("lab")
    await page.get_by_role("option", name="lab").click()
    await form.get_by_role("combobox", name="plan").click()
    await page.get_by_role("option", name="large").click()
    await form.get_by_label("models").check()
    await form.get_by_label("7").check()
    await form.get_by_label("why").fill("because\nשלום 🎉")
    await form.get_by_label("from").fill("2030-01-02")
    await form.get_by_role("combobox", name="tell").press_sequentially("Cara")
    await page.get_by_role("option", name="Cara Lindqvist").click()
    await form.get_by_label("budget").fill("99")
    await form.get_by_label("budget").press("Enter")
    await expect(form.get_by_test_id("error-budget")).to_have_text("At most 50.")
    await expect(form.get_by_label("budget")).to_have_attribute("aria-invalid", "true")
    await expect(form.get_by_label("why")).to_have_value("because\nשלום 🎉")
    await form.get_by_label("budget").fill("50")
    await expect(form.get_by_test_id("error-budget")).to_have_text("")  # it is not told of what stands there now
    await form.get_by_test_id("submit").click()
    await expect(form).to_be_hidden()
    assert {name: held(state[name]) for name, state in got[-1].items()} == {
        "project": "lab",
        "plan": "large",
        "scopes": ["models"],
        "days": "7",
        "budget": "50",
        "why": "because\nשלום 🎉",
        "from": "2030-01-02",
        "tell": ["U0CARA"],
    }


def held(state: Json) -> Any:
    """What an input's state holds; of an option its value."""
    (value,) = (value for name, value in state.items() if name != "type")
    if isinstance(value, list):
        return [it["value"] if isinstance(it, dict) else it for it in value]
    return value["value"] if isinstance(value, dict) else value


async def test_a_stack_of_modals(app: AsyncApp, show: Open, ben: Member) -> None:
    """A pushed modal has a way back to what was typed below it; Escape closes one; the cross closes all."""
    opens(app, modal("below", field("why"), actions(button("more"))))

    @app.action("more")
    async def more(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await client.views_push(trigger_id=body["trigger_id"], view=modal("above", section("Deeper.")))
        await ack()

    page = await show("U0BEN")
    form = page.get_by_test_id("modal")
    await send(page, "/apikey")
    await form.get_by_label("why").fill("half a thou")
    for way_back in ("back", "cancel"):
        await form.locator("[data-action-id=more]").click()
        await expect(form).to_contain_text("Deeper.")
        await form.get_by_test_id(way_back).click()
        await expect(form.get_by_label("why")).to_have_value("half a thou")
    await form.locator("[data-action-id=more]").click()
    await expect(form).to_contain_text("Deeper.")
    await page.keyboard.press("Escape")
    await expect(form.get_by_label("why")).to_have_value("half a thou")
    await form.locator("[data-action-id=more]").click()
    await expect(form).to_contain_text("Deeper.")
    await form.get_by_test_id("close").click()
    await expect(form).to_be_hidden()
    await expect(page.get_by_test_id("composer")).to_be_focused()
    assert await ben.modal() is None


async def test_two_members_see_one_card(app: AsyncApp, show: Open, client: AsyncWebClient) -> None:
    """A card asks to confirm before it acts; then every tab shows what became of it, and it has been announced."""

    @app.action("approve")
    async def approve(ack: Any, body: Json, client: AsyncWebClient) -> None:
        words = f"Approved by <@{body['user']['id']}>"
        await client.chat_update(channel="C0KEYS", ts=body["message"]["ts"], text=words, blocks=[section(words)])
        await ack()

    ana, cara = await show("U0ANA", "C0KEYS"), await show("U0CARA", "C0GENERAL")
    await client.chat_postMessage(
        channel="C0KEYS",
        text="<@U0BEN> asks for *search-prod*",
        blocks=[section("<@U0BEN> asks."), actions(button("approve", "r1", style="primary", confirm=CONFIRM))],
    )
    toast = cara.get_by_test_id("toast-message")
    await expect(toast).to_contain_text("@Ben Okafor asks for search-prod")
    await expect(cara.get_by_test_id("channel-C0KEYS")).to_contain_text("1")
    await toast.get_by_role("button", name="Ben Okafor").click()
    await expect(cara.get_by_test_id("message")).to_contain_text("@Ben Okafor asks.")
    await expect(toast).to_have_count(0)

    card, dialog = ana.get_by_test_id("message"), ana.get_by_test_id("confirm")
    await card.locator("[data-action-id=approve]").click()
    await expect(dialog).to_contain_text("It counts.")
    await ana.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await card.locator("[data-action-id=approve]").click()
    await dialog.get_by_test_id("confirm-ok").click()
    for page in (ana, cara):
        await expect(page.get_by_test_id("message")).to_contain_text("Approved by @Ana Ruiz")
        await expect(page.locator("[data-action-id=approve]")).to_have_count(0)


HOSTILE = """\
&lt;img src=x onerror="boom()"&gt; <javascript:boom()|press> <data:text/html,x|me> <https://example.org/a_b_c|*so*>
*bold _both_* snake_case_name 2*3*4 `<b>` ~gone~ :key: :nope: &amp;lt;
&gt; quoted &lt;script&gt;
```
<https://example.org> *kept*
```"""


async def test_hostile_text_stays_text(show: Open, client: AsyncWebClient) -> None:
    """Nothing that people write becomes an element of its own, or a link that runs a script."""
    posted = await client.chat_postMessage(channel="C0GENERAL", text="x", blocks=[section(HOSTILE)])
    page = await show("U0BEN")
    message = page.locator(f"[data-ts='{posted['ts']}']")
    await expect(message).to_contain_text('<img src=x onerror="boom()"> press me *so*')
    await expect(message).to_contain_text("bold both snake_case_name 2*3*4 <b> gone 🔑 :nope: &lt;")
    await expect(message.locator("blockquote")).to_have_text("quoted <script>")
    await expect(message.locator("pre")).to_have_text("https://example.org *kept*")
    assert await message.locator("img, script, b").count() == 0
    links = message.locator("a")
    assert [await link.get_attribute("href") for link in await links.all()] == [
        "https://example.org/a_b_c",
        "https://example.org/",
    ]
    assert {await link.get_attribute("rel") for link in await links.all()} == {"noopener noreferrer"}

    await send(page, "<b>mine</b> & <@U0ANA>")
    await expect(page.get_by_test_id("message").last).to_contain_text("<b>mine</b> & <@U0ANA>")


async def test_an_ephemeral_message_is_its_members_alone(app: AsyncApp, show: Open) -> None:
    """It says so, its link opens in a tab of its own, the click is told to the app, and it can be dismissed."""
    clicked = asyncio.Event()

    @app.command("/apikey")
    async def answer(ack: Any) -> None:
        link = button("open", url="http://127.0.0.1:9/k/1#seed")
        await ack(text="Ready", blocks=[section("Ready."), actions(link)])

    @app.action("open")
    async def opened(ack: Any) -> None:
        clicked.set()
        await ack()

    ben, cara = await show("U0BEN"), await show("U0CARA")
    await send(ben, "/apikey pick up")
    message = ben.locator("[data-testid=message][data-ephemeral=true]")
    await expect(message).to_contain_text("Only visible to you")
    link = message.get_by_role("link", name="open")
    await expect(link).to_have_attribute("target", "_blank")
    async with ben.context.expect_page() as tab:
        await link.click()
    await (await tab.value).close()
    await asyncio.wait_for(clicked.wait(), 5)
    await send(cara, "after")
    await expect(cara.get_by_test_id("message").last).to_contain_text("after")
    await expect(cara.locator("[data-ephemeral=true]")).to_have_count(0)
    await message.get_by_role("button", name="Dismiss").click()
    await expect(message).to_have_count(0)


async def test_home_keeps_what_is_typed(app: AsyncApp, show: Open) -> None:
    """Home is drawn when it is opened, and drawn anew without losing a half-typed input."""
    views = iter("first second third")

    @app.event("app_home_opened")
    async def home(event: Json, client: AsyncWebClient) -> None:
        next(views)
        await client.views_publish(user_id=event["user"], view=home_view("Your keys"))

    @app.action("again")
    async def again(ack: Any, body: Json, client: AsyncWebClient) -> None:
        assert body["view"]["state"]["values"]["note"]["note"]["value"] == "half a thou"
        await client.views_publish(user_id=body["user"]["id"], view=home_view("Your newer keys"))
        await ack()

    def home_view(title: str) -> Json:
        blocks = [{"type": "header", "text": text(title)}, field("note"), actions(button("again"))]
        return {"type": "home", "blocks": blocks}

    page = await show("U0BEN")
    await page.get_by_test_id("channel-D0BEN").click()
    await page.get_by_test_id("home").click()
    drawn = page.get_by_test_id("home-view")
    await expect(drawn.get_by_role("heading", name="Your keys")).to_be_visible()
    await drawn.get_by_label("note").fill("half a thou")
    await drawn.locator("[data-action-id=again]").click()
    await expect(drawn.get_by_role("heading", name="Your newer keys")).to_be_visible()
    await expect(drawn.get_by_label("note")).to_have_value("half a thou")
    await page.get_by_test_id("messages-tab").click()
    await expect(page.get_by_test_id("composer")).to_be_focused()


async def test_a_failure_is_told(show: Open) -> None:
    """Without an app a command fails in words and stays in the composer; an unknown one is Slackbot's to answer."""
    page = await show("U0BEN")
    await send(page, "/apikey request")
    await expect(page.get_by_test_id("toast-error")).to_contain_text("Keydesk is not running")
    await expect(page.get_by_test_id("composer")).to_have_value("/apikey request")
    await send(page, "/nonsense")
    await expect(page.get_by_test_id("message").last).to_contain_text("/nonsense is not a valid command.")
    await expect(page.get_by_test_id("toast-error")).to_have_count(1)


async def test_a_late_acknowledgement_is_told_in_the_modal(show: Open) -> None:
    """A submission that the app does not acknowledge keeps the modal with a word of what happened."""
    released = asyncio.Event()
    with running(ack_seconds=0.2) as servers:
        app = bolt(servers)
        opens(app, modal("ask", field("why")))

        @app.view("ask")
        async def ask(ack: Any) -> None:
            await released.wait()
            await ack()

        async with connected(app, servers):
            page = await show("U0BEN", base_url=servers.base_url)
            form = page.get_by_test_id("modal")
            await send(page, "/apikey")
            await form.get_by_label("why").fill("because")
            await form.get_by_test_id("submit").click()
            await expect(form.get_by_test_id("modal-problem")).to_contain_text("did not answer within 3 seconds")
            await expect(form.get_by_label("why")).to_have_value("because")
            released.set()
            await page.close()


async def test_a_key_comes_and_goes(servers: Running, show: Open) -> None:
    """A key shows in the panel when it is minted, works when it is tried, and is gone and refused when revoked."""
    page = await show("U0BEN")
    panel = page.get_by_test_id("keys-panel")
    await expect(panel).to_contain_text("0 active")
    accounts = "/organization/projects/proj_search/service_accounts"
    bearer = {"Authorization": f"Bearer {servers.openai_admin_key}"}
    async with httpx.AsyncClient(base_url=servers.openai_url, headers=bearer, trust_env=False) as admin:
        made = (await admin.post(accounts, json={"name": "keydesk"})).json()
        await expect(panel.get_by_test_id("key")).to_contain_text("search-prod")
        await expect(panel).to_contain_text("1 active")
        await panel.get_by_test_id("try-key").fill(made["api_key"]["value"])
        await panel.get_by_test_id("try-send").click()
        await expect(panel.get_by_test_id("try-result")).to_contain_text("The key works")
        await admin.delete(f"{accounts}/{made['id']}")
    await expect(panel).to_contain_text("0 active")
    await expect(panel).to_contain_text("1 no longer valid")
    await panel.get_by_test_id("try-send").click()
    await expect(panel.get_by_test_id("try-result")).to_contain_text("Refused: 401")
    await panel.get_by_test_id("keys-close").click()
    await expect(panel).to_be_hidden()


async def test_keys_of_every_provider_are_shown_and_tried(servers: Running, show: Open) -> None:
    """With the provider's name and what was spent of a limit; a key is tried where it belongs."""
    page = await show("U0BEN")
    panel = page.get_by_test_id("keys-panel")
    async with httpx.AsyncClient(trust_env=False) as http:
        for url, credential, body, vendor, model in (
            (
                f"{servers.openrouter_url}/keys",
                servers.openrouter_management_key,
                {"name": "keydesk-k_1", "limit": 5, "limit_reset": "monthly"},
                "OpenRouter",
                "openai/gpt-5-mini",
            ),
            (
                f"{servers.litellm_url}/key/generate",
                servers.litellm_master_key,
                {"key_alias": "keydesk-k_2", "max_budget": 7},
                "LiteLLM",
                "gpt-5-mini",
            ),
        ):
            made = await http.post(url, json=body, headers={"Authorization": f"Bearer {credential}"})
            card = panel.get_by_test_id("key").filter(has_text=vendor)
            await expect(card).to_contain_text("$0.0000 of $")
            await panel.get_by_test_id("try-key").fill(made.json()["key"])
            await panel.get_by_test_id("try-send").click()
            await expect(panel.get_by_test_id("try-result")).to_contain_text(f"A pretend {model} heard you.")
    await expect(panel).to_contain_text("2 active")


async def test_another_member_in_another_tab(sandbox: Sandbox, show: Open) -> None:
    """The switcher leads to the same place as somebody else; both tabs stay live; the cookie names the last one used."""
    ben = await show("U0BEN", "D0BEN")
    await ben.get_by_test_id("member-switcher").click()
    async with ben.context.expect_page() as opened:
        await ben.get_by_test_id("as-U0CARA").click(modifiers=["Control"])
    cara = await opened.value
    await expect(cara.get_by_test_id("member-switcher")).to_contain_text("Cara Lindqvist")
    assert cara.url.endswith("/?as=U0CARA#D0CARA")
    assert {it["name"]: it["value"] for it in await cara.context.cookies()} == {"sandbox_member": "U0CARA"}
    await sandbox.member("U0ANA").say("Hello from Ana", channel="C0GENERAL")
    for page in (ben, cara):
        await expect(page.get_by_test_id("toast-message")).to_contain_text("Hello from Ana")
