"""Whether a trained model may become a version: three-valued, on the same held-out rows for candidate and champion."""

from collections.abc import Sequence

from perennial.api.messages.evaluation import Measured
from perennial.api.training_run import Gate, GateMetric, GateResult, OnUndecided
from perennial.stats.paired import Interval, paired_difference, proportion_interval
from perennial.terms.words import Verdict


def decimal(value: float) -> str:
    """Return a number as the API writes it."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def judge(gate: Gate, measured: Sequence[Measured], *, champion: bool) -> tuple[GateResult, ...]:
    """Return each metric's result; `champion`: whether there is one to compare with.

    A limit passes when the whole 95 % interval is within it, fails when the whole interval is beyond it, and is
    undecided in between. A metric with both limits fails if either fails and passes only if both do. No held-out row in
    the rate's denominator is NoData, which never passes; nor does a champion that was not measured.
    """
    by_name = {item.metric: item for item in measured}
    return tuple(_judge_metric(metric, by_name.get(metric.name.value), champion=champion) for metric in gate.metrics)


def overall(gate: Gate, results: Sequence[GateResult]) -> Verdict:
    """Return the gate's verdict: one failure fails, all must pass, the rest is undecided."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if verdicts <= {Verdict.PASS}:
        return Verdict.PASS
    undecided_only = verdicts <= {Verdict.PASS, Verdict.UNDECIDED}
    return Verdict.PASS if undecided_only and gate.on_undecided is OnUndecided.PASS else Verdict.UNDECIDED


def _judge_metric(metric: GateMetric, measured: Measured | None, *, champion: bool) -> GateResult:
    name = metric.name.value
    if measured is None or not measured.total:
        return _no_data(name, "No held-out row counts for this rate: hold out more.")
    compared = measured.baseline_bad is not None and metric.max_regression is not None
    if champion and metric.max_regression is not None and not compared:
        return _no_data(name, "The champion was not measured on the held-out rows.")
    total, bad = measured.total, measured.candidate_bad
    rate = proportion_interval(total, bad)
    known = GateResult(
        metric=name,
        verdict=Verdict.PASS,
        message="",
        samples=total,
        candidate=decimal(bad / total),
        low=decimal(rate.low),
        high=decimal(rate.high),
    )
    judged = []
    if metric.max is not None:
        judged.append(_within(f"{name} {bad / total:.3f}", rate, float(metric.max)))
    if compared:
        worse, told = _regression(metric, measured)
        shown = {"baseline": decimal((measured.baseline_bad or 0) / total)}
        known = known.model_copy(update=shown | {"low": decimal(worse.low), "high": decimal(worse.high)})
        judged.append(told)
    elif not judged:
        judged.append((Verdict.PASS, f"There is no champion to compare with; {name} is {bad / total:.3f}."))
    verdict = next(
        (item for item in (Verdict.FAIL, Verdict.UNDECIDED) if any(said[0] is item for said in judged)), Verdict.PASS
    )
    return known.model_copy(update={"verdict": verdict, "message": " ".join(said[1] for said in judged)[:512]})


def _no_data(name: str, message: str) -> GateResult:
    return GateResult(metric=name, verdict=Verdict.NO_DATA, message=message, samples=0)


def _regression(metric: GateMetric, measured: Measured) -> tuple[Interval, tuple[Verdict, str]]:
    """Return how much worse the candidate is than the champion, and what to make of it."""
    total, bad, champion = measured.total, measured.candidate_bad, measured.baseline_bad or 0
    worse = paired_difference(total, measured.only_candidate_bad or 0, measured.only_baseline_bad or 0)
    what = f"{metric.name.value} {bad / total:.3f} against the champion's {champion / total:.3f}: {worse.estimate:+.3f}"
    return worse, _within(what, worse, float(metric.max_regression or 0))


def _within(what: str, interval: Interval, limit: float) -> tuple[Verdict, str]:
    told = f"{what} (95 % interval {interval.low:+.3f} to {interval.high:+.3f}, limit {limit:g})."
    if interval.high <= limit:
        return Verdict.PASS, told
    if interval.low > limit:
        return Verdict.FAIL, told
    return Verdict.UNDECIDED, f"{told} More held-out rows are needed."
