"""What a planner may see: the cache of watched objects and the facts that were fetched from outside the cluster."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from perennial.api.messages.state import State
from perennial.manifests.build import Owner
from perennial.manifests.jobs import lacks_pods
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Call, Delete

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Generic[T]):
    """An external fact.

    `value` is the last that was read (None: never), `error` why the latest read failed (None: it did not). An outage
    is thus a fact with an error: planners hold on it, they never fail on it.
    """

    value: T | None = None
    error: str | None = None


class Cache(Protocol):
    """The watched objects, as the API server last reported them. Reading is cheap and never blocks."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None."""
        ...

    def list(self, kind: str, namespace: str) -> Sequence[Manifest]:
        """Return the namespace's objects of a kind, sorted by name."""
        ...

    def children(self, uid: str, kind: str) -> Sequence[Manifest]:
        """Return the objects of a kind whose controller owner has this uid, sorted by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What a call brought: its outcome as flat data (`{"runId": …}`), or the error that stopped it."""

    value: Mapping[str, str] | None = None
    error: str | None = None


class Results(Protocol):
    """What calls brought, until a plan that does not repeat them has been carried out: that plan recorded them.

    A planner makes a call that has no result; records a success in status; tells of an error (which goes by itself, so
    that the call is made again). What is lost on the way is made again: every call is idempotent.
    """

    def result(self, call: Call) -> CallResult | None:
        """Return the outcome of an equal call, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A version of a registered model: the run it comes from and the digest of its files, where one was recorded."""

    version: str
    run_id: str | None = None
    digest: str | None = None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A registered model as MLflow knows it. `exists` is False where the registry said that there is no such model."""

    name: str
    exists: bool
    aliases: Mapping[str, str]
    versions: Mapping[str, ModelVersion]
    """The versions that were read: at least those behind aliases and those asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs the cluster's service-account tokens: its name, and its public keys (RFC 7517)."""

    url: str
    keys: tuple[Mapping[str, str], ...]


class Facts(Protocol):
    """What is known of the world outside the cluster API. Asking is cheap, never blocks, and keeps the fact fresh."""

    def collector(self, namespace: str, name: str) -> Fact[State]:
        """Return what the collector of a ModelDeployment said last."""
        ...

    def model(self, name: str, version: str | None = None) -> Fact[RegisteredModel]:
        """Return what the registry said last of a registered model; `version` is one that `versions` must have."""
        ...

    def refusal(self, job: Manifest) -> Fact[str]:
        """Return why no pod may be created for a Job that has none: the API server's sentence, if it said one."""
        ...

    def issuer(self) -> Fact[Issuer]:
        """Return who signs the cluster's tokens, by which collectors tell who calls."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """The operator's settings that children are built from."""

    operator_image: str
    server_image: str
    router_image: str
    mlflow_url: str
    operator_user: str
    """The user name of the operator's service account, which collectors take the policy from."""
    cluster_domain: str = "cluster.local"
    image_pull_policy: str = "IfNotPresent"
    model_names: str = "{namespace}.{name}"
    """What a model is called in MLflow. By default a namespace's models are its own: no namespace has a dot in it."""

    def registered_model(self, namespace: str, name: str) -> str:
        """Return the name in MLflow (of the registered model and of the experiment) of a namespace's model."""
        return self.model_names.format(namespace=namespace, name=name)


def refused(jobs: Iterable[Manifest], pods: Sequence[Manifest], facts: Facts) -> dict[str, str]:
    """Return why the Jobs that run and have no pods have none, by uid: those for which somebody said it."""
    said = {job["metadata"]["uid"]: facts.refusal(job).value for job in jobs if lacks_pods(job, pods)}
    return {uid: text for uid, text in said.items() if text is not None}


def owner_of(seen: Manifest) -> Owner:
    """Return the owner that a custom resource is to its children."""
    metadata = seen["metadata"]
    return Owner(kind=seen["kind"], namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])


def delete_of(seen: Manifest) -> Delete:
    """Return the deletion of exactly the object that was seen."""
    metadata = seen["metadata"]
    return Delete(
        api_version=seen["apiVersion"],
        kind=seen["kind"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
    )
