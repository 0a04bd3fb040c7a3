"""Modals and Homes: the `views.*` methods, and what a form's acknowledgement may ask for."""

import json
from typing import Any

from sandbox.blocks import VIEW_BYTES, completed_view, elements, view_problems
from sandbox.tickets import Triggers
from sandbox.web_api import Call, Method
from sandbox.workspace import Json, Refusal, View, Workspace

MOST_STACKED = 3


def checked_view(view: Any, kind: str) -> Json:
    """A view's content as Slack keeps it; refuses what Slack refuses."""
    problems = view_problems(view)
    if not problems and view["type"] != kind:
        problems = [f"[ERROR] must be a {kind} view [json-pointer:/view/type]"]
    if problems:
        raise Refusal("invalid_arguments", response_metadata={"messages": problems})
    if len(json.dumps(view)) > VIEW_BYTES:
        raise Refusal("view_too_large")
    return completed_view(view)


class Screens:
    """What stands on members' screens."""

    def __init__(self, *, workspace: Workspace, triggers: Triggers) -> None:
        self._workspace = workspace
        self._triggers = triggers
        self.methods = {
            "views.open": Method(self._open),
            "views.push": Method(self._push),
            "views.update": Method(self._update),
            "views.publish": Method(self._publish),
        }

    def answer_submission(self, view: View, body: Any) -> None:
        """Does what the app's acknowledgement of a submission asks for. Raises `Refusal` where it makes no sense."""
        stack = self._workspace.stacks[view.user]
        action = body.get("response_action") if isinstance(body, dict) else None
        if not body:
            stack.remove(view)
        elif action == "clear":
            stack.clear()
        elif action == "update":
            view.rewrite(checked_view(body.get("view"), "modal"), hash=self._workspace.new_hash())
        elif action == "push":
            self._pushed(stack, view, checked_view(body.get("view"), "modal"))
        elif action == "errors":
            self._check_errors(view, body.get("errors"))
        else:
            raise Refusal("invalid_response_action", answer=body)
        self._workspace.changed()

    def _check_errors(self, view: View, errors: Any) -> None:
        inputs = {block["block_id"] for block, _ in elements(view.blocks) if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
            raise Refusal("invalid_errors", errors_on=list(errors or ()), inputs=sorted(inputs))
        if not all(isinstance(text, str) and text for text in errors.values()):
            raise Refusal("invalid_errors", errors_on=list(errors))

    def _open(self, call: Call) -> Json:
        content = checked_view(call.args.get("view"), "modal")
        self._check_external_id(content)
        user, _ = self._triggers.exchange(call.text("trigger_id", "invalid_arguments"))
        view = self._workspace.new_view(user, content)
        self._workspace.stacks[user] = [view]
        self._workspace.changed()
        return {"view": view.as_view()}

    def _push(self, call: Call) -> Json:
        content = checked_view(call.args.get("view"), "modal")
        self._check_external_id(content)
        user, source = self._triggers.exchange(call.text("trigger_id", "invalid_arguments"))
        stack = self._workspace.stacks.get(user, [])
        below = next((view for view in stack if view.id == source), None)
        if below is None:
            raise Refusal("not_found")
        view = self._pushed(stack, below, content)
        self._workspace.changed()
        return {"view": view.as_view()}

    def _pushed(self, stack: list[View], below: View, content: Json) -> View:
        if len(stack) >= MOST_STACKED:
            raise Refusal("push_limit_reached")
        view = self._workspace.new_view(below.user, content, below=below)
        stack.append(view)
        return view

    def _update(self, call: Call) -> Json:
        view = self._found(call)
        if call.text("hash") not in ("", view.hash):
            raise Refusal("hash_conflict")
        content = checked_view(call.args.get("view"), view.content["type"])
        self._check_external_id(content, view)
        view.rewrite(content, hash=self._workspace.new_hash())
        self._workspace.changed()
        return {"view": view.as_view()}

    def _found(self, call: Call) -> View:
        external, id = call.text("external_id"), call.text("view_id")
        if not external and not id:
            problem = "[ERROR] view_id or external_id is required"
            raise Refusal("invalid_arguments", response_metadata={"messages": [problem]})
        view = self._by_external_id(external) if external else self._workspace.view(id)
        if view is None:
            raise Refusal("not_found")
        return view

    def _publish(self, call: Call) -> Json:
        content = checked_view(call.args.get("view"), "home")
        user = self._workspace.member(call.text("user_id", "invalid_arguments")).id
        view = self._workspace.homes.get(user)
        if view is None:
            view = self._workspace.homes[user] = self._workspace.new_view(user, content)
        elif call.text("hash") not in ("", view.hash):
            raise Refusal("hash_conflict")
        else:
            view.rewrite(content, hash=self._workspace.new_hash())
        self._workspace.changed()
        return {"view": view.as_view()}

    def _by_external_id(self, id: str) -> View | None:
        views = [*self._workspace.homes.values(), *(view for it in self._workspace.stacks.values() for view in it)]
        return next((view for view in views if view.content.get("external_id") == id), None)

    def _check_external_id(self, content: Json, own: View | None = None) -> None:
        id = content.get("external_id")
        if id and self._by_external_id(id) not in (None, own):
            raise Refusal("duplicate_external_id")
