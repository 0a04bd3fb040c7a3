"""The pages say what the code does: a setting, state, act, command, scope or key that is not documented fails here."""

import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from bot import checkup, desk
from bot.desk import audit, due, policy, states
from bot.desk.model import NoticeKind
from bot.metrics import Metrics
from bot.settings import Settings
from bot.slack import views
from sandbox.seed import COMMANDS
from tests import gallery

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
DOCS = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANIFEST = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))


def test_every_setting_is_documented_with_its_default() -> None:
    """The table of docs/operating.md and the settings are the same list."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", DOCS["operating.md"], flags=re.MULTILINE))
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        default = field.get_default()
        if default is not None and not field.is_required():
            shown = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
            assert rows[name] == f"`{shown}`", name
        else:
            assert rows[name] == "–", name


def test_every_state_and_act_is_documented() -> None:
    """docs/lifecycle.md names each state, docs/audit.md each act."""
    for state in (*states.RequestState, *states.GrantState, *states.KeyState, *states.LinkState):
        assert f"`{state.value}`" in DOCS["lifecycle.md"], state
    for act in audit.Act:
        assert f"| `{act.value}` |" in DOCS["audit.md"], act


def test_every_room_of_the_desk_stands_once_on_its_map() -> None:
    """A newcomer finds the room of a matter in the docstring of `bot.desk`."""
    on_the_map = [
        name
        for line in re.findall(r"^- .+", str(desk.__doc__), flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", line)
    ]
    assert sorted(on_the_map) == sorted(room.name for room in pkgutil.iter_modules(desk.__path__))


def test_every_message_is_shown() -> None:
    """docs/messages.md has each message that the desk sends, with a picture that is there."""
    row = r'^\| `(\w+)` \| .+ \| <img alt="\1" src="(.+)" width="420"> \|$'
    rows = re.findall(row, DOCS["messages.md"], flags=re.MULTILINE)
    assert sorted(kind for kind, _ in rows) == sorted(gallery.TOLD) == sorted(NoticeKind)
    for _, picture in rows:
        assert (ROOT / "docs" / picture).is_file(), picture


def test_every_policy_key_is_documented_and_the_schema_is_current() -> None:
    """docs/policy.md names each key; docs/policy.schema.json is what the code makes of it."""
    kinds = (policy.PolicyFile, policy.Rule, policy.DepositKind, policy.RotationTerms)
    for key in (key for kind in kinds for key in kind.model_fields):
        assert f"| `{key}` |" in DOCS["policy.md"] or f"| `[[{key}]]` |" in DOCS["policy.md"], key
    schema = json.loads((ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8"))
    assert schema == policy.PolicyFile.model_json_schema()
    example = tomllib.loads((ROOT / "policy.example.toml").read_text(encoding="utf-8"))
    jsonschema.validate(example, schema)


def test_every_command_is_documented() -> None:
    """What `app.py --help` lists, docs/operating.md explains."""
    told = subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    commands = re.findall(r"^    ([a-z]+) ", told.stdout, flags=re.MULTILINE)
    assert commands == ["run", "demo", "check", "audit", "keys", "sweep", "migrate"]
    for command in commands:
        assert f"`app.py {command}" in DOCS["operating.md"], command


def test_every_sweep_and_figure_is_documented() -> None:
    """docs/operating.md has a line for each sweep and for each figure of /metrics, and names each kind of what is due."""
    page = DOCS["operating.md"]
    for name in due.SweepName:
        assert f"| `{name}` |" in page, name
    for kind in set(due.DueKind) - {due.DueKind.PROBE}:  # which no table holds
        assert f"`{kind}`" in page.split("## Metrics")[1].split("\n## ")[0], kind
    figures = Metrics()._registry.collect()
    told = set(re.findall(r"^\| `(keydesk_\w+?)(?:_total)?` \|", page, flags=re.MULTILINE))
    assert told == {figure.name for figure in figures if figure.name.startswith("keydesk_")}


def test_scopes_are_the_same_everywhere() -> None:
    """manifest.yml asks for what `check` wants and docs/operating.md gives reasons for; nothing more."""
    assert MANIFEST["oauth_config"]["scopes"] == {"bot": sorted(checkup.SCOPES)}
    section = DOCS["operating.md"].split("## Scopes")[1].split("##")[0]
    assert dict(re.findall(r"^\| `([a-z.:]+)` \| (.+?) \|", section, flags=re.MULTILINE)) == {
        scope: why.replace("/apikey", "`/apikey`") for scope, why in checkup.SCOPES.items()
    }


def test_slack_offers_each_command_that_help_tells_of() -> None:
    """What Slack shows beside `/apikey` while it is typed, here and in the sandbox, is what help explains."""
    (told, *_) = views.help_text()["blocks"]
    explained = re.findall(r"^• `/apikey (\w+)`", told["text"]["text"], flags=re.MULTILINE)
    for command in (*MANIFEST["features"]["slash_commands"], *COMMANDS):
        assert sorted(re.findall(r"\w+", command["usage_hint"])) == sorted(explained)


def test_the_manifest_is_one_that_slack_takes() -> None:
    """It is valid against Slack's published schema."""
    schema = DATA / "slack" / "manifest.schema.2.0.0.json"
    if not schema.exists():
        pytest.skip("../shared/data is not beside this clone: Slack's manifest schema cannot be read")
    jsonschema.validate(MANIFEST, json.loads(schema.read_text(encoding="utf-8")))


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link and picture in README and docs/ is a file of the project."""
    pages = {ROOT / "README.md": README, **{ROOT / "docs" / name: text for name, text in DOCS.items()}}
    for page, text in pages.items():
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_locks_name_no_host_and_pin_by_hash() -> None:
    """What is installed is what was looked at, from whichever index the machine uses."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        pins = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
        assert pins
        assert not [pin for pin in pins if "==" not in pin or not pin.endswith(" \\")], lock.name
        assert text.count("--hash=sha256:") >= len(pins)
