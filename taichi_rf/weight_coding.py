"""Weights of a decoder as whole numbers, a step for every run of weights that are alike: see
:mod:`taichi_rf.fields.factor_coding`, which does the same to a field. They are few, so they are only deflated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taichi_rf.entropy import LARGEST

SMALLEST_STEP, LARGEST_STEP = 2.0**-14, 6e4  # normal numbers of half precision


def rounded(
    values: NDArray[np.float32], squares: NDArray[np.float32], runs: tuple[int, ...], noise: float
) -> tuple[NDArray[np.uint16], NDArray[np.float16], float]:
    """Whole numbers (n,), zigzag (0, -1, 1, -2, ... as 0, 1, 2, 3, ...), and steps, one a run.

    Args:
        values: (n,)
        squares: (n,) what a squared error of each costs.
        runs: how many values each run has, in order.
        noise: the step of a value of weight one.

    Returns:
        Numbers, steps, and the sum of squared errors by what they cost.
    """
    numbers, steps, first, error = np.zeros(len(values), np.int32), np.ones(len(runs), np.float16), 0, 0.0
    for index, size in enumerate(runs):
        part = slice(first, first + size)
        first += size
        step = max(noise / max(float(squares[part].mean()), 1e-30) ** 0.5, float(np.abs(values[part]).max()) / LARGEST)
        steps[index] = min(max(1.01 * step, SMALLEST_STEP), LARGEST_STEP)
        whole = np.clip(np.rint(values[part] / np.float32(steps[index])), -LARGEST, LARGEST)
        error += float((squares[part] * (whole * np.float32(steps[index]) - values[part]) ** 2).sum())
        numbers[part] = whole
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers).astype(np.uint16), steps, error


def values_of(numbers: NDArray[np.uint16], steps: NDArray[np.float16], runs: tuple[int, ...]) -> NDArray[np.float32]:
    """What :func:`rounded` made numbers and steps of, but for what it rounded."""
    signed = numbers.astype(np.int32)
    signed = np.where(signed & 1, -((signed + 1) >> 1), signed >> 1)
    return signed.astype(np.float32) * np.repeat(steps.astype(np.float32), runs)
