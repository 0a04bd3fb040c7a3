"""Where the KEKs come from: a file, an environment variable, or a command. Read anew each time they are asked for."""

import asyncio
import shlex
from pathlib import Path

from bot.desk.errors import KekFlaw
from bot.desk.model import Secret
from bot.desk.vault import Hidden, KekSource
from bot.settings import Settings

PATIENCE = 15.0  # seconds for a command: a secret manager in the cloud answers within a few
LARGEST = 64 * 1024  # bytes


def source(settings: Settings) -> KekSource | None:
    """Reads what the settings name; None where they name nothing."""
    if settings.kek_file is not None:
        file = settings.kek_file
        return lambda: _from_file(file)
    if settings.kek_command is not None:
        command = shlex.split(settings.kek_command)
        return lambda: _from_command(command)
    if settings.kek is not None:
        given = settings.kek

        async def read() -> Secret:
            return Secret(given.get_secret_value())

        return read
    return None


async def _from_file(file: Path) -> Secret:
    try:
        return Secret(await asyncio.to_thread(file.read_text, encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise KekFlaw(f"KEK_FILE cannot be read: {why}. Mend: its path, and who may read it") from None


async def _from_command(command: list[str]) -> Secret:
    """What it prints. What it says of errors goes to the desk's own stderr, for the operator."""
    mend = "Mend: run KEK_COMMAND by hand; it prints the KEKs, one a line, and exits with 0"
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise KekFlaw(f"KEK_COMMAND does not start: {error.strerror}. {mend}") from None
    try:
        async with asyncio.timeout(PATIENCE):
            told = Hidden((await process.communicate())[0])
    except TimeoutError:
        raise KekFlaw(f"KEK_COMMAND did not end within {PATIENCE:.0f} seconds. {mend}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise KekFlaw(f"KEK_COMMAND exits with {process.returncode}. {mend}")
    try:
        return Secret(told[:LARGEST].decode("ascii"))
    except UnicodeDecodeError:
        raise KekFlaw(f"KEK_COMMAND prints what is not text. {mend}") from None
