"""Predictions with their labels, and what the cohorts that they make have come to."""

from collections.abc import Sequence
from time import time

from perennial.api.messages.state import Labels
from perennial.collector import cohorts
from perennial.collector.cohorts import CohortRow, Label, Prediction, Tally
from perennial.collector.database import Database


class Predictions:
    """The stored predictions of one ModelDeployment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stale = True
        self.tally = Tally()
        self.cohorts: tuple[CohortRow, ...] = ()

    async def start(self) -> None:
        """Read what an earlier life has written."""
        self.tally = await self._database.run(cohorts.read_tally)

    async def record(self, version: str, model_version: str, predictions: Sequence[Prediction]) -> None:
        """Store predictions, durably; those that are known already change nothing."""
        self.tally = await self._database.run_durably(cohorts.record_predictions, version, model_version, predictions)
        self._stale = True

    async def label(self, labels: Sequence[Label]) -> Labels:
        """Store labels, durably, and tell what became of them."""
        became, self.tally = await self._database.run_durably(cohorts.record_labels, labels, time())
        self._stale = True
        return became

    async def refresh(self) -> None:
        """Read the cohorts anew if something has changed them."""
        if self._stale:
            self._stale = False
            self.cohorts = await self._database.run(cohorts.read_cohorts)

    async def prune(self) -> None:
        """Delete what no verdict needs any more, a bounded number of rows at a time."""
        while await self._database.run(cohorts.prune, time()) >= cohorts.PRUNE_BATCH:
            self._stale = True

    def counted_anew(self) -> None:
        """Take note that another policy may have had the cohorts counted anew."""
        self._stale = True
