"""Learning from photographs: which pixels can teach anything, in which order, and a batch of their rays."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.device import Scratch, Vec3, copy_rows
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixels import over
from taichi_rf.evaluation.autorank import kept_back, scoring
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.kernels.spaces import BOX
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training.configs.base import Config
from taichi_rf.training.restoring import bits_of
from taichi_rf.training.samplers.base import Learn, Sampler, check_finite, step_seed
from taichi_rf.training.samplers.pixel_order import PixelOrder
from taichi_rf.training.state import Arrays, Entries
from taichi_rf.training.strategies.base import Strategy

MARCHED = 1 << 17
"""Rays at once, to see what they meet."""


class PixelSampler(Sampler):
    """Batches of pixels of the training images, in a random order without replacement.

    Pixels are known by their indices over all training images.
    """

    def __init__(self, scene: Any, config: Config, strategy: Strategy) -> None:
        super().__init__(scene, config, strategy.model)
        self.loss, self.scratch, self._strategy = PhotometricLoss(), Scratch(), strategy
        self.held_out = np.zeros(0, np.int64)
        """Pixels that are never learnt from."""
        self.consumed = 0
        """Pixels of the endless random order that have been used."""
        self.filtered = False
        self.warnings = strategy.carving.warnings
        in_box = pixels_in_box(scene.train.cameras, self.model, strategy.carving.left_out)
        empty = self.model.hull is not None or self.model.field.knows_space
        self.pixels = self._that_meet(in_box) if empty else in_box
        """Pixels that are learnt from, ascending."""
        if len(self.pixels) == 0:
            raise UserError(
                "no ray of a training image meets anything that could be there: check the images' masks, and that the "
                f"object lies in the box {scene.box.tolist()}"
            )
        if config.held_out:
            cameras = scene.train.cameras
            kept = kept_back(len(cameras), cameras.width, cameras.height, config.held_out, config.seed)
            self.held_out = np.intersect1d(kept, in_box, assume_unique=True)
            self.pixels = np.setdiff1d(self.pixels, self.held_out, assume_unique=True)
        self._order = PixelOrder(len(self.pixels), config.seed)

    # Batches

    def batch_size(self, asked: int | None) -> int:
        return min(super().batch_size(asked), len(self.pixels))

    def lesson(self, size: int, iteration: int) -> Learn:
        origins, directions, targets, background = self.next_batch(size, iteration)
        renderer = self.model.renderer
        assert isinstance(renderer, VolumeRenderer)  # what photographs are learnt by

        def learn(level: int, part: slice, of: int, weight: float, index: int) -> float:
            batch = renderer.forward(
                origins[part], directions[part], self.model.settings(level), background=background,
                seed=step_seed(self.config, iteration, index),
            )  # fmt: skip
            target = self.scratch.get("targets", Vec3, part.stop - part.start)
            copy_rows(targets[part], target)
            loss, d_pixels = self.loss(part.stop - part.start, batch.pixels, target, of=of, weight=weight)
            check_finite(loss, iteration)
            renderer.backward(batch, d_pixels, distortion=weight * self.config.distortion / of)
            return loss

        return learn

    def next_batch(self, size: int, iteration: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The next ``size`` rays: origins, directions and target colours (size, 3), and the background (3,)."""
        chosen = self.pixels[self._order.batch(self.consumed, size)]
        self.consumed += size
        origins, directions = self.rays_of(chosen)
        background = np.asarray(self.scene.background, np.float32)
        if self.config.background == "random":
            background = np.random.default_rng((self.config.seed, iteration)).random(3, dtype=np.float32)
        rgba = self.scene.train.images.reshape(-1, 4)[chosen].astype(np.float32)
        targets = over(rgba, background)
        return origins, directions, np.ascontiguousarray(targets), background

    def rays_of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and directions (n, 3) of ``pixels`` (n,)."""
        split = self.scene.train
        height, width = split.images.shape[1:3]
        view, pixel = np.divmod(pixels, height * width)
        y, x = np.divmod(pixel, width)
        origins, directions = split.cameras.pixel_rays(view, x, y)
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

    def keep(self, pixels: np.ndarray) -> None:
        """Learn from ``pixels`` (n,) only, ascending, in a new random order."""
        self.pixels, self.filtered = pixels, True
        self._order = PixelOrder(len(pixels), self.config.seed + 1)

    def _that_meet(self, pixels: np.ndarray) -> np.ndarray:
        """Those of ``pixels`` whose rays have a sample in an occupied cell."""
        kept, settings = [], self.model.settings(self._strategy.grown)
        for first in range(0, len(pixels), MARCHED):
            part = pixels[first : first + MARCHED]
            samples = self.model.march(*self.rays_of(part), settings, count_only=True)
            kept.append(part[np.diff(samples.offsets.to_numpy()[: len(part) + 1]) > 0])
        return np.concatenate(kept)

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
        return int(np.prod(self.scene.train.images.shape[:3]))

    def arrays(self) -> Arrays:
        if not self.filtered:
            return {}
        kept = np.zeros(self._count, bool)
        kept[self.pixels] = True
        return {"pixels": np.packbits(kept)}

    def state(self) -> dict[str, Any]:
        return {"consumed": self.consumed}

    def most_bytes(self) -> int:
        return self._count // 8

    def check(self, its: Entries) -> None:
        its.whole("consumed")

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        if "pixels" in arrays and not self.filtered:
            found = np.flatnonzero(np.unpackbits(bits_of(arrays, "pixels", self._count), count=self._count))
            if not len(found):
                raise UserError("'pixels' leaves no pixel to learn from")
            self.keep(found)
        self.consumed = state["consumed"]


def pixels_in_box(cameras: Any, model: Any, left_out: Collection[int] = ()) -> npt.NDArray[np.int64]:
    """Indices, over all images, of the pixels whose rays cross the model's box, without those of images ``left_out``.

    Raises:
        UserError: there are none.
    """
    low, high = model.box
    unbounded = model.space is not BOX
    kept = [np.zeros(0, np.int64)]
    for i in range(len(cameras)):
        if i in left_out:
            continue
        origins, directions = cameras[i].rays()
        if unbounded:  # every ray meets something, unless its lens or the space has none
            met = np.isfinite(model.space.rays(origins, directions)[1]).all(axis=1)
            kept.append(np.flatnonzero(met) + i * len(origins))
            continue
        safe = np.where(np.abs(directions) < 1e-9, np.float32(1e-9), directions)
        a, b = (low - origins) / safe, (high - origins) / safe
        entry = np.maximum(np.minimum(a, b).max(1), model.near)
        leave = np.minimum(np.maximum(a, b).min(1), model.far)
        kept.append(np.flatnonzero(entry < leave) + i * len(origins))
    pixels = np.concatenate(kept)
    if len(pixels) == 0:
        raise UserError(
            f"no training camera sees the box {low.tolist()} to {high.tolist()} between near {model.near:g} and far "
            f"{model.far:g}: check the poses' scale and convention (camera to world, looking down -z)"
        )
    return pixels
