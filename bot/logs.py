"""The log: to standard error, as text or as a line of JSON for each record, under the reference that it belongs to."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from bot.desk.reference import reference

Form = Literal["text", "json"]

TEXT = "%(asctime)s %(levelname)s %(name)s [%(reference)s]: %(message)s"
CHATTY = (
    "aiohttp",
    "alembic",  # two lines at every look whether the schema is the newest
    "apscheduler",
    "asyncio",
    "authlib",
    "httpcore",
    "httpx",
    "slack_bolt",
    "slack_sdk",
    "sqlalchemy",
)


class JsonLines(logging.Formatter):
    """One JSON object on one line for each record, with its traceback in it. docs/operating.md names its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if belongs := getattr(record, "reference", None):
            told["reference"] = belongs
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = record.stack_info
        return json.dumps(told)


def to_stderr(level: str, form: Form = "text") -> None:
    """Logs from this level on, except where libraries would log requests and statements whole."""
    handler = logging.StreamHandler()
    handler.addFilter(_refer)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(TEXT, defaults={"reference": "-"}))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Else Python's warnings would stand between the lines, in a form of their own.
    logging.captureWarnings(capture=True)
    for name in CHATTY:
        # Below this they log whole requests and statements: a link's URL is in the private answer to a pick-up.
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _refer(record: logging.LogRecord) -> bool:
    if belongs := reference():
        record.reference = belongs
    return True
