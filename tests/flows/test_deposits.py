"""Keys that people bring, over the wire: in the sandbox's Slack, in a real browser, and as an operator's commands."""

import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from bot import checkup, kek
from bot.desk.errors import KekFlaw
from bot.settings import SettingsFlaw, load
from sandbox.server import Running
from tests.flows.browsing import Browser as Headless
from tests.flows.story import DepositStory, Story
from tests.flows.test_browser_way import browser
from tests.flows.test_command_line import command
from tests.flows.world import World, settings_for, world
from tests.test_settings import GOOD
from tests.web.test_deposit import sealed

__all__ = ["browser"]  # a fixture

VALUE = "mapbox-live-0123456789-abcdefghijklmnopqrstuvwxyz"
FIRST, SECOND = ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=")
KINDS = """
[[deposit]]
id = "mapbox"
name = "Mapbox"
instructions = '''
Account, Access tokens, Create a token. Public scopes only.
'''

[[rule]]
name = "other services"
requesters = ["everyone"]
provider = "deposit"
projects = ["*"]
permissions = ["use"]
approvers = ["U0ANA"]
max_duration = "30d"
max_monthly_budget = 200
"""
POLICY = 'version = 1\napproval_channel = "C0KEYS"\n' + KINDS
ASKED: dict[str, Any] = {"provider": "deposit", "project": "mapbox", "permission": "use", "budget": None}


@pytest.fixture
def mode() -> str:
    """Deposits do not depend on it."""
    return "socket"


@pytest.fixture
async def flow(servers: Running, mode: str, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A desk whose policy has a kind of deposit."""
    keks = tmp_path / "kek"
    keks.write_text(FIRST + "\n", encoding="ascii")
    settings = settings_for(
        servers, mode=mode, database_url=database_url, folder=tmp_path, policy=POLICY, kek_file=str(keks)
    )
    async with world(servers, settings) as running:
        yield running


async def test_from_the_card_to_the_key_and_to_its_end_by_hand(flow: World, browser: Browser) -> None:  # a fixture
    """Ben asks, Ana approves and brings the key, Ben opens it; he gives it back, and Ana says that she revoked it.

    In nothing that Slack was told, and in no entry, is a character of the value.
    """
    story, deposit = Story(browser, flow.servers.base_url), DepositStory()
    await flow.ask(**ASKED)
    await flow.ana.click(await flow.card(flow.ana), "approve")
    ana = await story.person("U0ANA", "D0ANA")
    await deposit.bring(ana, VALUE, "Ana Ruiz")
    here = await flow.ben.expect_message("is here")
    assert "pick_up" in here.buttons
    await flow.ben.click(here, "pick_up")
    url = await flow.link()
    async with Headless(flow.settings.public_url) as ben:
        await ben.sign_in("U0BEN")
        assert await ben.reveal(url) == VALUE
    card = await flow.ana.expect_message("Handed in")
    assert not card.urls

    held = await flow.ben.expect(
        lambda seen: next((one for one in reversed(flow.ben.visible(seen)) if "revoke" in one.buttons), None)
    )
    await flow.ben.click(held, "revoke")
    await flow.ben.expect_message("still works")
    await deposit.revoke_by_hand(ana)
    await expect(ana.get_by_test_id("message").filter(has_text="Revoked: a key for Mapbox").last).to_be_visible()
    await flow.ben.expect_message("The key is dead")
    assert (await flow.acts())[-3:] == ["key.by_hand", "key.revoked", "grant.ended"]
    told = json.dumps(await flow.sandbox.record())
    entries, _ = await flow.store.audit_chain(flow.team)
    for piece in (VALUE, VALUE[:20], VALUE[-12:]):
        assert piece not in told
        assert piece not in str(entries)


async def test_rotation_while_a_desk_serves(flow: World, tmp_path: Path) -> None:
    """A key rests, KEKs are rotated by the command, the old line goes: the desk that ran all the while hands it out."""
    await flow.ask(**ASKED)
    await flow.ana.click(await flow.card(flow.ana), "approve")
    card = await flow.ana.expect_message("bring it here")
    key_id = next(url for url in card.urls if "/d/" in url).rpartition("/")[2]
    async with Headless(flow.settings.public_url) as ana:
        await ana.sign_in("U0ANA", f"/d/{key_id}")
        await brought(ana, key_id, VALUE)
    keks = tmp_path / "kek"
    environment = {
        **{name.upper(): value for name, value in GOOD.items()},
        "DATABASE_URL": flow.settings.database_url.get_secret_value(),
        "KEK_FILE": str(keks),
        "CWD": str(tmp_path),
    }
    assert "ok    0 deposits" in (await command("keys", "rotate", **environment))[1]
    keks.write_text(f"{SECOND}\n{FIRST}\n", encoding="ascii")
    status, said = await command("keys", "rotate", **environment)
    assert (status, said.splitlines()[0][:16]) == (0, "ok    1 deposits")
    assert FIRST not in said
    keks.write_text(SECOND + "\n", encoding="ascii")
    assert (await command("keys", "rotate", **environment))[0] == 0
    here = await flow.ben.expect_message("is here")
    await flow.ben.click(here, "pick_up")
    url = await flow.link()
    async with Headless(flow.settings.public_url) as ben:
        await ben.sign_in("U0BEN")
        assert await ben.reveal(url) == VALUE


async def brought(browser: Headless, key_id: str, value: str) -> None:
    """What the page does."""
    recipient = (await browser.post(f"/api/deposits/{key_id}/look", {})).json()["recipient"]
    answer = await browser.post(
        f"/api/deposits/{key_id}/bring", {"sealed": sealed(value, recipient), "kek": recipient["kek"]}
    )
    assert answer.status_code == 200, answer.text


async def test_a_desk_that_needs_a_kek_does_not_start_without(servers: Running, tmp_path: Path) -> None:
    """One line with the mend, whatever is wrong with it; `check` says the same; nothing of a KEK is repeated."""
    unreadable, wrong = tmp_path / "gone", tmp_path / "wrong"
    wrong.write_text("this is no KEK\n", encoding="ascii")
    for more, says in (
        ({}, "no KEK is set. Mend: set KEK_FILE, KEK_COMMAND or KEK"),
        ({"kek_file": str(unreadable)}, "KEK_FILE cannot be read"),
        ({"kek_file": str(wrong)}, "line 1 of the KEK is not base64 of 32 bytes"),
        ({"kek_command": "false"}, "KEK_COMMAND exits with 1"),
        ({"kek_command": "no-such-program-here"}, "KEK_COMMAND does not start"),
    ):
        settings = settings_for(
            servers,
            mode="socket",
            database_url=f"sqlite:///{tmp_path}/desk.db",
            folder=tmp_path,
            policy=POLICY,
            **more,
        )
        with pytest.raises(Exception, match="KEK") as stopped:
            async with world(servers, settings):
                pass
        assert type(stopped.value).__name__ == "CannotStart"
        assert says in str(stopped.value)
        assert "no KEK\n" not in str(stopped.value)
        lines: list[str] = []
        await checkup.report(lines.append, settings)
        assert [line for line in lines if line.startswith("WRONG") and says in line], lines


async def test_keks_from_a_file_a_command_and_the_environment(tmp_path: Path) -> None:
    """Each is read anew when it is asked; a command runs without a shell, and its arguments are its own business."""
    file, program = tmp_path / "kek", tmp_path / "with space.py"
    file.write_text(FIRST, encoding="ascii")
    program.write_text("import sys; print(open(sys.argv[1]).read() if sys.argv[2] == '$HOME;x' else '')", "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    sources = {
        "kek_file": str(file),
        "kek_command": f"'{sys.executable}' '{program}' '{file}' '$HOME;x'",
    }
    for name, given in sources.items():
        source = kek.source(load(_env_file=None, **GOOD, **{name: given}))
        assert source is not None
        file.write_text(FIRST, encoding="ascii")
        assert (await source()).expose().strip() == FIRST
        file.write_text(f"{SECOND}\n{FIRST}", encoding="ascii")
        assert (await source()).expose().split() == [SECOND, FIRST]
    source = kek.source(load(_env_file=None, **GOOD, kek=FIRST))
    assert source is not None
    assert (await source()).expose() == FIRST
    assert kek.source(load(_env_file=None, **GOOD)) is None
    file.write_bytes(b"\xff\xfe")
    for name, given in sources.items():
        source = kek.source(load(_env_file=None, **GOOD, **{name: given}))
        assert source is not None
        with pytest.raises(KekFlaw, match=r"KEK_.*Mend"):
            await source()


def test_one_source_of_keks() -> None:
    """Two of them, or a command that cannot be read, stop the start; neither value is repeated."""
    with pytest.raises(SettingsFlaw, match=r"KEK_FILE and KEK are both set. Mend"):
        load(_env_file=None, **GOOD, kek_file="/somewhere", kek=FIRST)
    with pytest.raises(SettingsFlaw, match=r"KEK_COMMAND has a quotation mark that nothing closes. Mend"):
        load(_env_file=None, **GOOD, kek_command="print 'kek")
    assert FIRST not in repr(load(_env_file=None, **GOOD, kek=FIRST))
