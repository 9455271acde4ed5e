"""The router's bootstrap as data. What Envoy makes of it is asked in tests/dataplane."""

import json
from typing import Any

import pytest

from perennial.plan.model_deployment.router import bootstrap
from perennial.terms.words import Slot


def clusters(of: dict[str, Any]) -> dict[str, tuple[str, int]]:
    found = {}
    for cluster in of["static_resources"]["clusters"]:
        (locality,) = cluster["load_assignment"]["endpoints"]
        (endpoint,) = locality["lb_endpoints"]
        address = endpoint["endpoint"]["address"]["socket_address"]
        found[cluster["name"]] = (address["address"], address["port_value"])
    return found


def weights(of: dict[str, Any]) -> list[tuple[str, int]]:
    (chain,) = of["static_resources"]["listeners"][0]["filter_chains"]
    host = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]
    return [(c["name"], c["weight"]) for c in host["routes"][0]["route"]["weighted_clusters"]["clusters"]]


def test_it_names_the_services_of_its_deployment() -> None:
    assert clusters(bootstrap("flights", "team-a", "a", "example.org")) == {
        "a": ("flights-a.team-a.svc.example.org.", 8080),
        "b": ("flights-b.team-a.svc.example.org.", 8080),
        "collector": ("flights-collector.team-a.svc.example.org.", 9900),
        "admin": ("127.0.0.1", 9901),
    }


@pytest.mark.parametrize(("stable", "expected"), [("a", [("b", 0), ("a", 1000)]), ("b", [("a", 0), ("b", 1000)])])
def test_until_told_otherwise_all_goes_to_the_stable_slot(stable: Slot, expected: list[tuple[str, int]]) -> None:
    assert weights(bootstrap("flights", "team-a", stable)) == expected


def test_it_is_a_pure_function_of_its_arguments() -> None:
    one, other = (json.dumps(bootstrap("flights", "team-a", "a")) for _ in range(2))
    assert one == other


def test_the_admin_interface_is_not_open_to_the_network() -> None:
    assert bootstrap("flights", "team-a", "a")["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_nothing_is_tried_again() -> None:
    text = json.dumps(bootstrap("flights", "team-a", "a"))
    assert "retry_policy" not in text
    assert "outlier_detection" not in text
