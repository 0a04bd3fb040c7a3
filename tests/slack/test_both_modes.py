"""What members do in Slack, and what they hear: the same over Socket Mode and over HTTP."""

from tests.flows.world import World
from tests.slack.seeing import acts, approved, asking, card, private, told


async def test_help(flow: World) -> None:
    """A bare command, and `help`, say what there is, privately."""
    for text in ("", "help", "HELP", "  help  me "):
        assert (await flow.ben.command(f"/apikey {text}")).acknowledged
        message = await told(flow.ben)
        assert all(word in message.plain for word in ("request", "list", "revoke", "help"))
    assert await flow.cara.messages("C0GENERAL") == await flow.ana.messages("C0GENERAL")


async def test_an_unknown_subcommand(flow: World) -> None:
    """What was typed comes back harmless, with what exists."""
    assert (await flow.ben.command("/apikey <!channel>`x`*y*")).acknowledged
    message = await told(flow.ben)
    assert "There is no" in message.plain
    assert "<!channel>" not in str(message.blocks)
    assert "/apikey revoke" in message.plain


async def test_the_form_opens_asks_and_is_answered(flow: World) -> None:
    """The requester gets a receipt, every approver a card, the channel too."""
    await flow.ask()
    receipt = await flow.ben.expect_message("Waiting for an approver")
    assert receipt.buttons == ["cancel"]
    for member in (flow.ana, flow.cara, flow.sandbox.member("U0DEV")):
        assert (await card(member)).buttons == ["approve", "deny"]
    assert (await card(flow.ana, "C0KEYS")).buttons == ["approve", "deny"]
    assert await flow.ben.modal() is None


async def test_errors_sit_on_their_fields_and_nothing_is_lost(flow: World) -> None:
    """All wrong fields at once; the form stays, and asks once it is right."""
    assert (await flow.ben.command("/apikey request")).acknowledged
    form = await flow.ben.modal()
    assert form is not None
    ack = await flow.ben.submit(form, **asking(budget="a lot", duration="for ever"))
    assert ack.response_action == "errors"
    assert set(ack.errors) == {"budget", "duration"}
    ack = await flow.ben.submit(form, **asking(budget="999"))
    assert ack.errors == {"budget": "The most that policy allows here is $200 a month."}
    assert await acts(flow) == []
    assert (await flow.ben.submit(form, **asking())).errors == {}
    assert await acts(flow) == ["request.submitted"]


async def test_a_pick_up_is_answered_privately_where_it_was_pressed(flow: World) -> None:
    """The link stands in an ephemeral message of the holder's, on a button; nobody else sees it."""
    outcome = await approved(flow)
    assert (await flow.ben.click(outcome, "pick_up")).acknowledged
    handover = await flow.ben.expect(private(flow.ben))
    [url] = handover.urls
    assert url.startswith(flow.settings.public_url)
    assert url not in handover.plain + handover.text
    for member in ("U0ANA", "U0CARA"):
        assert url not in str(await flow.sandbox.state(member))
    assert (await flow.ben.click(handover, "open_key")).acknowledged
    again = await flow.ben.expect_message("Lost it? Get a new one")
    assert again.ts == outcome.ts


async def test_a_pick_up_on_home_is_answered_in_a_dialog(flow: World) -> None:
    """It opens at once, and shows the link as soon as the key is made."""
    await approved(flow)
    home = await flow.ben.home()
    assert (await flow.ben.click(home, "pick_up")).acknowledged
    view = await flow.ben.expect_modal("is ready")
    assert view.urls[0].startswith(flow.settings.public_url)
    assert await flow.ben.expect(lambda seen: "Get a new link" in str(seen["home"]["blocks"]) if seen["home"] else None)


async def test_redeliveries_act_once_and_answer_alike(flow: World) -> None:
    """Whatever Slack delivers twice: what was done stays done once, and the member hears the same."""
    outcome = await approved(flow)
    await flow.ben.click(outcome, "pick_up")
    await flow.ben.expect(private(flow.ben))
    await flow.ben.command("/apikey list")
    done = await acts(flow)
    deliveries = (await flow.sandbox.record())["deliveries"]
    assert {delivery["kind"] for delivery in deliveries} >= {"command", "block_actions", "view_submission"}
    for delivery in deliveries:
        ack = await flow.sandbox.redeliver(delivery["id"])
        assert ack.acknowledged, delivery["kind"]
        assert ack.status == delivery["status"]
        if delivery["kind"] == "view_submission":
            assert ack.errors == {}
    assert await acts(flow) == done
    assert len(await flow.sandbox.openai_keys()) == 1
    assert len([one for one in await flow.ben.messages() if one.urls]) == 1
