"""The operator's requests to the Kubernetes API: plain JSON in, plain JSON out.

Every write is safe to repeat, because a reply can get lost: server-side apply and the status patch are idempotent,
deletions name the uid and resourceVersion they mean, Events have names made from their content.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import aiohttp

from perennial.manifests.manifest import Manifest
from perennial.manifests.pods import OVER_QUOTA
from perennial.manifests.resources import Resource
from perennial.plan.actions import Delete
from perennial.runtime.errors import Blocked, Conflict, PerennialError, Terminal, Unavailable
from perennial.runtime.resources import resource_of
from perennial.runtime.trimming import trimmed
from perennial.terms import reasons

FIELD_MANAGER: Final = "perennial"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15.0, sock_connect=5.0)
_PAGE: Final = 500
_SERVICE: Final = "the Kubernetes API"


class Listing(NamedTuple):
    """Everything of a kind at one resourceVersion."""

    items: list[Manifest]
    version: int


class NotFound(Conflict):
    """There is no such object any more (or no such namespace, or kind)."""


class Client:
    """Talks to one API server.

    `fence` is called before each request that writes, and raises if this process may not write any more
    (`LeadershipLost`). Requests are bounded to 15 s, and are never retried here: the queue retries keys, not requests.
    """

    def __init__(
        self, session: aiohttp.ClientSession, server: str, *, fence: Callable[[], None] = lambda: None
    ) -> None:
        self._session = session
        self._server = server
        self._fence = fence

    def unfenced(self) -> "Client":
        """Return a client for what must be written without leading: the Lease itself."""
        return Client(self._session, self._server)

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None."""
        try:
            return await self._request("GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def list(self, resource: Resource, namespace: str | None, *, selector: str = "") -> Listing:
        """Return all objects of a kind in one namespace, or in all (None), in pages of 500, trimmed as in the cache.

        Raises:
            NotFound: the API does not know the kind (its CRD is not installed).
        """
        items: list[Manifest] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            # Items of a list come without kind and apiVersion; watched objects have them. Make them equal.
            names = {"apiVersion": resource.api_version, "kind": resource.kind}
            items += [trimmed({**names, **item}) for item in page["items"]]
            following = page["metadata"].get("continue")
            if not following:
                # All pages are read at the version of the first, and each says so.
                return Listing(items, int(page["metadata"]["resourceVersion"]))
            query["continue"] = following

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply one object server-side, taking over fields that others hold. Return it as it is now."""
        resource = resource_of(manifest["apiVersion"], manifest["kind"])
        metadata = manifest["metadata"]
        return await self._request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def write_status(self, resource: Resource, observed: Manifest, status: Manifest) -> Manifest:
        """Replace an object's whole status, if the object is still the one that was observed. Return it as it is now.

        A JSON patch replaces `/status` as a whole, so a field that is gone from the new status is gone from the object
        (a merge patch would keep it), sends no spec (as PUT would, which also needs another permission), and adds
        nothing to `managedFields` that grows with every key (as server-side apply would). It carries the observed
        resourceVersion, so a status that was made from an older spec or an older status is refused, never written.

        Raises:
            Conflict: the object has changed since.
        """
        metadata = observed["metadata"]
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"], "status"),
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type="application/json-patch+json",
        )

    async def delete(self, what: Delete) -> Manifest | None:
        """Delete exactly the observed object; its dependants follow in the background.

        Return the object if it stays for now (something holds it by a finalizer), None if it is gone, also if it was
        gone before.

        Raises:
            Conflict: another object has the name now, or the object has changed since.
        """
        resource = resource_of(what.api_version, what.kind)
        preconditions = {"uid": what.uid, "resourceVersion": what.resource_version}
        body = {"preconditions": preconditions, "propagationPolicy": "Background"}
        try:
            answer = await self._request("DELETE", resource.path(what.namespace, what.name), body=body)
        except NotFound:
            return None
        return None if answer.get("kind") == "Status" else answer

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create an object.

        Raises:
            Conflict: there is one of this name.
        """
        namespace = manifest["metadata"]["namespace"]
        return await self._request(
            "POST", resource.path(namespace), query={"fieldManager": FIELD_MANAGER}, body=manifest
        )

    async def update(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace an object; its resourceVersion is the precondition.

        Raises:
            Conflict: the object has changed since.
        """
        metadata = manifest["metadata"]
        return await self._request("PUT", resource.path(metadata["namespace"], metadata["name"]), body=manifest)

    async def merge(self, resource: Resource, namespace: str, name: str, change: Manifest) -> Manifest:
        """Change an object by a JSON merge patch; an empty one reads the object with the permission to patch it."""
        return await self._request(
            "PATCH", resource.path(namespace, name), body=change, content_type="application/merge-patch+json"
        )

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        if method != "GET":
            self._fence()
        data = None if body is None else json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if data is not None else {})
        try:
            async with self._session.request(
                method, self._server + path, params=query, data=data, headers=headers, timeout=_TIMEOUT
            ) as response:
                text = await response.read()
        except TimeoutError as error:
            raise Unavailable(_SERVICE, f"{method} {path} took longer than {_TIMEOUT.total:.0f} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(_SERVICE, str(error) or type(error).__name__) from error
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            raise _failure(method, path, response, text)
        return _decode(text)


def _decode(text: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(text)
    except ValueError as error:
        raise Unavailable(_SERVICE, "its answer is no JSON") from error
    if not isinstance(decoded, dict):
        raise Unavailable(_SERVICE, "its answer is no JSON object")
    return decoded


def _failure(  # noqa: PLR0911 - one for each meaning
    method: str, path: str, response: aiohttp.ClientResponse, text: bytes
) -> PerennialError:
    """Tell what a failed request means for whoever asked."""
    status: dict[str, Any] = {}
    with contextlib.suppress(Unavailable):  # a proxy or a half-started server: the code alone must do
        status = _decode(text)
    message = str(status.get("message") or f"{method} {path}: HTTP {response.status}")
    reason = str(status.get("reason") or "")
    match response.status:
        case 404:
            return NotFound(message)
        case 409:
            return Conflict(message)
        case 403 if _is_terminating(status):
            return Blocked(reasons.NAMESPACE_TERMINATING, message)
        case 403 if OVER_QUOTA.search(message):
            # What is used is counted anew by and by, so it may be over soon.
            return Blocked(reasons.QUOTA_EXCEEDED, message, after=0)
        case 403 if "cannot find RESTMapping" in message:
            # OwnerReferencesPermissionEnforcement learns of a CRD some seconds after it is served.
            return Unavailable(_SERVICE, message)
        case 403:
            return Blocked(reasons.FORBIDDEN, message)
        case 400 | 422 if _is_policy(message):
            return Blocked(reasons.DENIED, message)
        case 400 | 405 | 413 | 415 | 422:
            return Terminal(reason or f"HTTP{response.status}", message)
        case _:
            return Unavailable(_SERVICE, message, after=_retry_after(response))


def _is_terminating(status: Mapping[str, Any]) -> bool:
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == reasons.NAMESPACE_TERMINATING for cause in causes)


def _is_policy(message: str) -> bool:
    """Say whether admission refused, by rules that may change while the object does not."""
    return "denied the request" in message or "ValidatingAdmissionPolicy" in message


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Return the server's wish in seconds, never more than a minute: a broken proxy must not stop us for a day."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else 0.0
