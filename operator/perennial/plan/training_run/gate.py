"""Whether a trained model may become a version: what its held-out rows show, and the sentences that say so."""

from collections.abc import Sequence
from math import isfinite

from perennial.api.messages.evaluation import Losses, Measured
from perennial.api.training_run import Gate, GateMetric, OnUndecided
from perennial.stats import gate as stats
from perennial.stats.gate import Held, Judgement
from perennial.terms import reasons
from perennial.terms.finding import Finding
from perennial.terms.reasons import Reason
from perennial.terms.text import clip, decimal
from perennial.terms.words import Verdict

MESSAGE_LENGTH = 512
LARGEST = 1e11
"""A decimal of the API has at most twelve digits before its point."""


def disagreement(gate: Gate | None, measured: Sequence[Measured]) -> str:
    """Return what is wrong with a report: every metric that was asked for, and no other, once; empty if nothing is."""
    asked = {metric.name: metric for metric in gate.metrics} if gate else {}
    names = sorted(item.name for item in measured)
    if names != sorted(asked):
        return (
            f"the result must be of {', '.join(sorted(asked)) or 'no metric'}, but is of {', '.join(names) or 'none'}"
        )
    for item in measured:
        sums = [*((item.candidate, False),), *(((item.difference, True),) if item.difference else ())]
        if asked[item.name].metric().rate and not all(_counts(each, item.rows, paired=paired) for each, paired in sums):
            return f"the result of {item.name} must be counts of at most {item.rows} rows"
    return ""


def _counts(losses: Losses, rows: int, *, paired: bool) -> bool:
    """Return whether losses can be those of a rate: each 0 or 1; of differences, each -1, 0 or 1."""
    whole = losses.total.is_integer() and losses.squares.is_integer() and losses.squares <= rows
    return whole and (abs(losses.total) <= losses.squares if paired else losses.total == losses.squares)


def judge(gate: Gate, measured: Sequence[Measured], *, champion: bool, attempt: int) -> tuple[Finding, ...]:
    """Return what is found of each metric.

    A limit passes when the whole interval is within it, fails when the whole interval is beyond it, and is undecided in
    between. A metric with both limits fails if either fails and passes only if both do. No held-out row in the metric's
    denominator is NoData, which never passes; nor does a champion that was not measured.

    Args:
        gate: what must hold.
        measured: the sums of each metric.
        champion: whether there is one to compare with.
        attempt: the gate's number among those of the model on the same held-out rows, from 1.
    """
    by_name = {item.name: item for item in measured}
    return tuple(_find(metric, by_name[metric.name], champion=champion, attempt=attempt) for metric in gate.metrics)


def overall(gate: Gate, results: Sequence[Finding]) -> Verdict:
    """Return the gate's verdict: one failure fails, all must pass, the rest is undecided."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if verdicts <= {Verdict.PASS}:
        return Verdict.PASS
    undecided_only = verdicts <= {Verdict.PASS, Verdict.UNDECIDED}
    return Verdict.PASS if undecided_only and gate.on_undecided is OnUndecided.PASS else Verdict.UNDECIDED


def _find(asked: GateMetric, measured: Measured, *, champion: bool, attempt: int) -> Finding:
    metric, alpha = asked.metric(), stats.spent(attempt)
    if not measured.rows:
        what = f"{asked.name}: no held-out row counts for the {metric.title}. Hold out more."
        return _nothing(asked.name, reasons.NO_HELD_OUT_ROWS, what)
    if champion and asked.max_regression is not None and measured.difference is None:
        what = f"{asked.name}: the champion was not measured on the held-out rows."
        return _nothing(asked.name, reasons.CHAMPION_NOT_MEASURED, what)
    held = Held(measured.of(measured.candidate), rate=metric.rate, paired=False)
    value, judged = measured.candidate.total / measured.rows, []
    if asked.max is not None:
        judged.append((stats.judge(held, float(asked.max), alpha), f"{metric.title} {value:.4g}, max {asked.max}"))
    baseline = None
    if asked.max_regression is not None and measured.difference is not None and measured.baseline is not None:
        apart = Held(measured.of(measured.difference), rate=metric.rate, paired=True)
        baseline = measured.baseline / measured.rows
        what = f"{metric.title} {value:.4g} against the champion's {baseline:.4g}, maxRegression {asked.max_regression}"
        judged.append((stats.judge(apart, float(asked.max_regression), alpha), what))
    if not judged:
        interval = held.interval(alpha)
        verdict, reason = Verdict.PASS, reasons.NO_CHAMPION
        message, needed = f"{asked.name}: {metric.title} {value:.4g}; there is no champion to compare with.", None
    else:
        decisive = _decisive([judgement for judgement, _ in judged])
        interval, verdict, reason = judged[-1][0].interval, decisive.verdict, decisive.reason
        needed = _needed([judgement for judgement, _ in judged])
        told = " ".join(_sentence(judgement, what, alpha) for judgement, what in judged)
        message = f"{asked.name}: {told}{_again(attempt)}"
    return Finding(
        name=asked.name,
        verdict=verdict,
        reason=reason,
        message=clip(message, MESSAGE_LENGTH),
        value=_decimal(value),
        low=_decimal(interval.low),
        high=_decimal(interval.high),
        baseline=None if baseline is None else _decimal(baseline),
        samples=measured.rows,
        needed=needed,
    )


def _decisive(judged: Sequence[Judgement]) -> Judgement:
    order = (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS)
    return min(judged, key=lambda judgement: order.index(judgement.verdict))


def _needed(judged: Sequence[Judgement]) -> int | None:
    """Return how many more rows decide all that is undecided; None if something would stay so, or nothing is."""
    undecided = [judgement.needed for judgement in judged if judgement.verdict is Verdict.UNDECIDED]
    known = [needed for needed in undecided if needed is not None]
    return max(known) if known and len(known) == len(undecided) else None


def _nothing(name: str, reason: Reason, message: str) -> Finding:
    return Finding(name=name, verdict=Verdict.NO_DATA, reason=reason, message=message, samples=0)


_WORDS = {Verdict.PASS: "kept", Verdict.FAIL: "broken", Verdict.UNDECIDED: "undecided"}


def _sentence(judged: Judgement, what: str, alpha: float) -> str:
    interval, sure = judged.interval, 100 * (1 - 2 * alpha)
    days = f"{judged.days} days" if judged.days > 1 else "one day, so how days differ is not known"
    shown = f"{what}: {_WORDS[judged.verdict]} ({sure:.3g} % interval {interval.low:.4g} to {interval.high:.4g}"
    told = f"{shown}, {judged.rows} rows of {days})."
    if judged.verdict is not Verdict.UNDECIDED:
        return told
    if judged.needed is None:
        return f"{told} It lies so near its limit that no number of held-out rows would decide."
    return f"{told} About {judged.needed} more held-out rows that count for it would decide."


def _again(attempt: int) -> str:
    return f" Gate {attempt} of the model on these rows: each must show more than the one before." * (attempt > 1)


def _decimal(value: float) -> str | None:
    return decimal(value) if isfinite(value) and abs(value) < LARGEST else None
