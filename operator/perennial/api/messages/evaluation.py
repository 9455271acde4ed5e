"""What an evaluation says: the agreement with the worker, held where the operator reads it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from perennial.terms.forms import Digest
from perennial.terms.part import Part

Count = Annotated[int, Field(ge=0)]


class Measured(Part):
    """One rate on the held-out rows. The last three are absent where there is no champion, and only there."""

    metric: str
    total: Count
    candidate_bad: Count
    baseline_bad: Count | None = None
    only_candidate_bad: Count | None = None
    only_baseline_bad: Count | None = None

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        """Hold that the counts are the cells of one table of candidate against champion."""
        if self.candidate_bad > self.total:
            raise ValueError("candidateBad must be at most total")
        if self.baseline_bad is None:
            return self
        if self.only_candidate_bad is None or self.only_baseline_bad is None:
            raise ValueError("onlyCandidateBad and onlyBaselineBad must be given with baselineBad")
        both = self.candidate_bad - self.only_candidate_bad
        if both < 0 or both != self.baseline_bad - self.only_baseline_bad:
            raise ValueError(
                "candidateBad - onlyCandidateBad must be baselineBad - onlyBaselineBad: rows both got wrong"
            )
        if both + self.only_candidate_bad + self.only_baseline_bad > self.total:
            raise ValueError("rows that a model got wrong must be at most total")
        return self


class Evaluation(Part):
    """What the script logged, and how it did."""

    source: Annotated[str, Field(max_length=512)]
    digest: Digest
    results: tuple[Measured, ...] = ()
