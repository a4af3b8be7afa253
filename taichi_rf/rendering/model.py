"""A model: a field, the decoder that colours it, and what is known of its empty space.

How its pixels come about is its renderer's business: see :mod:`taichi_rf.rendering.renderer`.
"""

from typing import Any, ClassVar

import numpy as np

from taichi_rf.coding.headers import wrong
from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field, GridField
from taichi_rf.geometry.visual_hull import Hull
from taichi_rf.kernels.march import Marcher, Samples
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.rays import Camera
from taichi_rf.kernels.spaces import BOX, Space
from taichi_rf.kernels.volume import WEIGHT_THRESHOLD
from taichi_rf.rendering.decoders.base import Decoder
from taichi_rf.rendering.pictures import render
from taichi_rf.rendering.renderer import Renderer
from taichi_rf.rendering.settings import RenderSettings


class Model:
    """A field in a box of the world.

    Args:
        field, decoder: made for the same number of rows.
        box: (2, 3) in the coordinates of its space: world units where that is a box.
        space: how the world lies in the box.
        near, far: world units along a ray.
        background: colour behind everything, (3,).
        step_ratio: step along rays over the grid's spacing.
        distance_scale: density is per world unit times this.
        weight_threshold: samples of smaller weight get no colour.
        metadata: scene name and the like, kept with the model.
    """

    renders: ClassVar[str]
    """How its pictures are made, as the file says it."""
    has_surface: ClassVar[bool] = False
    """Whether it is a solid, which can be compared with a mesh."""
    renderer: Renderer
    """What makes them; each subclass has its own."""

    @classmethod
    def check_header(cls, header: dict[str, Any]) -> None:
        """Raise UserError where a file's header, whose entries are checked one by one, describes no model of this
        kind: a surface is that of a field of distances and has no colours, a volume has a density and colours."""
        distances = (header["decoder"] == "none", header["field"].get("activation") == "none")
        if distances != (cls.has_surface, cls.has_surface):
            raise wrong("render", "'surface' for a field of distances without a decoder, and for no other")

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
        space: Space = BOX,
    ) -> None:
        self.field, self.decoder = field, decoder
        self.box, self.space = np.asarray(box, np.float32), space
        self.near, self.far = float(near), float(far)
        self.background: tuple[float, ...] = tuple(float(c) for c in background)
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
        self.marcher, self.scratch = Marcher(), Scratch()

    @property
    def num_levels(self) -> int:
        """Levels of the field: tensor ranks, or levels of detail."""
        return self.field.num_levels

    def settings(
        self,
        level: int | None = None,
        *,
        near: float | None = None,
        far: float | None = None,
        weight_threshold: float | None = None,
    ) -> RenderSettings:
        """What a call renders with: what is given, and the model's own values for the others.

        Args:
            level: how many levels of the field; all that it has by default.
            near, far: world units along a ray.
            weight_threshold: samples of smaller weight get no colour.

        Raises:
            UserError: a level outside the model.
        """
        level = self.field.num_levels if level is None else level
        self.field.check_level(level)
        return RenderSettings(
            level,
            self.near if near is None else near,
            self.far if far is None else far,
            self.weight_threshold if weight_threshold is None else weight_threshold,
        )

    def render(self, camera: Camera, **options: Any) -> np.ndarray:
        """The picture that ``camera`` sees, (height, width, 3) float32 in [0, 1].

        Args:
            options: level, mode, background, near and far, as :func:`taichi_rf.rendering.pictures.render` takes them:
                the whole model's colours by default.

        Raises:
            UserError: a level outside the model, or an unknown mode.
        """
        return render(self, camera, **options)

    def occupancy_at(self, level: int) -> Occupancy:
        """What may be occupied at ``level``: the same at every one where the field does not know its own space."""
        if self.field.knows_space:
            space: Occupancy = self.field.occupancy(level)
            return space
        assert self._grid is not None
        return self._grid

    @property
    def occupancy(self) -> Occupancy:
        """What may be occupied, at the highest level."""
        return self.occupancy_at(self.field.num_levels)

    @occupancy.setter
    def occupancy(self, grid: Occupancy) -> None:
        self._grid = grid

    @property
    def world_box(self) -> np.ndarray:
        """(2, 3) the part of the world that is worth turning around, world units."""
        return self.space.world_box(self.box)

    @property
    def step_size(self) -> float:
        """Distance between samples, in units of the box: step_ratio times the mean spacing of the grid."""
        spacing = (self.box[1] - self.box[0]) / (np.array(self.field.resolution) - 1)
        return float(spacing.mean() * self.step_ratio)

    def march(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        settings: RenderSettings,
        *,
        seed: int | None = None,
        count_only: bool = False,
        meets_only: bool = False,
    ) -> Samples:
        """Samples in occupied space along rays.

        Args:
            origins, directions: (n, 3) world units, directions of unit length.
            settings: the level decides what is occupied.
            seed: of the jitter; None for none.
            count_only: find no more than their number.
            meets_only: find no more than which rays have any.

        Raises:
            TooManySamples: there are more than the settings allow.
        """
        origins, directions = self.space.rays(origins, directions)
        near, far = self.space.interval(settings.near, settings.far)
        shares = [(self.occupancy_at(level), rays) for level, rays in settings.shares]
        return self.marcher.march(
            origins, directions, box=self.box, near=near, far=far, step=self.step_size,
            occupancy=shares or self.occupancy_at(settings.level), seed=seed, count_only=count_only,
            most=settings.most_samples, meets_only=meets_only, curved=not self.space.straight,
        )  # fmt: skip

    def parameters(self, level: int | None = None, above: int | None = None) -> list[Any]:
        """All that the optimiser updates: at ``level`` what takes part there, by default everything; with ``above``
        only the field's levels from there on move, see :meth:`Field.parameters`."""
        return [*self.field.parameters(level, above), *self.decoder.parameters()]

    def published(self) -> None:
        """Call after parameters changed."""
        self.field.published()
        self.decoder.published()

    def refresh_occupancy(self, threshold: float, *, level: int, grow: bool) -> None:
        """Find empty space anew on the field's own grid, by its density at ``level``; see :meth:`Occupancy.update`. Not
        for a field that knows its space."""
        assert isinstance(self.field, GridField)
        nodes = self.scratch.get("nodes", ti.f32, int(np.prod(self.field.resolution)))
        self.field.density_nodes(nodes, level)
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
        """What a file of the first ``level`` levels takes.

        Of a model that was read from a file that is known; of any other it is what the arrays take in half precision
        before they are deflated, occupancy excluded.
        """
        known = self.metadata.get("prefix_bytes", [])
        if 1 <= level <= len(known):
            return int(known[level - 1])
        decoder = self.decoder.schema().values()
        own = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in decoder)
        return own + self.field.bytes_at(level)
