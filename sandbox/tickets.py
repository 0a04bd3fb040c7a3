"""What the workspace hands out for a short while: trigger ids, and the right to answer at a response URL."""

import secrets
from dataclasses import dataclass

from sandbox.workspace import Clock, Refusal

TRIGGER_SECONDS = 3
RESPONSE_USES, RESPONSE_SECONDS = 5, 30 * 60


@dataclass
class _Trigger:
    user: str
    until: float
    view: str | None
    used: bool = False


class Triggers:
    """Each opens one view, for its member, within three seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: dict[str, _Trigger] = {}

    def issue(self, user: str, *, view: str | None = None) -> str:
        """A trigger id for an interaction of the member, in a view where it came from one."""
        now = self._clock()
        id = f"{int(now * 1000)}.{secrets.randbelow(10**10)}.{secrets.token_hex(16)}"
        self._issued[id] = _Trigger(user, now + TRIGGER_SECONDS, view)
        return id

    def exchange(self, id: str | None) -> tuple[str, str | None]:
        """The member, and the view it came from."""
        trigger = self._issued.get(id or "")
        if trigger is None:
            raise Refusal("invalid_trigger_id")
        if trigger.used:
            raise Refusal("exchanged_trigger_id")
        if self._clock() > trigger.until:
            raise Refusal("expired_trigger_id")
        trigger.used = True
        return trigger.user, trigger.view


@dataclass
class ResponseUrl:
    """The right to answer a member's command or click. `message` is the one that was clicked in."""

    user: str
    channel: str
    message: str | None
    until: float
    uses: int = RESPONSE_USES


class ResponseUrls:
    """The issued response URLs, by their token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: dict[str, ResponseUrl] = {}

    def issue(self, user: str, channel: str, message: str | None = None) -> str:
        """A token for a new response URL."""
        token = secrets.token_urlsafe(18)
        self._issued[token] = ResponseUrl(user, channel, message, self._clock() + RESPONSE_SECONDS)
        return token

    def use(self, token: str) -> ResponseUrl:
        """What the URL is for; counts as one of its uses."""
        url = self._issued.get(token)
        if url is None:
            raise Refusal("no_such_url")
        if self._clock() > url.until:
            raise Refusal("expired_url")
        if not url.uses:
            raise Refusal("used_url")
        url.uses -= 1
        return url
