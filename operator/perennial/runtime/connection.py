"""How to reach the Kubernetes API, and as whom: one answer for our own requests and for kopf's watches.

`kubernetes.aio.config` knows the ways in (service account with rotated tokens, kubeconfig with certificates, tokens,
exec plugins); everything above it is plain aiohttp, because the library's models cost time and memory for every object.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from perennial.runtime.errors import Terminal
from perennial.terms import reasons

_EXEC_REFRESH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API is and how to prove who we are. Good for any number of sessions, in any event loop."""

    configuration: Any
    refresher: Any = None
    """A loader whose credentials run out (exec plugin, OIDC), or None."""

    @property
    def server(self) -> str:
        """Return the API's base URL, without a slash at its end."""
        return str(self.configuration.host).rstrip("/")

    def session(
        self, *traces: aiohttp.TraceConfig, middlewares: Sequence[aiohttp.ClientMiddlewareType] = ()
    ) -> aiohttp.ClientSession:
        """Open a session whose every request carries credentials as they are at that moment."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl()),
            middlewares=(self._authorise, *middlewares),
            trace_configs=list(traces),
            proxy=self.configuration.proxy,  # as the kubeconfig says; the environment's proxies are for the outside
            headers={"User-Agent": "perennial"},
        )

    async def keep_fresh(self) -> None:
        """Renew credentials that run out, for ever. Returns at once where the configuration renews them itself."""
        if self.refresher is not None:
            await config.kube_config.refresh_token(self.refresher, self.configuration, _EXEC_REFRESH_SECONDS)

    async def _authorise(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        elif self.configuration.username:
            request.headers["Authorization"] = self.configuration.get_basic_auth_token()
        return await handler(request)

    def _ssl(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cafile=self.configuration.ssl_ca_cert, cadata=self.configuration.ca_cert_data or None
        )
        # Certificates that older Kubernetes distributions make for themselves lack what VERIFY_X509_STRICT (default
        # since Python 3.13) asks for; kubectl and client-go do not ask for it either.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        if not self.configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def connect() -> Connection:
    """Find the API: the pod's service account, else the user's kubeconfig (`KUBECONFIG` or ~/.kube/config).

    Raises:
        Terminal: there is neither.
    """
    configuration = Configuration()
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException:
        pass
    else:
        return Connection(configuration)
    try:
        loader = await config.load_kube_config(client_configuration=configuration, persist_config=False)
    except (config.ConfigException, OSError) as error:
        raise Terminal(
            reasons.NO_CLUSTER, f"neither a service account nor a usable kubeconfig says where Kubernetes is: {error}"
        ) from error
    return Connection(configuration, loader)
