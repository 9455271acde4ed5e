"""A trial in every world: whatever the collector says, it grows by proof and ends by harm."""

from collections import Counter

from given import NOW, World, planned
from given_deployment import NAME
from hypothesis import HealthCheck, given, settings
from trial_laws import ends_by_harm, grows_by_proof, keeps_slots, retrains_one_at_a_time
from worlds import deployment_worlds

many = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def test_trials_grow_by_proof_and_end_by_harm() -> None:
    seen: Counter[str] = Counter()

    @many
    @given(world=deployment_worlds(on_trial=True) | deployment_worlds(on_trial=True, harm=True))
    def hold(world: World) -> None:
        plan = planned(world, "ModelDeployment", NAME)
        seen.update([grows_by_proof(world, plan, NOW), ends_by_harm(world, plan)])

    hold()
    assert min(seen[story] for story in ("promoted", "grown", "harmed")) >= 2, f"too few to prove anything: {seen}"


def test_slots_are_safe_and_transitions_are_single() -> None:
    seen: Counter[str] = Counter()

    @many
    @given(world=deployment_worlds())
    def hold(world: World) -> None:
        plan = planned(world, "ModelDeployment", NAME)
        assert len(plan.events) <= 1
        seen.update([keeps_slots(world, plan), retrains_one_at_a_time(world, plan)])

    hold()
    assert seen["let go"] >= 1, f"too few to prove anything: {seen}"
