"""What the desk needs of the world; the edges implement it.

Errors that cross a port are those of `bot.desk.errors`; an edge translates its vendor's.
"""

from collections.abc import Callable
from datetime import datetime

from bot.desk.ports.provider import Provider
from bot.desk.ports.store import Moving, Store, Transaction
from bot.desk.ports.workspace import Directory, Line, Notifier

__all__ = ["Clock", "Directory", "Line", "Moving", "Notifier", "Provider", "Random", "Store", "Transaction"]

Clock = Callable[[], datetime]
"""Now, aware and in UTC."""

Random = Callable[[int], bytes]
"""So many bytes from the operating system's generator."""
