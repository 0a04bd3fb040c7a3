"""Where people live, as far as their working hours go."""

from datetime import datetime

from bot.desk.due import DueKind
from bot.desk.errors import Unavailable
from bot.desk.ports import Directory, Store

MANY = 50
"""So many things due at once, and everybody is asked about together: one by one Slack answers about a hundred people a minute."""


async def many_due(kind: DueKind, now: datetime, store: Store) -> bool:
    """Whether so much of this kind is due that everybody is to be asked about together."""
    return len(await store.read(lambda tx: tx.due(kind, now, MANY))) == MANY


async def tz_of(member: str, directory: Directory) -> str:
    """The zone of this member, as an IANA name: while Slack cannot be asked the last that it named; UTC where it names none.

    For what must not wait for Slack: the app may have been taken away for good, and keys are revoked all the same. Where
    it cannot be asked nothing is sent either, and a message that can wait is held against its reader's own hours when it is.
    """
    try:
        return await known_tz(member, directory)
    except Unavailable:
        known = directory.remembered(member)
        return known.tz if known else "UTC"


async def known_tz(member: str, directory: Directory) -> str:
    """The same, for what can wait for Slack. Raises `Unavailable`."""
    person = await directory.person(member)
    return person.tz if person else "UTC"
