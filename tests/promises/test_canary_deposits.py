"""What people bring goes through every flow, and every error at its worst place, and is found nowhere but at its holder's."""

import base64
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.desk import deposits, grants, vault
from bot.web import deposit
from tests.flows.test_deposits import ASKED, POLICY
from tests.flows.world import World
from tests.promises.canary import Watched
from tests.promises.test_canary import (
    _breaking_once,
    force_debug,
    fresh,
    handed_over,
    show_locals,
    watched,
)
from tests.web.test_deposit import sealed


async def approved(flow: World) -> str:
    """Ben asked, Ana approved: the id of the key that she is to bring."""
    await flow.ask(**ASKED)
    await flow.ana.click(await flow.card(flow.ana), "approve")

    def there(seen: object) -> str | None:
        urls = [url for one in flow.ana.visible(seen) for url in one.urls if "/d/" in url]  # type: ignore[arg-type]  # a snapshot
        return urls[-1].rpartition("/")[2] if urls else None

    return await flow.ana.expect(there)


async def brought(flow: World, watch: Watched, key_id: str) -> str:
    """What Ana and others try with good and bad values, until one is taken: the key's value. All of them are marked."""
    value = f"brought-{secrets.token_urlsafe(48)}"
    watch.marked.add("deposit", value)
    async with watch.browser(flow.settings.public_url) as ana, watch.browser(flow.settings.public_url) as ben:
        await ben.sign_in("U0BEN", f"/d/{key_id}")
        await ana.sign_in("U0ANA", f"/d/{key_id}")
        looked: dict[str, Any] = {}
        while "recipient" not in looked:  # once it may break
            looked = (await ana.post(f"/api/deposits/{key_id}/look", {})).json()
        recipient = looked["recipient"]
        wrong = [f"{value} {value}", f"•{value}", value * 100]
        for person, tried in [(ben, value), *((ana, one) for one in wrong)]:
            body = {"sealed": sealed(tried, recipient), "kek": recipient["kek"]}
            assert (await person.post(f"/api/deposits/{key_id}/bring", body)).status_code in (400, 403, 413, 422, 500)
        damaged = {"sealed": sealed(value, recipient)[:-8] + "AAAAAAAA", "kek": recipient["kek"]}
        assert (await ana.post(f"/api/deposits/{key_id}/bring", damaged)).status_code in (422, 500)
        for _ in range(12):  # what breaks at its first time is tried again
            recipient = (await ana.post(f"/api/deposits/{key_id}/look", {})).json().get("recipient", recipient)
            body = {"sealed": sealed(value, recipient), "kek": recipient["kek"]}
            answer = await ana.post(f"/api/deposits/{key_id}/bring", body)
            if answer.status_code in (200, 409):
                return value
            assert answer.status_code == 500
    raise AssertionError("it was never taken")


async def opened(flow: World, watch: Watched) -> str:
    """Ben picks up until there is a link, and opens it: the value."""
    await flow.ben.expect_message("is here")
    before = await handed_over(flow)
    for _ in range(8):
        home = await flow.ben.home("pick_up")
        await flow.ben.click(next(one for one in await flow.ben.messages() if "pick_up" in one.buttons), "pick_up")
        assert home
        try:
            await flow.ben.expect(lambda seen: len(_links(flow, seen)) > len(before), timeout=2)
            break
        except AssertionError:
            continue
    url = (await handed_over(flow))[-1]
    async with watch.browser(flow.settings.public_url) as ben:
        await ben.sign_in("U0BEN")
        return await ben.reveal(url)


def _links(flow: World, seen: object) -> list[str]:
    return [url for one in flow.ben.visible(seen) if one.ephemeral for url in one.urls if "/k/" in url]  # type: ignore[arg-type]  # as above


async def gave_back(flow: World) -> None:
    """Ben gives it back, and Ana says that she revoked it."""
    grants_held = await flow.store.read(lambda tx: tx.grants_of(flow.team, "U0BEN", 1))
    await flow.ben.command(f"/apikey revoke {grants_held[0].id}")
    card = await flow.ana.expect(
        lambda seen: next((one for one in flow.ana.visible(seen) if "revoked_by_hand" in one.buttons), None)
    )
    assert (await flow.ana.click(card, "revoked_by_hand")).acknowledged
    await flow.ben.expect_message("The key is dead")


def clumsy() -> None:
    """Wherever the value, the DEK or the KEK is in hand, the first time something unforeseen is raised right there."""
    for owner, name in (
        (vault, "AESGCM"),
        (vault, "_private_key"),
        (vault, "_unwrap"),
        (deposits, "_plausible"),
        (deposits, "Secret"),
        (deposits, "Deposit"),
        (deposits, "Minted"),
        (grants, "Handover"),
        (deposit, "JSONResponse"),
    ):
        setattr(owner, name, _breaking_once(getattr(owner, name)))


@pytest.mark.parametrize("how", ["own logging", "forced to debug", "defects, with all locals told"])
async def test_what_people_bring(tmp_path: Path, request: pytest.FixtureRequest, how: str) -> None:
    """Values that were taken and values that were not, and the KEK: nowhere in Slack, logs, answers, the database."""
    kek = base64.b64encode(raw := secrets.token_bytes(32)).decode()
    prepared: dict[str, list[Callable[[], None]]] = {
        "own logging": [],
        "forced to debug": [force_debug],
        "defects, with all locals told": [partial(show_locals, tmp_path / "locals.log"), clumsy],
    }
    more = prepared[how]
    with fresh(request, "sqlite", tmp_path) as database_url:
        async with watched(tmp_path, database_url, *more, policy=POLICY, kek=kek) as (running, watch):
            watch.marked.add("kek", raw)
            value = await brought(running.flow, watch, await approved(running.flow))
            assert await opened(running.flow, watch) == value
            await gave_back(running.flow)
            # One that rests to the end, so that the database is looked at with it.
            await brought(running.flow, watch, await approved(running.flow))
            told = running.said()
            if more[1:]:
                assert "nobody foresaw this" in (tmp_path / "locals.log").read_text(encoding="utf-8")
            assert (" DEBUG sqlalchemy" in told) == (how == "forced to debug")
            assert {"deposit", "kek"} <= watch.marked.names
            leaks = await watch.leaks(running.flow.sandbox)
            # What the server's own frames hold of a request; neither value nor KEK is in any frame.
            assert leaks.pop("log locals.log", set()) <= {"session cookie", "code"}
            assert leaks == {}
