"""Predictions with their labels, and what the cohorts that they make have come to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from sqlite3 import Connection
from time import time

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import TakenLabels
from perennial.collector import cohorts, joining, retention
from perennial.collector.database import Database
from perennial.collector.joining import PostedLabel, Prediction, Reporter, Tally
from perennial.collector.monitoring import Monitored
from perennial.collector.references import keep_references


class Predictions:
    """The stored predictions of one ModelDeployment. `volume`: bytes of what they are stored on; None: nobody knows."""

    def __init__(self, database: Database, volume: int | None = None) -> None:
        self._database = database
        self._volume = volume
        self._stale = True
        self.tally = Tally()
        self.monitored = Monitored()

    async def start(self) -> None:
        """Read what an earlier life has written."""
        self.tally = await self._database.run(joining.read_tally)

    async def record(
        self, version: str, model_version: str, predictions: Sequence[Prediction], reporter: Reporter | None = None
    ) -> None:
        """Store predictions, durably; an id that is known already keeps what it has."""
        self.tally = await self._database.run_durably(
            joining.record_predictions, version, model_version, predictions, reporter=reporter, now=time()
        )
        self._stale = True

    async def label(self, labels: Sequence[PostedLabel]) -> TakenLabels:
        """Store labels, durably, and tell what became of them."""
        became, self.tally = await self._database.run_durably(joining.record_labels, labels, time())
        self._stale = True
        return became

    async def refresh(self, policy: Policy | None) -> None:
        """Read the cohorts anew if something has changed them."""
        if self._stale:
            self._stale = False
            self.monitored = await self._database.run(_read, policy, datetime.now(UTC))

    async def prune(self) -> None:
        """Delete what no verdict needs any more, a bounded number of rows at a time."""
        while await self._database.run(retention.prune, time(), self._volume) >= retention.PRUNE_BATCH:
            self._stale = True

    def counted_anew(self) -> None:
        """Take note that another policy may have had the cohorts counted anew."""
        self._stale = True


def _read(connection: Connection, policy: Policy | None, now: datetime) -> Monitored:
    rows = cohorts.read_cohorts(connection)
    references = {} if policy is None else keep_references(connection, policy, rows, now)
    return Monitored(rows, references, retention.read_retention(connection))
