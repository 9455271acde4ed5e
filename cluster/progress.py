"""Says what is going on, and for how long, on standard error; standard output belongs to results."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_FIRST_SECONDS = 10.0
_EVERY_SECONDS = 30.0


def say(text: str) -> None:
    """Print one line for the user."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Report a long step: a line when it still runs after 10 s, one more each 30 s, and one at its end.

    Args:
        title: What is done, and how long it is expected to take, for example ``etcd: compiling (about 1 min, once)``.
    """
    started = time.monotonic()
    ended = threading.Event()

    def report() -> None:
        wait = _FIRST_SECONDS
        while not ended.wait(wait):
            say(f"{title} … {time.monotonic() - started:.0f} s")
            wait = _EVERY_SECONDS

    say(f"{title} …")
    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    except BaseException:
        say(f"{title}: failed after {time.monotonic() - started:.1f} s")
        raise
    else:
        say(f"{title}: done in {time.monotonic() - started:.1f} s")
    finally:
        ended.set()
        reporter.join()
