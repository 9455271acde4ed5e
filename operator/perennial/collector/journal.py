"""What a collector must still know after a restart, but for predictions: policy, counters, ticks and the brake."""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection

from perennial.api.messages.policy import Policy
from perennial.api.messages.state import Brake
from perennial.collector import cohorts, ticks
from perennial.collector.cohort_sums import CohortRule
from perennial.collector.counting import Baseline
from perennial.collector.database import Database
from perennial.stats.dispersion import Dispersion
from perennial.stats.ticks import Tick, Ticks


class Journal:
    """Writes down, and reads again. What was awaited here has happened; else an `sqlite3.Error` tells."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> tuple[Policy | None, Mapping[str, Baseline], Dispersion]:
        """Return the policy that was put last, where each router's counting goes on from, and how failures come."""
        return await self._database.run(_read)

    async def put(self, policy: Policy, baselines: Mapping[str, Baseline], bursts: Dispersion) -> None:
        """Write down a policy, the baselines under it and what its trial takes for known of bursts, durably."""
        await self._database.run_durably(_put, policy, baselines, bursts)

    async def learn(self, bursts: Dispersion) -> None:
        """Write down what is known of how failures come in bursts."""
        await self._database.run(ticks.write_bursts, bursts)

    async def trial(self, canary: str) -> tuple[Ticks, Brake | None]:
        """Return all ticks of a canary, and its brake."""
        return await self.ticks(canary), await self._database.run(ticks.read_brake, canary)

    async def ticks(self, series: str, after: float = 0.0) -> Ticks:
        """Return the ticks of a series since a time: of a canary's id, or of a watch."""
        return await self._database.run(ticks.read_ticks, series, after)

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


def _read(connection: Connection) -> tuple[Policy | None, Mapping[str, Baseline], Dispersion]:
    return ticks.read_policy(connection), ticks.read_baselines(connection), ticks.read_bursts(connection)


def _put(connection: Connection, policy: Policy, baselines: Mapping[str, Baseline], bursts: Dispersion) -> None:
    ticks.write_policy(connection, policy, baselines)
    ticks.write_bursts(connection, bursts)
    cohorts.configure(connection, CohortRule.of(policy))
