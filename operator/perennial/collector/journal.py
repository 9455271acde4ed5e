"""What a collector must still know after a restart, but for predictions: policy, counters, ticks and the brake."""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake
from perennial.collector import cohorts, ticks
from perennial.collector.cohort_sums import CohortRule
from perennial.collector.counting import Baseline
from perennial.collector.database import Database
from perennial.stats.ticks import Tick, Ticks


class Journal:
    """Writes down, and reads again. What was awaited here has happened; else an `sqlite3.Error` tells."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> tuple[Policy | None, Mapping[str, Baseline]]:
        """Return the policy that was put last, and where each router's counting goes on from."""
        return await self._database.run(_read)

    async def put(self, policy: Policy, baselines: Mapping[str, Baseline]) -> None:
        """Write down a policy and the baselines under it, durably."""
        await self._database.run_durably(_put, policy, baselines)

    async def trial(self, canary: str) -> tuple[Ticks, Brake | None]:
        """Return all ticks of a canary, and its brake."""
        return await self.ticks(canary), await self._database.run(ticks.read_brake, canary)

    async def ticks(self, series: str) -> Ticks:
        """Return all ticks of a series: of a canary's id, or of a watch."""
        return await self._database.run(ticks.read_ticks, series)

    async def write(
        self, taken: Mapping[str, Sequence[Tick]], baselines: Mapping[str, Baseline], brake: Brake | None = None
    ) -> None:
        """Write down ticks by series, with the counters they were counted up to: all or nothing.

        Durably if there is a brake that was pulled.
        """
        write = self._database.run if brake is None else self._database.run_durably
        await write(ticks.write_ticks, taken, baselines, brake)

    async def prune(self, canary: str | None) -> None:
        """Forget ticks that nobody needs any more; those of the current canary stay."""
        await self._database.run(ticks.prune_ticks, canary)


def _read(connection: Connection) -> tuple[Policy | None, Mapping[str, Baseline]]:
    return ticks.read_policy(connection), ticks.read_baselines(connection)


def _put(connection: Connection, policy: Policy, baselines: Mapping[str, Baseline]) -> None:
    ticks.write_policy(connection, policy, baselines)
    cohorts.configure(connection, CohortRule.of(policy))
