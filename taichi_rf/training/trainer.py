"""The training loop: one step at a time, evaluated, saved and resumed exactly. Returns and records, never prints."""

import functools
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_rf.core.backend import current
from taichi_rf.core.pixels import decibels
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import StoredModel
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods import registry
from taichi_rf.training.model_state import ModelState
from taichi_rf.training.optimiser import Optimiser
from taichi_rf.training.record import Record
from taichi_rf.training.samplers.base import MOST_PARTS, Sampler, parts_of
from taichi_rf.training.schedule import LearningRate, LevelSchedule, Milestones
from taichi_rf.training.state import Owner
from taichi_rf.training.strategies.base import Begun, Strategy

PART_RAYS = 4096
"""Rays of a part of a step on the CPU, where a window asks for parts: a usual batch, about 60 ms on two cores, and then
the update. Smaller parts are dear: in two halves a step took 10 to 20 % longer, in quarters 40 to 50 %."""

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

    Args:
        scene: a ``scenes.Scene``, or anything like it with ``train`` (images (N, H, W, 4) premultiplied RGBA, cameras),
            ``box``, ``near``, ``far``, ``background``, ``name`` and ``source``; one with a ``shape`` is learnt from the
            distances of that mesh.
        config: how to train; its method must be able to learn from the scene.
        rows: samples that are computed at once; by default what suits the device.

    Raises:
        UserError: the method cannot learn from the scene, the scene shows nothing, or the memory does not suffice.
    """

    def __init__(self, scene: Any, config: Config, *, rows: int | None = None) -> None:
        self.scene, self.config = scene, config
        method = registry.find(config.method, registry.teacher_of(scene))
        strategy_type = method.strategy_type()
        self.milestones, self.rate = Milestones(strategy_type.milestones(config)), LearningRate(config)
        self.level_schedule: LevelSchedule = method.level_schedule(config)
        self.record = Record(self.level_schedule.highest)
        rows = rows or (1 << 16 if current().owner_computes else 1 << 18)
        self.strategy: Strategy = strategy_type(scene, config, rows)
        self.model: Model = self.strategy.model
        self.optimiser = Optimiser(self.model, config.strategy.mean_from)
        self.part_rays: int | None = None
        """Rays of a part of a step; None for all of them."""
        self._parts: Generator[None, None, StepInfo] | None = None
        self.sampler: Sampler = method.sampler_type()(scene, config, self.strategy)
        self.warnings = self.sampler.warnings
        """What the person who trains should know."""
        if self.strategy.grown is not None:
            self.level_schedule.level = self.strategy.grown

    def begin_with(self, stored: StoredModel) -> Begun:
        """Take over what a model of earlier has, before the first step; what else there is begins anew.

        Raises:
            UserError: the model does not fit this training.
        """
        begun = self.strategy.begin_with(stored)
        self.level_schedule.level = max(self.level_schedule.level, begun.kept)
        self.event("begun", levels=begun.kept, resolution=list(begun.grid))
        return begun

    # Progress

    @property
    def iteration(self) -> int:
        """Steps that have been taken."""
        return self.record.iteration

    @property
    def elapsed(self) -> float:
        """Seconds spent in training steps."""
        return self.record.elapsed

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the schedule did: {"event", "iteration", "seconds", ...}, in order."""
        return self.record.events

    @property
    def history(self) -> list[dict[str, Any]]:
        """{"iteration", "psnr"} of the training batches, an entry for every ten iterations."""
        return self.record.history

    @property
    def progress(self) -> float:
        """Fraction of the training that is over, 0..1."""
        if self.config.max_seconds is not None:
            return min(1.0, self.elapsed / self.config.max_seconds)
        return min(1.0, self.iteration / self.config.iterations)

    @property
    def done(self) -> bool:
        """Whether the training is over."""
        return self.progress >= 1.0

    @property
    def level(self) -> int:
        """Levels that train now."""
        return self.level_schedule.level

    @property
    def unit(self) -> str:
        """What ``batch_rays`` counts."""
        return self.sampler.unit

    def event(self, name: str, **values: Any) -> None:
        """Write down what happened."""
        self.record.event(name, **values)

    def shortfalls(self) -> list[str]:
        """What is not as it was asked for, now that the training has ended; a sentence each."""
        return [*self.strategy.shortfalls(self.events, self.iteration), *self.sampler.shortfalls()]

    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        """What besides pictures tells how good every level of ``model`` is, in parts.

        Yields:
            (parts done, parts in all); the generator's value is one entry a level, for ``metrics.json``.
        """
        return self.sampler.measuring(model)

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
            usual = PART_RAYS // 2 if self.sampler.mixes_levels else PART_RAYS  # an octree's take twice as long
            self.part_rays = max(usual, -(-self.config.batch_rays // MOST_PARTS))

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
            self.optimiser.drop_gradients()
            self.sampler.drop_gradients()
            raise
        finally:
            self.record.elapsed += time.perf_counter() - started
        if info is not None and self.done:  # by the clock, too
            self.end()
        return info

    def end(self) -> None:
        """Let the parameters be their mean over the last stretch, if there is one."""
        self.optimiser.end()
        self.model.published()

    def _step(self, rays: int | None) -> Generator[None, None, StepInfo]:
        """The parts of a step; the value in the end is what it did."""
        started, record, levels = self.elapsed, self.record, self.level_schedule
        progress, before = self.progress, levels.level
        while (due := self.milestones.due(progress)) is not None:
            yield from self.see_to(*due)
        if levels.level > before:
            self.event("rank", level=levels.level, cause="grow")
        self.strategy.before_step(progress, self.iteration, levels.level)
        passes = levels.passes(self.sampler.batch_size(rays), self.iteration, progress)
        seen = max(end for _, _, end, _ in passes)
        learn = self.sampler.lesson(seen, self.iteration)
        losses: dict[int, float] = {}
        for index, (part, shares) in enumerate(parts_of(passes, self.part_rays or seen, mix=self.sampler.mixes_levels)):
            level = shares[-1].level
            losses[level] = losses.get(level, 0.0) + learn(part, shares, index)
            yield
        if levels.level in losses or record.last_loss is None:
            record.last_loss = losses[max(losses)]
        loss = record.last_loss
        highest = max(losses)  # what did not take part is not drawn to zero for it
        self.strategy.regularise(highest, self.rate.factor(progress))
        rate = self.rate.factor(progress, prefix=highest < levels.level)
        self.optimiser.step(highest, rate, levels.moving_above(highest))
        self.sampler.update(self.rate.factor(progress))
        self.optimiser.average(progress, self.iteration, levels.level)
        self.model.published()

        record.iteration += 1
        record.rays_seen += seen
        cause = levels.update(losses, progress)
        if cause:
            self.event("rank", level=levels.level, cause=cause, loss=loss)
        record.add_loss(loss)
        return StepInfo(self.iteration, loss, float(decibels(loss)), levels.level, seen, self.elapsed - started)

    def restart(self, *, learning_rate: bool = False) -> None:
        """Begin the optimiser anew, for the parameters are others now; on request the learning rate, too."""
        self.optimiser.restart()
        if learning_rate:
            self.rate.restarted_at = self.progress

    def see_to(self, milestone: str, argument: int = 0) -> Iterator[None]:
        """Have the strategy see to a milestone, in parts; then train the levels that the field has got by it."""
        yield from self.strategy.milestone(milestone, argument, self)
        if self.strategy.grown is not None:
            self.level_schedule.level = self.strategy.grown

    def warm_up(self) -> None:
        """Compile every kernel that training runs, so that compiling does not eat into :attr:`elapsed`.

        Real steps on few rays, at the level that trains now and at the highest; then everything is put back as it was,
        to the bit: a training that was warmed up makes the same model as one that was not. Interrupted by Ctrl-C, the
        trainer is not to be used any more.
        """
        for _ in self.warming():
            pass

    def warming(self) -> Generator[float, bool | None, None]:
        """:meth:`warm_up` in pieces, after each of which it says how far it is, 0..1; the model is not to be looked at
        before the last. Sent True, it ends at once; a generator that is only dropped puts nothing back."""
        arrays, state = checkpoint.capture(self)
        scale = self.model.distance_scale
        self.milestones.done = len(self.milestones.entries)
        self.model.distance_scale = WARM_UP_OPACITY
        levels = sorted({self.level_schedule.level, self.level_schedule.highest})
        pieces = 3 * len(levels) + 1  # what the strategy needs, a first pass, the rest of a step
        begun, dropped = (self.record.iteration, self.record.elapsed), False
        try:
            for index, level in enumerate(levels):
                self.level_schedule.level = level
                self.strategy.warm(self.iteration, level)
                if (yield (3 * index + 1) / pieces):
                    return
                while self.part(rays=WARM_UP_RAYS) is None:
                    if (yield (3 * index + 2) / pieces):
                        return
                self.record.iteration, self.record.elapsed = begun  # nobody is to see a step that is taken back
                if (yield (3 * index + 3) / pieces):
                    return
            self.optimiser.warm(self.level_schedule.level)
        except GeneratorExit:  # the device may be gone by now
            dropped = True
            raise
        finally:
            if not dropped:
                if self._parts is not None:  # left in the middle of a step
                    self._parts = None
                    self.optimiser.drop_gradients()
                    self.sampler.drop_gradients()
                self.model.distance_scale = scale
                checkpoint.restore(self, arrays, state)

    # Exact resume

    @property
    def owners(self) -> Sequence[Owner]:
        """All that have state, in the order in which they take it back: arrays fit once the field has its structure."""
        return (
            ModelState(self.model), self.optimiser, self.milestones, self.rate, self.level_schedule, self.strategy,
            self.sampler, self.record,
        )  # fmt: skip

    def restored(self) -> None:
        """Called once all owners have taken back their state."""
        self.model.published()

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
        make = functools.partial(cls, scene, rows=rows)
        trainer = checkpoint.load(make, Path(folder) / checkpoint.NAME, scene, config)
        if trainer.done:
            trainer.end()
        return trainer


def train(trainer: Trainer) -> Iterator[StepInfo]:
    """Steps until the training is done."""
    while not trainer.done:
        yield trainer.step()
