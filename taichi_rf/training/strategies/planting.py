"""The growth of an octree field: begun from depth images or from a coarse hull, pruned to what rays see, and quantised.

Where depth images say where the surface is, the tree is whole from the start. Otherwise it begins with two coarse
levels inside the visual hull, and at each milestone cells that no training ray gives weight are dropped and the others
divided, until the finest depth is there. All that time features are uncompressed, which is quick; from ``quantise_at``
on they are what the configuration says.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField, check_levels
from taichi_rf.fields.octree.tree import Octree, neighbourhood
from taichi_rf.fields.quantisers import registry as coding
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.geometry.depth_points import bounds, surface_points
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.volume_renderer import VolumeRenderer
from taichi_rf.training.presets import Config
from taichi_rf.training.strategies.growth import Growth, Milestone

LEAST_CODED = 50
"""Iterations after codes were made, with fewer of which they are as good as untrained."""

SEEN_RAYS = 4
"""Training rays that are looked along to find which cells matter, for each cell of one side of the box."""
SEEN_BATCH = 1 << 12
"""Of them at once, about as long as a part of a step takes; more on a GPU."""
PATIENCE = 0.01
"""Seconds that are waited for a new octree before a window may show a picture."""


class TreeGrowth(Growth):
    """An octree field: planted, pruned, divided, quantised."""

    feedback = False
    """Whether levels make up for what those before them lose, see :func:`coding.coded`."""

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        entries: list[Milestone] = [(at, "grow", 0) for at in config.grow_at]
        return [*entries, (config.quantise_at, "quantise", 0), (config.filter_at, "filter", 0)]

    def _make(self) -> Model:
        config = self.config
        check_levels(config.base_depth, config.lods)
        coding.check(config.codes, config.bits)
        finest = config.base_depth + config.lods - 1
        box = np.asarray(self.scene.box, np.float32)
        found = bounds(self.scene.train, box) if config.depth else None
        hull = self._carve(box)  # where there is depth, it only tells which images contradict the others
        if found is not None:
            box = cube(found)
            points = surface_points(self.scene.train, box)
            assert points is not None
            tree = Octree.from_points(points, finest, config.base_depth, grow=1)
        else:
            box = cube(box if hull is None else hull.bounds())
            depth = min(config.base_depth + 1, finest)
            side = 1 << depth
            cells = np.ones((side,) * 3, bool) if hull is None else hull.on_grid((side, side, side), box)
            tree = Octree.from_mask(cells, depth, config.base_depth)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        whole = len(tree.layers) == config.lods
        capacity = sum(counts) if whole else max(config.max_vertices, sum(counts))
        check_memory(capacity, config)
        coder = Uncompressed(counts, capacity, rate=config.vertex_rate, seed=config.seed)
        self.field = OctreeField(
            tree, coder, levels=config.lods, density_shift=config.density_shift, rows=self.rows,
            rates=(config.vertex_rate, config.logit_rate),
        )  # fmt: skip
        self.trainer.ranks.level = self.field.grown
        return self._model(self.field, box)

    def milestone(self, name: str, argument: int) -> Iterator[None]:
        if name == "grow":
            yield from self._grow()
        elif name == "quantise":
            self._quantise()
        elif name == "filter":
            self.trainer.filter_rays()

    def shortfalls(self) -> list[str]:
        config, trainer = self.config, self.trainer
        if config.codes == "none":
            return []
        at = [event["iteration"] for event in trainer.events if event["event"] == "quantise"]
        if not at:
            return [
                f"the features are not compressed: codes are made after {config.quantise_at:.0%} of a training, and "
                "this one ended before; the file is many times as large as it would be"
            ]
        if config.codes != "kmeans" and trainer.iteration - at[-1] < LEAST_CODED:
            return [
                f"the codes were trained for {trainer.iteration - at[-1]} iterations only, so that quality is well "
                "below what they can reach: train longer"
            ]
        return []

    def check_structure(self, described: Any, milestones_done: int) -> None:
        config = self.config
        checks.whole(checks.entry(described, "levels", "'field'"), 1, config.lods, "'levels' of 'field'")
        past = [name for _, name, _ in self.trainer.milestones.entries[:milestones_done]]
        expected: dict[str, Any] = {"codes": "none"}
        if "quantise" in past and config.codes != "none":
            expected = {"codes": config.codes, "rank" if config.codes == "lowrank" else "bits": config.bits}
        found = checks.entry(described, "coder", "'field'")
        if found != expected:
            raise UserError(f"'coder' of 'field' should be {expected} at this point, not {checks.shown(found)}")

    def _grow(self) -> Iterator[None]:
        """Drop what no ray sees, and divide what is left if the tree is not as deep as it shall be; in parts."""
        field, trainer = self.field, self.trainer
        seen = yield from self.looking()
        with ThreadPoolExecutor(1) as pool:  # seconds for numpy, in which a window shows its pictures
            work = pool.submit(self._grown, seen)
            while not work.done():
                wait([work], PATIENCE)
                yield
        tree, threshold = work.result()
        if tree is None:
            trainer.event("grow", note="no ray sees anything: the octree stays")
            return
        field.replant(tree, np.random.default_rng((self.config.seed, trainer.iteration)))
        trainer.ranks.level = field.grown
        trainer.event(
            "grow", cells=[len(layer.cells) for layer in tree.layers], threshold=threshold,
            vertices=[len(layer.vertices) for layer in tree.layers],
        )  # fmt: skip

    def _grown(self, seen: np.ndarray) -> tuple[Octree | None, float]:
        """The tree that follows from what is seen, None where that is nothing; and the threshold with which it fits."""
        field, threshold = self.field, self.config.seen_threshold
        divide, finest = field.grown < self.config.lods, field.tree.layers[-1]
        best = np.argsort(-seen, kind="stable")
        count = int((seen > threshold).sum())
        while count:
            seen_cells = np.sort(finest.cells[best[:count]])
            # with the cells around them if there is room: better none of those than too few that are seen
            for cells in (neighbourhood(seen_cells, finest.depth), seen_cells):
                keep = np.isin(finest.cells, cells)
                # a layer has more vertices than cells: what cannot fit need not be built
                if not divide or 8 * int(keep.sum()) < field.capacity:
                    tree = field.tree.pruned(keep)
                    if divide:
                        tree = tree.subdivided()
                    if sum(len(layer.vertices) for layer in tree.layers) <= field.capacity:
                        return tree, threshold
            count = count * 3 // 4
            threshold = float(seen[best[count]])
        return None, threshold

    def seen(self) -> np.ndarray:
        """(cells of the finest layer,): the largest weight that a sample of a training ray has there."""
        parts = self.looking()
        while True:
            try:
                next(parts)
            except StopIteration as end:
                found: np.ndarray = end.value
                return found

    def looking(self) -> Generator[None, None, np.ndarray]:
        """:meth:`seen` in parts."""
        model, field, trainer = self.model, self.field, self.trainer
        renderer = model.renderer
        assert isinstance(renderer, VolumeRenderer)
        count = len(field.tree.layers[-1].cells)
        seen = model.scratch.get("seen", ti.f32, count)
        seen.fill(0)
        rng = np.random.default_rng((self.config.seed, trainer.iteration, 1))
        batch = SEEN_BATCH if field.owner else 8 * SEEN_BATCH
        total = min(len(trainer.pixels), SEEN_RAYS * 4**field.tree.depth)
        chosen = rng.choice(trainer.pixels, total, replace=False)
        for first in range(0, total, batch):
            samples, *_ = renderer.weigh(*trainer.rays_of(chosen[first : first + batch]), model.settings(), seed=first)
            field.note(samples.count, samples.positions, renderer.compositor.weights, seen)
            yield
        found: np.ndarray = seen.to_numpy()[:count]
        return found

    def _quantise(self) -> None:
        """From uncompressed features to what the configuration asks for."""
        config, field = self.config, self.field
        if config.codes == "none":
            return
        old = field.coder
        assert isinstance(old, Uncompressed)
        weights, channels = importance(old.parameters(field.gradients)[0].second.to_numpy()[: old.vertices])
        if config.codes == "kmeans":  # the baseline knows the features alone, as in the paper
            weights, channels = np.ones_like(weights), np.ones_like(channels)
        field.coder = coding.coded(
            config.codes, config.bits, old.features(), weights, field.tree, rate=config.vertex_rate,
            logit_rate=config.logit_rate, sharpness=config.sharpness, seed=config.seed, feedback=self.feedback,
            channels=channels,
        )  # fmt: skip
        self.trainer.event("quantise", codes=config.codes, bits=config.bits)


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
    """What training a field of so many vertices takes: features with Adam's moments and gradients, the tree, and logits
    with their second moments."""
    logits = 2 * 4 * max(16, 1 << config.bits) if config.codes == "learned" else 0
    return vertices * (4 * 64 + 4 + 2 * 32 + logits)


def check_memory(vertices: int, config: Config) -> None:
    """UserError when a field of so many vertices does not fit this machine's memory."""
    from taichi_rf.core.memory import available_memory

    free, needed = available_memory(), needed_bytes(vertices, config)
    if free is not None and needed > free:
        raise UserError(
            f"an octree of {vertices:,} vertices with codes of {config.bits} bits takes {needed / 2**30:.1f} GiB to "
            f"train, but {free / 2**30:.1f} GiB are free: choose fewer --bits, or --levels that end sooner"
        )
