"""How well a signed distance fits a solid: intersection over union, and chamfer distance.

All lengths are those of the unit box. The mesh is asked exactly; nothing here depends on how densely it is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_rows
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.sphere_tracing import Distance, Tracer

POINTS = 1 << 18
"""Uniform in the box, for the intersection over union."""
LINES = 1 << 18
"""Random lines through the box; of those that meet the model, the first points are on its surface."""
SAMPLES = 1 << 16
"""On the mesh, evenly by area."""
PART = 1 << 16
"""Points or rays at once."""
SEARCH = 1 / 64
"""How far to either side of the mesh, along its normal, the model's surface is looked for."""

_UNIT = np.array([[0.0] * 3, [1.0] * 3], np.float32)
_FAR = 4.0

Rays = npt.NDArray[Any]
"""(n, 3): their origins, or their directions."""
Traced = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]
"""Of n rays: whether they meet a surface, and how far away."""


@dataclass(frozen=True)
class ShapeScore:
    """``iou`` in [0, 1]; ``chamfer`` in lengths of the unit box, None where the model has no surface at all."""

    iou: float
    chamfer: float | None

    def entry(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        return {"iou": self.iou, "chamfer": self.chamfer}


class ShapeMetrics:
    """Measures fields against one solid, always at the same points.

    IoU: of points uniform in the box, those inside both solids over those inside either (Mescheder et al. 2019,
    "volumetric IoU"; "gIoU" in NGLOD, Takikawa et al. 2021). A point in no cell is inside if :func:`solid_cells` says
    so of its cell.

    Chamfer distance: the mean of accuracy and completeness, not squared ("Chamfer-L1" of Mescheder et al. 2019).
    Accuracy is the mean distance from points of the model's surface to the mesh's nearest triangle; the points are the
    first on random lines, which is even by area where nothing hides anything (Cauchy, Crofton). Completeness is the
    mean distance from points of the mesh to the model's surface, found by sphere tracing along the mesh's normal, or
    else that of accuracy's points which is nearest.
    """

    def __init__(
        self, shape: Shape, *, points: int = POINTS, lines: int = LINES, samples: int = SAMPLES, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.shape, self.tracer = shape, Tracer()
        self.points = rng.random((points, 3), dtype=np.float32)
        self.truth = shape.contains(self.points)
        self.lines = _lines(rng, lines)
        self.samples, self.normals = shape.surface(samples, rng)

    def measure(self, distance: Distance, occupancy: Occupancy) -> ShapeScore:
        """Of the solid that ``distance`` describes, which is known in the cells of ``occupancy``."""
        mine = contains(distance, occupancy, self.points)
        return self._score(mine, partial(self._trace, distance, occupancy))

    def measure_mesh(self, mesh: Shape) -> ShapeScore:
        """Of another mesh, in the coordinates of the same unit box: at the same points as a model, and by the same
        formulas. Triangles are met from both sides."""

        def trace(origins: Rays, directions: Rays, far: float) -> Traced:
            hits = mesh.rays(origins, directions)
            return hits.hit & (hits.t <= far), hits.t.astype(np.float32)

        return self._score(mesh.contains(self.points), trace)

    def _score(self, mine: npt.NDArray[np.bool_], trace: Callable[[Rays, Rays, float], Traced]) -> ShapeScore:
        either = int((mine | self.truth).sum())
        return ShapeScore(float((mine & self.truth).sum() / max(either, 1)), self._chamfer(trace))

    def _chamfer(self, trace: Callable[[Rays, Rays, float], Traced]) -> float | None:
        from scipy.spatial import cKDTree

        origins, directions = self.lines
        hit, t = trace(origins, directions, _FAR)
        found = origins[hit] + directions[hit] * t[hit, None]
        if not len(found):
            return None
        begin = (self.samples + SEARCH * self.normals).astype(np.float32)
        met, along = trace(begin, -self.normals.astype(np.float32), 2 * SEARCH)
        beside, _ = cKDTree(found).query(self.samples)
        completeness = np.minimum(beside, np.where(met & (along > 0), np.abs(along - SEARCH), np.inf)).mean()
        return float(self.shape.unsigned(found).mean() + completeness) / 2

    def _trace(
        self,
        distance: Distance,
        occupancy: Occupancy,
        origins: Rays,
        directions: Rays,
        far: float,
    ) -> Traced:
        hits, ts = [np.zeros(0, bool)], [np.zeros(0, np.float32)]
        for first in range(0, len(origins), PART):
            part = slice(first, first + PART)
            surface = self.tracer.trace(
                distance, occupancy, origins[part], directions[part], box=_UNIT, near=0.0, far=far, normals=False
            )
            hits.append(surface.hit)
            ts.append(surface.t)
        return np.concatenate(hits), np.concatenate(ts)


def score_levels(model: Model, shape: Shape) -> list[ShapeScore]:
    """How well level 1, 2, ... of a solid fits ``shape``."""
    parts = measuring(model, shape)
    while True:
        try:
            next(parts)
        except StopIteration as end:
            found: list[ShapeScore] = end.value
            return found


def measuring(model: Model, shape: Shape) -> Generator[tuple[int, int], None, list[ShapeScore]]:
    """:func:`score_levels` in parts, between which a window can show a picture.

    Yields:
        (levels done, levels in all); the generator's value in the end is the score of level 1, 2, ...
    """
    field, metrics = model.field, ShapeMetrics(shape)
    scores: list[ShapeScore] = []
    for level in range(1, field.num_levels + 1):
        yield level - 1, field.num_levels
        scores.append(metrics.measure(partial(field.density, level=level), model.occupancy_at(level)))
    return scores


def contains(distance: Distance, occupancy: Occupancy, points: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether points (n, 3) of the unit box are inside the solid (n,) that ``distance`` describes."""
    cells = occupancy.to_numpy()
    solid = solid_cells(distance, cells)
    index = tuple(_cell_of(points, cells.shape).T[::-1])
    known = cells[index]
    inside = solid[index]
    inside[known] = _values(distance, points[known]) < 0
    return inside


def solid_cells(distance: Distance, cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of the cells that are not among ``cells`` (z, y, x) lie inside: (z, y, x).

    A field knows the cells around its surface only. Each connected piece of the others is inside if the field is
    negative on most of the faces between it and cells of the field.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(~cells)
    inner = np.zeros(count + 1)
    for axis in range(3):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        for here, there, way in ((low, high, -1), (high, low, 1)):  # ``here`` belongs to the field, ``there`` does not
            at = np.argwhere(cells[here] & ~cells[there])
            piece = pieces[there][tuple(at.T)]
            face = at + 0.5
            face[:, axis] = at[:, axis] + (1 - 1e-3 if way < 0 else 1 + 1e-3)
            places = (face / cells.shape)[:, ::-1].astype(np.float32)
            inner += np.bincount(piece, np.where(_values(distance, places) < 0, 1, -1), count + 1)
    solid: npt.NDArray[np.bool_] = (inner > 0)[pieces] & ~cells
    return solid


def _values(distance: Distance, points: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The distance (n,) at points (n, 3)."""
    scratch = Scratch()
    found = np.empty(len(points), np.float32)
    for first in range(0, len(points), PART):
        part = points[first : first + PART]
        positions, values = scratch.get("positions", Vec3, len(part)), scratch.get("values", ti.f32, len(part))
        copy_rows(part, positions)
        distance(len(part), positions, values)
        found[first : first + len(part)] = values.to_numpy()[: len(part)]
    return found


def _cell_of(points: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The cells (n, 3), x first, of points (n, 3) in a grid (z, y, x)."""
    sides = np.array(shape[::-1])
    cells: npt.NDArray[np.int64] = np.clip(np.floor(points * sides).astype(np.int64), 0, sides - 1)
    return cells


def _lines(rng: np.random.Generator, count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Origins and directions (count, 3) of random lines, evenly over all that meet the ball around the unit box."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    across = np.cross(directions, np.eye(3)[np.abs(directions).argmin(axis=1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    angle, radius = 2 * np.pi * rng.random((count, 1)), np.sqrt(0.75 * rng.random((count, 1)))
    beside = radius * (np.cos(angle) * across + np.sin(angle) * np.cross(directions, across))
    return (0.5 + beside - directions).astype(np.float32), directions.astype(np.float32)
