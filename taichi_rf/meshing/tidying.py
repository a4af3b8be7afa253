"""What is done to a mesh after marching cubes: small pieces dropped, triangles merged, holes counted, normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.meshing.grid import IntArray
from taichi_rf.meshing.libraries import library
from taichi_rf.meshing.surface import Mesh

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """What became of the pieces of a mesh that hang together."""

    kept: int
    dropped: int
    dropped_faces: int


def without_small(mesh: Mesh, percent: float) -> tuple[Mesh, Pieces]:
    """The pieces whose area is at least ``percent`` of the largest one's; with 100, that one alone."""
    piece = pieces_of(mesh)
    areas = np.bincount(piece, np.linalg.norm(area_vectors(mesh), axis=1))
    order = np.argsort(-areas, kind="stable")
    keep = np.zeros(len(areas), bool)
    keep[order[:1]] = True
    if percent < 100:
        keep |= areas >= percent / 100 * areas[order[0]]
    kept = keep[piece]
    return compact(Mesh(mesh.vertices, mesh.faces[kept])), Pieces(
        int(keep.sum()), int((~keep).sum()), int((~kept).sum())
    )


def pieces_of(mesh: Mesh) -> IntArray:
    """(m,) which piece each triangle belongs to: those that share a vertex are of one."""
    n, graph = len(mesh.vertices), library("scipy.sparse.csgraph")
    ends = mesh.faces[:, [0, 1]].reshape(-1), mesh.faces[:, [1, 2]].reshape(-1)
    matrix = library("scipy.sparse").coo_matrix((np.ones(len(ends[0]), bool), ends), (n, n))
    pieces = graph.connected_components(matrix, directed=False)[1]
    _, numbers = np.unique(pieces[mesh.faces[:, 0]], return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def compact(mesh: Mesh) -> Mesh:
    """Without vertices that no triangle has."""
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.faces] = True
    return Mesh(mesh.vertices[used], (np.cumsum(used) - 1)[mesh.faces])


def merged(mesh: Mesh, faces: int) -> Mesh:
    """The same surface with about so many ``faces``, where it has more (quadric edge collapses, Garland and Heckbert
    1997, by fast-simplification)."""
    if len(mesh.faces) <= faces:
        return mesh
    low = mesh.vertices.min(axis=0)
    size = max(float((mesh.vertices.max(axis=0) - low).max()), 1e-30)
    points = ((mesh.vertices - low) / size).astype(np.float32)  # it measures errors by the size of coordinates
    found, triangles = library("fast_simplification").simplify(points, mesh.faces.astype(np.int32), target_count=faces)
    vertices = np.asarray(found, np.float64) * size + low
    return compact(_sound(Mesh(vertices, np.asarray(triangles, np.int64))))


def _sound(mesh: Mesh) -> Mesh:
    """Without triangles that have a corner twice."""
    a, b, c = mesh.faces.T
    return Mesh(mesh.vertices, mesh.faces[(a != b) & (b != c) & (c != a)])


def holes(mesh: Mesh) -> int:
    """How many rings of edges have a triangle on one side only; 0 of a closed mesh."""
    ends = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    keys, counts = np.unique(ends[:, 0] * len(mesh.vertices) + ends[:, 1], return_counts=True)
    open_keys = keys[counts == 1]
    if not len(open_keys):
        return 0
    a, b = open_keys // len(mesh.vertices), open_keys % len(mesh.vertices)
    corners, index = np.unique(np.concatenate([a, b]), return_inverse=True)
    index = index.reshape(2, -1)
    matrix = library("scipy.sparse").coo_matrix((np.ones(len(a), bool), (index[0], index[1])), (len(corners),) * 2)
    return int(library("scipy.sparse.csgraph").connected_components(matrix, directed=False)[0])


def area_vectors(mesh: Mesh) -> Float64Array:
    """(m, 3) of each triangle: its normal, of the length of its area."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    vectors: Float64Array = np.cross(b - a, c - a) / 2
    return vectors


def volume(mesh: Mesh) -> float:
    """Of what a closed mesh encloses (the divergence theorem)."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def vertex_normals(mesh: Mesh) -> Float64Array:
    """(n, 3) unit normals at the vertices: the mean of their triangles, by area."""
    vectors, sums = area_vectors(mesh), np.zeros_like(mesh.vertices)
    for axis in range(3):
        sums[:, axis] = np.bincount(mesh.faces.reshape(-1), np.repeat(vectors[:, axis], 3), len(mesh.vertices))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 1e-30, sums / np.maximum(lengths, 1e-30), [0.0, 0.0, 1.0])
