"""Reading the cluster through kubectl."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from perennial.cli.errors import CliError
from perennial.terms import names

OWN_KINDS: Final = ",".join(each.full for each in names.KINDS)
CHILD_KINDS: Final = "jobs.batch,pods"
CHILD_SELECTOR: Final = names.SELECTOR
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cluster and namespace to read. None leaves it to kubectl: the current context and its namespace."""

    namespace: str | None = None
    all_namespaces: bool = False
    context: str | None = None
    kubeconfig: str | None = None

    def flags(self) -> list[str]:
        """Return kubectl's flags for it."""
        flags = ["--all-namespaces"] if self.all_namespaces else []
        for name in ("namespace", "context", "kubeconfig"):
            value = getattr(self, name)
            if value is not None and not (name == "namespace" and self.all_namespaces):
                flags.append(f"--{name}={value}")
        return flags


def read(target: Target, kinds: str, *, selector: str | None = None) -> list[dict[str, Any]]:
    """Return the objects of some kinds (comma-separated).

    Raises:
        CliError: kubectl is missing, or could not read them; the message is its own, or says what to do about it.
    """
    command = ["kubectl", "get", kinds, "--output=json", "--request-timeout=20s", *target.flags()]
    if selector is not None:
        command.append(f"--selector={selector}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - no shell
    except FileNotFoundError:
        raise CliError("kubectl must be on PATH: this is a plugin of it.") from None
    except subprocess.TimeoutExpired:
        raise CliError(f"The cluster must answer within {_SECONDS} s, and it did not.") from None
    if done.returncode != 0:
        raise CliError(_explained(done.stderr.strip().splitlines()))
    try:
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    except (ValueError, KeyError):
        raise CliError("kubectl must answer with a list in JSON, and it did not.") from None
    return items


def _explained(lines: Sequence[str]) -> str:
    said = lines[-1] if lines else "kubectl failed and said nothing."
    if "the server doesn't have a resource type" in said:
        return "Perennial is not installed in this cluster: its kinds are missing. Install its Helm chart first."
    return said.removeprefix("error: ").removeprefix("Error from server ")
