"""The envelope against vectors that were computed another way (docs/envelope.md says how)."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk import envelope
from bot.desk.errors import EnvelopeDamaged
from bot.desk.model import Context, Secret

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "envelope.json").read_text(encoding="utf-8")
)["cases"]
GOOD = [pytest.param(case, id=case["name"]) for case in CASES if case["opens"]]
BAD = [pytest.param(case, id=case["name"]) for case in CASES if not case["opens"]]


def raw(text: str) -> bytes:
    """RFC 4648, section 5, without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("case", GOOD)
def test_what_the_vectors_seal(case: dict[str, Any]) -> None:
    """Every derived value, every byte of the envelope, and back."""
    seed, context = raw(case["seed"]), Context(**case["context"])
    token = envelope.access_token(seed)
    assert token == case["access_token"]
    assert envelope.token_hash(token).hex() == case["token_hash"]
    assert envelope.token_fits(token, bytes.fromhex(case["token_hash"]))
    assert envelope.bound_to(context).hex() == case["bound_to"]
    sealed = envelope.seal(Secret(case["secret"]), seed=seed, nonce=raw(case["nonce"]), context=context)
    assert envelope.base64url(sealed) == case["envelope"]
    assert envelope.open_sealed(sealed, seed=seed, context=context).expose() == case["secret"]


@pytest.mark.parametrize("case", BAD)
def test_what_the_vectors_refuse(case: dict[str, Any]) -> None:
    """A wrong seed, a wrong context, a changed byte: nothing opens, and nothing of the key is in the error."""
    with pytest.raises(EnvelopeDamaged) as refused:
        envelope.open_sealed(raw(case["envelope"]), seed=raw(case["seed"]), context=Context(**case["context"]))
    assert "example-key" not in repr(refused.value)
    assert refused.value.__cause__ is None


texts = st.text(max_size=40)
contexts = st.builds(Context, team=texts, holder=texts, grant=texts, key=texts, link=texts, expires=texts)


@given(secret=st.text(max_size=300), seed=st.binary(min_size=32, max_size=32), context=contexts, other=contexts)
def test_only_the_same_context_opens(secret: str, seed: bytes, context: Context, other: Context) -> None:
    """Whatever is sealed opens under its own context, and under no other one."""
    sealed = envelope.seal(Secret(secret), seed=seed, nonce=bytes(12), context=context)
    assert envelope.open_sealed(sealed, seed=seed, context=context).expose() == secret
    if other != context:
        assert envelope.bound_to(other) != envelope.bound_to(context)
        with pytest.raises(EnvelopeDamaged):
            envelope.open_sealed(sealed, seed=seed, context=other)


def test_the_three_derived_values_are_independent() -> None:
    """The server sees token and commitment; neither is the data key, nor its hash."""
    seed = hashlib.sha256(b"any").digest()
    sealed = envelope.seal(Secret("x"), seed=seed, nonce=bytes(12), context=Context("", "", "", "", "", ""))
    token, commitment = raw(envelope.access_token(seed)), sealed[13:45]
    assert len({seed, token, commitment, envelope.token_hash(envelope.access_token(seed))}) == 4


@pytest.mark.parametrize(("seed", "nonce"), [(31, 12), (33, 12), (32, 11), (32, 16), (0, 0)])
def test_short_randomness_seals_nothing(seed: int, nonce: int) -> None:
    """A caller's mistake is an error, not a weak envelope."""
    with pytest.raises(ValueError, match="seed of 32 bytes"):
        envelope.seal(Secret("x"), seed=bytes(seed), nonce=bytes(nonce), context=Context("", "", "", "", "", ""))


def test_a_wrong_token_does_not_fit() -> None:
    """Neither another seed's token, nor the right one with a character more."""
    kept = envelope.token_hash(envelope.access_token(bytes(32)))
    assert not envelope.token_fits(envelope.access_token(b"\1" + bytes(31)), kept)
    assert not envelope.token_fits(envelope.access_token(bytes(32)) + "A", kept)
