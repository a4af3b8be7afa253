"""The photometric loss and its adjoint."""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, Scratch, Vec3, Vec3s


class PhotometricLoss:
    """Mean squared error over the batch's pixels and channels."""

    def __init__(self) -> None:
        self.scratch = Scratch()

    def __call__(
        self, n: int, pixels: Any, targets: Any, *, of: int | None = None, weight: float = 1.0, first: int = 0
    ) -> tuple[float, Any]:
        """The loss, and dL/d pixels (n, 3) which is valid until the next call; ``pixels``, ``targets`` (n, 3).

        When the n rays are a part of a batch ``of`` more, it is their share of the batch's loss: shares add up.
        The gradient is that of the loss times ``weight``. The loss is that of rays ``first`` and after, of which there
        are ``of`` in the batch; those before have their gradient by the same measure. Where the error of any ray is not
        finite, the loss is not.
        """
        count = of or n - first
        d_pixels = self.scratch.get("d pixels", Vec3, n)
        errors = self.scratch.get("errors", ti.f32, n)
        _squared_error(n, count / weight, pixels, targets, d_pixels, errors)
        # summed on the host in ray order, so that the sum does not depend on the number of threads
        found = errors.to_numpy()[:n]
        before, loss = (part.sum(dtype=np.float64) / (3 * count) for part in (found[:first], found[first:]))
        return float(loss if np.isfinite(before) else before), d_pixels


@ti.kernel
def _squared_error(n: int, count: float, pixels: Vec3s, targets: Vec3s, d_pixels: Vec3s, errors: F32):
    # L = sum |p - t|^2 / 3N, dL/dp = 2 (p - t) / 3N, with N = count
    for i in range(n):
        e = pixels[i] - targets[i]
        errors[i] = e.dot(e)
        d_pixels[i] = e * (2.0 / (3.0 * count))
