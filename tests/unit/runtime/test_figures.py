"""Figures of objects, taken from what a real operator wrote, are there as long as the objects."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from perennial.plan.kinds import KINDS
from perennial.runtime.figures import ObjectFigures
from perennial.runtime.resources import Key
from perennial.runtime.store import Store

WRITTEN = Path(__file__).parents[3] / "gitops" / "argocd" / "resource_customizations" / "perennial.dev"
ALL = sorted(WRITTEN.glob("*/testdata/*.yaml"))


def read(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(path.read_text())
    return manifest


class Scraped:
    """A registry over a store with the objects of some files."""

    def __init__(self, *files: str) -> None:
        self.store = Store()
        self.registry = CollectorRegistry()
        self.leads = True
        self.registry.register(ObjectFigures(self.store, KINDS, lambda: self.leads))
        for file in files:
            kind, name = file.split("/")
            self.store.put(kind, read(WRITTEN / kind / "testdata" / f"{name}.yaml"))

    def series(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return a metric's series: the values of these labels → value."""
        return {
            tuple(sample.labels[label] for label in labels): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name
        }


def test_a_canary_on_its_way() -> None:
    world = Scraped("ModelDeployment/canary-step")
    assert world.series("perennial_canary_weight", "namespace", "name", "side") == {
        ("flights", "delay", "desired"): 20,
        ("flights", "delay", "verified"): 20,
    }
    assert world.series("perennial_canary_step", "name") == {("delay",): 1}
    assert world.series("perennial_canary_verdict", "slo", "verdict") == {("errors", "Undecided"): 1}
    assert world.series("perennial_slo_verdict", "slo", "verdict") == {
        ("missed-late", "NoData"): 1,
        ("errors", "NoData"): 1,
    }
    assert world.series("perennial_model_version", "model", "role", "version") == {
        ("flight-delay", "stable", "1"): 1,
        ("flight-delay", "canary", "2"): 1,
    }
    assert world.series("perennial_condition", "kind", "type", "status", "reason") == {
        ("ModelDeployment", "Ready", "True", "Serving"): 1,
        ("ModelDeployment", "SLOsMet", "Unknown", "NoMaturedCohort"): 1,
        ("ModelDeployment", "Stalled", "False", "Free"): 1,
    }


def test_a_decision_and_an_slo_that_is_broken() -> None:
    world = Scraped("ModelDeployment/rolled-back")
    (((decision, reason), at),) = world.series(
        "perennial_canary_decision_timestamp_seconds", "decision", "reason"
    ).items()
    assert (decision, reason, at) == ("RolledBack", "Harmful", 1767600000)
    world = Scraped("ModelDeployment/slo-broken")
    assert world.series("perennial_slo_verdict", "slo", "verdict") == {
        ("missed-late", "Fail"): 1,
        ("errors", "NoData"): 1,
    }
    assert world.series("perennial_slo_value", "bound") == {("low",): 0.99082, ("value",): 1, ("high",): 1}


def test_a_gate_that_rejected_and_a_dataset() -> None:
    world = Scraped("TrainingRun/gate-rejected", "Dataset/ready")
    assert world.series("perennial_training_run_gate", "metric", "verdict") == {
        ("misses", "Fail"): 1,
        ("false-alarms", "Pass"): 1,
    }
    assert list(world.series("perennial_training_run_duration_seconds", "state")) == [("Failed",)]
    assert list(world.series("perennial_dataset_rows", "namespace").values()) == [41224]
    assert list(world.series("perennial_dataset_bytes", "namespace").values()) == [1310720]


def test_series_vanish_with_their_object_and_where_another_process_leads() -> None:
    world = Scraped("ModelDeployment/canary-step", "Dataset/ready")
    assert b'namespace="flights"' in generate_latest(world.registry)
    world.leads = False
    assert b"namespace=" not in generate_latest(world.registry)
    world.leads = True
    for kind in ("ModelDeployment", "Dataset"):
        for key in list(world.store.keys(kind)):
            gone = dict(world.store.get(*key) or {})
            gone["metadata"] = gone["metadata"] | {"resourceVersion": "99"}
            world.store.remove(kind, gone)
    assert b"namespace=" not in generate_latest(world.registry)


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_every_status_that_was_ever_written_can_be_read(path: Path) -> None:
    world = Scraped(f"{path.parents[1].name}/{path.stem}")
    text = generate_latest(world.registry).decode()
    conditions = world.series("perennial_condition", "type", "status")
    written = (read(path).get("status") or {}).get("conditions") or []
    ready = [(each["type"], each["status"]) for each in written if each["type"] in {"Ready", "Succeeded"}]
    assert set(ready) <= set(conditions), text


def test_a_new_object_only_counts_from_nothing_and_one_of_another_kind_has_no_series() -> None:
    world = Scraped("ModelDeployment/new")
    world.store.put("Pod", {"metadata": {"namespace": "ns", "name": "p", "resourceVersion": "1"}, "status": {"x": 1}})
    assert Key("ModelDeployment", "flights", "delay") in set(world.store.keys("ModelDeployment"))
    series = [line for line in generate_latest(world.registry).decode().splitlines() if "namespace=" in line]
    assert series == ['perennial_canaries{name="delay",namespace="flights"} 0.0']
