"""How the operator proves itself to collectors, and how they can tell: Kubernetes vouches for both sides.

    TokenRequest for the operator's own service account ─▶ a token for one collector alone ─▶ `Authorization`
    the cluster's issuer and public keys ─▶ the collector's ConfigMap ─▶ it verifies, offline

No secret is kept anywhere: tokens live for an hour, in this process's memory, and each is good for one collector. A
tenant who reads the operator's token where it arrives can show it nowhere else.
"""

import json
from asyncio import Lock, Task, create_task, gather, sleep
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from perennial.facts.errors import OutsideError, Unavailable
from perennial.facts.transport import Transport
from perennial.plan.observed import Fact, Issuer

SERVICE: Final = "the Kubernetes API"
LIFE_SECONDS: Final = 3600
_PARTS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
"""What is public of a key, and enough to verify by it (RFC 7517, 7518)."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


@dataclass(slots=True)
class _Token:
    text: str = ""
    renew_at: float = 0.0
    ends_at: float = 0.0
    lock: Lock = field(default_factory=Lock)


class Tokens:
    """Tokens of the operator's service account, one an audience, and the fact that says who signs them.

    A token is asked for when it is needed, and again after 80 % of its life. The issuer is read when somebody asks for
    it and what is known is older than `ttl_seconds`, or when a token comes with a key that is not known yet.

    Args:
        api: speaks with the Kubernetes API, as the operator.
        namespace: the operator's own.
        account: the name of its service account.
        on_change: called, in the event loop, when the issuer is another one.
        now: a clock that never goes back, in seconds.
    """

    def __init__(
        self,
        api: Transport,
        namespace: str,
        account: str,
        on_change: Callable[[], None],
        *,
        ttl_seconds: float = 300.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._api = api
        self._path = f"api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        self._on_change = on_change
        self._ttl = ttl_seconds
        self._now = now
        self._tokens: dict[str, _Token] = {}
        self._issuer: Fact[Issuer] = Fact()
        self._stale_at = 0.0
        self._reading: Task[None] | None = None

    async def token(self, audience: str) -> str:
        """Return a token that is good for one audience.

        Raises:
            Unavailable, Refused: the API server gave none; the message says why.
        """
        kept = self._tokens.setdefault(audience, _Token())
        async with kept.lock:  # a follower and a call may need the same one
            if self._now() >= kept.renew_at:
                await self._renew(kept, audience)
            return kept.text

    def distrust(self, audience: str) -> None:
        """Forget a token that was refused, and look whether the keys have changed."""
        if (kept := self._tokens.get(audience)) is not None:
            kept.renew_at = 0.0
        self._stale_at = 0.0

    def issuer(self) -> Fact[Issuer]:
        """Return who signs the cluster's tokens, as it was read last."""
        if self._now() >= self._stale_at and (self._reading is None or self._reading.done()):
            self._reading = create_task(self._read_issuer(), name="the cluster's keys")
        return self._issuer

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await gather(self._reading, return_exceptions=True)

    async def _renew(self, kept: _Token, audience: str) -> None:
        asked = self._now()
        ended = [name for name, each in self._tokens.items() if 0 < each.ends_at <= asked and each is not kept]
        for name in ended:
            del self._tokens[name]
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": LIFE_SECONDS},
        }
        answer = await self._api.ask("POST", self._path, body=body)
        try:
            text, seconds = str(answer["status"]["token"]), int(answer["spec"]["expirationSeconds"])
        except (LookupError, TypeError, ValueError) as error:
            raise Unavailable(SERVICE, "its answer to a TokenRequest is not understood") from error
        kept.text, kept.renew_at, kept.ends_at = text, asked + 0.8 * seconds, asked + seconds
        if self._issuer.value is not None and _key_of(text) not in {key.get("kid") for key in self._issuer.value.keys}:
            self._stale_at = 0.0
            self.issuer()

    async def _read_issuer(self) -> None:
        """Read who signs, until it could be read."""
        pause = _FIRST_PAUSE
        while True:
            try:
                fact = Fact(value=await self._ask_issuer())
            except OutsideError as error:
                fact = Fact(value=self._issuer.value, error=str(error))
            changed, self._issuer = fact != self._issuer, fact
            if changed:
                self._on_change()
            if fact.error is None:
                self._stale_at = self._now() + self._ttl
                return
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _ask_issuer(self) -> Issuer:
        about = await self._api.ask("GET", ".well-known/openid-configuration")
        keys = await self._api.ask("GET", "openid/v1/jwks")
        try:
            public = [_public(key) for key in keys["keys"]]
            return Issuer(url=str(about["issuer"]), keys=tuple(sorted(public, key=lambda key: key["kid"])))
        except (LookupError, TypeError, AttributeError) as error:
            raise Unavailable(SERVICE, "what it says of its issuer of tokens is not understood") from error


def _public(key: dict[str, Any]) -> dict[str, str]:
    return {part: str(key[part]) for part in _PARTS if part in key}


def _key_of(token: str) -> str | None:
    """Return the id of the key that has signed a token."""
    head = token.partition(".")[0]
    try:
        kid = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4))).get("kid")
    except (ValueError, AttributeError):
        return None
    return None if kid is None else str(kid)
