"""Whom a collector believes, and who carries a token for it."""

import json
from typing import Any

import pytest
from given import ISSUER, NAMESPACE, SETTINGS, World, applied, planned
from given_deployment import NAME, ON_TRIAL, STABLE, deployed, running

from perennial.api.messages.trust import Trust
from perennial.plan.actions import Plan, SetAlias
from perennial.plan.model_deployment.trust import TOKEN_FILE, TOKEN_MOUNT
from perennial.plan.observed import Fact

AUDIENCE = "perennial.dev/ml/delay"
OLD = {
    "stable": {
        **deployed("3", "a"),
        "server": {k: v for k, v in deployed("3", "a")["server"].items() if k != "collectorToken"},
    }
}


def plan_of(world: World) -> Plan:
    return planned(world, "ModelDeployment", NAME)


def trust_of(world: World) -> Trust:
    return Trust.model_validate_json(applied(plan_of(world), "ConfigMap")[f"{NAME}-collector"]["data"]["trust.json"])


def test_a_collector_believes_the_cluster_the_operator_and_its_namespace() -> None:
    assert trust_of(running(ON_TRIAL)) == Trust(
        issuer=ISSUER.url,
        keys=tuple(dict(key) for key in ISSUER.keys),
        audience=AUDIENCE,
        operator=SETTINGS.operator_user,
        namespace=NAMESPACE,
    )


def test_labels_are_taken_from_whom_the_spec_names_and_nobody_else() -> None:
    named = [{"serviceAccount": "sender"}, {"namespace": "warehouse", "serviceAccount": "etl"}]
    believed = trust_of(running(STABLE, wants="3", spec={"labels": {"from": named}}))
    assert believed.labellers == ("system:serviceaccount:ml:sender", "system:serviceaccount:warehouse:etl")


def test_while_it_is_not_known_who_signs_the_collector_is_left_as_it_is() -> None:
    for fact in (Fact(), Fact(error="the Kubernetes API: forbidden")):
        plan = plan_of(running(ON_TRIAL).but(cluster=fact))
        names = {item.manifest["metadata"]["name"] for item in plan.applies}
        assert f"{NAME}-collector" not in names
        assert f"{NAME}-router" in names
        assert plan.deletes == ()
    remembered = running(ON_TRIAL).but(cluster=Fact(value=ISSUER, error="the Kubernetes API: timeout"))
    assert trust_of(remembered).issuer == ISSUER.url


@pytest.mark.parametrize(("name", "container"), [(f"{NAME}-a", "server"), (f"{NAME}-router", "envoy")])
def test_those_who_talk_to_the_collector_carry_a_token_that_is_good_for_nothing_else(name: str, container: str) -> None:
    pod = applied(plan_of(running(STABLE, wants="3")), "Deployment")[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    (volume,) = [item for item in pod["volumes"] if "projected" in item]
    (source,) = volume["projected"]["sources"]
    assert source == {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}}
    (mounting,) = [item for item in pod["containers"] if item["name"] == container]
    assert {"name": "token", "mountPath": TOKEN_MOUNT, "readOnly": True} in mounting["volumeMounts"]


def test_the_router_finds_its_token_where_it_is_mounted() -> None:
    files = applied(plan_of(running(STABLE, wants="3")), "ConfigMap")[f"{NAME}-router"]["data"]
    assert TOKEN_FILE in files["token.json"]
    assert TOKEN_MOUNT in files["envoy.yaml"]
    assert "/etc/envoy/token.json" in files["envoy.yaml"]


def test_pods_of_an_earlier_release_are_not_restarted_and_may_go_on_reporting() -> None:
    world = running(OLD, wants="3")
    pod = applied(plan_of(world), "Deployment")[f"{NAME}-a"]["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["volumes"]] == ["model", "tmp"]
    assert "PERENNIAL_COLLECTOR_TOKEN" not in json.dumps(pod)
    assert trust_of(world).unproven_predictions is True
    assert trust_of(running(STABLE, wants="3")).unproven_predictions is False


def test_a_version_of_an_earlier_release_is_fetched_and_called_champion_as_it_was_registered() -> None:
    server = {key: value for key, value in OLD["stable"]["server"].items() if key != "registeredModel"}
    plan = plan_of(running({"stable": {**OLD["stable"], "server": server}, "champion": "2"}, wants="3"))
    (fetch,) = applied(plan, "Deployment")[f"{NAME}-a"]["spec"]["template"]["spec"]["initContainers"]
    assert fetch["args"][:2] == ["--model", "flight-delay"]
    assert SetAlias(model="flight-delay", alias="champion", version="3") in plan.calls


def test_a_version_that_leaves_is_believed_until_its_pods_are_gone() -> None:
    """The collector is told by the status that is written and by the next one."""
    leaving: dict[str, Any] = {
        **STABLE,
        "previous": {**OLD["stable"], "slot": "b", "scaleDownTime": "2026-01-01T00:00:00Z"},
    }
    assert trust_of(running(leaving, wants="3")).unproven_predictions is True
