"""The training loop: one step at a time, evaluated, saved and resumed exactly. Returns and records, never prints."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf import checkpoint
from taichi_rf.backend import current
from taichi_rf.decoders import make_decoder
from taichi_rf.device import Scratch, Vec3, copy_rows
from taichi_rf.errors import UserError
from taichi_rf.fields.vm import VMField, unit_texels
from taichi_rf.losses import PhotometricLoss
from taichi_rf.model import Model
from taichi_rf.optim import Adam
from taichi_rf.presets import Config
from taichi_rf.schedule import LearningRate, Milestones, PixelOrder, RankSchedule
from taichi_rf.silhouettes import visual_hull

HISTORY_EVERY = 10
"""Iterations whose mean loss makes one entry of the history."""

PART_RAYS = 4096
"""Rays of a part of a step on the CPU, where a window asks for parts: a usual batch, about 60 ms on two cores, and then
the update. Smaller parts are dear: in two halves a step took 10 to 20 % longer, in quarters 40 to 50 %."""

MOST_PARTS = 64
"""Of a step: each has its own numbers for the jitter."""

WARM_UP_RAYS = 1024
WARM_UP_OPACITY = 1e4
"""Distance scale while warming up: a new field is so thin that nothing would be shaded, and no shading compiled."""


@dataclass(frozen=True)
class StepInfo:
    """What one step did: ``psnr`` is that of its batch of training rays."""

    iteration: int
    loss: float
    psnr: float
    level: int
    rays: int
    seconds: float


class Trainer:
    """Trains a model on a scene.

    ``scene`` needs ``train`` (images (N, H, W, 4) premultiplied RGBA, cameras), ``box``, ``near``, ``far``,
    ``background``, ``name`` and ``source``: a ``scenes.Scene``, or anything like it.
    """

    def __init__(self, scene: Any, config: Config, *, rows: int | None = None) -> None:
        self.scene, self.config = scene, config
        box = np.asarray(scene.box, np.float32)
        hull = visual_hull(scene.train, box) if config.silhouettes else None
        if hull is not None:
            box = hull.bounds()
        first = grid_for(box, config.resolutions[0])
        # cropping makes the grid of the same number of voxels less cubic: leave room for it
        capacity = int(max(unit_texels(grid_for(box, n)) for n in config.resolutions) * 1.3)
        self._capacity = capacity
        rows = rows or (1 << 16 if current().owner_computes else 1 << 18)
        field = VMField(
            ranks=config.num_ranks,
            resolution=first,
            capacity_texels=capacity,
            activation=config.activation,
            density_shift=config.density_shift,
            rows=rows,
            factor_rate=config.factor_rate,
            basis_rate=config.network_rate,
            seed=config.seed,
        )
        decoder = make_decoder(config.decoder, rows=rows, rate=config.network_rate, seed=config.seed + 1)
        self.model = Model(
            field,
            decoder,
            box=box,
            near=scene.near,
            far=scene.far,
            background=scene.background,
            step_ratio=config.step_ratio,
            distance_scale=config.distance_scale,
            weight_threshold=config.weight_threshold,
            metadata={"scene": scene.name, "source": scene.source, "preset": config.preset, "method": config.method},
        )
        self.model.hull = hull
        self.model.reset_occupancy()
        self.adam, self.loss = Adam(), PhotometricLoss()
        self.scratch = Scratch()
        self.milestones, self.rate = Milestones(config), LearningRate(config)
        self.ranks = RankSchedule(config)
        self.iteration = 0
        self.elapsed = 0.0
        """Seconds spent in training steps."""
        self.rays_seen = 0
        self.shrunk = False
        self.next_occupancy = 0
        self.events: list[dict[str, Any]] = []
        """What the schedule did: {"event", "iteration", "seconds", ...}, in order."""
        self.history: list[dict[str, Any]] = []
        """{"iteration", "psnr"} of the training batches, one entry for every ``HISTORY_EVERY`` iterations."""
        self.recent_loss = 0.0
        in_box = self._rays_in_box(scene.train.cameras)
        self.pixels = in_box if hull is None else self._rays_that_meet(scene.train.cameras)
        """Indices, over all training images, of the pixels that are learnt from; ascending."""
        self.consumed = 0
        """Pixels of the endless random order that have been used."""
        self.filtered = False
        self.part_rays: int | None = None
        """Rays of a part of a step; None for all of them."""
        self._parts: Generator[None, None, StepInfo] | None = None
        self._order = PixelOrder(len(self.pixels), config.seed)
        self.model.field.level = self.ranks.level

    # Progress

    @property
    def progress(self) -> float:
        """Fraction of the training that is over, 0..1."""
        if self.config.max_seconds is not None:
            return min(1.0, self.elapsed / self.config.max_seconds)
        return min(1.0, self.iteration / self.config.iterations)

    @property
    def done(self) -> bool:
        return self.progress >= 1.0

    @property
    def level(self) -> int:
        """Levels that train now."""
        return self.ranks.level

    # One step

    def step(self, *, rays: int | None = None) -> StepInfo:
        """One batch of rays, the configuration's number unless told, through the model and back, and one update of all.

        Raises:
            FloatingPointError: the loss is not finite; the parameters are those of before the step.
        """
        while (info := self.part(rays=rays)) is None:
            pass
        return info

    def in_parts(self) -> None:
        """Take steps in parts of ``PART_RAYS`` from now on, for a window that shows a picture between two of them.

        Larger batches are then summed in another order.

        On a GPU a step is short, and stays whole.
        """
        if current().owner_computes:
            self.part_rays = max(PART_RAYS, -(-self.config.batch_rays // MOST_PARTS))

    def part(self, *, rays: int | None = None) -> StepInfo | None:
        """A part of a step: some of its rays forward and back, or the update; None until it was the last one.

        A window has to show a picture between two parts, for a step is longer than a frame. Between parts nothing but
        gradients is kept on the device, so that the model can be rendered meanwhile.

        Raises:
            FloatingPointError: as :meth:`step`.
        """
        started = time.perf_counter()
        if self._parts is None:
            self._parts = self._step(rays)
        try:
            next(self._parts)
        except StopIteration as end:
            self._parts = None
            info: StepInfo = end.value
            return info
        except BaseException:
            self._parts = None
            self._drop_gradients()  # or the next step would add to them
            raise
        finally:
            self.elapsed += time.perf_counter() - started
        return None

    def _step(self, rays: int | None) -> Generator[None, None, StepInfo]:
        """The parts of a step; the value in the end is what it did."""
        started = self.elapsed
        config, model, progress = self.config, self.model, self.progress
        model.field.level = self.ranks.level
        self._milestones(progress)
        self._refresh_occupancy(progress)
        origins, directions, targets, background = self.next_batch(rays)
        n, loss = len(origins), 0.0
        seed = config.seed * 1_000_003 + self.iteration
        size = self.part_rays or n
        for index, first in enumerate(range(0, n, size)):
            part = slice(first, min(first + size, n))
            model.field.level = self.ranks.level  # someone may have looked at another since the last part
            batch = model.forward(
                origins[part], directions[part], background=background, seed=seed * MOST_PARTS + index
            )
            target = self.scratch.get("targets", Vec3, part.stop - first)
            copy_rows(targets[part], target)
            share, d_pixels = self.loss(part.stop - first, batch.pixels, target, of=n)
            loss += share
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss became {loss} at iteration {self.iteration}")
            model.backward(batch, d_pixels)
            yield
        model.field.level = self.ranks.level
        factor = self.rate.factor(progress)
        l1 = config.l1_after_shrink if self.shrunk else config.l1
        tv = factor  # the paper's code lets the TV weights decay with the learning rate
        model.field.regularise(l1, config.tv_density * tv, config.tv_appearance * tv, config.orthogonality)
        self.adam.step(model.parameters(), factor)
        model.published()

        self.iteration += 1
        self.rays_seen += n
        cause = self.ranks.update(loss, progress)
        if cause:
            self._event("rank", level=self.ranks.level, cause=cause, loss=loss)
        self.recent_loss += loss
        if self.iteration % HISTORY_EVERY == 0:
            mean = self.recent_loss / HISTORY_EVERY
            self.history.append({"iteration": self.iteration, "psnr": round(_decibels(mean), 3)})
            self.recent_loss = 0.0
        return StepInfo(self.iteration, loss, _decibels(loss), self.ranks.level, n, self.elapsed - started)

    def _drop_gradients(self) -> None:
        for parameters in self.model.parameters():
            parameters.gradient.fill(0)

    def warm_up(self) -> None:
        """Compile every kernel that training runs, so that compiling does not eat into :attr:`elapsed`.

        Real steps on few rays, at the level that trains now and at the highest; then everything is put back as it was,
        to the bit: a training that was warmed up makes the same model as one that was not. Interrupted by Ctrl-C, the
        trainer is not to be used any more.
        """
        arrays, state = checkpoint.capture(self)
        scale = self.model.distance_scale
        self.milestones.done = len(self.milestones.entries)
        self.model.distance_scale = WARM_UP_OPACITY
        try:
            self.model.field.resample(self.model.field.resolution)
            for level in sorted({self.ranks.level, self.config.num_ranks}):
                self.ranks.level = level
                self.model.field.level = level
                self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
                self.model.reset_occupancy()
                self.next_occupancy = self.iteration + 2
                self.step(rays=WARM_UP_RAYS)
        finally:
            self.model.distance_scale = scale
            checkpoint.restore(self, arrays, state)

    # Exact resume

    def save(self, folder: Path | str) -> Path:
        """Write the exact state to ``folder/checkpoint``, atomically; returns that path.

        Raises:
            FloatingPointError: a parameter is not finite; the earlier checkpoint is untouched.
            UserError: the file cannot be written; the earlier checkpoint is untouched.
        """
        while self._parts is not None:  # half a step has no place in a checkpoint
            self.part()
        path = Path(folder) / checkpoint.NAME
        checkpoint.save(self, path)
        return path

    @classmethod
    def resume(
        cls, folder: Path | str, scene: Any, config: Config | None = None, *, rows: int | None = None
    ) -> "Trainer":
        """A trainer that goes on where :meth:`save` was called, on the CPU to the bit.

        Args:
            scene: the one that was trained on.
            config: the same but for ``iterations`` and ``max_seconds``; by default the one in the checkpoint.
            rows: as it was; sums are taken by the row block, so that another number changes their last bits.

        Raises:
            UserError: there is no checkpoint, it is damaged, or it belongs to another scene or configuration.
        """
        return checkpoint.load(cls, Path(folder) / checkpoint.NAME, scene, config, rows=rows)

    def next_batch(self, rays: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Origins, directions, target colours (n, 3) and the background (3,) of the next ``rays`` rays."""
        size = min(rays or self.config.batch_rays, len(self.pixels))
        chosen = self.pixels[self._order.batch(self.consumed, size)]
        self.consumed += size
        split = self.scene.train
        height, width = split.images.shape[1:3]
        view, pixel = np.divmod(chosen, height * width)
        y, x = np.divmod(pixel, width)
        origins, directions = split.cameras.pixel_rays(view, x, y)
        background = np.asarray(self.scene.background, np.float32)
        if self.config.background == "random":
            background = np.random.default_rng((self.config.seed, self.iteration)).random(3, dtype=np.float32)
        rgba = split.images[view, y, x].astype(np.float32)
        targets = rgba[:, :3] + (1 - rgba[:, 3:]) * background
        return origins, directions, np.ascontiguousarray(targets), background

    def adopt(self, other: "Trainer") -> None:
        """Take over another trainer's geometry: factors, box, occupancy and chosen rays, not decoder or optimiser."""
        model, source = self.model, other.model
        assert isinstance(model.field, VMField)
        assert isinstance(source.field, VMField)
        model.field.set_factors(source.field.factors(), source.field.resolution)
        model.box = source.box.copy()
        model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
        self.shrunk, self.milestones.done = other.shrunk, other.milestones.done
        self.keep_pixels(other.pixels)

    # What changes when

    def _milestones(self, progress: float) -> None:
        while (due := self.milestones.due(progress)) is not None:
            name, nodes = due
            if name == "upsample":
                resolution = grid_for(self.model.box, nodes)
                while unit_texels(resolution) > self._capacity:  # a box far from a cube needs more texels
                    nodes -= 1
                    resolution = grid_for(self.model.box, nodes)
                self.model.field.resample(resolution)
                self._grid_changed()
                self._event("upsample", resolution=list(resolution))
                if self.config.restart_on_upsample:
                    self.rate.restarted_at = progress
            elif name == "shrink":
                self._shrink()
            elif name == "filter":
                self._filter_rays()

    def _grid_changed(self) -> None:
        self.adam.restart(self.model.parameters())
        if self.next_occupancy:
            self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
        else:
            self.model.reset_occupancy()

    def _refresh_occupancy(self, progress: float) -> None:
        if progress >= self.config.occupancy_from and self.iteration >= self.next_occupancy:
            self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
            self.next_occupancy = self.iteration + self.config.occupancy_every

    def _shrink(self) -> None:
        """Cut the box down to what is occupied, snapped to grid nodes."""
        self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
        cells = self.model.occupancy.to_numpy()
        if not cells.any():
            self._event("shrink", box=self.model.box.tolist(), note="nothing is occupied: the box stays")
            return
        low, high = [], []
        for axis in (2, 1, 0):
            inside = np.flatnonzero(cells.any(axis=tuple(a for a in range(3) if a != axis)))
            low.append(int(inside[0]))
            high.append(int(inside[-1]) + 1)
        field, box = self.model.field, self.model.box
        spacing = (box[1] - box[0]) / (np.array(field.resolution) - 1)
        field.crop((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        self.model.box = np.stack([box[0] + np.array(low) * spacing, box[0] + np.array(high) * spacing]).astype(
            np.float32
        )
        self.shrunk = True
        self.adam.restart(self.model.parameters())
        self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
        self._event("shrink", box=self.model.box.tolist())

    def _filter_rays(self) -> None:
        """Drop training rays that see nothing occupied: they would only confirm the background."""
        self.model.refresh_occupancy(self.config.occupancy_threshold, grow=True)
        remaining = np.intersect1d(self.pixels, self._rays_that_meet(self.scene.train.cameras), assume_unique=True)
        self._event("filter", rays=len(remaining), of=len(self.pixels))
        if len(remaining) >= self.config.batch_rays:
            self.keep_pixels(remaining)

    def keep_pixels(self, pixels: np.ndarray) -> None:
        """Learn from ``pixels`` only, ascending indices over all training images, in a new random order."""
        self.pixels, self.filtered = pixels, True
        self._order = PixelOrder(len(pixels), self.config.seed + 1)

    def _rays_in_box(self, cameras: Any) -> np.ndarray:
        """Indices, over all images, of the pixels whose rays cross the box."""
        low, high = self.model.box
        kept = []
        for i in range(len(cameras)):
            origins, directions = cameras[i].rays()
            safe = np.where(np.abs(directions) < 1e-9, np.float32(1e-9), directions)
            a, b = (low - origins) / safe, (high - origins) / safe
            entry = np.maximum(np.minimum(a, b).max(1), self.model.near)
            leave = np.minimum(np.maximum(a, b).min(1), self.model.far)
            kept.append(np.flatnonzero(entry < leave) + i * len(origins))
        pixels = np.concatenate(kept)
        if len(pixels) == 0:
            raise UserError(
                f"no training camera sees the box {low.tolist()} to {high.tolist()} between near {self.model.near} "
                f"and far {self.model.far}: check the poses' scale and convention (camera to world, looking down -z)"
            )
        return pixels

    def _rays_that_meet(self, cameras: Any) -> np.ndarray:
        """Indices, over all images, of the pixels whose rays have a sample in an occupied cell."""
        kept = []
        for i in range(len(cameras)):
            origins, directions = cameras[i].rays()
            samples = self.model.march(origins, directions, count_only=True)
            counts = np.diff(samples.offsets.to_numpy()[: len(origins) + 1])
            kept.append(np.flatnonzero(counts) + i * len(origins))
        return np.concatenate(kept)

    def _event(self, name: str, **values: Any) -> None:
        self.events.append({"event": name, "iteration": self.iteration, "seconds": round(self.elapsed, 3), **values})


def grid_for(box: np.ndarray, side: int) -> tuple[int, int, int]:
    """Nodes along each axis of a grid over ``box`` with as many voxels as a cube of ``side`` (as in TensoRF's code)."""
    extent = np.asarray(box[1] - box[0], np.float64)
    voxel = (extent.prod() / side**3) ** (1 / 3)
    nx, ny, nz = (max(2, int(n + 1e-6)) for n in extent / voxel)
    return nx, ny, nz


def _decibels(loss: float) -> float:
    """PSNR of a mean squared error of colours in [0, 1]."""
    return float(-10 * np.log10(max(loss, 1e-12)))


def train(trainer: Trainer) -> Iterator[StepInfo]:
    """Steps until the training is done."""
    while not trainer.done:
        yield trainer.step()
