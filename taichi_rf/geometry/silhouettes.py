"""Find the images whose masks or poses contradict those of the others, and leave them out of the visual hull.

Every opaque pixel promises that something lies along its ray; every view promises that nothing lies in the cells around
which it sees only transparent pixels (it *clears* them). Views of one object agree: no view alone clears all that is
left of another view's opaque ray, and no opaque ray runs through nothing but what the others cleared. A blank image, an
inverted mask or a wrong pose breaks one of the two promises for many rays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CELLS = 32
"""Cells along each axis of the box on which views are compared: fine enough to tell a wrong pose, and quick."""

OPAQUE = 1 / 255
"""Alpha above which a pixel belongs to the silhouette."""

SOLID = 0.5
"""Alpha above which a pixel promises something: one at the edge of the silhouette may be mostly background."""

RAYS = 96
"""Opaque pixels of each view whose rays are followed, chosen at random."""

TOLERANCES = (0.3, 0.1, 0.0)
"""Shares of the views that may clear a cell that is kept all the same, in turn: gross mistakes have to go before finer
ones can be told from what they do to the good views. Two views are always needed to clear a cell."""

CONTRADICTS = 0.03
"""Share of rays from which a view contradicts the others. Every view of lego, ethiopian_head, duck and bike has 0.000;
one with the pose of another 0.06 (lego) to 0.07 (bike), one without the left half of its mask 0.19 (lego), one that is
inverted 0.27 (lego), a blank one 1. Good views beside such a one had 0.008 at most."""

FEWEST = 5
"""Views that see something, of which one can be said to be wrong. Of three lego views, one with a wrong pose, a good
one fared worst: 0.073 against 0.057."""

MOST_LEFT_OUT = 1 / 3
"""Of the views that see something: where more contradict, it cannot be said which of them are right."""

BAND = 4096
"""Rays whose cells are looked at together."""

AHEAD = 3
"""Views whose tables are made before they are asked for."""

Bits = npt.NDArray[np.uint8]
Table = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Judgement:
    """``left_out``: indices of the views that contradict the others, ascending. ``agreed``: whether the others agree
    among themselves; if not, nothing follows from any silhouette."""

    left_out: tuple[int, ...]
    agreed: bool


def judge(split: Any, box: npt.NDArray[np.floating]) -> Judgement:
    """Compare the silhouettes of a split's views.

    Args:
        split: pixels and cameras.
        box: (2, 3) world units.
    """
    solid = np.array([split.pixels.alpha_range(i)[1] > SOLID for i in range(len(split.cameras))])
    seeing, blank = np.flatnonzero(solid), [int(i) for i in np.flatnonzero(~solid)]
    if len(seeing) < 2:
        return Judgement((), True)
    clears = _cleared(split, box)
    cells, owners = opaque_rays(split, seeing, box, CELLS)
    judges = [int(i) for i in seeing]
    for tolerance in TOLERANCES if len(seeing) >= FEWEST else ():
        while True:
            scores = _contradictions(
                clears, judges, judges, cells, owners, max(2, int(np.ceil(tolerance * len(judges))))
            )
            worst = max(scores.values())
            if worst <= CONTRADICTS:
                break
            judges = [i for i in judges if scores[i] < max(CONTRADICTS, worst / 2)]  # then see how the others fare
            if len(seeing) - len(judges) > MOST_LEFT_OUT * len(seeing):
                return Judgement((), False)
    scores = _contradictions(clears, judges, blank, cells, owners, 2)
    out = {*(int(i) for i in seeing), *(i for i in blank if scores[i] > CONTRADICTS)} - set(judges)
    return Judgement(tuple(sorted(out)), True)


def _contradictions(
    clears: Bits, judges: list[int], judged: list[int], cells: npt.NDArray[np.int64], owners: npt.NDArray[np.int64],
    limit: int,
) -> dict[int, float]:  # fmt: skip
    """How much each view of ``judged`` contradicts the views of ``judges``: the larger of the share of its own opaque
    rays that run through nothing but empty cells, and of the share of theirs that would do so by its word alone.

    Args:
        clears: (cells, bytes of views) bits.
        cells: (R, S) the cells along each opaque ray, -1 beyond its end.
        owners: (R,) the view of each ray.
        limit: cells that so many of ``judges`` clear are empty.
    """
    votes = sum((_said_by(clears, i).astype(np.int64) for i in judges), np.zeros(len(clears), np.int64))
    mine = np.isin(owners, judges)
    rays, owner = cells[mine], owners[mine]
    along = np.append(votes < limit, False)[rays]  # the last one is cell -1
    covered = np.asarray(along.any(axis=1))
    whole = _clearing(clears, rays[covered], along[covered])
    scores = {}
    for i in judged:
        own, others = owner == i, owner[covered] != i
        missed = 1 - covered[own].mean() if own.any() else 0.0
        lost = _said_by(whole, i)[others]
        scores[i] = float(max(missed, lost.mean() if len(lost) else 0.0))
    return scores


def _clearing(clears: Bits, rays: npt.NDArray[np.int64], along: npt.NDArray[np.bool_]) -> Bits:
    """(R, bytes of views) bits: the views that clear every cell of a ray (R, S) that ``along`` (R, S) leaves, which are
    one at least."""
    whole = np.zeros((len(rays), clears.shape[1]), np.uint8)
    for first in range(0, len(rays), BAND):  # all cells of all rays times all views would be gigabytes of a thousand
        part = slice(first, first + BAND)
        counts = along[part].sum(axis=1)
        whole[part] = np.bitwise_and.reduceat(clears[rays[part][along[part]]], np.cumsum(counts) - counts, axis=0)
    return whole


def _said_by(bits: Bits, view: int) -> npt.NDArray[np.bool_]:
    """The bit of a view in each row of (n, bytes of views) bits."""
    return (bits[:, view >> 3] >> np.uint8(7 - (view & 7)) & 1).astype(bool)


def _cleared(split: Any, box: npt.NDArray[np.floating]) -> Bits:
    """(cells, bytes of N views) bits: the cells (z, y, x) that each view sees all of, with nothing but transparent
    pixels there."""
    centres, radius = grid(box, CELLS)
    every = range(len(split.cameras))
    found = np.stack([cleared(split, i, centres, radius, table) for i, table in zip(every, tables(split, every))])
    return np.ascontiguousarray(np.packbits(found, axis=0).T)


def tables(split: Any, views: Sequence[int]) -> Iterator[Table]:
    """Of each of ``views`` the summed area table of its silhouette (Crow 1984), (H + 1, W + 1): how many pixels above
    and left of a corner are opaque. Other threads are a few views ahead."""
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = deque(pool.submit(_table, split, i) for i in views[:AHEAD])
        for i in range(len(views)):
            if i + AHEAD < len(views):
                waiting.append(pool.submit(_table, split, views[i + AHEAD]))
            yield waiting.popleft().result()


def _table(split: Any, view: int) -> Table:
    alpha = split.pixels.alpha(view)
    table = np.zeros((alpha.shape[0] + 1, alpha.shape[1] + 1), np.int32)
    # half precision that is not negative is in the order of its bits, which are quicker to compare
    opaque = np.ascontiguousarray(alpha).view(np.uint16) > np.float16(OPAQUE).view(np.uint16)
    np.cumsum(opaque, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
    return table


def grid(box: npt.NDArray[np.floating], count: int) -> tuple[npt.NDArray[np.float64], float]:
    """Centres (count^3, 3) of the cells of ``box``, in the order z, y, x, and the radius of the ball around each."""
    axes = [box[0][a] + (box[1][a] - box[0][a]) * (np.arange(count) + 0.5) / count for a in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return np.stack([x, y, z], axis=-1).reshape(-1, 3), float(np.linalg.norm((box[1] - box[0]) / count) / 2)


def cleared(
    split: Any, index: int, centres: npt.NDArray[np.float64], radius: float, table: Table
) -> npt.NDArray[np.bool_]:
    """Which balls around ``centres`` (N, 3) view ``index`` sees all of, with nothing but transparent pixels there.

    Args:
        radius: of the balls, world units.
        table: the view's, see :func:`tables`.
    """
    camera = split.cameras[index]
    pixels, depth = camera.project(centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.where(depth > 2 * radius, max(camera.fx, camera.fy) * 1.5 * radius / (depth - radius), np.inf)
        low, high = np.floor(pixels - reach[:, None]), np.ceil(pixels + reach[:, None])
        seen = (low >= 0).all(1) & (high[:, 0] <= camera.width) & (high[:, 1] <= camera.height)
    a, b = low[seen].astype(int), high[seen].astype(int)
    count = table[b[:, 1], b[:, 0]] - table[a[:, 1], b[:, 0]] - table[b[:, 1], a[:, 0]] + table[a[:, 1], a[:, 0]]
    result = np.zeros(len(centres), bool)
    result[np.flatnonzero(seen)[count == 0]] = True
    return result


def opaque_rays(
    split: Any, views: npt.NDArray[np.int64], box: npt.NDArray[np.floating], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Some opaque rays of each of ``views`` that meet the box.

    Args:
        count: cells along each axis of the box.

    Returns:
        (R, S) the cells along each ray, half a cell's side apart, -1 beyond its end; and (R,) its view.
    """
    dice = np.random.default_rng(0)
    low, side = np.asarray(box[0], np.float64), np.asarray(box[1], np.float64) - box[0]
    step = side.min() / count / 2
    steps = int(np.ceil(np.linalg.norm(side) / step))
    cells, owners = [np.zeros((0, steps), np.int64)], [np.zeros(0, np.int64)]
    for i in views:
        opaque = np.flatnonzero(split.pixels.alpha(i).reshape(-1) > SOLID)
        chosen = dice.choice(opaque, min(RAYS, len(opaque)), replace=False)
        rows, columns = np.divmod(chosen, split.cameras.widths[i])
        origins, directions = split.cameras.pixel_rays(np.full(len(chosen), i), columns, rows)
        origins, directions = origins.astype(np.float64), directions.astype(np.float64)
        safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        slabs = (low - origins) / safe, (low + side - origins) / safe
        enter = np.maximum(np.minimum(*slabs).max(axis=1), 0.0)
        leave = np.maximum(*slabs).min(axis=1)
        meets = leave > enter
        t = enter[meets, None] + step * (np.arange(steps) + 0.5)
        points = origins[meets, None] + t[..., None] * directions[meets, None]
        place = np.clip(((points - low) / side * count).astype(np.int64), 0, count - 1)
        inside = t < leave[meets, None]
        cells.append(np.where(inside, (place[..., 2] * count + place[..., 1]) * count + place[..., 0], -1))
        owners.append(np.full(int(meets.sum()), i))
    return np.concatenate(cells), np.concatenate(owners)
