"""The alerts and the dashboard: promtool takes them, each alert has its page, and the figures they ask for exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from rendering import CHART, REPOSITORY, render

from cluster import debian
from perennial.collector.database import Database
from perennial.collector.journal import Journal
from perennial.collector.metrics import exposition
from perennial.collector.predictions import Predictions
from perennial.collector.router_stats import Routers
from perennial.collector.rtds import WeightServer
from perennial.collector.service import Collector

ALERTS = CHART / "files" / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts.test.yaml")
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]
PANELS: list[dict[str, Any]] = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]


@pytest.fixture(scope="session")
def promtool() -> Path:
    return debian.unpacked("prometheus", purpose="Testing the alerts") / "usr" / "bin" / "promtool"


def run(promtool: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(each) for each in (promtool, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_they_fire_when_they_should_and_not_otherwise(promtool: Path, tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path / "alerts.yaml")
    done = run(promtool, "test", "rules", shutil.copy(TESTS, tmp_path / "alerts.test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("broken", "must_fire"), [("vector(1) > 1", True), ("vector(1)", False)], ids=["never", "always"]
)
def test_each_would_be_missed_if_it_were_broken(promtool: Path, tmp_path: Path, broken: str, must_fire: bool) -> None:
    """One that never fires is found out where it should, one that always does where it should not."""
    rules, tests = yaml.safe_load(ALERTS.read_text()), yaml.safe_load(TESTS.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.update(expr=broken)
        rule.pop("for", None)
    for case in tests["tests"]:
        case["alert_rule_test"] = [each for each in case["alert_rule_test"] if bool(each["exp_alerts"]) is must_fire]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(tests))
    done = run(promtool, "test", "rules", tmp_path / "alerts.test.yaml")
    assert set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_page_that_says_what_to_do(name: str) -> None:
    headings = re.findall(r"(?m)^#+ (.*)$", (RUNBOOKS / f"{name}.md").read_text())
    assert headings == [name, "Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_no_page_is_about_an_alert_that_is_gone() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(NAMES)


def test_the_schema_knows_which_alerts_can_be_left_out() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    rules = schema["properties"]["prometheus"]["properties"]["rules"]["properties"]
    assert rules["disabled"]["items"]["enum"] == NAMES


def test_the_dashboards_queries_are_promql(promtool: Path, tmp_path: Path) -> None:
    filled = [query.replace("$__rate_interval", "5m") for query in QUERIES]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(promtool, "check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def test_the_dashboard_arrives_whole() -> None:
    data = render({"dashboard.enabled": True}).get("ConfigMap", "perennial-dashboard")["data"]
    assert data["perennial.json"] == (CHART / "files" / "dashboard.json").read_text()


async def test_the_figures_they_ask_for_are_shown(tmp_path: Path) -> None:
    documented = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    shown = {"up", "process_resident_memory_bytes", *re.findall(r"(?m)^\| `(\w+)` \|", documented)}
    async with aiohttp.ClientSession() as session:
        database = Database(tmp_path / "x.sqlite")
        collector = Collector(Journal(database), Predictions(database), Routers([], session), WeightServer())
        shown |= set(re.findall(r"(?m)^# TYPE (\w+) ", exposition(collector).decode()))
    queries = [*QUERIES, *(rule["expr"] for rule in RULES)]
    asked = {name for query in queries for name in re.findall(r"\b(\w+)\{", query)}
    assert len(asked) > 15
    assert {re.sub(r"_bucket$", "", name) for name in asked} - shown == set()
