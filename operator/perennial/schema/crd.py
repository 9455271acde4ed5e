"""The CustomResourceDefinitions of the kinds."""

from typing import Any

from perennial.plan.kind import Kind
from perennial.schema.structural import structural, without_listed_defaults, without_rules
from perennial.terms.names import GROUP, VERSION


def definition(kind: Kind[Any]) -> dict[str, Any]:
    """Return a kind's CustomResourceDefinition."""
    spec = without_listed_defaults(structural(kind.spec))
    if kind.immutable_spec:
        rule = {"rule": _unchanged(spec, except_for="suspend"), "message": kind.immutable_spec}
        spec["x-kubernetes-validations"] = [rule, *spec.get("x-kubernetes-validations", [])]
    schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            # What kstatus takes for done has been looked at: without this, an object would be as soon as it is created.
            "status": {**without_rules(structural(kind.status)), "default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": _name_rules(kind),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.names.full},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.names.plural,
                "singular": kind.names.singular,
                "shortNames": [kind.names.short],
                "categories": ["perennial", "ml"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": column.name,
                            "type": column.type,
                            "jsonPath": column.path,
                            "description": column.description,
                            **({"priority": 1} if column.wide else {}),
                        }
                        for column in kind.columns
                    ],
                }
            ],
        },
    }


def _unchanged(schema: dict[str, Any], *, except_for: str) -> str:
    """Return the CEL rule that all members of an object but one are what they were."""
    same = "self.{0} == oldSelf.{0}"
    same_or_absent = "has(self.{0}) == has(oldSelf.{0}) && (!has(self.{0}) || self.{0} == oldSelf.{0})"
    members = sorted(name for name in schema["properties"] if name != except_for)
    return " && ".join((same if name in schema["required"] else same_or_absent).format(name) for name in members)


def _name_rules(kind: Kind[Any]) -> list[dict[str, str]]:
    rules = [
        {
            "rule": "size(self.metadata.name) <= 46 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": (
                "metadata.name must have at most 46 letters, digits or '-': the names of children are made from it"
            ),
        }
    ]
    if kind.services:
        letter = "metadata.name must begin with a letter: Services are named after it"
        rules.append({"rule": "self.metadata.name.matches('^[a-z]')", "message": letter})
    return [*rules, *({"rule": rule, "message": message} for rule, message in kind.rules)]
