"""What a delivery must look like before Bolt or the desk reads it.

Bolt and the listeners trust in the shape of what Slack signs. Whatever has another shape is refused here whole, by HTTP
and by Socket Mode, so that nobody further in has to ask whether a user is a list. Only what somebody reads is looked at;
everything else may be anything, as Slack adds to its payloads without a word.
"""

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    InstanceOf,
    StringConstraints,
    ValidationError,
    model_validator,
)
from starlette.datastructures import Headers

_STAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)


def could_be_signed(headers: Headers) -> bool:
    """Whether the two headers of Slack's signature stand there, once each, and can be compared at all.

    Bolt's check raises on others, and what it raises is answered as if somebody known had pressed: at a URL of the
    stranger's choosing. docs.slack.dev/authentication/verifying-requests-from-slack
    """
    stamps, signatures = headers.getlist("x-slack-request-timestamp"), headers.getlist("x-slack-signature")
    return (
        len(stamps) == len(signatures) == 1
        and _STAMP.fullmatch(stamps[0]) is not None
        and _SIGNATURE.fullmatch(signatures[0]) is not None
    )


def well_formed(body: object) -> bool:
    """Whether everything that is read of a delivery is of the type that its readers expect."""
    try:
        _Delivery.model_validate(body)
    except (ValidationError, RecursionError):
        return False
    return True


def _absolute(text: str) -> str:
    if text:
        AnyHttpUrl(text)
    return text


_Id = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]  # pydantic refuses lone surrogates by itself
_Typed = InstanceOf[str]  # what a person typed: the forms make it storable
_Url = Annotated[str, AfterValidator(_absolute)]


class _Told(BaseModel):
    model_config = ConfigDict(strict=True)


class _Named(_Told):
    id: _Id | None = None
    team_id: _Id | None = None
    enterprise_id: _Id | None = None


class _Option(_Told):
    value: _Id | None = None


class _Input(_Told):
    value: _Typed | None = None
    selected_option: _Option | None = None
    selected_options: list[_Option] | None = None


class _State(_Told):
    values: dict[_Id, dict[_Id, _Input]] | None = None


class _Element(_Told):
    initial_option: _Option | None = None


class _Block(_Told):
    block_id: _Id | None = None
    element: _Element | None = None


class _View(_Told):
    id: _Id = ""
    type: _Id
    callback_id: _Id
    private_metadata: _Id
    state: _State | None = None
    blocks: list[_Block] = []
    team_id: _Id | None = None
    app_installed_team_id: _Id | None = None


class _Container(_Told):
    is_ephemeral: bool | None = None


class _Action(_Told):
    action_id: _Id
    action_ts: _Id | None = None
    block_id: _Id | None = None
    value: _Id | None = None


class _LegacyAction(_Told):
    """A button of an old attachment, which bears a name."""


class _Answer(_Told):
    response_url: _Url | None = None


class _Function(_Told):
    execution_id: _Id | None = None


class _Actor(_Told):
    """What tells who acts where. Bolt looks for it in the delivery, and in what is in it."""

    type: _Id | None = None
    subtype: _Id | None = None
    user: _Named | _Id | None = None
    user_id: _Id | None = None
    user_team: _Id | None = None
    team: _Named | _Id | None = None
    team_id: _Id | None = None
    enterprise: _Named | _Id | None = None
    enterprise_id: _Id | None = None
    channel: _Named | _Id | None = None
    channel_id: _Id | None = None
    thread_ts: _Id | None = None
    bot_id: _Id | None = None
    is_enterprise_install: bool | _Id | None = None
    function_execution_id: _Id | None = None
    bot_access_token: _Id | None = None
    function_data: _Function | None = None
    event: "_Event | None" = None
    authorizations: "list[_Actor] | None" = None
    message: "_Actor | None" = None
    previous_message: "_Actor | None" = None
    item: "_Actor | None" = None
    assistant_thread: "_Actor | None" = None
    view: _View | None = None


class _Tokens(_Told):
    bot: list[_Id] | None = None


class _Event(_Actor):
    type: _Id
    tokens: _Tokens | None = None
    team_ids: list[_Id] | None = None
    subteam_id: _Id | None = None
    subteam: _Named | None = None
    tab: _Id | None = None
    text: _Typed | None = None


class _Delivery(_Actor):
    actions: list[_Action | _LegacyAction] = []
    trigger_id: _Id | None = None
    response_url: _Url | None = None
    response_urls: list[_Answer] = []
    container: _Container | None = None
    action_id: _Id | None = None
    block_id: _Id | None = None
    callback_id: _Id | None = None
    value: _Typed | None = None
    command: _Id | None = None
    text: _Id | None = None

    def _filled_in(self) -> bool:
        return self.view is not None and self.view.state is not None and self.view.state.values is not None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What no delivery of its kind lacks."""
        by_member = isinstance(self.user, _Named) and bool(self.user.id)
        needed: tuple[object, ...] = ()
        match self.type:
            case "block_actions":
                needed = (by_member, self.actions, all(isinstance(one, _Action) for one in self.actions))
            case "interactive_message":
                needed = (by_member, self.actions, self.callback_id is not None)
            case "view_submission":
                needed = (by_member, self.view and self.view.id, self._filled_in())
            case "view_closed":
                needed = (by_member, self.view)
            case "block_suggestion":
                needed = (by_member, self.action_id)
            case "event_callback":
                needed = (self.event,)
            case _:
                needed = (self.command is None or self.user_id is not None,)
        if not all(needed):
            raise ValueError("something that is always there is missing")
        return self
