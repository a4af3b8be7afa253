"""Arrays of a checkpoint: checked against the device arrays that they are for, before any of them is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.optim import Parameters


def parameter_values(arrays: Mapping[str, np.ndarray], parameters: Parameters) -> dict[str, np.ndarray]:
    """What ``arrays`` holds for ``parameters``, as :meth:`Parameters.restore` takes it.

    Raises:
        UserError: as :func:`values_for`, or numbers that the parameters cannot have.
    """
    found = {}
    for key, array in parameters.arrays().items():
        found[f"{parameters.name}.{key}"] = values = values_for(arrays, f"{parameters.name}.{key}", array)
        parameters.check(key, values)
    return found


def values_for(arrays: Mapping[str, np.ndarray], name: str, array: Any) -> np.ndarray:
    """What ``arrays`` holds for a device array, with the zeros at its end that checkpoints leave out.

    Raises:
        UserError: it is missing, of another type or width, longer than the device array, or not finite.
    """
    shape = shape_of(array)
    kind = "i4" if array.dtype == ti.i32 else "f4"
    values = checks.array(there(arrays, name), kind, (None, *shape[1:]), f"'{name}'")
    if len(values) > shape[0]:
        raise UserError(f"'{name}' should have {shape[0]} rows at most, not {len(values)}")
    padded = np.zeros(shape, values.dtype)
    padded[: len(values)] = values
    return padded


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of a device array as numpy has it, the components of a vector last."""
    return tuple(array.shape) + ((array.n,) if hasattr(array, "n") else ())


def without_tail(values: np.ndarray) -> np.ndarray:
    """``values`` (n, ...) without the zeros at its end, of which an array with room for a finer grid is full."""
    used = np.flatnonzero(np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1).any(axis=1))
    return values[: used[-1] + 1] if len(used) else values[:0]


def bits_of(arrays: Mapping[str, np.ndarray], name: str, count: int) -> np.ndarray:
    """``count`` bits as stored, (ceil(count / 8),) uint8. UserError where there are not so many."""
    return checks.array(there(arrays, name), "u1", (-(-count // 8),), f"'{name}'")


def there(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The array of that name. UserError where there is none."""
    if name not in arrays:
        raise UserError(f"it lacks the array '{name}'")
    return arrays[name]
