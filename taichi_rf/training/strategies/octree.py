"""The strategy of an octree field (VQAD): begun from depth images or a coarse hull, pruned to what rays see, quantised.

Where depth images say where the surface is, the tree is whole from the start. Otherwise it begins with two coarse
levels inside the visual hull, and at each milestone cells that no training ray gives weight are dropped and the others
divided, until the finest depth is there. All that time features are uncompressed, which is quick; from ``quantise_at``
on they are what the configuration says.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, cast

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core import memory
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.octree.layout import check_levels
from taichi_rf.fields.quantisers import registry as coding
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.trees.morton import neighbourhood
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.geometry.depth_points import bounds, surface_points
from taichi_rf.kernels.spaces import BOX
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.vqad import VqadConfig
from taichi_rf.training.schedule import Milestone
from taichi_rf.training.strategies.base import Context, Strategy

MARGIN = 2
"""Finest cells to every side of the surface that depth images show. A level's density is zero outside its cells, so
that with 1 the finest level had less to show a surface with than the one before it: 1.1 dB less on a duck, 0.5 on a
bicycle."""
LEAST_CODED = 50
"""Iterations that codes need after they were made: with fewer, quality is that of codes which never trained."""

PER_DIVIDED = 10
"""Vertices of a tree for each cell that is divided, about: eight cells have as many corners and, at a surface's sides,
a few more."""

SEEN_RAYS, MOST_SEEN_RAYS = 16, 1 << 18
"""Training rays to march, for each cell of one side of the box and at most, to find which cells rays see. With a
quarter of them, cells at the borders of photographs, which few cameras see, were left out: surfaces had holes."""
SEEN_BATCH = 1 << 12
"""Of those rays at once on the CPU, which takes about as long as a part of a step; eight times as many on a GPU."""
PATIENCE = 0.01
"""Seconds to wait for a new octree before a window may show the next picture."""


class OctreeStrategy(Strategy):
    """An octree field: begun around the surface or inside the hull, pruned, divided, quantised."""

    feedback = False
    """Whether a level is quantised to make up for the error of those before it, see :func:`coding.quantised`."""

    @property
    def own(self) -> VqadConfig:
        """The method's part of the configuration."""
        return cast(VqadConfig, self.config.strategy)

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        own = cast(VqadConfig, config.strategy)
        entries: list[Milestone] = [(at, "grow", 0) for at in own.grow_at]
        return [*entries, (own.quantise_at, "quantise", 0), (config.filter_at, "filter", 0)]

    def _make(self) -> Model:
        config, own = self.config, self.own
        check_levels(own.base_depth, own.lods)
        coding.check(own.codes, own.bits)
        finest = own.base_depth + own.lods - 1
        box = self.field_box
        found = bounds(self.scene.train, box) if own.depth and self.space is BOX else None
        hull = self._carve(box)  # where there is depth, it only tells which images contradict the others
        if found is not None:
            box = cube(found)
            points = surface_points(self.scene.train, box)
            assert points is not None
            tree = Octree.from_points(points, finest, own.base_depth, grow=MARGIN)
        else:
            box = cube(box if hull is None else hull.bounds())
            depth = min(own.base_depth + 1, finest)
            side = 1 << depth
            limits = self._seen(box) if hull is None else hull
            cells = np.ones((side,) * 3, bool) if limits is None else limits.on_grid((side, side, side), box)
            tree = Octree.from_mask(cells, depth, own.base_depth)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        whole = len(tree.layers) == own.lods
        capacity = sum(counts) if whole else max(own.max_vertices, sum(counts))
        check_memory(capacity, config)
        quantiser = Uncompressed(counts, capacity, rate=own.vertex_rate, seed=config.seed)
        self.field = OctreeField(
            tree, quantiser, levels=own.lods, density_shift=config.density_shift, rows=self.rows,
            rates=(own.vertex_rate, own.logit_rate),
        )  # fmt: skip
        return self._model(self.field, box)

    @property
    def grown(self) -> int:
        return self.field.grown

    def milestone(self, name: str, argument: int, training: Context) -> Iterator[None]:
        if name == "grow":
            yield from self._grow(training)
        elif name == "quantise":
            self._quantise(training)
        elif name == "filter":
            self._filter(training)

    def regularise(self, level: int, factor: float) -> None:
        own = self.own
        self.field.regularise(level, 0.0, own.tv_density * factor, own.tv_appearance * factor, 0.0)

    def shortfalls(self, events: list[dict[str, Any]], iteration: int) -> list[str]:
        own = self.own
        if own.codes == "none":
            return []
        at = [event["iteration"] for event in events if event["event"] == "quantise"]
        if not at:
            return [
                f"the features are not compressed: codes are made after {own.quantise_at:.0%} of a training, and "
                "this one ended before; the file is many times as large as it would be"
            ]
        if own.codes != "kmeans" and iteration - at[-1] < LEAST_CODED:
            return [
                f"the codes were trained for {iteration - at[-1]} iterations only, so that quality is well "
                "below what they can reach: train longer"
            ]
        return []

    def check_structure(self, described: Any, past: list[str]) -> None:
        own = self.own
        checks.whole(checks.entry(described, "levels", "'field'"), 1, own.lods, "'levels' of 'field'")
        expected: dict[str, Any] = {"codes": "none"}
        if "quantise" in past and own.codes != "none":
            expected = {"codes": own.codes, "rank" if own.codes == "lowrank" else "bits": own.bits}
        found = checks.entry(described, "coder", "'field'")
        if found != expected:
            raise UserError(f"'coder' of 'field' should be {expected} at this point, not {checks.shown(found)}")

    def _grow(self, training: Context) -> Iterator[None]:
        """Drop the cells that no ray sees, and divide those left if levels are still missing; in parts."""
        field = self.field
        seen = yield from self.looking(training)
        with ThreadPoolExecutor(1) as pool:  # seconds for numpy, in which a window shows its pictures
            work = pool.submit(self._grown, seen)
            while not work.done():
                wait([work], PATIENCE)
                yield
        tree, threshold = work.result()
        if tree is None:
            training.event("grow", note="no ray sees anything: the octree stays")
            return
        field.replant(tree, np.random.default_rng((self.config.seed, training.iteration)))
        training.event(
            "grow", cells=[len(layer.cells) for layer in tree.layers], threshold=threshold,
            vertices=[len(layer.vertices) for layer in tree.layers],
        )  # fmt: skip

    def _grown(self, seen: np.ndarray) -> tuple[Octree | None, float]:
        """The pruned and divided tree that has room, and the least weight of the cells that it was made from.

        Args:
            seen: (cells of the finest layer,), the largest weight of a sample in each.

        Returns:
            The tree is None where no ray sees anything.
        """
        field, threshold = self.field, self.own.seen_threshold
        divide, finest = field.grown < self.own.lods, field.tree.layers[-1]
        room = field.capacity if divide else min(field.capacity, self.own.kept_vertices)
        best = np.argsort(-seen, kind="stable")
        count = int((seen > threshold).sum())
        while count:
            seen_cells = np.sort(finest.cells[best[:count]])
            # with their neighbours if there is room; without, before any cell that rays see is left out
            for cells in (neighbourhood(seen_cells, finest.depth), seen_cells):
                keep = np.isin(finest.cells, cells)
                size = PER_DIVIDED * int(keep.sum()) if divide else 0
                if size < 1.1 * room:  # else it is not worth the time of building it
                    tree = field.tree.pruned(keep)
                    if divide:
                        tree = tree.subdivided()
                    size = sum(len(layer.vertices) for layer in tree.layers)
                    if size <= room:
                        return tree, threshold
            count = min(int(0.98 * count * room / size), count - 1)
            threshold = float(seen[best[count]])
        return None, threshold

    def seen(self, training: Context) -> np.ndarray:
        """(cells of the finest layer,): the largest weight that a sample of a training ray has there."""
        parts = self.looking(training)
        while True:
            try:
                next(parts)
            except StopIteration as end:
                found: np.ndarray = end.value
                return found

    def looking(self, training: Context) -> Generator[None, None, np.ndarray]:
        """:meth:`seen` in parts, between which a window may show a picture; the generator's value is the array."""
        model, field, sampler = self.model, self.field, training.sampler
        renderer = model.renderer
        assert isinstance(renderer, VolumeRenderer)
        count = len(field.tree.layers[-1].cells)
        seen = model.scratch.get("seen", ti.f32, count)
        seen.fill(0)
        rng = np.random.default_rng((self.config.seed, training.iteration, 1))
        batch = SEEN_BATCH if field.owner else 8 * SEEN_BATCH
        total = min(len(sampler.pixels), MOST_SEEN_RAYS, SEEN_RAYS * 4**field.tree.depth)
        chosen = sampler.pixels.at(rng.choice(len(sampler.pixels), total, replace=False))
        for first in range(0, total, batch):
            origins, directions = sampler.rays_of(chosen[first : first + batch])
            samples, *_ = renderer.weigh(origins, directions, model.settings(), seed=first)
            field.note(samples.count, samples.positions, renderer.compositor.weights, seen)
            yield
        found: np.ndarray = seen.to_numpy()[:count]
        return found

    def _quantise(self, training: Context) -> None:
        """Replace uncompressed features by the codes that the configuration asks for."""
        config, own, field = self.config, self.own, self.field
        if own.codes == "none":
            return
        old = field.quantiser
        assert isinstance(old, Uncompressed)
        weights, channels = importance(old.parameters(field.gradients)[0].second.to_numpy()[: old.vertices])
        if own.codes == "kmeans":  # the baseline knows the features alone, as in the paper
            weights, channels = np.ones_like(weights), np.ones_like(channels)
        field.quantiser = coding.quantised(
            own.codes, own.bits, old.features(), weights, field.tree, rate=own.vertex_rate,
            logit_rate=own.logit_rate, sharpness=own.sharpness, seed=config.seed, feedback=self.feedback,
            channels=channels,
        )  # fmt: skip
        training.event("quantise", codes=own.codes, bits=own.bits)


def importance(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an error of a vertex and of a channel costs: weights (vertices,) and (16,) of mean 1.

    The loss rises with the squared error times its curvature, which the mean squared gradient stands for (as in optimal
    brain damage, LeCun et al. 1990): Adam's second moments (vertices, 16), taken apart into one factor for the vertex
    and one for the channel. For lego the density's channel weighs 15 times the mean; k-means that knows it starts 3.6
    dB higher.
    """
    channels = np.maximum(moments.mean(axis=0), 1e-30)
    weights = (moments / channels).mean(axis=1)
    return weights / max(float(weights.mean()), 1e-30), channels / channels.mean()


def cube(box: np.ndarray) -> np.ndarray:
    """The smallest cube around the middle of ``box`` (2, 3) that holds it: cells of an octree are cubes."""
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]).max() / 2
    return np.stack([middle - half, middle + half]).astype(np.float32)


def needed_bytes(vertices: int, config: Config) -> int:
    """What training a field of so many vertices takes: features with Adam's moments and gradients, the tree, neighbours
    where features are smoothed, and logits with their second moments and the rows that they are of."""
    own = cast(VqadConfig, config.strategy)
    logits = 2 * 4 * 16 + 16 if own.codes == "learned" else 0
    neighbours = 6 * 4 if own.tv_density or own.tv_appearance else 0
    return vertices * (4 * 64 + 8 + 2 * 32 + neighbours + logits)


def check_memory(vertices: int, config: Config) -> None:
    """UserError when a field of so many vertices does not fit this machine's memory."""
    free, needed = memory.available_memory(), needed_bytes(vertices, config)
    if free is not None and needed > free:
        bits = cast(VqadConfig, config.strategy).bits
        raise UserError(
            f"an octree of {vertices:,} vertices with codes of {bits} bits takes {needed / 2**30:.1f} GiB to "
            f"train, but {free / 2**30:.1f} GiB are free: choose fewer --bits, or --levels that end sooner"
        )
