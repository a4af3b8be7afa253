"""A solid of triangles in the unit box: its signed distance, points on it, and where rays meet it.

Distances and rays are libigl's. The sign is that of the generalised winding number (Jacobson et al. 2013; its fast
evaluation, Barill et al. 2018), which real scans with small holes, overlaps or loose pieces do not upset as they upset
the parity of rays or the normal of the nearest triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

Float64Array = npt.NDArray[np.float64]

INSTALL = "pip install 'taichi-rf[mesh]'"
CREASE = 0.86
"""Cosine, of 31 degrees: a vertex one of whose triangles looks farther from their mean than this is on a sharp edge."""
PART = 1 << 17
"""Points asked for at once."""


class Shape:
    """A solid bounded by triangles.

    Args:
        vertices: (n, 3), finite, in the unit box.
        faces: (m, 3) indices into them, counter-clockwise seen from outside. Turned inside out as a whole, they are
            turned back.

    Raises:
        UserError: libigl is missing.
        ValueError: wrong shapes, no faces, or an index out of range.
    """

    def __init__(self, vertices: npt.ArrayLike, faces: npt.ArrayLike) -> None:
        self._igl = libigl()
        self.vertices = np.ascontiguousarray(vertices, np.float64)
        self.faces = np.ascontiguousarray(faces, np.int64)
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or not np.isfinite(self.vertices).all():
            raise ValueError(f"vertices are (n, 3) and finite; got {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or not len(self.faces):
            raise ValueError(f"faces are (m, 3), at least one; got {self.faces.shape}")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise ValueError(f"faces name vertices 0 to {len(self.vertices) - 1}")
        if self.volume < 0:
            self.faces = np.ascontiguousarray(self.faces[:, ::-1])
            del self.corners
        self._tree = self._igl.AABB()
        self._tree.init(self.vertices, self.faces)

    @cached_property
    def corners(self) -> Float64Array:
        """(m, 3, 3): the corners of every triangle."""
        return self.vertices[self.faces]

    @cached_property
    def digest(self) -> str:
        """What tells this solid from others."""
        return blake2b(self.vertices.tobytes() + self.faces.tobytes(), digest_size=8).hexdigest()

    @property
    def volume(self) -> float:
        """Signed volume in unit boxes, of a closed mesh: positive where the faces look outwards."""
        a, b, c = self.corners.transpose(1, 0, 2)
        return float((a * np.cross(b, c)).sum() / 6)

    @cached_property
    def open_edges(self) -> int:
        """Edges that are not between two triangles of like orientation; 0 for a closed mesh."""
        ends = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        keys = ends.min(axis=1) * len(self.vertices) + ends.max(axis=1)
        ways = np.where(ends[:, 0] < ends[:, 1], 1, -1)
        _, index, counts = np.unique(keys, return_inverse=True, return_counts=True)
        sums = np.bincount(index.reshape(-1), ways, len(counts))
        return int(((counts != 2) | (sums != 0)).sum())

    def distance(self, points: npt.ArrayLike, *, truncation: float = np.inf) -> npt.NDArray[np.float32]:
        """Signed distance (n,) of points (n, 3), negative inside, in lengths of the unit box.

        Args:
            truncation: larger distances, of either sign, are cut to this.
        """
        points = np.ascontiguousarray(points, np.float64)
        result = np.empty(len(points), np.float32)
        for first in range(0, len(points), PART):
            part = slice(first, first + PART)
            squared = self._tree.squared_distance(self.vertices, self.faces, points[part])[0]
            inside = self._igl.fast_winding_number(self.vertices, self.faces, points[part]) > 0.5
            result[part] = np.minimum(np.sqrt(squared), truncation) * np.where(inside, -1, 1)
        return result

    def contains(self, points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether points (n, 3) are inside (n,): their winding number is above a half."""
        points = np.ascontiguousarray(points, np.float64)
        parts = [points[first : first + PART] for first in range(0, len(points), PART)]
        found = [self._igl.fast_winding_number(self.vertices, self.faces, part) > 0.5 for part in parts]
        return np.concatenate([*found, np.zeros(0, bool)])

    def unsigned(self, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Distance (n,) of points (n, 3) from the nearest triangle, in lengths of the unit box."""
        points = np.ascontiguousarray(points, np.float64)
        parts = [points[first : first + PART] for first in range(0, len(points), PART)]
        found = [np.sqrt(self._tree.squared_distance(self.vertices, self.faces, part)[0]) for part in parts]
        return np.concatenate([*found, np.zeros(0)]).astype(np.float32)

    def surface(self, count: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
        """``count`` points on the surface (count, 3), evenly by area, and the unit normals of their triangles."""
        chosen = np.searchsorted(self._shares, rng.random(count), side="right").clip(0, len(self.faces) - 1)
        u, v = rng.random((2, count, 1))
        turn = u + v > 1
        u, v = np.where(turn, 1 - u, u), np.where(turn, 1 - v, v)
        a, b, c = self.corners[chosen].transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        return a + u * (b - a) + v * (c - a), normals / np.linalg.norm(normals, axis=1, keepdims=True)

    @cached_property
    def area(self) -> float:
        """Of all triangles, in squared lengths of the unit box."""
        return float(self._areas.sum())

    @property
    def _areas(self) -> Float64Array:
        a, b, c = self.corners.transpose(1, 0, 2)
        areas: Float64Array = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        return areas

    @cached_property
    def _shares(self) -> Float64Array:
        shares = np.cumsum(self._areas)
        return shares / shares[-1]

    @cached_property
    def _enlarged(self) -> tuple[float, Float64Array, Any]:
        """A scale, and the vertices and their tree by that scale, for rays: libigl takes a ray for parallel to a
        triangle whose area, as the ray sees it, is below 1e-6 in absolute units, so that it passes through a fine mesh.
        By a power of two, every number keeps its bits."""
        scale = 2.0 ** max(0.0, np.ceil(-np.log2(max(self.area / len(self.faces), 1e-30)) / 2))
        if scale == 1.0:
            return scale, self.vertices, self._tree
        vertices, tree = scale * self.vertices, self._igl.AABB()
        tree.init(vertices, self.faces)
        return scale, vertices, tree

    @cached_property
    def _face_normals(self) -> Float64Array:
        """(m, 3), of unit length."""
        a, b, c = self.corners.transpose(1, 0, 2)
        return _unit(np.cross(b - a, c - a))

    @cached_property
    def _vertex_normals(self) -> Float64Array:
        """(n, 3), those of the faces around weighted by area."""
        sums = np.empty_like(self.vertices)
        for axis in range(3):
            weights = np.repeat(self._face_normals[:, axis] * self._areas, 3)
            sums[:, axis] = np.bincount(self.faces.reshape(-1), weights, len(self.vertices))
        return _unit(sums)

    @cached_property
    def _sharp(self) -> npt.NDArray[np.bool_]:
        """(n,): vertices on a sharp edge, where triangles are flat."""
        least = np.ones(len(self.vertices))
        for corner in self.faces.T:
            np.minimum.at(least, corner, (self._vertex_normals[corner] * self._face_normals).sum(axis=1))
        result: npt.NDArray[np.bool_] = least < CREASE
        return result

    def rays(self, origins: npt.ArrayLike, directions: npt.ArrayLike) -> Hits:
        """Where rays (n, 3), (n, 3) in the unit box's coordinates first meet a triangle."""
        origins = np.ascontiguousarray(origins, np.float64)
        directions = np.ascontiguousarray(directions, np.float64)
        scale, vertices, tree = self._enlarged
        face, t, place = tree.intersect_ray_first(vertices, self.faces, scale * origins, directions)
        t = t / scale
        hit = face >= 0
        weights = np.concatenate([1 - place[hit].sum(axis=1, keepdims=True), place[hit]], axis=1)
        here = self.faces[face[hit]]
        flat = self._face_normals[face[hit], None]
        corners = np.where(self._sharp[here][..., None], flat, self._vertex_normals[here])
        normals = np.zeros((len(hit), 3), np.float32)
        normals[hit] = _unit((corners * weights[..., None]).sum(axis=1))
        return Hits(hit, np.where(hit, t, np.inf), normals)


@dataclass(frozen=True)
class Hits:
    """Of n rays: whether they meet the surface, at what t (infinite where not), and its unit normal there, smooth
    but for sharp edges."""

    hit: npt.NDArray[np.bool_]
    t: Float64Array
    normals: npt.NDArray[np.float32]


def _unit(v: Float64Array) -> Float64Array:
    """Vectors (..., 3) of length 1; those of no length stay."""
    result: Float64Array = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-30)
    return result


def libigl() -> Any:
    """The library that knows meshes. UserError if it is not installed."""
    try:
        import igl
    except ImportError as error:
        raise UserError(f"signed distances of meshes need libigl: {INSTALL}") from error
    return igl
