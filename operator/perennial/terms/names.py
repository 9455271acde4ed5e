"""Names that several programs must agree on. No pydantic here: the plugin starts with it."""

from dataclasses import dataclass

GROUP = "perennial.dev"


VERSION = "v1alpha1"


API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindName:
    """What a kind is called, and which of its conditions sums it up."""

    kind: str
    plural: str
    short: str
    summary: str

    @property
    def singular(self) -> str:
        """Return what one object is called on a command line."""
        return self.kind.lower()

    @property
    def full(self) -> str:
        """Return the plural with the group, which is also the name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


DATASET = KindName(kind="Dataset", plural="datasets", short="dset", summary="Ready")
TRAINING_RUN = KindName(kind="TrainingRun", plural="trainingruns", short="trun", summary="Succeeded")
MODEL_DEPLOYMENT = KindName(kind="ModelDeployment", plural="modeldeployments", short="mdep", summary="Ready")
KINDS = (DATASET, TRAINING_RUN, MODEL_DEPLOYMENT)
"""In the order of the loop: data, training, serving."""


MANAGED_BY = "app.kubernetes.io/managed-by"
SELECTOR = f"{MANAGED_BY}=perennial"
"""The label selector of everything that the operator makes."""


CHAMPION = "champion"
"""The alias in MLflow of the version that answers."""


REQUEST = f"{GROUP}/request"
"""The annotation by which somebody asks for what a spec can't say: `<verb>@<token>`."""


# --- labels and annotations of what the operator makes ---

KIND_LABEL = f"{GROUP}/kind"
NAME_LABEL = f"{GROUP}/name"
"""Whose child it is."""
SLOT_LABEL = f"{GROUP}/slot"
VERSION_LABEL = f"{GROUP}/version"
"""Which version of a model a pod serves, and where."""
APPLIED = f"{GROUP}/applied"
"""The annotation on each child that carries the hash of the intent it was last applied with."""
STRUCTURE = f"{GROUP}/structure"
"""The annotation of the router's pods with a hash of what only a restart changes."""
NOTHING = f"{GROUP}/nothing"
"""A label that nothing has: a list of it asks whether a kind is served."""
CONTROLLER = f"{GROUP}/operator"
"""Who reports an Event."""


# --- tags in MLflow ---

UID_TAG = f"{GROUP}/uid"
NAMESPACE_TAG = f"{GROUP}/namespace"
NAME_TAG = f"{GROUP}/name"
"""Whose run it is."""
DIGEST_TAG = f"{GROUP}/digest"
DATASET_TAG = f"{GROUP}/dataset"
TRAINING_RUN_TAG = f"{GROUP}/training-run"
"""What a version of a model is, of which data, and who trained it."""


# --- headers of predictions ---

PREDICTION_ID = "x-perennial-prediction-id"
"""The name of a request's predictions, by which labels find them."""
RECORDED = "x-perennial-recorded"
"""How many of a request's rows will be counted: all of them, unless the collector is away for long."""
VERSION_SLOT = "x-perennial-version-slot"
"""Which slot a router sent a request to."""


# --- ports ---

SERVICE_PORT = 80
"""Of the Service that a model's clients ask."""
TRAFFIC_PORT = 8000
STATISTICS_PORT = 9902
ADMIN_PORT = 9901
"""Of a router; the last one on its loopback interface alone."""
SERVER_PORT = 8080
COLLECTOR_PORT = 9900
METRICS_PORT = 9090
HEALTH_PORT = 8080
"""Of the operator."""


FETCH = "model"
"""The init container of a server's pods that fetches the model from MLflow."""


def snapshots_claim(dataset: str) -> str:
    """Return the name of the claim that keeps a Dataset's versions."""
    return f"{dataset}-snapshots"
