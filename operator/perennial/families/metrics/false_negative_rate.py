"""`falseNegativeRate`: the share of positives that are predicted to be negative: misses among what came true."""

from typing import ClassVar

import numpy as np

from perennial.families.metric import FloatArray, Mask, Rate, Worked


class FalseNegativeRate(Rate):
    """The share of positives that are predicted to be negative: misses among what came true."""

    name: ClassVar[str] = "falseNegativeRate"
    title: ClassVar[str] = "false negative rate"
    worked: ClassVar[Worked] = Worked(truth=(1, 1, 0, 0, 0), score=(0.9, 0.2, 0.7, 0.1, 0.3), value=0.5)

    def over(self, truth: FloatArray) -> Mask:
        """Return the positives."""
        return np.asarray(truth == 1)
