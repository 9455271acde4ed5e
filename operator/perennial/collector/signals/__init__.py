"""What is counted at the routers. `READERS` is the list: one more signal is one more file and one more line."""

from collections.abc import Mapping
from types import MappingProxyType

from perennial.collector.signals import requests
from perennial.collector.signals.base import Counters, Key, Kind, Page, Reader, Reading, SignalSource

__all__ = ["READERS", "SIGNALS", "Counters", "Key", "Kind", "Page", "Reader", "Reading", "SignalSource", "known"]

READERS: tuple[Reader, ...] = (requests.READER,)

SIGNALS: Mapping[str, Kind] = MappingProxyType({name: kind for each in READERS for name, kind in each.signals.items()})


def known(signal: str) -> Kind:
    """Return how a signal's values go on from look to look.

    Raises:
        ValueError: this program does not know the signal; to pass over it would be to judge on less than was counted.
    """
    if signal not in SIGNALS:
        raise ValueError(f"signal {signal!r}: must be one of {', '.join(SIGNALS)}")
    return SIGNALS[signal]
