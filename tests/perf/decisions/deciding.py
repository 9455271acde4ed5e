"""Canaries judged by the operator's own code at every look, many at once."""

from dataclasses import dataclass, replace

import numpy as np

from perennial.stats.evidence import Evidence, Look, Promise, Setting
from perennial.stats.judge import FAILS, PASSES, Levels, decide
from perennial.stats.ticks import REJECTED, REQUESTS, Ticks
from tests.perf.decisions.traffic import Array

ALPHA = BETA = 0.05
NEVER = 10**9
LIMIT, RATIO = 0.05, 1.25


def promised(limit: float | None = LIMIT, ratio: float | None = RATIO) -> Promise:
    """Return what an SLO about requests stands for."""
    return Promise(signal=REQUESTS, limit=limit, ratio=ratio, beside=(REJECTED,))


FORMS = {"max": promised(ratio=None), "maxRatio": promised(limit=None), "max and maxRatio": promised()}


@dataclass(frozen=True)
class Decided:
    """The first look, counted from 0, at which each canary was failed and at which it was passed; NEVER if none."""

    failed: Array
    passed: Array

    @property
    def rolled_back(self) -> Array:
        """Which canaries were failed at some look, also after they might have been promoted."""
        return self.failed < NEVER

    @property
    def promoted(self) -> Array:
        """Which canaries were passed before they were failed."""
        return (self.passed < NEVER) & (self.passed < self.failed)


def looked(promise: Promise, ticks: Ticks, setting: Setting | None = None, before: Evidence | None = None) -> Look:
    """Return what stands at each look, shape (canaries, ticks)."""
    begun = before or Evidence.none(promise, setting or Setting(), (ticks.weight.shape[0],))
    return begun.path(promise, ticks)[1]


def decided(promise: Promise, look: Look, attempt: int = 1) -> Decided:
    """Return when canaries were decided on, at the risks of 5 %."""
    codes = decide(promise, look, Levels.of(ALPHA, BETA, attempt=attempt))
    return Decided(_first(FAILS[codes]), _first(PASSES[codes]))


def shown_at_last(promise: Promise, look: Look) -> Array:
    """Return which canaries are failed at one look, shape (canaries,); harm is latched, so this tells of all before."""
    return FAILS[decide(promise, look, Levels.of(ALPHA, BETA))]


def all_forms(ticks: Ticks, limit: float = LIMIT, setting: Setting | None = None) -> dict[str, Decided]:
    """Return what each form of SLO decides on the same traffic."""
    whole = promised(limit)
    look = looked(whole, ticks, setting)
    return {name: decided(replace(form, limit=form.limit and limit), look) for name, form in FORMS.items()}


def pieces(trials: int, size: int = 250) -> list[int]:
    """Return sizes that add up to the trials: so many canaries fit into memory at once."""
    return [min(size, trials - begin) for begin in range(0, trials, size)]


def _first(crossed: Array) -> Array:
    return np.where(crossed.any(axis=-1), crossed.argmax(axis=-1), NEVER)
