"""Puts the vertices of marching cubes onto the surface itself.

Marching cubes takes what lies between two nodes to be straight. A density that is cut off at zero (relu) is not, nor is
a sum of levels whose cells are finer than the grid: the surface would then lie some part of a voxel off, and move with
the resolution. So the field is asked again along the edge that each vertex lies on.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from taichi_rf.meshing.body import PART, Body
from taichi_rf.meshing.grid import Grid
from taichi_rf.meshing.surface import Mesh

Float64Array = npt.NDArray[np.float64]

ROUNDS = 8
"""Times that the field is asked between the nodes of an edge; a straight one is exact after the first."""


def refined(body: Body, grid: Grid, mesh: Mesh) -> Generator[float, None, Mesh]:
    """A mesh (vertices in the unit box, each on an edge of ``grid``) with its vertices where ``body`` is zero.

    The root is found by regula falsi with the Illinois change (Dowell and Jarratt 1971). A vertex stays where it is if
    the body does not change its sign along the edge, which is so at the border of what is occupied.

    Yields:
        What share is done; the generator's value in the end is the mesh, whose faces are the same.
    """
    vertices = mesh.vertices.copy()
    for first in range(0, len(vertices), PART):
        part = slice(first, first + PART)
        vertices[part] = _on_surface(body, grid, vertices[part])
        yield min(first + PART, len(vertices)) / len(vertices)
    return Mesh(vertices, mesh.faces)


def _on_surface(body: Body, grid: Grid, points: Float64Array) -> Float64Array:
    nodes = points / grid.spacing - grid.first
    off = np.abs(nodes - np.rint(nodes))
    axis = off.argmax(axis=1)
    rows = np.arange(len(points))
    begin = np.rint(nodes)
    begin[rows, axis] = np.floor(nodes[rows, axis])
    begin = grid.unit(begin)
    step = np.zeros_like(points)
    step[rows, axis] = grid.spacing[axis]
    inside = ((begin > -1e-9) & (begin + step < 1 + 1e-9)).all(axis=1)

    def asked(share: Float64Array, which: npt.NDArray[np.intp]) -> Float64Array:
        places = begin[which] + share[:, None] * step[which]
        return body.values(np.clip(places, 0, 1).astype(np.float32)).astype(np.float64)

    at = np.flatnonzero(inside)
    a, b = np.zeros(len(at)), np.ones(len(at))
    fa, fb = asked(a, at), asked(b, at)
    crosses = (fa < 0) != (fb < 0)
    at, a, b, fa, fb = at[crosses], a[crosses], b[crosses], fa[crosses], fb[crosses]
    found = np.full(len(at), 0.5)
    last = np.zeros(len(at), np.int8)  # which end moved last
    for _ in range(ROUNDS):
        found = np.clip(a - fa * (b - a) / _not_zero(fb - fa), a, b)
        value = asked(found, at)
        moves_b = (value < 0) == (fb < 0)
        # where the same end moves twice, the other one's value counts half, so that it moves soon
        fa = np.where(moves_b & (last == 1), fa / 2, fa)
        fb = np.where(~moves_b & (last == -1), fb / 2, fb)
        b, fb = np.where(moves_b, found, b), np.where(moves_b, value, fb)
        a, fa = np.where(moves_b, a, found), np.where(moves_b, fa, value)
        last = np.where(moves_b, 1, -1).astype(np.int8)
    result = points.copy()
    # two vertices of a triangle in one place would make it one without an area
    result[at] = begin[at] + np.clip(found, 1e-3, 1 - 1e-3)[:, None] * step[at]
    return result


def _not_zero(x: Float64Array) -> Float64Array:
    return np.where(np.abs(x) < 1e-300, 1e-300, x)
