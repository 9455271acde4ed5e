"""Flux's health checks over recorded objects: their CEL is evaluated by a real API server, word for word.

A policy of admission refuses every object of a kind that only this test knows, and says what the checks say of the
object inside. Flux binds an object's fields to names (`status`, `metadata`); a list of one binds them here.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from waiting import until

from cluster.apiserver import ControlPlane

REPOSITORY = Path(__file__).parents[2]
sys.path.append(str(REPOSITORY / "tests" / "gitops"))  # the recorded objects are the same here and there

from customizations import KINDS, cases  # noqa: E402

pytestmark = pytest.mark.api

CHECKS = {
    each["kind"]: each
    for each in yaml.safe_load((REPOSITORY / "gitops" / "flux" / "kustomization.yaml").read_text())["spec"][
        "healthCheckExprs"
    ]
}
GROUP, PLURAL = "flux.test.perennial.dev", "records"
PATH = f"/apis/{GROUP}/v1/{PLURAL}?dryRun=All"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
RECORD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"plural": PLURAL, "singular": "record", "kind": "Record"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"seen": OPEN}}},
            }
        ],
    },
}
REFUSED = "the checks can't tell"
"""The message where an expression could not be evaluated: Flux calls that Unknown, and waits."""


def bound(expression: str) -> str:
    """Return an expression of Flux's with its names bound to the recorded object's fields."""
    return f"[object.seen.metadata].exists(metadata, [object.seen.status].exists(status, {expression}))"


def policy(kind: str) -> dict[str, Any]:
    """Return the policy that says what a kind's checks say, asked in Flux's order."""
    check = CHECKS[kind]
    asked = {"InProgress": check["inProgress"], "Failed": check["failed"], "Current": check["current"]}
    says = " : ".join(f"({bound(expression)}) ? '{status}'" for status, expression in asked.items())
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"flux-{kind.lower()}"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [GROUP], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [PLURAL]}
                ]
            },
            "matchConditions": [{"name": "kind", "expression": f"object.seen.kind == '{kind}'"}],
            "validations": [
                {"expression": "false", "message": REFUSED, "messageExpression": f"'says ' + ({says} : 'InProgress')"}
            ],
        },
    }


@pytest.fixture(scope="module")
def flux(control_plane: ControlPlane) -> Iterator[Callable[[dict[str, Any]], str]]:
    """What Flux would call an object."""
    api = control_plane.api
    api.call("POST", DEFINITIONS, RECORD)
    for kind in KINDS:
        made = policy(kind)
        in_force = {"policyName": made["metadata"]["name"], "validationActions": ["Deny"]}
        api.call("POST", POLICIES, made)
        api.call("POST", BINDINGS, {**made, "kind": "ValidatingAdmissionPolicyBinding", "spec": in_force})

    def ask(seen: dict[str, Any]) -> str | None:
        record = {"apiVersion": f"{GROUP}/v1", "kind": "Record", "metadata": {"name": "x"}, "seen": seen}
        status, text = api._request("POST", PATH, record, "application/json")
        if status in {201, 404}:
            return None  # the policy is not in force yet, or the kind is not served
        message: str = json.loads(text)["message"]
        return message.rpartition("denied request: ")[2].removeprefix("says ")

    def judge(seen: dict[str, Any]) -> str:
        status, generation = seen.get("status", {}), seen["metadata"]["generation"]
        if status.get("observedGeneration", generation) != generation:
            return "InProgress"  # Flux's own rule, before any expression
        return until("the policy answers", lambda: ask(seen))

    yield judge
    for kind in KINDS:
        for folder in (BINDINGS, POLICIES):
            api.call("DELETE", f"{folder}/flux-{kind.lower()}")
    api.call("DELETE", f"{DEFINITIONS}/{PLURAL}.{GROUP}")


EXPECTED = {"Progressing": "InProgress", "Degraded": "Failed", "Healthy": "Current", "Suspended": "Current"}
OTHERWISE = {
    ("TrainingRun", "suspended"): "InProgress",  # it has not succeeded, and will go on
    ("ModelDeployment", "slo-broken"): "Current",  # what was committed has arrived; the world has changed
}


@pytest.mark.parametrize("kind", KINDS)
def test_flux_and_argo_cd_tell_the_same_story(flux: Callable[[dict[str, Any]], str], kind: str) -> None:
    told = {moment: flux(seen) for moment, (seen, _) in cases(kind).items()}
    expected = {
        moment: OTHERWISE.get((kind, moment), EXPECTED[health["status"]]) for moment, (_, health) in cases(kind).items()
    }
    assert told == expected
