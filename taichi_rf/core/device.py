"""Device arrays: the element types kernels speak, and scratch arrays that grow when a batch needs more room."""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti

BLOCK = 16
"""Components in one block: a texel's block is one 64-byte line and one vector register."""

Vec3: Any = ti.types.vector(3, ti.f32)
Cell: Any = ti.types.vector(3, ti.i32)
Block: Any = ti.types.vector(BLOCK, ti.f32)

F32: Any = ti.types.ndarray(dtype=ti.f32, ndim=1)
I32: Any = ti.types.ndarray(dtype=ti.i32, ndim=1)
Cells: Any = ti.types.ndarray(dtype=Cell, ndim=1)
Vec3s: Any = ti.types.ndarray(dtype=Vec3, ndim=1)


def empty(dtype: Any, count: int) -> Any:
    """A flat device array of ``count`` elements of ``dtype`` (ti.f32, ti.i32 or a vector type), all zero."""
    if hasattr(dtype, "n"):
        array = ti.Vector.ndarray(dtype.n, dtype.dtype, max(1, count))
        _clear(array, dtype.n)  # Taichi's own fill compiles a kernel for every array of vectors
    else:
        array = ti.ndarray(dtype, max(1, count))
        array.fill(0)
    return array


@ti.kernel
def _clear(array: ti.types.ndarray(ndim=1), width: ti.template()):
    for i in range(array.shape[0]):
        for k in ti.static(range(width)):
            array[i][k] = 0


def upload(values: np.ndarray, dtype: Any = ti.f32) -> Any:
    """Copy a numpy array, shape (n,), (n, 3) for Vec3 or (n, 16) for Block, to a new device array."""
    array = empty(dtype, len(values))
    array.from_numpy(np.ascontiguousarray(values, dtype=np.int32 if dtype == ti.i32 else np.float32))
    return array


class Scratch:
    """Named arrays that only ever grow, so that a step neither allocates nor recompiles.

    Contents do not survive growth.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Any] = {}

    def get(self, name: str, dtype: Any, count: int) -> Any:
        """The array called ``name``, with room for at least ``count`` elements."""
        array = self._arrays.get(name)
        if array is None or array.shape[0] < count:
            self._arrays.pop(name, None)
            array = self._arrays[name] = empty(dtype, max(1024, count + count // 4))
        return array


def copy_rows(source: np.ndarray, target: Any) -> None:
    """Copy (n, 3) numbers from the host to the first n elements of an array of Vec3."""
    _copy_rows(len(source), np.ascontiguousarray(source, np.float32), target)


def copy_numbers(source: np.ndarray, target: Any) -> None:
    """Copy (n,) whole numbers from the host to the first n elements of an array of int32."""
    _copy_numbers(len(source), np.ascontiguousarray(source, np.int32), target)


@ti.kernel
def _copy_numbers(n: int, source: ti.types.ndarray(dtype=ti.i32, ndim=1), target: I32):
    for i in range(n):
        target[i] = source[i]


@ti.kernel
def _copy_rows(n: int, source: ti.types.ndarray(dtype=ti.f32, ndim=2), target: Vec3s):
    for i in range(n):
        target[i] = Vec3(source[i, 0], source[i, 1], source[i, 2])


@ti.kernel
def fill_rows(n: int, colour: ti.math.vec3, target: Vec3s):
    """target[:n] = colour"""
    for i in range(n):
        target[i] = colour
