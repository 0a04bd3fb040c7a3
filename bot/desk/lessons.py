"""How to keep a key safe: what members acknowledge before they are given one, once a year."""

from datetime import datetime, timedelta

from bot.desk.audit import Act
from bot.desk.errors import LessonDue
from bot.desk.model import Actor
from bot.desk.ports import Transaction

HOLDS = timedelta(days=365)  # a year: often enough to be remembered, seldom enough to be read


def heed(tx: Transaction, actor: Actor, now: datetime, *, acknowledged: bool) -> None:
    """Lets a member go on who acknowledged within the last year, or does so now, which is recorded.

    Raises `LessonDue` for everybody else.
    """
    last = tx.lesson(actor.team, actor.id)
    if last is not None and now - last < HOLDS:
        return
    if not acknowledged:
        raise LessonDue("Before your key: read how to keep it safe. Press the button once more, and it is shown.")
    tx.learn(actor.team, actor.id, now)
    tx.record(team=actor.team, at=now, actor=actor.id, act=Act.LESSON_ACKNOWLEDGED, subject=actor.id)
