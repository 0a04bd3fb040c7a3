"""The whole way with each provider: what was agreed in Slack is what the key can do at the vendor."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.settings import Settings
from sandbox.client import Message
from sandbox.server import Running
from tests.flows.browsing import Browser
from tests.flows.world import World, settings_for, world
from tests.web.test_deposit import sealed

HEAD = 'version = 1\nmanager_field = "Xf0MANAGER"\n'
RULE = """
[[rule]]
name = "keys of {provider}"
requesters = ["everyone"]
provider = "{provider}"
projects = ["*"]
permissions = ["*"]
approvers = ["manager"]
max_duration = "30d"
max_monthly_budget = 200
default_duration = "7d"
default_monthly_budget = 25
new_projects = true
invitations = true
"""
MESSAGES = [{"role": "user", "content": "Hello"}]
KEK = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="


def settings_of(servers: Running, folder: Path, **more: Any) -> Settings:
    """Every provider, each with a rule of its own."""
    return settings_for(
        servers,
        mode="socket",
        database_url=f"sqlite:///{folder / 'desk.db'}",
        folder=folder,
        policy=HEAD + "".join(RULE.format(provider=name) for name in ("openai", "openrouter", "litellm", "anthropic")),
        **{
            "openrouter_management_key": servers.openrouter_management_key,
            "openrouter_base_url": servers.openrouter_url,
            "litellm_master_key": servers.litellm_master_key,
            "litellm_base_url": servers.litellm_url,
            "anthropic_admin_key": servers.anthropic_admin_key,
            "anthropic_base_url": servers.anthropic_url,
            "kek": KEK,
            **more,
        },
    )


@pytest.fixture
async def flow(servers: Running, migrated_file: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A desk with every provider."""
    shutil.copy(migrated_file, tmp_path / "desk.db")
    async with world(servers, settings_of(servers, tmp_path)) as running:
        yield running


async def revealed(flow: World, outcome: Message) -> str:
    """Ben picks up and opens: the key's value."""
    assert (await flow.ben.click(outcome, "pick_up")).acknowledged
    async with Browser(flow.settings.public_url) as browser:
        await browser.sign_in("U0BEN")
        return await browser.reveal(await flow.link())


async def status(flow: World, url: str, key: str, **body: Any) -> int:
    """What a vendor answers to whoever shows this key."""
    answer = await flow.http.post(url, headers={"Authorization": f"Bearer {key}"}, json=body)
    return answer.status_code


@pytest.mark.parametrize("provider", ["openrouter", "litellm"])
async def test_a_dollar_for_embeddings_only(flow: World, provider: str) -> None:
    """Asked for, approved, picked up, revealed: it embeds, does nothing else, stops at a dollar, and ends when revoked."""
    url = {"openrouter": flow.servers.openrouter_url, "litellm": flow.servers.litellm_url}[provider]
    prefix = "openai/" if provider == "openrouter" else ""

    async def call(key: str, path: str, model: str, **body: object) -> int:
        return await status(flow, url + path, key, model=prefix + model, **body)

    snapshot = (await flow.sandbox.state("U0ANA"))[provider]
    project = next(it["id"] for it in snapshot["projects"] if it["name"] == "lab")
    outcome = await flow.approved(provider=provider, project=project, permission="embeddings", budget="1")
    key = await revealed(flow, outcome)
    [made] = (await flow.sandbox.state("U0ANA"))[provider]["keys"]
    assert made["status"] == "active"

    assert await call(key, "/embeddings", "text-embedding-3-small", input="Hello") == 200
    assert await call(key, "/chat/completions", "gpt-5-mini", messages=MESSAGES) in (403, 404)
    # Two cents buy a million tokens, and four letters are one.
    assert await call(key, "/embeddings", "text-embedding-3-small", input=["x" * 4_000_000] * 50) == 200
    assert await call(key, "/embeddings", "text-embedding-3-small", input="Hello") in (403, 422)

    assert (await flow.ben.click(await flow.ben.home(), "revoke")).acknowledged
    await flow.over()
    assert await call(key, "/embeddings", "text-embedding-3-small", input="Hello") == 401
    [gone] = (await flow.sandbox.state("U0ANA"))[provider]["keys"]
    assert gone["status"] == "revoked"


async def test_openai_for_embeddings_only(flow: World) -> None:
    """The scopes stand on the key: it embeds, and is refused anything else."""
    url = flow.servers.openai_url
    key = await revealed(flow, await flow.approved(permission="embeddings"))
    assert await status(flow, f"{url}/embeddings", key, model="text-embedding-3-small", input="Hello") == 200
    assert await status(flow, f"{url}/chat/completions", key, model="gpt-5-mini", messages=MESSAGES) == 403
    assert await status(flow, f"{url}/responses", key, model="gpt-5-mini", input="Hello") == 403


async def test_a_new_project_holds_its_key_to_models_and_to_a_dollar(flow: World) -> None:
    """The project is made at pick-up with what was agreed as its own limits; the card said so before."""
    url = f"{flow.servers.openai_url}/chat/completions"
    new = {"text": {"type": "plain_text", "text": "New project: search-dev"}, "value": "new:search-dev"}
    await flow.ask(project=new, permission="chat", models=["gpt-5-mini"], budget="1")
    card = await flow.card(flow.ana)
    assert "with gpt-5-mini in the new project search-dev" in card.plain.replace("*", "")
    projects = (await flow.sandbox.state("U0ANA"))["openai"]["projects"]
    assert "search-dev" not in [one["name"] for one in projects]
    assert (await flow.ana.click(card, "approve")).acknowledged
    key = await revealed(flow, await flow.offer())
    projects = (await flow.sandbox.state("U0ANA"))["openai"]["projects"]
    assert "search-dev" in [one["name"] for one in projects]

    assert await status(flow, url, key, model="gpt-5-mini", messages=MESSAGES) == 200
    assert await status(flow, url, key, model="gpt-4.1-mini", messages=MESSAGES) == 403
    spent = {"model": "gpt-5-mini", "messages": MESSAGES, "max_completion_tokens": 1_000_000}
    assert await status(flow, url, key, **spent) == 200
    assert await status(flow, url, key, model="gpt-5-mini", messages=MESSAGES) == 429


async def test_anthropic_by_a_person(flow: World) -> None:
    """Approved, made in the Console by hand, brought, picked up, used; archived when it is given back."""
    await flow.ask(provider="anthropic", project="wrkspc_lab", permission="all")
    assert (await flow.ana.click(await flow.card(flow.ana), "approve")).acknowledged
    task = await flow.ana.expect_message("keydesk-k_")
    [marker] = set(re.findall(r"keydesk-(k_[a-z2-7]+)", f"{task.plain} {task.blocks}"))
    made = await flow.sandbox.post("anthropic/key", name=f"keydesk-{marker}", workspace="wrkspc_lab")
    async with Browser(flow.settings.public_url) as ana:
        await ana.sign_in("U0ANA", f"/d/{marker}")
        told = (await ana.post(f"/api/deposits/{marker}/look", {})).json()
        body = {"kek": told["recipient"]["kek"], "sealed": sealed(made["value"], told["recipient"])}
        assert (await ana.post(f"/api/deposits/{marker}/bring", body)).status_code == 200
    key = await revealed(flow, await flow.offer())
    assert key == made["value"]

    async def ask() -> int:
        answer = await flow.http.post(
            f"{flow.servers.anthropic_url}/v1/messages",
            headers={"x-api-key": key, "anthropic-version": "2023-06-01"},
            json={"model": "claude-haiku-4-5", "max_tokens": 10, "messages": MESSAGES},
        )
        return answer.status_code

    assert await ask() == 200
    assert (await flow.ben.click(await flow.ben.home(), "revoke")).acknowledged
    await flow.over()
    assert await ask() == 401


@pytest.mark.parametrize(("provider", "project"), [("openai", "proj_lab"), ("anthropic", "wrkspc_lab")])
async def test_an_invitation_arrives(flow: World, provider: str, project: str) -> None:
    """Asked for in place of a key, approved, sent to the mail address that Slack knows, and accepted."""
    assert (await flow.ben.command("/apikey request")).acknowledged
    form = await flow.form(provider)
    assert (await flow.ben.click(form, f"wish@{provider}", "invitation")).acknowledged
    form = await flow.ben.expect(
        lambda seen: view if (view := flow.ben.top(seen)) and "permission" not in view.inputs else None
    )
    ack = await flow.ben.submit(form, project=project, reason="To look at the dashboards", wish="invitation")
    assert (ack.acknowledged, ack.errors) == (True, {})
    card = await flow.card(flow.ana)
    assert "asks for an invitation to" in card.plain
    assert (await flow.ana.click(card, "approve")).acknowledged
    await flow.ben.expect_message("You are invited")
    await flow.sandbox.post(f"{provider}/accept", email="ben@acme.example")
    assert "grant.invited" in await flow.acts()
    assert "key.minted" not in await flow.acts()


async def test_a_wrong_credential_is_told_and_hides_nothing_else(servers: Running, tmp_path: Path) -> None:
    """The form says what is wrong with that provider, and asks at the others as ever."""
    wrong = SecretStr("sk-ant-admin01-wrong-0123456789")
    async with world(servers, settings_of(servers, tmp_path, anthropic_admin_key=wrong)) as flow:
        assert (await flow.ben.command("/apikey request")).acknowledged
        form = await flow.form("anthropic")
        form = await flow.ben.expect_modal("does not accept")
        await flow.ben.close(form)
        await flow.approved()
