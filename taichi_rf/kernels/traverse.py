"""Rays among the cells of an occupancy grid, in the unit box: over the empty ones, and to the end of the others.

Every loop ends after a number of looks that the grid alone decides, whatever the ray.
"""

from taichi_rf.core.backend import ti
from taichi_rf.kernels.occupancy import COARSE, bit_at

NUDGE = 1e-3
"""Cells by which a ray is put beyond the face that it leaves through, or before it."""
SMALLEST_STEP = 2.5e-7
"""Of t, by which t grows at least: two units in the last place of single precision."""


@ti.func
def cell_at(u, cells):
    """The cell of a place in the unit box."""
    c = ti.cast(ti.floor(u * ti.cast(cells, ti.f32)), ti.i32)
    return ti.math.clamp(c, 0, cells - 1)


@ti.func
def marked(c, cells, words, bits: ti.template()):
    """Whether a cell is occupied."""
    return bit_at(c, cells[1], words, bits) != 0


@ti.func
def leaves(o, d, c, width, cells, beyond):
    """The t at which the ray leaves the block of ``width`` cells a side that holds cell c; at most ``beyond``."""
    t = beyond
    for a in ti.static(range(3)):
        if ti.abs(d[a] * cells[a]) > 1e-6:
            face = ti.cast((c[a] // width + ti.select(d[a] > 0, 1, 0)) * width, ti.f32)
            t = ti.min(t, (face / cells[a] - o[a]) / d[a])
    return t


@ti.func
def onward(leave, t, nudge):
    """Beyond the face at ``leave``, and farther than ``t`` in any case."""
    t = ti.max(leave, t)
    return t + ti.max(nudge, SMALLEST_STEP * ti.abs(t))


@ti.func
def most_looks(cells):
    """Cells that a ray is looked for in at most: it crosses fewer faces, and rounding can hold it back at each."""
    return 4 * (cells[0] + cells[1] + cells[2])


@ti.func
def seek(o, d, start, end, nudge, cells, coarse_cells, words, bits: ti.template(), coarse: ti.template()):
    """The first t from ``start`` on at which the ray is in an occupied cell; ``end`` or more if there is none."""
    t, looks, found = start, 0, False
    while t < end and not found and looks < most_looks(cells):
        looks += 1
        c = cell_at(o + d * t, cells)
        width = 1
        k = c // COARSE
        if coarse[(k[2] * coarse_cells[1] + k[1]) * coarse_cells[0] + k[0]] == 0:
            width = COARSE
        elif marked(c, cells, words, bits):
            found = True
        if not found:
            t = onward(leaves(o, d, c, width, cells, end), t, nudge)
    return ti.select(found, t, ti.max(t, end))


@ti.func
def stay(o, d, start, target, nudge, cells, words, bits: ti.template()):
    """The t at which the ray leaves the occupied cells that it is in at ``start``; at most ``target``."""
    t, looks, out = start, 0, False
    while t < target and not out and looks < most_looks(cells):
        looks += 1
        c = cell_at(o + d * t, cells)
        if marked(c, cells, words, bits):
            t = onward(leaves(o, d, c, 1, cells, target), t, nudge)
        else:
            t -= nudge  # back on the face
            out = True
    return ti.min(t, target)


@ti.func
def crossed(d, cells):
    """Cells that the ray crosses per unit of t, along the axis where these are most."""
    return ti.max(ti.abs(d * ti.cast(cells, ti.f32)).max(), 1e-6)
