"""Bolt apps live in the pretend Slack as in the real one, in both modes: commands, clicks, forms, Home."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.client import Member, Sandbox
from sandbox.inputs import REQUIRED
from sandbox.server import Running, running
from tests.sandbox.serving import (
    actions,
    bolt,
    button,
    connected,
    field,
    listening,
    modal,
    option,
    sample,
    section,
    text,
    unknown_fields,
)

Json = dict[str, Any]


@pytest.fixture(params=["socket", "http"])
async def app(request: pytest.FixtureRequest, servers: Running, sandbox: Sandbox) -> AsyncIterator[AsyncApp]:
    """A Bolt app that is being served; listeners may be added to it."""
    app = bolt(servers)
    async with connected(app, servers) if request.param == "socket" else listening(app, sandbox):
        yield app


@pytest.fixture
async def socket_app(servers: Running) -> AsyncIterator[AsyncApp]:
    """A Bolt app on Socket Mode, for what does not depend on the mode."""
    app = bolt(servers)
    async with connected(app, servers):
        yield app


def opens(app: AsyncApp, view: Json) -> None:
    """Lets the app answer its command with this modal."""

    async def open(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await client.views_open(trigger_id=body["trigger_id"], view=view)
        await ack()

    app.command("/apikey")(open)


async def bodies(sandbox: Sandbox, kind: str) -> list[Json]:
    """What was delivered of this kind."""
    return [it["body"] for it in (await sandbox.record())["deliveries"] if it["kind"] == kind]


async def test_a_whole_form(app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """A command opens a modal; errors keep it open; then update, push and clear do what they say."""
    opens(app, modal("ask", field("why"), field("much", "number_input", is_decimal_allowed=False, initial_value="5")))

    @app.view("ask")
    async def ask(ack: Any, view: Json) -> None:
        values = view["state"]["values"]
        assert values["much"]["much"] == {"type": "number_input", "value": "5"}
        if values["why"]["why"]["value"] == "because":
            await ack(response_action="errors", errors={"why": "That is no reason."})
        else:
            await ack(response_action="update", view=modal("sure", section("Sure?")))

    @app.view("sure")
    async def sure(ack: Any, view: Json) -> None:
        if view["previous_view_id"] is None:
            await ack(response_action="push", view=modal("sure", section("Really?")))
        else:
            await ack(response_action="clear")

    assert (await ben.command("/apikey request")).acknowledged
    form = await ben.modal()
    assert form is not None
    assert form.inputs == ["why", "much"]
    refused = await ben.submit(form, why="because")
    assert (refused.acknowledged, refused.response_action) == (True, "errors")
    assert refused.errors == {"why": "That is no reason."}
    assert (await ben.modal()) == form
    assert (await ben.submit(form, why="to test")).response_action == "update"
    updated = await ben.modal()
    assert updated is not None
    assert (updated.id, updated.plain) == (form.id, "Sure?")
    assert updated.hash != form.hash
    assert (await ben.submit(updated)).response_action == "push"
    pushed = await ben.modal()
    assert pushed is not None
    assert pushed.plain == "Really?"
    assert [view["id"] for view in (await ben.state())["views"]] == [form.id, pushed.id]
    assert (await ben.submit(pushed)).acknowledged
    assert await ben.modal() is None
    assert (await bodies(sandbox, "command"))[0]["text"] == "request"


async def test_an_empty_acknowledgement_closes_the_form(app: AsyncApp, ben: Member) -> None:
    """And only the view in front."""
    opens(app, modal("ask", section("One?")))

    @app.view("ask")
    async def ask(ack: Any) -> None:
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    assert (await ben.submit(form)).acknowledged
    assert await ben.modal() is None


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"nowhere": "No such block."}},
        {"response_action": "errors", "errors": {}},
        {"response_action": "explode"},
        {"response_action": "update", "view": {"type": "modal", "blocks": []}},
        {"text": "A form takes no words."},
    ],
)
async def test_a_senseless_answer_to_a_form_fails(socket_app: AsyncApp, ben: Member, answer: Json) -> None:
    """The member sees that it did not work, and the form stays."""
    opens(socket_app, modal("ask", field("why")))

    @socket_app.view("ask")
    async def ask(ack: Any) -> None:
        ack.response = BoltResponse(status=200, body=answer)

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    ack = await ben.submit(form, why="x")
    assert not ack.acknowledged
    assert ack.error in ("invalid_errors", "invalid_response_action", "invalid_arguments")
    assert await ben.modal() == form


async def test_words_in_an_acknowledgement_are_shown_to_the_member(app: AsyncApp, ben: Member, cara: Member) -> None:
    """As an ephemeral message, or to everybody."""

    @app.command("/apikey")
    async def answer(ack: Any, command: Json) -> None:
        await ack(text="Hello", response_type="in_channel" if command["text"] == "all" else "ephemeral")

    assert (await ben.command("/apikey")).acknowledged
    (mine,) = [it for it in await ben.messages("C0GENERAL") if it.text == "Hello"]
    assert mine.ephemeral
    assert "Hello" not in [it.text for it in await cara.messages("C0GENERAL")]
    await ben.command("/apikey all")
    assert [it.ephemeral for it in await cara.messages("C0GENERAL") if it.text == "Hello"] == [False]


async def test_a_click_in_a_message(app: AsyncApp, client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """It carries the button's own value, the message and a response URL, in the shape of Slack's sample."""
    done: list[Json] = []

    @app.action("go")
    async def go(ack: Any, body: Json, respond: Any) -> None:
        done.append(body)
        await ack()
        await respond("Gone", replace_original=True)

    blocks = [section("Go?"), actions(button("go", "1"), button("stay")), actions(button("go", "2"))]
    await client.chat_postMessage(channel="U0BEN", text="Go?", blocks=blocks)
    message = await ben.expect_message("Go?")
    with pytest.raises(LookupError, match="2 elements are 'go'"):
        await ben.click(message, "go")
    with pytest.raises(LookupError, match="stay"):
        await ben.click(message, "fly")
    assert (await ben.click(message, "go", "2")).acknowledged
    (body,) = done
    assert body["actions"][0] | {"action_ts": ""} == {
        "type": "button",
        "action_id": "go",
        "block_id": message.blocks[2]["block_id"],
        "text": {"type": "plain_text", "text": "go", "emoji": True},
        "value": "2",
        "action_ts": "",
    }
    assert body["container"] == {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": "D0BEN",
        "is_ephemeral": False,
    }
    assert body["message"]["ts"] == message.ts
    assert [it.plain for it in await ben.messages()] == ["Gone"]
    assert unknown_fields(body, sample("app-backend/interactive-components/BlockActionPayload.json")) == []


async def test_a_click_that_was_on_its_way(socket_app: AsyncApp, client: AsyncWebClient, ben: Member) -> None:
    """A message that changed meanwhile: the click on its former buttons still arrives, with the message as it is."""
    seen: list[str] = []

    @socket_app.action("go")
    async def go(ack: Any, body: Json) -> None:
        seen.append(body["message"]["text"])
        await ack()

    posted = await client.chat_postMessage(channel="U0BEN", text="Go?", blocks=[actions(button("go"))])
    message = await ben.expect_message("Go?")
    await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="Gone", blocks=[section("Gone")])
    assert (await ben.click(message, "go")).acknowledged
    assert seen == ["Gone"]
    assert (await ben.messages())[0].edited


async def test_ephemeral_messages(
    socket_app: AsyncApp, client: AsyncWebClient, sandbox: Sandbox, ben: Member, cara: Member
) -> None:
    """For one member, in the channel, until the next reload; changed only through a click of that member."""

    @socket_app.action("go")
    async def go(ack: Any, body: Json, respond: Any) -> None:
        assert "message" not in body
        assert body["container"]["is_ephemeral"]
        await ack()
        if body["actions"][0]["value"] == "more":
            await respond("More", replace_original=False)
        elif body["actions"][0]["value"] == "other":
            await respond("Other", blocks=[actions(button("go", "gone"))])
        else:
            await respond(delete_original=True)

    blocks = [actions(button("go", "more")), actions(button("go", "other"))]
    posted = await client.chat_postEphemeral(channel="C0GENERAL", user="U0BEN", text="For you", blocks=blocks)
    with pytest.raises(SlackApiError, match="message_not_found"):
        await client.chat_update(channel="C0GENERAL", ts=posted["message_ts"], text="Changed")
    message = await ben.expect_message("For you", "C0GENERAL")
    with pytest.raises(AssertionError, match="message_not_found"):
        await cara.click(message, "go", "more")
    await ben.click(message, "go", "more")
    assert (await ben.messages("C0GENERAL"))[-1].text == "More"
    await ben.click(message, "go", "other")
    changed = next(it for it in await ben.messages("C0GENERAL") if it.ts == message.ts)
    assert (changed.text, changed.ephemeral) == ("Other", True)
    await ben.click(changed, "go")
    assert message.ts not in [it.ts for it in await ben.messages("C0GENERAL")]
    assert [it for it in await cara.messages("C0GENERAL") if it.ephemeral] == []
    await ben.reload()
    assert [it for it in await ben.messages("C0GENERAL") if it.ephemeral] == []


async def test_response_urls_end(socket_app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """After five uses, or half an hour."""
    answers: list[Any] = []

    @socket_app.command("/apikey")
    async def answer(ack: Any, respond: Any, command: Json) -> None:
        await ack()
        if command["text"] == "later":
            await sandbox.advance(30 * 60 + 1)
        answers.extend([await respond(f"{time}") for time in range(6)])

    await ben.command("/apikey")
    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert "used_url" in answers[-1].body
    answers.clear()
    await ben.command("/apikey later")
    assert {answer.body for answer in answers} == {'{"ok":false,"error":"expired_url"}'}


async def test_trigger_ids_work_once_and_for_three_seconds(socket_app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """And an unknown one never."""
    errors: list[str] = []

    @socket_app.command("/apikey")
    async def open(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        view = modal("ask", section("?"))
        await client.views_open(trigger_id=body["trigger_id"], view=view)
        for trigger in (body["trigger_id"], "1.2.3"):
            with pytest.raises(SlackApiError) as caught:
                await client.views_open(trigger_id=trigger, view=view)
            errors.append(caught.value.response["error"])

    @socket_app.view("ask")
    async def late(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await sandbox.advance(3.1)
        with pytest.raises(SlackApiError) as caught:
            await client.views_push(trigger_id=body["trigger_id"], view=modal("ask", section("?")))
        errors.append(caught.value.response["error"])
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    assert (await ben.submit(form)).acknowledged
    assert errors == ["exchanged_trigger_id", "invalid_trigger_id", "expired_trigger_id"]


async def test_views_stack_to_three_and_tell_when_they_close(
    socket_app: AsyncApp, sandbox: Sandbox, ben: Member
) -> None:
    """A fourth is refused; a close button closes one view, the cross all of them."""
    opens(socket_app, modal("one", actions(button("deeper")), notify_on_close=True))
    errors: list[str] = []

    @socket_app.action("deeper")
    async def deeper(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack()
        try:
            view = modal("more", actions(button("deeper")), notify_on_close=True)
            await client.views_push(trigger_id=body["trigger_id"], view=view)
        except SlackApiError as error:
            errors.append(error.response["error"])

    @socket_app.view_closed("one")
    @socket_app.view_closed("more")
    async def closed(ack: Any) -> None:
        await ack()

    await ben.command("/apikey")
    for _ in range(3):
        front = await ben.modal()
        assert front is not None
        assert (await ben.click(front, "deeper")).acknowledged
    assert errors == ["push_limit_reached"]
    front = await ben.modal()
    assert front is not None
    assert (await ben.close(front)).acknowledged
    below = await ben.modal()
    assert below is not None
    assert below.id != front.id
    await ben.close(below, all=True)
    assert await ben.modal() is None
    told = await bodies(sandbox, "view_closed")
    assert [(body["view"]["callback_id"], body["is_cleared"]) for body in told] == [
        ("more", False),
        ("more", True),
        ("one", True),
    ]
    assert unknown_fields(told[0], sample("app-backend/views/ViewClosedPayload.json")) == []


async def test_suggestions(app: AsyncApp, ben: Member) -> None:
    """An external select asks the app; what does not fit Slack's limits is refused."""
    opens(app, modal("ask", field("which", "external_select", min_query_length=1), field("why")))

    @app.options("which")
    async def offer(ack: Any, body: Json) -> None:
        if body["value"] == "groups":
            await ack(option_groups=[{"label": text("Some"), "options": [option("one")]}])
        else:
            await ack(options=[option(body["value"])] * (101 if body["value"] == "many" else 1))

    @app.view("ask")
    async def take(ack: Any, view: Json) -> None:
        assert view["state"]["values"]["which"]["which"]["selected_option"]["value"] == "this"
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    assert [it["value"] for it in await ben.suggest(form, "which", "this")] == ["this"]
    assert [it["value"] for it in await ben.suggest(form, "which", "groups")] == ["one"]
    with pytest.raises(AssertionError, match="query_too_short"):
        await ben.suggest(form, "which", "")
    with pytest.raises(AssertionError, match="no more than 100 items allowed"):
        await ben.suggest(form, "which", "many")
    assert (await ben.submit(form, which="this", why="x")).acknowledged


async def test_home(app: AsyncApp, client: AsyncWebClient, sandbox: Sandbox, ben: Member) -> None:
    """The app hears that its Home was opened, publishes it, and hears the clicks in it."""
    clicks: list[Json] = []

    @app.event("app_home_opened")
    async def opened(event: Json, client: AsyncWebClient) -> None:
        view = {"type": "home", "blocks": [section("Welcome"), actions(button("go", "7"))]}
        await client.views_publish(user_id=event["user"], view=view)

    @app.action("go")
    async def go(ack: Any, body: Json) -> None:
        clicks.append(body)
        await ack()

    assert (await ben.state())["home"] is None
    home = await ben.home()
    assert home.plain == "Welcome\ngo"
    assert (await ben.home()).hash != home.hash
    assert (await ben.click(home, "go")).acknowledged
    assert clicks[0]["container"] == {"type": "view", "view_id": home.id}
    assert clicks[0]["actions"][0]["value"] == "7"
    assert "response_url" not in clicks[0]
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_publish(user_id="U0BEN", view={"type": "home", "blocks": []}, hash=home.hash)
    (event, _) = await bodies(sandbox, "event_callback")
    assert unknown_fields(event, sample("events/AppHomeOpenedPayload.json")) == []


@pytest.mark.parametrize(
    ("block", "value", "says"),
    [
        (field("x"), "", REQUIRED),
        (field("x", min_length=3), "ab", "at least 3"),
        (field("x", max_length=3), "abcd", "no more than 3"),
        (field("x"), "a" * 3001, "no more than 3000"),
        (field("x", "number_input", is_decimal_allowed=False), "abc", "valid number"),
        (field("x", "number_input", is_decimal_allowed=True), "nan", "valid number"),
        (field("x", "number_input", is_decimal_allowed=False), "1.5", "whole number"),
        (field("x", "number_input", is_decimal_allowed=True, min_value="1"), "0.5", "at least 1"),
        (field("x", "number_input", is_decimal_allowed=True, max_value="5"), "1e9", "at most 5"),
        (field("x", "email_text_input"), "ben", "email"),
        (field("x", "url_text_input"), "javascript:alert(1)", "URL"),
        (field("x", "static_select", options=[option("a")]), None, REQUIRED),
        (field("x", "checkboxes", options=[option("a")]), [], REQUIRED),
    ],
)
async def test_slacks_own_client_checks_forms(
    socket_app: AsyncApp, sandbox: Sandbox, *, block: Json, value: Any, says: str
) -> None:
    """The app does not even hear of a form that is incomplete; a forged submission passes by the client."""
    ben = sandbox.member("U0BEN")
    opens(socket_app, modal("ask", block))

    @socket_app.view("ask")
    async def take(ack: Any) -> None:
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    ack = await ben.submit(form, x=value)
    assert (ack.acknowledged, ack.error) == (False, "required")
    assert says in ack.errors["x"]
    assert await bodies(sandbox, "view_submission") == []
    assert (await sandbox.submit_raw(ben, form, x=value)).acknowledged


async def test_inputs_of_every_kind(socket_app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """A form takes values by name; what is left alone is sent as it began."""
    options = [option("a"), option("b"), option("c")]
    groups = [{"label": text("All"), "options": options}]
    opens(
        socket_app,
        modal(
            "ask",
            field("one", "static_select", option_groups=groups),
            field("many", "multi_static_select", options=options),
            field("radio", "radio_buttons", options=options, initial_option=options[1]),
            field("day", "datepicker", initial_date="2027-01-01"),
            field("who", "users_select"),
            field("note", optional=True),
        ),
    )

    @socket_app.view("ask")
    async def take(ack: Any) -> None:
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    with pytest.raises(LookupError, match="no input 'nowhere'"):
        await ben.submit(form, nowhere="x")
    with pytest.raises(LookupError, match="no option 'z'"):
        await ben.submit(form, one="z")
    assert (await ben.submit(form, one="b", many=["a", "c"], who="U0ANA")).acknowledged
    (body,) = await bodies(sandbox, "view_submission")
    values = body["view"]["state"]["values"]
    assert {name: next(iter(held.values())) for name, held in values.items()} == {
        "one": {"type": "static_select", "selected_option": values["one"]["one"]["selected_option"]},
        "many": {"type": "multi_static_select", "selected_options": values["many"]["many"]["selected_options"]},
        "radio": {"type": "radio_buttons", "selected_option": values["radio"]["radio"]["selected_option"]},
        "day": {"type": "datepicker", "selected_date": "2027-01-01"},
        "who": {"type": "users_select", "selected_user": "U0ANA"},
        "note": {"type": "plain_text_input", "value": None},
    }
    assert values["one"]["one"]["selected_option"]["value"] == "b"
    assert [it["value"] for it in values["many"]["many"]["selected_options"]] == ["a", "c"]
    assert values["radio"]["radio"]["selected_option"]["value"] == "b"
    assert unknown_fields(body, sample("app-backend/views/ViewSubmissionPayload.json")) == ["/response_urls"]


async def test_what_is_chosen_is_in_the_state_at_once(app: AsyncApp, ben: Member) -> None:
    """A form that follows a choice reads the choice, and all that was typed, from the state of the view."""
    choice = field("one", "static_select", options=[option("a"), option("b")], initial_option=option("a"))
    opens(app, modal("ask", {**choice, "dispatch_action": True}, field("why")))
    heard: list[Json] = []

    @app.action("one")
    async def follow(ack: Any, body: Json) -> None:
        heard.append(body)
        await ack()

    await ben.command("/apikey")
    form = await ben.modal()
    assert form is not None
    assert (await ben.click(form, "one", "b")).acknowledged
    [body] = heard
    assert body["actions"][0]["selected_option"]["value"] == "b"
    assert body["view"]["state"]["values"]["one"]["one"]["selected_option"]["value"] == "b"


async def test_redelivery(app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """The same body comes again, marked as a retry."""
    heard: list[tuple[str, Any]] = []

    @app.middleware
    async def listen(req: Any, next: Any) -> None:
        heard.append((req.raw_body, req.headers.get("x-slack-retry-num")))
        await next()

    @app.command("/apikey")
    async def answer(ack: Any) -> None:
        await ack()

    await ben.command("/apikey")
    (delivery,) = (await sandbox.record())["deliveries"]
    assert (await sandbox.redeliver(delivery["id"], retry_num=2, reason="http_error")).acknowledged
    assert [number for _, number in heard] == [None, ["2"]]
    assert heard[0][0] == heard[1][0]
    again = (await sandbox.record())["deliveries"][-1]
    assert again["retry"] == {"number": 2, "reason": "http_error"}
    assert again["body"] == delivery["body"]
    assert unknown_fields(again["body"], sample("app-backend/slash-commands/SlashCommandPayload.json")) == []


async def test_each_envelope_goes_to_one_of_several_connections(
    servers: Running, sandbox: Sandbox, ben: Member
) -> None:
    """In turn; a connection that closed gets none."""
    heard: list[str] = []

    def app(name: str) -> AsyncApp:
        app = bolt(servers)

        @app.command("/apikey")
        async def answer(ack: Any) -> None:
            heard.append(name)
            await ack()

        return app

    async with connected(app("one"), servers):
        async with connected(app("two"), servers):
            for _ in range(4):
                assert (await ben.command("/apikey")).acknowledged
        assert sorted(heard) == ["one", "one", "two", "two"]
        heard.clear()
        for _ in range(2):
            assert (await ben.command("/apikey")).acknowledged
        assert heard == ["one", "one"]
    ack = await ben.command("/apikey")
    assert (ack.acknowledged, ack.error) == (False, "not_connected")


async def test_a_connection_that_is_asked_to_reconnects(socket_app: AsyncApp, sandbox: Sandbox, ben: Member) -> None:
    """As Slack refreshes its websockets now and then."""

    @socket_app.command("/apikey")
    async def answer(ack: Any) -> None:
        await ack()

    before = (await ben.state())["rev"]
    await sandbox.reconnect()
    await ben.expect(lambda seen: seen["rev"] >= before + 2 and seen["app"]["connected"])  # one closed, one opened
    assert (await ben.command("/apikey")).acknowledged
    calls = [call["method"] for call in (await sandbox.record())["calls"]]
    assert calls.count("apps.connections.open") == 2


async def test_silence_is_a_time_out() -> None:
    """An app that does not acknowledge in time, that answers 500, or that is not there."""
    with running(ack_seconds=0.2) as servers:
        app = bolt(servers)
        forgotten = asyncio.Event()

        @app.command("/apikey")
        async def forget(ack: Any, command: Json) -> None:
            if command["text"] == "break":
                ack.response = None
                raise RuntimeError("broken")
            await forgotten.wait()
            await ack()

        app.logger.disabled = True
        async with Sandbox(servers.base_url) as sandbox:
            ben = sandbox.member("U0BEN")
            async with connected(app, servers):
                assert (await ben.command("/apikey")).error == "operation_timeout"
                forgotten.set()
            async with listening(app, sandbox) as url:
                ack = await ben.command("/apikey break")
                assert (ack.acknowledged, ack.status, ack.error) == (False, 500, "http_error")
            await sandbox.set_app(request_urls=[url])
            assert (await ben.command("/apikey")).error == "dispatch_failed"
        app.logger.disabled = False


async def test_what_is_no_command(sandbox: Sandbox, ben: Member) -> None:
    """Slackbot says so, to the member alone; nothing is delivered."""
    ack = await ben.command("/nothing here")
    assert (ack.acknowledged, ack.error) == (False, "invalid_command")
    last = (await ben.messages("C0GENERAL"))[-1]
    assert (last.ephemeral, last.text) == (True, "`/nothing` is not a valid command.")
    assert (await sandbox.record())["deliveries"] == []
    with pytest.raises(AssertionError, match="not_in_channel"):
        await ben.command("/apikey", "C0KEYS")


async def test_strangers_and_guests_act_as_what_they_are(socket_app: AsyncApp, sandbox: Sandbox) -> None:
    """Their own team is named, and the view's is the one where the app is installed."""
    opens(socket_app, modal("ask", section("?")))

    @socket_app.view("ask")
    async def take(ack: Any) -> None:
        await ack()

    stranger = sandbox.member("U0XAV")
    for member in (stranger, sandbox.member("U0GUS"), sandbox.member("U0OLD"), sandbox.member("U0BOT")):
        assert (await member.command("/apikey")).acknowledged
    form = await stranger.modal()
    assert form is not None
    await stranger.submit(form)
    (body,) = await bodies(sandbox, "view_submission")
    assert (body["user"]["team_id"], body["team"]["id"]) == ("T0OTHER", "T0OTHER")
    assert (body["view"]["team_id"], body["view"]["app_installed_team_id"]) == ("T0ACME", "T0ACME")


async def test_a_forged_click(
    socket_app: AsyncApp, client: AsyncWebClient, sandbox: Sandbox, ben: Member, cara: Member
) -> None:
    """Cara cannot see Ben's messages, and so cannot click in them, but a forger could make it look so."""
    users: list[str] = []

    @socket_app.action("go")
    async def go(ack: Any, body: Json) -> None:
        users.append(body["user"]["id"])
        await ack()

    await client.chat_postMessage(channel="U0BEN", text="?", blocks=[actions(button("go"))])
    (message,) = await ben.messages()
    with pytest.raises(AssertionError, match="message_not_found"):
        await cara.click(message, "go")
    assert (await sandbox.click_as(cara, message, "go")).acknowledged
    assert users == ["U0CARA"]


async def test_what_is_not_seen_says_what_is(ben: Member) -> None:
    """An expectation that fails shows the whole screen to whoever reads the failure."""
    with pytest.raises(AssertionError, match=r"C0GENERAL general(.|\n)*No more keys"):
        await ben.expect_message("Something else", "C0GENERAL", timeout=0.05)
