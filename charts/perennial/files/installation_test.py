"""What `helm test` runs: is Perennial doing its work here? A line a check; exit code 1 if one failed.

It runs in a pod with the operator's own service account and image, and needs Python's standard library alone.
"""

import json
import os
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
KINDS = ("datasets", "modeldeployments", "trainingruns")
PATIENCE_SECONDS = float(os.environ.get("PATIENCE_SECONDS", "60"))


class CheckFailedError(Exception):
    """A check failed; the message says what was seen."""


def get(url: str, *, context: ssl.SSLContext | None = None, token: str = "") -> bytes:
    """Return what is answered to a GET. Raises OSError, and for an error's status too."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:
        return answer.read()


def kubernetes(path: str) -> dict:
    """Return an answer of the API server, asked as the operator."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return json.loads(get(os.environ["API_SERVER"] + path, context=context, token=(ACCOUNT / "token").read_text()))


def api_is_served() -> str:
    """The three kinds are served, and the operator may list them where it is to work."""
    served = {each["name"] for each in kubernetes("/apis/perennial.dev/v1alpha1")["resources"]}
    if missing := sorted(set(KINDS) - served):
        raise CheckFailedError(f"the API server does not serve {', '.join(missing)}: install the CRDs (crds.enabled)")
    namespaces = [f"namespaces/{each}/" for each in os.environ["NAMESPACES"].split(",") if each] or [""]
    for scope in namespaces:
        for kind in KINDS:
            kubernetes(f"/apis/perennial.dev/v1alpha1/{scope}{kind}?limit=1")
    return f"{', '.join(KINDS)}"


def lease_is_held() -> str:
    """Somebody renews the lease, as this clock sees it: no other is trusted."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{os.environ['NAMESPACE']}/leases/{os.environ['LEASE']}"
    first = kubernetes(path)["spec"]
    deadline = time.monotonic() + first["leaseDurationSeconds"]
    while time.monotonic() < deadline:
        now = kubernetes(path)["spec"]
        if now.get("holderIdentity") and now["renewTime"] != first["renewTime"]:
            return f"{now['holderIdentity']} renews it"
        time.sleep(0.5)
    raise CheckFailedError(
        f"nobody renewed it for {first['leaseDurationSeconds']} s; its holder is {first.get('holderIdentity')}"
    )


def operators_are_ready() -> str:
    """Every replica that is wanted is ready, and one of them leads."""
    found = socket.getaddrinfo(os.environ["OPERATORS"], int(os.environ["METRICS_PORT"]), type=socket.SOCK_STREAM)
    addresses = sorted({str(each[4][0]) for each in found})
    if len(addresses) < int(os.environ["REPLICAS"]):
        raise CheckFailedError(f"{len(addresses)} of {os.environ['REPLICAS']} replicas are ready")
    leaders = 0
    for address in addresses:
        host = f"[{address}]" if ":" in address else address
        get(f"http://{host}:{os.environ['HEALTH_PORT']}/readyz")
        figures = get(f"http://{host}:{os.environ['METRICS_PORT']}/metrics").decode()
        leaders += sum(
            line.startswith("leader_election_master_status{") and float(line.rpartition(" ")[2]) == 1
            for line in figures.splitlines()
        )
    if leaders != 1:
        raise CheckFailedError(f"{leaders} of {len(addresses)} replicas say that they lead")
    return f"{len(addresses)} of them, one leads"


def mlflow_answers() -> str:
    """MLflow's API answers by the name that pods use."""
    get(os.environ["MLFLOW_URL"] + "/api/2.0/mlflow/experiments/search?max_results=1")
    return os.environ["MLFLOW_URL"]


CHECKS: dict[str, Callable[[], str]] = {
    "the API is served": api_is_served,
    "the lease is held": lease_is_held,
    "the operators are ready": operators_are_ready,
    "MLflow answers": mlflow_answers,
}


def passed(what: str, check: Callable[[], str], deadline: float) -> bool:
    """Repeat a check until it passes or the deadline is over; print how it went."""
    while True:
        try:
            print(f"ok      {what}: {check()}")
        except (CheckFailedError, OSError, LookupError) as error:
            if time.monotonic() < deadline:
                time.sleep(1)
                continue
            print(f"FAILED  {what}: {error}")
            return False
        return True


def main() -> int:
    """Run all checks."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    failed = [what for what, check in CHECKS.items() if not passed(what, check, deadline)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
