"""The pretend Anthropic's Console: the one place where keys are made, by a person, who sees each value once."""

from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.anthropic.organization import Organization
from sandbox.wire import Json, moment

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pretend Anthropic Console</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
  table {{ border-collapse: collapse; width: 100%; }}
  th, td {{ text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8884; }}
  output {{ display: block; padding: .8rem; margin: 1rem 0; border: 1px solid #8888; overflow-wrap: anywhere; }}
  label {{ margin-right: 1rem; }}
</style>
<h1>API keys</h1>
<p>This is the sandbox's pretend Anthropic: as with the real one, keys are made here by people, not by API.</p>
{made}
<form method="post">
  <label>Name <input name="name" required maxlength="200"></label>
  <label>Workspace <select name="workspace">{workspaces}</select></label>
  <button>Create key</button>
</form>
<table>
  <thead><tr><th>Name<th>Workspace<th>Key<th>Made<th>Status</thead>
  <tbody>{keys}</tbody>
</table>
</html>
"""
_MADE = (
    '<output aria-label="The new key">{value}</output>'
    "<p>Copy it now: it is not shown again. Its id is <code>{id}</code>.</p>"
)


class Console:
    """`/console`, and what the control API does in a person's stead."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization
        self.routes: list[BaseRoute] = [
            Route("/console", self._show, methods=["GET"]),
            Route("/console", self._make, methods=["POST"]),
        ]

    def make_key(self, name: str, *, workspace: str, person: str = "user_ana", lifetime: float | None = None) -> Json:
        """Makes a key; its value is in the answer and nowhere else. `KeyError` where there is no such workspace."""
        if self._organization.workspaces[workspace].archived_at is not None:
            raise ValueError("the workspace is archived")
        creator = self._organization.people[person].id
        key, value = self._organization.issue(name=name, workspace=workspace, creator=creator, lifetime=lifetime)
        return {"id": key.id, "value": value}

    async def _show(self, request: Request) -> Response:
        return self._page()

    async def _make(self, request: Request) -> Response:
        # Browsers say where a form was sent from: another site's page makes no keys here.
        if request.headers.get("origin", "").rpartition("//")[2] != request.headers.get("host"):
            return self._page(status=403)
        asked = parse_qs((await request.body()).decode("utf-8", "replace"))
        name, workspace = asked.get("name", [""])[0].strip(), asked.get("workspace", [""])[0]
        try:
            made = self.make_key(name, workspace=workspace) if name else None
        except (KeyError, ValueError):
            made = None
        return self._page(made, status=200 if made else 400)

    def _page(self, made: Json | None = None, status: int = 200) -> Response:
        workspaces = list(self._organization.workspaces.values())
        names = {workspace.id: workspace.name for workspace in workspaces}
        options = (
            f'<option value="{escape(workspace.id)}">{escape(workspace.name)}</option>'
            for workspace in workspaces
            if workspace.archived_at is None
        )
        rows = (
            f"<tr><td>{escape(key.name)}<td>{escape(names[key.workspace])}<td><code>{escape(key.hint)}</code>"
            f"<td>{moment(key.created_at):%d %b %Y}<td>{self._organization.status(key)}"
            for key in list(self._organization.keys.values())
        )
        shown = _MADE.format(value=escape(made["value"]), id=escape(made["id"])) if made else ""
        page = _PAGE.format(made=shown, workspaces="".join(options), keys="".join(rows))
        headers = {
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        }
        return HTMLResponse(page, status, headers)
