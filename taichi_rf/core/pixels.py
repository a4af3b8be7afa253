"""What pixels are put on, and how far apart they are: numbers that training, evaluation and readers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_ERROR = 1e-12
"""Mean squared error of what is matched exactly: 120 dB rather than infinitely many."""


def over(rgba: npt.NDArray[Any], background: npt.ArrayLike) -> npt.NDArray[Any]:
    """Premultiplied colours on a background: c + (1 - alpha) b (Porter and Duff 1984).

    Args:
        rgba: (..., 4) with the colours multiplied by alpha, values in [0, 1].
        background: (3,), or (..., 3).

    Returns:
        (..., 3)
    """
    colours: npt.NDArray[Any] = rgba[..., :3] + (1 - rgba[..., 3:]) * np.asarray(background, np.float32)
    return colours


def decibels(errors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """PSNR in dB of mean squared errors of values in [0, 1], any shape: -10 log10, at most 120."""
    found: npt.NDArray[np.float64] = -10 * np.log10(np.maximum(errors, LEAST_ERROR))
    return found
