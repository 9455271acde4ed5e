"""Names that several programs must agree on."""

GROUP = "perennial.dev"


VERSION = "v1alpha1"


API_VERSION = f"{GROUP}/{VERSION}"
