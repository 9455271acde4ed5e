"""The operator's settings: one dataclass, filled from flags `--name` and environment variables `PERENNIAL_NAME`.

Each field says its unit, its default and what is traded for what. `python -m perennial.app --help` and
docs/reference/settings.md show them.
"""

import argparse
import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Final, Literal

from perennial.terms.names import COLLECTOR_PORT, HEALTH_PORT, METRICS_PORT

PREFIX: Final = "PERENNIAL_"
_SERVICE_LINK: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_.*)?)$")


class SettingsError(Exception):
    """A setting that cannot be used. The message names the flag or the variable, and what must hold."""


def _setting(text: str, default: Any = MISSING, *, at_least: float | None = None) -> Any:
    """Declare a setting: what it does (for people), its default (none: it must be given), the least number allowed."""
    return field(default=default, metadata={"text": inspect.cleandoc(text), "at_least": at_least})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be chosen about one operator process. Build it by `from_environment`."""

    image_operator: str = _setting("The image of this program; the collectors run it too.")
    image_server: str = _setting("The image of the default model server and of the worker that runs in Jobs.")
    image_router: str = _setting("The image of the routers (Envoy).")
    mlflow_url: str = _setting(
        "Where MLflow is, as pods of all namespaces reach it, for example http://mlflow.ml:5000."
    )
    model_names: str = _setting(
        """What a model, spec.model.name, is called in MLflow; {namespace} and {name} are filled in. The default keeps
        namespaces apart, which then may use equal names. {name} alone is for those who share models among namespaces,
        or keep what release 0.1 registered.""",
        "{namespace}.{name}",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = _setting(
        "The pull policy of all pods that are made.", "IfNotPresent"
    )
    namespace: str = _setting("The operator's own namespace: its lease is there.", "perennial-system")
    service_account: str = _setting(
        """The operator's service account, in its own namespace. By its tokens the operator proves itself to the
        collectors, each by a token that is good for that collector alone.""",
        "perennial",
    )
    namespaces: tuple[str, ...] = _setting(
        """The namespaces to watch, separated by commas; empty: all. With a list, namespaced Roles are enough, and each
        namespace costs nine watches.""",
        (),
    )
    cluster_domain: str = _setting("The cluster's DNS domain.", "cluster.local")
    collector_url: str = _setting(
        """The URL of a ModelDeployment's collector; {name}, {namespace} and {domain} are filled in. Only to be changed
        where the operator runs outside the cluster.""",
        f"http://{{name}}-collector.{{namespace}}.svc.{{domain}}:{COLLECTOR_PORT}",
    )
    workers: int = _setting(
        """Reconciliations at a time, for each kind. A reconciliation waits for the API server most of its time; more
        workers start many objects sooner and load the API server more.""",
        16,
        at_least=1,
    )
    reconcile_limit_seconds: float = _setting(
        "Seconds after which a reconciliation is cut off and tried again.", 60.0, at_least=1
    )
    resync_seconds: float = _setting(
        """Seconds between full rounds: everything is listed, compared with what the watches reported, and planned
        anew. Watches prove themselves, by a sign of life each minute and by the reports of the operator's own writes,
        and where one does not, there is a list at once; so this is for what nobody thought of.""",
        36000.0,
        at_least=1,
    )
    max_backoff_seconds: float = _setting(
        """The longest pause, in seconds, before something that failed is tried again. It bounds how long after the end
        of an outage everything has recovered.""",
        12.0,
        at_least=0.1,
    )
    lease_name: str = _setting("The name of the lease by which one of several operators leads.", "perennial-operator")
    lease_duration_seconds: float = _setting(
        """Seconds after which another operator takes over from one that crashed. Shorter recovers sooner, and bears
        shorter outages of the API server.""",
        15.0,
        at_least=1,
    )
    lease_renew_deadline_seconds: float = _setting(
        "Seconds without a renewed lease after which the leader ends itself. Below the lease's duration.",
        10.0,
        at_least=0.5,
    )
    lease_retry_period_seconds: float = _setting(
        """Seconds between two renewals of the lease, at most. Below half of the renew deadline. Others look twice as
        often, so after a clean stop one takes over within half of it.""",
        2.0,
        at_least=0.1,
    )
    metrics_port: int = _setting("The port of /metrics; 0 takes a free one.", METRICS_PORT, at_least=0)
    health_port: int = _setting("The port of /healthz and /readyz; 0 takes a free one.", HEALTH_PORT, at_least=0)
    bind: str = _setting("The address that these ports are bound to; empty: all.", "")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting("What is logged, at least.", "INFO")
    log_format: Literal["json", "text"] = _setting("json: one object a line; text: for eyes.", "json")

    def __post_init__(self) -> None:
        duration, deadline = self.lease_duration_seconds, self.lease_renew_deadline_seconds
        if not duration > deadline > 2 * self.lease_retry_period_seconds:
            raise SettingsError(
                f"{PREFIX}LEASE_DURATION_SECONDS > {PREFIX}LEASE_RENEW_DEADLINE_SECONDS"
                f" > 2 x {PREFIX}LEASE_RETRY_PERIOD_SECONDS must hold"
            )
        try:
            self.collector_url.format(name="n", namespace="ns", domain="d")
        except (LookupError, ValueError) as error:
            raise SettingsError(
                f"{PREFIX}COLLECTOR_URL may contain {{name}}, {{namespace}} and {{domain}} and no other braces"
            ) from error
        try:
            told_apart = self.model_names.format(namespace="ns", name="a") != self.model_names.format(
                namespace="ns", name="b"
            )
        except (LookupError, ValueError):
            told_apart = False
        if not told_apart or set(self.model_names) & set("/:"):
            raise SettingsError(
                f"{PREFIX}MODEL_NAMES must contain {{name}}, may contain {{namespace}} and no other braces, / or :"
            )

    def collector(self, namespace: str, name: str) -> str:
        """Return the URL of a ModelDeployment's collector."""
        return self.collector_url.format(name=name, namespace=namespace, domain=self.cluster_domain)


def from_environment(environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. `flags` has the texts that were given as flags, by field; they overrule the environment.

    Raises:
        SettingsError: something is missing or cannot be used. All such are named at once.
    """
    given = flags or {}
    types = typing.get_type_hints(Settings)
    problems: list[str] = []
    values: dict[str, Any] = {}
    for each in fields(Settings):
        source = flag(each) if each.name in given else variable(each)
        text = given[each.name] if each.name in given else environment.get(source)
        if text is not None:
            try:
                values[each.name] = _parse(text, types[each.name], each.metadata["at_least"])
            except ValueError as error:
                problems.append(f"{source}={text!r} {error}")
        elif each.default is MISSING:
            problems.append(f"{variable(each)} or {flag(each)} must be set")
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(**values)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting. What is given ends in the parsed namespace as text, by field; the rest is absent."""
    for each in fields(Settings):
        default = "must be set" if each.default is MISSING else f"default: {shown(each.default)}"
        parser.add_argument(
            flag(each),
            metavar="VALUE",
            dest=each.name,
            default=argparse.SUPPRESS,
            help=f"{described(each)} ({default}; {variable(each)})".replace("%", "%%"),
        )


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that look like settings and are none, sorted: a typing error, or another release's.

    They are no reason to refuse to start, because an upgrade may be rolled back. Those that Kubernetes makes for every
    Service (`PERENNIAL_…_SERVICE_HOST`) are not meant.
    """
    known = {variable(each) for each in fields(Settings)}
    candidates = (name for name in environment if name.startswith(PREFIX) and name not in known)
    return sorted(name for name in candidates if not _SERVICE_LINK.search(name))


def variable(setting: "Field[Any]") -> str:
    """Return the environment variable of a field."""
    return PREFIX + setting.name.upper()


def flag(setting: "Field[Any]") -> str:
    """Return the flag of a field."""
    return "--" + setting.name.replace("_", "-")


def described(setting: "Field[Any]") -> str:
    """Return what a setting is for, as one line, with the values that are allowed where they are few."""
    text = " ".join(setting.metadata["text"].split())
    wanted = typing.get_type_hints(Settings)[setting.name]
    return f"{text} One of {', '.join(typing.get_args(wanted))}." if typing.get_origin(wanted) is Literal else text


def shown(value: Any) -> str:
    """Return a default as one would write it."""
    text = ",".join(value) if isinstance(value, tuple) else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text or "empty"


def _parse(text: str, wanted: Any, at_least: float | None) -> Any:
    """Return the value of a variable. Raises ValueError with what must hold, as the end of a sentence."""
    if typing.get_origin(wanted) is Literal:
        allowed = typing.get_args(wanted)
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text
    if typing.get_origin(wanted) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if wanted in (int, float):
        try:
            number = wanted(text)
        except ValueError:
            raise ValueError(f"must be {'a whole number' if wanted is int else 'a number'}") from None
        if not number >= (at_least or 0) or number == float("inf"):
            raise ValueError(f"must be at least {at_least or 0:g}")
        return number
    return text
