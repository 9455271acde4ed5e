"""Results of calls live until they are recorded; errors go by themselves."""

import asyncio

from virtual_time import VirtualClock, run

from perennial.api.messages.policy import Arm, Policy
from perennial.plan.actions import EnsureRun, PutPolicy, SetAlias
from perennial.plan.observed import CallResult
from perennial.runtime.resources import Key
from perennial.runtime.results import CallResults

KEY = Key("TrainingRun", "ns", "a")
CHAMPION = SetAlias(model="m", alias="champion", version="3")
RUN = EnsureRun(experiment="e", uid="u", run_name="r", tags={"b": "2", "a": "1"})


def test_equal_calls_have_the_same_result_and_other_keys_have_none() -> None:
    async def story() -> None:
        results = CallResults(VirtualClock())
        results.succeeded(KEY, RUN, {"runId": "7"})
        again = EnsureRun(experiment="e", uid="u", run_name="r", tags={"a": "1", "b": "2"})
        assert results.of(KEY).result(again) == CallResult(value={"runId": "7"})
        assert results.of(KEY).result(CHAMPION) is None
        assert results.of(Key("TrainingRun", "ns", "b")).result(RUN) is None

    run(story())


def test_policies_are_told_apart_by_their_content() -> None:
    async def story() -> None:
        def policy(revision: str) -> PutPolicy:
            arms = {"a": Arm(version="v", model_version="1")}
            return PutPolicy(policy=Policy(revision=revision, stable="a", arms=arms))

        results = CallResults(VirtualClock())
        results.succeeded(KEY, policy("r1"), {})
        assert results.of(KEY).result(policy("r1")) is not None
        assert results.of(KEY).result(policy("r2")) is None

    run(story())


def test_a_success_stays_while_it_is_repeated_and_goes_when_a_plan_without_it_was_carried_out() -> None:
    async def story() -> None:
        results = CallResults(VirtualClock())
        results.succeeded(KEY, CHAMPION, {})
        results.settle(KEY, [CHAMPION])
        await asyncio.sleep(3600)
        assert results.of(KEY).result(CHAMPION) is not None
        results.settle(KEY, [])
        assert results.of(KEY).result(CHAMPION) is None
        assert not results._kept, "an empty entry stays for ever"

    run(story())


def test_an_error_outlives_the_plan_that_tells_of_it_and_goes_by_itself() -> None:
    async def story() -> None:
        results = CallResults(VirtualClock())
        results.failed(KEY, CHAMPION, "MLflow is unavailable", seconds=10)
        results.settle(KEY, [])
        assert results.of(KEY).result(CHAMPION) == CallResult(error="MLflow is unavailable")
        assert results.until_next_call(KEY) == 10
        await asyncio.sleep(10)
        assert results.of(KEY).result(CHAMPION) is None
        results.settle(KEY, [])
        assert results.until_next_call(KEY) is None

    run(story())


def test_what_is_kept_of_an_object_goes_with_it() -> None:
    async def story() -> None:
        results = CallResults(VirtualClock())
        results.succeeded(KEY, CHAMPION, {})
        results.forget(KEY)
        results.forget(KEY)
        assert results.of(KEY).result(CHAMPION) is None

    run(story())
