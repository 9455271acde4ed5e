"""Names that several programs must agree on."""

GROUP = "perennial.dev"


VERSION = "v1alpha1"


API_VERSION = f"{GROUP}/{VERSION}"


CHAMPION = "champion"
"""The alias in MLflow of the version that answers."""


REQUEST = f"{GROUP}/request"
"""The annotation by which somebody asks for what a spec can't say: `<verb>@<token>`."""
