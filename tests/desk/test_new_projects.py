"""A key in a project that is made for it, and held to models."""

import pytest

from bot.desk.audit import Act
from bot.desk.errors import DraftRejected, ProviderTransient
from bot.desk.states import GrantState, KeyState
from tests.desk.world import BEN, CARA, MINUTE, World, draft


async def test_the_project_is_made_when_the_key_is_picked_up(world: World) -> None:
    """Approval makes nothing. The project's id is written down before any key is made in it."""
    grant = await world.approved(what=draft(project="new:search-dev"))
    assert [project.name for project in world.vendor.made] == ["search-prod"]
    handover = await world.delivering(grant)
    assert [project.name for project in world.vendor.made] == ["search-prod", "search-dev"]
    assert (handover.grant.draft.scope.project, handover.grant.draft.project_name) == ("proj_1", "search-dev")
    [key] = await world.keys(grant)
    assert key.project == "proj_1"
    acts = await world.acts()
    assert acts.index(Act.PROJECT_MADE) < acts.index(Act.MINTED)
    await world.delivering(grant)
    assert len(world.vendor.made) == 2


async def test_a_project_that_cannot_be_made_leaves_no_key(world: World) -> None:
    """The pick-up breaks off, for certain; the holder tries again, and there is one project."""
    grant = await world.approved(what=draft(project="new:search-dev"))
    world.vendor.project_faults = [ProviderTransient("down")]
    with pytest.raises(ProviderTransient):
        await world.delivering(grant)
    assert (await world.grant(grant)).state is GrantState.READY
    assert [key.state for key in await world.keys(grant)] == [KeyState.VOID]
    await world.delivering(grant)
    assert len(world.vendor.made) == 2


async def test_a_process_that_died_before_the_project_was_known(world: World) -> None:
    """No key can be there: none is looked for in a project that has no id."""
    grant = await world.approved(what=draft(project="new:search-dev"))
    await world.picked_up(grant)
    await world.sweep(3 * MINUTE)
    await world.sweep(30 * MINUTE)
    assert [key.state for key in await world.keys(grant)] == [KeyState.VOID]
    assert world.vendor.looked_for == []
    assert (await world.grant(grant)).state is GrantState.READY


@pytest.mark.parametrize("name", ["", "x", "a" * 61, "<!channel>", "search\nprod", "Search-Prod"])
async def test_names_that_are_none(world: World, name: str) -> None:
    """Said on the field; one that is taken is said, too, whatever its case."""
    with pytest.raises(DraftRejected) as refused:
        await world.asked(what=draft(project=f"new:{name}"))
    assert refused.value.field == "project"


async def test_new_projects_are_policys_to_allow(world: World) -> None:
    """The wide rule names none."""
    with pytest.raises(DraftRejected) as refused:
        await world.asked(CARA, draft(permission="all", days=1, project="new:search-dev"))
    assert refused.value.field in ("project", "permission")


async def test_models_must_be_the_providers(world: World) -> None:
    """What a form says is not believed; what is there is kept on the grant."""
    with pytest.raises(DraftRejected) as refused:
        await world.asked(BEN, draft(models=("small-1", "huge-9")))
    assert (refused.value.field, "huge-9" in refused.value.because) == ("models", True)
    grant = await world.approved(what=draft(models=("small-1",)))
    assert (await world.grant(grant)).draft.scope.models == ("small-1",)
