"""What can go wrong between the operator and the world.

    PerennialError
    ├── Retryable(after)            try the key again, not before `after` seconds
    │   ├── Conflict                the object changed since it was observed: observe again
    │   ├── Blocked(reason)         somebody must act elsewhere: tell them, and look again now and then
    │   └── Unavailable(service)    the other side is down or too slow
    ├── Terminal(reason, message)   the same again would be refused again, until the object changes
    └── LeadershipLost              this process must not write any more

Only the controller's loop catches broadly. A `reason` is CamelCase and ends in the object's conditions and Events.
"""

from typing import Final

_BLOCKED_SECONDS: Final = 30.0


class PerennialError(Exception):
    """The root of all errors that the operator raises on purpose."""


class Retryable(PerennialError):  # noqa: N818 - says what to do, not that it is an error
    """Trying again later can help. `after` is the least delay in seconds (0: the queue's back-off decides)."""

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Conflict(Retryable):
    """The object is not the one that was observed any more: a precondition failed."""


class Blocked(Retryable):
    """Something outside of the object is in the way (rights, a policy, a quota, a name that is taken).

    Nobody reports its end, so the key comes back after half a minute, or as the queue's back-off decides where it may
    end by itself. `reason` is CamelCase, `message` says what must hold.
    """

    def __init__(self, reason: str, message: str, *, after: float = _BLOCKED_SECONDS) -> None:
        super().__init__(f"{reason}: {message}", after=after)
        self.reason = reason
        self.message = message


class Unavailable(Retryable):
    """A service did not answer, or answered that it cannot now."""

    def __init__(self, service: str, message: str, *, after: float = 0.0) -> None:
        super().__init__(f"{service} is unavailable: {message}", after=after)
        self.service = service


class Terminal(PerennialError):  # noqa: N818 - as above
    """Nothing changes by trying the same again. `reason` is CamelCase, `message` says what must hold."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class LeadershipLost(PerennialError):  # noqa: N818 - as above
    """Another process may lead by now, so nothing may be written."""
