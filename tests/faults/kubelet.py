"""Plays the kubelet of one namespace: its pods run, and end with the words that their scenario gives them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from operator_faults.upstream import ApiError, Upstream

COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True, slots=True)
class Ends:
    """A container ends with this exit code and these last words (JSON data or a text)."""

    words: Any = ""
    code: int = 0


class Lives:
    """A container gets ready at 127.0.0.1 and stays."""


Fate = Ends | Lives | None
"""None: the pod stays pending."""


class Kubelet:
    """Acts on pods as a watch reports them. `fate` is asked for each pod that has none yet, by its component."""

    def __init__(self, api: Upstream, namespace: str, fate: Callable[[str, dict[str, Any]], Fate]) -> None:
        self.fate = fate
        self._api = api
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._waiting: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Play until cancelled. A watch that ends is begun anew."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, ApiError):
                async for event in self._api.watch(self._pods):
                    await self._take(event["type"], event["object"])
            await asyncio.sleep(0.2)

    async def _take(self, event: str, pod: dict[str, Any]) -> None:
        name = pod.get("metadata", {}).get("name", "")
        self._waiting.pop(name, None)
        if event in {"ADDED", "MODIFIED"} and pod["status"].get("phase", "Pending") == "Pending":
            self._waiting[name] = pod
            await self._play(name)

    async def again(self) -> None:
        """Ask anew for the fates of pods that are pending."""
        for name in list(self._waiting):
            await self._play(name)

    async def _play(self, name: str) -> None:
        pod = self._waiting[name]
        fate = self.fate(pod["metadata"].get("labels", {}).get(COMPONENT, ""), pod)
        if fate is None:
            return
        with contextlib.suppress(ApiError):  # it was deleted meanwhile
            await self._api.merge(f"{self._pods}/{name}/status", {"status": _status(pod, fate)})


def _status(pod: dict[str, Any], fate: Ends | Lives) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "lastTransitionTime": now, "status": "True" if isinstance(fate, Lives) else "False"}
    status: dict[str, Any] = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "conditions": [ready]}
    if isinstance(fate, Lives):
        return {**status, "phase": "Running"}
    words = fate.words if isinstance(fate.words, str) else json.dumps(fate.words)
    ended = {"exitCode": fate.code, "message": words, "startedAt": now, "finishedAt": now}
    ended["reason"] = "Completed" if fate.code == 0 else "Error"
    containers = [
        {"name": each["name"], "image": each["image"], "imageID": "", "ready": False, "restartCount": 0}
        | {"state": {"terminated": ended}}
        for each in pod["spec"]["containers"]
    ]
    return {**status, "phase": "Succeeded" if fate.code == 0 else "Failed", "containerStatuses": containers}


@asynccontextmanager
async def kubelet(api: Upstream, namespace: str, fate: Callable[[str, dict[str, Any]], Fate]) -> AsyncIterator[Kubelet]:
    """Play for as long as the context lasts."""
    made = Kubelet(api, namespace, fate)
    playing = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
