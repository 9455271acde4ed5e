"""`evaluate`: count the mistakes of a trained model and of the champion on the same held-out rows.

Both predict through the server's own code, so what is judged is what would be served. The verdict is not taken here:
the operator takes it from the counts.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from perennial.api.training_run import GateMetricName
from perennial.worker import report
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.registry import ModelFiles, Registry

_BATCH_ROWS = 65_536


class Predictor(Protocol):
    """A loaded model, as `perennial.server.model.load` returns it."""

    def predict(self, frame: Any) -> Any:
        """Return one score a row: floats, 1-D."""


class Metric(BaseModel):
    """A rate of mistakes: a score of at least `threshold` is a positive prediction."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metric: GateMetricName
    threshold: float = 0.5


class GateSpec(BaseModel):
    """What is counted: the column with the truth, and the rates."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: str
    metrics: tuple[Metric, ...]

    @classmethod
    def parse(cls, text: str) -> "GateSpec":
        """Read the JSON `{"target": …, "metrics": [{"metric": …, "threshold": …}]}`.

        Raises:
            BadArguments: it is not of that form.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise BadArguments(f"the gate must be JSON with target and metrics; {place}: {first['msg']}") from error


@dataclass(frozen=True, slots=True)
class Champion:
    """The registered version that the trained model is compared with, and the digest recorded for it."""

    name: str
    version: str
    digest: str | None = None


@dataclass(slots=True)
class Mistakes:
    """Counts for one metric: rows it is over, and who was wrong on them. The `only_…` are the discordant pairs."""

    metric: Metric
    total: int = 0
    candidate_bad: int = 0
    baseline_bad: int = 0
    only_candidate_bad: int = 0
    only_baseline_bad: int = 0

    def add(self, truth: Any, candidate: Any, baseline: Any | None) -> None:
        """Count some more rows: booleans for the truth, scores for the models; all 1-D and of equal length."""
        over = _rows_over(self.metric.metric, truth)
        wrong = ((candidate >= self.metric.threshold) != truth) & over
        self.total += int(over.sum())
        self.candidate_bad += int(wrong.sum())
        if baseline is not None:
            wrong_too = ((baseline >= self.metric.threshold) != truth) & over
            self.baseline_bad += int(wrong_too.sum())
            self.only_candidate_bad += int((wrong & ~wrong_too).sum())
            self.only_baseline_bad += int((wrong_too & ~wrong).sum())

    def result(self, *, compared: bool) -> dict[str, Any]:
        """Return the counts as the contract has them; those of the champion are null where there was none."""
        return {
            "metric": self.metric.metric.value,
            "total": self.total,
            "candidateBad": self.candidate_bad,
            "baselineBad": self.baseline_bad if compared else None,
            "onlyCandidateBad": self.only_candidate_bad if compared else None,
            "onlyBaselineBad": self.only_baseline_bad if compared else None,
        }


def evaluate(data: Path | None, run_id: str, champion: Champion | None, gate: GateSpec) -> dict[str, Any]:
    """Download the run's model and the champion, let both predict the rows below `data`, and count their mistakes.

    Without metrics there is nothing to count: then only the model's address and digest are reported.

    Raises:
        BadArguments: there are metrics but no data.
        BadData: the rows are unusable, the run logged no model, or a model cannot be loaded or cannot predict them.
        Unavailable: MLflow does not answer.
    """
    if gate.metrics and data is None:
        raise BadArguments("metrics need --data, the folder with the held-out rows")
    registry = Registry()
    source = registry.logged_model(run_id)
    with tempfile.TemporaryDirectory(prefix="perennial-models-") as scratch:
        files = registry.download(source, Path(scratch, "candidate"))
        results: list[dict[str, Any]] = []
        if gate.metrics and data is not None:
            candidate = _loaded(files, "the trained model")
            baseline = None
            if champion is not None:
                address = f"models:/{champion.name}/{champion.version}"
                downloaded = registry.download(address, Path(scratch, "baseline"), champion.digest)
                baseline = _loaded(downloaded, "the champion")
            counts = count_mistakes(data, candidate, baseline, gate)
            results = [count.result(compared=baseline is not None) for count in counts]
    return {"source": source, "digest": files.digest, "results": results}


def count_mistakes(data: Path, candidate: Predictor, baseline: Predictor | None, gate: GateSpec) -> Sequence[Mistakes]:
    """Let the models predict every labelled row below `data`, in pieces, and return the counts, metric by metric.

    Raises:
        BadData: no row is labelled, labels are not two-valued, or a model cannot predict the rows.
    """
    counts = [Mistakes(metric) for metric in gate.metrics]
    rows = _Rows(data, gate.target)
    progress = report.Progress("evaluating", rows.total, (1.0, "rows"))
    for frame, truth in rows:
        scores = _scores(candidate, frame, "the trained model")
        others = None if baseline is None else _scores(baseline, frame, "the champion")
        for count in counts:
            count.add(truth, scores, others)
        progress.add(len(truth))
    if not rows.labelled:
        raise BadData(f"the held-out rows must have labels in {gate.target!r}, but none has")
    report.say(f"evaluated {rows.labelled} rows; {rows.total - rows.labelled} without a label were left out")
    return counts


@dataclass(slots=True)
class _Rows:
    """The labelled rows of a folder of Parquet files: frames without the target, and the truth as booleans."""

    folder: Path
    target: str
    total: int = 0
    labelled: int = 0
    _files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

        self._files = sorted(self.folder.rglob("*.parquet"))
        if not self._files:
            raise BadData(f"{self.folder} must have Parquet files, but has none")
        self.total = sum(pq.read_metadata(file).num_rows for file in self._files)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import pyarrow.parquet as pq  # noqa: PLC0415

        for file in self._files:
            with pq.ParquetFile(file) as parquet:
                if self.target not in parquet.schema_arrow.names:
                    raise BadData(f"{file.relative_to(self.folder)} must have the target column {self.target!r}")
                for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                    frame = batch.to_pandas()
                    frame = frame[frame[self.target].notna()]
                    if len(frame):
                        self.labelled += len(frame)
                        yield frame.drop(columns=self.target), _truth(frame[self.target], self.target)


def _truth(labels: Any, target: str) -> Any:
    values = labels.unique().tolist()
    if not all(isinstance(value, bool | int | float) and value in (0, 1) for value in values):
        raise BadData(f"the target {target!r} must be true/false or 0/1, but has values such as {values[0]!r}")
    return labels.to_numpy().astype(bool)


def _rows_over(metric: GateMetricName, truth: Any) -> Any:
    """Return which rows a rate is over: positives, negatives, or all."""
    match metric:
        case GateMetricName.FALSE_NEGATIVE_RATE:
            return truth
        case GateMetricName.FALSE_POSITIVE_RATE:
            return ~truth
        case GateMetricName.ERROR_RATE:
            return truth | ~truth


def _loaded(files: ModelFiles, who: str) -> Predictor:
    from perennial.server.model import load  # noqa: PLC0415 - heavy

    try:
        model: Predictor = load(files.folder)
    except Exception as error:  # whatever a user's model does when loaded, its author must hear of it
        raise BadData(f"{who} must be loadable by the server, but: {type(error).__name__}: {error}") from error
    return model


def _scores(model: Predictor, frame: Any, who: str) -> Any:
    import numpy as np  # noqa: PLC0415

    try:
        scores = np.asarray(model.predict(frame), dtype=float)
    except Exception as error:
        raise BadData(
            f"{who} must be able to predict the held-out rows, but: {type(error).__name__}: {error}"
        ) from error
    if scores.shape != (len(frame),) or not np.isfinite(scores).all():
        raise BadData(f"{who} must give one finite score a row, but gave an array of shape {scores.shape}")
    return scores
