"""Marching cubes, slab after slab: no more of the grid is in memory than a slab, however fine it is.

Cubes are marched by scikit-image (Lewiner et al. 2003, which closes ambiguous cubes without holes). Slabs share a layer
of nodes; the vertices on it are on its edges, by which those of both sides are known to be the same.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.meshing.body import Body
from taichi_rf.meshing.grid import BoolArray, Float32Array, Grid, IntArray, touched
from taichi_rf.meshing.libraries import library

SLAB_NODES = 1 << 23
"""Of the grid, in memory at once."""
MOST, LEAST = 9.0, -8.0
"""Numbers inside and outside are cut to these. They differ, so that no ambiguous face is a tie."""
NEAREST = 4e-3
"""Numbers are no closer to zero: then no vertex falls on a node, and triangles have an area. It moves the surface by
hundredths of a voxel at most."""
INSIDE_EDGE = 2e-4
"""Of a voxel: a vertex that is farther than this from a node's coordinate lies within an edge."""


@dataclass
class Mesh:
    """Triangles."""

    vertices: npt.NDArray[np.float64]
    """(n, 3)"""
    faces: IntArray
    """(m, 3) indices into them, counter-clockwise seen from outside."""


def marched(body: Body, grid: Grid, slab_nodes: int = SLAB_NODES) -> Generator[float, None, Mesh]:
    """The surface of a body, in steps.

    Args:
        slab_nodes: of the grid, in memory at once; at least two layers are.

    Yields:
        What share of the grid is done; the generator's value in the end is the mesh, its vertices in the unit box, and
        empty where there is no surface.
    """
    measure = library("skimage.measure")
    nx, ny, nz = (int(n) for n in grid.shape)
    thickness = max(2, min(nz, slab_nodes // (nx * ny)))
    rows = [touched(grid, axis, body.cells.shape[2 - axis]) for axis in range(3)]
    vertices, faces = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)]
    total = 0
    seam_keys, seam_numbers = np.zeros(0, np.int64), np.zeros(0, np.int64)  # vertices on the layer shared with the last
    top: Float32Array | None = None
    first = 0
    while first < nz - 1:
        last = min(first + thickness, nz)  # layers first..last - 1
        fresh = _layers(body, grid, rows, first + (top is not None), last)
        values = fresh if top is None else np.concatenate([top[None], fresh])
        top = values[-1].copy()
        keys, numbers = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if values.min() < 0 < values.max():
            found, triangles, _, _ = measure.marching_cubes(values, 0.0, gradient_direction="descent")
            points = found[:, ::-1].astype(np.float64)
            triangles = triangles.astype(np.int64)
            index = np.full(len(points), -1, np.int64)
            below = np.flatnonzero(points[:, 2] < INSIDE_EDGE)
            if first > 0 and len(below):
                here = _edge_keys(points[below], nx)
                at = np.minimum(np.searchsorted(seam_keys, here), max(len(seam_keys) - 1, 0))
                same = seam_keys[at] == here if len(seam_keys) else np.zeros(len(here), bool)
                index[below[same]] = seam_numbers[at[same]]
            new = index < 0
            index[new] = total + np.arange(int(new.sum()))
            above = np.flatnonzero(points[:, 2] > len(values) - 1 - INSIDE_EDGE)
            keys = _edge_keys(points[above], nx)
            order = np.argsort(keys)
            keys, numbers = keys[order], index[above][order]
            points[:, 2] += first
            vertices.append(grid.unit(points[new]))
            faces.append(index[triangles])
            total += int(new.sum())
        seam_keys, seam_numbers = keys, numbers
        first = last - 1
        yield first / (nz - 1)
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def _edge_keys(points: npt.NDArray[np.float64], nx: int) -> IntArray:
    """A number for the edge within a layer that each point (n, 3), in nodes, lies on."""
    x, y = points[:, 0], points[:, 1]
    along_x = np.abs(x - np.rint(x)) > INSIDE_EDGE
    row, column = np.where(along_x, np.rint(y), np.floor(y)), np.where(along_x, np.floor(x), np.rint(x))
    keys: IntArray = ((row * nx + column) * 2 + along_x).astype(np.int64)
    return keys


def _layers(body: Body, grid: Grid, rows: list[tuple[IntArray, IntArray]], first: int, last: int) -> Float32Array:
    """(last - first, y, x): the numbers at the nodes of some layers, cut to what marching cubes is to see."""
    z, y, x = (tuple(side[first:last] for side in rows[2]), rows[1], rows[0])
    known = _any_cell(body.cells, z, y, x)
    values = np.full(known.shape, LEAST, np.float32)
    if body.filled is not None:
        values[_any_cell(body.filled, z, y, x)] = MOST
    beside = [grid.places(axis) for axis in range(3)]
    if grid.closed:
        for axis, places in enumerate(beside):
            beyond = (places < -1e-6) | (places > 1 + 1e-6)
            index: list[slice | BoolArray] = [slice(None)] * 3
            index[2 - axis] = beyond[first:last] if axis == 2 else beyond
            known[tuple(index)] = False
            values[tuple(index)] = LEAST
    at = np.nonzero(known)
    places = np.stack([beside[0][at[2]], beside[1][at[1]], beside[2][at[0] + first]], axis=1).astype(np.float32)
    found = np.clip(np.nan_to_num(body.values(np.clip(places, 0, 1)), nan=LEAST), LEAST, MOST)
    values[at] = np.where(np.abs(found) < NEAREST, np.where(found < 0, -NEAREST, NEAREST), found)
    return values


def _any_cell(cells: BoolArray, z: tuple[IntArray, ...], y: tuple[IntArray, ...], x: tuple[IntArray, ...]) -> BoolArray:
    """(nodes z, y, x): whether any of the cells that a node touches is among ``cells``."""
    found = cells[z[0]] | cells[z[1]]
    found = found[:, y[0]] | found[:, y[1]]
    result: BoolArray = found[:, :, x[0]] | found[:, :, x[1]]
    return result
