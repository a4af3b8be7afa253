"""The visual hull: what the silhouettes of images with alpha allow to be anything but empty (Laurentini 1994).

Training starts from it rather than from a full box, so that the grid, the samples and the rays are spent on the object.
No single view can empty what others see, or reach deep into it: its mask or its pose may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.geometry.silhouettes import OPAQUE, cleared, grid, judge, opaque_rays, tables

CELLS = 64
"""Cells along each axis of the box. Finer cells would save samples that the occupancy soon saves anyway."""

FEW = 9
"""With fewer views one alone always empties a cell: two seldom see all of it. For two balls in 8 views the hull would
be 83 % larger."""

APART = 10.0
"""Degrees between the directions of two views, seen from a cell, from which their word counts as that of two: pictures
of one place are wrong in one way."""

DEEP = 3
"""Cells between what two views empty and what one may empty alone: what good views see alone is a thin shell. Of lego,
duck, bike, ethiopian_head and lantern with 48 and 100 views none lies deeper."""

LEAST_COVERED = 0.9
"""Share of the opaque rays that meet the hull, below which it is not used."""

NAMED = 5
"""Images that a message names; of more it says how many."""


@dataclass(frozen=True)
class Hull:
    """Cells (z, y, x) of bool over ``box`` (2, 3), world units: False is surely empty.

    ``core`` are those of them that no view at all calls empty, or without which something that a view sees would be
    nowhere.
    """

    cells: np.ndarray
    core: np.ndarray
    box: np.ndarray

    def bounds(self) -> np.ndarray:
        """The smallest box (2, 3) around the core, one cell wider all round."""
        spacing = (self.box[1] - self.box[0]) / CELLS
        low, high = [], []
        for axis in (2, 1, 0):
            inside = np.flatnonzero(self.core.any(axis=tuple(a for a in range(3) if a != axis)))
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


@dataclass(frozen=True)
class Carving:
    """What silhouettes say: the hull, or None where they say nothing; the views that contradict the others, by index,
    which nothing should be learnt from; and what the person who trains should know."""

    hull: Hull | None = None
    left_out: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def carve(split: Any, box: np.ndarray) -> Carving:
    """Find the visual hull of a split's images.

    A cell is empty if two views from different directions see all of it, and only transparent pixels around its
    projection. One view alone empties cells, too, unless some of those lie deep inside what the others leave, or other
    views see something that would then be nowhere: its mask may be wrong, where two are not wrong in the same way.
    Views that contradict the others altogether (see :mod:`taichi_rf.geometry.silhouettes`) have no say.

    Args:
        split: pixels, cameras, and, for the messages, names.
        box: (2, 3) world units.
    """
    box = np.asarray(box, np.float32)
    if np.mean([split.pixels.alpha_range(i)[0] <= OPAQUE for i in range(len(split.cameras))]) <= 0.5:
        return Carving()  # pictures with their backgrounds
    judgement = judge(split, box)
    if not judgement.agreed:
        return Carving(
            warnings=(
                "the silhouettes of more than a third of the images contradict the others, so that none of them is "
                "used: check the masks and the poses, and that the object lies within the box",
            )
        )
    warnings = (_left_out_in_words(split, judgement.left_out),) if judgement.left_out else ()
    trusted = [i for i in range(len(split.cameras)) if i not in set(judgement.left_out)]
    owner, twice = _emptied(split, trusted, box)
    seeing = np.array([i for i in trusted if split.pixels.alpha_range(i)[1] > OPAQUE], np.int64)
    rays, _ = opaque_rays(split, seeing, box, CELLS)
    kept = owner < 0 if len(trusted) < FEW else _kept(owner, twice, rays)
    along = np.append(kept, False)[rays]
    covered = np.asarray(along.any(axis=1))
    if not kept.any() or (len(covered) and covered.mean() < LEAST_COVERED):
        nothing = "the silhouettes leave next to nothing of what the images show, so that they are not used: check them"
        return Carving(None, judgement.left_out, (*warnings, nothing))
    core = kept & (owner < 0)
    elsewhere = np.asarray(np.append(core, False)[rays].any(axis=1))  # rays that meet the core as it is
    needed = along & ~elsewhere[:, None]
    core[rays[needed]] = True
    shape = (CELLS, CELLS, CELLS)
    return Carving(Hull(kept.reshape(shape), core.reshape(shape), box), judgement.left_out, warnings)


def _kept(owner: np.ndarray, twice: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Cells that stay: those that nobody empties, and those that one view alone does whose word is doubted.

    Args:
        owner, twice: see :func:`_emptied`.
        rays: (R, S) cells along opaque rays, -1 beyond their ends.
    """
    alone = (owner >= 0) & ~twice
    shape = (CELLS, CELLS, CELLS)
    doubtful = alone & ~_grown(twice.reshape(shape), DEEP).reshape(-1)
    lost = ~np.append(owner < 0, False)[rays].any(axis=1)  # rays that would meet nothing, were every word believed
    passed = rays[lost]
    passed = passed[passed >= 0]
    doubtful[passed[alone[passed]]] = True
    doubted = np.unique(owner[doubtful])
    return np.asarray(~twice & ~(alone & ~np.isin(owner, doubted)))


def _grown(cells: np.ndarray, by: int) -> np.ndarray:
    """``cells`` (z, y, x) of bool, and all that are ``by`` cells from them or from the outside, along any axis."""
    for axis in range(3):
        padded = np.pad(cells, [(by, by) if a == axis else (0, 0) for a in range(3)], constant_values=True)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * by + 1, axis)
        cells = np.asarray(windows.any(axis=-1))
    return cells


def _emptied(split: Any, views: Sequence[int], box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of ``views`` that clears each cell (CELLS^3,), in the order z, y, x, -1 where none does; and whether
    another does from a direction ``APART`` from it."""
    centres, radius = grid(box, CELLS)
    first = np.zeros((len(centres), 3), np.float32)
    """Towards the first view that clears a cell; zero where none does."""
    owner, twice = np.full(len(centres), -1), np.zeros(len(centres), bool)
    for i, table in zip(views, tables(split, views), strict=True):
        left = np.flatnonzero(~twice)
        clear = left[cleared(split, i, centres[left], radius, table)]
        towards = split.cameras[i].position - centres[clear]
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        new = owner[clear] < 0
        twice[clear[~new & ((first[clear] * towards).sum(axis=1) < np.cos(np.radians(APART)))]] = True
        first[clear[new]] = towards[new]
        owner[clear[new]] = i
    return owner, twice


def _left_out_in_words(split: Any, views: tuple[int, ...]) -> str:
    names = getattr(split, "names", None) or [f"view {i}" for i in range(len(split.cameras))]
    named = ", ".join(f"'{names[i]}'" for i in views[:NAMED])
    more = f" and {len(views) - NAMED} more" if len(views) > NAMED else ""
    blank = all(split.pixels.alpha_range(i)[1] <= OPAQUE for i in views)
    if len(views) == 1:
        fault = "is transparent throughout" if blank else "contradicts the other images' silhouettes"
        return f"{named} {fault} and is left out of training: check its mask" + " and its pose" * (not blank)
    fault = "are transparent throughout" if blank else "contradict the other images' silhouettes"
    return f"{named}{more} {fault} and are left out of training: check their masks" + " and their poses" * (not blank)
