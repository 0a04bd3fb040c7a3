"""Keeps the state in a file, so that a demo survives a restart."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from sandbox.credentials import Credentials
from sandbox.openai import PretendOpenAI
from sandbox.workspace import Json, Workspace

FILE = "sandbox.json"
WAIT_SECONDS, PAUSE_SECONDS = 3600.0, 0.3


class Keeper:
    """Reads `sandbox.json` from the folder and writes it after changes; without a folder it does neither."""

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / FILE if folder else None
        self._held: Json = {}
        if self._file and self._file.exists():
            self._held = json.loads(self._file.read_text(encoding="utf-8"))
        self.credentials = Credentials(**self._held.get("credentials", {}))
        self._workspace: Workspace | None = None
        self._openai: PretendOpenAI | None = None
