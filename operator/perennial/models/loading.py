"""Loading an MLflow model and asking it for scores: one code path for serving and for evaluation.

Any model with MLflow's `python_function` flavour works. A LightGBM Booster is stored without pickle and is asked
directly: MLflow's wrapper takes 5 ms to check a single row, the Booster 0.2 ms to predict it; the scores are the same.
Importing this module is cheap; MLflow and pandas are imported when a model is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perennial.models.columns import BadRowsError, Signature, Values

if TYPE_CHECKING:
    import pandas as pd

Scores = NDArray[np.float64]
Answer = Callable[[Mapping[str, Values], int], Any]
"""Asks a model: columns and the number of rows go in, whatever the model says comes out."""


class ModelError(Exception):
    """The model cannot be loaded, or gives no usable scores. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `signature` is None if it was logged without one, or wants tensors: then rows go in unchecked."""

    signature: Signature | None
    example: Mapping[str, Values] | None
    """The input example it was logged with, as columns."""
    _answer: Answer

    def predict(self, frame: "pd.DataFrame") -> Scores:
        """Return one score a row of a data frame; columns that the model does not know are ignored.

        Raises:
            BadRowsError: the rows are not what the signature wants.
            ModelError: the model failed, or did not answer one finite number a row.
        """
        columns = {str(name): frame[name].to_numpy() for name in frame.columns}
        return self.predict_columns(columns, len(frame))

    def predict_columns(self, columns: Mapping[str, Values], rows: int) -> Scores:
        """Return one score a row, of columns that each have `rows` values. Raises as `predict` does."""
        typed = columns if self.signature is None else self.signature.read(columns, rows)
        try:
            answer = self._answer(typed, rows)
        except Exception as error:
            raise ModelError(f"the model failed: {type(error).__name__}: {_first_line(error)}") from error
        return _scores(answer, rows)


def load(directory: str | Path) -> Model:
    """Load the MLflow model in a directory (where its `MLmodel` file is). Raises ModelError."""
    folder = Path(directory)
    if not (folder / "MLmodel").is_file():
        raise ModelError(f"{folder} must have an MLflow model in it, but there is no file MLmodel")
    import mlflow.models  # noqa: PLC0415 - takes seconds to import

    try:
        metadata = mlflow.models.Model.load(str(folder))
        signature = Signature.of(metadata.get_input_schema())
        answer = _booster(folder, metadata.flavors) or _python_function(folder)
        return Model(signature, _example(metadata, folder), answer)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{folder} cannot be loaded: {type(error).__name__}: {_first_line(error)}") from error


def _booster(folder: Path, flavors: Mapping[str, Mapping[str, Any]]) -> Answer | None:
    """Return how to ask a natively stored LightGBM Booster; None if the model is none, or needs pandas' categories."""
    flavor = flavors.get("lightgbm", {})
    native = flavor.get("model_class") == "lightgbm.basic.Booster"
    if not native or flavors.get("python_function", {}).get("loader_module") != "mlflow.lightgbm":
        return None
    import lightgbm  # noqa: PLC0415 - only where a model needs it

    booster = lightgbm.Booster(model_file=str(folder / flavor["data"]))
    if booster.pandas_categorical:
        return None
    names = booster.feature_name()

    def answer(columns: Mapping[str, Values], rows: int) -> Any:
        # Without a signature, the Booster's own names tell the order where they are the rows' names.
        order = names if set(names) <= set(columns) else list(columns)
        matrix = np.empty((rows, len(order)))
        for i, name in enumerate(order):
            matrix[:, i] = columns[name]
        return booster.predict(matrix, num_threads=1)

    return answer


def _python_function(folder: Path) -> Answer:
    import mlflow.pyfunc  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    schema = model.metadata.get_input_schema()
    tensor = schema is not None and schema.is_tensor_spec() and not schema.has_input_names()

    def answer(columns: Mapping[str, Values], _rows: int) -> Any:
        if tensor:
            kind = schema.inputs[0].type
            return model.predict(np.stack([np.asarray(values) for values in columns.values()], axis=1).astype(kind))
        return model.predict(pd.DataFrame(dict(columns)))

    return answer


def _example(metadata: Any, folder: Path) -> Mapping[str, Values] | None:
    """Return the input example as columns; None if there is none that has named columns."""
    if not metadata.saved_input_example_info:
        return None
    example = metadata.load_input_example(str(folder))
    columns = getattr(example, "columns", None)
    return None if columns is None else {str(name): example[name].to_numpy() for name in columns}


def _scores(answer: Any, rows: int) -> Scores:
    """Return a model's answer as one finite number a row: of two columns of probabilities, the second."""
    try:
        scores = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError("the model must answer numbers") from None
    if scores.ndim == 2 and scores.shape[1] in {1, 2}:  # noqa: PLR2004 - probabilities of one or both classes
        scores = scores[:, -1]
    if scores.shape != (rows,):
        raise ModelError(f"the model must answer one number a row: {rows} rows gave an answer of shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ModelError("the model must answer finite numbers")
    return scores


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:500]


__all__ = ["BadRowsError", "Model", "ModelError", "Scores", "load"]
