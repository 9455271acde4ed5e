"""The documentation: a real API server takes its YAML, reasons are those of the planners, links lead somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import REPOSITORY

from cluster.apiserver import ControlPlane
from perennial.api.training_run import FailureClass
from perennial.cli.advice import ADVICE
from perennial.terms.words import Verdict

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
TROUBLESHOOTING = REPOSITORY / "docs" / "troubleshooting.md"
PLURALS = {"Dataset": "datasets", "TrainingRun": "trainingruns", "ModelDeployment": "modeldeployments"}
OTHERS = {"PersistentVolumeClaim": "persistentvolumeclaims", "Deployment": "deployments"}
"""What examples bring along."""
MACHINERY = {"NameTaken", "NamespaceTerminating", "InvalidObject", "Refused"}
"""Reasons of Events that the operator's runtime makes."""
REASON = re.compile(r"[A-Z][A-Za-z]+")


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


def constants(node: ast.AST | None) -> Iterator[str]:
    """The words that an expression may be: a constant, either side of a condition, the first of a tuple."""
    match node:
        case ast.Constant(value=str() as value) if REASON.fullmatch(value):
            yield value
        case ast.IfExp(body=body, orelse=orelse):
            yield from constants(body)
            yield from constants(orelse)
        case ast.Tuple(elts=[first, *_]):
            yield from constants(first)


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """The reasons in a planner's source: third argument of `mark`, of `_going` and `_hold`, `reason=` and the like."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="mark"), args=[_, _, reason, *_]):
                yield from constants(reason)
            case ast.Call(func=ast.Name(id="_hold"), args=[_, _, reason, _]):
                yield from constants(reason)
            case ast.Call(func=ast.Name(id="_going"), args=[_, _, _, reason, _]):
                yield from constants(reason)
            case ast.Return(value=ast.Tuple(elts=[_, _]) as value):
                yield from constants(value)
            case ast.keyword(arg="reason" | "reconciling" | "stalled", value=value):
                yield from constants(value)
            case ast.Assign(targets=[ast.Name(id="reason" | "stalled" | "checking")], value=value):
                yield from constants(value)
            case ast.Assign(targets=[ast.Name(id="WAITING_REASONS")], value=ast.Dict(values=values)):
                for value in values:
                    yield from constants(value)


def planned_reasons() -> set[str]:
    sources = sorted((REPOSITORY / "operator" / "perennial" / "plan").rglob("*.py"))
    found = {reason for source in sources for reason in reasons_in(ast.parse(source.read_text()))}
    return found | {f"{each.value}Failure" for each in FailureClass}


def documented_reasons() -> set[str]:
    """What stands in code quotes in the first cells of the tables, and the reasons named in the text below."""
    text = TROUBLESHOOTING.read_text()
    cells = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", cells))
    return named | {reason for reason in re.findall(r"`([A-Z][A-Za-z]+)`", text) if reason in MACHINERY}


def test_every_reason_of_the_planners_is_explained() -> None:
    planned = planned_reasons()
    assert len(planned) > 50
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", TROUBLESHOOTING.read_text()))
    assert planned - named == set()


def test_no_reason_is_explained_that_nobody_gives() -> None:
    sources = [*(REPOSITORY / "operator" / "perennial" / "plan").rglob("*.py")]
    sources += [*(REPOSITORY / "operator" / "perennial" / "runtime").rglob("*.py")]
    sources.append(REPOSITORY / "operator" / "perennial" / "app.py")
    words = {word for source in sources for word in re.findall(r'"([A-Z][A-Za-z]+)"', source.read_text())}
    words |= {f"{each.value}Failure" for each in FailureClass} | {each.value for each in Verdict}
    words.add("Invalid")  # the API server's own
    assert documented_reasons() - words == set()


def test_the_plugins_advice_is_about_reasons_that_are_given() -> None:
    assert set(ADVICE) - planned_reasons() - {"NotSeen", "ContainerFailed"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"`[^`\n]*`", "", page.read_text()))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
