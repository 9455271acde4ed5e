"""The API server as tests see it: directly, past every fault."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_FIRST_ERROR = 400
_LATER = 429
_ATTEMPTS = 60


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:600]}")
        self.status = status


class Upstream:
    """A session with the rights of a kubeconfig."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Send a request and return the object in its answer.

        Raises:
            ApiError: the server refused it.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        for attempt in itertools.count(1):
            try:
                async with self.session.request(method, self.url + path, data=data, headers=headers) as answer:
                    text = await answer.text()
                if answer.status != _LATER or attempt == _ATTEMPTS:
                    break
            except aiohttp.ServerDisconnectedError:  # it was closed while nobody used it
                if attempt == _ATTEMPTS:
                    raise
            await asyncio.sleep(0.5)  # for example while a new kind's storage is made ready
        if answer.status >= _FIRST_ERROR:
            raise ApiError(answer.status, text)
        return json.loads(text)

    async def get(self, path: str) -> Any:
        """Return an object or a list."""
        return await self.call("GET", path)

    async def items(self, path: str) -> list[dict[str, Any]]:
        """Return a list's objects."""
        found: list[dict[str, Any]] = (await self.get(path))["items"]
        return found

    async def find(self, path: str) -> dict[str, Any] | None:
        """Return an object, or None if there is none."""
        try:
            found: dict[str, Any] = await self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def apply(self, path: str, manifest: dict[str, Any], *, manager: str = "somebody", options: str = "") -> Any:
        """Create an object or bring it to a state, server-side; `options` such as `&dryRun=All`."""
        return await self.call(
            "PATCH", f"{path}?fieldManager={manager}&force=true{options}", manifest, content_type=APPLY
        )

    async def merge(self, path: str, patch: dict[str, Any]) -> Any:
        """Change some fields of an object."""
        return await self.call("PATCH", path, patch, content_type=MERGE)

    async def delete(self, path: str, **options: Any) -> None:
        """Delete an object; one that is gone already is no error."""
        try:
            await self.call("DELETE", path, options or None)
        except ApiError as error:
            if error.status != 404:
                raise

    async def watch(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a collection as they are, then as they become, as (type, object) events."""
        listed = await self.get(path)
        for item in listed["items"]:
            yield {"type": "ADDED", "object": item}
        separator = "&" if "?" in path else "?"
        url = f"{self.url}{path}{separator}watch=true&resourceVersion={listed['metadata']['resourceVersion']}"
        async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                yield json.loads(line)


@asynccontextmanager
async def upstream(kubeconfig: Path) -> AsyncIterator[Upstream]:
    """Open a session as a kubeconfig says."""
    configuration = Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration, persist_config=False)
    token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(configuration)),
        timeout=aiohttp.ClientTimeout(total=60),
        read_bufsize=2**22,
        headers={"Authorization": token} if token else {},
    ) as session:
        yield Upstream(session, str(configuration.host).rstrip("/"))


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
