"""Who may talk to a collector: tokens that prove somebody, tokens that prove nobody, and who may do what."""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

sys.path.append(str(Path(__file__).parents[2] / "dataplane"))
from accounts import AUDIENCE, NEIGHBOUR, OPERATOR, STRANGER, Key, trust

from perennial.api.messages.trust import Trust
from perennial.collector import access
from perennial.collector.access import Access, Caller, NotProvenError, Rule, TrustUnknownError, guard
from perennial.collector.api import RULES, UNGUARDED

KEY = Key()
SENDER = "system:serviceaccount:warehouse:etl"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return believe(tmp_path / "trust.json", trust(KEY))


def believe(file: Path, whom: Trust) -> Path:
    file.write_text(whom.model_dump_json())
    return file


def said(known: Access, token: str) -> str:
    with pytest.raises(NotProvenError) as refused:
        known.caller(f"Bearer {token}")
    assert token not in str(refused.value), "a token must not end up in an answer or a log"
    return str(refused.value)


@pytest.mark.parametrize("key", [KEY, Key.rsa("key-2")], ids=["EC", "RSA"])
def test_a_token_of_the_cluster_says_who_calls(file: Path, key: Key) -> None:
    believe(file, trust(KEY, key))
    known = Access(file)
    for user, namespace in ((NEIGHBOUR, "default"), (OPERATOR, "perennial-system"), (SENDER, "warehouse")):
        assert known.caller(f"Bearer {key.token(user)}") == Caller(user, namespace)
    assert known.caller(f"bearer {key.token(aud=[AUDIENCE, 'another'])}").namespace == "default"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        pytest.param({"aud": ["perennial.dev/default/other"]}, "is for another audience", id="another collector's"),
        pytest.param({"aud": ["https://kubernetes.default.svc"]}, "is for another audience", id="the API's"),
        pytest.param({"aud": None}, "is no service-account token that is good now", id="no audience"),
        pytest.param({"exp": 1}, "has expired", id="expired"),
        pytest.param({"exp": None}, "is no service-account token that is good now", id="for ever"),
        pytest.param({"nbf": 32503680000}, "is no service-account token that is good now", id="not yet"),
        pytest.param({"iss": "https://other.test"}, "is another cluster's", id="another issuer"),
        pytest.param({"sub": "alice"}, "must be a service account's", id="a person"),
        pytest.param({"sub": "system:serviceaccount:default:"}, "must be a service account's", id="no name"),
        pytest.param({"sub": "system:serviceaccount:"}, "must be a service account's", id="nobody"),
    ],
)
def test_a_token_that_proves_nobody_is_told_why_and_how_to_get_one(file: Path, claims: Any, why: str) -> None:
    message = said(Access(file), KEY.token(**claims))
    assert f"the token {why}" in message
    assert f"kubectl create token SERVICE_ACCOUNT --namespace default --audience {AUDIENCE}" in message


def test_a_signature_that_is_not_the_clusters_proves_nothing(file: Path) -> None:
    known = Access(file)
    assert "signature is wrong" in said(known, Key("key-1").token())
    assert "no key of the cluster's has signed" in said(known, Key("key-9").token())
    head, body, signature = KEY.token().split(".")
    changed = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed["sub"] = OPERATOR
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    assert "signature is wrong" in said(known, f"{head}.{forged}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_what_a_token_says_of_its_algorithm_is_not_believed(file: Path, algorithm: str) -> None:
    claims = jwt.decode(KEY.token(OPERATOR), options={"verify_signature": False})
    public = json.dumps(KEY.public(), sort_keys=True).encode()
    secret = "" if algorithm == "none" else base64.b64encode(public).decode()
    assert "no service-account token" in said(
        Access(file), jwt.encode(claims, secret or None, algorithm, headers={"kid": KEY.name})
    )


def test_a_key_that_is_a_shared_secret_is_never_used(file: Path) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    shared = {"kty": "oct", "kid": "shared", "k": secret, "alg": "HS256"}
    believe(file, trust(KEY, keys=[KEY.public(), shared]))
    claims = jwt.decode(KEY.token(OPERATOR), options={"verify_signature": False})
    token = jwt.encode(claims, b"s" * 32, "HS256", headers={"kid": "shared"})
    assert "no key of the cluster's has signed" in said(Access(file), token)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 9000, "Bearer a.b.c"]
)
def test_no_token_is_no_proof(file: Path, header: str | None) -> None:
    with pytest.raises(NotProvenError, match=r"^Authorization: "):
        Access(file).caller(header)


def test_a_token_that_is_known_ends_all_the_same(file: Path) -> None:
    clock = [0.0]
    known = Access(file, now=lambda: clock[0])
    token = KEY.token()
    ends = jwt.decode(token, options={"verify_signature": False})["exp"]
    clock[0] = ends + access.LEEWAY_SECONDS
    assert known.caller(f"Bearer {token}").user == NEIGHBOUR
    clock[0] += 1
    known._keys.clear()  # so that a second verification is seen
    assert "no key of the cluster's" in said(known, token)


def test_keys_are_rotated_without_a_restart(file: Path) -> None:
    known, new = Access(file), Key("key-2")
    old_token, new_token = KEY.token(), new.token()
    assert known.caller(f"Bearer {old_token}")
    assert "no key" in said(known, new_token)
    draft = file.with_suffix(".new")
    draft.write_text(trust(new).model_dump_json())
    draft.replace(file)
    assert known.caller(f"Bearer {new_token}")
    assert "no key" in said(known, old_token), "a key that is withdrawn is good for nothing, also for what was known"


def test_a_file_that_is_broken_or_gone_changes_nothing(file: Path) -> None:
    known = Access(file)
    assert known.caller(f"Bearer {KEY.token()}")
    for text in ("{", json.dumps({"keys": []}), trust(KEY, keys=[{"kty": "unheard-of"}]).model_dump_json()):
        file.write_text(text)
        assert known.caller(f"Bearer {KEY.token()}")
    file.unlink()
    assert known.caller(f"Bearer {KEY.token()}")


def test_without_a_file_nobody_is_believed_until_there_is_one(file: Path) -> None:
    text = file.read_text()
    file.unlink()
    known = Access(file)
    with pytest.raises(TrustUnknownError, match="has not written yet whom to believe"):
        known.caller(f"Bearer {KEY.token()}")
    file.write_text(text)
    assert known.caller(f"Bearer {KEY.token()}")


EVERYONE = {"operator": OPERATOR, "neighbour": NEIGHBOUR, "sender": SENDER, "stranger": STRANGER}
OPEN: dict[str, Any] = {}
NAMED = {"labellers": [SENDER]}


@pytest.mark.parametrize(
    ("method", "path", "changes", "may"),
    [
        ("PUT", "/v1/policy", OPEN, {"operator"}),
        ("GET", "/v1/state", OPEN, {"operator", "neighbour"}),
        ("HEAD", "/v1/state", OPEN, {"operator", "neighbour"}),
        ("POST", "/v1/predictions", OPEN, {"neighbour"}),
        ("POST", "/v1/labels", OPEN, {"neighbour"}),
        ("POST", "/v1/labels", NAMED, {"sender"}),
        ("POST", "/v1/predictions", NAMED, {"neighbour"}),
        ("POST", "/v3/discovery:runtime", OPEN, {"neighbour"}),
    ],
)
async def test_who_may_do_what(file: Path, method: str, path: str, changes: dict[str, Any], may: set[str]) -> None:
    believe(file, trust(KEY, **changes))
    async with guarded(file) as client:
        for who, user in EVERYONE.items():
            async with client.request(method, path, headers={"Authorization": f"Bearer {KEY.token(user)}"}) as answer:
                assert answer.status == (200 if who in may else 403), who
                if who not in may and method != "HEAD":
                    assert f"not from {user}" in await answer.text()
        async with client.request(method, path) as answer:
            assert answer.status == 401


async def test_pods_of_an_earlier_release_report_without_a_token_while_the_operator_says_so(file: Path) -> None:
    believe(file, trust(KEY, unproven_predictions=True))
    async with guarded(file) as client:
        for path, status in (("/v1/predictions", 200), ("/v1/labels", 401)):
            async with client.post(path) as answer:
                assert answer.status == status
        async with client.post("/v1/predictions", headers={"Authorization": f"Bearer {KEY.token(STRANGER)}"}) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("path", ["/v1/stat%65", "/v1/state/", "/v1%2Fstate", "/x/../v1/state"])
async def test_no_spelling_of_a_path_gets_past(file: Path, path: str) -> None:
    async with guarded(file) as client, client.get(path) as answer:
        assert answer.status in {401, 404}


async def test_probes_and_metrics_are_open_and_nothing_else(file: Path) -> None:
    async with guarded(file) as client:
        for path in UNGUARDED:
            async with client.get(path) as answer:
                assert answer.status == 200
        async with client.post("/v1/new") as answer:
            assert answer.status == 500, "a path that nobody has a rule for is closed"


def guarded(file: Path) -> TestClient[web.Request, web.Application]:
    """Return a client of an application with the collector's paths, one more, and nothing behind them."""

    async def done(_: web.Request) -> web.Response:
        return web.Response()

    @web.middleware
    async def told(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        try:
            return await handler(request)
        except access.AccessError as error:
            return web.Response(status=error.status, text=str(error))

    rules: dict[tuple[str, str], Rule] = dict(RULES)
    app = web.Application(middlewares=[told, guard(Access(file), rules, UNGUARDED)])
    for method, path in rules:
        app.router.add_route(method, path, done)
        if method == "GET":
            app.router.add_route("HEAD", path, done)
    for path in UNGUARDED:
        app.router.add_get(path, done)
    app.router.add_post("/v1/new", done)
    return TestClient(TestServer(app))


def test_the_rules_name_every_path_of_the_collector() -> None:
    """The application itself is started in tests/dataplane; here, that none of its paths is forgotten."""
    source = (Path(access.__file__).parent / "api.py").read_text()
    routes = {line.split('"')[1] for line in source.splitlines() if line.strip().startswith(("web.get(", "web.p"))}
    assert routes == {path for _, path in RULES} | UNGUARDED
    assert Trust.model_fields.keys() >= {"issuer", "keys", "audience"}
