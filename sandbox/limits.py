"""Slack's rate limits, where somebody set them: so many calls of a method a minute, with a few at once, or by channel."""

import math
import time
from dataclasses import dataclass, field

from sandbox.workspace import Json

FORGET_ABOVE = 20_000  # channels; the oldest are forgotten


@dataclass
class Limit:
    """So many calls `a_minute`, `burst` of them at once. By `channel`, each channel has its own."""

    a_minute: float
    burst: int = 1
    by: str | None = None
    _level: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.a_minute <= 0 or self.burst < 1 or self.by not in (None, "channel"):
            raise ValueError("a limit has a_minute above 0, a burst of 1 or more, and is by channel or by nothing")

    def over(self, of: str) -> float:
        """For how many seconds a call is too early; 0 where it may be made, which counts it."""
        now = time.monotonic()
        level, at = self._level.get(of, (0.0, now))
        level = max(0.0, level - (now - at) * self.a_minute / 60)
        early = level + 1 > self.burst + 1e-9
        self._level.pop(of, None)
        self._level[of] = (level if early else level + 1, now)
        if len(self._level) > FORGET_ABOVE:
            del self._level[next(iter(self._level))]
        return (level + 1 - self.burst) * 60 / self.a_minute if early else 0.0


class Limits:
    """The limits that are set, by method; none, until somebody sets some. `refused` counts the calls that met one."""

    def __init__(self) -> None:
        self._limits: dict[str, list[Limit]] = {}
        self.refused = 0

    def set(self, wanted: dict[str, Json | list[Json]]) -> None:
        """These, and no others. A method may have several."""
        self._limits = {
            method: [Limit(**one) for one in (told if isinstance(told, list) else [told])]
            for method, told in wanted.items()
        }

    def retry_after(self, method: str, args: Json) -> int | None:
        """Whole seconds after which the call may be made again; None where it may be made now."""
        waits = [
            limit.over(str(args.get("channel")) if limit.by == "channel" else "")
            for limit in self._limits.get(method, ())
        ]
        if not any(waits):
            return None
        self.refused += 1
        return max(1, math.ceil(max(waits)))
