"""Numbers and arrays of files, checked where they are read: model files and checkpoints go by the same functions.

Each gives back what it was given, or raises a UserError that names it (``where``) and says what would be right. What a
kernel uses as an index has to pass :func:`indices` before it reaches the device: kernels check nothing, and an index
out of range reads or writes the memory of something else. ``tests/taichi_rf/coding/test_checks.py`` lists all such
arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taichi_rf.coding.headers import are_numbers, is_number, is_whole
from taichi_rf.core.errors import UserError


def entry(table: Any, key: str, where: str) -> Any:
    """``table[key]`` of a JSON object. UserError if it is no object, or has no such entry."""
    if not isinstance(table, dict) or key not in table:
        raise UserError(f"{where} lacks the entry '{key}'")
    return table[key]


def whole(value: Any, low: int, high: int, where: str) -> int:
    """A whole number from ``low`` to ``high``."""
    if not is_whole(value, low, high):
        raise UserError(f"{where} should be a whole number from {low} to {high}, not {shown(value)}")
    return int(value)


def number(value: Any, low: float, high: float, where: str) -> float:
    """A number from ``low`` to ``high``; an infinity passes only where the range has it, NaN never."""
    if not is_number(value, low, high):
        raise UserError(f"{where} should be a number from {low:g} to {high:g}, not {shown(value)}")
    return float(value)


def truth(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UserError(f"{where} should be true or false, not {shown(value)}")
    return value


def box(value: Any, where: str) -> list[list[float]]:
    """Two corners of three numbers, the first below the second by more than what single precision loses."""
    if not (isinstance(value, list) and len(value) == 2 and all(are_numbers(c, 3, -1e6, 1e6) for c in value)):
        raise UserError(f"{where} should be two corners of three finite numbers")
    low, high = np.array(value, np.float32)  # as kernels have them: what is far away and small would be nothing
    if not (high - low > np.maximum(1e-6, 64 * np.spacing(np.maximum(np.abs(low), np.abs(high))))).all():
        raise UserError(f"{where} should be two corners, the first below the second by more than rounding")
    return [[float(n) for n in corner] for corner in value]


def array(values: Any, kind: str, shape: tuple[int | None, ...], where: str) -> NDArray[Any]:
    """An array of type ``kind``, such as "f4", and of ``shape``; None there is any number. Of floating-point numbers,
    all are finite."""
    if not isinstance(values, np.ndarray) or values.dtype != np.dtype(kind) or not _fits(values.shape, shape):
        found = f"{values.dtype.str[1:]}{list(values.shape)}" if isinstance(values, np.ndarray) else shown(values)
        expected = f"{kind}[{', '.join('any' if n is None else str(n) for n in shape)}]"
        raise UserError(f"{where} should be {expected}, not {found}")
    return finite(values, where)


def finite(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Floating-point numbers that are all finite; others have nothing that is not."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{where} holds numbers that are not finite")
    return values


def indices(values: NDArray[Any], count: int, where: str) -> NDArray[Any]:
    """Whole numbers that are indices into ``count`` things: 0 to count - 1."""
    if values.size and not (values.min() >= 0 and values.max() < count):
        raise UserError(
            f"{where} should be indices from 0 to {count - 1}, but goes from {int(values.min())} to {int(values.max())}"
        )
    return values


def not_negative(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Numbers that are zero or more, such as the means of squares."""
    if values.size and not values.min() >= 0:
        raise UserError(f"{where} should hold no number below 0, but has {values.min():g}")
    return values


def shown(value: Any) -> str:
    """A value from a file as messages quote it: on one line, and not all of it if it is long."""
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(w is None or f == w for f, w in zip(found, shape))
