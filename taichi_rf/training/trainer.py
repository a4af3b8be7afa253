"""The training loop: one step at a time, evaluated, saved and resumed exactly. Returns and records, never prints."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.core.backend import current
from taichi_rf.core.device import Scratch, Vec3, copy_rows
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.autorank import kept_back, scoring
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.kernels.optim import Adam, Mean
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training import checkpoint
from taichi_rf.training.pixels import pixels_in_box
from taichi_rf.training.presets import Config
from taichi_rf.training.schedule import LearningRate, Milestones, PixelOrder, level_schedule
from taichi_rf.training.strategies.growth import GridGrowth, Growth, growth_of

HISTORY_EVERY = 10
"""Iterations whose mean loss makes one entry of the history."""

PART_RAYS = 4096
"""Rays of a part of a step on the CPU, where a window asks for parts: a usual batch, about 60 ms on two cores, and then
the update. Smaller parts are dear: in two halves a step took 10 to 20 % longer, in quarters 40 to 50 %."""

MOST_PARTS = 64
"""Of a step: each has its own numbers for the jitter."""

Learn = Callable[[int, slice, int, float, int], float]
"""learn(level, part, of, weight, index): forward and back for a part of a batch of which ``of`` rays share ``level``;
returns their share of its mean loss, whose gradient counts ``weight``. Parts are numbered through the step by
``index``."""

MARCHED = 1 << 17
"""Rays at once, to see what they meet."""

WARM_UP_RAYS = 1024
WARM_UP_OPACITY = 1e4
"""Distance scale while warming up: a new field is so thin that nothing would be shaded, and no shading compiled."""


@dataclass(frozen=True)
class StepInfo:
    """What one step did: ``psnr`` is that of the last batch of training rays at the highest level there is."""

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

    unit = "rays"
    """What ``batch_rays`` counts."""
    warnings: tuple[str, ...] = ()
    """What the person who trains should know."""

    def __init__(self, scene: Any, config: Config, *, rows: int | None = None) -> None:
        self.scene, self.config = scene, config
        self.rows = rows
        self.adam, self.loss = Adam(), PhotometricLoss()
        self.scratch = Scratch()
        growth = self._growth_type()
        self.milestones, self.rate = Milestones(growth.milestones(config)), LearningRate(config)
        self.ranks = level_schedule(config)
        self.iteration = 0
        self.elapsed = 0.0
        """Seconds spent in training steps."""
        self.rays_seen = 0
        self.events: list[dict[str, Any]] = []
        """What the schedule did: {"event", "iteration", "seconds", ...}, in order."""
        self.history: list[dict[str, Any]] = []
        """{"iteration", "psnr"} of the training batches, one entry for every ``HISTORY_EVERY`` iterations."""
        self.recent_loss = 0.0
        self.last_loss: float | None = None
        """That of the last step on all levels there are, which is what every step reports."""
        self.growth = growth(self)
        self.model = self.growth.model
        self.mean = Mean(self.model.parameters() if config.ranks == "prefix" else [])
        """Of the parameters over the last stretch of prefix training, which ends with it."""
        self.held_out = np.zeros(0, np.int64)
        """Pixels that are never learnt from, indices over all training images."""
        self.consumed = 0
        """Pixels of the endless random order that have been used."""
        self.filtered = False
        self.part_rays: int | None = None
        """Rays of a part of a step; None for all of them."""
        self._parts: Generator[None, None, StepInfo] | None = None
        self._prepare()

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

        Larger batches are then summed in another order. On a GPU a step is short, and stays whole.
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
        info: StepInfo | None = None
        try:
            next(self._parts)
        except StopIteration as end:
            self._parts, info = None, end.value
        except BaseException:
            self._parts = None
            self._drop_gradients()  # or the next step would add to them
            raise
        finally:
            self.elapsed += time.perf_counter() - started
        if info is not None and self.done:  # by the clock, too
            self.end()
        return info

    def end(self) -> None:
        """Let the parameters be their mean over the last stretch, if there is one."""
        self.mean.take(self.model.parameters())
        self.model.published()

    def _step(self, rays: int | None) -> Generator[None, None, StepInfo]:
        """The parts of a step; the value in the end is what it did."""
        started = self.elapsed
        progress, before = self.progress, self.ranks.level
        yield from self._milestones(progress)
        if self.ranks.level > before:
            self.event("rank", level=self.ranks.level, cause="grow")
        self.growth.before_step(progress)
        model = self.model
        passes = self.ranks.passes(self._batch_rays(rays), self.iteration, progress)
        seen = max(end for _, _, end, _ in passes)
        learn = self._lesson(seen)
        whole = self.part_rays or seen
        losses, index = {}, 0
        for level, begin, end, weight in passes:
            loss = 0.0
            for first in range(begin, end, whole):
                part = slice(first, min(first + whole, end))
                loss += learn(level, part, end - begin, weight, index)
                index += 1
                yield
            losses[level] = loss
        if self.ranks.level in losses or self.last_loss is None:
            self.last_loss = losses[max(losses)]
        loss = self.last_loss
        highest = max(losses)  # what did not take part is not drawn to zero for it
        self.growth.regularise(highest, self.rate.factor(progress))
        self.adam.step(model.parameters(highest), self.rate.factor(progress, prefix=highest < self.ranks.level))
        if progress < self.config.prefix_mean_from:
            self.mean.drop()  # a resumed training may end later than it was to
        elif self.iteration % Mean.EVERY == 0:
            self.mean.add(model.parameters(self.ranks.level))
        model.published()

        self.iteration += 1
        self.rays_seen += seen
        cause = self.ranks.update(losses, progress)
        if cause:
            self.event("rank", level=self.ranks.level, cause=cause, loss=loss)
        self.recent_loss += loss
        if self.iteration % HISTORY_EVERY == 0:
            mean = self.recent_loss / HISTORY_EVERY
            self.history.append({"iteration": self.iteration, "psnr": round(_decibels(mean), 3)})
            self.recent_loss = 0.0
        return StepInfo(self.iteration, loss, _decibels(loss), self.ranks.level, seen, self.elapsed - started)

    # What is learnt from: photographs here, something else in a subclass

    def _growth_type(self) -> type[Growth]:
        return growth_of(self.config.method)

    def _prepare(self) -> None:
        """Called once the model is there, at the end of making a trainer."""
        carving = self.growth.carving
        self.warnings = carving.warnings
        in_box = pixels_in_box(self.scene.train.cameras, self.model, carving.left_out)
        empty = self.model.hull is not None or self.model.field.knows_space
        self.pixels = self._that_meet(in_box) if empty else in_box
        """Indices, over all training images, of the pixels that are learnt from; ascending."""
        if len(self.pixels) == 0:
            raise UserError(
                "no ray of a training image meets anything that could be there: check the images' masks, and that the "
                f"object lies in the box {self.scene.box.tolist()}"
            )
        if self.config.held_out:
            cameras = self.scene.train.cameras
            kept = kept_back(len(cameras), cameras.width, cameras.height, self.config.held_out, self.config.seed)
            self.held_out = np.intersect1d(kept, in_box, assume_unique=True)
            self.pixels = np.setdiff1d(self.pixels, self.held_out, assume_unique=True)
        self._order = PixelOrder(len(self.pixels), self.config.seed)

    def _batch_rays(self, rays: int | None) -> int:
        """How many a step has that is told ``rays``."""
        return min(rays or self.config.batch_rays, len(self.pixels))

    def _lesson(self, rays: int) -> Learn:
        """The next batch, as a function that learns from a part of it at a level."""
        origins, directions, targets, background = self.next_batch(rays)
        seed = self.config.seed * 1_000_003 + self.iteration
        renderer = self.model.renderer
        assert isinstance(renderer, VolumeRenderer)  # what photographs are learnt by

        def learn(level: int, part: slice, of: int, weight: float, index: int) -> float:
            batch = renderer.forward(
                origins[part], directions[part], self.model.settings(level), background=background,
                seed=seed * MOST_PARTS + index,
            )  # fmt: skip
            target = self.scratch.get("targets", Vec3, part.stop - part.start)
            copy_rows(targets[part], target)
            loss, d_pixels = self.loss(part.stop - part.start, batch.pixels, target, of=of, weight=weight)
            self._check(loss)
            renderer.backward(batch, d_pixels)
            return loss

        return learn

    def _check(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} at iteration {self.iteration}")

    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        """What besides pictures tells how good every level of ``model`` is, in parts.

        Yields:
            (parts done, parts in all); the generator's value is one entry a level, for ``metrics.json``.
        """
        if not len(self.held_out):
            return [{} for _ in range(model.field.num_levels)]
        found = yield from scoring(model, self.scene.train, self.held_out)
        return [{"held_out_psnr": psnr} for psnr in found]

    def shortfalls(self) -> list[str]:
        """What is not as it was asked for, now that the training has ended; a sentence each."""
        found = self.growth.shortfalls()
        if self.config.held_out and not len(self.held_out):
            found.append("no level was chosen: the images are too small for pixels to be kept back")
        return found

    def _drop_gradients(self) -> None:
        for parameters in self.model.parameters():
            parameters.clear()

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
            for level in sorted({self.ranks.level, self.ranks.highest}):
                self.ranks.level = level
                self.growth.warm()
                self.step(rays=WARM_UP_RAYS)
            for _ in range(2):  # the first is a copy
                self.mean.add(self.model.parameters(self.ranks.level))
            self.mean.take(self.model.parameters())
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
        size = self._batch_rays(rays)
        chosen = self.pixels[self._order.batch(self.consumed, size)]
        self.consumed += size
        origins, directions = self.rays_of(chosen)
        background = np.asarray(self.scene.background, np.float32)
        if self.config.background == "random":
            background = np.random.default_rng((self.config.seed, self.iteration)).random(3, dtype=np.float32)
        rgba = self.scene.train.images.reshape(-1, 4)[chosen].astype(np.float32)
        targets = rgba[:, :3] + (1 - rgba[:, 3:]) * background
        return origins, directions, np.ascontiguousarray(targets), background

    def rays_of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and directions (n, 3) of pixels, indices over all training images."""
        split = self.scene.train
        height, width = split.images.shape[1:3]
        view, pixel = np.divmod(pixels, height * width)
        y, x = np.divmod(pixel, width)
        origins, directions = split.cameras.pixel_rays(view, x, y)
        return origins, directions

    def adopt(self, other: "Trainer") -> None:
        """Take over another trainer's geometry: factors, box, occupancy and chosen rays, not decoder or optimiser."""
        assert isinstance(self.growth, GridGrowth)
        assert isinstance(other.growth, GridGrowth)
        self.growth.adopt(other.growth)
        self.milestones.done = other.milestones.done
        self.keep_pixels(other.pixels)

    # What changes when

    def _milestones(self, progress: float) -> Iterator[None]:
        while (due := self.milestones.due(progress)) is not None:
            yield from self.growth.milestone(*due)

    def restart(self) -> None:
        """Forget where the parameters went: they are others now, on another grid."""
        self.adam.restart(self.model.parameters())
        self.mean.drop()

    def filter_rays(self) -> None:
        """Drop training rays that see nothing occupied: they would only confirm the background."""
        self.growth.refresh()
        remaining = self._that_meet(self.pixels)
        self.event("filter", rays=len(remaining), of=len(self.pixels))
        if len(remaining) >= self.config.batch_rays:
            self.keep_pixels(remaining)

    def keep_pixels(self, pixels: np.ndarray) -> None:
        """Learn from ``pixels`` only, ascending indices over all training images, in a new random order."""
        self.pixels, self.filtered = pixels, True
        self._order = PixelOrder(len(pixels), self.config.seed + 1)

    def _that_meet(self, pixels: np.ndarray) -> np.ndarray:
        """Those of ``pixels``, indices over all images, whose rays have a sample in an occupied cell."""
        kept, settings = [], self.model.settings(self.ranks.level)
        for first in range(0, len(pixels), MARCHED):
            part = pixels[first : first + MARCHED]
            samples = self.model.march(*self.rays_of(part), settings, count_only=True)
            kept.append(part[np.diff(samples.offsets.to_numpy()[: len(part) + 1]) > 0])
        return np.concatenate(kept)

    def event(self, name: str, **values: Any) -> None:
        """Write down what happened."""
        self.events.append({"event": name, "iteration": self.iteration, "seconds": round(self.elapsed, 3), **values})


def trainer_for(scene: Any) -> type[Trainer]:
    """The kind of trainer that learns from ``scene``: from its photographs, or from the distances of its mesh."""
    if getattr(scene, "shape", None) is None:
        return Trainer
    from taichi_rf.training.sdf_trainer import DistanceTrainer

    return DistanceTrainer


def _decibels(loss: float) -> float:
    """PSNR of a mean squared error of colours in [0, 1]."""
    return float(-10 * np.log10(max(loss, 1e-12)))


def train(trainer: Trainer) -> Iterator[StepInfo]:
    """Steps until the training is done."""
    while not trainer.done:
        yield trainer.step()
