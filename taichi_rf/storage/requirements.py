"""What a model file asks of the machine that opens it, told from its header: memory, and steps along a ray.

Numbers that are all alike take hardly any bits, so files of a few kilobytes may ask for gigabytes. What is counted
here was measured (``tests/bench/modelmemory.py``), and is within a third of the peak for models that
are what they seem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from taichi_rf.coding.headers import wrong
from taichi_rf.core.memory import check_memory
from taichi_rf.fields.base import COMPACT, Field, Header
from taichi_rf.fields.vm.lookups import NARROW_BYTES
from taichi_rf.kernels.linear import blocks_of
from taichi_rf.rendering.decoders.registry import DECODERS
from taichi_rf.rendering.ray_parts import MOST_SAMPLES

MOST_STEPS = 8192
"""From corner to corner of the box. Grids of 1,024 nodes at the usual half a node take 3,543."""

ROWS = 1 << 16
"""Samples whose features are computed together, for which there is room from the beginning."""
PROGRAM = 100 << 20
"""Compiled kernels, and the arrays of a picture of which most is empty."""
SAMPLE = 90
"""Bytes of a sample, with the room by which arrays grow."""
WORTH_TELLING = 1 << 30
"""Bytes that are not taken without saying so."""

Told = Callable[[str], None]


def check_steps(header: Header) -> None:
    """UserError where a ray through a model of this checked header takes more than :data:`MOST_STEPS`."""
    nodes = _nodes(header["field"])
    low, high = (np.array(corner, np.float64) for corner in header["box"])
    spacing = float(((high - low) / (np.array(nodes) - 1)).mean())
    steps = float(np.linalg.norm(high - low)) / spacing
    if steps > MOST_STEPS * header["step_ratio"]:
        raise wrong("step_ratio", f"{steps / MOST_STEPS:.2g} or more, so that a ray takes {MOST_STEPS:,} steps at most")


def check_asked(kind: type[Field], header: Header, levels: int, told: Told | None = None) -> None:
    """Refuse a model that takes more memory than there is, and tell of one that takes much.

    Args:
        kind, header: as :func:`taichi_rf.storage.model_file.checked` returned them.
        levels: how many are read.
        told: given a sentence before memory is taken, where it is a gigabyte or more.

    Raises:
        UserError: there is not so much memory.
    """
    needed = memory(kind, header, levels)
    check_memory("this model", needed + SAMPLE * MOST_SAMPLES, "read fewer of its levels, or close other programs")
    if told is not None and needed >= WORTH_TELLING:
        told(f"this model takes about {needed / 2**30:.1f} GiB of memory")


def memory(kind: type[Field], header: Header, levels: int) -> int:
    """Bytes at the peak of reading ``levels`` levels of a file with this checked header, and of its first pictures; fog
    takes up to ``SAMPLE * MOST_SAMPLES`` more."""
    field = header["field"]
    decoder: Any = DECODERS[header["decoder"]]
    blocks = 2 * sum(
        blocks_of(width) for width in (getattr(decoder, "inputs", 0), *2 * [getattr(decoder, "hidden", 0)])
    )
    return PROGRAM + 64 * ROWS * blocks + (_grid(field, levels) if "resolution" in field else _octree(field, levels))


def _grid(field: Header, levels: int) -> int:
    """Factors as read, the arena and as much for its gradient, narrow copies, and what may be occupied."""
    nx, ny, nz = field["resolution"]
    unit = nx * ny + nx * nz + ny * nz + nx + ny + nz
    arena = 64 * unit * (blocks_of(levels) + blocks_of(3 * levels))
    stored = (24 if field.get("coding") == COMPACT else 8) * unit * levels
    cells = -(-(nx - 1) // 32) * 32 * (ny - 1) * (nz - 1)
    products = 3 * blocks_of(3 * levels)
    return 2 * arena + NARROW_BYTES * unit + stored + cells // 2 + 64 * ROWS * 2 * products


def _octree(field: Header, levels: int) -> int:
    """Cells and vertices on either side, codes, the grids of the finest cells there are."""
    vertices, codes = sum(field["vertices"][:levels]), field["codes"]
    numbers = {"none": 16, "lowrank": field.get("rank", 0)}.get(codes, 0)  # of a vertex; others have an index
    deepest = field["base_depth"] + levels - 1
    grids = sum(8**depth // 8 for depth in range(field["base_depth"], deepest + 1))
    return vertices * (224 + 6 * numbers) + 3 * grids + 40 * 8 ** field["base_depth"]


def _nodes(field: Header) -> tuple[int, int, int]:
    """Along x, y and z, of the grid by which steps go."""
    if "resolution" in field:
        nx, ny, nz = field["resolution"]
        return nx, ny, nz
    side = (1 << field["finest_depth"]) + 1
    return side, side, side


__all__ = ["MOST_STEPS", "Told", "check_asked", "check_steps", "memory"]
