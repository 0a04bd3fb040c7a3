"""The vectors of the envelope once more, through the page's own script in a real browser."""

import asyncio
import json
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests import browser as chromium
from tests.web.world import World

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "envelope.json").read_text(encoding="utf-8")
)["cases"]
SEED = "A" * 43

READ = """
async (cases) => {
  const { accessToken, boundTo, fromBase64url, open, EnvelopeDamaged } = await import("/static/envelope.js");
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return Promise.all(cases.map(async (one) => {
    const seed = fromBase64url(one.seed);
    const read = { access_token: await accessToken(seed), bound_to: hex(boundTo(one.context)) };
    try {
      return { ...read, secret: await open(fromBase64url(one.envelope), seed, one.context) };
    } catch (error) {
      return { ...read, damaged: error instanceof EnvelopeDamaged };
    }
  }));
}
"""
NOT_BASE64URL = [
    "A",  # no number of bytes has this length
    "AB",  # bits that carry nothing are set
    "AAB",
    SEED[:-1] + "B",
    "AA==",
    "A+A/",
    "AA A",
    "AAAA\n",
    "é" * 4,
]


async def test_the_page_reads_the_vectors(desk: World) -> None:
    """Every derived value; every good envelope opens to the byte, every bad one is refused as damaged."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=await asyncio.to_thread(chromium.provide), args=chromium.arguments()
        )
        page = await browser.new_page()
        await page.goto(f"{desk.url}/k/x")
        read = await page.evaluate(READ, CASES)
        lengths = await page.evaluate(
            "async (texts) => { const { fromBase64url } = await import('/static/envelope.js');"
            " return texts.map((text) => fromBase64url(text)?.length ?? null) }",
            [*NOT_BASE64URL, "", "AA", "-_8", SEED],
        )
    for case, result in zip(CASES, read, strict=True):
        if case["opens"]:
            assert result == {
                "access_token": case["access_token"],
                "bound_to": case["bound_to"],
                "secret": case["secret"],
            }, case["name"]
        else:
            assert result["damaged"] is True, case["name"]
    assert lengths == [*[None] * len(NOT_BASE64URL), 0, 1, 2, 32]
