"""Points on a mesh, evenly by area."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.meshing.mesher import Surface
from taichi_rf.meshing.tidying import area_vectors

MOST_POINTS = 100_000_000


def scattered(
    surface: Surface, count: int, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float32] | None]:
    """``count`` points on a surface (count, 3), their normals (count, 3), and their colours (count, 3) if it has any:
    those of the triangles' corners, interpolated."""
    rng, mesh = np.random.default_rng(seed), surface.mesh
    shares = np.cumsum(np.linalg.norm(area_vectors(mesh), axis=1))
    chosen = np.searchsorted(shares, rng.random(count) * shares[-1], side="right").clip(0, len(mesh.faces) - 1)
    u, v = rng.random((2, count))
    turn = u + v > 1
    u, v = np.where(turn, 1 - u, u), np.where(turn, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], axis=1)
    corners = mesh.faces[chosen]

    def between(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return np.einsum("nk,nkc->nc", weights, values[corners])

    normals = between(surface.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    colours = None if surface.colours is None else between(surface.colours).astype(np.float32)
    return between(mesh.vertices), normals, colours
