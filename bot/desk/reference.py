"""The reference id: all that one delivery, one web request or one pass of a sweep logs is logged under it.

What follows in tasks of its own keeps it. A person who meets an error that nobody foresaw is shown it.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_REFERENCE: ContextVar[str | None] = ContextVar("reference", default=None)


@contextmanager
def referring() -> Iterator[str]:
    """Within it everything belongs to one new reference, which is given."""
    reference = secrets.token_hex(4)
    before = _REFERENCE.set(reference)
    try:
        yield reference
    finally:
        _REFERENCE.reset(before)


def reference() -> str | None:
    """The one that what runs now belongs to; None for what belongs to none."""
    return _REFERENCE.get()
