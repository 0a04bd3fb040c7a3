"""The commands, as real processes."""

import asyncio
import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot import checkup
from bot.desk.due import SweepName
from bot.desk.model import RoundKind, TimerKind
from bot.settings import Settings, load
from sandbox.client import Sandbox
from sandbox.server import Running
from storage.migrate import upgrade
from tests.flows.world import World, settings_for, world

ROOT = Path(__file__).parents[2]


def environment_of(settings: Settings) -> dict[str, str]:
    """The same settings, as a process is given them."""
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }


async def command(*words: str, **environment: str) -> tuple[int, str]:
    """Runs app.py with no settings but these; its exit status and all it said."""
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "app.py"),
        *words,
        env={**base, **environment},
        cwd=environment.get("CWD", str(ROOT)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_without_settings_it_says_what_is_missing(tmp_path: Path) -> None:
    """Each missing setting is one line with its mend; the exit status says that it did not start."""
    status, said = await command("run", CWD=str(tmp_path))
    assert status == 2
    for name in ("SLACK_BOT_TOKEN", "SLACK_CLIENT_ID", "PUBLIC_URL", "SESSION_SECRET"):
        assert f"{name} is missing. Mend" in said
    assert "Traceback" not in said


@pytest.fixture
def mode() -> str:
    """The commands do not depend on it."""
    return "socket"


async def test_check_finds_nothing_wrong_where_nothing_is(flow: World) -> None:
    """A complete set-up with a running desk: every line is ok."""
    lines: list[str] = []
    assert await checkup.report(lines.append, flow.settings) == 0
    assert {line[:5] for line in lines} == {"ok   "}, "\n".join(lines)


async def test_check_names_what_is_wrong_and_its_mend(servers: Running, tmp_path: Path) -> None:
    """Wrong credentials, a missing scope, a policy nobody can read, a database without a schema: a line each."""
    good = settings_for(servers, mode="socket", database_url=f"sqlite:///{tmp_path}/new.db", folder=tmp_path)
    async with Sandbox(servers.base_url) as sandbox:
        await sandbox.set_app(redirect_urls=[f"{good.public_url}/auth/callback"])
    fields = {name: getattr(good, name) for name in type(good).model_fields}
    wrong = load(
        _env_file=None,
        **{
            **fields,
            "slack_bot_token": "xoxb-wrong",
            "slack_app_token": "xapp-wrong",
            "slack_client_secret": "wrong",
            "openai_admin_key": "sk-admin-wrong",
            "policy_file": tmp_path / "nowhere.toml",
        },
    )
    lines: list[str] = []
    assert await checkup.report(lines.append, wrong) == 1
    for topic in ("Slack bot token", "Slack app token", "Sign in with Slack", "database", "provider openai", "policy"):
        line = next(line for line in lines if topic in line)
        assert line.startswith("WRONG"), line
        assert "Mend" in line, line
    assert not [line for line in lines if "xoxb-wrong" in line or "sk-admin-wrong" in line]


async def test_audit_verify_names_the_first_entry_that_does_not_fit(servers: Running, tmp_path: Path) -> None:
    """An entry changed behind the desk's back shows, by its number."""
    database = tmp_path / "desk.db"
    upgrade(f"sqlite:///{database}")
    settings = settings_for(servers, mode="socket", database_url=f"sqlite:///{database}", folder=tmp_path)
    async with world(servers, settings) as flow:
        await flow.approved()
    environment = {
        "SLACK_BOT_TOKEN": servers.bot_token,
        "SLACK_APP_TOKEN": servers.app_token,
        "SLACK_CLIENT_ID": servers.client_id,
        "SLACK_CLIENT_SECRET": servers.client_secret,
        "PUBLIC_URL": settings.public_url,
        "SESSION_SECRET": "x" * 32,
        "DATABASE_URL": f"sqlite:///{database}",
    }
    status, said = await command("audit", "verify", **environment)
    assert (status, said) == (0, "ok    team T0ACME: 2 entries, chained and unaltered\n")
    with sqlite3.connect(database) as db:
        db.execute("UPDATE audit_entries SET actor = 'U0XAV' WHERE \"index\" = 1")
    db.close()
    status, said = await command("audit", "verify", **environment)
    assert status == 1
    assert "WRONG team T0ACME: entry 1 was altered" in said


async def test_sweep_says_what_it_would_do_and_does_it(servers: Running, tmp_path: Path, migrated_file: Path) -> None:
    """A link lapsed while no desk was up: a dry run lists it and touches nothing; a pass closes it, another kills its key."""
    database = Path(shutil.copy(migrated_file, tmp_path / "desk.db"))
    settings = settings_for(servers, mode="http", database_url=f"sqlite:///{database}", folder=tmp_path)
    async with world(servers, settings) as flow:
        await flow.picked_up()
    with sqlite3.connect(database) as db:
        db.execute("UPDATE links SET expires_at = datetime('now', '-3 minutes') || '.000000'")
    db.close()
    environment = environment_of(settings)
    async with Sandbox(servers.base_url) as sandbox:
        asked, stands = len((await sandbox.record())["calls"]), database.read_bytes()
        status, said = await command("sweep", "--dry-run", **environment)
        assert status == 0, said
        for name in SweepName:
            assert f"\n{name}: " in f"\n{said}"
        assert re.search(
            r"WHAT +WHICH +WHOSE +DUE SINCE +TRIED\n +close the open link  \S+  U0BEN .*, 3 minutes ago\n", said
        )
        status, said = await command("sweep", "retire", "--dry-run", **environment)
        assert said.splitlines()[1:] == ["  nothing is due"]
        assert (len((await sandbox.record())["calls"]), database.read_bytes()) == (asked, stands)
        assert len(await sandbox.openai_keys()) == 1
        status, said = await command("sweep", "reconcile", **environment)
        assert (status, said.startswith("ok    reconcile: 1 handled in ")) == (0, True), said
        status, said = await command("sweep", "retire", "--dry-run", **environment)
        assert re.search(r"\n +revoke  k_\w+ +U0BEN .*, just now\n", said), said
        status, said = await command("sweep", "retire", **environment)
        assert status == 0, said
        assert await sandbox.openai_keys() == []


async def test_sweep_says_what_each_timer_and_round_is_for(
    servers: Running, tmp_path: Path, migrated_file: Path
) -> None:
    """In words of its own, one for each kind that there is."""
    database = Path(shutil.copy(migrated_file, tmp_path / "desk.db"))
    settings = settings_for(servers, mode="http", database_url=f"sqlite:///{database}", folder=tmp_path)
    past = "2026-01-05 09:00:00.000000"
    with sqlite3.connect(database) as db:
        for kind in TimerKind:
            db.execute("INSERT INTO timers VALUES ('T0ACME', ?, 'r_1', ?, 0, 0)", (kind, past))
        for of in RoundKind:
            db.execute(
                "INSERT INTO rounds (team, provider, kind, due_at, attempts) VALUES ('T0ACME', 'openai', ?, ?, 0)",
                (of, past),
            )
    db.close()
    status, said = await command("sweep", "--dry-run", **environment_of(settings))
    assert status == 0, said
    for name, kinds in (("timers", TimerKind), ("rounds", RoundKind)):
        lines = said.split(f"\n{name}: ")[1].split("\n  WHAT")[1].split("\n")[1 : len(kinds) + 1]
        does = {line.split("  ")[1] for line in lines}
        assert len(does) == len(kinds), said
        assert not does & set(kinds)


async def test_sweep_names_what_there_is(tmp_path: Path) -> None:
    """An unknown name is answered with the names."""
    status, said = await command("sweep", "everything", CWD=str(tmp_path))
    assert status == 2
    assert "'everything'" in said
    assert not [name for name in SweepName if name not in said]
