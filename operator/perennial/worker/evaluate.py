"""`evaluate`: measure the losses of a trained model and of the champion on the same held-out rows.

Both predict through the server's own code, so what is judged is what would be served. The verdict is not taken here:
the operator takes it from the sums.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from perennial.api.messages.evaluation import AskedMetric, Evaluation, EvaluationRequest, Measured
from perennial.families.metrics import as_numbers
from perennial.stats.days import Days
from perennial.stats.sums import Sums
from perennial.worker import report
from perennial.worker.errors import BadArguments, BadData
from perennial.worker.measure import UNITS_A_SECOND
from perennial.worker.registry import ModelFiles, Registry

_BATCH_ROWS = 65_536


class Predictor(Protocol):
    """A loaded model, as `perennial.models.loading.load` returns it."""

    @property
    def signature(self) -> Any:
        """The columns that it was logged with, as `perennial.models.columns.Signature`; None: nobody knows."""

    def predict(self, frame: Any) -> Any:
        """Return one score a row: floats, 1-D."""


@dataclass(frozen=True, slots=True)
class Champion:
    """The registered version that the trained model is compared with, and the digest recorded for it."""

    name: str
    version: str
    digest: str | None = None


def request_of(text: str) -> EvaluationRequest:
    """Read what the operator asks for.

    Raises:
        BadArguments: it asks for what this release does not know, or is not of the form agreed upon.
    """
    try:
        return EvaluationRequest.read(text)
    except ValueError as error:
        raise BadArguments(f"the evaluation must be asked for as this release knows it, but: {error}") from error


@dataclass(slots=True)
class _ByDay:
    """One metric's losses by day: of the candidate, of the champion, and their differences."""

    asked: AskedMetric
    candidate: dict[int, Sums] = field(default_factory=dict)
    baseline: dict[int, Sums] = field(default_factory=dict)
    difference: dict[int, Sums] = field(default_factory=dict)

    def add(self, truth: Any, day: Any, candidate: Any, baseline: Any | None) -> None:
        """Count some more rows: labels, days since the epoch, the models' scores; all 1-D and of equal length."""
        metric = self.asked.metric()
        over = metric.over(truth)
        days, losses = day[over], metric.losses(truth, candidate)[over]
        _add(self.candidate, days, losses)
        if baseline is not None:
            others = metric.losses(truth, baseline)[over]
            _add(self.baseline, days, others)
            _add(self.difference, days, losses - others)

    def measured(self, *, compared: bool) -> Measured:
        """Return what was measured; without a champion nothing is said of one."""
        candidate, baseline, difference = (
            Days.of(days.values()) for days in (self.candidate, self.baseline, self.difference)
        )
        if not compared:
            return Measured.made(self.asked.name, candidate)
        return Measured.made(self.asked.name, candidate, baseline, difference)


def _add(sums: dict[int, Sums], days: Any, losses: Any) -> None:
    import numpy as np  # noqa: PLC0415 - heavy

    found, places = np.unique(days, return_inverse=True)
    rows = np.bincount(places, minlength=len(found))
    totals, squares = (np.bincount(places, weights=each, minlength=len(found)) for each in (losses, losses * losses))
    for day, n, total, square in zip(found.tolist(), rows.tolist(), totals.tolist(), squares.tolist(), strict=True):
        sums[day] = sums.get(day, Sums()) + Sums(n, total, square)


def evaluate(data: Path | None, run_id: str, champion: Champion | None, asked: EvaluationRequest) -> dict[str, Any]:
    """Download the run's model and the champion, let both predict the rows below `data`, and measure their losses.

    Without metrics there is nothing to measure: then only the model's address and digest are reported.

    Raises:
        BadArguments: there are metrics but no data.
        BadData: the rows are unusable, the run logged no model, or a model cannot be loaded or cannot predict them.
        Unavailable: MLflow does not answer.
    """
    if asked.metrics and data is None:
        raise BadArguments("metrics need --data, the folder with the held-out rows")
    registry = Registry()
    logged = registry.logged_model(run_id, asked.logged_as)
    with tempfile.TemporaryDirectory(prefix="perennial-models-") as scratch:
        files = registry.download(logged.address, Path(scratch, "candidate"))
        results: Sequence[Measured] = ()
        if asked.metrics and data is not None:
            candidate = _loaded(files, "the trained model")
            baseline = None
            if champion is not None:
                address = f"models:/{champion.name}/{champion.version}"
                downloaded = registry.download(address, Path(scratch, "baseline"), champion.digest)
                baseline = _loaded(downloaded, "the champion")
            results = measure(data, candidate, baseline, asked)
    told = Evaluation(
        source=logged.address, digest=files.digest, logged_as=logged.name, logged=logged.of, results=tuple(results)
    ).json_data()
    if not report.fits(told):
        raise BadData(f"the result must fit {report.MESSAGE_BYTES} bytes: give the model or the metrics shorter names")
    return told


def measure(
    data: Path, candidate: Predictor, baseline: Predictor | None, asked: EvaluationRequest
) -> Sequence[Measured]:
    """Let the models predict every labelled row below `data`, in pieces, and return the losses, metric by metric.

    Raises:
        BadData: no row is labelled, labels are not what a metric asks for, or a model cannot predict the rows.
    """
    counts = [_ByDay(metric) for metric in asked.metrics]
    rows = _Rows(data, asked.target, asked.time)
    progress = report.Progress("evaluating", rows.total, (1.0, "rows"))
    for piece in rows:
        truth = _truth(piece.labels, asked)
        scores = _scores(candidate, piece.frame, "the trained model")
        others = None if baseline is None else _scores(baseline, piece.frame, "the champion")
        for count in counts:
            count.add(truth, piece.day, scores, others)
        progress.add(len(truth))
    if not rows.labelled:
        raise BadData(f"the held-out rows must have labels in {asked.target!r}, but none has")
    report.say(f"evaluated {rows.labelled} rows; {rows.total - rows.labelled} without a label were left out")
    return [count.measured(compared=baseline is not None) for count in counts]


class _Piece(NamedTuple):
    """Some labelled rows: what models may see, the labels, and the day of each, counted from the epoch in UTC."""

    frame: Any
    labels: Any
    day: Any


@dataclass(slots=True)
class _Rows:
    """The labelled rows of a folder of Parquet files, in pieces."""

    folder: Path
    target: str
    time: str | None
    total: int = 0
    labelled: int = 0
    _files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - heavy

        self._files = sorted(path for path in self.folder.rglob("*.parquet") if path.is_file())
        if not self._files:
            raise BadData(f"{self.folder} must have Parquet files, but has none")
        self.total = sum(pq.read_metadata(file).num_rows for file in self._files)

    def __iter__(self) -> Iterator[_Piece]:
        import pyarrow.parquet as pq  # noqa: PLC0415

        for file in self._files:
            with pq.ParquetFile(file) as parquet:
                if self.target not in parquet.schema_arrow.names:
                    raise BadData(f"{file.relative_to(self.folder)} must have the target column {self.target!r}")
                for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                    day, frame = _days(batch, self.time), batch.to_pandas()
                    known = frame[self.target].notna().to_numpy()
                    if known.any():
                        self.labelled += int(known.sum())
                        frame = frame[known]
                        yield _Piece(frame.drop(columns=self.target), frame[self.target], day[known])


def _days(batch: Any, time: str | None) -> Any:
    """Return the day of each row, counted from the epoch in UTC; 0 for all where there is no event time."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    if time is None:
        return np.zeros(batch.num_rows, dtype=np.int64)
    times = batch.column(batch.schema.names.index(time))
    return times.cast(pa.int64()).to_numpy(zero_copy_only=False) // (86_400 * UNITS_A_SECOND[times.type.unit])


def _truth(labels: Any, asked: EvaluationRequest) -> Any:
    """Return labels as numbers."""
    import numpy as np  # noqa: PLC0415

    codes, found = labels.factorize()
    values = found.tolist()
    numbers = as_numbers(values)
    for wanted in sorted({item.metric().labels for item in asked.metrics}):
        usable = wanted.usable(numbers)
        if not usable.all():
            wrong = int((~usable[codes]).sum())
            raise BadData(
                f"the target {asked.target!r} must be {wanted.value} for these metrics, but {wrong} of {len(codes)} "
                f"labels are not, such as {values[int(np.argmin(usable))]!r}"
            )
    return numbers[codes]


def _loaded(files: ModelFiles, who: str) -> Predictor:
    from perennial.models.loading import load  # noqa: PLC0415 - heavy

    try:
        model: Predictor = load(files.folder)
    except Exception as error:  # whatever a user's model does when loaded, its author must hear of it
        raise BadData(f"{who} must be loadable by the server, but: {type(error).__name__}: {error}") from error
    return model


_NEVER_MISSING = {"integer", "long", "boolean"}
"""Types of a signature that have no value for "missing"."""


def _hold_missing_values(model: Predictor, frame: Any, who: str) -> None:
    """Tell the script's author that a signature, which was inferred from rows that had it all, is too narrow."""
    for column in model.signature.columns if model.signature else ():
        if column.type in _NEVER_MISSING and column.name in frame.columns and frame[column.name].isna().any():
            raise BadData(
                f"{who} must take missing values in column {column.name!r}, which held-out rows have, but its "
                f"signature lacks them: it says {column.type}. Log it as double: cast the column with "
                "astype('float64') before infer_signature"
            )


def _scores(model: Predictor, frame: Any, who: str) -> Any:
    import numpy as np  # noqa: PLC0415

    _hold_missing_values(model, frame, who)
    try:
        scores = np.asarray(model.predict(frame), dtype=float)
    except Exception as error:
        raise BadData(
            f"{who} must be able to predict the held-out rows, but: {type(error).__name__}: {error}"
        ) from error
    if scores.shape != (len(frame),) or not np.isfinite(scores).all():
        raise BadData(f"{who} must give one finite score a row, but gave an array of shape {scores.shape}")
    return scores
