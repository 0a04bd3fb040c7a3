"""The browser that the tests drive: the system's Chromium, else Playwright's, else the distribution's package.

`python -m tests.browser` makes sure that there is one, and says what to do where it cannot.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of a Chromium on this machine, or None."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def arguments() -> list[str]:
    """What Chromium must be started with: root cannot use its sandbox, and small machines have little shared memory."""
    return ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def provide() -> str:
    """Finds a Chromium, or gets one. Raises SystemExit with what to do where neither goes."""
    if path := find():
        return path
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    own = [sys.executable, "-m", "playwright"]
    ways = [[[*own, "install", "chromium"], [*own, "install-deps", "chromium"]]]
    if shutil.which("apt-get"):
        ways.append([[*as_root, "apt-get", "update", "-qq"], [*as_root, "apt-get", "install", "-y", "-qq", "chromium"]])
    for way in ways:
        print("No Chromium here yet. Getting one:", " ".join(way[0]), flush=True)
        try:
            for command in way:
                subprocess.run(
                    command,
                    check=True,
                    timeout=600,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                )
        except (subprocess.SubprocessError, OSError):
            continue
        if path := find():
            return path
    raise SystemExit(
        "The tests need a Chromium. Mend: install the package `chromium` or `google-chrome`, and run again."
    )


if __name__ == "__main__":
    provide()
