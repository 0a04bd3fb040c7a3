"""Ids: short enough to read aloud, random enough not to meet."""

import base64

from bot.desk.ports import Random


def new_id(kind: str, random: Random) -> str:
    """One letter for the kind of thing, then 80 random bits in lower-case base32: "g_4fzqkx7m2adpw3ye"."""
    return f"{kind}_{base64.b32encode(random(10)).decode('ascii').lower()}"
