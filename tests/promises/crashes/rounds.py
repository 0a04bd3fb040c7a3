"""Stories of desks that die while they act on what their rounds at the provider found: strays, keys that vanished, a switch."""

import os
from contextlib import suppress
from datetime import timedelta

from bot.desk.audit import Act
from bot.desk.ids import new_id
from bot.desk.states import KeyState
from tests.promises.crashes.stories import REVOKE, WRITE_DOWN, Story, rounds, rounds_to_their_end
from tests.promises.crashes.way import Way

A_DAY, HOURS = timedelta(days=1), 12


async def a_days_rounds(way: Way) -> None:
    """A day passes, and the rounds are made, the inventory with them."""
    with suppress(EOFError):
        way.flow.clock.ahead += A_DAY
        await way.flow.sandbox.advance(A_DAY.total_seconds())
    await rounds(way)


async def a_stray(way: Way) -> None:
    """Ben has his key, and beside it is one that bears the desk's marker and is nobody's."""
    await way.active()
    flow, name = way.flow, f"keydesk-{new_id('k', os.urandom)}"
    accounts = f"{flow.servers.openai_url}/organization/projects/proj_search/service_accounts"
    admin = {"Authorization": f"Bearer {flow.servers.openai_admin_key}"}
    bare = {"name": name, "create_service_account_only": True}
    account = (await flow.http.post(accounts, headers=admin, json=bare)).json()["id"]
    await flow.http.post(f"{accounts}/{account}", headers=admin, json={"role": "member"})
    made = await flow.http.post(f"{accounts}/{account}/api_keys", headers=admin, json={"name": name})
    assert made.status_code == 200, made.text


async def stray_gone(way: Way) -> str:
    """It is gone, and told of once at most; Ben's own key works."""
    acts = [entry.act for entry in (await way.flow.store.audit_chain(way.flow.team))[0]]
    assert acts.count(Act.STRAY_REVOKED) <= 1
    return await way.to_the_end()


async def deleted_by_somebody(way: Way) -> None:
    """Somebody deletes Ben's key at the provider."""
    await way.active()
    (key,) = way.keys()
    flow = way.flow
    gone = await flow.http.delete(
        f"{flow.servers.openai_url}/organization/projects/{key.project}/service_accounts/{key.handle}",
        headers={"Authorization": f"Bearer {flow.servers.openai_admin_key}"},
    )
    assert gone.status_code == 200, gone.text


async def uses_the_new_one(way: Way) -> None:
    """Ben uses his new key, hour by hour, until usage shows that he switched."""
    for _ in range(HOURS):
        held = way.keys()
        if not way.stage.desk.alive or KeyState.REVOKING in [key.state for key in held]:
            return
        assert await way.works()
        await rounds(way)


STORIES = (
    Story("a stray", (REVOKE,), a_stray, a_days_rounds, rounds_to_their_end, ends=stray_gone),
    Story("a key vanished", (WRITE_DOWN,), deleted_by_somebody, a_days_rounds, rounds_to_their_end, end="over"),
    Story("usage shows the switch", (REVOKE, WRITE_DOWN), Way.rotated, uses_the_new_one, rounds_to_their_end),
)
