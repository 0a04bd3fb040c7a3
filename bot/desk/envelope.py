"""The envelope: how a key's value travels to the one browser that may open it.

With the vault, for deposits, the only module with cryptography.

The byte format is specified in docs/envelope.md, with vectors that these functions and the page's script both pass:

    seed        32 random bytes; only in the URL's fragment
    from it     HKDF-SHA256 (RFC 5869), empty salt, 32 bytes each, by the `info` strings below:
                access token, data key, commitment
    envelope    version (1 byte) | nonce (12) | commitment (32) | AES-256-GCM ciphertext and tag
    bound to    pre-authentication encoding (PASETO, section 2.2.1) of the version and the context
"""

import base64
import hashlib
import hmac
import struct
from dataclasses import astuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.desk.errors import EnvelopeDamaged
from bot.desk.model import Context, Secret, Unwritten

VERSION = 1
SEED_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1: 96 bits
COMMITMENT_BYTES = 32
INFO_ACCESS_TOKEN = b"keydesk/1/access-token"
INFO_DATA_KEY = b"keydesk/1/data-key"
INFO_COMMITMENT = b"keydesk/1/commitment"


class Seed(Unwritten, bytes):
    """The bytes that open a link. Hides in `repr` and `str`, so that no report of an error's locals shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Seed(…)"

    __str__ = __repr__


def base64url(raw: bytes) -> str:
    """RFC 4648, section 5, without padding: A-Z a-z 0-9 - _ only."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def access_token(seed: bytes) -> str:
    """What the browser shows before any claim, as it travels; the server keeps only its hash."""
    return base64url(_derive(seed, INFO_ACCESS_TOKEN))


def token_hash(token: str) -> bytes:
    """What the server keeps of an access token. The token has 256 bits of entropy, so a plain hash will do."""
    return hashlib.sha256(token.encode()).digest()


def token_fits(token: str, kept: bytes) -> bool:
    """Whether the token is the one kept, in constant time."""
    return hmac.compare_digest(token_hash(token), kept)


def seal(secret: Secret, *, seed: bytes, nonce: bytes, context: Context) -> bytes:
    """The envelope. `seed` and `nonce` are fresh random bytes, used for this envelope alone."""
    if len(seed) != SEED_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError(f"an envelope takes a seed of {SEED_BYTES} bytes and a nonce of {NONCE_BYTES}")
    ciphertext = AESGCM(_derive(seed, INFO_DATA_KEY)).encrypt(nonce, secret.expose().encode(), bound_to(context))
    return bytes([VERSION]) + nonce + _derive(seed, INFO_COMMITMENT) + ciphertext


def open_sealed(envelope: bytes, *, seed: bytes, context: Context) -> Secret:
    """What was sealed. Raises `EnvelopeDamaged` for a wrong seed, a wrong context or changed bytes."""
    header = 1 + NONCE_BYTES + COMMITMENT_BYTES
    if len(envelope) < header or envelope[0] != VERSION:
        raise EnvelopeDamaged("not an envelope of version 1")
    nonce, commitment = envelope[1 : 1 + NONCE_BYTES], envelope[1 + NONCE_BYTES : header]
    # GCM alone does not commit to its key: one ciphertext can be made that opens under two (USENIX Security 2021,
    # "Partitioning Oracle Attacks"). The commitment is compared before anything is decrypted.
    if not hmac.compare_digest(commitment, _derive(seed, INFO_COMMITMENT)):
        raise EnvelopeDamaged("the seed is not the one it was sealed with")
    try:
        return Secret(
            AESGCM(_derive(seed, INFO_DATA_KEY)).decrypt(nonce, envelope[header:], bound_to(context)).decode()
        )
    except InvalidTag:
        raise EnvelopeDamaged("the bytes or the context were changed") from None


def bound_to(context: Context) -> bytes:
    """The additional data."""
    return encoded(f"keydesk/{VERSION}", *(str(piece) for piece in astuple(context)))


def encoded(*texts: str) -> bytes:
    """The number of pieces, then each piece behind its length in bytes, all as 64-bit little-endian."""
    pieces = [text.encode() for text in texts]
    return struct.pack("<Q", len(pieces)) + b"".join(struct.pack("<Q", len(piece)) + piece for piece in pieces)


def _derive(seed: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(seed)
