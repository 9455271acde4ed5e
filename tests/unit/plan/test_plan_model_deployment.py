"""Given what is seen of a ModelDeployment, then this plan: how a version comes to answer, and how it goes."""

from collections.abc import Mapping

import pytest
from given import World, conditions, given, registry
from given_deployment import (
    ADDRESSES,
    AT_10,
    AT_50,
    DUE_TO_LEAVE,
    GOOD,
    KEPT,
    LAST_STEP,
    LATE,
    ON_TRIAL,
    PREPARING,
    RETRAINING,
    STABLE,
    STARTING,
    SUSPENDED,
    braked,
    canary,
    deployed,
    deployment,
    on_undecided,
    passed_run,
    plan_of,
    roles,
    running,
    told,
    trouble,
    version,
)

from perennial.plan.observed import Fact
from perennial.terms.words import Verdict

PASS, FAIL, UNDECIDED = Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED
NO_DATA, ERROR = Verdict.NO_DATA, Verdict.ERROR


@pytest.mark.parametrize(
    ("world", "then", "story"),
    [
        # what is wanted is not known
        pytest.param(given(deployment()), "nobody", [], id="the registry has not answered"),
        pytest.param(given(deployment(), registry=registry()), "nobody", [], id="there is no such version"),
        pytest.param(
            given(deployment(model={"name": "flight-delay", "alias": "production"}), registry=registry({"other": "3"})),
            "nobody",
            [],
            id="there is no such alias",
        ),
        pytest.param(given(deployment(**RETRAINING)), "nobody", [], id="no run has passed its gate"),
        # the first version
        pytest.param(
            given(deployment(), registry=registry(versions=["4"])), "4@a starts", [], id="the first version is started"
        ),
        pytest.param(
            given(deployment(model={"name": "flight-delay", "alias": "live"}), registry=registry({"live": "3"})),
            "3@a starts",
            [],
            id="the version behind an alias is started",
        ),
        pytest.param(
            given(deployment(**RETRAINING), passed_run("run-1", "9"), passed_run("run-2", "10")),
            "10@a starts",
            [],
            id="the newest version of a run that passed is started",
        ),
        pytest.param(running(STARTING, not_ready=["a"]), "4@a starts", [], id="the first version is not ready"),
        pytest.param(
            running(STARTING, wants="5", not_ready=["a"]), "5@a starts", [], id="another first version is wanted"
        ),
        pytest.param(
            running(STARTING).but(registry=registry(error="MLflow does not answer.")),
            "4@a starts",
            [],
            id="what is wanted became unknown: the first version waits",
        ),
        pytest.param(running(STARTING), "4@a answers", ["FirstVersionServes"], id="the first version is ready"),
        pytest.param(running(STABLE, wants="3"), "3@a answers", [], id="what is wanted answers"),
        # a trial begins
        pytest.param(
            running(STABLE),
            "3@a answers, 4@b on trial at step 0 with 0 %",
            ["CanaryStarted"],
            id="another version is wanted: a trial begins",
        ),
        pytest.param(
            running({"stable": deployed("3", "b"), "champion": "3"}),
            "3@b answers, 4@a on trial at step 0 with 0 %",
            ["CanaryStarted"],
            id="in the slot that does not answer",
        ),
        pytest.param(running(STABLE, spec=SUSPENDED), "3@a answers", [], id="suspended: no trial begins"),
        pytest.param(
            given(deployment(**SUSPENDED), registry=registry(versions=["4"])),
            "nobody",
            [],
            id="suspended: nothing starts",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": UNDECIDED}, weights=AT_10, wants="3", spec=SUSPENDED),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="suspended: another version is wanted, the traffic stays",
        ),
        pytest.param(
            running({**STABLE, "rejected": [version("4")]}), "3@a answers", [], id="rolled back before: no second trial"
        ),
        pytest.param(running(KEPT), "3@a answers, 2@b is kept", [], id="the slot is not known to be free: wait"),
        pytest.param(
            running(KEPT, weights={"a": 999, "b": 1}), "3@a answers, 2@b is kept", [], id="the slot is not free: wait"
        ),
        pytest.param(
            running(KEPT, weights={"a": 1000, "b": 0}, behind=True),
            "3@a answers, 2@b is kept",
            [],
            id="the slot was free under an older policy: wait",
        ),
        pytest.param(
            running(KEPT, weights={"a": 1000, "b": 0}, error="timeout"),
            "3@a answers, 2@b is kept",
            [],
            id="the slot was free before the collector fell silent: wait",
        ),
        pytest.param(
            running(KEPT, weights={"a": 1000, "b": 0}),
            "3@a answers, 4@b on trial at step 0 with 0 %",
            ["CanaryStarted"],
            id="the slot is free: a trial begins, though the version that lost could stay longer",
        ),
        # it gets ready
        pytest.param(
            running(PREPARING, not_ready=["b"]),
            "3@a answers, 4@b on trial at step 0 with 0 %",
            [],
            id="the candidate gets ready",
        ),
        pytest.param(
            running({**STABLE, "canary": canary(step=0, begun=600)}, not_ready=["b"]),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="the candidate is not ready in time",
        ),
        pytest.param(
            running(PREPARING),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            ["CanaryStep"],
            id="the candidate is ready: the first step",
        ),
        pytest.param(
            running({**STABLE, "canary": canary(step=0, begun=600)}),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            ["CanaryStep"],
            id="ready at the last moment",
        ),
        *(
            pytest.param(
                running(PREPARING, **said),
                "3@a answers, 4@b on trial at step 0 with 0 %",
                [],
                id=f"ready, but {why}: wait",
            )
            for said, why in (
                ({"members": None}, "the routers do not agree on its pods"),
                ({"members": {"a": ADDRESSES["a"], "b": ("10.0.1.1",)}}, "the routers know one of its pods"),
                ({"members": {"a": ADDRESSES["a"], "b": (*ADDRESSES["b"], "10.0.1.9")}}, "a pod is another's"),
                ({"members": {"a": ADDRESSES["a"]}}, "the routers know no pod of it"),
                ({"behind": True}, "the routers were asked under an older policy"),
                ({"error": "timeout"}, "the collector is silent"),
            )
        ),
        pytest.param(
            running(PREPARING, spec=SUSPENDED),
            "3@a answers, 4@b on trial at step 0 with 0 %",
            [],
            id="suspended: no step",
        ),
        # steps
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            ["CanaryStep"],
            id="every critical SLO passes: the next step",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": PASS, "flaky": FAIL}, weights=AT_10),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            ["CanaryStep"],
            id="an advisory SLO decides nothing",
        ),
        pytest.param(
            running(ON_TRIAL, {"flaky": PASS}, weights=AT_10),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="a critical SLO is missing: hold",
        ),
        *(
            pytest.param(
                running(ON_TRIAL, {"errors": verdict, "flaky": PASS}, weights=AT_10),
                "3@a answers, 4@b on trial at step 1 with 10 %",
                [],
                id=f"{verdict.value}: hold",
            )
            for verdict in (UNDECIDED, NO_DATA, ERROR)
        ),
        pytest.param(
            running(ON_TRIAL, GOOD),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="no weights are confirmed: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights={"a": 1000, "b": 0}),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="other weights are confirmed: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, behind=True),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="the collector speaks of an older policy: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, error="timeout"),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="the collector is silent: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, spec=SUSPENDED),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="suspended: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10).but(registry=registry(error="MLflow does not answer.")),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            ["CanaryStep"],
            id="what is wanted became unknown: the trial goes on",
        ),
        # promotion
        pytest.param(
            running({**STABLE, "canary": canary(step=2, stepped=299)}, GOOD, weights=AT_50),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            [],
            id="the last step has not lasted long enough",
        ),
        pytest.param(
            running({**STABLE, "canary": canary(step=2, stepped=300)}, GOOD, weights=AT_50),
            "4@b answers, 3@a is kept",
            ["Promoted"],
            id="the last step passes: promotion",
        ),
        pytest.param(
            running(
                {**STABLE, "canary": canary(step=2, stepped=300)},
                GOOD,
                weights=AT_50,
                spec={"canary": {"steps": [{"weight": 10}]}},
            ),
            "4@b answers, 3@a is kept",
            ["Promoted"],
            id="steps were taken away: the last one counts",
        ),
        *(
            pytest.param(
                running(LAST_STEP, {"errors": verdict}, weights=AT_50),
                "3@a answers, 4@b on trial at step 2 with 50 %",
                [],
                id=f"never promoted on {verdict.value}",
            )
            for verdict in (UNDECIDED, NO_DATA, ERROR)
        ),
        pytest.param(
            running(LAST_STEP, GOOD, weights=AT_10),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            [],
            id="never promoted at unconfirmed weights",
        ),
        # harm
        pytest.param(
            running(ON_TRIAL, {"errors": FAIL}, weights=AT_10),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="a critical SLO fails: rolled back",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": FAIL}, spec=SUSPENDED),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="also when suspended, and at whatever weights",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": FAIL}, behind=True),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="a failure under an older policy is not this one's: hold",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, brake=braked()),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="the collector braked: rolled back",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, brake=braked(), behind=True, error="timeout", spec=SUSPENDED),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="the brake counts whatever else is said",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, brake=braked("0-another")),
            "3@a answers, 4@b on trial at step 2 with 50 %",
            ["CanaryStep"],
            id="the brake of another canary does not count",
        ),
        # something else is wanted
        pytest.param(
            running(ON_TRIAL, GOOD, wants="5", weights=AT_10),
            "3@a answers, 4@b is kept",
            ["Superseded"],
            id="another version is wanted: the trial ends",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, wants="3", weights=AT_10),
            "3@a answers, 4@b is kept",
            ["Superseded"],
            id="the stable version is wanted again: the trial ends",
        ),
        *(
            pytest.param(
                running(ON_TRIAL, {"errors": FAIL}, wants=wants, weights=AT_10),
                "3@a answers, 4@b is kept",
                ["RolledBack"],
                id=f"but one that does harm is rolled back, also where {wants} is wanted",
            )
            for wants in ("5", "3")
        ),
        # traffic that is not split as it was told to be
        pytest.param(
            running(ON_TRIAL, {"errors": PASS}, because="SampleRatioMismatch", weights=AT_10),
            "3@a answers, 4@b on trial at step 1 with 10 %",
            [],
            id="a mismatch holds whatever else is said",
        ),
        *(
            pytest.param(
                running(
                    LATE,
                    {"errors": verdict},
                    because="SampleRatioMismatch",
                    spec=on_undecided("Promote"),
                    weights=AT_10,
                ),
                "3@a answers, 4@b on trial at step 1 with 10 %",
                [],
                id=f"never promoted through a mismatch, late and {verdict.value}",
            )
            for verdict in (PASS, UNDECIDED)
        ),
        pytest.param(
            running(
                LATE,
                {"errors": UNDECIDED, "flaky": UNDECIDED},
                because="SampleRatioMismatch",
                spec=on_undecided("Rollback"),
                weights=AT_10,
            ),
            "3@a answers, 4@b is kept",
            ["RolledBack"],
            id="a mismatch does not keep onUndecided: Rollback from its turn",
        ),
        pytest.param(
            running(LATE, {"errors": UNDECIDED}, because="OverDispersed", spec=on_undecided("Promote"), weights=AT_10),
            "4@b answers, 3@a is kept",
            ["Promoted"],
            id="too dispersed to tell is undecided, and no more",
        ),
        # undecided for too long
        *(
            pytest.param(running(LATE, verdicts, spec=on_undecided(choice), **said), then, story, id=name)
            for name, choice, verdicts, said, then, story in (
                (
                    "too long, Hold: hold",
                    "Hold",
                    {"errors": UNDECIDED},
                    {"weights": AT_10},
                    "3@a answers, 4@b on trial at step 1 with 10 %",
                    [],
                ),
                (
                    "too long, Rollback: rolled back",
                    "Rollback",
                    {"errors": UNDECIDED},
                    {"weights": AT_10},
                    "3@a answers, 4@b is kept",
                    ["RolledBack"],
                ),
                (
                    "too long, Rollback: also when the collector is silent",
                    "Rollback",
                    {},
                    {"error": "timeout"},
                    "3@a answers, 4@b is kept",
                    ["RolledBack"],
                ),
                (
                    "too long, Promote: promoted",
                    "Promote",
                    {"errors": UNDECIDED},
                    {"weights": AT_10},
                    "4@b answers, 3@a is kept",
                    ["Promoted"],
                ),
                (
                    "too long, Promote: not without data",
                    "Promote",
                    {"errors": NO_DATA},
                    {"weights": AT_10},
                    "3@a answers, 4@b on trial at step 1 with 10 %",
                    [],
                ),
                (
                    "too long, Promote: not after an error",
                    "Promote",
                    {"errors": ERROR},
                    {"weights": AT_10},
                    "3@a answers, 4@b on trial at step 1 with 10 %",
                    [],
                ),
                (
                    "too long, Promote: not at unconfirmed weights",
                    "Promote",
                    {"errors": UNDECIDED},
                    {},
                    "3@a answers, 4@b on trial at step 1 with 10 %",
                    [],
                ),
                (
                    "too long, Promote: not when the collector is silent",
                    "Promote",
                    {"errors": UNDECIDED},
                    {"weights": AT_10, "error": "timeout"},
                    "3@a answers, 4@b on trial at step 1 with 10 %",
                    [],
                ),
                (
                    "too long, Promote: a failure is a failure",
                    "Promote",
                    {"errors": FAIL},
                    {"weights": AT_10},
                    "3@a answers, 4@b is kept",
                    ["RolledBack"],
                ),
            )
        ),
        *(
            pytest.param(
                running(LATE, {"errors": UNDECIDED}, spec={**on_undecided(choice), "suspend": True}, weights=AT_10),
                "3@a answers, 4@b on trial at step 1 with 10 %",
                [],
                id=f"too long, {choice}, but suspended: hold",
            )
            for choice in ("Hold", "Promote", "Rollback")
        ),
        # the version that lost goes
        pytest.param(
            running(KEPT, wants="3", weights={"a": 1000, "b": 0}),
            "3@a answers, 2@b is kept",
            [],
            id="it is kept for a while",
        ),
        pytest.param(running(DUE_TO_LEAVE, wants="3"), "3@a answers, 2@b is kept", [], id="weights are not confirmed"),
        pytest.param(
            running(DUE_TO_LEAVE, wants="3", weights={"a": 900, "b": 100}),
            "3@a answers, 2@b is kept",
            [],
            id="a router still sends it requests",
        ),
        pytest.param(
            running(DUE_TO_LEAVE, wants="3", weights={"a": 1000, "b": 0}, error="timeout"),
            "3@a answers, 2@b is kept",
            [],
            id="the collector is silent: it is kept longer",
        ),
        pytest.param(
            running(DUE_TO_LEAVE, wants="3", weights={"a": 1000, "b": 0}), "3@a answers", [], id="it is let go"
        ),
        pytest.param(
            running(DUE_TO_LEAVE, wants="3", weights={"a": 1000, "b": 0}, spec=SUSPENDED),
            "3@a answers",
            [],
            id="also when suspended",
        ),
    ],
)
def test_decisions(world: World, then: str, story: list[str]) -> None:
    plan = plan_of(world)
    assert roles(plan) == then
    assert told(plan) == story


SERVES = {"Ready": "True Serving", "Available": "True Serving"}
NO_CANARY, SETTLED, FREE = (
    {"Progressing": "False NoCanary"},
    {"Reconciling": "False Settled"},
    {"Stalled": "False Free"},
)
SILENT = {"Ready": "True CollectorUnavailable", "Available": "True CollectorUnavailable"}
UNJUDGED = {"SLOsMet": "Unknown NoMaturedCohort"}


def not_yet(reason: str) -> dict[str, str]:
    why = {"Ready": f"False {reason}", "Available": f"False {reason}", "Reconciling": f"True {reason}"}
    return why | NO_CANARY | UNJUDGED | FREE


@pytest.mark.parametrize(
    ("world", "says"),
    [
        pytest.param(given(deployment()), not_yet("RegistryUnavailable"), id="the registry has not answered"),
        pytest.param(given(deployment(), registry=registry()), not_yet("ModelNotFound"), id="no such version"),
        pytest.param(given(deployment(**RETRAINING)), not_yet("NoModelVersion"), id="no run has passed its gate"),
        pytest.param(given(deployment(STARTING)), not_yet("Starting"), id="the first version is not there yet"),
        pytest.param(trouble(waiting="ErrImagePull"), not_yet("ImageNotPulled"), id="no such image"),
        pytest.param(trouble(exit_code=65, init=True), not_yet("ContainerFailed"), id="the model can't be fetched"),
        pytest.param(trouble(unschedulable="0/3 nodes"), not_yet("NotScheduled"), id="no node"),
        pytest.param(running(STARTING, not_ready=["router"]), not_yet("RouterNotReady"), id="no router is ready"),
        pytest.param(
            running(STABLE, wants="3", not_ready=["collector"]),
            {"Ready": "True CollectorNotReady", "Available": "True CollectorNotReady"}
            | NO_CANARY
            | UNJUDGED
            | {"Reconciling": "True Starting"}
            | FREE,
            id="no collector: it answers, unjudged",
        ),
        pytest.param(
            running(STABLE, wants="3", not_ready=["a"]),
            not_yet("Starting"),
            id="no pod is ready any more",
        ),
        pytest.param(
            running(STABLE, wants="3"), SERVES | NO_CANARY | UNJUDGED | SETTLED | FREE, id="all is as it should be"
        ),
        pytest.param(
            running(STABLE, wants="3", spec=SUSPENDED),
            SERVES | NO_CANARY | UNJUDGED | SETTLED | {"Stalled": "True Suspended"},
            id="suspended",
        ),
        pytest.param(
            given(deployment(**SUSPENDED), registry=registry(versions=["4"])),
            {"Ready": "False Suspended", "Available": "False Suspended", "Stalled": "True Suspended"}
            | NO_CANARY
            | UNJUDGED
            | SETTLED,
            id="suspended from the start",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": UNDECIDED}, weights=AT_10, spec=SUSPENDED),
            SERVES | UNJUDGED | SETTLED | {"Progressing": "False Suspended", "Stalled": "True Suspended"},
            id="suspended on trial",
        ),
        pytest.param(
            running(STABLE, wants="8"),
            {"Ready": "True ModelNotFound", "Available": "True Serving", "Reconciling": "True ModelNotFound"}
            | NO_CANARY
            | UNJUDGED
            | FREE,
            id="what is wanted does not exist: the stable version goes on",
        ),
        pytest.param(
            running({**STABLE, "rejected": [version("4")]}),
            SERVES | NO_CANARY | UNJUDGED | SETTLED | {"Stalled": "True RolledBack"},
            id="what is wanted was rolled back",
        ),
        pytest.param(
            running(KEPT),
            SERVES | NO_CANARY | UNJUDGED | FREE | {"Reconciling": "True Starting"},
            id="a trial is about to begin",
        ),
        pytest.param(
            running(PREPARING, not_ready=["b"]),
            SERVES | UNJUDGED | FREE | {"Progressing": "True Starting", "Reconciling": "True Canary"},
            id="the candidate gets ready",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": UNDECIDED}, weights=AT_10),
            SERVES | UNJUDGED | FREE | {"Progressing": "True CanaryStep", "Reconciling": "True Canary"},
            id="on trial",
        ),
        pytest.param(
            running(ON_TRIAL, GOOD, weights=AT_10, error="timeout"),
            SILENT | UNJUDGED | FREE | {"Progressing": "True CollectorUnavailable", "Reconciling": "True Canary"},
            id="on trial, but the collector is silent",
        ),
        pytest.param(
            running(STARTING, error="the Kubernetes API: no tokens today."),
            not_yet("CollectorUnavailable") | {"Available": "True CollectorUnavailable"},
            id="the first version, but the operator cannot prove itself to the collector",
        ),
        pytest.param(
            running(STABLE, wants="3", not_ready=["collector"]).but(
                cluster=Fact(error="the Kubernetes API: forbidden.")
            ),
            {"Ready": "True IssuerUnknown", "Available": "True IssuerUnknown", "Reconciling": "True Starting"}
            | NO_CANARY
            | UNJUDGED
            | FREE,
            id="no collector, because it is not known whom it could believe",
        ),
        pytest.param(
            running(ON_TRIAL, {"errors": FAIL}, weights=AT_10),
            SERVES | UNJUDGED | SETTLED | {"Progressing": "False RolledBack", "Stalled": "True RolledBack"},
            id="rolled back",
        ),
        pytest.param(
            running({**STABLE, "canary": canary(step=2)}, GOOD, weights=AT_50),
            SERVES | UNJUDGED | SETTLED | FREE | {"Progressing": "False Promoted"},
            id="promoted",
        ),
    ],
)
def test_conditions(world: World, says: Mapping[str, str]) -> None:
    assert conditions(plan_of(world)) == says
