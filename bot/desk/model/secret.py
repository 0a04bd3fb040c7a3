"""A key's value on its way from its provider to its holder: what holds it, and what it is wrapped in."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from bot.desk.model.grant import Grant


class Unwritten:
    """What is in memory only: it can be neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not to be written down, nor copied")


class Secret(Unwritten):
    """A key's value. Hides in `repr` and `str`; lives between mint and seal."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def expose(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Minted:
    """What a mint left: the handle to revoke by, the fingerprint to show, and the value, to be sealed at once.

    `meter` is the id that the provider reports the key's usage under; empty where that is the handle.
    """

    handle: str
    fingerprint: str
    secret: Secret
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What an envelope is bound to besides its key (additional data of AES-GCM); `expires` in RFC 3339, UTC."""

    team: str
    holder: str
    grant: str
    key: str
    link: str
    expires: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one session receives at a claim: the envelope and the context that it is bound to."""

    envelope: bytes
    context: Context
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Handover(Unwritten):
    """A pick-up done: the one URL that opens the link. It is handed out once and kept nowhere."""

    url: str = field(repr=False)
    expires_at: datetime
    grant: Grant
