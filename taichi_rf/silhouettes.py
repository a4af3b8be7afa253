"""The visual hull: what the silhouettes of images with alpha allow to be anything but empty (Laurentini 1994).

Training starts from it rather than from a full box, so that the grid, the samples and the rays are spent on the object.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

CELLS = 64
"""Cells along each axis of the box. Finer cells would save samples that the occupancy soon saves anyway."""

OPAQUE = 1 / 255
"""Alpha above which a pixel belongs to the silhouette."""


@dataclass(frozen=True)
class Hull:
    """Cells (z, y, x) of bool over ``box`` (2, 3), world units: False is surely empty."""

    cells: np.ndarray
    box: np.ndarray

    def bounds(self) -> np.ndarray:
        """The smallest box (2, 3) around all cells that may hold something, one cell wider all round."""
        spacing = (self.box[1] - self.box[0]) / CELLS
        low, high = [], []
        for axis in (2, 1, 0):
            inside = np.flatnonzero(self.cells.any(axis=tuple(a for a in range(3) if a != axis)))
            low.append(inside[0] - 1)
            high.append(inside[-1] + 2)
        corners = np.stack([self.box[0] + np.array(low) * spacing, self.box[0] + np.array(high) * spacing])
        return np.clip(corners, self.box[0], self.box[1]).astype(np.float32)

    def on_grid(self, cells: tuple[int, int, int], box: np.ndarray) -> np.ndarray:
        """The hull on a grid of ``cells`` along x, y, z over ``box``: bool (z, y, x), True where a cell touches it."""
        result = self.cells
        for axis, count in enumerate(cells):
            edges = box[0][axis] + (box[1][axis] - box[0][axis]) * np.arange(count + 1) / count
            place = (edges - self.box[0][axis]) / (self.box[1][axis] - self.box[0][axis]) * CELLS
            first = np.clip(np.floor(place[:-1]), 0, CELLS - 1).astype(int)
            last = np.clip(np.ceil(place[1:]) - 1, 0, CELLS - 1).astype(int)
            along = 2 - axis
            merged = np.take(result, first, along)
            for step in range(1, int((last - first).max()) + 1):
                merged |= np.take(result, np.minimum(first + step, last), along)
            result = merged
        return result


def visual_hull(split: Any, box: np.ndarray) -> Hull | None:
    """The hull of a split's images, or None where there are no silhouettes or they leave nothing.

    A cell is empty if some view that sees all of it sees only transparent pixels around its projection.

    Args:
        split: images (N, H, W, 4) and cameras.
        box: (2, 3) world units.
    """
    if not (split.images[..., 3].min(axis=(1, 2)) <= OPAQUE).all():
        return None
    axes = [box[0][a] + (box[1][a] - box[0][a]) * (np.arange(CELLS) + 0.5) / CELLS for a in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    centres = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    radius = float(np.linalg.norm((box[1] - box[0]) / CELLS) / 2)
    keep = np.ones(len(centres), bool)
    for i, camera in enumerate(split.cameras):
        left = np.flatnonzero(keep)
        pixels, depth = camera.project(centres[left])
        with np.errstate(invalid="ignore", divide="ignore"):
            reach = np.where(depth > 2 * radius, max(camera.fx, camera.fy) * 1.5 * radius / (depth - radius), np.inf)
            low, high = np.floor(pixels - reach[:, None]), np.ceil(pixels + reach[:, None])
            seen = (low >= 0).all(1) & (high[:, 0] <= camera.width) & (high[:, 1] <= camera.height)
        a, b = low[seen].astype(int), high[seen].astype(int)
        table = np.zeros((camera.height + 1, camera.width + 1), np.int64)
        table[1:, 1:] = (split.images[i, ..., 3] > OPAQUE).cumsum(0).cumsum(1)
        count = table[b[:, 1], b[:, 0]] - table[a[:, 1], b[:, 0]] - table[b[:, 1], a[:, 0]] + table[a[:, 1], a[:, 0]]
        keep[left[seen][count == 0]] = False
    return Hull(keep.reshape(CELLS, CELLS, CELLS), np.asarray(box, np.float32)) if keep.any() else None
