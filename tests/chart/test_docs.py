"""The documentation: a real API server takes its YAML, links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import REPOSITORY

from cluster.apiserver import ControlPlane

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
OTHERS = {"PersistentVolumeClaim": "persistentvolumeclaims", "Deployment": "deployments"}
"""What examples bring along."""


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)):
            for manifest in yaml.safe_load_all(block):
                yield f"{page.name}-{number}", manifest


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((REPOSITORY / "examples").rglob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest["kind"] in {*PLURALS, *OTHERS}:
                manifest["metadata"].pop("namespace", None)  # it is made elsewhere
                yield f"{path.relative_to(REPOSITORY)}-{manifest['kind']}", manifest


@pytest.mark.parametrize(
    ("where", "manifest"), [pytest.param(*found, id=found[0]) for found in (*manifests(), *examples())]
)
def test_every_manifest_is_taken(installed: ControlPlane, where: str, manifest: dict[str, Any]) -> None:
    version, plural = manifest["apiVersion"], (PLURALS | OTHERS)[manifest["kind"]]
    path = f"/api{'s' if '/' in version else ''}/{version}/namespaces/default/{plural}"
    made = installed.api.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", manifest)
    assert made["metadata"]["name"] == manifest["metadata"]["name"], where


def test_the_examples_show_all_three_kinds_and_what_they_need() -> None:
    assert {manifest["kind"] for _, manifest in examples()} == {*PLURALS, *OTHERS}


def test_the_quickstart_shows_all_three_kinds() -> None:
    assert {manifest["kind"] for where, manifest in manifests() if where.startswith("quickstart")} == set(PLURALS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"`[^`\n]*`", "", page.read_text()))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
