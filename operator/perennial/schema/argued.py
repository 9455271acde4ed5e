"""Breaks since the last release that are meant, each with the reason. A release empties the list."""

from collections.abc import Mapping

from perennial.schema.compatibility import Break

ARGUED: Mapping[Break, str] = {
    Break(
        "TrainingRun spec",
        "must hold, and need not: spec is immutable but for suspend: a TrainingRun is one training; create another one",
    ): "weaker than the rule that it replaces: suspend may change",
}
