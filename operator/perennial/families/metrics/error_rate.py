"""`errorRate`: the share of labelled predictions whose class is wrong."""

from typing import ClassVar

import numpy as np

from perennial.families.metric import FloatArray, Mask, Rate, Worked


class ErrorRate(Rate):
    """The share of labelled predictions whose class is wrong."""

    name: ClassVar[str] = "errorRate"
    title: ClassVar[str] = "error rate"
    worked: ClassVar[Worked] = Worked(truth=(1, 1, 0, 0, 0), score=(0.9, 0.2, 0.7, 0.1, 0.3), value=0.4)

    def over(self, truth: FloatArray) -> Mask:
        """Return all rows."""
        return np.asarray(np.ones(truth.shape, dtype=bool))
