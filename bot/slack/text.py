"""Text for Slack: what people wrote made safe to show, and times, spans and money in words."""

import unicodedata
from datetime import UTC, date, datetime, timedelta

from bot.desk.model import SYSTEM

ELLIPSIS = "…"
JOINERS = "\u200c\u200d"  # scripts and emoji need them; every other invisible character can only mislead


def clean(text: str) -> str:
    """Without control characters and without those that hide, or turn the direction of, what stands around them."""
    if text.isprintable():  # most text is, and a form has hundreds of pieces: nothing is to be taken away
        return text
    lines = "\n".join(text.splitlines())
    return "".join(
        char
        for char in lines
        if char in "\n\t" or char in JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )


def plain(text: str, most: int) -> str:
    """One line for a plain-text element, cut to `most` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + ELLIPSIS


def escaped(text: str, most: int) -> str:
    """For mrkdwn: nothing in it can mention anybody or make a link. At most `most` characters, escapes counted."""
    cleaned = clean(text).strip()
    whole = cleaned.translate(_ESCAPED)
    if len(whole) <= most:
        return whole
    kept, room = [], most - 1
    for char in cleaned:
        piece = _ESCAPES.get(char, char)
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + ELLIPSIS


def name(text: str, most: int = 120) -> str:
    """A name on one line, for mrkdwn: its characters cannot close the bold or the code it stands in."""
    return escaped(" ".join(text.split()).translate(_MARKS), most) or ELLIPSIS


def quoted(text: str, most: int, lines: int = 25) -> str:
    """A person's words as a quotation, so that they cannot pass for the desk's own."""
    written = [line for line in escaped(text, most).split("\n") if line.strip()]
    if len(written) > lines:
        written = [*written[:lines], ELLIPSIS]
    return "\n".join(f"> {line}" for line in written) or f"> {ELLIPSIS}"


def mention(member: str) -> str:
    """A member by id; Slack shows the name. The desk itself by its own."""
    return "Keydesk" if member == SYSTEM else f"<@{member}>"


def when(at: datetime) -> str:
    """A moment, shown by Slack in each reader's own time zone."""
    utc = at.astimezone(UTC)
    fallback = f"{day(utc)}, {utc:%H:%M} UTC"
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{fallback}>"


def day(on: date) -> str:
    """ "5 Mar 2027" """
    return f"{on.day} {on:%b %Y}"


def span(duration: timedelta) -> str:
    """A duration in the largest unit that says it exactly: "7 days", "12 hours"."""
    minutes = max(int(duration.total_seconds()) // 60, 1)
    units = (("day", 24 * 60), ("hour", 60), ("minute", 1))
    count, unit = next((minutes // length, unit) for unit, length in units if minutes % length == 0)
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def money(cents: int) -> str:
    """US dollars, with cents only where there are some."""
    return f"${cents // 100:,}" if cents % 100 == 0 else f"${cents / 100:,.2f}"


def cost(micros: int) -> str:
    """Millionths of a US dollar, to the cent; less than half of one is said to be that."""
    cents = (micros + 5_000) // 10_000
    if cents == 0 and micros > 0:
        return "under $0.01"
    return f"${cents // 100:,}.{cents % 100:02}"


_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ESCAPED = str.maketrans(_ESCAPES)
_MARKS = {ord("*"): "∗", ord("`"): "ˋ"}
