"""The strategy of a VM field: its box shrinks, its grid is refined, its empty space is found from its density."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.headers import are_whole
from taichi_rf.core.errors import UserError
from taichi_rf.core.memory import check_memory
from taichi_rf.fields.base import Nodes
from taichi_rf.fields.vm import stored as stored_levels
from taichi_rf.fields.vm.field import MAX_NODES, VMField
from taichi_rf.fields.vm.layout import APPEARANCE_PER_LEVEL, unit_texels
from taichi_rf.fields.vm.lookups import NARROW_BYTES
from taichi_rf.kernels.linear import blocks_of
from taichi_rf.kernels.spaces import BOX
from taichi_rf.rendering.model import Model
from taichi_rf.storage.cropping import NEAR_A_NODE
from taichi_rf.storage.model_file import StoredModel, give_decoder
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.slimmerf import SlimmerfConfig
from taichi_rf.training.schedule import Milestone
from taichi_rf.training.strategies.base import Begun, Context, Strategy


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
        entries: list[Milestone] = [(at, "upsample", nodes) for at, nodes in own.grids[1:]]
        return [*entries, (own.shrink_at, "shrink", 0), (config.filter_at, "filter", 0)]

    def _make(self) -> Model:
        config, own, box = self.config, self.own, self.field_box
        hull = self._carve(box)
        if hull is not None:
            box = hull.bounds()
        sides = [nodes for _, nodes in own.grids]
        first = grid_for(box, sides[0])
        # cropping makes the grid of the same number of voxels less cubic: leave room for it
        self._capacity = int(max(unit_texels(grid_for(box, n)) for n in sides) * 1.3)
        check_grid_memory(own.num_ranks, self._capacity, max(sides))
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

    def begin_with(self, stored: StoredModel) -> Begun:
        own, header = self.own, stored.header
        if stored.kind is not VMField:
            raise UserError(f"--from: a tensor is expected, of ranks, and not a model of {stored.kind.level_name}s")
        space = header.get("space", BOX.describe())
        if space != self.space.describe():
            raise UserError(
                f"--from: the model lies in another space ({space['kind']}) than the scene ({self.space.kind}): choose "
                "--space as it was"
            )
        field, levels, box = self._within(header, stored.levels)
        before: Nodes = tuple(field["resolution"])
        grid = before
        finest = grid_for(box, own.grids[-1][1])
        if np.prod(finest) < 0.94 * np.prod(before) or unit_texels(before) > self._capacity:
            grid = self._fitting(box, own.grids[-1][1])
        factors = stored_levels.factors(field, levels)
        self.field.set_structure({}, {"resolution": list(grid)})
        same = header["decoder"] == self.config.decoder
        kept = min(len(levels), own.num_ranks)
        for level in range(1, own.num_ranks + 1):
            fresh = self.field.pack(level)
            if level > kept:
                self.field.put(level, {**fresh, "factors": stored_levels.without_planes(fresh["factors"], grid)})
                continue
            values = factors[level - 1]
            basis = levels[level - 1]["basis"] if same else fresh["basis"]
            resampled = values if grid == before else stored_levels.resampled(values, before, grid)
            self.field.put(level, {"factors": resampled, "basis": basis})
        self.model.box = box.astype(np.float32)
        if same:
            give_decoder(self.model, header, stored.base)
        self.model.published()
        self.model.reset_occupancy()
        self.shrunk = True
        self.refresh(kept)
        return Begun(kept, grid, before, decoder=same, of=len(levels))

    def _within(self, header: dict[str, Any], levels: list[Any]) -> tuple[dict[str, Any], list[Any], np.ndarray]:
        """Field and levels of a stored model, cut to what lies in the box that this training begins with, and the box
        (2, 3) that is left. UserError where that is nothing."""
        own, begun = np.array(header["box"], np.float64), self.model.box.astype(np.float64)
        last = np.array(header["field"]["resolution"]) - 1
        low, high = (begun - own[0]) / (own[1] - own[0]) * last
        first = np.clip(np.ceil(low - NEAR_A_NODE), 0, last).astype(int)
        end = np.clip(np.floor(high + NEAR_A_NODE), 0, last).astype(int)
        if (end <= first).any():
            raise UserError(
                f"--from: the model lies in the box {own.tolist()}, of which nothing is in that of the scene, "
                f"{begun.tolist()}"
            )
        field, cut = VMField.cut(header["field"], levels, tuple(first.tolist()), tuple(end.tolist()))
        left = own[0] + np.stack([first, end]) / last * (own[1] - own[0])
        return field, cut, np.clip(left, begun[0], begun[1])

    def _fitting(self, box: np.ndarray, nodes: int) -> Nodes:
        """The grid of ``nodes`` a side over ``box``, or the finest for which there is room."""
        resolution = grid_for(box, nodes)
        while nodes > 2 and unit_texels(resolution) > self._capacity:  # a box far from a cube needs more texels
            nodes -= 1
            resolution = grid_for(box, nodes)
        return resolution

    def _upsample(self, nodes: int, training: Context) -> None:
        resolution = self._fitting(self.model.box, nodes)
        if self.own.begun and np.prod(resolution) < 1.06 * np.prod(self.field.resolution):  # 2 % a side
            return
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
