"""Brings the story about on a real cluster, and tells it while it happens: `make demo`.

    a model of New York's flights is trained, gated and served; a bad candidate is braked; in summer the model goes
    blind for late flights; it is retrained, gated, put on trial and promoted, and sees again. Nobody lends a hand.

Every chapter is checked against the cluster itself. The exit code is 0 only if all of them happened. The story is also
in build/demo/story.json: a list of {time, object, what, evidence}, in order.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SYSTEM, NAMESPACE, NAME = "perennial-system", "flights", "flight-delay"
MLFLOW = "perennial-mlflow:5000"
# Run in the replayer's pod, whose token the collector takes.
ASK_COLLECTOR = """
from pathlib import Path
from urllib.request import Request, urlopen
proof = {"Authorization": "Bearer " + Path("/var/run/collector/token").read_text()}
print(urlopen(Request("http://flight-delay-collector:9900/v1/state", headers=proof), timeout=10).read().decode())
"""
SLO = "missed-late"
PLACEHOLDER = "perennial.dev/flights:dev"
GROUP = "perennial.dev"
EVER = "2000-01-01T00:00:00Z"
MIN_SAMPLES = 100  # of a week that counts
MOST_REQUESTS = 1000  # that a bad candidate may get before it is braked
MOST_FAILED = 0.01  # of all requests, over the whole story
POLL_SECONDS, PROGRESS_SECONDS = 1.0, 10.0
BOLD, DIM, OFF = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class DidNotHappenError(Exception):
    """A chapter of the story that was waited for in vain, or went otherwise."""


class NoAnswerError(DidNotHappenError):
    """kubectl failed. While something is waited for, it is asked again."""


class Story:
    """What has happened so far, told once and written down at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.begun = path, time.monotonic()
        self.events: list[dict] = []
        self.heard: set[tuple[str, int]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def tell(self, subject: str, what: str, evidence: object = None, at: str | None = None) -> None:
        """Add an event, in order, and print it."""
        moment = at or datetime.now(UTC).isoformat(timespec="seconds")
        self.events.append({"time": moment, "object": subject, "what": what, "evidence": evidence})
        self.path.write_text(json.dumps(self.events, indent=1) + "\n")
        shown = evidence if isinstance(evidence, str) else json.dumps(evidence) if evidence is not None else ""
        print(f"{self.clock()} {BOLD}{subject}: {what}{OFF} {shown}", flush=True)

    def progress(self, text: str) -> None:
        """Show how a long step stands, without making it part of the story."""
        print(f"{self.clock()} {DIM}… {text}{OFF}", flush=True)

    def clock(self) -> str:
        return f"[{time.monotonic() - self.begun:4.0f} s]"

    def listen(self) -> None:
        """Tell the Kubernetes Events on Perennial's objects that were not told yet."""
        found = get("events.events.k8s.io")["items"]
        news = [event for event in found if event["regarding"].get("apiVersion", "").startswith(GROUP)]
        for event in sorted(news, key=lambda event: event.get("eventTime") or event["metadata"]["creationTimestamp"]):
            key = (event["metadata"]["uid"], (event.get("series") or {}).get("count", 1))
            if key not in self.heard:
                self.heard.add(key)
                regarding = event["regarding"]
                self.tell(
                    f"{regarding['kind']}/{regarding['name']}", event["reason"], event["note"], event.get("eventTime")
                )


def output_of(*command: str, text: str | None = None, waiting: Callable[[], None] | None = None) -> str:
    """Run a command and return what it printed; while it takes long, call `waiting` now and then."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    except FileNotFoundError:
        raise DidNotHappenError(f"{command[0]} must be on PATH: `make setup` puts it into .venv/bin") from None
    while True:
        try:
            printed, trouble = process.communicate(text, timeout=PROGRESS_SECONDS)
            break
        except subprocess.TimeoutExpired:
            text = None  # it is sent once
            if waiting is not None:
                waiting()
    if process.returncode:
        raise NoAnswerError(f"{' '.join(command[:6])}: {trouble.strip()}")
    return printed


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl in the example's namespace."""
    return output_of("kubectl", "--namespace", NAMESPACE, *arguments, text=text)


def get(*what: str) -> dict:
    """Return what kubectl gets."""
    return json.loads(kubectl("get", *what, "--output", "json"))


def ask(namespace: str, service: str, path: str) -> dict:
    """Return what a Service in the cluster answers, by way of the API server."""
    return json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/services/{service}/proxy{path}"))


def collector() -> dict:
    """Return the state that the collector tells to those of its namespace."""
    return json.loads(kubectl("exec", "deployment/replayer", "--", "python3", "-c", ASK_COLLECTOR))


def deployment() -> dict:
    """Return the ModelDeployment's status."""
    return get("modeldeployment", NAME).get("status", {})


def condition(status: dict, type_: str) -> dict:
    """Return a condition, or an empty one."""
    return next((item for item in status.get("conditions", []) if item["type"] == type_), {})


def replay() -> dict:
    """Return what the replay last said of itself; empty before it runs."""
    said = [json.loads(line) for line in kubectl("logs", "--tail=20", "--selector", "app=replayer").splitlines()]
    return next((line for line in reversed(said) if line["what"] == "replaying"), {})


def replayed() -> str:
    """Return the date that the replay has come to."""
    return replay().get("clock", "not running yet")[:10]


def matured(model_version: str, since: str = "") -> list[dict]:
    """Return the promise's outcome in each week whose labels are in and which a model version answered for."""
    cohorts = collector()["cohorts"]
    mine = [cohort for cohort in cohorts if cohort["matured"] and cohort["modelVersion"] == model_version]
    weeks = [
        cohort for cohort in mine if datetime.fromisoformat(cohort["start"]) >= datetime.fromisoformat(since or EVER)
    ]
    return [out for cohort in weeks for out in cohort["outcomes"] if out["slo"] == SLO and out["total"] >= MIN_SAMPLES]


def rate(outcomes: list[dict]) -> float:
    """Return the rate over some weeks."""
    return sum(out["bad"] for out in outcomes) / sum(out["total"] for out in outcomes)


class Demo:
    """The chapters, in order. Each returns when it has happened."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.images = json.loads((ROOT / "build" / "images.json").read_text())

    def until(
        self, what: str, look: Callable[[], object], seconds: int, show: Callable[[], str] | None = None
    ) -> object:
        """Return the first true thing that `look` returns; tell what happens meanwhile."""
        deadline = time.monotonic() + seconds
        shown, trouble = time.monotonic(), ""
        while time.monotonic() < deadline:
            try:
                self.story.listen()
                found = look()
                if found:
                    return found
                if time.monotonic() - shown > PROGRESS_SECONDS:
                    shown = time.monotonic()
                    self.story.progress(f"waiting for {what}; {show() if show else ''}")
                trouble = ""
            except (NoAnswerError, LookupError, ValueError) as error:  # not there yet, or not answering now
                trouble = f" The last answer was: {error}."
            time.sleep(POLL_SECONDS)
        raise DidNotHappenError(f"{what} did not happen within {seconds} s.{trouble}")

    def apply(self, *paths: Path) -> None:
        """Apply manifests, with the images that were built here."""
        for path in paths:
            text = path.read_text().replace(PLACEHOLDER, self.images["flights"])
            kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename", "-", text=text)

    def world(self) -> None:
        """The lake fills while Perennial is being installed. What an earlier demo left is removed first."""
        if kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"):
            self.story.progress("removing what an earlier demo left")
            delete = ["kubectl", "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=180s"]
            output_of(*delete, waiting=lambda: self.story.progress("waiting for its pods to end"))
        self.apply(HERE / "00-namespace.yaml", HERE / "lake.yaml")

    def install(self) -> None:
        self.story.progress("installing the chart (operator, MLflow)")
        chart, values = ROOT / "charts" / "perennial", ROOT / "build" / "images.yaml"
        where = ["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "5m"]
        install = ["helm", "upgrade", "--install", "perennial", str(chart), "--values", str(values), *where]
        output_of(*install, waiting=lambda: self.story.progress("waiting for the operator and MLflow to be ready"))
        self.story.tell("Release/perennial", "Installed", "the operator and MLflow are ready")

    def first_model(self) -> None:
        """The lake is checked, a real Job trains, the gate passes, the version is registered and served."""
        self.apply(*sorted(HERE.glob("*.yaml")))
        self.story.tell("Namespace/flights", "Applied", "kubectl apply -f examples/flights/")

        def ready() -> dict | None:
            status = deployment()
            return status if condition(status, "Ready").get("status") == "True" else None

        status = self.until("the first model to be served", ready, 300, self.beginnings)
        run = get("trainingrun", "flight-delay-first")["status"]
        self.story.tell(
            f"ModelDeployment/{NAME}",
            "Serving",
            {
                "modelVersion": status["stable"]["modelVersion"],
                "dataset": run["dataset"]["digest"],
                "gate": run["gate"]["results"],
                "mlflowRun": run["mlflow"]["runId"],
            },
        )

    def bad_candidate(self) -> None:
        """A server that fails 15 % of its requests gets a tenth of the traffic, and loses it again by itself."""
        self.until("requests", lambda: self.predictions() > 500, 120, lambda: f"it is {replayed()}")
        before = deployment()["stable"]["version"]
        self.apply(HERE / "bad" / "modeldeployment.yaml")
        what = "kubectl apply -f examples/flights/bad/: its server fails 15 % of its requests"
        self.story.tell(f"ModelDeployment/{NAME}", "A bad candidate", what)

        def rolled_back() -> dict | None:
            history = deployment().get("history", [])
            return history[0] if history else None

        record = self.until("the rollback", rolled_back, 240, self.trial)
        found = next((item for item in record.get("findings", ()) if item["verdict"] == "Fail"), None)
        if record["decision"] != "RolledBack" or found is None or deployment()["stable"]["version"] != before:
            raise DidNotHappenError(f"The bad candidate was not rolled back by the e-process: {record}")
        requests, e_value = found["samples"], f"10^{float(found['evidence']['harm']) / math.log(10):.1f}"
        if requests > MOST_REQUESTS:
            raise DidNotHappenError(f"The rollback took {requests} requests; {MOST_REQUESTS} may do")
        evidence = {"requests": requests, "eValue": e_value, "decision": record}
        self.story.tell(f"ModelDeployment/{NAME}", "Rolled back, and nobody touched anything", evidence)
        self.apply(HERE / "modeldeployment.yaml")
        self.story.tell(f"ModelDeployment/{NAME}", "The good manifest is applied again", "as a revert in git would do")

    def spring(self) -> None:
        """In May the promise is kept."""

        def judged() -> dict | None:
            found = next(item for item in deployment()["slos"] if item["name"] == SLO)
            return found if found["verdict"] in {"Pass", "Fail"} else None

        found = self.until("the first weeks' labels", judged, 180, lambda: f"it is {replayed()}")
        if found["verdict"] != "Pass":
            raise DidNotHappenError(f"The promise was to be kept in spring, but: {found['message']}")
        self.story.tell(f"ModelDeployment/{NAME}", "The promise is kept", {"date": replayed(), **found})

    def decay(self) -> str:
        """In summer, the matured cohorts show that late flights are missed; return the one that tipped the balance."""
        status = self.until("the decay", self.broken, 420, lambda: f"it is {replayed()}; {self.quality()}")
        found = next(item for item in status["slos"] if item["name"] == SLO)
        evidence = {"falseNegativeRate": found["value"], "date": replayed(), **found}
        self.story.tell(f"ModelDeployment/{NAME}", "Late flights are missed", evidence)
        return next(item["cohort"] for item in collector()["monitoring"] if item["finding"]["name"] == SLO)

    def cure(self, since: str) -> None:
        """It retrains itself, passes the gate against the champion, and is promoted step by step."""
        before = deployment()["stable"]["modelVersion"]
        started = self.until(
            "the retraining", lambda: next((d for d in self.decisions() if d["decision"] == "Started"), None), 60
        )
        name = started["run"]
        run = self.until("the gate", lambda: self.finished(name), 240, lambda: self.progress_of(name))
        if run["terminalState"] != "Succeeded" or not run["gate"].get("baseline"):
            failure = json.dumps(run.get("failure"))
            raise DidNotHappenError(f"The retrained model did not pass against the champion: {failure}")
        passed = {
            "modelVersion": run["modelVersion"],
            "dataset": run["dataset"],
            "baseline": run["gate"]["baseline"],
            "results": run["gate"]["results"],
        }
        self.story.tell(f"TrainingRun/{name}", "Better than the champion on the same held-out week", passed)

        def promoted() -> dict | None:
            status = deployment()
            latest = status["history"][0]
            over = latest["modelVersion"] == run["modelVersion"] and (
                latest["decision"] != "Promoted" or status.get("champion") == run["modelVersion"]
            )
            return latest if over else None

        record = self.until("the promotion", promoted, 300, self.trial)
        if record["decision"] != "Promoted" or deployment()["stable"]["modelVersion"] != run["modelVersion"]:
            raise DidNotHappenError(f"The retrained model was not promoted: {record}")
        path = f"/api/2.0/mlflow/registered-models/get?name={NAMESPACE}.{NAME}"
        model = ask(SYSTEM, MLFLOW, path)["registered_model"]
        champion = next(alias["version"] for alias in model["aliases"] if alias["alias"] == "champion")
        if champion != run["modelVersion"]:
            raise DidNotHappenError(f"MLflow's champion is version {champion}, not {run['modelVersion']}")
        moved = {"champion": champion, **record}
        self.story.tell(f"ModelDeployment/{NAME}", "Promoted; MLflow's champion has moved", moved)
        self.better(since, before, champion)

    def better(self, since: str, old: str, new: str) -> None:
        """The new model's weeks are visibly better than the old one's since it decayed."""
        weeks = self.until(
            "two weeks of the new model whose labels are in",
            lambda: found if len(found := matured(new)) > 1 else None,
            180,
            lambda: f"it is {replayed()}; {self.quality()}",
        )
        before, after = rate(matured(old, since)), rate(weeks)
        if after > before - 0.1:
            raise DidNotHappenError(f"The false negative rate was {before:.2f} and is {after:.2f}: not visibly better")
        evidence = {"falseNegativeRate": {"before": round(before, 3), "after": round(after, 3)}, "date": replayed()}
        self.story.tell(f"ModelDeployment/{NAME}", "Late flights are seen again", evidence)

    def passengers(self) -> None:
        """Nobody but some of those who met the bad candidate went without an answer."""
        said = replay()
        failed = {status: count for status, count in said["byStatus"].items() if status != "200"}
        evidence = {"requests": said["requests"], "failed": failed, "labels": said["labels"], "bySlot": said["bySlot"]}
        if sum(failed.values()) > said["requests"] * MOST_FAILED:
            raise DidNotHappenError(f"Too many requests failed: {evidence}")
        self.story.tell("Deployment/replayer", "What the passengers saw", evidence)

    def predictions(self) -> int:
        return collector()["predictions"]

    def broken(self) -> dict | None:
        status = deployment()
        return status if condition(status, "SLOsMet").get("reason") == "SLOBroken" else None

    def decisions(self) -> list[dict]:
        return deployment().get("retraining", {}).get("decisions", [])

    def finished(self, run: str) -> dict | None:
        status = get("trainingrun", run).get("status", {})
        return status if status.get("terminalState") else None

    def progress_of(self, run: str) -> str:
        return condition(get("trainingrun", run).get("status", {}), "Succeeded").get("message", "it is about to start")

    def beginnings(self) -> str:
        run = condition(get("trainingrun", "flight-delay-first").get("status", {}), "Succeeded")
        if run.get("status") == "True":
            run = condition(deployment(), "Ready")
        return run.get("message", "nothing is known yet")

    def trial(self) -> str:
        return condition(deployment(), "Progressing").get("message", "no candidate yet")

    def quality(self) -> str:
        found = next((item for item in deployment().get("slos", []) if item["name"] == SLO), None)
        return f"{SLO}: {found['message']}" if found else "no week has matured yet"


INSTEAD = f"""
To see why:
  export KUBECONFIG={os.environ.get("KUBECONFIG", "~/.kube/config")}
  kubectl perennial why mdep/{NAME} -n {NAMESPACE}
  kubectl get events -n {NAMESPACE} --sort-by=.metadata.creationTimestamp
  kubectl logs -n {SYSTEM} deployment/perennial
"""
AFTERWARDS = f"""
Look around:
  export KUBECONFIG={{kubeconfig}} PATH="$PWD/.venv/bin:$PATH"
  kubectl perennial get -n {NAMESPACE}
  kubectl perennial why modeldeployment/{NAME} -n {NAMESPACE}
  kubectl get dataset,trainingrun,modeldeployment -n {NAMESPACE}
  kubectl describe modeldeployment {NAME} -n {NAMESPACE}
  kubectl port-forward -n {SYSTEM} service/perennial-mlflow 5000     and http://localhost:5000
Remove it:
  make cluster-down
"""


def main() -> int:
    story = Story(ROOT / "build" / "demo" / "story.json")
    demo = Demo(story)
    try:
        demo.world()
        demo.install()
        demo.first_model()
        demo.bad_candidate()
        demo.spring()
        demo.cure(demo.decay())
        demo.passengers()
    except DidNotHappenError as missing:
        story.listen()
        story.tell("Story", "Did not happen", str(missing))
        print(INSTEAD, flush=True)
        return 1
    seconds = time.monotonic() - story.begun
    print(
        f"\nThe story happened, in {seconds:.0f} s; it is written down in {story.path.relative_to(ROOT)}.", flush=True
    )
    print(AFTERWARDS.format(kubeconfig=os.environ.get("KUBECONFIG", "~/.kube/config")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
