"""What each image is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster import internal_images
from cluster.oci import Blob, Image, RunConfig
from cluster.paths import REPOSITORY
from images import layers

REGISTRY = "perennial.dev"
# The user 10001 has no home; libraries that insist on one get /tmp, which pods mount an emptyDir on.
_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TZ": "UTC",
    "USER": "perennial",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image.

    Attributes:
        layers: What makes each layer, the lowest first, with its line in the image's history.
        config: How its containers start.
    """

    layers: Mapping[str, Callable[[], Blob]]
    config: RunConfig


def _config(*command: str, directory: str = "/") -> RunConfig:
    return RunConfig(environment=_ENVIRONMENT, command=command, directory=directory)


_DEBIAN = {"Debian with Python": layers.debian}
_SERVER = _DEBIAN | {"requirements/server.txt": lambda: layers.packages("server")}
_PERENNIAL = {"operator/perennial": layers.perennial}

RECIPES: Mapping[str, Recipe] = {
    "operator": Recipe(
        _DEBIAN | {"requirements/operator.txt": lambda: layers.packages("operator")} | _PERENNIAL,
        _config("python3", "-m", "perennial.app"),
    ),
    "server": Recipe(_SERVER | _PERENNIAL, _config("python3", "-m", "perennial.server")),
    "router": Recipe(_DEBIAN | {"requirements/router.txt": layers.envoy}, _config("envoy", "--version")),
    "mlflow": Recipe(
        _SERVER | {"requirements/mlflow.txt": lambda: layers.packages("mlflow", above="server")},
        _config("python3", "-m", "mlflow", "--version"),
    ),
    "flights": Recipe(
        _SERVER
        | {
            "requirements/flights.txt": lambda: layers.packages("flights", above="server"),
            "examples/flights": lambda: layers.application(REPOSITORY / "examples" / "flights"),
        },
        _config("python3", directory="/app"),
    ),
}


def build(name: str) -> Image:
    """Build an image, as far as its layers are not there already."""
    recipe = RECIPES[name]
    made = [(make(), made_by) for made_by, make in recipe.layers.items()]
    return internal_images.store().add_image(f"{REGISTRY}/{name}", made, recipe.config)
