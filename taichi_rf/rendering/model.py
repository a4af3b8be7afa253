"""A model: a field, the decoder that colours it, and what is known of its empty space. All that a pixel needs.

The way of a ray is written down once, in :meth:`Model.forward`; :meth:`Model.backward` walks it back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_rows, fill_rows
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field, GridField
from taichi_rf.geometry.visual_hull import Hull
from taichi_rf.kernels.march import Marcher, Occupancy, Samples
from taichi_rf.kernels.volume import WEIGHT_THRESHOLD, Compositor, Shaded
from taichi_rf.rendering.decoders import Decoder


@dataclass
class Batch:
    """A batch of rays on the device after the forward pass; valid until the model's next one."""

    samples: Samples
    density: Any
    shaded: Shaded
    colours: Any
    background: Any
    pixels: Any
    opacity: Any
    depth: Any


class Model:
    """A radiance field in a box of the world.

    Args:
        field, decoder: made for the same number of rows.
        box: (2, 3) world units.
        near, far: world units along a ray.
        background: colour behind everything, (3,).
        step_ratio: step along rays over the grid's spacing.
        distance_scale: density is per world unit times this.
        weight_threshold: samples of smaller weight get no colour.
        metadata: scene name and the like, kept with the model.
    """

    renders = "volume"
    """How its pictures are made, as the file says it."""

    def __init__(
        self,
        field: Field,
        decoder: Decoder,
        *,
        box: np.ndarray,
        near: float,
        far: float,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        step_ratio: float = 0.5,
        distance_scale: float = 25.0,
        weight_threshold: float = WEIGHT_THRESHOLD,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.field, self.decoder = field, decoder
        self.box = np.asarray(box, np.float32)
        self.near, self.far = float(near), float(far)
        self.background = tuple(float(c) for c in background)
        self.step_ratio, self.distance_scale = step_ratio, distance_scale
        self.weight_threshold = weight_threshold
        self.metadata: dict[str, Any] = metadata or {}
        self.hull: Hull | None = None
        """What is known to be empty from the start, if anything is."""
        self._grid: Occupancy | None = None
        if decoder.features != field.feature_width:
            raise UserError(
                f"decoder '{decoder.kind}' reads {decoder.features} features, but this field has {field.feature_width}"
            )
        self.reset_occupancy()
        self.marcher, self.compositor, self.scratch = Marcher(), Compositor(weight_threshold), Scratch()

    @property
    def num_levels(self) -> int:
        """Levels of the field: tensor ranks, or levels of detail."""
        return self.field.num_levels

    @property
    def occupancy(self) -> Occupancy:
        """What may be occupied at the field's level."""
        if self.field.knows_space:
            space: Occupancy = self.field.space()
            return space
        assert self._grid is not None
        return self._grid

    @occupancy.setter
    def occupancy(self, grid: Occupancy) -> None:
        self._grid = grid

    @property
    def step_size(self) -> float:
        """Distance between samples, world units: step_ratio times the mean spacing of the grid."""
        spacing = (self.box[1] - self.box[0]) / (np.array(self.field.resolution) - 1)
        return float(spacing.mean() * self.step_ratio)

    def march(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        *,
        seed: int | None = None,
        count_only: bool = False,
        all_levels: bool = False,
    ) -> Samples:
        """Samples in occupied space along rays (n, 3), (n, 3); with ``count_only`` no more than their number, with
        ``all_levels`` wherever any level may be occupied."""
        occupancy = self.occupancy
        if all_levels and self.field.knows_space:
            occupancy = self.field.space(1)  # cells of other levels lie within those of the first
        return self.marcher.march(
            origins, directions, box=self.box, near=self.near, far=self.far, step=self.step_size,
            occupancy=occupancy, seed=seed, count_only=count_only,
        )  # fmt: skip

    def forward(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        *,
        background: np.ndarray | None = None,
        seed: int | None = None,
    ) -> Batch:
        """Render a batch of rays at the field's level.

        Args:
            origins, directions: (n, 3) world units, directions of unit length.
            background: (3,) or (n, 3); the model's own by default.
            seed: of the jitter; None for none.
        """
        samples = self.march(origins, directions, seed=seed)
        density = self.scratch.get("density", ti.f32, samples.count)
        self.field.density_along(samples, self.distance_scale, density)
        shaded, opacity, depth = self.compositor.weigh(samples, density, self.distance_scale)
        colours = self.scratch.get("colours", Vec3, shaded.count)
        for first, n in self._chunks(shaded.count):
            self._shade(first, n, shaded, samples, colours)
        behind = self._background(samples.rays, self.background if background is None else background)
        pixels = self.compositor.pixels(samples, shaded, colours, behind)
        return Batch(samples, density, shaded, colours, behind, pixels, opacity, depth)

    def backward(self, batch: Batch, d_pixels: Any) -> None:
        """Add to the parameters' gradients what dL/d pixels (rays, 3) asks for."""
        samples, shaded = batch.samples, batch.shaded
        d_colours, d_density = self.compositor.adjoint(
            samples, shaded, batch.density, batch.colours, batch.background, d_pixels
        )
        chunks = self._chunks(shaded.count)
        for first, n in reversed(chunks):
            if (first, n) != chunks[-1]:  # the rows hold the last chunk only: others are computed again
                self._shade(first, n, shaded, samples, batch.colours)
            d_features = self.decoder.adjoint(
                n, first, self._features, shaded.rays, samples.directions, batch.colours, d_colours
            )
            self.field.features_adjoint(n, first, shaded.positions, d_features)
        self.field.density_adjoint(samples.count, samples.positions, batch.density, d_density)

    def _chunks(self, count: int) -> list[tuple[int, int]]:
        rows = self.field.rows
        return [(first, min(rows, count - first)) for first in range(0, count, rows)]

    def _shade(self, first: int, n: int, shaded: Shaded, samples: Samples, colours: Any) -> None:
        self.field.lookup(n, first, shaded.positions)
        self._features = self.field.features(n)
        self.decoder.forward(n, first, self._features, shaded.rays, samples.directions, colours)

    def _background(self, n: int, colour: Any) -> Any:
        behind = self.scratch.get("background", Vec3, n)
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 1:
            fill_rows(n, ti.math.vec3(*map(float, colour)), behind)
        else:
            copy_rows(colour, behind)
        return behind

    def prefixes(self) -> Any:
        """What renders all levels together: a :class:`~taichi_rf.rendering.prefixes.PrefixRenderer`, or the like."""
        from taichi_rf.rendering.prefixes import PrefixRenderer

        return PrefixRenderer(self)

    def parameters(self) -> list[Any]:
        """All that the optimiser updates."""
        return [*self.field.parameters(), *self.decoder.parameters()]

    def published(self) -> None:
        """Call after parameters changed."""
        self.field.published()
        self.decoder.published()

    def refresh_occupancy(self, threshold: float, *, grow: bool) -> None:
        """Find empty space anew, on the field's own grid. Not for a field that knows its space."""
        assert isinstance(self.field, GridField)
        nodes = self.scratch.get("nodes", ti.f32, int(np.prod(self.field.resolution)))
        self.field.density_nodes(nodes)
        if self.occupancy.cells != tuple(n - 1 for n in self.field.resolution):
            self.reset_occupancy()
        self.occupancy.update(nodes, self.step_size * self.distance_scale, threshold, grow=grow)
        if not self.occupancy.coarse.to_numpy().any():
            self.occupancy.fill()  # a field that has not formed yet would never be looked at again

    def reset_occupancy(self) -> None:
        """Forget what was found empty, but for the hull: call when the grid or the box has changed."""
        if self.field.knows_space:
            return
        self.occupancy = Occupancy(self.field.resolution)
        if self.hull is not None:
            self.occupancy.limit(self.hull.on_grid(self.occupancy.cells, self.box))

    def bytes_at(self, level: int) -> int:
        """What the file's arrays for the first ``level`` levels take before any is deflated, occupancy excluded."""
        decoder = self.decoder.schema().values()
        own = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in decoder)
        return own + self.field.bytes_at(level)
