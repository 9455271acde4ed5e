"""Whether a live object still is what was intended.

Asking the API server by another server-side apply would always be right, and would cost a write for every child at
every reconciliation. So the intent's hash is kept on the object, and the live object is compared with the intent: both
must agree, else it is applied again. The comparison is one of containment, because the server adds defaults and
controllers and other people add fields of theirs; what Perennial does not intend, it does not look at.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from perennial.manifests.manifest import Manifest
from perennial.terms.names import APPLIED

_QUANTITY: Final = re.compile(r"^([+-]?\d+(?:\.\d*)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
_QUANTITIES: Final = re.compile(r"\.(requests|limits|capacity|hard)\.|\.sizeLimit$|\.divisor$")
"""Where a string is an amount, not a text."""
_UNITS: Final = {None: Decimal(1), "n": Decimal(10) ** -9, "u": Decimal(10) ** -6, "m": Decimal(10) ** -3}
_UNITS.update({unit: Decimal(1000) ** (n + 1) for n, unit in enumerate("kMGTPE")})
_UNITS.update({f"{unit}i": Decimal(1024) ** (n + 1) for n, unit in enumerate("KMGTPE")})


def intent_hash(manifest: Manifest) -> str:
    """Return a short hash of an intent: equal for equal JSON, whatever the order of keys."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def stamped(manifest: Manifest) -> dict[str, Any]:
    """Return the intent with its own hash as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED: intent_hash(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def differences(intent: Any, live: Any, path: str = "") -> Iterable[str]:
    """Yield the paths (`spec.replicas`) at which the live object does not contain the intent.

    Empty values and absent ones are the same (the API omits them); lists of named things are compared by name and may
    have more members live (injected sidecars, defaulted volumes); other lists must be equal in order and length;
    quantities are compared as numbers (`1000m` is `1`).
    """
    match intent:
        case Mapping():
            inner: Mapping[str, Any] = live if isinstance(live, Mapping) else {}
            for key, value in intent.items():
                yield from differences(value, inner.get(key), f"{path}.{key}" if path else str(key))
        case list() | tuple():
            yield from _list_differences(intent, live if isinstance(live, list | tuple) else (), path)
        case _:
            if intent != live and (intent or live) and not (_QUANTITIES.search(path) and _same_quantity(intent, live)):
                yield path


def lists_changed(intent: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the intent's lists that the live object does not contain, as a patch that puts them in their places."""
    changed: dict[str, Any] = {}
    for key, value in intent.items():
        there = live.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            inner = lists_changed(value, there)
            changed |= {key: inner} if inner else {}
        elif isinstance(value, list) and any(differences(value, there)):
            changed[key] = value
    return changed


def _list_differences(intent: Sequence[Any], live: Sequence[Any], path: str) -> Iterable[str]:
    if intent and all(isinstance(item, Mapping) and "name" in item for item in intent):
        named = {item.get("name"): item for item in live if isinstance(item, Mapping)}
        for item in intent:
            yield from differences(item, named.get(item["name"]), f"{path}[{item['name']}]")
        return
    if len(intent) != len(live):
        yield path
        return
    for position, (item, other) in enumerate(zip(intent, live, strict=True)):
        yield from differences(item, other, f"{path}[{position}]")


def _same_quantity(intent: Any, live: Any) -> bool:
    amounts = [
        _UNITS[found[2]] * Decimal(found[1]) for value in (intent, live) if (found := _QUANTITY.match(str(value)))
    ]
    return len(amounts) == 2 and amounts[0] == amounts[1]  # noqa: PLR2004 - the two that are compared
