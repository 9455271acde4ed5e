"""Requests: how many began, how they ended, and how many clients gave up waiting.

| signal | n | total |
|---|---|---|
| `requests` | began | ended badly: answered 5xx (Envoy's own 503 and 504 among them), or given up |
| `requests/rejected` | began | answered 4xx |
| `requests/answered` | answered, with whatever status | 0 |
| `requests/abandoned` | given up: the client left before there was an answer | 0 |
| `requests/unfinished` | running, or waiting for a connection, at the time of the look | 0 |

Where they come from (tried with Envoy 1.40 and HTTP/1.1; retries are never configured): `upstream_rq_total` counts what
was sent to a server. What never was is answered 503 and counted by its cause: no server (`cx_none_healthy`), refused
connections (`pending_failure_eject`), too many in waiting (`pending_overflow`); a client that left while its request
waited for a connection by `rq_cancelled`. A client that leaves later is in no counter of requests, and no answer has a
class for it: it is what began, was not answered, and no longer runs. The values of one page are read one after another
while requests go on, so this difference alone would find some that never were; each real one closes its connection from
our side (`cx_destroy_local_with_active_rq`, which a timeout does too, but nothing that succeeds), and that bounds it.
"""

from collections.abc import Mapping

from perennial.collector.signals.base import Kind, Page, Reader
from perennial.stats.sums import Sums
from perennial.stats.ticks import ABANDONED, ANSWERED, REJECTED, REQUESTS, UNFINISHED
from perennial.terms.words import Slot

_NEVER_SENT = ("upstream_cx_none_healthy", "upstream_rq_pending_failure_eject", "upstream_rq_pending_overflow")
_FINAL = ("upstream_rq_2xx", "upstream_rq_3xx", "upstream_rq_4xx", "upstream_rq_5xx")
"""The classes of final answers. A 1xx comes before another one."""
_SENT, _RUNNING, _LEFT_EARLY = "upstream_rq_total", "upstream_rq_active", "upstream_rq_cancelled"
_CLOSED, _TIMED_OUT = "upstream_cx_destroy_local_with_active_rq", "upstream_rq_timeout"


def read(page: Page, slot: Slot) -> Mapping[tuple[str, str], Sums]:
    """Return what a slot's requests have come to since the router began."""
    *_, rejected, failed = (page.of(slot, name) for name in _FINAL)
    answered = sum(page.of(slot, name) for name in _FINAL)
    left_early = page.of(slot, _LEFT_EARLY)
    began = page.of(slot, _SENT) + sum(page.of(slot, name) for name in _NEVER_SENT) + left_early
    no_longer_run = began - answered - page.of(slot, _RUNNING)
    closed = page.of(slot, _CLOSED) - page.of(slot, _TIMED_OUT) + left_early
    abandoned = max(0, min(no_longer_run, closed))
    # An answer may be read that is newer than the counter of what began.
    began = max(began, answered)
    return {
        (REQUESTS, ""): Sums.count(began, failed + abandoned),
        (REJECTED, ""): Sums.count(began, rejected),
        (ANSWERED, ""): Sums(answered),
        (ABANDONED, ""): Sums(abandoned),
        (UNFINISHED, ""): Sums(began - answered - abandoned),
    }


READER = Reader(
    signals={
        REQUESTS: Kind.COUNT,
        REJECTED: Kind.COUNT,
        ANSWERED: Kind.COUNT,
        ABANDONED: Kind.DERIVED,
        UNFINISHED: Kind.LEVEL,
    },
    statistics=(*_NEVER_SENT, *_FINAL, _SENT, _RUNNING, _LEFT_EARLY, _CLOSED, _TIMED_OUT),
    read=read,
)
