"""Whom a collector believes: written by the operator, read by the collector."""

from perennial.api.messages.wire import Wire


class Trust(Wire):
    """Whom a collector believes, and whom it lets do what: `trust.json` in its ConfigMap.

    Everyone proves itself by a service-account token of the cluster, made for `audience` alone.
    """

    issuer: str
    keys: tuple[dict[str, str], ...]
    """The cluster's public keys, as its JWKS has them (RFC 7517)."""
    audience: str
    """The one audience that a token must be for: this collector's."""
    operator: str
    """The user name of the operator: it alone tells the policy."""
    namespace: str
    """The ModelDeployment's namespace, whose service accounts report predictions and read the state."""
    labellers: tuple[str, ...] | None = None
    """The user names that labels are taken from; None: those of all service accounts of the namespace."""
    unproven_predictions: bool = False
    """Whether predictions are also taken from pods without a token, because an earlier release made them."""
