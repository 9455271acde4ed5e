"""`falsePositiveRate`: the share of negatives that are predicted to be positive."""

from typing import ClassVar

import numpy as np

from perennial.families.metric import FloatArray, Mask, Rate, Worked


class FalsePositiveRate(Rate):
    """The share of negatives that are predicted to be positive: false alarms among what did not come true."""

    name: ClassVar[str] = "falsePositiveRate"
    title: ClassVar[str] = "false positive rate"
    worked: ClassVar[Worked] = Worked(truth=(1, 1, 0, 0, 0), score=(0.9, 0.2, 0.7, 0.1, 0.3), value=1 / 3)

    def over(self, truth: FloatArray) -> Mask:
        """Return the negatives."""
        return np.asarray(truth == 0)
