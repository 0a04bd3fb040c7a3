"""The deposit page: who may bring a key, how it is sealed in the browser, and what the page says when something is wrong."""

import asyncio
from base64 import urlsafe_b64decode
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from playwright.async_api import Page, Request, expect

from bot.desk.envelope import base64url
from bot.desk.model import Actor, Grant, Key
from bot.desk.states import GrantState, KeyState
from tests.desk.test_vault import VECTORS, place, raw, vault
from tests.flows.browsing import Browser, split
from tests.web.test_browser import browser, heading, open_signed_in, page
from tests.web.world import TEAM, World

__all__ = ["browser", "page"]  # fixtures

VALUE = "pk.example-0123456789-abcdefghijklmnopqrstuvwxyz"


async def bring(
    browser: Browser, key: Key, value: str = VALUE, *, told: dict[str, Any] | None = None
) -> httpx.Response:
    """What the page's script does: looks, seals, sends."""
    if told is None:
        told = (await browser.post(f"/api/deposits/{key.id}/look", {})).json()
    return await browser.post(
        f"/api/deposits/{key.id}/bring",
        {"sealed": sealed(value, told["recipient"]), "kek": told["recipient"]["kek"]},
    )


def sealed(value: str, recipient: dict[str, str]) -> str:
    """By the library's HPKE; the page has its own."""
    raw, info = (urlsafe_b64decode(recipient[name] + "==") for name in ("public_key", "info"))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    suite = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return base64url(suite.encrypt(value.encode(), public, info=info))


async def grant_of(desk: World, key: Key) -> Grant:
    """As it is stored."""
    found = await desk.store.read(lambda tx: tx.grant(TEAM, key.grant_id))
    assert found is not None
    return found


async def test_a_depositor_brings_a_key_and_its_holder_alone_opens_it(desk_on_each: World) -> None:
    """Looked at, sealed, brought, picked up, revealed: the value arrives whole, and nothing of it is kept."""
    desk = desk_on_each
    key = await desk.awaited()
    async with Browser(desk.url) as ana, Browser(desk.url) as ben:
        await ana.sign_in("U0ANA", f"/d/{key.id}")
        told = (await ana.post(f"/api/deposits/{key.id}/look", {})).json()
        assert told["state"] == "awaited"
        assert told["about"] == {
            "holder": "Ben Okafor",
            "provider": "Mapbox",
            "project": None,
            "permission": None,
            "marker": f"keydesk-{key.id}",
            "days": 7,
            "steps": "In the account page, Access tokens, Create a token.\nLeave the secret scopes off.\n",
            "prefix": "",
            "url": "",
        }
        answer = await bring(ana, key, f"  {VALUE}\n", told=told)
        assert (answer.status_code, answer.json()) == (200, {"fingerprint": "…wxyz"})
        stored = await desk.store.read(lambda tx: tx.deposit(TEAM, key.id))
        assert stored is not None
        assert VALUE.encode() not in stored.sealed
        handover = await desk.pick_up(await grant_of(desk, key))
        await ben.sign_in("U0BEN")
        looked = (await ben.post(f"/api/links/{split(handover.url)[0]}/look", {})).json()["about"]
        assert (looked["provider"], looked["project"], looked["variable"]) == ("Mapbox", None, "MAPBOX_API_KEY")
        assert await ben.reveal(handover.url) == VALUE
    assert (await desk.key(key)).state is KeyState.LIVE
    assert (await grant_of(desk, key)).state is GrantState.ACTIVE
    assert await desk.store.read(lambda tx: tx.deposit(TEAM, key.id)) is None
    acts = [entry.act for entry in await desk.entries()]
    assert acts[-5:] == ["key.deposited", "grant.pick_up_started", "key.unwrapped", "link.claimed", "link.revealed"]
    assert VALUE not in str(await desk.entries())


async def test_nobody_else_learns_or_brings_anything(desk: World) -> None:
    """The holder, another member, a guest: the same answer as for a key that never was; each try is recorded."""
    key = await desk.awaited()
    never = Key(**{**{name: getattr(key, name) for name in Key.__slots__}, "id": "k_aaaaaaaaaaaaaaaa"})
    async with Browser(desk.url) as ana:
        await ana.sign_in("U0ANA")
        told = (await ana.post(f"/api/deposits/{key.id}/look", {})).json()
    for member in ("U0BEN", "U0GUS"):
        async with Browser(desk.url) as other:
            await other.sign_in(member)
            for verb in ("look", "bring"):
                body = {"sealed": sealed(VALUE, told["recipient"]), "kek": told["recipient"]["kek"]}
                before = len(await desk.entries())
                answers = [await other.post(f"/api/deposits/{one.id}/{verb}", body) for one in (key, never)]
                assert [answer.status_code for answer in answers] == [403, 403]
                assert answers[0].json() == answers[1].json()
                assert next(entry.act for entry in (await desk.entries())[before:]) == "refused"
    async with Browser(desk.url) as nobody:
        for verb in ("look", "bring"):
            assert (await nobody.post(f"/api/deposits/{key.id}/{verb}", {})).status_code == 401
    assert (await desk.key(key)).state is KeyState.AWAITED


async def test_a_get_changes_nothing_and_learns_nothing(desk: World) -> None:
    """The same bytes for a key that is awaited and one that never was."""
    key = await desk.awaited()
    before = await desk.entries()
    async with httpx.AsyncClient(base_url=desk.url) as client:
        pages = {(await client.get(path)).content for path in (f"/d/{key.id}", "/d/k_aaaaaaaa", "/d/nonsense")}
        assert (await client.get("/d/nonsense")).status_code == 404
        html = (await client.get(f"/d/{key.id}")).text
    assert len(pages) == 1
    assert "<style" not in html
    assert "style=" not in html
    assert "onclick" not in html
    assert "http" not in html
    assert await desk.entries() == before


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "nothing here yet"),
        (" \n\t ", "nothing here yet"),
        ("pk.one two", "a space or a line break inside"),
        ("pk.one\npk.two", "a space or a line break inside"),
        ("pk.••••••••wxyz", "masked"),
        ("pk.\x00\x07abcdefgh", "characters here that keys do not have"),
        ("short", "too short"),
        ("x" * 4097, "too long"),
    ],
)
async def test_what_cannot_be_a_key_is_refused_and_nothing_is_lost(desk: World, value: str, says: str) -> None:
    """The desk itself says what is wrong; the key is still awaited, and the right value is taken then."""
    key = await desk.awaited()
    async with Browser(desk.url) as cara:
        await cara.sign_in("U0CARA")
        answer = await bring(cara, key, value)
        assert answer.status_code == 422
        assert says in answer.json()["message"]
        assert (await desk.key(key)).state is KeyState.AWAITED
        assert (await bring(cara, key)).status_code == 200


async def test_what_was_not_sealed_for_this_deposit_does_not_open(desk: World) -> None:
    """Another key's, another depositor's, altered, cut, not base64url, of a KEK that is gone: refused with a way on."""
    key, other = await desk.awaited(), await desk.awaited("U0CARA")
    async with Browser(desk.url) as ana:
        await ana.sign_in("U0ANA")
        told, others = [
            (await ana.post(f"/api/deposits/{one.id}/look", {})).json()["recipient"] for one in (key, other)
        ]
        async with Browser(desk.url) as cara:
            await cara.sign_in("U0CARA")
            caras = (await cara.post(f"/api/deposits/{key.id}/look", {})).json()["recipient"]
        good = sealed(VALUE, told)
        flipped = good[:150] + ("A" if good[150] != "A" else "B") + good[151:]
        for wrong, status in (
            ({"sealed": sealed(VALUE, others), "kek": told["kek"]}, 422),
            ({"sealed": sealed(VALUE, caras), "kek": told["kek"]}, 422),
            ({"sealed": flipped, "kek": told["kek"]}, 422),
            ({"sealed": good[:-4], "kek": told["kek"]}, 422),
            ({"sealed": good, "kek": "0" * 12}, 422),
            ({"sealed": good[:50], "kek": told["kek"]}, 400),
            ({"sealed": good + "=", "kek": told["kek"]}, 400),
            ({"sealed": "A" * 109, "kek": told["kek"]}, 400),
            ({"sealed": good}, 400),
            ({"kek": told["kek"]}, 400),
            ({"sealed": [good], "kek": told["kek"]}, 400),
        ):
            answer = await ana.post(f"/api/deposits/{key.id}/bring", wrong)
            assert answer.status_code == status, wrong
            assert VALUE not in answer.text
        assert (await desk.key(key)).state is KeyState.AWAITED
        answer = await ana.post(f"/api/deposits/{key.id}/bring", {"sealed": good, "kek": told["kek"]})
        assert answer.status_code == 200


async def test_two_depositors_at_once_and_a_double_submit(desk_on_each: World) -> None:
    """However many bring it at once, one value counts; each of the others hears that it is here."""
    desk = desk_on_each
    key = await desk.awaited()
    async with Browser(desk.url) as ana, Browser(desk.url) as cara:
        await ana.sign_in("U0ANA")
        await cara.sign_in("U0CARA")
        values = [f"{VALUE}-{number}" for number in range(6)]
        answers = await asyncio.gather(
            *(bring(ana if number % 2 else cara, key, value) for number, value in enumerate(values))
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, 409, 409, 409, 409, 409]
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["error"] == "brought"
        [won] = [value for value, answer in zip(values, answers, strict=True) if answer.status_code == 200]
        looked = (await cara.post(f"/api/deposits/{key.id}/look", {})).json()
        assert (looked["state"], looked["error"]) == ("over", "brought")
    handover = await desk.pick_up(await grant_of(desk, key))
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        assert await ben.reveal(handover.url) == won
    assert [entry.act for entry in await desk.entries()].count("key.deposited") == 1


async def test_a_key_that_was_taken_back_is_not_wanted(desk: World) -> None:
    """Its holder took the grant back: who comes to bring it hears so, and what to do with what they made."""
    key = await desk.awaited()
    async with Browser(desk.url) as ana:
        await ana.sign_in("U0ANA")
        told = (await ana.post(f"/api/deposits/{key.id}/look", {})).json()
        await desk.grants.revoke(Actor(TEAM, "U0BEN"), key.grant_id)
        answer = await bring(ana, key, told=told)
        assert (answer.status_code, answer.json()["error"]) == (409, "not_wanted")
        assert "delete it at the provider" in answer.json()["next_step"]
    assert (await desk.key(key)).state is KeyState.VOID
    assert (await grant_of(desk, key)).state is GrantState.ENDED


async def test_in_a_browser(desk: World, page: Page) -> None:
    """Sign in, read what to make, paste something wrong, paste the key: it leaves the page sealed, and is forgotten."""
    key = await desk.awaited()
    sent: list[str] = []

    def remember(request: Request) -> None:
        sent.append(f"{request.url} {request.post_data or ''}")

    page.on("request", remember)
    await page.goto(f"{desk.url}/d/{key.id}")
    assert await heading(page) == "Sign in to bring a key"
    await open_signed_in(page, f"{desk.url}/d/{key.id}", "U0ANA")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Bring a key for Ben Okafor")
    await expect(page.locator("#awaited")).to_contain_text("Leave the secret scopes off.")
    await expect(page.locator("#marker")).to_have_text(key.marker)
    field = page.get_by_label("Paste it here")
    await field.fill("pk.••••••••")
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("masked")
    await expect(field).to_be_focused()
    assert await field.input_value() == "pk.••••••••"
    await field.fill(VALUE)
    await expect(page.get_by_role("alert")).to_have_text("")
    await page.get_by_role("button", name="Show", exact=True).click()
    await page.get_by_role("button", name="Seal it and hand it in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("The key is handed in")
    await expect(page.locator("#done")).to_contain_text("…wxyz")
    assert await field.input_value() == ""
    assert VALUE not in await page.content()
    assert not [request for request in sent if VALUE in request]
    stored = await desk.key(key)
    assert (stored.state, stored.fingerprint) == (KeyState.DEPOSITED, "…wxyz")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("This key is here already, ending with …wxyz")

    handover = await desk.pick_up(await grant_of(desk, key))
    async with Browser(desk.url) as ben:
        await ben.sign_in("U0BEN")
        assert await ben.reveal(handover.url) == VALUE


async def test_what_was_pasted_outlives_a_failure(desk: World, page: Page) -> None:
    """The desk cannot be reached, then fails, then is back: what was pasted stays in the field until it was taken."""
    key = await desk.awaited()
    await open_signed_in(page, f"{desk.url}/d/{key.id}", "U0CARA")
    field = page.get_by_label("Paste it here")
    await field.fill(VALUE)
    hand_in = page.get_by_role("button", name="Seal it and hand it in")
    await page.route("**/bring", lambda route: route.abort())
    await hand_in.click()
    await expect(page.get_by_role("alert")).to_contain_text("does not answer")
    await page.unroute("**/bring")
    failed = {"error": "unavailable", "message": "The desk cannot read its KEK now.", "next_step": "Try again."}
    await page.route("**/bring", lambda route: route.fulfill(status=503, json=failed))
    await hand_in.click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot read its KEK")
    assert await field.input_value() == VALUE
    await page.unroute("**/bring")
    await hand_in.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("The key is handed in")


async def test_a_stranger_is_told_so_in_the_browser(desk: World, page: Page) -> None:
    """Signed in as somebody who was not asked: a sentence, and the way to another account."""
    key = await desk.awaited()
    await open_signed_in(page, f"{desk.url}/d/{key.id}", "U0BEN")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Ben Okafor was not asked to bring this key")
    await expect(page.get_by_role("button", name="Sign in as somebody else")).to_be_visible()


SEAL = """
async (cases) => {
  const { seal } = await import("/static/hpke.js");
  const { fromBase64url, toBase64url } = await import("/static/envelope.js");
  const curve = { name: "ECDH", namedCurve: "P-256" };
  return Promise.all(cases.map(async (one) => {
    const jwk = { kty: "EC", crv: "P-256", ...one.ephemeral };
    const privateKey = await crypto.subtle.importKey("jwk", jwk, curve, true, ["deriveBits"]);
    const { d, ...open } = jwk;
    const publicKey = await crypto.subtle.importKey("jwk", open, curve, true, []);
    const value = new TextEncoder().encode(one.secret);
    const args = [fromBase64url(one.public_key), fromBase64url(one.info), value];
    const known = toBase64url(await seal(...args, { privateKey, publicKey }));
    return { known, fresh: toBase64url(await seal(...args)) };
  }));
}
"""


async def test_the_page_seals_as_the_vectors_do(desk: World, page: Page) -> None:
    """With the vectors' ephemeral keys the same bytes; with its own, others, which the desk opens."""
    cases = [case for case in VECTORS["deliveries"] if case["opens"]]
    await page.goto(f"{desk.url}/d/k_x")
    made = await page.evaluate(SEAL, cases)
    assert cases
    for case, sealed_here in zip(cases, made, strict=True):
        assert sealed_here["known"] == case["sealed"], case["name"]
        assert sealed_here["fresh"] != case["sealed"]
        opened = await vault(case["kek"]).received(
            raw(sealed_here["fresh"]), kek=case["kek_name"], place=place(case), depositor=case["depositor"]
        )
        assert opened.expose() == case["secret"]
