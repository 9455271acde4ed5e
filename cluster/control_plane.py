"""How etcd, the API server and the controller manager are started: the same for the API alone and for a node."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.pki import Authority, Pair, signing_pair

SERVICE_RANGE = "10.96.0.0/16"
_KUBERNETES_HOSTS = (
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    "DNS:localhost",
    "IP:127.0.0.1",
    "IP:10.96.0.1",
)
_READS = ["get", "list", "watch"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys and certificates of one control plane."""

    authority: Authority
    front_proxy_authority: Authority
    admin: Pair
    apiserver: Pair
    apiserver_to_kubelet: Pair
    front_proxy: Pair
    controller_manager: Pair
    service_accounts: Pair

    @classmethod
    def create(cls, directory: Path, hosts: Sequence[str] = ()) -> "Credentials":
        """Make what is missing.

        Args:
            directory: Where they are kept.
            hosts: More ``IP:`` and ``DNS:`` entries for the API server's certificate.
        """
        authority, front = Authority(directory), Authority(directory, "front-proxy-ca")
        authority.create()
        front.create()
        return cls(
            authority=authority,
            front_proxy_authority=front,
            admin=authority.issue("admin", user="kubernetes-admin", group="system:masters"),
            apiserver=authority.issue("apiserver", user="kube-apiserver", hosts=[*_KUBERNETES_HOSTS, *hosts]),
            apiserver_to_kubelet=authority.issue("apiserver-kubelet", user="kube-apiserver", group="system:masters"),
            front_proxy=front.issue("front-proxy", user="front-proxy-client"),
            controller_manager=authority.issue("controller-manager", user="system:kube-controller-manager"),
            service_accounts=signing_pair(directory, "service-accounts"),
        )


@dataclass(frozen=True, slots=True)
class ControlPlaneSettings:
    """What differs between two control planes.

    Attributes:
        binaries: The directory of the compiled programs.
        data: Where etcd keeps everything.
        audit_log: The file of the audit log; its directory must exist.
        audit_policy: The file of the audit policy.
        credentials: Keys and certificates.
        advertise: The address that pods reach the API server at.
        bind: The address that it listens on.
        port: The API server's port.
        etcd_port: The port of etcd's clients, on the loopback interface.
        etcd_peer_port: The port of etcd's peers, of whom there are none.
    """

    binaries: Path
    data: Path
    audit_log: Path
    audit_policy: Path
    credentials: Credentials
    advertise: str
    bind: str
    port: int
    etcd_port: int
    etcd_peer_port: int

    @property
    def url(self) -> str:
        """The API server's address on its own machine."""
        return f"https://127.0.0.1:{self.port}"


def etcd_command(settings: ControlPlaneSettings) -> list[str]:
    """Return the command that starts etcd, for one member without TLS on the loopback interface."""
    clients, peers = f"http://127.0.0.1:{settings.etcd_port}", f"http://127.0.0.1:{settings.etcd_peer_port}"
    return [
        str(settings.binaries / "etcd"),
        f"--data-dir={settings.data}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # A power cut may cost the data of a cluster that is made in seconds; waiting for disks costs every test.
        "--unsafe-no-fsync",
        "--auto-compaction-retention=1h",
        "--log-level=warn",
    ]


def apiserver_command(settings: ControlPlaneSettings, *more: str) -> list[str]:
    """Return the command that starts the API server."""
    keys = settings.credentials
    return [
        str(settings.binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{settings.etcd_port}",
        f"--advertise-address={settings.advertise}",
        f"--bind-address={settings.bind}",
        f"--secure-port={settings.port}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--client-ca-file={keys.authority.certificate}",
        f"--tls-cert-file={keys.apiserver.certificate}",
        f"--tls-private-key-file={keys.apiserver.key}",
        f"--kubelet-client-certificate={keys.apiserver_to_kubelet.certificate}",
        f"--kubelet-client-key={keys.apiserver_to_kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={keys.front_proxy_authority.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={keys.front_proxy.certificate}",
        f"--proxy-client-key-file={keys.front_proxy.key}",
        f"--service-account-key-file={keys.service_accounts.certificate}",
        f"--service-account-signing-key-file={keys.service_accounts.key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        # As on OpenShift: owner references that block deletion need a right of their own.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        f"--audit-policy-file={settings.audit_policy}",
        f"--audit-log-path={settings.audit_log}",
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=3",
        *more,
    ]


def controller_manager_command(settings: ControlPlaneSettings, kubeconfig: Path, *more: str) -> list[str]:
    """Return the command that starts the controller manager, without a port of its own.

    Args:
        settings: Those of its control plane.
        kubeconfig: How it reaches the API server.
        more: Further flags.
    """
    keys = settings.credentials
    return [
        str(settings.binaries / "kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={keys.authority.certificate}",
        f"--service-account-private-key-file={keys.service_accounts.key}",
        f"--cluster-signing-cert-file={keys.authority.pair.certificate}",
        f"--cluster-signing-key-file={keys.authority.pair.key}",
        *more,
    ]


def write_audit_policy(path: Path) -> Path:
    """Write the audit policy: who did what to which object, without bodies, so that tests can count who wrote.

    What Kubernetes' own parts read is left out; that is nine tenths of the traffic and nobody counts it.
    """
    own = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-proxy",
        "system:kube-scheduler",
        "system:node:node",
    ]
    rules: list[dict[str, Any]] = [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*", "/api*"]},
        {"level": "None", "users": own, "verbs": _READS},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": _READS},
        {"level": "None", "users": own, "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "Metadata"},
    ]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(policy, indent=2) + "\n")
    return path
