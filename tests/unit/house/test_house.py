"""How the house is built, where no linter says it: small files, names in one place, one way to change a message."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from perennial.api.model_deployment.status import Decision, RetrainingOutcome
from perennial.terms import names, reasons
from perennial.terms.reasons.reason import Reason
from perennial.terms.words import Verdict

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "operator" / "perennial"
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES, REASONS = PACKAGE / "terms" / "names.py", PACKAGE / "terms" / "reasons"
LINES = 400


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def said(path: Path) -> Iterator[str]:
    """Yield a module's string literals, but for docstrings: those are for people."""
    module = tree(path)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = set()
    for node in ast.walk(module):
        if isinstance(node, documented):
            docstrings |= {id(each.value) for each in node.body if isinstance(each, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def elsewhere(*places: Path) -> list[Path]:
    return [path for path in SOURCES if not any(path.is_relative_to(place) for place in places)]


def test_a_file_is_read_in_one_sitting() -> None:
    assert len(SOURCES) > 200
    assert {where(path): n for path in SOURCES if (n := len(path.read_text().splitlines())) > LINES} == {}


def test_the_names_of_the_group_and_of_headers_stand_in_one_file() -> None:
    pattern = re.compile(rf"{re.escape(names.GROUP)}/|x-perennial-")
    assert any(pattern.search(text) for text in said(NAMES))
    assert [(where(path), text) for path in elsewhere(NAMES) for text in said(path) if pattern.search(text)] == []


def test_the_ports_stand_in_one_file() -> None:
    ports = {value for name, value in vars(names).items() if name.endswith("_PORT")}
    assert len(ports) > 5
    found = []
    for path in elsewhere(NAMES):
        numbers = {n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and type(n.value) is int}
        found += [(where(path), port) for port in ports & numbers if port != names.SERVICE_PORT]
        found += [(where(path), text) for text in said(path) for port in ports if re.search(rf":{port}\b", text)]
    assert found == []


def types_of_conditions() -> set[str]:
    """What is marked: `mark("Ready", …)`."""
    calls = [node for path in SOURCES for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and node.args]
    marks = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "mark"]
    return {first.value for first in marks if isinstance(first, ast.Constant)}


def test_a_reason_is_spelled_out_in_one_place() -> None:
    known = {str(each) for each in vars(reasons).values() if isinstance(each, Reason)}
    assert len(known) > 100
    # The same words mean something else, too: types of conditions, decisions, verdicts, what Kubernetes says of a Job.
    others = types_of_conditions() | {*Decision, *RetrainingOutcome, *Verdict}
    others |= {"Failed", "OutOfMemory", "Canary"}
    found = [
        (where(path), text)
        for path in elsewhere(REASONS)
        if path.name != "__init__.py"
        for text in said(path)
        if text in known - others
    ]
    assert found == []


def test_no_two_classes_of_the_language_and_of_judgement_have_one_name() -> None:
    found = defaultdict(list)
    for path in (path for layer in ("api", "plan") for path in (PACKAGE / layer).rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(where(path))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_what_is_frozen_is_changed_by_but_alone() -> None:
    """`model_copy` takes what no field takes."""
    used = [where(path) for path in SOURCES if "model_copy" in path.read_text()]
    assert used == []


def test_the_planners_tests_have_one_world() -> None:
    worlds = [
        where(path)
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name == "World"
    ]
    assert worlds == ["tests/unit/plan/given.py"]
