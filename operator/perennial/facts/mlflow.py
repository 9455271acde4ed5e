"""MLflow's tracking server and model registry, over its REST API.

Not by the mlflow library: mlflow-skinny costs 77 MiB and 1.5 s to import, blocks its thread (246 s a call with its
default retries while the server is down) and repeats POSTs that are not idempotent. Here every exchange has 5 s, a
breaker spares a server that is down, and everything that creates looks first: a run is found by its tag
`UID_TAG`, a version by its run. Two callers in one process wait for each other; the operator has one leader.
Where a lost reply has made two all the same, everybody picks the older one, so there is one for everybody.
"""

from asyncio import Lock
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any, Final
from weakref import WeakValueDictionary

import aiohttp

from perennial.facts.breaker import CircuitBreaker
from perennial.facts.errors import Refused
from perennial.facts.transport import Transport
from perennial.plan.actions import EnsureRun, FinishRun, RegisterVersion, SetAlias
from perennial.terms.names import DIGEST_TAG, UID_TAG

SERVICE: Final = "MLflow"
_API: Final = "api/2.0/mlflow/"
_MISSING: Final = "RESOURCE_DOES_NOT_EXIST"
_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A registered model: its aliases (alias → version) and tags."""

    name: str
    aliases: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A version of a registered model. `digest` is its tag `DIGEST_TAG`, where it has one."""

    version: str
    run_id: str | None
    source: str
    tags: Mapping[str, str]

    @property
    def digest(self) -> str | None:
        """The recorded SHA-256 of the model's files."""
        return self.tags.get(DIGEST_TAG)


class MLflow:
    """Client of one MLflow server. Every method may raise `Unavailable` and `Refused`; every one may be repeated.

    Args:
        url: where the server is; a path prefix and user information are allowed.
        session: shared, see `perennial.facts.transport.client_session`.
        timeout_seconds: for each exchange.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        timeout_seconds: float = 5.0,
        breaker: CircuitBreaker | None = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._transport = Transport(
            SERVICE,
            url,
            session,
            timeout_seconds=timeout_seconds,
            breaker=breaker or CircuitBreaker(),
            explain=self._advice,
        )
        self._now = now
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()

    async def ensure_experiment(self, name: str) -> str:
        """Return the id of the experiment of that name, which is created if there is none."""
        if (found := await self._experiment(name)) is not None:
            return found
        try:
            created = await self._post("experiments/create", {"name": name})
        except Refused as refused:
            if refused.code != _EXISTS or (found := await self._experiment(name)) is None:
                raise
            return found
        return str(created["experiment_id"])

    async def ensure_run(self, call: EnsureRun) -> Mapping[str, str]:
        """Return `experimentId` and `runId` of the run with the call's uid, created (RUNNING) if there is none."""
        async with self._lock(f"run {call.uid}"):
            experiment = await self.ensure_experiment(call.experiment)
            run = await self._run_of(experiment, call.uid)
            if run is None:
                tags = {**call.tags, UID_TAG: call.uid}
                body = {
                    "experiment_id": experiment,
                    "run_name": call.run_name,
                    "start_time": int(self._now() * 1000),
                    "tags": _pairs(tags),
                }
                run = str((await self._post("runs/create", body))["run"]["info"]["run_id"])
            return {"experimentId": experiment, "runId": run}

    async def finish_run(self, call: FinishRun) -> Mapping[str, str]:
        """End a run with the call's status, whatever its script said; a run that is gone needs no end."""
        try:
            run = await self._get("runs/get", {"run_id": call.run_id})
            info = run["run"]["info"]
            if info.get("status") == call.status and info.get("end_time"):
                return {}
            end = info.get("end_time") or int(self._now() * 1000)
            await self._post("runs/update", {"run_id": call.run_id, "status": call.status, "end_time": end})
        except Refused as refused:
            if refused.code != _MISSING:
                raise
        return {}

    async def register_version(self, call: RegisterVersion) -> Mapping[str, str]:
        """Return `version`, the registered model's for the call's run; it and the model are created if absent."""
        async with self._lock(f"model {call.model}"):
            if (version := await self._version_of(call.model, call.run_id)) is not None:
                return {"version": version}
            await self._ensure_model(call.model)
            body: dict[str, Any] = {
                "name": call.model,
                "source": call.source,
                "run_id": call.run_id,
                "tags": _pairs(call.tags),
            }
            if (model_id := _logged_model(call.source)) is not None:
                body["model_id"] = model_id  # else MLflow refuses a source `models:/m-…`
            created = await self._post("model-versions/create", body)
            return {"version": str(created["model_version"]["version"])}

    async def set_alias(self, call: SetAlias) -> Mapping[str, str]:
        """Point an alias at a version. MLflow has no compare-and-set: the operator is its aliases' only writer."""
        await self._post("registered-models/alias", {"name": call.model, "alias": call.alias, "version": call.version})
        return {}

    async def get_registered_model(self, name: str) -> Registration | None:
        """Return a registered model, or None if the registry says that there is none of that name."""
        answer = await self._get_or_none("registered-models/get", {"name": name})
        if answer is None:
            return None
        model = answer["registered_model"]
        aliases = {str(item["alias"]): str(item["version"]) for item in model.get("aliases", [])}
        return Registration(name=name, aliases=aliases, tags=_tags(model))

    async def get_model_version(self, name: str, version: str) -> VersionRecord | None:
        """Return a version of a registered model, or None if the registry says that there is none."""
        if not (version.isascii() and version.isdigit()):
            return None
        answer = await self._get_or_none("model-versions/get", {"name": name, "version": version})
        if answer is None:
            return None
        record = answer["model_version"]
        return VersionRecord(
            version=str(record["version"]),
            run_id=record.get("run_id") or None,
            source=str(record.get("source", "")),
            tags=_tags(record),
        )

    async def _experiment(self, name: str) -> str | None:
        answer = await self._get_or_none("experiments/get-by-name", {"experiment_name": name})
        if answer is None:
            return None
        experiment = answer["experiment"]
        if experiment.get("lifecycle_stage") == "deleted":
            message = f"experiment {name!r} is deleted: restore it, or remove it for good with `mlflow gc`"
            raise Refused(SERVICE, message, 400, "INVALID_STATE")
        return str(experiment["experiment_id"])

    async def _run_of(self, experiment: str, uid: str) -> str | None:
        """Return the oldest run with a uid. MLflow finds nothing unless it is told the experiments."""
        found = await self._post(
            "runs/search",
            {
                "experiment_ids": [experiment],
                "filter": f"tags.`{UID_TAG}` = {_quoted(uid)}",
                "order_by": ["attributes.start_time ASC"],
                "max_results": 10,
            },
        )
        infos = [run["info"] for run in found.get("runs", [])]
        oldest = min(infos, key=lambda info: (int(info.get("start_time", 0)), str(info["run_id"])), default=None)
        return None if oldest is None else str(oldest["run_id"])

    async def _version_of(self, model: str, run_id: str) -> str | None:
        query = {"filter": f"name = {_quoted(model)} AND run_id = {_quoted(run_id)}", "max_results": "100"}
        found = await self._get("model-versions/search", query)
        versions = [int(item["version"]) for item in found.get("model_versions", [])]
        return str(min(versions)) if versions else None

    async def _ensure_model(self, name: str) -> None:
        try:
            await self._post("registered-models/create", {"name": name})
        except Refused as refused:
            if refused.code != _EXISTS:
                raise

    async def _get(self, path: str, query: Mapping[str, str]) -> Any:
        return await self._transport.ask("GET", _API + path, query=query)

    async def _get_or_none(self, path: str, query: Mapping[str, str]) -> Any:
        try:
            return await self._get(path, query)
        except Refused as refused:
            if refused.code == _MISSING:  # a bare 404 is not MLflow's word: the URL is wrong
                return None
            raise

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._transport.ask("POST", _API + path, body=body)

    def _lock(self, key: str) -> Lock:
        return self._locks.setdefault(key, Lock())

    def _advice(self, status: int, body: str) -> str | None:
        shown = self._transport.shown_url
        if status == 403 and "Invalid Host header" in body:  # noqa: PLR2004 - forbidden
            host = shown.split("://", 1)[-1].split("/", 1)[0]
            return f"the server does not serve the name it was called by: start it with --allowed-hosts={host}"
        if status in {401, 403}:
            return f"{shown} answered {status}: it wants credentials, or those in its URL may not do this"
        if status == 404 and "error_code" not in body:  # noqa: PLR2004 - not found
            return f"{shown} is no MLflow server (it answered 404 to an API call): check the tracking URL and its path"
        return None


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _tags(entity: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in entity.get("tags", [])}


def _quoted(value: str) -> str:
    """Quote a value for a filter; MLflow's filters know no escapes."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise Refused(
        SERVICE, f"{value!r} cannot be searched for: it has both kinds of quotes", 400, "INVALID_PARAMETER_VALUE"
    )


def _logged_model(source: str) -> str | None:
    """Return the id in `models:/m-…`; None for a registered version (`models:/name/3`) or another URI."""
    scheme, _, rest = source.partition(":/")
    return rest if scheme == "models" and rest.startswith("m-") and "/" not in rest else None
