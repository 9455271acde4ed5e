"""Why a worker gives up. Each is one sentence for people and an exit code for the Job that runs it.

    WorkerError
    ├── BadArguments   64   the command line or a spec handed to it; never retried
    ├── BadData        65   the data, or a model; never retried
    ├── StorageFailed  74   a volume: full, read-only, broken; may be retried
    └── Unavailable    75   a service that is needed is not there; may be retried

The codes are those of BSD's sysexits.h.
"""

from typing import ClassVar


class WorkerError(Exception):
    """Something that ends the work, told in one sentence."""

    exit_code: ClassVar[int] = 70


class BadArguments(WorkerError):  # noqa: N818 - says what is wrong, as the sentence does
    """The caller asked for something that cannot be done."""

    exit_code = 64


class BadData(WorkerError):  # noqa: N818 - says what is wrong, as the sentence does
    """The data or the model is not what it must be."""

    exit_code = 65


class StorageFailed(WorkerError):  # noqa: N818 - says what is wrong, as the sentence does
    """A volume did not do what it was asked."""

    exit_code = 74


class Unavailable(WorkerError):  # noqa: N818 - says what is wrong, as the sentence does
    """A service that is needed is not there now."""

    exit_code = 75
