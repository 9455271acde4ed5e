"""Sums and values that begin anew now and then, along the last axis, in pieces: tools of the tables of ticks."""

import numpy as np
from numpy.typing import NDArray

from perennial.stats.rates import FloatArray

BoolArray = NDArray[np.bool_]


def running(before: FloatArray, values: FloatArray, anew: BoolArray) -> FloatArray:
    """Return the sum of the values since the last tick that began anew, that one included.

    Args:
        before: the sum at the end of the last piece, shape (…).
        values: shape (…, ticks).
        anew: where the sum begins anew, the same shape.
    """
    sums = np.cumsum(np.concatenate([before[..., None], values], axis=-1), axis=-1)
    begin = begins(anew)
    dropped = np.take_along_axis(sums, np.maximum(begin - 1, 0), axis=-1) * (begin > 0)
    result: FloatArray = sums[..., 1:] - dropped
    return result


def held(before: FloatArray, values: FloatArray, anew: BoolArray) -> FloatArray:
    """Return the value at the last tick that began anew; `before`, shape (…), where none has yet."""
    whole = np.concatenate([before[..., None], np.broadcast_to(values, anew.shape)], axis=-1)
    return np.take_along_axis(whole, begins(anew), axis=-1)


def begins(anew: BoolArray) -> NDArray[np.int64]:
    """Return where the last tick that began anew stands, counted from 1 and 0 if there was none, shape (…, ticks)."""
    index = np.arange(1, anew.shape[-1] + 1)
    return np.maximum.accumulate(np.where(anew, index, 0), axis=-1)


def previous(before: FloatArray, values: FloatArray) -> FloatArray:
    """Return the values of the ticks before, shape (…, ticks); `before`, shape (…), at the first."""
    return np.concatenate([before[..., None], values[..., :-1]], axis=-1)
