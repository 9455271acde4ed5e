"""A client of the Kubernetes API for what this package itself asks of it: JSON over TLS with a client certificate."""

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.errors import ClusterError
from cluster.pki import Pair

_SECONDS = 10.0
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class Api:
    """An API server and the certificate to speak to it with.

    Attributes:
        url: Its address, ``https://host:port``.
        authority: The certificate that the server's own must be signed by.
        pair: The client's certificate and key.
    """

    url: str
    authority: Path
    pair: Pair

    def ready(self) -> bool:
        """Return whether the server answers that it is ready."""
        try:
            status, _ = self._request("GET", "/readyz", None, "application/json")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    def get(self, path: str) -> dict[str, Any]:
        """Return the object or list at a path."""
        return self.call("GET", path)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send a request and return the object in the answer.

        Raises:
            ClusterError: The server could not be reached or answered with an error.
        """
        try:
            status, text = self._request(method, path, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(
                f"The API server at {self.url} must answer, but {method} {path} ended with: {error}"
            ) from error
        if status >= _FIRST_ERROR:
            raise ClusterError(f"The API server answered {method} {path} with {status}: {text[:500]}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def watch(self, path: str, seconds: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it.

        Args:
            path: The collection, with ``resourceVersion`` in its query.
            seconds: How long the server keeps it open.
        """
        connection = self._connection(seconds + _SECONDS)
        try:
            connection.request("GET", f"{path}&watch=true&timeoutSeconds={seconds}")
            response = connection.getresponse()
            if response.status >= _FIRST_ERROR:
                raise ClusterError(f"The API server answered a watch of {path} with {response.status}.")
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()

    def apply(self, path: str, item: dict[str, Any], *, manager: str = "perennial-cluster") -> dict[str, Any]:
        """Create an object or bring it to the given state (server-side apply).

        Args:
            path: The path of the object itself.
            item: The object.
            manager: The owner of its fields.
        """
        query = f"{path}?fieldManager={manager}&force=true"
        return self.call("PATCH", query, item, content_type="application/apply-patch+yaml")

    def _connection(self, seconds: float) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.pair.certificate, self.pair.key)
        return http.client.HTTPSConnection(urlsplit(self.url).netloc, timeout=seconds, context=context)

    def _request(self, method: str, path: str, body: dict[str, Any] | None, content_type: str) -> tuple[int, str]:
        connection = self._connection(_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers={"Content-Type": content_type} if data else {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()
