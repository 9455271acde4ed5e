"""The service accounts of one run: real tokens, and the file by which the collector tells them apart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from operator_faults.run import Run

from perennial.plan.model_deployment.trust import audience, user


def _account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


class Accounts:
    """Tokens of the operator's account and of a neighbour's, for the collector of a ModelDeployment."""

    def __init__(self, run: Run, name: str) -> None:
        self.operator = user(run.namespace, "perennial")
        self.neighbour = user(run.namespace, "somebody")
        self.trust = run.directory / "trust.json"
        self._run = run
        self._name = name
        self._tokens: dict[str, str] = {}

    def token(self, whose: str) -> str:
        """Return the token of a user name."""
        return self._tokens[whose]

    @asynccontextmanager
    async def known(self) -> AsyncIterator[None]:
        """Make the accounts, get their tokens, and bring the collector's ConfigMap to it, as the kubelet would."""
        asked = {"spec": {"audiences": [audience(self._run.namespace, self._name)], "expirationSeconds": 3600}}
        accounts = f"/api/v1/namespaces/{self._run.namespace}/serviceaccounts"
        for whose in (self.operator, self.neighbour):
            name = whose.rpartition(":")[2]
            await self._run.api.apply(f"{accounts}/{name}", _account(name))
            answer = await self._run.api.call("POST", f"{accounts}/{name}/token", asked)
            self._tokens[whose] = answer["status"]["token"]
        bringing = asyncio.create_task(self._bring())
        try:
            yield
        finally:
            bringing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await bringing

    async def _bring(self) -> None:
        path = f"/api/v1/namespaces/{self._run.namespace}/configmaps/{self._name}-collector"
        brought = None
        while True:
            found = await self._run.api.find(path)
            if found is not None and found["data"] != brought:
                brought = found["data"]
                draft = self.trust.with_suffix(".new")
                draft.write_text(brought["trust.json"])
                draft.replace(self.trust)
            await asyncio.sleep(0.1)
