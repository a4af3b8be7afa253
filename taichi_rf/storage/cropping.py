"""A model cut to a box of the world, without its scene, without training and without a device.

What is stored inside the box stays to the bit. A tensor in a box of the world keeps the grid nodes of the box, which
makes its file smaller; an octree the cells whose middles lie in it. Where a grid lies in a contraction or in device
coordinates, which have an extent of their own, it stays whole, and what lies outside is marked as empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import GridField
from taichi_rf.kernels.occupancy import BAND
from taichi_rf.kernels.spaces import BOX, Space, read_space
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.storage.model_file import StoredModel

Box = npt.NDArray[np.float64]
Inside = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

OF_THE_WHOLE = ("level_psnr", "coding_loss")
"""Metadata that were measured on all of the model, and are left out."""

NEAR_A_NODE = 1e-3
"""Of a grid's spacing: so close to a node a face of the box counts as lying on it."""


@dataclass(frozen=True)
class Cropped:
    """A model that was cut: ``kept`` of ``occupied`` cells are left of what may hold something."""

    stored: StoredModel
    box: Box
    """(2, 3) what was kept, in world units: the box that was asked for, widened to grid nodes."""
    kept: int
    occupied: int


def crop(stored: StoredModel, box: npt.ArrayLike) -> Cropped:
    """Cut a model to ``box`` (2, 3), its lowest and its highest corner in world units.

    Raises:
        UserError: nothing of the model lies in the box, it is a solid, or what is stored is damaged.
    """
    if stored.header.get("render") == SurfaceModel.renders:
        raise UserError(
            "a solid cannot be cropped: its distances would be those to a surface that is not there any more; cut the "
            "mesh, and train on what is left"
        )
    wanted = np.asarray(box, np.float64).reshape(2, 3)
    space = read_space(stored.header.get("space"))
    own = np.array(stored.header["box"], np.float64)
    if stored.kind.knows_space:
        cropped = _pruned(stored, wanted, own, space)
    else:
        cropped = _cut(stored, wanted, own) if space is BOX else _emptied(stored, wanted, own, space)
    if not cropped.kept:
        raise UserError(f"nothing of the model lies in --box: what it holds lies within {_words(_extent(stored))}")
    header = cropped.stored.header
    left = {key: value for key, value in header["metadata"].items() if key not in OF_THE_WHOLE}
    return replace(cropped, stored=replace(cropped.stored, header={**header, "metadata": left}))


def _cut(stored: StoredModel, wanted: Box, own: Box) -> Cropped:
    """A grid in a box of the world, cut at nodes: outwards, so that nothing of what is wanted is lost."""
    kind, header = stored.kind, stored.header
    assert issubclass(kind, GridField)
    cells = occupancy(stored)
    last = np.array(header["field"]["resolution"]) - 1
    low, high = (wanted - own[0]) / (own[1] - own[0]) * last
    if (high <= 0).any() or (low >= last).any():
        return Cropped(stored, wanted, 0, int(cells.sum()))
    first = np.clip(np.floor(low + NEAR_A_NODE), 0, last - 1).astype(int)
    end = np.clip(np.ceil(high - NEAR_A_NODE), first + 1, last).astype(int)
    nodes = [tuple(int(n) for n in corner) for corner in (first, end)]
    field, levels = kind.cut(header["field"], stored.levels, nodes[0], nodes[1])  # type: ignore[arg-type]
    kept = cells[first[2] : end[2], first[1] : end[1], first[0] : end[0]]
    left = own[0] + np.stack([first, end]) / last * (own[1] - own[0])
    left[0], left[1] = np.where(first == 0, own[0], left[0]), np.where(end == last, own[1], left[1])
    made = {**header, "field": field, "box": left.tolist()}
    base = {**stored.base, "occupancy": packed(kept)}
    after = replace(stored, header=made, base=base, levels=levels)
    return Cropped(after, left, int(kept.sum()), int(cells.sum()))


def _emptied(stored: StoredModel, wanted: Box, own: Box, space: Space) -> Cropped:
    """A grid that stays, whose cells outside are marked as empty."""
    cells = occupancy(stored)
    kept = cells.copy()
    nz, ny, nx = cells.shape
    inside = _inside(wanted, own, space)
    step = max(1, BAND // (8 * nx * ny))  # middles take 24 bytes a cell, and more on the way
    for z in range(0, nz, step):
        middles = np.stack(np.meshgrid(np.arange(z, min(z + step, nz)), np.arange(ny), np.arange(nx), indexing="ij"), 3)
        places = (middles[..., ::-1].reshape(-1, 3) + 0.5) / (nx, ny, nz)
        kept[z : z + step] &= inside(places).reshape(-1, ny, nx)
    base = {**stored.base, "occupancy": packed(kept)}
    return Cropped(replace(stored, base=base), wanted, int(kept.sum()), int(cells.sum()))


def _pruned(stored: StoredModel, wanted: Box, own: Box, space: Space) -> Cropped:
    """A field that knows its space, without the cells outside."""
    inside, counts = _inside(wanted, own, space), [0, 0]

    def noted(places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        keep = inside(places)
        counts[:] = int(keep.sum()), len(keep)
        return keep

    try:
        field, levels = stored.kind.pruned(stored.header["field"], stored.levels, noted)
    except UserError:
        if counts[1] and not counts[0]:
            return Cropped(stored, wanted, 0, counts[1])
        raise
    after = replace(stored, header={**stored.header, "field": field}, levels=levels)
    return Cropped(after, wanted, counts[0], counts[1])


def _inside(wanted: Box, own: Box, space: Space) -> Inside:
    """Which places (n, 3) of the field's unit box lie in a box of the world."""

    def inside(places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        world = space.world_points(own[0] + places * (own[1] - own[0]))
        return np.asarray(((world >= wanted[0]) & (world <= wanted[1])).all(axis=-1))

    return inside


def occupancy(stored: StoredModel) -> npt.NDArray[np.bool_]:
    """Which cells of a stored grid may hold something, (z, y, x)."""
    nx, ny, nz = (n - 1 for n in stored.header["field"]["resolution"])
    bits = np.unpackbits(stored.base["occupancy"], count=nx * ny * nz, bitorder="little")
    return bits.reshape(nz, ny, nx).astype(bool)


def packed(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`occupancy`."""
    return np.packbits(cells.reshape(-1), bitorder="little")


def _extent(stored: StoredModel) -> Box:
    """(2, 3) world units, around all that may hold something."""
    own, space = np.array(stored.header["box"], np.float64), read_space(stored.header.get("space"))
    if stored.kind.knows_space:
        return space.world_box(own).astype(np.float64)
    cells = occupancy(stored)
    if space is not BOX or not cells.any():
        return space.world_box(own).astype(np.float64)
    ends = []
    for axis in range(3):
        found = np.flatnonzero(cells.any(axis=tuple(a for a in range(3) if a != 2 - axis)))
        ends.append((found[0] / cells.shape[2 - axis], (found[-1] + 1) / cells.shape[2 - axis]))
    return np.asarray(own[0] + np.array(ends).T * (own[1] - own[0]))


def _words(box: Box) -> str:
    low, high = ([f"{value:.3g}" for value in corner] for corner in box)
    return f"{' '.join(low)} and {' '.join(high)}"
