"""A stand-in for MLflow: it answers the REST calls that the operator makes, from memory, in a millisecond.

The bench measures the operator. MLflow's own database costs more than 20 ms a run, which would be measured instead.
What it answers has MLflow's form and MLflow's meaning as far as the operator relies on it: a run is found by its uid
tag, a version by its run, what is missing is said to be missing.
"""

import itertools
import re
from collections import Counter
from typing import Any

from aiohttp import web

_API = "/api/2.0/mlflow/"
_UID = "perennial.dev/uid"


class StandInMLflow:
    """The answers, and how often each call was made (`calls`)."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, dict[str, Any]] = {}
        self._runs_of_uid: dict[str, list[str]] = {}
        self._models: dict[str, list[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    def application(self) -> web.Application:
        """Return the server."""
        made = web.Application()
        made.router.add_route("*", _API + "{path:.+}", self._answer)
        return made

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        asked = await request.json() if request.method == "POST" else dict(request.query)
        self.calls[path] += 1
        answer = getattr(self, "_" + re.sub(r"\W", "_", path))(asked)
        if answer is None:
            missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is no such thing"}
            return web.json_response(missing, status=404)
        return web.json_response(answer)

    def _experiments_get_by_name(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        known = self._experiments.get(asked["experiment_name"])
        if known is None:
            return None
        return {"experiment": {"experiment_id": known, "lifecycle_stage": "active"}}

    def _experiments_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = self._experiments.setdefault(asked["name"], str(len(self._experiments) + 1))
        return {"experiment_id": made}

    def _runs_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"= '(.+)'", asked["filter"])
        uid = found[1] if found else ""
        return {"runs": [self._runs[each] for each in self._runs_of_uid.get(uid, ())]}

    def _runs_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        run_id = f"{next(self._numbers):032x}"
        info = {"run_id": run_id, "experiment_id": asked["experiment_id"], "status": "RUNNING"}
        self._runs[run_id] = {"info": info | {"start_time": asked["start_time"]}}
        uid = next(tag["value"] for tag in asked["tags"] if tag["key"] == _UID)
        self._runs_of_uid.setdefault(uid, []).append(run_id)
        return {"run": self._runs[run_id]}

    def _runs_get(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        known = self._runs.get(asked["run_id"])
        return None if known is None else {"run": known}

    def _runs_update(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        known = self._runs.get(asked["run_id"])
        if known is None:
            return None
        known["info"] |= {"status": asked["status"], "end_time": asked["end_time"]}
        return {"run_info": known["info"]}

    def _model_versions_search(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"name = '(.+)' AND run_id = '(.+)'", asked["filter"])
        model, run_id = (found[1], found[2]) if found else ("", "")
        return {"model_versions": [each for each in self._models.get(model, ()) if each["run_id"] == run_id]}

    def _registered_models_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._models.setdefault(asked["name"], [])
        return {"registered_model": {"name": asked["name"]}}

    def _model_versions_create(self, asked: dict[str, Any]) -> dict[str, Any]:
        versions = self._models[asked["name"]]
        versions.append({**asked, "version": str(len(versions) + 1)})
        return {"model_version": versions[-1]}

    def _registered_models_get(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        return {"registered_model": {"name": asked["name"]}} if asked["name"] in self._models else None

    def _model_versions_get(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        versions = self._models.get(asked["name"], [])
        return next(({"model_version": each} for each in versions if each["version"] == asked["version"]), None)
