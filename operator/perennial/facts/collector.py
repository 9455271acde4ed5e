"""What the collectors say: one follower a ModelDeployment, by long-poll, so that 200 canaries cost little."""

import logging
import random
from asyncio import CancelledError, Task, create_task, gather, get_running_loop, sleep
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from pydantic import ValidationError

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import State
from perennial.facts.errors import OutsideError, Refused, Unavailable
from perennial.facts.tokens import Tokens
from perennial.facts.transport import Transport
from perennial.plan.model_deployment.trust import audience
from perennial.plan.observed import Fact

SERVICE: Final = "collector"
Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Followed:
    url: str
    transport: Transport
    fact: Fact[State] = field(default_factory=Fact)
    task: Task[None] | None = None


class Collectors:
    """Follows the collectors of a changing set of ModelDeployments and keeps each one's latest state.

    Args:
        session: shared, see `perennial.facts.transport.client_session`.
        tokens: prove to each collector that the operator is who asks.
        on_change: called with the key, in the event loop, when the state's revision or the error is another one.
        wait_seconds: how long a collector may hold a question open (it allows 60).
        first_pause_seconds: the pause after the first failure; it doubles, up to `longest_pause_seconds`, with jitter.
        chance: numbers in [0, 1) for the jitter.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tokens: Tokens,
        on_change: Callable[[Key], None],
        *,
        wait_seconds: int = 30,
        timeout_seconds: float = 5.0,
        first_pause_seconds: float = 0.5,
        longest_pause_seconds: float = 10.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._tokens = tokens
        self._on_change = on_change
        self._wait = wait_seconds
        self._timeout = timeout_seconds
        self._first_pause = first_pause_seconds
        self._longest_pause = longest_pause_seconds
        self._chance = chance
        self._followed: dict[Key, _Followed] = {}

    def watch(self, key: Key, url: str) -> None:
        """Follow a ModelDeployment's collector from now on; again changes nothing, unless the URL is another."""
        followed = self._followed.get(key)
        if followed is not None:
            if followed.url == url:
                return
            self.forget(key)
        followed = _Followed(url, self._transport(url))
        self._followed[key] = followed
        followed.task = create_task(self._follow(key, followed), name=f"collector of {key[0]}/{key[1]}")

    def forget(self, key: Key) -> None:
        """Stop following a ModelDeployment's collector and drop what it said."""
        followed = self._followed.pop(key, None)
        if followed is not None and followed.task is not None:
            followed.task.cancel()

    def get(self, key: Key) -> Fact[State]:
        """Return what the collector said last; a fact without value and error, if it has not been asked yet."""
        followed = self._followed.get(key)
        return Fact() if followed is None else followed.fact

    async def put_policy(self, key: Key, url: str, policy: Policy) -> State:
        """Tell a ModelDeployment's collector the operator's will; return its state after it took it.

        Raises:
            Unavailable: it may or may not have taken it; say it again.
            Refused: it found the policy wrong.
        """
        body = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
        state = _state(await self._ask(key, self._transport(url), "PUT", "v1/policy", body=body))
        followed = self._followed.get(key)
        if followed is not None and followed.url == url:
            self._take(key, followed, Fact(value=state))
        return state

    async def close(self) -> None:
        """Stop following all collectors."""
        tasks = [followed.task for followed in self._followed.values() if followed.task is not None]
        for key in tuple(self._followed):
            self.forget(key)
        await gather(*tasks, return_exceptions=True)

    def _transport(self, url: str) -> Transport:
        return Transport(SERVICE, url, self._session, timeout_seconds=self._timeout)

    async def _follow(self, key: Key, followed: _Followed) -> None:
        failures = 0
        while True:
            before, asked = followed.fact, get_running_loop().time()
            try:
                state = await self._next(key, followed)
            except OutsideError as error:
                failures += 1
                self._take(key, followed, Fact(value=followed.fact.value, error=str(error)))
                await sleep(self._pause(failures))
            except CancelledError:
                raise
            except Exception:  # a follower that dies unseen would leave its ModelDeployment blind for ever
                logger.exception("following a collector failed", extra={"namespace": key[0], "collector": key[1]})
                failures += 1
                self._take(key, followed, Fact(value=followed.fact.value, error="the operator failed to follow it"))
                await sleep(self._pause(failures))
            else:
                failures = 0
                self._take(key, followed, Fact(value=state))
                hasty = get_running_loop().time() - asked < self._first_pause
                if hasty and before.error is None and _revision(before) == state.revision:
                    await sleep(self._pause(1))  # it should have waited: never ask in a circle without a breath

    async def _ask(self, key: Key, transport: Transport, method: str, path: str, **how: Any) -> Any:
        """Ask as the operator. A token that is not taken is used no more: with the next one, asking again may help."""
        mine = audience(*key)
        proof = {"Authorization": f"Bearer {await self._tokens.token(mine)}"}
        try:
            return await transport.ask(method, path, headers=proof, **how)
        except Refused as refused:
            if refused.status == 401:  # noqa: PLR2004 - not proven
                self._tokens.distrust(mine)
                raise Unavailable(SERVICE, refused.message) from refused
            raise

    async def _next(self, key: Key, followed: _Followed) -> State:
        """Ask for the next state; at once for the present one, if there is none yet or the last question failed."""
        query = {"wait": "0"}
        limit = self._timeout
        if followed.fact.value is not None and followed.fact.error is None:
            query = {"after": followed.fact.value.revision, "wait": str(self._wait)}
            limit += self._wait
        how = {"query": query, "timeout_seconds": limit}
        return _state(await self._ask(key, followed.transport, "GET", "v1/state", **how))

    def _take(self, key: Key, followed: _Followed, fact: Fact[State]) -> None:
        old = followed.fact
        followed.fact = fact
        if self._followed.get(key) is followed and (_revision(old), old.error) != (_revision(fact), fact.error):
            self._on_change(key)

    def _pause(self, failures: int) -> float:
        longest: float = min(self._first_pause * 2.0 ** min(failures - 1, 16), self._longest_pause)
        return longest * (0.5 + self._chance() / 2)


def _revision(fact: Fact[State]) -> str | None:
    return None if fact.value is None else fact.value.revision


def _state(answer: Any) -> State:
    try:
        return State.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its answer"
        raise Unavailable(SERVICE, f"its state is not understood ({where}: {first['msg']})") from None
