"""What is odd about the triangles of a file, put right where there is one way to do so, and told in sentences.

Files hold vertices for every corner, triangles without area, the same triangle twice or once for either side, walls
between parts that touch, and triangles that look the other way than their neighbours. What is inside is decided by the
winding number, which all of these upset.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

THIN = 1e-14
"""Twice a triangle's area over the square of its longest side, up to which libigl mistakes its distances."""
MAX_TURNED = 64
"""Closed parts that look inwards for each of which it is found out whether they are the wall of a hollow."""


def tidied(
    path: Path, vertices: Float64Array, faces: Int64Array
) -> tuple[Float64Array, Int64Array, int, tuple[str, ...]]:
    """The mesh put right, how many of its edges are open, and sentences about what was done.

    Vertices at one place are joined, those of no face left out. Triangles without area are dropped. Of triangles at one
    place one stays; where they look both ways they are a wall inside, and none does, unless the whole part is made so.
    Neighbours are turned to look the way that most of their part looks, by area, and closed parts to look outwards,
    unless they are the wall of a hollow. An edge is open unless two triangles of like orientation meet there.

    Args:
        path: named in complaints.
        vertices: (n, 3) in any units.
        faces: (m, 3).

    Raises:
        UserError: nothing is left.
    """
    total, notes = len(faces), []
    vertices, faces = _joined(vertices, faces)
    if len(faces) < total:
        notes.append(f"{total - len(faces):,} of its triangles have no area and were left out")
    count = len(faces)
    faces = _single(faces, len(vertices)) if count else faces
    if len(faces) < count:
        notes.append(f"{count - len(faces):,} of its triangles lie on others and were left out")
    if not len(faces):
        raise UserError(f"{path}: none of its {total:,} triangles has an area" if not count else f"{path} encloses "
                        "nothing: every triangle has another that looks the other way in its place")  # fmt: skip
    areas = _areas(vertices, faces)
    turn, crooked = _against_neighbours(faces, areas, len(vertices))
    faces = _turned(faces, turn)
    if turn.any():
        notes.append(f"{int(turn.sum()):,} of its triangles look the other way than their neighbours and were turned")
    if crooked:
        notes.append(f"{crooked:,} of its parts have one side only, like a Moebius strip: their inside may be wrong")
    parts = _parts(faces, len(vertices))
    turn, left = _inwards(vertices, faces, parts)
    if turn.any():
        notes.append(f"{len(np.unique(parts[turn])):,} of its closed parts look inwards and were turned")
    if left:
        notes.append(f"{left:,} more of its parts look inwards and are taken for hollows")
    faces = _turned(faces, turn)
    open_edges = count_open_edges(faces, len(vertices))
    flat = areas == 0
    if flat.all():
        raise UserError(f"{path}: none of its {total:,} triangles has an area")
    return vertices, np.ascontiguousarray(faces[~flat]), open_edges, tuple(notes)


def count_open_edges(faces: Int64Array, vertices: int) -> int:
    """Edges that are not between two triangles of like orientation, of ``faces`` (m, 3); 0 for a closed mesh."""
    _, ways, edge, counts = _edges(faces, vertices)
    sums = np.bincount(edge, ways, len(counts))
    return int(((counts != 2) | (sums != 0)).sum())


def _joined(vertices: Float64Array, faces: Int64Array) -> tuple[Float64Array, Int64Array]:
    """Vertices at the same place joined, those of no face left out, triangles with a corner twice dropped."""
    named = np.unique(faces)
    used, index = np.unique(vertices[named], axis=0, return_inverse=True)
    places = np.zeros(len(vertices), np.int64)
    places[named] = index.reshape(-1)
    joined = places[faces]
    a, b, c = joined.T
    return used, joined[(a != b) & (b != c) & (c != a)]


def _single(faces: Int64Array, vertices: int) -> Int64Array:
    """Of triangles with the same corners one, if more look its way than the other; or in a part of nothing but pairs
    that look both ways, the first of each."""
    lowest = faces.argmin(axis=1)
    a, b, c = (faces[np.arange(len(faces)), (lowest + k) % 3] for k in range(3))
    way = np.where(b < c, 1, -1)
    keys = np.stack([a, np.minimum(b, c), np.maximum(b, c)], axis=1)
    _, first, index, counts = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == len(faces):
        return faces
    index = index.reshape(-1)
    sums = np.bincount(index, way, len(first))
    wall = sums == 0
    part = _parts(faces, vertices)[first]
    doubled = np.bincount(part, ~wall) == 0  # parts of pairs alone
    keep = first[~wall | doubled[part]]
    sign = np.where(wall, way[first], np.sign(sums))[~wall | doubled[part]]
    order = np.argsort(keep)
    return _turned(faces[keep], sign != way[keep])[order]


def _turned(faces: Int64Array, turn: BoolArray) -> Int64Array:
    return np.where(turn[:, None], faces[:, ::-1], faces)


def _areas(vertices: Float64Array, faces: Int64Array) -> Float64Array:
    """Twice the area (m,) of each triangle, 0 where it is a line."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    areas: Float64Array = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    longest = np.max([((p - q) ** 2).sum(axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
    return np.where(areas > THIN * longest, areas, 0.0)


def _edges(faces: Int64Array, vertices: int) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """For the three sides of every triangle: the triangle, the way along its edge (1 or -1), and which edge it is (3 m
    each); and of how many triangles each edge is."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, edge, counts = np.unique(ends.min(axis=1) * vertices + ends.max(axis=1), return_inverse=True, return_counts=True)
    ways = np.where(ends[:, 0] < ends[:, 1], 1, -1)
    return np.tile(np.arange(len(faces)), 3), ways, edge.reshape(-1), counts


def _neighbours(faces: Int64Array, vertices: int) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Pairs of triangles (k,), (k,) that meet at an edge where no other does, and whether they look the same way."""
    face, ways, edge, counts = _edges(faces, vertices)
    order = np.argsort(edge, kind="stable")
    firsts = (np.cumsum(counts) - counts)[counts == 2]
    one, other = order[firsts], order[firsts + 1]
    return face[one], face[other], ways[one] != ways[other]


def _components(count: int, one: Int64Array, other: Int64Array) -> Int64Array:
    """Which of the pieces that pairs connect each of ``count`` things belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pieces: Int64Array = connected_components(coo_matrix((np.ones(len(one)), (one, other)), (count, count)), False)[1]
    return pieces


def _parts(faces: Int64Array, vertices: int) -> Int64Array:
    """(m,): triangles that share a vertex, over others too, are of one part."""
    pieces = _components(vertices, faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1))
    return pieces[faces[:, 0]]


def _against_neighbours(faces: Int64Array, areas: Float64Array, vertices: int) -> tuple[BoolArray, int]:
    """Which triangles (m,) look the other way than most of the area that they are connected with; and how many such
    pieces cannot be made to look one way."""
    one, other, alike = _neighbours(faces, vertices)
    m = len(faces)
    if alike.all():
        return np.zeros(m, bool), 0
    # every triangle twice, as it is and turned (+ m), each connected with what looks its way
    same, turned = np.where(alike, other, other + m), np.where(alike, other + m, other)
    pieces = _components(2 * m, np.concatenate([one, one + m]), np.concatenate([same, turned]))
    crooked = pieces[:m] == pieces[m:]
    share = np.bincount(pieces[:m], areas, 2 * m)
    turn = (share[pieces[:m]] < share[pieces[m:]]) & ~crooked
    # a tie: turn those of one half alone
    turn |= (share[pieces[:m]] == share[pieces[m:]]) & (pieces[:m] > pieces[m:]) & ~crooked
    return turn, len(np.unique(pieces[:m][crooked]))


def _inwards(vertices: Float64Array, faces: Int64Array, parts: Int64Array) -> tuple[BoolArray, int]:
    """Which triangles (m,) belong to closed parts that look inwards and lie in no other part; and how many parts were
    not asked about because they are too many."""
    from taichi_rf.sdf.mesh import libigl

    turn = np.zeros(len(faces), bool)
    face, ways, edge, counts = _edges(faces, len(vertices))
    open_edge = (counts != 2) | (np.bincount(edge, ways, len(counts)) != 0)
    closed = np.bincount(parts[face], open_edge[edge]) == 0
    middle = vertices.mean(axis=0)
    a, b, c = (vertices[faces[:, k]] - middle for k in range(3))
    volumes = np.bincount(parts, (a * np.cross(b, c)).sum(axis=1))
    inwards = np.flatnonzero(closed & (volumes < 0))
    inwards = inwards[np.argsort(volumes[inwards], kind="stable")]
    if len(volumes) == 1:
        return turn, 0  # turned as a whole, whatever it is
    for part in inwards[:MAX_TURNED]:
        mine = parts == part
        place = vertices[faces[mine][:1, 0]]
        around = libigl().winding_number(vertices, np.ascontiguousarray(faces[~mine]), place)
        if abs(float(np.asarray(around).reshape(-1)[0])) < 0.5:
            turn |= mine
    return turn, len(inwards[MAX_TURNED:])
