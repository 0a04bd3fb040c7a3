"""The vault: the vectors, to the byte; KEKs as people write them; what a source's failure says, and what it never says."""

import base64
import copy
import json
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.desk.errors import EnvelopeDamaged, KekFlaw, Unavailable
from bot.desk.model import Secret
from bot.desk.vault import Place, Vault, parsed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "deposit.json").read_text(encoding="utf-8"))
FIRST, SECOND = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
PLACE = Place("T0ACME", "g_1", "k_1")


def raw(text: str) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vault(text: str, *random: bytes) -> Vault:
    """A vault whose KEKs are these, and whose randomness is these, one after the other; else the system's."""
    given: Iterator[bytes] = iter(random)

    async def source() -> Secret:
        return Secret(text)

    def draw(count: int) -> bytes:
        drawn = next(given) if random else os.urandom(count)
        assert len(drawn) == count
        return drawn

    return Vault(source=source, random=draw)


def place(case: dict[str, Any]) -> Place:
    """What the case is bound to."""
    return Place(case["team"], case["grant"], case["key"])


@pytest.mark.parametrize("case", VECTORS["deliveries"], ids=lambda case: case["name"])
async def test_deliveries(case: dict[str, Any]) -> None:
    """Names, public keys and what is bound are those of the vectors; what opens, opens, and nothing else does."""
    desk = vault(case["kek"])
    if not case["opens"]:
        with pytest.raises(EnvelopeDamaged):
            await desk.received(
                raw(case["sealed"]), kek=case["kek_name"], place=place(case), depositor=case["depositor"]
            )
        return
    recipient = await desk.recipient(place(case), case["depositor"])
    assert recipient.kek == case["kek_name"]
    assert recipient.public_key == raw(case["public_key"])
    assert recipient.info == raw(case["info"])
    secret = await desk.received(
        raw(case["sealed"]), kek=case["kek_name"], place=place(case), depositor=case["depositor"]
    )
    assert secret.expose() == case["secret"]


@pytest.mark.parametrize("case", VECTORS["at_rest"], ids=lambda case: case["name"])
async def test_at_rest(case: dict[str, Any]) -> None:
    """With the vectors' randomness the same bytes come to rest; what opens, opens, and nothing else does."""
    sealed = raw(case["sealed"])
    if not case["opens"]:
        with pytest.raises(EnvelopeDamaged):
            await vault(case["kek"]).unwrapped(sealed, kek=case["kek_name"], place=place(case))
        return
    random = [raw(case[name]) for name in ("dek", "nonce", "wrap_nonce")]
    assert await vault(case["kek"], *random).wrapped(Secret(case["secret"]), place(case)) == (sealed, case["kek_name"])
    secret = await vault(case["kek"]).unwrapped(sealed, kek=case["kek_name"], place=place(case))
    assert secret.expose() == case["secret"]


async def test_rewrapping_changes_the_wrapping_alone() -> None:
    """The value stays under its DEK; the old KEK opens it no more, the new one does."""
    desk = vault(f"{FIRST}\n{SECOND}")
    old, new = parsed(Secret(f"{FIRST}\n{SECOND}")).values()
    sealed, name = await desk.wrapped(Secret("example-key"), PLACE)
    assert name == old.name
    anew = desk.rewrapped(sealed, old=old, new=new, place=PLACE)
    assert anew[61:] == sealed[61:]
    assert anew[1:61] != sealed[1:61]
    assert (await vault(SECOND).unwrapped(anew, kek=new.name, place=PLACE)).expose() == "example-key"
    with pytest.raises(EnvelopeDamaged):
        await desk.unwrapped(anew, kek=old.name, place=PLACE)


@pytest.mark.parametrize(
    "text", [f"{FIRST}\n{SECOND}\n", f"  {FIRST}\r\n\r\n{SECOND}", f"{FIRST},{SECOND}", f"{FIRST}\n{SECOND}\n{FIRST}\n"]
)
async def test_keks_as_people_write_them(text: str) -> None:
    """Lines, commas, blanks, the same one twice: the first wraps, the names are in order."""
    names = list(parsed(Secret(text)))
    assert names == [*parsed(Secret(FIRST)), *parsed(Secret(SECOND))]
    assert (await vault(text).first()).name == names[0]


@pytest.mark.parametrize("text", ["", " \n", "secret-but-not-base64!", f"{FIRST}\nc2hvcnQ=", FIRST[:-4], f"{FIRST}=="])
async def test_keks_that_cannot_be_read(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The operator is told the line and the mend; nothing of what was read is said or logged."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(KekFlaw) as caught:
        parsed(Secret(text))
    with pytest.raises(Unavailable) as told:
        await vault(text).wrapped(Secret("example-key"), PLACE)
    said = f"{caught.value} {told.value} {caplog.text}"
    assert "Mend" in str(caught.value)
    assert not [word for word in text.split() if word in said]


async def test_a_kek_that_is_added_is_found_without_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """What wraps is read anew, and so is a name that is not known; one that is gone is said with its name."""
    texts = [FIRST]

    async def source() -> Secret:
        return Secret(texts[0])

    desk = Vault(source=source, random=os.urandom)
    sealed, old = await desk.wrapped(Secret("example-key"), PLACE)
    texts[0] = f"{SECOND}\n{FIRST}"
    other, new = await desk.wrapped(Secret("other-key"), PLACE)
    assert old != new
    assert (await desk.unwrapped(sealed, kek=old, place=PLACE)).expose() == "example-key"
    texts[0] = SECOND
    fresh = Vault(source=source, random=os.urandom)
    assert (await fresh.unwrapped(other, kek=new, place=PLACE)).expose() == "other-key"
    with pytest.raises(Unavailable):
        await fresh.unwrapped(sealed, kek=old, place=PLACE)
    assert old in caplog.text


async def test_a_kek_hides() -> None:
    """Neither its repr nor that of what holds it shows a byte of it."""
    kek = next(iter(parsed(Secret(FIRST)).values()))
    desk = vault(FIRST)
    await desk.first()
    shown = f"{kek!r} {kek} {kek.raw!r} {desk!r}"
    assert FIRST not in shown
    assert "x01" not in shown
    for keep in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be written down"):
            keep(kek)
