"""What can go wrong outside the cluster's API.

    OutsideError
    ├── Unavailable   it did not answer, or not in its right mind: hold, and ask again
    └── Refused       it answered that it will not (a 4xx): asking the same again changes nothing

Messages are stable from one attempt to the next (no times, no counters), so that they can stand in a status.
"""


class OutsideError(Exception):
    """A service outside the cluster's API did not do what it was asked. `service` is its name for people."""

    def __init__(self, service: str, message: str) -> None:
        end = "" if message.endswith((".", "!", "?")) else "."
        super().__init__(f"{service}: {message}{end}")
        self.service = service
        self.message = message


class Unavailable(OutsideError):  # noqa: N818 - the planners' word for it
    """The service could not be asked. `retry_after` is the number of seconds in which asking again is no use."""

    def __init__(self, service: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(service, message)
        self.retry_after = retry_after


class Refused(OutsideError):  # noqa: N818 - the planners' word for it
    """The service understood and said no. `status` is the HTTP status, `code` the service's own word for the error."""

    def __init__(self, service: str, message: str, status: int, code: str = "") -> None:
        super().__init__(service, message)
        self.status = status
        self.code = code
