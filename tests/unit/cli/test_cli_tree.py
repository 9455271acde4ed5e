"""The tree, and how it is drawn."""

import re

from story import CANARY, STABLE, condition, dataset, deployment, on_trial, passed_run, ready_dataset, run

from perennial.cli.rendering import Style, tree_lines
from perennial.cli.snapshot import Snapshot, State
from perennial.cli.tree import Node, branch, forest


def drawn(*objects: dict[str, object], **style: object) -> list[str]:
    return list(tree_lines(forest(Snapshot.of(objects)), Style(**style)))  # type: ignore[arg-type]


def test_a_team_with_a_canary() -> None:
    late = passed_run("june", "2", created="2026-11-23T13:00:00Z")
    assert drawn(on_trial(), late, passed_run(), ready_dataset()) == [
        (
            "✔ Dataset flights                     VersionReady "
            "version 3 · 50,009 rows · sha256:abababababab… · to 2026-11-23"
        ),
        (
            "├─ ✔ TrainingRun january              Succeeded    "
            "model flight-delay version 1 · gate Pass, misses 0.61 (champion 0.8)"
            " · data sha256:abababababab…"
        ),
        "│  └─ ✔ ModelDeployment flight-delay  Serving      model flight-delay · promises kept",
        "│     ├─ ✔ Slot a                     stable       model version 1 from january · 90 % · 1/1 ready",
        "│     ├─ ◐ Slot b                     canary       model version 2 from june · step 1 of 2 · 10 %",
        "│     │  └─ ◐ SLO errors              Undecided    0.003 of 4,000 · about 1,900 more, ≈ 12 min",
        (
            "│     └─ ✔ SLO missed-late            Pass         "
            "0.61 [0.58, 0.64] · kept (model version 1, cohort of 2026-11-23 12:00 UTC)"
        ),
        (
            "└─ ✔ TrainingRun june                 Succeeded    "
            "model flight-delay version 2 · gate Pass, misses 0.61 (champion 0.8)"
            " · data sha256:abababababab…"
        ),
    ]


def nodes(*objects: dict[str, object]) -> dict[str, Node]:
    return {f"{node.kind} {node.name}": node for tree in forest(Snapshot.of(objects)) for node in tree.walk()}


def test_weights_that_are_not_confirmed_are_told_apart_from_those_that_are() -> None:
    def text(**weight: int) -> tuple[str, str]:
        found = nodes(
            deployment(condition("Ready", "True", "Serving"), stable=STABLE, canary=CANARY | {"weight": weight})
        )
        return found["Slot a"].text, found["Slot b"].text

    assert text(desired=10, verified=10) == (
        "model version 1 · 90 % · 1/1 ready",
        "model version 2 · step 1 of 2 · 10 %",
    )
    assert text(desired=0, verified=10)[1].endswith("0 % (10 % live)")
    stable, canary = text(desired=10)
    assert canary.endswith("10 % (not confirmed)")
    assert "%" not in stable


def test_every_object_is_drawn_once_wherever_its_parents_are() -> None:
    """Without the Dataset, without the runs, with a run of another model."""
    other = run("other", condition("Succeeded", "Unknown", "Training"))
    other["spec"]["model"]["name"] = "something-else"
    for objects in (
        [on_trial()],
        [on_trial(), passed_run()],
        [on_trial(), ready_dataset()],
        [on_trial(), other, ready_dataset()],
        [on_trial(), passed_run(), other, ready_dataset()],
    ):
        drawn_ = [
            (node.kind, node.name) for tree in forest(Snapshot.of(objects)) for node in tree.walk() if node.namespace
        ]
        assert sorted(drawn_) == sorted((one["kind"], one["metadata"]["name"]) for one in objects)


def test_a_model_deployment_whose_version_has_no_run_hangs_below_the_newest_of_its_model() -> None:
    stable = STABLE | {"modelVersion": "7"}
    older, newer = passed_run("a", "1"), passed_run("b", "2", created="2026-11-24T00:00:00Z")
    (tree,) = forest(
        Snapshot.of([ready_dataset(), older, newer, deployment(condition("Ready", "True", "Serving"), stable=stable)])
    )
    assert [[node.name for node in child.walk()] for child in tree.children] == [["a"], ["b", "flight-delay", "a"]]


def test_states() -> None:
    reconciling = condition("Reconciling", "True", "Training")
    stalled = condition("Stalled", "True", "RolledBack", "It was rolled back.")
    serving = condition("Ready", "True", "Serving")
    cases = {
        State.OK: deployment(serving),
        State.WARNING: deployment(serving, stalled),
        State.PAUSED: deployment(serving, condition("Stalled", "True", "Suspended")),
        State.WAITING: deployment(condition("Ready", "False", "Starting"), reconciling),
        State.BAD: deployment(condition("Ready", "False", "ContainerFailed")),
    }
    for state, obj in cases.items():
        assert nodes(obj)["ModelDeployment flight-delay"].state is state
    broken = deployment(serving, condition("SLOsMet", "False", "SLOBroken"))
    assert nodes(broken)["ModelDeployment flight-delay"].state is State.WARNING
    assert nodes(deployment(serving, stalled))["ModelDeployment flight-delay"].text.endswith("It was rolled back.")


def test_what_the_operator_has_not_seen_is_not_ready() -> None:
    fresh = deployment(condition("Ready", "True", "Serving"))
    fresh["metadata"]["generation"] = 2
    never = deployment()
    del never["status"]
    for obj in (fresh, never):
        node = nodes(obj)["ModelDeployment flight-delay"]
        assert (node.state, node.reason) == (State.WAITING, "NotSeen")


def test_two_slots_with_one_model_are_told_apart_by_their_hash() -> None:
    same = CANARY | {"modelVersion": STABLE["modelVersion"]}
    found = nodes(deployment(condition("Ready", "True", "Serving"), stable=STABLE, canary=same))
    assert found["Slot a"].text.startswith("model version 1 (abc) · ")
    assert found["Slot b"].text.startswith("model version 1 (def) · ")


def test_a_dataset_without_a_version_says_what_its_check_says() -> None:
    missing = condition("Fetched", "False", "SourceUnreadable", "No such folder.")
    node = nodes(dataset(condition("Ready", "False", "NoVersion"), missing))["Dataset flights"]
    assert (node.state, node.reason, node.text) == (State.BAD, "SourceUnreadable", "No such folder.")


def test_a_branch_keeps_what_is_above_and_below() -> None:
    objects = [on_trial(), passed_run(), passed_run("june", "2"), ready_dataset()]
    snapshot = Snapshot.of(objects)
    (tree,) = branch(forest(snapshot), snapshot.find("mdep/flight-delay"))
    assert [node.name for node in tree.walk()][:3] == ["flights", "january", "flight-delay"]
    assert "june" not in [node.name for node in tree.walk()]
    (whole,) = branch(forest(snapshot), snapshot.find("flights"))
    assert whole == forest(snapshot)[0]


def test_without_unicode_it_is_ascii_and_without_a_terminal_there_is_no_colour() -> None:
    objects = [on_trial(), passed_run(), ready_dataset()]
    plain = "\n".join(drawn(*objects, unicode=False))
    assert plain.isascii()
    assert "`- + SLO missed-late" in plain
    assert "\x1b" not in "\n".join(drawn(*objects))


def test_colour_changes_no_character_and_lines_fit_the_terminal() -> None:
    objects = [on_trial(), passed_run(), ready_dataset()]
    coloured = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in drawn(*objects, colour=True)]
    assert coloured == drawn(*objects)
    assert any(len(line) > 90 for line in coloured)
    assert all(len(line) <= 90 for line in drawn(*objects, width=90))


def test_the_version_before_is_kept_warm_then_in_mind() -> None:
    kept = {**STABLE, "slot": "b", "scaleDownTime": "2026-11-23T12:05:00Z"}
    window = {"rollbackUntil": "2026-11-24T12:00:00Z"}

    def told(previous: dict[str, object]) -> str:
        (tree,) = forest(
            Snapshot.of([deployment(condition("Ready", "True", "Serving"), stable=STABLE, previous=previous)])
        )
        return tree.children[1].text.rsplit(" · ", 1)[1]

    assert told(kept) == "kept warm until 2026-11-23 12:05"
    assert told({**kept, **window}) == "kept warm until 2026-11-23 12:05, can be gone back to until 2026-11-24 12:00"
    assert told({**kept, **window, "scaledDown": True}) == "no pods, can be gone back to until 2026-11-24 12:00"
