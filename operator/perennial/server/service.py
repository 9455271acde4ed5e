"""The server's life: loading, warming up, serving, draining; and one prediction from body to scores."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from time import time
from typing import ParamSpec, TypeVar
from uuid import uuid4

from perennial.models.columns import BadRowsError, Values
from perennial.models.loading import Model, ModelError, Scores, load
from perennial.server.protocols import Rows
from perennial.server.reporter import Reported, Reporter

P = ParamSpec("P")
T = TypeVar("T")

MOST_ID = 200
"""Characters of a prediction id. `<id>:<row>` must fit into what the collector takes."""

log = logging.getLogger("perennial.server")


class NotReadyError(Exception):
    """It is too early to predict."""

    status = 503


class Phase(Enum):
    """Where a server is in its life. Only while `READY` it wants traffic; while `DRAINING` it still answers."""

    LOADING = "Loading"
    READY = "Ready"
    DRAINING = "Draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is served: the registered model's name and version, and the ModelDeployment's version (a hash)."""

    model: str
    model_version: str
    version: str


class Service:
    """One model, one thread that asks it."""

    def __init__(self, identity: Identity, reporter: Reporter | None) -> None:
        self.identity = identity
        self.reporter = reporter
        self.phase = Phase.LOADING
        self.model: Model | None = None
        self.predictions = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def start(self, directory: str, warmup: int) -> None:
        """Load the model, let it predict `warmup` times, then be ready. Raises ModelError."""
        self.model = await self._on_thread(load, directory)
        await self._on_thread(warm_up, self.model, warmup)
        self.phase = Phase.READY
        log.info("ready", extra={"model": self.identity.model, "model_version": self.identity.model_version})

    async def predict(self, rows: Rows, id_of_request: str | None) -> tuple[str, Scores, int]:
        """Return the prediction's id, its scores, and how many of its rows will be counted; queue it for the report.

        Raises:
            BadRowsError: the rows or the id are not what they must be.
            ModelError: the model failed.
            NotReadyError: the model is not loaded yet.
        """
        name = id_of_request or rows.id or str(uuid4())
        if not is_prediction_id(name):
            raise BadRowsError(f"the prediction id: must be at most {MOST_ID} printable characters")
        if self.model is None:
            raise NotReadyError("the model is still being loaded")
        scores = await self._on_thread(self.model.predict_columns, rows.columns, rows.number)
        self.predictions += rows.number
        recorded = 0 if self.reporter is None else self.reporter.add(_reported(name, time(), scores))
        return name, scores, recorded

    async def _on_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))


def is_prediction_id(name: str) -> bool:
    """Tell whether a prediction may be called so. What is not printable may be no Unicode either."""
    return 0 < len(name) <= MOST_ID and name.isprintable()


def warm_up(model: Model, times: int) -> None:
    """Let a model predict before anyone waits for it: its own input example, else a row of zeros.

    Raises:
        ModelError: it cannot even predict the example it was logged with. Zeros may be refused, they are only a guess.
    """
    columns: Mapping[str, Values] | None = model.example
    if columns is None and model.signature is not None:
        columns = model.signature.zeros()
    if not columns:
        return
    rows = len(next(iter(columns.values())))
    for _ in range(times):
        try:
            model.predict_columns(columns, rows)
        except (BadRowsError, ModelError) as error:
            if model.example is None:
                log.info("warm-up skipped", extra={"reason": str(error)})
                return
            raise ModelError(f"the model must be able to predict its own input example, but: {error}") from error


def _reported(name: str, now: float, scores: Scores) -> Iterator[Reported]:
    """Yield a request's predictions; row i of several is called `<id>:<i>`."""
    if len(scores) == 1:
        yield Reported(name, now, float(scores[0]))
        return
    for i, score in enumerate(scores):
        yield Reported(f"{name}:{i}", now, float(score))
