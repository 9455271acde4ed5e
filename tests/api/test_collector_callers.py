"""Kubernetes vouches for everyone: the operator's tokens from a real API server, verified as a collector does it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from canary_cluster import make_account, token

from cluster.apiserver import ControlPlane
from perennial.api.model_deployment import ModelDeploymentSpec
from perennial.collector.access import Access, Caller, NotProvenError
from perennial.facts import Refused, Tokens, Transport
from perennial.manifests.build import Owner
from perennial.plan.model_deployment.trust import audience, trust, user
from perennial.plan.observed import Issuer
from perennial.runtime.connection import Connection

pytestmark = pytest.mark.api

SPEC = ModelDeploymentSpec.model_validate(
    {"model": {"name": "m", "version": "1"}, "slos": [{"name": "errors", "requests": {"max": "0.1"}}]}
)


@pytest_asyncio.fixture
async def operator(
    control_plane: ControlPlane, connection: Connection, session: aiohttp.ClientSession, namespace: str
) -> AsyncIterator[Tokens]:
    """The operator's tokens; its service account is in the test's namespace."""
    make_account(control_plane.api, namespace, "perennial")
    tokens = Tokens(Transport("the Kubernetes API", connection.server, session), namespace, "perennial", lambda: None)
    yield tokens
    await tokens.close()


async def issuer(tokens: Tokens) -> Issuer:
    async with asyncio.timeout(30):
        while (known := tokens.issuer().value) is None:
            await asyncio.sleep(0.02)
    return known


def collector(directory: Path, namespace: str, name: str, known: Issuer) -> Access:
    """Return what a collector knows of its callers, from the file that the operator writes."""
    owner = Owner(kind="ModelDeployment", namespace=namespace, name=name, uid="1")
    file = directory / f"{namespace}.{name}.json"
    whom = trust(owner, SPEC, (), known, user(namespace, "perennial"))
    file.write_text(json.dumps(whom.model_dump(mode="json")))
    return Access(file)


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


async def test_the_operators_token_is_good_for_one_collector_and_for_nothing_else(
    control_plane: ControlPlane, operator: Tokens, namespace: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    known = await issuer(operator)
    one, other = (collector(tmp_path, namespace, name, known) for name in ("one", "other"))
    shown = await operator.token(audience(namespace, "one"))
    assert one.caller(f"Bearer {shown}") == Caller(user(namespace, "perennial"), namespace)
    assert claims(shown)["aud"] == [audience(namespace, "one")]
    with pytest.raises(NotProvenError, match="another audience"):
        other.caller(f"Bearer {shown}")
    proof = {"Authorization": f"Bearer {shown}"}
    async with aiohttp.ClientSession(headers=proof) as plain:
        url = f"{control_plane.url}/api/v1/namespaces/{namespace}/configmaps"
        async with plain.get(url, ssl=False) as answer:
            assert answer.status == 401, "the API itself does not take it"


async def test_a_token_is_asked_for_once_and_again_when_it_was_refused(
    control_plane: ControlPlane, operator: Tokens, namespace: str
) -> None:
    mine = audience(namespace, "one")
    first, again, third = await asyncio.gather(*(operator.token(mine) for _ in range(3)))
    assert first == again == third
    assert claims(first)["exp"] - claims(first)["iat"] == 3600
    operator.distrust(mine)
    assert claims(await operator.token(mine))["jti"] != claims(first)["jti"]
    asked = [
        event
        for event in map(json.loads, control_plane.audit_log.read_text().splitlines())
        if event.get("objectRef", {}).get("subresource") == "token" and event["objectRef"].get("namespace") == namespace
    ]
    assert len(asked) == 2


async def test_it_is_renewed_after_four_fifths_of_its_life(
    connection: Connection, session: aiohttp.ClientSession, control_plane: ControlPlane, namespace: str
) -> None:
    make_account(control_plane.api, namespace, "perennial")
    clock = [0.0]
    api = Transport("the Kubernetes API", connection.server, session)
    tokens = Tokens(api, namespace, "perennial", lambda: None, now=lambda: clock[0])
    first = await tokens.token("a")
    clock[0] = 2879
    assert await tokens.token("a") == first
    clock[0] = 2880
    assert await tokens.token("a") != first
    await tokens.close()


async def test_without_a_service_account_it_says_what_is_missing(
    connection: Connection, session: aiohttp.ClientSession, namespace: str
) -> None:
    api = Transport("the Kubernetes API", connection.server, session)
    tokens = Tokens(api, namespace, "nobody", lambda: None)
    with pytest.raises(Refused, match='serviceaccounts "nobody" not found'):
        await tokens.token("a")
    await tokens.close()


async def test_every_service_account_may_read_who_signs(
    control_plane: ControlPlane, namespace: str, connection: Connection, tmp_path: Path
) -> None:
    """With no right of its own: by the binding that every cluster has."""
    make_account(control_plane.api, namespace, "plain")
    bearer = token(control_plane.api, user(namespace, "plain"), "https://kubernetes.default.svc.cluster.local")
    told: list[None] = []
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {bearer}"}, connector=aiohttp.TCPConnector(ssl=False)
    ) as plain:
        api = Transport("the Kubernetes API", connection.server, plain)
        tokens = Tokens(api, namespace, "plain", lambda: told.append(None))
        known = await issuer(tokens)
        await tokens.close()
    assert told == [None]
    assert known.url == "https://kubernetes.default.svc.cluster.local"
    assert {"kty", "kid", "alg"} <= known.keys[0].keys()
    assert not {"d", "p", "q", "k"} & known.keys[0].keys()
    sender = token(control_plane.api, user(namespace, "plain"), audience(namespace, "one"))
    assert collector(tmp_path, namespace, "one", known).caller(f"Bearer {sender}").namespace == namespace


async def test_collectors_that_are_followed_at_once_get_one_token_each(operator: Tokens, namespace: str) -> None:
    names = [audience(namespace, f"m-{number}") for number in range(8)]
    first = await asyncio.gather(*(operator.token(name) for name in names))
    again = await asyncio.gather(*(operator.token(name) for name in names))
    assert first == again
    assert len(set(first)) == len(names)
