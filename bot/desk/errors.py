"""Every error that somebody catches.

DeskError                    the desk says no, or not now; `str()` of it is safe to show
├── Refused                  the actor may not; recorded in the audit log
│   ├── NotWelcome           not a full, living, human member of this team
│   ├── NotAllowed           a member, but not one who may do this
│   └── NotYours             somebody else's grant or link
├── DraftRejected            a draft that cannot be asked for; names the field
├── Superseded               somebody, or time, was faster; carries the state found
├── DepositRejected          a value that cannot be taken for the key that was awaited
├── NotThere                 no such request, grant or link in this team
├── LessonDue                the member has not acknowledged within a year how to keep a key safe
├── AlreadyDelivered         this delivery of Slack's was acted on before
└── Unavailable              the directory (Slack) or the store cannot be asked now

ProviderError                a provider call that did not do what was asked
├── ProviderAuth             the desk's credential is missing or wrong
├── ProviderForbidden        the credential may not do this
├── ProviderNotFound         the project or key is not there
├── ProviderInvalid          the provider does not accept this
│   └── NotOffered           the provider has no such thing at all
├── ProviderRateLimited      asked too often; `retry_after` in seconds
├── ProviderTransient        it did not happen, and may later
└── OutcomeUnknown           it may have happened, or may yet

Undeliverable                this recipient can never be reached (gone, or no such channel)
PolicyFlaw                   a policy file that cannot be used; names line and mend
KekFlaw                      KEKs that cannot be read; names the mend, and nothing of them
EnvelopeDamaged              an envelope, or a deposit, that does not open
"""

from typing import TypeVar

Thing = TypeVar("Thing")


class DeskError(Exception):
    """The desk says no, or not now. The message is written for the person who asked."""


class Refused(DeskError):
    """The actor may not do this."""


class NotWelcome(Refused):
    """The actor is not a full, living, human member of this team."""


class NotAllowed(Refused):
    """The actor is a member, but not one who may do this."""


class NotYours(Refused):
    """The grant or link belongs to somebody else."""


class DraftRejected(DeskError):
    """A draft that cannot be asked for. `field` names the draft's attribute the reason sits on."""

    def __init__(self, field: str, because: str) -> None:
        super().__init__(because)
        self.field = field
        self.because = because


class DepositRejected(DeskError):
    """A value that cannot be taken for the key that was awaited. Says why; nothing was taken."""


class Superseded(DeskError):
    """The thing is no longer in the state that this act starts from. `found` is the state it is in."""

    def __init__(self, message: str, *, found: str) -> None:
        super().__init__(message)
        self.found = found


class NotThere(DeskError):
    """No such request, grant or link in this team."""


def present(thing: Thing | None) -> Thing:
    """What was looked up for a holder. Raises `NotThere` where there is none."""
    if thing is None:
        raise NotThere("There is no such key here. `/apikey list` shows yours.")
    return thing


class LessonDue(DeskError):
    """The member has not acknowledged within a year how to keep a key safe, so nothing is made for them yet."""


class AlreadyDelivered(DeskError):
    """This very delivery was acted on before; there is nothing left to do."""


class Unavailable(DeskError):
    """The directory or the store cannot be asked now, so nothing is allowed now."""


class ProviderError(Exception):
    """A provider call that did not do what was asked. Never carries a response body or a key's value."""


class ProviderAuth(ProviderError):
    """The desk's credential at the provider is missing or wrong."""


class ProviderForbidden(ProviderError):
    """The desk's credential may not do this."""


class ProviderNotFound(ProviderError):
    """The project or key is not there."""


class ProviderInvalid(ProviderError):
    """The provider does not accept this."""


class NotOffered(ProviderInvalid):
    """The provider has no such thing at all; its `abilities` say so."""


class ProviderRateLimited(ProviderError):
    """Asked too often. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderTransient(ProviderError):
    """It certainly did not happen, and may succeed later."""


class OutcomeUnknown(ProviderError):
    """It may have happened, or may happen yet: look for the marker, never retry blindly."""


class Undeliverable(Exception):
    """This recipient can never be reached: gone, or no such channel."""


class PolicyFlaw(Exception):
    """A policy file that cannot be used. The message names line and mend; there may be several lines of it."""


class KekFlaw(Exception):
    """KEKs that cannot be read. The message names the mend, and nothing of what was read."""


class EnvelopeDamaged(Exception):
    """An envelope or a deposit that does not open: wrong seed or KEK, wrong context, or changed bytes."""
