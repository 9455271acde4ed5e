"""Objects that nobody would write and the API server takes (F14): bounds, Unicode, large texts, options left out.

They are made from the CRDs' own schemas: from a good object, one to three places are changed, each to a value on a
bound of what its schema allows. Rules that span fields refuse many of them, and those are not counted.
"""

import copy
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import yaml
from kubelet import Fate, kubelet
from operator_faults.campaign import Failed, Reference, Variant, differences, quiet, whole_state
from operator_faults.run import Run, Scenario, State, operated
from operator_faults.upstream import ApiError
from perennial_subject import API, REPOSITORY, Beside, Registry

BATCHES: Final = 18
"""For each kind: eighteen times ten objects."""
BATCH: Final = 10
_REFUSED: Final = (400, 422, 500)  # 500: two items of one key, in the words of server-side apply
_TEXTS: Final = ("é", "ß", "日本語", "🦄", "a\u0301", "\u200b", "-", "0", "$(HOME)", "$$", "'\"\\", "{{x}}", "%s")
_FIXED: Final = {
    "Dataset": ("snapshots",),
    "TrainingRun": (),
    "ModelDeployment": ("model", "server", "storage", "retraining"),
}
"""What stays as it is while an object changes: it may not be changed, or its change is a story of its own."""


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of a kind's spec."""
    found = yaml.safe_load((REPOSITORY / "crds" / f"{kind.lower()}s.yaml").read_text())
    schema: dict[str, Any] = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def good(kind: str) -> dict[str, Any]:
    """Return an object of a kind with most of what there is."""
    file = REPOSITORY / "tests" / "api" / "manifests" / "valid" / f"{kind.lower()}-everything.yaml"
    manifest: dict[str, Any] = next(iter(yaml.safe_load_all(file.read_text())))
    manifest["metadata"] = {"name": "generated"}
    manifest["spec"].pop("suspend", None)
    return manifest


def spoilt(spec: dict[str, Any], schema: dict[str, Any], chance: random.Random, fixed: tuple[str, ...]) -> Any:
    """Return a spec with one to three places changed."""
    made = copy.deepcopy(spec)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = [place for place in _places(made, schema) if place[0] not in fixed]
        _change(made, schema, chance.choice(places), chance)
    return made


def _places(value: Any, schema: dict[str, Any], where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of everything that is there, and of what could be."""
    if where:
        yield where
    if isinstance(value, dict) and "properties" in schema:
        for name, below in schema["properties"].items():
            if name in value:
                yield from _places(value[name], below, (*where, name))
            else:
                yield (*where, name)
    if isinstance(value, list):
        for number, item in enumerate(value[:4]):
            yield from _places(item, schema.get("items", {}), (*where, number))


def _change(made: Any, schema: dict[str, Any], where: tuple[Any, ...], chance: random.Random) -> None:
    holder, required = made, False
    for step in where[:-1]:
        holder = holder[step]
        schema = schema["properties"][step] if isinstance(step, str) else schema["items"]
    last = where[-1]
    if isinstance(last, str):
        required = last in schema.get("required", ())
        below = schema.get("properties", {}).get(last) or schema.get("additionalProperties") or {}
    else:
        below = schema.get("items", {})
    if isinstance(holder, dict) and last in holder and not required and chance.random() < 0.3:
        del holder[last]
        return
    value = extreme(below, chance, holder.get(last) if isinstance(holder, dict) else holder[last])
    if value is not None:
        holder[last] = value


def extreme(schema: dict[str, Any], chance: random.Random, now: Any) -> Any:  # noqa: PLR0911 - one for each type
    """Return a value on a bound of a schema; None where nothing comes to mind."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    match schema.get("type"):
        case "boolean":
            return chance.random() < 0.5
        case "integer" | "number":
            low, high = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1)
            return chance.choice((low, high, low + 1, high - 1, (low + high) // 2))
        case "string":
            return _text(schema, chance, now)
        case "array" if isinstance(now, list) and now:
            return chance.choice((now[:1], now[-1:], list(reversed(now))))
        case "object" if "additionalProperties" in schema:
            return {f"key{n}": extreme(schema["additionalProperties"], chance, "x") or "x" for n in range(3)}
        case "object" if "properties" in schema:
            found = {
                name: extreme(below, chance, None)
                for name, below in schema["properties"].items()
                if name in schema.get("required", ()) or chance.random() < 0.3
            }
            return {name: value for name, value in found.items() if value is not None}
    if schema.get("x-kubernetes-int-or-string"):
        return chance.choice((1, 0, "1", "500m", "1.5Gi", "1e3", 2**31 - 1))
    return None


def _text(schema: dict[str, Any], chance: random.Random, now: Any) -> str:
    most = schema.get("maxLength", 1000)
    if "pattern" in schema or "format" in schema:
        # The pattern is the API server's to judge: texts like the one that is there, and a long one of its letters.
        known = str(now or "a")
        return chance.choice((known[:1], known, (known * most)[:most], known + known[-1:], "0", "0.5", "1", "a-b"))
    return chance.choice(("", "x" * most, *(text * (most // len(text)) for text in _TEXTS), *_TEXTS))


@dataclass(frozen=True)
class Generated:
    """An object of a kind that is changed again and again; its pods wait for a node."""

    kind: str
    mlflow: Registry
    name: str = "generated"

    @asynccontextmanager
    async def world(self, run: Run) -> AsyncIterator[Beside]:
        """Have nothing but a kubelet without a node."""

        def fate(component: str, pod: dict[str, Any]) -> Fate:
            return None

        async with kubelet(run.api, run.namespace, fate) as playing:
            yield Beside(playing, self.mlflow, {"PERENNIAL_MLFLOW_URL": "http://127.0.0.1:9"})

    async def play(self, run: Run) -> None:
        """The good object, as it is."""
        await apply(run, good(self.kind))

    async def outside(self, _: Run) -> State:
        """Nothing."""
        return {}


def path(run: Run, kind: str) -> str:
    """Return the path of the object that changes."""
    return f"{API.format(namespace=run.namespace)}/{kind.lower()}s/generated"


async def apply(run: Run, manifest: dict[str, Any]) -> None:
    """Apply an object, whole; a TrainingRun is another one each time, because its spec does not change."""
    where = path(run, manifest["kind"])
    await run.api.apply(f"{where}-try", {**manifest, "metadata": {"name": "generated-try"}}, options="&dryRun=All")
    if manifest["kind"] == "TrainingRun" and await run.api.find(where) is not None:
        await run.api.delete(where, propagationPolicy="Background")

        async def gone() -> bool:
            return await run.api.find(where) is None

        await run.until("the last one is gone", gone)
    await run.api.apply(where, manifest)


def variants(kind: str) -> Iterator[Variant]:
    """F14: objects one after the other, and the last one alone: the same end, and never an unexpected exception."""
    for number in range(BATCHES):
        yield Variant(name=f"{BATCH} objects of seed {number}", drive=_batch(kind, number), seconds=600, cases=BATCH)


def _batch(kind: str, seed: int) -> Any:
    async def drive(run: Run, scenario: Scenario, _: Reference) -> None:
        chance = random.Random(f"{kind} {seed}")
        schema, base = schema_of(kind), good(kind)
        last: dict[str, Any] = {}
        async with operated(run):
            applied = 0
            while applied < BATCH:
                manifest = {**base, "spec": spoilt(base["spec"], schema, chance, _FIXED[kind])}
                if chance.random() < 0.1:  # etcd takes 1.5 MB
                    manifest["metadata"] = {"name": "generated", "annotations": {"note": "€" * 87_000}}
                try:
                    await apply(run, manifest)
                except ApiError as error:
                    if error.status not in _REFUSED:
                        raise
                    continue
                applied += 1
                last = manifest
                if chance.random() < 0.5:
                    await quiet(run, 0.2)
            await _looked_at(run, kind)
            state = await whole_state(run, scenario)
            await run.api.delete(path(run, kind), propagationPolicy="Background")
            await _empty(run)
            await apply(run, last)
            await _looked_at(run, kind)
            alone = Reference(state=_timeless(state), created=run.created(), writes=(), requests=0, seconds=0)
            await _same(run, scenario, alone)

    return drive


async def _looked_at(run: Run, kind: str) -> None:
    async def looked() -> bool:
        found = await run.api.get(path(run, kind))
        return found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]

    await run.until("the operator has looked at it", looked)
    await quiet(run)


async def _empty(run: Run) -> None:
    async def gone() -> bool:
        found = [
            item
            for template in run.subject.collections
            for item in await run.api.items(template.format(namespace=run.namespace))
            if item["metadata"]["name"] != "kube-root-ca.crt"
        ]
        return not found

    await run.until("nothing is left of it", gone)


async def _same(run: Run, scenario: Scenario, alone: Reference) -> None:
    async def state() -> State:
        await quiet(run)
        return _timeless(await whole_state(run, scenario))

    found = await state()
    for _ in range(40):
        if found == alone.state:
            return
        found = await state()
    raise Failed(f"another end than the last one's alone: {'; '.join(differences(found, alone.state)[:6])}")


def _timeless(state: State) -> State:
    """Take out how often an object was changed."""
    kept = copy.deepcopy(state)
    for item in kept.values():
        status = item.get("status", {})
        for name in ("observedGeneration", "checkedGeneration", "checksRecorded"):
            status.pop(name, None)
        for condition in status.get("conditions", []):
            condition.pop("observedGeneration", None)
    return kept
