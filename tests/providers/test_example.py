"""The example of docs/providers.md, run as it stands there, from a package of its own."""

import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.desk.errors import ProviderAuth
from bot.desk.model import Scope
from bot.providers import build
from bot.settings import load
from tests.providers.serving import serve
from tests.test_settings import GOOD

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
TOKEN = "acme-token-0123456789"
SCOPE = Scope("acme", "all", "maps", 1000)


class PretendAcme:
    """A vendor of three calls."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.routes = [
            Route("/keys", self.listed),
            Route("/keys", self.made, methods=["POST"]),
            Route("/keys/{id}", self.gone, methods=["DELETE"]),
        ]

    def _refusal(self, request: Request) -> Response | None:
        known = request.headers.get("authorization") == f"Bearer {TOKEN}"
        return None if known else JSONResponse({}, status_code=401)

    async def listed(self, request: Request) -> Response:
        keys = [{"id": id, "name": name} for id, name in self.keys.items()]
        return self._refusal(request) or JSONResponse({"keys": keys})

    async def made(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        id, name = f"key_{len(self.keys)}", (await request.json())["name"]
        self.keys[id] = name
        return JSONResponse({"id": id, "name": name, "value": f"acme-{id}-0123456789"})

    async def gone(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        found = self.keys.pop(request.path_params["id"], None)
        return JSONResponse({"id": request.path_params["id"]}, status_code=200 if found else 404)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example, and the entry point that the page shows, as an installed package has them."""
    [module] = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    [(group, line)] = re.findall(r'^\[project\.entry-points\."(.+?)"\]\n(.+?)\n', PAGE, flags=re.MULTILINE)
    (tmp_path / "acme_keydesk.py").write_text(module, encoding="utf-8")
    about = tmp_path / "acme_keydesk-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-keydesk\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_keydesk", raising=False)


async def test_a_package_of_its_own_brings_a_provider(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is offered where its credential is set; it mints, finds, revokes, and says what is wrong."""
    settings, acme = load(_env_file=None, **GOOD), PretendAcme()
    assert "acme" not in build(settings, lambda: None)  # type: ignore[arg-type,return-value]  # it asks for no time
    with serve(acme.routes, base="/acme") as served:
        monkeypatch.setenv("ACME_URL", served.url)
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        provider = build(settings, lambda: None)["acme"]  # type: ignore[arg-type,return-value]  # as above
        assert (await provider.probe()).flaw is None
        minted = await provider.mint(marker="keydesk-k_1", scope=SCOPE, lifetime=timedelta(days=1))
        assert await provider.find(marker="keydesk-k_1", project="all") == [minted.handle]
        for _ in range(2):
            await provider.revoke(handle=minted.handle, project="all")
        assert acme.keys == {}
        await provider.aclose()
        monkeypatch.setenv("ACME_TOKEN", "wrong")
        stranger = build(settings, lambda: None)["acme"]  # type: ignore[arg-type,return-value]  # as above
        assert "ACME_TOKEN" in str((await stranger.probe()).flaw)
        with pytest.raises(ProviderAuth):
            await stranger.revoke(handle="key_0", project="all")
        await stranger.aclose()
