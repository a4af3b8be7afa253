"""The strategy of a VM field: its box shrinks, its grid is refined, its empty space is found from its density."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.headers import are_whole
from taichi_rf.core.errors import UserError
from taichi_rf.core.memory import check_memory
from taichi_rf.fields.vm.field import MAX_NODES, VMField
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, unit_texels
from taichi_rf.fields.vm.lookups import NARROW_BYTES
from taichi_rf.kernels.linear import blocks_of
from taichi_rf.rendering.model import Model
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.slimmerf import SlimmerfConfig
from taichi_rf.training.schedule import Milestone
from taichi_rf.training.strategies.base import Context, Strategy


class VMStrategy(Strategy):
    """A VM field on a dense grid."""

    def __init__(self, scene: Any, config: Config, rows: int) -> None:
        self.shrunk = False
        self.next_occupancy = 0
        super().__init__(scene, config, rows)

    @property
    def own(self) -> SlimmerfConfig:
        """The method's part of the configuration."""
        return cast(SlimmerfConfig, self.config.strategy)

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        own = cast(SlimmerfConfig, config.strategy)
        entries: list[Milestone] = [
            (at, "upsample", nodes) for at, nodes in zip(own.upsample_at, own.resolutions[1:], strict=True)
        ]
        return [*entries, (own.shrink_at, "shrink", 0), (config.filter_at, "filter", 0)]

    def _make(self) -> Model:
        config, own, box = self.config, self.own, self.field_box
        hull = self._carve(box)
        if hull is not None:
            box = hull.bounds()
        first = grid_for(box, own.resolutions[0])
        # cropping makes the grid of the same number of voxels less cubic: leave room for it
        self._capacity = int(max(unit_texels(grid_for(box, n)) for n in own.resolutions) * 1.3)
        check_grid_memory(own.num_ranks, self._capacity, max(own.resolutions))
        self.field = VMField(
            ranks=own.num_ranks,
            resolution=first,
            capacity_texels=self._capacity,
            activation=own.activation,
            density_shift=config.density_shift,
            rows=self.rows,
            factor_rate=own.factor_rate,
            basis_rate=config.network_rate,
            seed=config.seed,
        )
        model = self._model(self.field, box)
        model.hull = self._seen(box) if hull is None else hull
        model.reset_occupancy()
        return model

    def milestone(self, name: str, argument: int, training: Context) -> Iterator[None]:
        yield from ()
        if name == "upsample":
            self._upsample(argument, training)
        elif name == "shrink":
            self._shrink(training)
        elif name == "filter":
            self._filter(training)

    def refresh(self, level: int) -> None:
        self.model.refresh_occupancy(self.own.occupancy_threshold, level=level, grow=True)

    def before_step(self, progress: float, iteration: int, level: int) -> None:
        if progress >= self.own.occupancy_from and iteration >= self.next_occupancy:
            self.refresh(level)
            self.next_occupancy = iteration + max(self.own.occupancy_every, iteration // 64)

    def regularise(self, level: int, factor: float) -> None:
        own = self.own
        l1 = own.l1_after_shrink if self.shrunk else own.l1
        tv = factor  # the paper's code lets the TV weights decay with the learning rate
        self.field.regularise(level, l1, own.tv_density * tv, own.tv_appearance * tv, own.orthogonality)

    def warm(self, iteration: int, level: int) -> None:
        self.field.resample(self.field.resolution)
        self.refresh(level)
        self.model.reset_occupancy()
        self.next_occupancy = iteration + 2

    def own_state(self) -> dict[str, Any]:
        return {"shrunk": self.shrunk, "next_occupancy": self.next_occupancy}

    def restore_own(self, state: dict[str, Any]) -> None:
        self.shrunk, self.next_occupancy = bool(state["shrunk"]), int(state["next_occupancy"])

    def check_structure(self, described: Any, past: list[str]) -> None:
        resolution = checks.entry(described, "resolution", "'field'")
        if not are_whole(resolution, 3, 2, MAX_NODES) or unit_texels(tuple(resolution)) > self._capacity:
            raise UserError(
                f"'resolution' of 'field' should be three numbers of grid nodes for which there is room "
                f"({self._capacity:,} texels), not {checks.shown(resolution)}"
            )

    def adopt(self, other: VMStrategy, level: int) -> None:
        """Take over another training's factors and box, and find the empty space of ``level`` in them."""
        self.field.set_factors(other.field.factors(), other.field.resolution)
        self.model.box = other.model.box.copy()
        self.refresh(level)
        self.shrunk = other.shrunk

    def _upsample(self, nodes: int, training: Context) -> None:
        resolution = grid_for(self.model.box, nodes)
        while nodes > 2 and unit_texels(resolution) > self._capacity:  # a box far from a cube needs more texels
            nodes -= 1
            resolution = grid_for(self.model.box, nodes)
        self.field.resample(resolution)
        training.restart(learning_rate=self.own.restart_on_upsample)
        if self.next_occupancy:
            self.refresh(training.level)
        else:
            self.model.reset_occupancy()
        training.event("upsample", resolution=list(resolution))

    def _shrink(self, training: Context) -> None:
        """Cut the box down to what is occupied, snapped to grid nodes."""
        self.refresh(training.level)
        cells = self.model.occupancy.to_numpy()
        if not self.space.straight:
            training.event("shrink", box=self.model.box.tolist(), note="the box holds all of space: it stays")
            return
        if not cells.any():
            training.event("shrink", box=self.model.box.tolist(), note="nothing is occupied: the box stays")
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
        training.restart()
        self.refresh(training.level)
        training.event("shrink", box=self.model.box.tolist())


def grid_for(box: np.ndarray, side: int) -> tuple[int, int, int]:
    """Nodes along each axis of a grid over ``box`` with as many voxels as a cube of ``side`` (as in TensoRF's code)."""
    extent = np.asarray(box[1] - box[0], np.float64)
    voxel = (extent.prod() / side**3) ** (1 / 3)
    nx, ny, nz = (max(2, int(n + 1e-6)) for n in extent / voxel)
    return nx, ny, nz


def check_grid_memory(ranks: int, texels: int, nodes: int) -> None:
    """UserError where the machine has not the memory for training ``ranks`` ranks of grids with up to ``texels`` texels
    a block and ``nodes`` nodes a side: values, gradients, both moments, their mean, a copy to store, narrow copies, and
    a density at every node."""
    blocks = blocks_of(ranks) + blocks_of(APPEARANCE_PER_LEVEL * ranks)
    needed = (6 * 64 * blocks + NARROW_BYTES) * texels + 5 * nodes**3
    check_memory(f"training {ranks} ranks on a grid of {nodes}^3", needed, "choose fewer ranks or a smaller grid")
