"""Who may talk to the collector. Kubernetes vouches for everyone: callers bring tokens of its service accounts.

A token proves itself offline: its signature by the cluster's public keys, its time, its issuer, and its audience, which
is this collector and nobody else. Keys and names are in a file (`perennial.api.messages.trust`) that the operator
writes and the kubelet keeps fresh; it is read again when it changes, so that keys can be rotated under a running
collector.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import time
from typing import Final, NamedTuple

import jwt
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from pydantic import ValidationError

from perennial.api.messages.trust import Trust

log = logging.getLogger("perennial.collector")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Allowed = Callable[[Trust, "Caller"], bool]

MOST_TOKEN: Final = 8192
LEEWAY_SECONDS: Final = 30.0
"""How far our clock and that of the API server may be apart."""
_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
"""Signatures by a private key. What a token says of its algorithm is never believed: the key says it."""
_REMEMBERED: Final = 1024
_ACCOUNT: Final = "system:serviceaccount:"


class AccessError(Exception):
    """Nobody is let in. The message says what must hold, and how to get there; `status` is the HTTP status."""

    status = 503


class NotProvenError(AccessError):
    """Nobody knows who calls."""

    status = 401


class NotAllowedError(AccessError):
    """It is known who calls, and that is not enough."""

    status = 403


class TrustUnknownError(AccessError):
    """It is not known yet whom to believe."""


class Caller(NamedTuple):
    """A service account: the user name that Kubernetes knows it by, and its namespace."""

    user: str
    namespace: str


def operator(trust: Trust, caller: Caller) -> bool:
    """Let the operator in."""
    return caller.user == trust.operator


def neighbour(trust: Trust, caller: Caller) -> bool:
    """Let every service account of the ModelDeployment's namespace in."""
    return caller.namespace == trust.namespace


def reader(trust: Trust, caller: Caller) -> bool:
    """Let those in whom the state concerns: the operator and the namespace."""
    return operator(trust, caller) or neighbour(trust, caller)


def labeller(trust: Trust, caller: Caller) -> bool:
    """Let those in whom the ModelDeployment takes labels from."""
    return neighbour(trust, caller) if trust.labellers is None else caller.user in trust.labellers


class Access:
    """Knows the callers by their tokens.

    Args:
        file: JSON of a `Trust`. While it is missing or cannot be read, the last that could be holds.
        now: the time, in seconds since the epoch.
    """

    def __init__(self, file: Path, *, now: Callable[[], float] = time) -> None:
        self._file = file
        self._now = now
        self._read: tuple[int, ...] = ()
        self._trust: Trust | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    @property
    def trust(self) -> Trust:
        """Whom to believe, as the file says now. Raises TrustUnknownError while there never was a usable one."""
        try:
            stat = self._file.stat()
            read = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if read != self._read:
                self._read = read
                self._adopt(Trust.model_validate_json(self._file.read_bytes()))
        except (OSError, ValidationError, jwt.PyJWTError) as error:
            # Said once for each version of the file; an older trust goes on being good.
            if isinstance(error, OSError):
                self._read = ()
            else:
                log.warning("trust not understood", extra={"error": str(error).split("\n", 1)[0]})
        if self._trust is None:
            raise TrustUnknownError("the operator has not written yet whom to believe; try again in a moment")
        return self._trust

    def caller(self, authorization: str | None) -> Caller:
        """Return who calls, by the value of the header `Authorization`. Raises NotProvenError."""
        trust = self.trust
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not 0 < len(token) <= MOST_TOKEN:
            raise NotProvenError(f"Authorization: must be `Bearer TOKEN`, and it is not. {_how(trust)}")
        known = self._known.get(token)
        if known is not None and self._now() <= known[1]:
            return known[0]
        caller, expires = self._verified(trust, token)
        self._known[token] = caller, expires
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def _adopt(self, trust: Trust) -> None:
        keys = jwt.PyJWKSet.from_dict({"keys": list(trust.keys)})
        self._keys = {key.key_id or "": key for key in keys.keys if key.algorithm_name in _ALGORITHMS}
        self._trust = trust
        self._known.clear()
        log.info("trust adopted", extra={"audience": trust.audience, "keys": len(self._keys)})

    def _verified(self, trust: Trust, token: str) -> tuple[Caller, float]:
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise NotProvenError(f"Authorization: no key of the cluster's has signed this token. {_how(trust)}")
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=trust.audience,
                issuer=trust.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise NotProvenError(f"Authorization: {_said(error)}. {_how(trust)}") from error
        user = str(claims["sub"])
        namespace, _, name = user.removeprefix(_ACCOUNT).partition(":")
        if not user.startswith(_ACCOUNT) or not name:
            raise NotProvenError(f"Authorization: the token must be a service account's. {_how(trust)}")
        return Caller(user, namespace), float(claims["exp"]) + LEEWAY_SECONDS


class Rule(NamedTuple):
    """Who is allowed, the words for it (`{namespace}` is filled in), and whether callers without a token are too."""

    allowed: Allowed
    words: str
    unproven: Callable[[Trust], bool] = lambda _: False


def guard(access: Access, rules: Mapping[tuple[str, str], Rule], unguarded: frozenset[str]) -> Middleware:
    """Return what lets callers in by (method, path). What has no rule and is not in `unguarded` is closed."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource  # None: there is no such path or method
        if resource is not None and resource.canonical not in unguarded:
            method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
            rule, trust = rules[method, resource.canonical], access.trust
            authorization = request.headers.get(hdrs.AUTHORIZATION)
            if authorization is not None or not rule.unproven(trust):
                caller = access.caller(authorization)
                if not rule.allowed(trust, caller):
                    who = rule.words.format(namespace=trust.namespace)
                    what = f"{method} {resource.canonical}"
                    raise NotAllowedError(f"{what} must come from {who}, not from {caller.user}.")
        return await handler(request)

    return guarded


def _said(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.InvalidIssuerError():
            return "the token is another cluster's"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case _:
            return "the token is no service-account token that is good now"


def _how(trust: Trust) -> str:
    ask = f"kubectl create token SERVICE_ACCOUNT --namespace {trust.namespace} --audience {trust.audience}"
    return f"Get a token by `{ask}`, or mount one by a projected volume."
