"""What the last release started is gone on with: the very same versions, made into the very same pods."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from given import SETTINGS

from cluster.last_release import Release, unpack
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from perennial.manifests.build import Owner
from perennial.plan.model_deployment.children import desired_slot
from perennial.plan.model_deployment.seen import ModelDeploymentSeen
from perennial.plan.model_deployment.wanted import Wanted, wanted
from perennial.plan.observed import Fact, ModelVersion, RegisteredModel

LAST = Release(version="0.2.0", commit="59799317920b94b3630c583c0dfdd1b330cf1c7d")
"""The release whose versions are taken over."""

OURS = {
    "replicas": 2,
    "args": ["--threads", "2"],
    "env": [{"name": "COLOUR", "value": "blue"}],
    "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "3Gi"}},
    "warmup": {"requests": 5},
}
THEIRS = {"image": "registry.test/own:1", "command": ["python3", "serve.py"]}
DIGEST = "sha256:" + "1" * 64

MAKE = """
import json, sys
from perennial.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus, Stable
from perennial.plan.children import Owner
from perennial.plan.model_deployment.observe import ModelDeploymentSeen
from perennial.plan.model_deployment.resources import desired_slot
from perennial.plan.model_deployment.wanted import wanted
from perennial.plan.observed import Fact, ModelVersion, PlanSettings, RegisteredModel

given = json.load(sys.stdin)
version = ModelVersion(version="3", digest=given["digest"], tags={})
seen = ModelDeploymentSeen(
    owner=Owner(**given["owner"]),
    generation=1,
    spec=ModelDeploymentSpec.model_validate(given["spec"]),
    status=ModelDeploymentStatus(),
    slots={},
    registry=Fact(value=RegisteredModel(name="m", exists=True, aliases={}, versions={"3": version})),
    settings=PlanSettings(**given["settings"]),
)
want = wanted(seen)
stable = Stable(
    version=want.version, model_version=want.model_version, slot="a", digest=want.digest, server=want.server
)
status = ModelDeploymentStatus(stable=stable)
json.dump({"status": status.json_data(), "pods": desired_slot(seen, stable, 2)}, sys.stdout)
"""
"""Makes a version and its Deployment with the last release's own code."""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("release") / "code"
    unpack(LAST, ["operator"], to)
    return to / "operator"


@pytest.mark.parametrize("server", [{}, OURS, THEIRS], ids=["by default", "with everything", "an image of one's own"])
def test_a_version_of_the_last_release_is_the_one_that_is_wanted_and_its_pods_stay(
    code: Path, server: dict[str, Any]
) -> None:
    owner = {"kind": "ModelDeployment", "namespace": "ml", "name": "delay", "uid": "u"}
    spec = {"model": {"name": "delay", "version": "3"}, "server": server}
    old = {**spec, "slos": [{"name": "errors", "errorRate": {"max": "0.01"}}]}
    given = {"owner": owner, "spec": old, "settings": asdict(SETTINGS), "digest": DIGEST}
    done = subprocess.run(
        [sys.executable, "-c", MAKE],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(code)},
    )
    assert done.returncode == 0, done.stderr
    before = json.loads(done.stdout)

    status = ModelDeploymentStatus.model_validate(before["status"])
    version = ModelVersion(version="3", digest=DIGEST, tags={})
    seen = ModelDeploymentSeen(
        owner=Owner(**owner),
        generation=2,
        spec=ModelDeploymentSpec.model_validate({**spec, "slos": [{"name": "errors", "requests": {"max": "0.01"}}]}),
        status=status,
        slots={},
        registry=Fact(value=RegisteredModel(name="m", exists=True, aliases={}, versions={"3": version})),
        settings=SETTINGS,
    )
    want = wanted(seen)
    assert isinstance(want, Wanted)
    assert status.stable is not None
    assert want.version == status.stable.version, "no canary is started by an upgrade"
    assert desired_slot(seen, status.stable, 2) == before["pods"], "no pod is replaced by one"
