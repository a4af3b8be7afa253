"""Numbers as whole numbers of a step, which half precision holds: what fields and decoders have in common when they are
coded. A decoder's weights are few, so theirs are only deflated; :mod:`taichi_rf.fields.vm.factor_coding` does the
field's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taichi_rf.coding.entropy import LARGEST, Ints

STEPS = (2.0**-14, 6e4)
"""Smallest and largest: normal numbers of half precision."""


def step_for(noise: float, weights: NDArray[np.float32], values: NDArray[np.float32]) -> np.float16:
    """The step with which errors of ``values`` cost what is allowed, or the least with which they can be coded.

    Args:
        noise: the step of a value of weight one.
        weights: what a squared error of each costs, their mean above zero.
        values: of the same shape.
    """
    step = max(noise / float(weights.mean()) ** 0.5, 1.01 * float(np.abs(values).max()) / LARGEST)
    return np.float16(min(max(step, STEPS[0]), STEPS[1]))


def zigzag(numbers: Ints) -> NDArray[np.uint16]:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: small numbers have a high byte of zero, whatever their sign."""
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers).astype(np.uint16)


def signed(numbers: NDArray[np.uint16]) -> Ints:
    """The inverse of :func:`zigzag`."""
    whole = numbers.astype(np.int32)
    return np.where(whole & 1, -((whole + 1) >> 1), whole >> 1)


def rounded(
    values: NDArray[np.float32], weights: NDArray[np.float32], runs: tuple[int, ...], noise: float
) -> tuple[NDArray[np.uint16], NDArray[np.float16], float]:
    """A decoder's weights as whole numbers.

    Args:
        values: (n,)
        weights: (n,) what a squared error of each costs.
        runs: how many values in a row share a step.
        noise: as in :func:`step_for`.

    Returns:
        Zigzag numbers (n,), steps, one a run, and the sum of squared errors by what they cost.
    """
    ends = np.cumsum(runs)[:-1]
    parts = list(zip(np.split(values, ends), np.split(weights, ends)))
    steps = np.array([step_for(noise, np.maximum(w, 1e-30), v) for v, w in parts], np.float16)
    wide = np.repeat(steps.astype(np.float32), runs)
    whole = np.clip(np.rint(values / wide), -LARGEST, LARGEST)
    error = float((weights * (whole * wide - values).astype(np.float64) ** 2).sum())
    return zigzag(whole.astype(np.int32)), steps, error


def values_of(numbers: NDArray[np.uint16], steps: NDArray[np.float16], runs: tuple[int, ...]) -> NDArray[np.float32]:
    """What :func:`rounded` made numbers and steps of, but for what it rounded."""
    return signed(numbers).astype(np.float32) * np.repeat(steps.astype(np.float32), runs)
