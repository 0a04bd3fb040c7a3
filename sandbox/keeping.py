"""The file that lets a demo survive a restart."""

import json
import os
from pathlib import Path

from sandbox.workspace import Json

NAME = "sandbox.json"


class StateFile:
    """`sandbox.json` in a folder. Without a folder it is always empty."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / NAME if folder else None

    @property
    def keeps(self) -> bool:
        """Whether anything is written."""
        return self._path is not None

    def read(self) -> Json:
        """What was last written, or nothing."""
        if self._path is None or not self._path.exists():
            return {}
        held: Json = json.loads(self._path.read_text(encoding="utf-8"))
        return held

    def write(self, state: Json) -> None:
        """Takes the place of what was there, all of it or not at all."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(state), encoding="utf-8")
        os.replace(fresh, self._path)
