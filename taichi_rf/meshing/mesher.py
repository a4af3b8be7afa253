"""From a model to a mesh: the whole way, in steps between which progress can be shown."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.memory import check_memory
from taichi_rf.kernels.spaces import BOX
from taichi_rf.meshing.body import Body, DensityBody, DistanceBody, check_threshold
from taichi_rf.meshing.colours import surface_colours
from taichi_rf.meshing.grid import Grid, grid_over
from taichi_rf.meshing.photographs import Photographs, photograph_colours
from taichi_rf.meshing.places import in_the_world, voxels
from taichi_rf.meshing.refining import refined
from taichi_rf.meshing.surface import SLAB_NODES, Mesh, marched
from taichi_rf.meshing.threshold import choosing
from taichi_rf.meshing.tidying import Pieces, holes, merged, vertex_normals, without_small
from taichi_rf.rendering.model import Model

RESOLUTIONS = (8, 2048)
"""Nodes along the longest side of the box that may be asked for."""
FINEST = 513
"""That are chosen by themselves: twice as fine as 256 cells."""
SMALLEST = 1.0
"""Per cent of the largest piece's area: smaller pieces are dropped by default."""
COARSER = 4
"""Times: a grid that much coarser tells how many triangles there will be."""
FACE_BYTES = 500
"""That a triangle takes at most, from marching cubes to the file."""
NODE_BYTES = 60
"""That a node of a slab takes."""
LESS = "try a lower --resolution"

T = TypeVar("T")
Step = tuple[str, float]
"""What is being done, and how much of that is done, 0 to 1."""
Steps = Generator[Step, None, "Surface"]


@dataclass(frozen=True)
class Wishes:
    """What a mesh is to be like; what is None is chosen."""

    resolution: int | None = None
    """Nodes along the longest side of the field's box."""
    threshold: float | None = None
    """Density at which a radiance field is solid, per unit of the field's coordinates."""
    keep: float = SMALLEST
    """Per cent of the largest piece's area that another must have to stay."""
    faces: int | None = None
    """How many triangles at most, about."""
    reach: float | None = None
    """How far from the middle, see :mod:`taichi_rf.meshing.grid`; of a space that is bent only."""

    def check(self, model: Model) -> None:
        """Raise UserError for what no mesh of ``model`` can be like."""
        low, high = RESOLUTIONS
        if self.resolution is not None and not low <= self.resolution <= high:
            raise UserError(f"--resolution {self.resolution}: {low} to {high} is expected")
        if not 0 <= self.keep <= 100:
            raise UserError(f"--keep-largest {self.keep:g}: per cent from 0 to 100 are expected")
        if self.faces is not None and self.faces < 4:
            raise UserError(f"--faces {self.faces}: 4 or more is expected")
        if self.reach is not None and model.space is BOX:
            raise UserError("--reach: this model lies in a box, which ends by itself: leave it")
        if self.reach is not None and not self.reach > 1:
            raise UserError(f"--reach {self.reach:g}: more than 1 is expected")
        check_threshold(self.threshold, model.has_surface)


@dataclass(frozen=True)
class Surface:
    """A mesh in the world, and what is to be said of it."""

    mesh: Mesh
    normals: npt.NDArray[np.float64]
    """(n, 3) of unit length."""
    colours: npt.NDArray[np.float32] | None
    """(n, 3) in [0, 1]; None of a solid, which has none."""
    resolution: int
    threshold: float | None
    highest: float | None
    """The highest density on the grid."""
    voxel: float
    """Of the grid in the middle of the world, in world units."""
    pieces: Pieces
    holes: int


def meshing(model: Model, level: int, wishes: Wishes, photographs: Photographs | None = None) -> Steps:
    """Make the mesh of a model at a level.

    Args:
        photographs: to take colours from; what they do not show, and without any everything, has the model's.

    Yields:
        What is being done and its share; the generator's value in the end is the :class:`Surface`.

    Raises:
        UserError: there is no such mesh, it would not fit in memory, or a library is missing.
    """
    model.field.check_level(level)
    wishes.check(model)
    resolution = wishes.resolution or chosen_resolution(model)
    if model.has_surface:
        resolution = aligned(resolution, max(model.field.resolution) - 1)
    threshold = wishes.threshold
    if threshold is None and not model.has_surface:
        for share, found in choosing(model, level):
            threshold = found
            yield "choosing the threshold", share
    body = _body(model, level, threshold, resolution)
    grid = grid_over(model, body.cells, resolution, wishes.reach)
    if grid is None:
        raise UserError("nothing of this model is occupied, so there is no surface")
    _check_size(body, model, grid, resolution, wishes)
    mesh = yield from _staged("marching cubes", marched(body, grid))
    if not len(mesh.faces):
        raise UserError(body.nothing())
    yield "tidying", 0.0
    unit, pieces = without_small(mesh, wishes.keep)
    unit = yield from _staged("finding the surface", refined(body, grid, unit))
    mesh = in_the_world(model, unit)
    if wishes.faces is not None:
        yield "merging triangles", 0.0
        mesh = merged(mesh, wishes.faces)
        if not len(mesh.faces):
            raise UserError(f"--faces {wishes.faces}: nothing is left of this surface with so few; give more")
    normals = vertex_normals(mesh)
    colours = None
    if not model.has_surface:
        colours = yield from _colours(model, level, mesh, normals, photographs)
    middle = voxels(model, np.array([[0.5, 0.5, 0.5 if model.space is BOX else 0.0]]), grid.spacing)
    density = body if isinstance(body, DensityBody) else None
    return Surface(
        mesh, normals, colours, resolution, threshold, None if density is None else density.highest,
        float(middle[0]), pieces, holes(mesh),
    )  # fmt: skip


def _colours(
    model: Model, level: int, mesh: Mesh, normals: npt.NDArray[np.float64], photographs: Photographs | None
) -> Generator[Step, None, npt.NDArray[np.float32]]:
    """The colours (n, 3) of a mesh's vertices: those of photographs, and of the model what no photograph sees."""
    colours, unseen = np.zeros((len(mesh.vertices), 3), np.float32), np.ones(len(mesh.vertices), bool)
    if photographs is not None and len(photographs.cameras):
        colours, seen = yield from _staged("colours of photographs", photograph_colours(mesh, photographs))
        unseen = ~seen
    parts = surface_colours(model, level, mesh.vertices[unseen], normals[unseen])
    colours[unseen] = yield from _staged("colours", parts)
    return colours


def _staged(stage: str, steps: Generator[float, None, T]) -> Generator[Step, None, T]:
    """What ``steps`` do, as steps of a stage."""
    while True:
        try:
            share = next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        yield stage, share


def chosen_resolution(model: Model) -> int:
    """Twice as fine as the field, up to ``FINEST``."""
    return int(min(2 * max(model.field.resolution) - 1, FINEST))


def aligned(resolution: int, cells: int) -> int:
    """The number of nodes nearest to ``resolution`` with which none of ``cells`` a side is cut by a cube: what a solid
    is beyond its cells, nothing knows."""
    share = max(resolution - 1, 1) / cells
    if share >= 1:
        return round(share) * cells + 1
    return max(cells // 2 ** round(-np.log2(share)), 1) + 1


def _body(model: Model, level: int, threshold: float | None, resolution: int) -> Body:
    if model.has_surface:
        return DistanceBody(model, level, 1 / (resolution - 1))
    assert threshold is not None
    return DensityBody(model, level, threshold)


def _check_size(body: Body, model: Model, grid: Grid, resolution: int, wishes: Wishes) -> None:
    """Raise UserError where the mesh would not fit in memory, by what a coarser one has."""
    coarse = grid_over(model, body.cells, max(resolution // COARSER, RESOLUTIONS[0]), wishes.reach)
    faces = 0.0
    if coarse is not None and resolution // COARSER >= RESOLUTIONS[0]:
        steps = marched(body, coarse)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                faces = len(end.value.faces) * (grid.nodes / coarse.nodes) ** (2 / 3)
                break
    needed = int(faces * FACE_BYTES) + min(grid.nodes, SLAB_NODES) * NODE_BYTES
    check_memory(f"a mesh of some {faces / 1e6:.1f} million triangles", needed, LESS)
