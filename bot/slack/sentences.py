"""The one table from errors to sentences for people."""

from collections.abc import Mapping

from bot.desk.errors import (
    DeskError,
    OutcomeUnknown,
    ProviderAuth,
    ProviderError,
    ProviderForbidden,
    ProviderInvalid,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTransient,
)

SORRY = "Something went wrong on our side. Nothing is lost: try again, or show your operator this."

_PROVIDER: Mapping[type[ProviderError], str] = {
    ProviderAuth: "{provider} does not accept the desk's credential. Your operator has to mend that first.",
    ProviderForbidden: "{provider} does not let the desk do this. Your operator has to widen its credential first.",
    ProviderNotFound: "{provider} does not know this project any more. Ask for a key in another one.",
    ProviderInvalid: "{provider} does not accept what was asked for. Show this to your operator.",
    ProviderRateLimited: "{provider} is asked too often right now. Try again in a minute.",
    ProviderTransient: "{provider} cannot be reached right now. Try again in a minute.",
    OutcomeUnknown: "{provider} did not answer in time. Should it have made a key after all, the desk finds and revokes it.",
}


def sentence(error: BaseException, *, provider: str = "The provider") -> str | None:
    """What to say about an error; None for one that nobody expected."""
    if isinstance(error, DeskError):
        return str(error)
    if isinstance(error, ProviderError):
        kind = next((known for known in type(error).__mro__ if known in _PROVIDER), ProviderTransient)
        return _PROVIDER[kind].format(provider=provider)
    return None
