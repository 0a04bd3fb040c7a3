"""Whether the workspace still has the desk's app. While it has not, nothing is sent, and what is due is revoked all the same.

A workspace takes the app away in a moment, with its token. What was due to be revoked stays due: keys die at their
providers, which know nothing of Slack. So the desk goes on without a word, and asks from time to time whether the app is
there again.
"""

import logging
from datetime import datetime, timedelta

from bot.desk.audit import Act
from bot.desk.bell import Bell
from bot.desk.errors import Unavailable
from bot.desk.model import SYSTEM, Silence
from bot.desk.ports import Clock, Line, Store, Transaction

log = logging.getLogger(__name__)

ASKED_EVERY = timedelta(minutes=1)  # whether the app is there again: soon enough for who installs it, few calls else


class Installation:
    """Keeps the desk silent while its workspace has not its app.

    A row says so to every process and to the next start; this process's own line says so at once, as its token may be
    refused while another process has a new one.
    """

    def __init__(self, *, store: Store, line: Line, bell: Bell, clock: Clock) -> None:
        self._store = store
        self._line = line
        self._bell = bell
        self._clock = clock
        self._ask_at: datetime | None = None
        self._noted = False

    @property
    def silent(self) -> bool:
        """Whether nothing is to be sent now."""
        return self._line.refused is not None

    async def look(self, because: str) -> None:
        """Somebody says that the app is gone (`because`): the workspace is asked, and the answer written down.

        Slack's events come late, twice and out of order, and the app may be there again: what counts is whether the
        workspace still takes the token. Where it cannot be asked they are believed; that is undone within a minute.
        """
        try:
            refused = await self._line.try_again()
        except Unavailable:
            self._line.hang_up(because)
        else:
            if refused is None:
                log.info("%s: an old story, the workspace has the app", because)
                return
        await self._note()

    async def tick(self) -> None:
        """Writes down what this process or another found out, and asks, each minute, whether the app is there again."""
        found = await self._store.read(lambda tx: tx.silence(self._line.team))
        if found is not None and not self.silent:
            self._line.hang_up(found.because)
            self._noted, self._ask_at = True, None
        if not self.silent:
            return
        await self._note()
        now = self._clock()
        if self._ask_at is not None and now < self._ask_at <= now + ASKED_EVERY:
            return
        self._ask_at = now + ASKED_EVERY
        try:
            refused = await self._line.try_again()
        except Unavailable as error:
            log.info("the workspace cannot be asked whether it has the app: %s", error)
            return
        if refused is None:
            await self._resume()

    async def _note(self) -> None:
        """Writes it down, once for each time: a process with a dead token may outlive the one that wrote it first."""
        because = self._line.refused
        if self._noted or because is None:
            return
        silence = Silence(self._line.team, self._clock(), because)

        def act(tx: Transaction) -> bool:
            first = tx.begin_silence(silence)
            if first:
                self._record(tx, silence.since, Act.APP_REMOVED, because=because)
            return first

        await self._store.write(act)
        self._noted = True
        log.error(
            "Slack refuses the desk (%s): the app is not installed in %s any more, or SLACK_BOT_TOKEN is not its token. "
            "Nothing is sent; what is due is revoked all the same. Mend: install the app, put its new token into "
            "SLACK_BOT_TOKEN, start the desk again.",
            because,
            silence.team,
        )

    async def _resume(self) -> None:
        now, team = self._clock(), self._line.team

        def act(tx: Transaction) -> None:
            if tx.end_silence(team):
                self._record(tx, now, Act.APP_BACK)

        await self._store.write(act)
        self._noted = False
        log.warning("the workspace %s has the app again: what was not sent meanwhile is sent now", team)
        self._bell.ring()

    def _record(self, tx: Transaction, at: datetime, act: Act, **detail: str) -> None:
        team = self._line.team
        tx.record(team=team, at=at, actor=SYSTEM, act=act, subject=team, **detail)
