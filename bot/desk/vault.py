"""The vault: how a deposited key's value comes to the desk, and how it rests until its holder picks it up.

Beside the envelope the only module with cryptography. The byte formats are specified in docs/deposits.md, with vectors
that these functions and the deposit page's script both pass:

    KEK         32 random bytes that the operator keeps; only ever the input of HKDF-SHA256 (RFC 5869), by `info`:
                its name, what wraps, and for each deposit the scalar of a recipient's key pair on P-256
    delivery    HPKE (RFC 9180), base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: enc | ciphertext
    at rest     version (1 byte) | nonce (12) | wrapped DEK (48) | nonce (12) | AES-256-GCM ciphertext and tag
    bound to    pre-authentication encoding (PASETO, section 2.2.1) of the version and the context
"""

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bot.desk.envelope import encoded
from bot.desk.errors import EnvelopeDamaged, KekFlaw, Unavailable
from bot.desk.model import Secret, Unwritten
from bot.desk.ports import Random

log = logging.getLogger(__name__)

VERSION = 1
KEK_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1: 96 bits
TAG_BYTES = 16
WRAPPED_BYTES = NONCE_BYTES + 32 + TAG_BYTES
INFO_NAME = b"keydesk-deposit/1/kek-name"
INFO_WRAP = b"keydesk-deposit/1/wrap"
INFO_RECIPIENT = b"keydesk-deposit/1/recipient/"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # NIST SP 800-186, section 3.2.1.3
P256_SEED_BYTES = 48  # FIPS 186-5, appendix A.2.1: 128 bits more than the order has, so that nothing is likelier

SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

T = TypeVar("T")

KekSource = Callable[[], Awaitable[Secret]]
"""Reads the operator's KEKs anew, as text. Raises `KekFlaw`."""


class Hidden(Unwritten, bytes):
    """The bytes of a key. Hides in `repr` and `str`, so that no report of an error's locals shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Hidden(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Kek(Unwritten):
    """A key-encryption key. `name` is a short hash of it, which may be shown."""

    name: str
    raw: Hidden


@dataclass(frozen=True, slots=True)
class Place:
    """What a deposit is bound to: whose it is, wherever it rests."""

    team: str
    grant: str
    key: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """To whom the depositor's browser seals: the name of the KEK behind it, the public key, and what it binds."""

    kek: str
    public_key: bytes
    info: bytes


class Vault:
    """The KEKs of this desk. They are read anew where a new value is to be sealed, or a name is not known.

    So a KEK that was added takes effect without a restart.
    """

    def __init__(self, *, source: KekSource | None, random: Random) -> None:
        self._source = source
        self._random = random
        self._known: Mapping[str, Kek] = {}

    async def first(self) -> Kek:
        """The KEK that wraps, as its source has it now. Raises `KekFlaw`."""
        return next(iter((await self._read()).values()))

    async def named(self, name: str) -> Kek | None:
        """The KEK of this name; None where the source does not hold it. Raises `KekFlaw`."""
        return self._known.get(name) or (await self._read()).get(name)

    async def _read(self) -> Mapping[str, Kek]:
        if self._source is None:
            raise KekFlaw("no KEK is set. Mend: set KEK_FILE, KEK_COMMAND or KEK; docs/operating.md says how")
        self._known = parsed(await self._source())
        return self._known

    # ---- from the depositor's browser

    async def recipient(self, place: Place, depositor: str) -> Recipient:
        """To whom a browser may seal this deposit now. Nothing of it is stored. Raises `Unavailable`."""
        kek = await _usable(self.first())
        public = _private_key(kek, place.key).public_key()
        return Recipient(
            kek.name,
            public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            bound_to("delivery", place, kek.name, depositor),
        )

    async def received(self, sealed: bytes, *, kek: str, place: Place, depositor: str) -> Secret:
        """What a browser sealed. Raises `EnvelopeDamaged`, also for a KEK that is gone, and `Unavailable`."""
        found = await _usable(self.named(kek))
        if found is None:
            raise EnvelopeDamaged("the KEK that it was sealed to is gone")
        info = bound_to("delivery", place, kek, depositor)
        try:
            return Secret(SUITE.decrypt(sealed, _private_key(found, place.key), info=info).decode())
        except (InvalidTag, ValueError):
            raise EnvelopeDamaged("the bytes or the context were changed") from None

    # ---- at rest

    async def wrapped(self, secret: Secret, place: Place) -> tuple[bytes, str]:
        """The value at rest, under a DEK of its own, and the name of the KEK that wraps it. Raises `Unavailable`."""
        kek = await _usable(self.first())
        dek, nonce = Hidden(self._random(32)), self._random(NONCE_BYTES)
        body = nonce + AESGCM(dek).encrypt(nonce, secret.expose().encode(), bound_to("value", place))
        return bytes([VERSION]) + self._wrap(dek, kek, place) + body, kek.name

    async def unwrapped(self, sealed: bytes, *, kek: str, place: Place) -> Secret:
        """The value. Raises `EnvelopeDamaged` for changed bytes or another place, `Unavailable` without its KEK."""
        found = await _usable(self.named(kek))
        if found is None:
            log.error("a deposit is wrapped by KEK %s, which is not there. Mend: add its line again", kek)
            raise Unavailable(
                "The desk misses the KEK of this key. Nothing is lost: tell your operator, then try again."
            )
        nonce, ciphertext = sealed[1 + WRAPPED_BYTES :][:NONCE_BYTES], sealed[1 + WRAPPED_BYTES + NONCE_BYTES :]
        try:
            dek = _unwrap(sealed, found, place)
            return Secret(AESGCM(dek).decrypt(nonce, ciphertext, bound_to("value", place)).decode())
        except (InvalidTag, ValueError):
            raise EnvelopeDamaged("the bytes or the context were changed") from None

    def rewrapped(self, sealed: bytes, *, old: Kek, new: Kek, place: Place) -> bytes:
        """The same value under the same DEK, wrapped by another KEK. Raises `EnvelopeDamaged`."""
        try:
            dek = _unwrap(sealed, old, place)
        except (InvalidTag, ValueError):
            raise EnvelopeDamaged("the bytes or the context were changed") from None
        return bytes([VERSION]) + self._wrap(dek, new, place) + sealed[1 + WRAPPED_BYTES :]

    def _wrap(self, dek: Hidden, kek: Kek, place: Place) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + AESGCM(_derive(kek, INFO_WRAP, 32)).encrypt(nonce, dek, bound_to("dek", place, kek.name))


async def _usable(asked: Awaitable[T]) -> T:
    """For who waits: what is wrong with the KEK is the operator's to know."""
    try:
        return await asked
    except KekFlaw as flaw:
        log.error("KEK: %s", flaw)
        raise Unavailable(
            "The desk cannot read its KEK now. Nothing is lost: tell your operator, then try again."
        ) from None


def parsed(text: Secret) -> Mapping[str, Kek]:
    """The KEKs of a source, by name, the one that wraps first. Raises `KekFlaw`, which repeats nothing of the text."""
    lines = [Secret(line) for line in re.split(r"[\s,]+", text.expose().strip()) if line]
    if not lines:
        raise KekFlaw("the KEK is empty. Mend: openssl rand -base64 32")
    keks: dict[str, Kek] = {}
    for number, line in enumerate(lines, start=1):
        raw = _decoded(line)
        if len(raw) != KEK_BYTES:
            raise KekFlaw(
                f"line {number} of the KEK is not base64 of {KEK_BYTES} bytes. Mend: openssl rand -base64 {KEK_BYTES}"
            )
        name = _derive(Kek("", raw), INFO_NAME, 6).hex()
        keks.setdefault(name, Kek(name, raw))
    return keks


def _decoded(line: Secret) -> Hidden:
    try:
        return Hidden(base64.b64decode(line.expose().replace("-", "+").replace("_", "/"), validate=True))
    except (binascii.Error, ValueError):
        return Hidden(b"")


def bound_to(what: str, place: Place, *more: str) -> bytes:
    """What a ciphertext is bound to: what it is, where it belongs, and what else."""
    return encoded("keydesk-deposit/1", what, place.team, place.grant, place.key, *more)


def _unwrap(sealed: bytes, kek: Kek, place: Place) -> Hidden:
    if len(sealed) < 1 + WRAPPED_BYTES + NONCE_BYTES + TAG_BYTES or sealed[0] != VERSION:
        raise ValueError("not a deposit of version 1")
    wrapped = sealed[1 : 1 + WRAPPED_BYTES]
    wrapping = AESGCM(_derive(kek, INFO_WRAP, 32))
    return Hidden(wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound_to("dek", place, kek.name)))


def _private_key(kek: Kek, key_id: str) -> ec.EllipticCurvePrivateKey:
    """The recipient's key of one deposit: every process has it that has the KEK, and nothing of it is stored."""
    seed = _derive(kek, INFO_RECIPIENT + key_id.encode(), P256_SEED_BYTES)
    return ec.derive_private_key(int.from_bytes(seed) % (P256_ORDER - 1) + 1, ec.SECP256R1())


def _derive(kek: Kek, info: bytes, length: int) -> Hidden:
    return Hidden(HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(kek.raw))
