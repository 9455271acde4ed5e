"""MLflow, as a worker needs it: which model a run logged, and the files of a model, named by their digest.

MLflow's own client waits more than four minutes for a server that is down; here a call gives up within seconds, and
the Job's retries take over. Importing mlflow takes 1.5 s, so it happens on first use.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.worker import report
from perennial.worker.errors import BadArguments, BadData, Unavailable
from perennial.worker.manifest import Manifest, manifest_of_folder
from perennial.worker.snapshots import storage_errors

TRACKING_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_FINAL_ERRORS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_VERSION_MARK = "registered_model_meta"
"""MLflow's client adds this file when it downloads by version. It tells how it was asked: no part of the model."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk: its folder, which has an `MLmodel` file, and the digest over all its files."""

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Logged:
    """A model that a run logged: its address in MLflow, the name it was logged under, how many were under that name."""

    address: str
    name: str
    of: int = 1


class Registry:
    """A client of the MLflow server that `MLFLOW_TRACKING_URI` names."""

    def __init__(self) -> None:
        if not os.environ.get(TRACKING_URI_VARIABLE):
            raise BadArguments(f"{TRACKING_URI_VARIABLE} must be set to MLflow's address")
        os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
        import mlflow  # noqa: PLC0415 - heavy

        self._mlflow = mlflow
        self._client = mlflow.MlflowClient()

    def logged_model(self, run_id: str, name: str | None = None) -> Logged:
        """Return the model that a run logged, under `name` where one is given: the last, if the script repeated it.

        Scripts with a client older than MLflow 3 leave an artifact of the run; its path is its name, and its address is
        `runs:/RUN/PATH` instead of `models:/m-…`.

        Raises:
            BadData: there is no such run; it logged no model, none of that name, or several of which none is named.
            Unavailable: MLflow does not answer.
        """
        with _mlflow_errors(f"run {run_id}"):
            run = self._client.get_run(run_id)
            models = self._logged_models(run.info.experiment_id, run_id)
        history = json.loads(run.data.tags.get("mlflow.log-model.history", "[]"))
        found = [(model.name, f"models:/{model.model_id}") for model in models] or [
            (entry["artifact_path"], f"runs:/{run_id}/{entry['artifact_path']}") for entry in reversed(history)
        ]
        if not found:
            raise BadData(f"run {run_id} must log a model (mlflow.<flavour>.log_model), but logged none")
        names = sorted({each for each, _ in found})
        listed = ", ".join(names)
        if name is None and len(names) > 1:
            raise BadData(
                f"spec.model.loggedAs must name the model that is meant, because run {run_id} logged several: {listed}"
            )
        wanted = name or names[0]
        addresses = [address for each, address in found if each == wanted]
        if not addresses:
            raise BadData(f"run {run_id} must log a model named {wanted} (spec.model.loggedAs), but logged {listed}")
        return Logged(addresses[0], wanted, len(addresses))

    def _logged_models(self, experiment: str, run_id: str) -> list[Any]:
        """Return all of a run's logged models, the newest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_logged_models(
                experiment_ids=[experiment],
                filter_string=f"source_run_id = '{run_id}'",
                order_by=[{"field_name": "creation_time", "ascending": False}],
                page_token=token,
            )
            found.extend(page)
            token = page.token
            if not token:
                return found

    def download(self, address: str, folder: Path, expected_digest: str | None = None) -> ModelFiles:
        """Download a model into `folder`, which then holds nothing else.

        The files appear there only after their digest was found to be the expected one.

        Args:
            address: `models:/NAME/VERSION`, `models:/m-…` or `runs:/RUN/PATH`.
            folder: where the files go; what an earlier attempt left there is replaced.
            expected_digest: `sha256:…` that was recorded when the model was judged; None: whatever it is.

        Raises:
            BadData: there is no such model, it is no MLflow model, or its digest is another.
            Unavailable: MLflow does not answer.
            StorageFailed: the folder cannot be written.
        """
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                _remove(path)
            incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder))
        try:
            report.say(f"downloading {address}")
            with _mlflow_errors(address):
                model = Path(self._mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(incoming)))
            manifest = _checked(model, address, expected_digest)
            with storage_errors(folder):
                for path in model.iterdir():
                    path.rename(folder / path.name)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        report.say(
            f"downloaded {address}: {len(manifest.entries)} files, {manifest.size / 1e6:.1f} MB, {manifest.digest}"
        )
        return ModelFiles(folder, manifest.digest)


def _checked(model: Path, address: str, expected_digest: str | None) -> Manifest:
    (model / _VERSION_MARK).unlink(missing_ok=True)
    if not (model / "MLmodel").is_file():
        raise BadData(f"{address} must be an MLflow model, but has no MLmodel file")
    manifest = manifest_of_folder(model)
    if expected_digest and manifest.digest != expected_digest:
        raise BadData(
            f"{address} must have the digest {expected_digest} that was recorded when it was judged, but has "
            f"{manifest.digest}: its files were changed afterwards"
        )
    return manifest


def _remove(path: Path) -> None:
    if path.name == "lost+found":
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _mlflow_errors(what: str) -> Iterator[None]:
    """Tell what MLflow's client raises in one sentence, and whether to try again.

    Raises:
        BadData: MLflow knows of no such thing.
        Unavailable: it did not answer, or refused.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - heavy

    try:
        yield
    except MlflowException as error:
        if error.error_code in _FINAL_ERRORS:
            raise BadData(f"MLflow must have {what}, but says: {_first_line(error)}") from error
        raise Unavailable(f"MLflow at {_address()} must answer about {what}, but: {_first_line(error)}") from error
    except OSError as error:
        raise Unavailable(f"MLflow at {_address()} must answer about {what}, but: {_first_line(error)}") from error


def _address() -> str:
    return _public(os.environ[TRACKING_URI_VARIABLE])


def _first_line(error: Any) -> str:
    return report.clip(_public(str(error).strip().partition("\n")[0]), 300)


def _public(text: str) -> str:
    """Leave out what an address may have of user and password: messages end up in status."""
    return re.sub(r"//[^/@\s]*@", "//", text)
