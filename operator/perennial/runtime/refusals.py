"""What the API server refused, so that it is not sent again: the answer to the same intent would be the same."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from perennial.manifests.manifest import Manifest
from perennial.runtime.drift import intent_hash
from perennial.runtime.errors import Terminal
from perennial.runtime.resources import Key

_LIMIT: Final = 20_000
"""Refusals that are remembered. One that is lost costs a request."""


class Refusals:
    """Refusals by the object that was to be written."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[int, str, Terminal]] = OrderedDict()

    @contextlib.contextmanager
    def once(self, key: Key, intent: Manifest, generation: int) -> Iterator[None]:
        """Let a write pass, unless the same one was refused for the same generation of the object it is made for.

        Raises:
            Terminal: it is refused, now or before.
        """
        meant: tuple[Any, ...] = (generation, intent_hash(intent))
        known = self._known.get(key)
        if known is not None and known[:2] == meant:
            raise Terminal(known[2].reason, known[2].message)
        try:
            yield
        except Terminal as error:
            self._known[key] = (*meant, error)
            if len(self._known) > _LIMIT:
                self._known.popitem(last=False)
            raise
        self._known.pop(key, None)
