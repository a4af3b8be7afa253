"""Model files of a few kilobytes that ask for as much as they may: numbers that are all alike take hardly any bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.fields.registry import field_type
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.storage.model_file import level_schema
from taichi_rf.storage.trf import write_trf


def header_around(field: dict[str, Any], decoder: str, **changes: Any) -> dict[str, Any]:
    """The header of a model with such a field, in a box from -1 to 1."""
    return {
        "field": field,
        "decoder": decoder,
        "box": [[-1.0] * 3, [1.0] * 3],
        "near": 0.1,
        "far": 10.0,
        "background": [1.0, 1.0, 1.0],
        "step_ratio": 0.5,
        "distance_scale": 25.0,
        "weight_threshold": 1e-4,
        "metadata": {},
        **changes,
    }


def write_alike(path: Path, header: dict[str, Any], levels: int, **values: int) -> Path:
    """A file of the arrays that ``header`` promises, all of whose numbers are 0 or what ``values`` says of them."""
    kind = field_type(header["field"]["kind"])
    chunks = []
    for level in range(1, levels + 1):
        schema = level_schema(kind, header, level)
        arrays = {name: np.full(shape, values.get(name, 0), type_) for name, (type_, shape) in schema.items()}
        chunks.append(pack_arrays(arrays, schema))
    write_trf(path, header, chunks)
    return path


def fog(path: Path, nodes: int, *, ranks: int = 1, density_shift: float = -6.0, **changes: Any) -> Path:
    """A tensor of ``nodes`` a side, thin and everywhere."""
    field = {
        "kind": "vm",
        "num_levels": ranks,
        "resolution": [nodes] * 3,
        "activation": "softplus",
        "density_shift": density_shift,
    }
    return write_alike(path, header_around(field, "sh", **changes), ranks, occupancy=255)


def full_octree(path: Path, base: int, levels: int, *, codes: str = "hash", **changes: Any) -> Path:
    """An octree all of whose cells have all eight children."""
    trees = [Octree.from_cells(np.arange(8**base), base, base)]
    while len(trees) < levels:
        trees.append(trees[-1].subdivided())
    field = octree_header(base, [len(l.cells) for l in trees[-1].layers], [len(l.vertices) for l in trees[-1].layers])
    field |= {"codes": codes, **({"bits": 1} if codes in ("hash", "learned", "kmeans") else {})}
    return write_alike(path, header_around(field, "small", **changes), levels, tree=255)


def octree_header(base: int, cells: list[int], vertices: list[int]) -> dict[str, Any]:
    """Of so many cells and vertices at each level."""
    return {
        "kind": "octree",
        "num_levels": len(cells),
        "base_depth": base,
        "finest_depth": base + len(cells) - 1,
        "cells": cells,
        "vertices": vertices,
        "activation": "softplus",
        "density_shift": -6.0,
    }
