"""The flows' desk and sandbox, here to look at the skin. The flows run on both databases; here SQLite is enough."""

import shutil
from pathlib import Path

import pytest

from tests.flows.conftest import flow, mode, servers  # noqa: F401  # fixtures: used by name


@pytest.fixture
def database_url(migrated_file: Path, tmp_path: Path) -> str:
    """A fresh database. The skin does not know which kind it stands on."""
    path = tmp_path / "keydesk.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"
