"""Learning from photographs: which pixels can teach anything, in which order, and a batch of their rays."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_numbers, copy_rows
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixels import over
from taichi_rf.evaluation.autorank import kept_back, scoring
from taichi_rf.kernels.exposure import Exposure
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.kernels.pixel_rays import all_real, image_rays, meets_box
from taichi_rf.kernels.spaces import BOX
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training.configs.base import Config
from taichi_rf.training.restoring import bits_of, parameter_values
from taichi_rf.training.samplers.base import Learn, Sampler, Share, check_finite, step_seed
from taichi_rf.training.samplers.pixel_order import PixelOrder
from taichi_rf.training.samplers.pixel_set import Flags, PixelSet
from taichi_rf.training.state import Arrays, Entries
from taichi_rf.training.strategies.base import Strategy

HELD = 0.01
"""Weight that holds the gains and offsets of photographs to 1 and 0."""
MARCHED = 1 << 17
"""Rays at once, to see what they meet."""
MOST_TESTED = 1 << 28
"""Pixels of which it is asked what their rays meet: of more a training sees but a part, and asking takes minutes."""


class PixelBatch(NamedTuple):
    """Rays of pixels, and what they show."""

    origins: np.ndarray
    """(n, 3)"""
    directions: np.ndarray
    """(n, 3)"""
    targets: np.ndarray
    """(n, 3) over the background."""
    background: np.ndarray
    """(3,)"""
    views: np.ndarray
    """(n,) of which training image each is."""


class PixelSampler(Sampler):
    """Batches of pixels of the training images, in a random order without replacement.

    Pixels are known by their indices over all training images.
    """

    def __init__(self, scene: Any, config: Config, strategy: Strategy) -> None:
        super().__init__(scene, config, strategy.model)
        self.loss, self.scratch, self._strategy = PhotometricLoss(), Scratch(), strategy
        self.held_out = np.zeros(0, np.int64)
        """Pixels that are never learnt from."""
        self.exposure = Exposure(len(scene.train), config.exposure_rate) if config.exposure_rate else None
        self.mixes_levels = self.model.field.mixes_levels
        self.consumed = 0
        """Pixels of the endless random order that have been used."""
        self.filtered = False
        self.warnings = strategy.carving.warnings
        in_box = pixels_in_box(scene.train.cameras, self.model, strategy.carving.left_out)
        empty = self.model.space is BOX and (self.model.hull is not None or self.model.field.knows_space)
        self.pixels = self._that_meet(in_box) if empty else in_box
        """Pixels that are learnt from."""
        if len(self.pixels) == 0:
            raise UserError(
                "no ray of a training image meets anything that could be there: check the images' masks, and that the "
                f"object lies in the box {scene.box.tolist()}"
            )
        if config.held_out:
            sizes = [(camera.width, camera.height) for camera in scene.train.cameras]
            kept = kept_back(sizes, config.held_out, config.seed)
            self.held_out = kept[in_box.has(kept)]
            self.pixels = self.pixels.without(self.held_out)
        self._order = PixelOrder(len(self.pixels), config.seed)

    # Batches

    def batch_size(self, asked: int | None) -> int:
        return min(super().batch_size(asked), len(self.pixels))

    def lesson(self, size: int, iteration: int) -> Learn:
        origins, directions, targets, background, views = self.next_batch(size, iteration)
        renderer = self.model.renderer
        assert isinstance(renderer, VolumeRenderer)  # what photographs are learnt by

        def learn(part: slice, shares: list[Share], index: int) -> float:
            n, last = part.stop - part.start, shares[-1]
            settings = self.model.settings(last.level)
            if len(shares) > 1:
                settings = replace(settings, shares=tuple((share.level, share.rays) for share in shares))
            batch = renderer.forward(
                origins[part], directions[part], settings, background=background,
                seed=step_seed(self.config, iteration, index), learning=True,
            )  # fmt: skip
            target = self.scratch.get("targets", Vec3, n)
            copy_rows(targets[part], target)
            pixels = batch.pixels
            if self.exposure is not None:
                view = self.scratch.get("views", ti.i32, n)
                copy_numbers(views[part], view)
                pixels = self.exposure.forward(n, batch.pixels, view)
            loss, d_pixels = self.loss(n, pixels, target, of=last.of, weight=last.weight, first=n - last.rays)
            check_finite(loss, iteration)
            if self.exposure is not None:
                self.exposure.adjoint(n, batch.pixels, view, d_pixels)
            renderer.backward(batch, d_pixels, distortion=last.weight * self.config.distortion / last.of)
            return loss

        return learn

    def next_batch(self, size: int, iteration: int) -> PixelBatch:
        """The next ``size`` rays."""
        chosen = self.draw(size)
        cameras = self.scene.train.cameras
        located = cameras.locate(chosen)
        origins, directions = cameras.pixel_rays(*located)
        background = np.asarray(self.scene.background, np.float32)
        if self.config.background == "random":
            # one for all: a colour for every ray cost 0.3 dB on a room and 0.6 dB on a fox after 700 steps
            background = np.random.default_rng((self.config.seed, iteration)).random(3, dtype=np.float32)
        targets = over(self.scene.train.pixels.take(chosen), background)
        return PixelBatch(origins, directions, np.ascontiguousarray(targets), background, located[0])

    def draw(self, size: int) -> np.ndarray:
        """The next ``size`` pixels (size,) of the random order."""
        chosen = self.pixels.at(self._order.batch(self.consumed, size))
        self.consumed += size
        return chosen

    def update(self, factor: float) -> None:
        if self.exposure is not None:
            self.exposure.step(HELD, factor)

    def drop_gradients(self) -> None:
        if self.exposure is not None:
            self.exposure.parameters.clear()

    def rays_of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and directions (n, 3) of ``pixels`` (n,)."""
        cameras = self.scene.train.cameras
        origins, directions = cameras.pixel_rays(*cameras.locate(pixels))
        return origins, directions

    # Which pixels

    def filter(self) -> tuple[int, int]:
        """Drop pixels whose rays meet nothing occupied, unless less than a batch would be left.

        Returns:
            How many meet something, and of how many.
        """
        remaining, before = self._that_meet(self.pixels), len(self.pixels)
        if len(remaining) >= self.config.batch_rays:
            self.keep(remaining)
        return len(remaining), before

    def keep(self, pixels: PixelSet) -> None:
        """Learn from ``pixels`` only, in a new random order."""
        self.pixels, self.filtered = pixels, True
        self._order = PixelOrder(len(pixels), self.config.seed + 1)

    def _that_meet(self, pixels: PixelSet) -> PixelSet:
        """Those of ``pixels`` whose rays have a sample in an occupied cell; all of too many to ask."""
        if len(pixels) > MOST_TESTED:
            return pixels
        return PixelSet.packed(self._count, self._meeting(pixels))

    def _meeting(self, pixels: PixelSet) -> Iterator[Flags]:
        """Image by image, which of its pixels are among ``pixels`` and meet something."""
        cameras, settings = self.scene.train.cameras, self.model.settings(self._strategy.grown)
        for view in range(len(cameras)):
            flags = pixels.flags(int(cameras.offsets[view]), int(cameras.offsets[view + 1]))
            places = np.flatnonzero(flags).astype(np.int32)
            for first in range(0, len(places), MARCHED):
                part = places[first : first + MARCHED]
                samples = self.model.march(*image_rays(cameras, view, part), settings, meets_only=True)
                flags[part] = np.diff(samples.offsets.to_numpy()[: len(part) + 1]) > 0
            yield flags

    # What came of it

    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        if not len(self.held_out):
            return [{} for _ in range(model.field.num_levels)]
        found = yield from scoring(model, self.scene.train, self.held_out)
        return [{"held_out_psnr": psnr} for psnr in found]

    def shortfalls(self) -> list[str]:
        if self.config.held_out and not len(self.held_out):
            return ["no level was chosen: the images are too small for pixels to be kept back"]
        return []

    # State

    @property
    def _count(self) -> int:
        """Pixels of all training images."""
        return int(self.scene.train.cameras.offsets[-1])

    def arrays(self) -> Arrays:
        kept = {"pixels": self.pixels.bits()} if self.filtered else {}
        return kept if self.exposure is None else kept | self.exposure.parameters.state()

    def state(self) -> dict[str, Any]:
        found = {"consumed": self.consumed}
        return found if self.exposure is None else found | {"exposure_steps": self.exposure.adam.steps}

    def most_bytes(self) -> int:
        return self._count // 8 + (0 if self.exposure is None else 3 * 4 * self.exposure.parameters.active)

    def check(self, its: Entries) -> None:
        its.whole("consumed")
        if self.exposure is not None:
            its.whole("exposure_steps")

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        if "pixels" in arrays and not self.filtered:
            found = PixelSet(self._count, bits_of(arrays, "pixels", self._count))
            if not len(found):
                raise UserError("'pixels' leaves no pixel to learn from")
            self.keep(found)
        self.consumed = state["consumed"]
        if self.exposure is not None:
            self.exposure.adam.steps = state["exposure_steps"]
            self.exposure.parameters.restore(parameter_values(arrays, self.exposure.parameters))
            self.exposure.parameters.clear()


def pixels_in_box(cameras: Any, model: Any, left_out: Collection[int] = ()) -> PixelSet:
    """The pixels, of all images, whose rays cross the model's box, without those of images ``left_out``.

    Raises:
        UserError: there are none.
    """
    low, high = model.box
    counts = cameras.widths * cameras.heights
    flags = (
        np.zeros(counts[view], bool) if view in left_out else _meets_field(cameras, view, model)
        for view in range(len(cameras))
    )
    pixels = PixelSet.packed(int(counts.sum()), flags)
    if len(pixels) == 0:
        raise UserError(
            f"no training camera sees the box {low.tolist()} to {high.tolist()} between near {model.near:g} and far "
            f"{model.far:g}: check the poses' scale and convention (camera to world, looking down -z)"
        )
    return pixels


def _meets_field(cameras: Any, view: int, model: Any) -> Flags:
    """(pixels of the view,) whether each pixel's ray crosses the model's box; in a space without an end every ray does,
    unless its lens or the space has none."""
    if model.space is BOX:
        return meets_box(cameras, view, model.box, model.near, model.far)
    return all_real(cameras, view, model.space.rays)
