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


FETCH = "model"
"""The init container of a server's pods that fetches the model from MLflow."""


def snapshots_claim(dataset: str) -> str:
    """Return the name of the claim that keeps a Dataset's versions."""
    return f"{dataset}-snapshots"
