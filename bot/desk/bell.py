"""The bell: acts ring it after their commit, so that what follows starts at once and not at the next sweep."""

import asyncio


class Bell:
    """Wakes whoever listens. A lost ring loses nothing: the sweeps find the same work in the database."""

    def __init__(self) -> None:
        self._ears: list[asyncio.Event] = []

    def ear(self) -> asyncio.Event:
        """An event that each ring sets; its listener clears it before it looks for work."""
        event = asyncio.Event()
        self._ears.append(event)
        return event

    def ring(self) -> None:
        """There is work."""
        for event in self._ears:
            event.set()
