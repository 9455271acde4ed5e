"""Breaks since the last release that are meant, each with the reason. A release empties the list."""

from collections.abc import Mapping

from perennial.schema.compatibility import Break

_LISTED: Mapping[str, object] = {
    "Dataset spec.expectations[].severity": "Error",
    "Dataset spec.schema.columns[].nullable": True,
    "ModelDeployment spec.canary.steps[].minSeconds": 0,
    "ModelDeployment spec.retraining.template.gate.metrics[].threshold": "0.5",
    "ModelDeployment spec.retraining.template.trainer.env[].value": "",
    "ModelDeployment spec.server.env[].value": "",
    "ModelDeployment spec.slos[].outcome.minSamples": 100,
    "ModelDeployment spec.slos[].outcome.threshold": "0.5",
    "ModelDeployment spec.slos[].role": "Critical",
    "TrainingRun spec.gate.metrics[].threshold": "0.5",
    "TrainingRun spec.trainer.env[].value": "",
}
"""Defaults that were written into lists, and what they were."""

ARGUED: Mapping[Break, str] = {
    Break(
        "TrainingRun spec",
        "must hold, and need not: spec is immutable but for suspend: a TrainingRun is one training; create another one",
    ): "weaker than the rule that it replaces: suspend may change",
    Break(
        "ModelDeployment spec",
        "must hold, and need not: slos needs an errorRate of role Critical: nothing is promoted on no measurement",
    ): "the same rule, which knows that a role that is left out is Critical",
    **{
        Break(where, f"default was {default}, is none"): "the default holds as before; it is not written any more"
        for where, default in _LISTED.items()
    },
}
