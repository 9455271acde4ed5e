"""Predictions on their way to the collector: in the background, in batches, and never in a prediction's way."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import aiohttp

MOST_WAITING = 200_000
"""Two requests of as many rows as one may have."""
BATCH = 2_000
PERIOD_SECONDS = 0.5
LAST_SECONDS = 5.0
"""How long the last report may take when the server ends."""

log = logging.getLogger("perennial.server")


class Reported(NamedTuple):
    """One prediction: its id, when it was made (seconds since the epoch), and the score."""

    id: str
    time: float
    score: float


class Reporter:
    """A bounded queue to one collector. What does not fit is dropped and counted; what was refused is dropped too.

    `token` is the file that proves who reports. The kubelet renews it, so it is read for every batch.
    """

    def __init__(self, collector: str, version: str, model_version: str, token: str | None = None) -> None:
        self._url = f"{collector.rstrip('/')}/v1/predictions"
        self._token = None if token is None else Path(token)
        self._names = {"version": version, "modelVersion": model_version}
        self._waiting: deque[Reported] = deque()
        self._full = asyncio.Event()
        self._ending = False
        self._me = uuid4().hex
        self.reported = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, predictions: Iterable[Reported]) -> int:
        """Queue predictions, and return how many there was room for; never waits."""
        room = MOST_WAITING - len(self._waiting)
        taken = 0
        for prediction in predictions:
            if taken < room:
                self._waiting.append(prediction)
                taken += 1
            else:
                self.dropped += 1
        if len(self._waiting) >= BATCH:
            self._full.set()
        return taken

    def end(self) -> None:
        """Let `run` send what is left, and return."""
        self._ending = True
        self._full.set()

    async def run(self) -> None:
        """Send batches until `end`; then what is left, for a few seconds at most."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            pause = PERIOD_SECONDS
            while not self._ending:
                sent = await self._send_all(session)
                pause = PERIOD_SECONDS if sent else min(pause * 2, 10.0)
                await self._pause(pause)
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self._send_all(session)
            except TimeoutError:
                log.warning("predictions unreported", extra={"predictions": len(self._waiting)})

    async def _pause(self, seconds: float) -> None:
        if seconds > PERIOD_SECONDS and not self._ending:
            # The collector is away: a full queue is no reason to hurry.
            self._full.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._full.wait()
        self._full.clear()

    async def _send_all(self, session: aiohttp.ClientSession) -> bool:
        """Send batch after batch; return False if the collector did not take one."""
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            items = [
                {"id": p.id, "time": datetime.fromtimestamp(p.time, UTC).isoformat(), "score": p.score} for p in batch
            ]
            try:
                body, headers = {**self._names, **self._losses(), "predictions": items}, self._proof()
                async with session.post(self._url, json=body, headers=headers) as response:
                    status = response.status
                    await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError):
                return False
            if status >= 500 or status == 401:  # noqa: PLR2004 - the collector's trouble, or a token's that is renewed
                return False
            self._forget(batch, taken=status < 400)  # noqa: PLR2004 - refused for good: trying again would not help
        return True

    def _losses(self) -> dict[str, object]:
        """Return how many predictions this process has dropped since it began, where it has."""
        return {"reporter": self._me, "dropped": self.dropped} if self.dropped else {}

    def _proof(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token.read_text().strip()}"}

    def _forget(self, batch: list[Reported], *, taken: bool) -> None:
        for _ in batch:
            self._waiting.popleft()
        if taken:
            self.reported += len(batch)
        else:
            self.dropped += len(batch)
            log.warning("report refused", extra={"predictions": len(batch)})
