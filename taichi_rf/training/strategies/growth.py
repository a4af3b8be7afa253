"""How the geometry of a training comes to be: where the field begins, and what happens to its grid or tree on the way.

The trainer owns the loop; what depends on the kind of field is here, one class a method. Each makes the model, says
which milestones there are, and sees to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.headers import are_whole
from taichi_rf.core.backend import current
from taichi_rf.core.errors import UserError
from taichi_rf.core.memory import check_memory
from taichi_rf.fields.base import Field
from taichi_rf.fields.vm.field import MAX_NODES, VMField
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, unit_texels
from taichi_rf.geometry.visual_hull import Carving, Hull, carve
from taichi_rf.kernels.linear import blocks_of
from taichi_rf.rendering.decoders import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.metadata import origin
from taichi_rf.training.presets import Config

if TYPE_CHECKING:
    from taichi_rf.training.trainer import Trainer

Milestone = tuple[float, str, int]
"""(fraction of the training, name, argument)"""


class Growth(ABC):
    """The geometry of one training; ``trainer`` is complete but for its model."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.config, self.scene = trainer.config, trainer.scene
        self.rows = trainer.rows or (1 << 16 if current().owner_computes else 1 << 18)
        self.carving = Carving()
        """What the silhouettes of the scene's images say, if they were asked."""
        self.model = self._make()

    @staticmethod
    @abstractmethod
    def milestones(config: Config) -> list[Milestone]:
        """What happens once, and when."""

    @abstractmethod
    def _make(self) -> Model:
        """The model to begin with."""

    @abstractmethod
    def milestone(self, name: str, argument: int) -> Iterator[None]:
        """See to one of :meth:`milestones` whose time has come, in parts between which a window may show a picture."""

    def refresh(self) -> None:
        """Find empty space anew."""

    def before_step(self, progress: float) -> None:
        """Called before every step."""

    def regularise(self, level: int, factor: float) -> None:
        """Add the regularisers' gradients to what ``level`` has; ``factor`` is the learning rate's."""

    def shortfalls(self) -> list[str]:
        """What a training that ended early left undone, a sentence each."""
        return []

    def warm(self) -> None:
        """Run what else has to be compiled; the trainer puts everything back afterwards."""

    def state(self) -> dict[str, Any]:
        """What decides what comes next, as JSON, for the checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""

    @abstractmethod
    def check_structure(self, described: Any, milestones_done: int) -> None:
        """UserError where ``described``, which :meth:`Field.structure` returned, tells of no field that this training
        has once so many of its milestones are past."""

    def _carve(self, box: np.ndarray) -> Hull | None:
        """The visual hull of the training images, if the configuration wants one and they have silhouettes."""
        if self.config.silhouettes:
            self.carving = carve(self.scene.train, box)
        return self.carving.hull

    def _model(self, field: Field, box: np.ndarray, kind: type[Model] = RadianceModel) -> Model:
        config, scene = self.config, self.scene
        decoder = make_decoder(config.decoder, rows=self.rows, rate=config.network_rate, seed=config.seed + 1)
        return kind(
            field,
            decoder,
            box=box,
            near=scene.near,
            far=scene.far,
            background=scene.background,
            step_ratio=config.step_ratio,
            distance_scale=config.distance_scale,
            weight_threshold=config.weight_threshold,
            metadata={**origin(scene), "preset": config.preset, "method": config.method},
        )


def check_grid_memory(ranks: int, texels: int, nodes: int) -> None:
    """UserError where the machine has not the memory for training ``ranks`` ranks of grids with up to ``texels`` texels
    a block and ``nodes`` nodes a side: values, gradients, both moments, their mean, a copy to store, and a density at
    every node."""
    blocks = blocks_of(ranks) + blocks_of(APPEARANCE_PER_LEVEL * ranks)
    needed = 6 * 64 * texels * blocks + 5 * nodes**3
    check_memory(f"training {ranks} ranks on a grid of {nodes}^3", needed, "choose fewer ranks or a smaller grid")


class GridGrowth(Growth):
    """A VM field: its box shrinks, its grid is refined, its empty space is found from its density."""

    def __init__(self, trainer: Trainer) -> None:
        self.shrunk = False
        self.next_occupancy = 0
        super().__init__(trainer)

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        entries: list[Milestone] = [
            (at, "upsample", nodes) for at, nodes in zip(config.upsample_at, config.resolutions[1:], strict=True)
        ]
        return [*entries, (config.shrink_at, "shrink", 0), (config.filter_at, "filter", 0)]

    def _make(self) -> Model:
        config, box = self.config, np.asarray(self.scene.box, np.float32)
        hull = self._carve(box)
        if hull is not None:
            box = hull.bounds()
        first = grid_for(box, config.resolutions[0])
        # cropping makes the grid of the same number of voxels less cubic: leave room for it
        self._capacity = int(max(unit_texels(grid_for(box, n)) for n in config.resolutions) * 1.3)
        check_grid_memory(config.num_ranks, self._capacity, max(config.resolutions))
        self.field = VMField(
            ranks=config.num_ranks,
            resolution=first,
            capacity_texels=self._capacity,
            activation=config.activation,
            density_shift=config.density_shift,
            rows=self.rows,
            factor_rate=config.factor_rate,
            basis_rate=config.network_rate,
            seed=config.seed,
        )
        model = self._model(self.field, box)
        model.hull = hull
        model.reset_occupancy()
        return model

    def milestone(self, name: str, argument: int) -> Iterator[None]:
        yield from ()
        if name == "upsample":
            self._upsample(argument)
        elif name == "shrink":
            self._shrink()
        elif name == "filter":
            self.trainer.filter_rays()

    def refresh(self) -> None:
        self.model.refresh_occupancy(self.config.occupancy_threshold, level=self.trainer.level, grow=True)

    def before_step(self, progress: float) -> None:
        iteration = self.trainer.iteration
        if progress >= self.config.occupancy_from and iteration >= self.next_occupancy:
            self.refresh()
            self.next_occupancy = iteration + max(self.config.occupancy_every, iteration // 64)

    def regularise(self, level: int, factor: float) -> None:
        config = self.config
        l1 = config.l1_after_shrink if self.shrunk else config.l1
        tv = factor  # the paper's code lets the TV weights decay with the learning rate
        self.field.regularise(level, l1, config.tv_density * tv, config.tv_appearance * tv, config.orthogonality)

    def warm(self) -> None:
        self.field.resample(self.field.resolution)
        self.refresh()
        self.model.reset_occupancy()
        self.next_occupancy = self.trainer.iteration + 2

    def state(self) -> dict[str, Any]:
        return {"shrunk": self.shrunk, "next_occupancy": self.next_occupancy}

    def restore(self, state: dict[str, Any]) -> None:
        self.shrunk, self.next_occupancy = bool(state["shrunk"]), int(state["next_occupancy"])

    def check_structure(self, described: Any, milestones_done: int) -> None:
        resolution = checks.entry(described, "resolution", "'field'")
        if not are_whole(resolution, 3, 2, MAX_NODES) or unit_texels(tuple(resolution)) > self._capacity:
            raise UserError(
                f"'resolution' of 'field' should be three numbers of grid nodes for which there is room "
                f"({self._capacity:,} texels), not {checks.shown(resolution)}"
            )

    def adopt(self, other: GridGrowth) -> None:
        """Take over another training's factors, box and occupancy."""
        self.field.set_factors(other.field.factors(), other.field.resolution)
        self.model.box = other.model.box.copy()
        self.refresh()
        self.shrunk = other.shrunk

    def _upsample(self, nodes: int) -> None:
        trainer = self.trainer
        resolution = grid_for(self.model.box, nodes)
        while nodes > 2 and unit_texels(resolution) > self._capacity:  # a box far from a cube needs more texels
            nodes -= 1
            resolution = grid_for(self.model.box, nodes)
        self.field.resample(resolution)
        trainer.restart()
        if self.next_occupancy:
            self.refresh()
        else:
            self.model.reset_occupancy()
        trainer.event("upsample", resolution=list(resolution))
        if self.config.restart_on_upsample:
            trainer.rate.restarted_at = trainer.progress

    def _shrink(self) -> None:
        """Cut the box down to what is occupied, snapped to grid nodes."""
        self.refresh()
        cells = self.model.occupancy.to_numpy()
        if not cells.any():
            self.trainer.event("shrink", box=self.model.box.tolist(), note="nothing is occupied: the box stays")
            return
        low, high = [], []
        for axis in (2, 1, 0):
            inside = np.flatnonzero(cells.any(axis=tuple(a for a in range(3) if a != axis)))
            low.append(int(inside[0]))
            high.append(int(inside[-1]) + 1)
        field, box = self.field, self.model.box
        spacing = (box[1] - box[0]) / (np.array(field.resolution) - 1)
        field.crop((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        self.model.box = np.stack([box[0] + np.array(low) * spacing, box[0] + np.array(high) * spacing]).astype(
            np.float32
        )
        self.shrunk = True
        self.trainer.restart()
        self.refresh()
        self.trainer.event("shrink", box=self.model.box.tolist())


def grid_for(box: np.ndarray, side: int) -> tuple[int, int, int]:
    """Nodes along each axis of a grid over ``box`` with as many voxels as a cube of ``side`` (as in TensoRF's code)."""
    extent = np.asarray(box[1] - box[0], np.float64)
    voxel = (extent.prod() / side**3) ** (1 / 3)
    nx, ny, nz = (max(2, int(n + 1e-6)) for n in extent / voxel)
    return nx, ny, nz


def growth_of(method: str) -> type[Growth]:
    """The class for ``method``. UserError for one that there is not."""
    from taichi_rf.training.strategies.planting import TreeGrowth

    kinds: dict[str, type[Growth]] = {"slimmerf": GridGrowth, "vqad": TreeGrowth}
    if method not in kinds:
        raise UserError(f"unknown method '{method}': choose one of {', '.join(kinds)}")
    return kinds[method]
