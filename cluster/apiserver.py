"""The API alone: a real etcd and kube-apiserver, with the controller manager or without; no node, no root.

    with ControlPlane(directory, controller_manager=True) as control_plane:
        subprocess.run(["kubectl", "--kubeconfig", control_plane.kubeconfig, "get", "namespaces"])

Ready in about three seconds. Pods stay Pending, because nothing runs them; everything else is the real thing.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster import kubernetes
from cluster.control_plane import (
    ControlPlaneSettings,
    Credentials,
    apiserver_command,
    controller_manager_command,
    etcd_command,
    write_audit_policy,
)
from cluster.errors import ClusterError
from cluster.kubeconfig import write_for_certificate, write_for_token
from cluster.process import Program, wait_until
from cluster.rest import Api

_ATTEMPTS = 3
_READY_SECONDS = 60.0


class ControlPlane:
    """A control plane on free ports of the loopback interface, as a context manager.

    Enter it in a thread that lives as long as the control plane must (a test session's main thread): the kernel kills
    the programs when the thread that started them ends, so that nothing is left behind by a killed test session.

    Attributes:
        directory: Its files; made when missing. etcd's data of an earlier use of the same directory is used again.
    """

    def __init__(
        self, directory: Path, *, controller_manager: bool = False, controller_manager_flags: Sequence[str] = ()
    ) -> None:
        """Prepare a control plane; entering it starts it.

        Args:
            directory: An empty or missing directory, for example one of pytest's temporary ones.
            controller_manager: Whether to run the controller manager too: garbage collection, namespaces' deletion,
                service accounts, Jobs and Deployments (their objects, not their containers).
            controller_manager_flags: More flags for it, for example ``--kube-api-qps=100``.
        """
        self.directory = directory
        self._controller_manager = controller_manager
        self._controller_manager_flags = tuple(controller_manager_flags)
        self._settings: ControlPlaneSettings | None = None
        self._programs = ExitStack()

    def __enter__(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            ClusterError: It did not get ready; the message quotes the log.
        """
        binaries = kubernetes.control_plane_binaries()
        credentials = Credentials.create(self.directory / "pki")
        policy = write_audit_policy(self.directory / "audit" / "policy.json")
        for attempt in range(1, _ATTEMPTS + 1):
            # Somebody else may take a port between our looking and the program's binding it: then try others.
            port, etcd_port, etcd_peer_port = _free_ports(3)
            self._settings = ControlPlaneSettings(
                binaries=binaries,
                data=self.directory / "etcd",
                audit_log=self.audit_log,
                audit_policy=policy,
                credentials=credentials,
                advertise="127.0.0.1",
                bind="127.0.0.1",
                port=port,
                etcd_port=etcd_port,
                etcd_peer_port=etcd_peer_port,
            )
            try:
                self._start(self._settings)
            except ClusterError:
                self._programs.close()
                if attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self._programs.close()
                raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything; the files stay."""
        self._programs.close()

    @property
    def url(self) -> str:
        """The API server's address."""
        return self._started.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The audit log: one JSON event a line, written when a request is answered."""
        return self.directory / "audit" / "audit.log"

    @property
    def authority(self) -> Path:
        """The certificate that the API server's own is signed by (PEM)."""
        return self._started.credentials.authority.certificate

    @property
    def api(self) -> Api:
        """A small client with the administrator's rights."""
        return Api(self.url, self.authority, self._started.credentials.admin)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 86400) -> Path:
        """Return a kubeconfig for a service account, with a new token.

        Args:
            namespace: Its namespace.
            name: Its name; it must exist.
            seconds: How long the token is good for.
        """
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api.call("POST", path, {"spec": {"expirationSeconds": seconds}})
        target = self.directory / "kubeconfigs" / f"{namespace}.{name}"
        return write_for_token(target, server=self.url, authority=self.authority, token=answer["status"]["token"])

    @property
    def _started(self) -> ControlPlaneSettings:
        if self._settings is None:
            raise ClusterError("The control plane must be entered (`with ControlPlane(…)`) before it is used.")
        return self._settings

    def _start(self, settings: ControlPlaneSettings) -> None:
        admission = [] if self._controller_manager else ["--disable-admission-plugins=ServiceAccount"]
        apiserver = apiserver_command(settings, "--endpoint-reconciler-type=none", *admission)
        started = [self._program("etcd", etcd_command(settings)), self._program("kube-apiserver", apiserver)]
        self._wait(started, self.api.ready)
        credentials = settings.credentials
        write_for_certificate(self.kubeconfig, server=settings.url, authority=self.authority, pair=credentials.admin)
        if self._controller_manager:
            kubeconfig = write_for_certificate(
                self.directory / "kubeconfigs" / "controller-manager",
                server=settings.url,
                authority=self.authority,
                pair=credentials.controller_manager,
            )
            command = controller_manager_command(settings, kubeconfig, *self._controller_manager_flags)
            started.append(self._program("kube-controller-manager", command))
            self._wait(started, self._has_service_account)

    def _program(self, name: str, command: list[str]) -> Program:
        program = Program(name, command, self.directory / "logs" / f"{name}.log")
        program.start()
        self._programs.callback(program.stop)
        return program

    def _wait(self, programs: list[Program], condition: Callable[[], bool]) -> None:
        def ready() -> bool:
            for program in programs:
                if program.ended():
                    raise ClusterError(program.failure())
            return condition()

        wait_until(ready, seconds=_READY_SECONDS, otherwise=programs[-1].failure)

    def _has_service_account(self) -> bool:
        return bool(self.api.get("/api/v1/namespaces/default/serviceaccounts")["items"])


def _free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
