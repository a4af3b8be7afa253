"""A batch of rays at the field's level and at a prefix of it, for little more than the level alone.

The march is the same, and so is every texel that densities read: a prefix of a sum is found on the way to the sum.
Going back, both ask for a gradient of the same texels, which are then written once. What a prefix costs beyond that is
its own compositing, and the colours of the samples that it sees.
"""

from typing import Any

import numpy as np

from taichi_rf.backend import ti
from taichi_rf.device import Scratch
from taichi_rf.fields.base import SharedField
from taichi_rf.losses import PhotometricLoss
from taichi_rf.model import Model
from taichi_rf.volume import Compositor


class Together:
    """Forward and back at two levels of one model."""

    def __init__(self) -> None:
        self.loss, self.scratch = PhotometricLoss(), Scratch()
        self._compositor = Compositor()

    def learn(
        self,
        model: Model,
        lower: int,
        origins: np.ndarray,
        directions: np.ndarray,
        targets: Any,
        *,
        background: np.ndarray,
        seed: int,
        of: tuple[int, int],
        weights: tuple[float, float],
    ) -> tuple[float, float]:
        """Add to the gradients what the rays ask for at the field's level and at ``lower``, which is below it.

        Args:
            origins, directions: (n, 3) world units, directions of unit length.
            targets: (n, 3) on the device.
            background: (3,).
            seed: of the jitter.
            of, weights: for either level, see :class:`~taichi_rf.losses.PhotometricLoss`.

        Returns:
            Either level's share of its mean loss. The field's level is as it was; the gradients are the sum of what
            :meth:`Model.backward` would add at one level and then at the other.
        """
        field, whole = model.field, model.field.level
        assert isinstance(field, SharedField)
        samples = model.march(origins, directions, seed=seed)
        n, behind = samples.count, model.background_of(samples.rays, background)
        densities = [self.scratch.get(name, ti.f32, n) for name in ("density", "lower density")]
        field.density_pair(n, samples.positions, lower, *densities)
        self._compositor.threshold = model.compositor.threshold
        losses, asked = [], []
        for i, (level, compositor) in enumerate(((whole, model.compositor), (lower, self._compositor))):
            field.level = level
            batch = model.composed(samples, densities[i], behind, compositor)
            loss, d_pixels = self.loss(samples.rays, batch.pixels, targets, of=of[i], weight=weights[i])
            asked.append(model.colours_adjoint(batch, d_pixels, compositor))
            losses.append(loss)
        field.level = whole
        field.density_pair_adjoint(n, samples.positions, lower, *densities, *asked)
        return losses[0], losses[1]
