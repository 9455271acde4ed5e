"""Whether what the last release took is still taken: two states of a CustomResourceDefinition, compared.

A change breaks users if an object or a client that was right no longer is: a field or version is gone, a field takes
fewer values, more must be given. What is new, and what takes more than before, breaks nobody. Where only a person can
tell (a pattern or a rule in CEL that is not what it was), it counts as a break, and a person argues for it in
`perennial.schema.argued`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Break:
    """Something that no longer is as it was: `where` is a kind and a path (`Dataset spec.source.uri`)."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def breaks(old: Schema, new: Schema) -> tuple[Break, ...]:
    """Return how a CustomResourceDefinition breaks the users of an older state of it, in order."""
    kind = old["spec"]["names"]["kind"]
    found = [Break(kind, what) for what in _identity(old["spec"], new["spec"])]
    served = {version["name"]: version for version in new["spec"]["versions"] if version["served"]}
    for version in old["spec"]["versions"]:
        if version["served"] and version["name"] not in served:
            found.append(Break(kind, f"version {version['name']} is no longer served"))
        elif version["served"]:
            now = served[version["name"]]
            if version.get("subresources", {}).keys() - now.get("subresources", {}).keys():
                found.append(Break(kind, "a subresource is gone"))
            was, is_ = (each["schema"]["openAPIV3Schema"] for each in (version, now))
            found += [Break(f"{kind} {path}".strip(), what) for path, what in _node(was, is_, "")]
    return tuple(sorted(found))


def _identity(old: Schema, new: Schema) -> Iterator[str]:
    for field in ("group", "scope"):
        if old[field] != new[field]:
            yield f"{field} was {old[field]}, is {new[field]}"
    for field in ("kind", "listKind", "plural", "singular"):
        if old["names"].get(field) != new["names"].get(field):
            yield f"names.{field} was {old['names'].get(field)}, is {new['names'].get(field)}"
    for field in ("shortNames", "categories"):
        gone = sorted({*old["names"].get(field, ())} - {*new["names"].get(field, ())})
        if gone:
            yield f"names.{field} has no {', '.join(gone)} any more"


Change = tuple[str, str]
"""A path within a schema, and what is wrong with it."""


def _node(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    if _type(old) != _type(new) and not (_type(new) == "int-or-string" and _type(old) in {"integer", "string"}):
        yield path, f"type was {_type(old)}, is {_type(new)}"
        return
    for judge in (_bounds, _texts, _lists, _rules):
        yield from ((path, what) for what in judge(old, new))
    yield from _members(old, new, path)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            yield from _node(old[key], new[key], f"{path}{suffix}")


def _type(node: Schema) -> str:
    return "int-or-string" if node.get("x-kubernetes-int-or-string") else str(node.get("type", "any"))


def _members(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    known, now = old.get("properties", {}), new.get("properties", {})
    for name in now:
        if name in {*new.get("required", ())} - {*old.get("required", ())}:
            yield _below(path, name), "is required, and was not"
    for name, node in known.items():
        if name not in now:
            yield _below(path, name), "is gone"
        else:
            yield from _node(node, now[name], _below(path, name))
    if old.get("x-kubernetes-preserve-unknown-fields") and not new.get("x-kubernetes-preserve-unknown-fields"):
        yield path, "unknown fields are no longer kept"
    if "additionalProperties" in old and "additionalProperties" not in new:
        yield path, "takes no other members any more"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")


def _bounds(old: Schema, new: Schema) -> Iterator[str]:
    for bound in (*_LEAST, *_MOST):
        was, now = old.get(bound), new.get(bound)
        if now is None or (was is None and now == 0 and bound in _LEAST[1:]):
            continue  # no bound, or one that bounds nothing
        if was is None or (now > was if bound in _LEAST else now < was):
            yield f"{bound} was {'free' if was is None else was}, is {now}"
    for flag in ("exclusiveMinimum", "exclusiveMaximum"):
        if new.get(flag) and not old.get(flag) and old.get(flag.removeprefix("exclusive").lower()) is not None:
            yield f"{flag} is set, and was not"


def _texts(old: Schema, new: Schema) -> Iterator[str]:
    """Values that are listed, texts that must look like something, and what an absent field means."""
    if "enum" in new:
        gone = [value for value in old.get("enum", ()) if value not in new["enum"]]
        if "enum" not in old:
            yield f"takes only {', '.join(map(str, new['enum']))}, and took anything"
        elif gone:
            yield f"does not take {', '.join(map(str, gone))} any more"
    for key in ("pattern", "format"):
        if key in new and old.get(key) != new[key]:
            yield f"{key} was {old.get(key, 'free')}, is {new[key]}"
    if "default" in old and old["default"] != new.get("default"):
        yield f"default was {old['default']}, is {new.get('default', 'none')}"


def _lists(old: Schema, new: Schema) -> Iterator[str]:
    for key in ("x-kubernetes-list-type", "x-kubernetes-list-map-keys"):
        if old.get(key) != new.get(key):
            yield f"{key.removeprefix('x-kubernetes-')} was {old.get(key, 'none')}, is {new.get(key, 'none')}"


def _rules(old: Schema, new: Schema) -> Iterator[str]:
    """Rules that what was right may break. No object of old has a field that is new: what it rules out is no news."""
    absent = _names(new) - _names(old)
    known = {_without(rule["rule"], absent) for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        now = _without(rule["rule"], absent)
        if now is not None and now not in known:
            yield f"must hold, and need not: {rule['message']}"


def _names(node: Schema) -> set[str]:
    """Return the names of all fields below a node."""
    found = {*node.get("properties", {})}
    below = [*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")]
    return found.union(*(_names(each) for each in below if isinstance(each, Mapping)))


def _without(rule: str, absent: Iterable[str]) -> str | None:
    """Return what a rule asks of an object that has none of some fields; None: nothing."""
    for name in absent:
        has = rf"has\(\w+(\.\w+)*\.{name}\)"
        if re.search(rf"(^|, )!{has} \|\| ", rule):
            return None
        rule = re.sub(rf" \+ \({has} \? 1 : 0\)| \|\| {has}", "", rule)
    return rule
