"""All that is outside the cluster's API behind one face: the planners' `Facts`, and their plans' calls carried out."""

from collections.abc import Callable, Mapping
from typing import assert_never

from perennial.api.messages.state import State
from perennial.facts.collector import Collectors
from perennial.facts.mlflow import MLflow
from perennial.facts.models import ModelFacts
from perennial.facts.refusals import Refusals
from perennial.facts.tokens import Tokens
from perennial.manifests.manifest import Manifest
from perennial.plan.actions import Call, EnsureRun, FinishRun, PutPolicy, RegisterVersion, SetAlias
from perennial.plan.observed import Fact, Issuer, RegisteredModel


class Outside:
    """Implements `perennial.plan.observed.Facts` and carries out calls.

    Args:
        mlflow: where runs and versions are made.
        models: reads from the same server.
        collectors: follows the collectors that are asked for.
        tokens: knows who signs the cluster's tokens.
        collector_url: namespace and name of a ModelDeployment → its collector's URL.
        refusals: knows why Jobs have no pods.
    """

    def __init__(
        self,
        mlflow: MLflow,
        models: ModelFacts,
        collectors: Collectors,
        tokens: Tokens,
        collector_url: Callable[[str, str], str],
        *,
        refusals: Refusals,
    ) -> None:
        self._mlflow = mlflow
        self._models = models
        self._collectors = collectors
        self._tokens = tokens
        self._refusals = refusals
        self._collector_url = collector_url

    def collector(self, namespace: str, name: str) -> Fact[State]:
        """Return what a ModelDeployment's collector said last; it is followed from the first question on."""
        self._collectors.watch((namespace, name), self._collector_url(namespace, name))
        return self._collectors.get((namespace, name))

    def model(self, name: str, version: str | None = None) -> Fact[RegisteredModel]:
        """Return what the registry said last of a registered model; `version` is in its `versions` if it exists."""
        return self._models.get(name, version)

    def issuer(self) -> Fact[Issuer]:
        """Return who signs the cluster's tokens."""
        return self._tokens.issuer()

    def refusal(self, job: Manifest) -> Fact[str]:
        """Return why no pod may be created for a Job that has none."""
        return self._refusals.get(job)

    def forget(self, namespace: str, name: str) -> None:
        """Stop following the collector of a ModelDeployment that is gone."""
        self._collectors.forget((namespace, name))

    async def carry_out(self, call: Call, namespace: str, name: str) -> Mapping[str, str]:
        """Carry out a call of the plan for an object; return its outcome as flat data.

        `EnsureRun` brings `experimentId` and `runId`, `RegisterVersion` brings `version`, the others nothing.

        Raises:
            Unavailable: nobody knows whether it was done; it may be repeated.
            Refused: it was not done.
        """
        match call:
            case EnsureRun():
                return await self._mlflow.ensure_run(call)
            case FinishRun():
                return await self._mlflow.finish_run(call)
            case RegisterVersion():
                outcome = await self._mlflow.register_version(call)
                self._models.refresh(call.model)
                return outcome
            case SetAlias():
                outcome = await self._mlflow.set_alias(call)
                self._models.refresh(call.model)
                return outcome
            case PutPolicy():
                url = self._collector_url(namespace, name)
                await self._collectors.put_policy((namespace, name), url, call.policy)
                return {}
            case _:
                assert_never(call)

    async def close(self) -> None:
        """Stop following and reading."""
        await self._collectors.close()
        await self._models.close()
        await self._tokens.close()
        await self._refusals.close()
