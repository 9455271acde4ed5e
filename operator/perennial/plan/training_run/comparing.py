"""What the model is compared with, the evaluation Job, and the gate's verdict."""

from datetime import datetime

from perennial.api.messages.evaluation import Evaluation
from perennial.api.training_run import Baseline, FailureClass, GateBaseline, TrainingRunStatus
from perennial.manifests.jobs import JobPhase
from perennial.plan.actions import Create, Plan
from perennial.plan.training_run import record
from perennial.plan.training_run.ending import class_of, fail, register_as, said
from perennial.plan.training_run.gate import disagreement, judge, overall
from perennial.plan.training_run.marks import BY_VERDICT, UNDER_WAY, in_progress
from perennial.plan.training_run.observe import TrainingRunSeen, evaluation_name
from perennial.plan.training_run.resources import desired_evaluation
from perennial.terms import names, reasons
from perennial.terms.words import Verdict


def choose_baseline(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Pin what the model is compared with, as soon as the registry says it."""
    return compare(seen, now, seen.status) if seen.spec.gate is not None and seen.status.gate is None else None


def compare(seen: TrainingRunSeen, now: datetime, status: TrainingRunStatus) -> Plan:
    """Pin what the model that was trained is compared with, and how often it was held against these rows."""
    if seen.spec.gate is None:
        return in_progress(seen, now, status, reasons.EVALUATING, _evaluating(seen, status))
    baseline = None
    if seen.spec.gate.baseline is not Baseline.NONE:
        model = seen.registry.value
        if seen.registry.error is not None or model is None:
            why = seen.registry.error or "it has not answered yet."
            what = f"The champion to compare with is not known: {why} It is asked again."
            return in_progress(seen, now, status, reasons.REGISTRY_UNAVAILABLE, what)
        version = model.aliases.get(names.CHAMPION)
        known = model.versions.get(version) if version else None
        baseline = GateBaseline(version=version, digest=known.digest if known else None) if version else None
    status = record.compared(status, baseline, seen.attempt)
    return in_progress(seen, now, status, reasons.EVALUATING, _evaluating(seen, status))


def _evaluating(seen: TrainingRunSeen, status: TrainingRunStatus) -> str:
    if seen.spec.gate is None:
        return "The model's digest is taken; there is no gate."
    if status.gate is not None and status.gate.baseline is not None:
        return f"The model is compared with the champion, version {status.gate.baseline.version}, on held-out rows."
    return "The model is evaluated on held-out rows; it is compared with no champion."


def evaluate(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Start the evaluation Job, and say what holds it up."""
    outcome = seen.evaluation.outcome
    if seen.status.evaluation is not None or outcome.phase not in UNDER_WAY:
        return None
    applies = (Create(manifest=desired_evaluation(seen)),) if seen.evaluation.job is None else ()
    stuck = outcome.phase is JobPhase.WAITING and outcome.reason != reasons.POD_PENDING
    evaluating = (reasons.EVALUATING, _evaluating(seen, seen.status))
    reason, message = (outcome.reason, outcome.message) if stuck else evaluating
    return in_progress(seen, now, seen.status, reason, message, applies=applies)


def judge_evaluation(seen: TrainingRunSeen, now: datetime) -> Plan | None:
    """Judge the gate by what the evaluation reports; the run fails if there is no report, or the gate does not pass."""
    if seen.status.evaluation is not None:
        return None
    outcome = seen.evaluation.outcome
    if outcome.awaits_words(now):
        return Plan(requeue_after=1)
    ended = record.evaluation_ended(seen.status, evaluation_name(seen.owner.name), now)
    report = outcome.report(Evaluation)
    wrong = disagreement(seen.spec.gate, report.results) if report is not None else "the Job left no result"
    if report is None or wrong:
        complete = outcome.phase is JobPhase.COMPLETE
        class_ = FailureClass.LOST if complete else class_of(outcome)
        what = wrong if report is not None else outcome.error() or wrong
        return fail(seen, now, ended, class_, f"Evaluation failed: {what}", exit_code=outcome.exit_code)
    evaluated = record.evaluated(ended, report)
    gate = seen.spec.gate
    if gate is None or evaluated.gate is None:
        return register_as(seen, now, evaluated)
    champion = evaluated.gate.baseline is not None
    results = judge(gate, report.results, champion=champion, attempt=evaluated.gate.attempt)
    verdict = overall(gate, results)
    judged = record.judged(evaluated, verdict, results)
    if verdict is Verdict.PASS:
        return register_as(seen, now, judged)
    reason = BY_VERDICT.get(verdict, reasons.GATE_UNDECIDED)
    return fail(seen, now, judged, FailureClass.GATE, said(judged), reason=reason)
