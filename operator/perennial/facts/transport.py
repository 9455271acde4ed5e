"""JSON over HTTP with a time limit and a circuit breaker: the one way in which facts are fetched.

Nothing is retried here: who asks has a back-off of its own, and only it knows whether the question still matters.
"""

import json
import os
from asyncio import Semaphore
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from yarl import URL

from perennial.facts.breaker import CircuitBreaker
from perennial.facts.errors import Refused, Unavailable

MAX_ANSWER_BYTES = 8 * 1024 * 1024

Explain = Callable[[int, str], str | None]
"""From a status and a body to a sentence that says what to do, or None if the body's own message is as good."""


def client_session() -> aiohttp.ClientSession:
    """Return a session for all clients of this package; to be closed by its maker.

    It has no limit on connections: each followed collector holds one (aiohttp's default of 100 would starve the rest).
    Cookies are not kept, and proxies from the environment are not used: what is asked here is in the cluster.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "perennial-operator"},
    )


class Transport:
    """Speaks JSON with one service.

    Args:
        service: its name in messages.
        url: where its paths begin; user information in it is sent, and never shown.
        session: shared, see `client_session`.
        timeout_seconds: for a whole exchange.
        concurrency: so many exchanges at once, the others wait.
        breaker: None: every exchange is tried.
        explain: turns a refusal into advice.
    """

    def __init__(
        self,
        service: str,
        url: str,
        session: aiohttp.ClientSession,
        *,
        timeout_seconds: float = 5.0,
        concurrency: int = 8,
        breaker: CircuitBreaker | None = None,
        explain: Explain | None = None,
    ) -> None:
        self._service = service
        self._url = URL(url.rstrip("/") + "/")
        self._session = session
        self._timeout = timeout_seconds
        self._slots = Semaphore(concurrency)
        self._breaker = breaker
        self._explain = explain
        self._last_failure = "no answer"

    @property
    def shown_url(self) -> str:
        """The URL without user information, for messages."""
        return str(self._url.with_user(None)).rstrip("/")

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Return the JSON that was answered with a 2xx.

        Raises:
            Unavailable: no answer in time, a 5xx or 429, no JSON, or the breaker is open.
            Refused: any other status.
        """
        async with self._slots:
            if self._breaker is not None and (blocked := self._breaker.blocked_seconds()) > 0:
                raise Unavailable(self._service, self._last_failure, retry_after=blocked)
            try:
                answer = await self._exchange(method, path, query, body, headers, timeout_seconds or self._timeout)
            except Unavailable as unavailable:
                self._last_failure = unavailable.message  # repeated while the breaker is open: one outage, one message
                if self._breaker is not None:
                    self._breaker.failed()
                raise
            except Refused:
                if self._breaker is not None:
                    self._breaker.succeeded()
                raise
            if self._breaker is not None:
                self._breaker.succeeded()
            return answer

    async def _exchange(  # noqa: PLR0917 - what `ask` takes, complete
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        headers: Mapping[str, str] | None,
        timeout_seconds: float,
    ) -> Any:
        try:
            async with self._session.request(
                method,
                self._url.join(URL(path.lstrip("/"))),
                params=query,
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                allow_redirects=False,  # a redirect here is a login page
            ) as response:
                status = response.status
                raw = bytearray()
                async for chunk in response.content.iter_any():
                    raw += chunk
                    if len(raw) > MAX_ANSWER_BYTES:
                        break
        except TimeoutError:
            raise Unavailable(self._service, f"{self.shown_url} did not answer within {timeout_seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(self._service, f"{self.shown_url} cannot be reached ({_cause(error)})") from None
        if len(raw) > MAX_ANSWER_BYTES:
            raise Unavailable(self._service, f"{self.shown_url} answered more than {MAX_ANSWER_BYTES} bytes")
        return self._understand(status, bytes(raw))

    def _understand(self, status: int, raw: bytes) -> Any:
        text = raw.decode("utf-8", "replace")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if 200 <= status < 300:  # noqa: PLR2004 - the success class
            if answer is None:
                raise Unavailable(self._service, f"{self.shown_url} answered {status} with something that is not JSON")
            return answer
        code, said = _said(answer, text)
        advice = self._explain(status, text) if self._explain is not None else None
        message = advice or f"{self.shown_url} answered {status}" + (f": {said}" if said else "")
        if status >= 500 or status in {408, 425, 429}:  # noqa: PLR2004 - the server's fault, or "later"
            raise Unavailable(self._service, message)
        raise Refused(self._service, message, status, code)


def _said(answer: Any, text: str) -> tuple[str, str]:
    """Return a service's own code and message for an error: MLflow's shape, the collector's, or the first line."""
    if isinstance(answer, dict):
        code = answer.get("error_code")
        message = answer.get("message") or answer.get("error") or ""
        return (code if isinstance(code, str) else "", str(message).split("\n", 1)[0][:300])
    return "", text.strip().split("\n", 1)[0][:120] if not text.lstrip().startswith("<") else ""


def _cause(error: BaseException) -> str:
    """Return a short cause without addresses that differ from try to try."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name has no address"
        case aiohttp.ClientConnectorError():
            return _cause(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case OSError() if error.errno is not None:
            return os.strerror(error.errno).lower()  # its own text may be an address, or several
        case _:
            return type(error).__name__
