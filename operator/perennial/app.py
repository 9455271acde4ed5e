"""The operator: everything put together. `python -m perennial.app` runs it; nothing imports it.

    kopf's watches ─▶ intake ─▶ store, queues ─▶ controllers ─▶ planners ─▶ applier ─▶ Kubernetes, MLflow, collectors
    lists, now and then ─▲            ▲                                        │
    facts that changed ───────────────┴──────────── answers to writes ◀────────┘

Every process fills its cache and follows the watches; the one that holds the lease plans and writes. It ends at once
when it loses the lease; it gives the lease back when it is asked to stop (SIGTERM, SIGINT).
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

from perennial import __version__, facts, logs
from perennial.manifests.jobs import lacks_pods
from perennial.manifests.manifest import Manifest
from perennial.manifests.resources import JOB, POD
from perennial.plan.actions import Call
from perennial.plan.kind import Kind, unreadable
from perennial.plan.kinds import KINDS, MODEL_DEPLOYMENT
from perennial.plan.model_deployment.trust import user
from perennial.plan.observed import Cache, PlanSettings, Results
from perennial.plan.view import View
from perennial.runtime.applier import CallHandler
from perennial.runtime.connection import connect
from perennial.runtime.controller import Reconciler
from perennial.runtime.errors import LeadershipLost, Terminal, Unavailable
from perennial.runtime.intake import Mapper
from perennial.runtime.leader import LeaseSettings
from perennial.runtime.operator import Operator, OperatorSettings
from perennial.runtime.resources import Key
from perennial.runtime.store import Store
from perennial.settings import Settings, SettingsError, add_flags, from_environment, unknown
from perennial.terms import reasons
from perennial.terms.names import GROUP

log = logging.getLogger(__name__)

_USAGE_ERROR: Final = 64
_FAILED: Final = 1


def references(store: Store) -> Mapping[str, tuple[Mapper, ...]]:
    """Return who else looks at an object: kind → functions from the object to keys."""

    def mapper(kind: Kind[Any], looking: Callable[[Cache, Manifest], Iterable[str]]) -> Mapper:
        def keys(changed: Manifest) -> Iterable[Key]:
            return (Key(kind.name, changed["metadata"]["namespace"], name) for name in looking(store, changed))

        return keys

    found: dict[str, tuple[Mapper, ...]] = {}
    for kind in KINDS:
        for other, looking in kind.looks_at.items():
            found[other] = (*found.get(other, ()), mapper(kind, looking))
    return found


def users_of_model(store: Store, planning: PlanSettings, registered: str) -> Iterable[Key]:
    """Yield the keys that look at a registered model of MLflow's."""
    for kind in KINDS:
        for key in store.keys(kind.name):
            manifest = store.get(*key)
            model = kind.registered_model(manifest) if manifest is not None else None
            if model is not None and planning.registered_model(key.namespace, model) == registered:
                yield key


def owner_key(job: Manifest) -> Key:
    """Return the key of the object that a Job belongs to."""
    metadata = job["metadata"]
    labels = metadata["labels"]
    return Key(labels[f"{GROUP}/kind"], metadata["namespace"], labels[f"{GROUP}/name"])


def has_no_pods(store: Store, job: Manifest) -> bool:
    """Return whether a Job is there, is not done, and has no pods."""
    metadata = job["metadata"]
    live = store.get(JOB.kind, metadata["namespace"], metadata["name"])
    same = live is not None and live["metadata"]["uid"] == metadata["uid"]
    return live is not None and same and lacks_pods(live, store.children(metadata["uid"], POD.kind))


def calls_to(outside: facts.Outside) -> CallHandler:
    """Return what makes a plan's calls, with the runtime's errors."""

    async def carry_out(key: Key, call: Call) -> Mapping[str, str]:
        try:
            return await outside.carry_out(call, key.namespace, key.name)
        except facts.Refused as error:
            raise Terminal(reasons.REFUSED, str(error)) from error
        except facts.Unavailable as error:
            raise Unavailable(error.service, error.message, after=error.retry_after) from error

    return carry_out


def plan_settings(settings: Settings) -> PlanSettings:
    """Return what the planners want to know of the settings."""
    return PlanSettings(
        operator_image=settings.image_operator,
        server_image=settings.image_server,
        router_image=settings.image_router,
        mlflow_url=settings.mlflow_url,
        operator_user=user(settings.namespace, settings.service_account),
        cluster_domain=settings.cluster_domain,
        image_pull_policy=settings.image_pull_policy,
        model_names=settings.model_names,
    )


def reconcilers(store: Store, outside: facts.Outside, planning: PlanSettings) -> Sequence[Reconciler[Any]]:
    """Return how the kinds are reconciled."""

    def reconciler(kind: Kind[Any]) -> Reconciler[Any]:
        def observe(results: Results, namespace: str, name: str) -> Any:
            return kind.observe(View(cache=store, results=results, facts=outside, settings=planning), namespace, name)

        def gone(key: Key) -> None:
            if kind is MODEL_DEPLOYMENT:
                outside.forget(key.namespace, key.name)

        return Reconciler(
            resource=kind.resource,
            observe=observe,
            plan=kind.plan,
            gone=gone,
            unreadable=partial(unreadable, kind),
            ended=kind.ended,
        )

    return tuple(reconciler(kind) for kind in KINDS)


def operator_settings(settings: Settings, identity: str) -> OperatorSettings:
    """Return what the runtime wants to know of the settings."""
    lease = LeaseSettings(
        namespace=settings.namespace,
        name=settings.lease_name,
        identity=identity,
        duration_seconds=settings.lease_duration_seconds,
        renew_deadline_seconds=settings.lease_renew_deadline_seconds,
        retry_period_seconds=settings.lease_retry_period_seconds,
    )
    return OperatorSettings(
        lease=lease,
        namespaces=settings.namespaces,
        workers=settings.workers,
        reconcile_limit_seconds=settings.reconcile_limit_seconds,
        resync_seconds=settings.resync_seconds,
        max_backoff_seconds=settings.max_backoff_seconds,
        bind=settings.bind,
        metrics_port=settings.metrics_port,
        health_port=settings.health_port,
    )


async def run(settings: Settings) -> None:
    """Run the operator until it is asked to stop.

    Raises:
        Terminal: there is no cluster to talk to.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connection = await connect()
    store = Store()
    async with facts.client_session() as session, connection.session() as api_session:
        mlflow = facts.MLflow(settings.mlflow_url, session)
        planning = plan_settings(settings)
        models = facts.ModelFacts(mlflow, lambda model: operator.intake.enqueue(users_of_model(store, planning, model)))
        api = facts.Transport("the Kubernetes API", connection.server, api_session)
        tokens = facts.Tokens(
            api,
            settings.namespace,
            settings.service_account,
            lambda: operator.intake.enqueue(store.keys(MODEL_DEPLOYMENT.name)),
        )
        collectors = facts.Collectors(
            session, tokens, lambda key: operator.intake.enqueue([Key(MODEL_DEPLOYMENT.name, *key)])
        )
        refusals = facts.Refusals(
            api, lambda job: operator.intake.enqueue([owner_key(job)]), lambda job: has_no_pods(store, job)
        )
        outside = facts.Outside(mlflow, models, collectors, tokens, settings.collector, refusals=refusals)
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        operator = Operator(
            connection,
            operator_settings(settings, identity),
            store=store,
            reconcilers=reconcilers(store, outside, planning),
            calls=calls_to(outside),
            mappers=references(store),
            kinds=KINDS,
            on_lost=_end_at_once,
        )
        try:
            await operator.run(stop)
        finally:
            await outside.close()


def _collect_garbage_rarely() -> None:
    """Let the collector of cycles run once in 50,000 new containers instead of 700, and never over what is imported.

    The cache is JSON, which has no cycles and is freed by reference counting. Walking through it again and again took
    a third of the processor time while a thousand TrainingRuns started.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


def _end_at_once() -> None:
    """End the process without another request, whatever is on its way: another process may be leading."""
    logging.shutdown()
    os._exit(_FAILED)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with flags as `SettingsError` does with values."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise SettingsError(f"{message}; see --help")


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code: 0 stopped, 1 failed, 64 settings that cannot be used."""
    parser = _Parser(
        prog="python -m perennial.app",
        description="The Perennial operator. Each setting is a flag or an environment variable; the flag counts.",
        usage="%(prog)s [--SETTING VALUE ...]",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"perennial {__version__}")
    add_flags(parser)
    try:
        settings = from_environment(os.environ, vars(parser.parse_args(arguments)))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE_ERROR
    logs.configure(settings.log_level, settings.log_format)
    for name in unknown(os.environ):
        log.warning("this variable is no setting", extra={"variable": name})
    _collect_garbage_rarely()
    try:
        asyncio.run(run(settings))
    except (Terminal, LeadershipLost, OSError) as error:
        log.error("the operator ends", extra={"error": str(error)})  # noqa: TRY400 - a sentence is enough
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
