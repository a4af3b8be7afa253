"""What the levels of an octree cost on disk, and how much smaller that is than features as they are.

The published figure is a formula, 16 m k / (m b + k 2^b) for m vertices of k features and b bits an index (VQAD,
Takikawa et al. 2022): half-precision features over indices and a codebook whose numbers it counts as a bit each. What a
file needs is measured beside it.
"""

from taichi_rf.core.device import BLOCK
from taichi_rf.fields.base import Accounts, Header

HALF = 2  # bytes of a number
VM_FIELD = ("factors", "basis", "table", "steps", "scales", "lines", "planes")
"""Arrays that hold tensor factors and their basis, in whatever form."""
CODES = ("indices", "codebook", "features", "factors", "matrix")
"""Arrays that hold features, in whatever form."""
SMALLER = "smaller: features in half precision over what stands for them here, measured"
FORMULA = "formula: 16 m k / (m b + k 2^b), m vertices of k = 16 features, indices of b bits"


def formula(vertices: int, bits: int, levels: int = 1) -> float:
    """16 m k / (m b + k 2^b), with a codebook for each of ``levels``."""
    return 16 * vertices * BLOCK / (vertices * bits + levels * BLOCK * 2**bits)


def octree_accounts(header: Header, stored: list[dict[str, int]], chunks: list[int]) -> Accounts:
    """Columns of cells, vertices and bytes, one a level and one for all: see :meth:`Field.accounts`."""
    codes = [name for name in CODES if any(name in level for level in stored)]
    indexed = header["codes"] in ("learned", "kmeans")
    rows: list[list[str]] = [["LOD"], ["cells"], ["vertices"], *([name] for name in codes), ["tree"], ["decoder"]]
    rows += [["chunk"], ["half precision"], ["smaller"], *([["formula"]] if indexed else [])]
    every = list(range(len(stored)))
    for name, chosen in [*((str(level + 1), [level]) for level in every), ("all", every)]:
        cells, vertices = (sum(header[key][level] for level in chosen) for key in ("cells", "vertices"))
        sizes = [sum(stored[level].get(part, 0) for level in chosen) for part in (*codes, "tree")]
        others = sum(sum(stored[level].values()) for level in chosen) - sum(sizes)
        plain, coded = HALF * BLOCK * vertices, sum(sizes[:-1])
        numbers = [cells, vertices, *sizes, others, sum(chunks[level] for level in chosen), plain]
        column = [name, *(f"{number:,}" for number in numbers), f"{plain / max(coded, 1):.1f}x"]
        if indexed:
            column.append(f"{formula(vertices, header['bits'], len(chosen)):.1f}x")
        for row, entry in zip(rows, column, strict=True):
            row.append(entry)
    return Accounts([tuple(row) for row in rows], (SMALLER, FORMULA) if indexed else (SMALLER,))


def vm_accounts(stored: list[dict[str, int]], chunks: list[int], half: int) -> Accounts:
    """What the parts of a file of tensor factors take, of all its levels; ``half`` is a level in half precision."""
    parts: dict[str, int] = {}
    for level in stored:
        for name, size in level.items():
            parts[name] = parts.get(name, 0) + size
    total = sum(chunks)
    parts["frames"] = total - sum(parts.values())
    rows: list[tuple[str, ...]] = [("part", "bytes", "share")]
    rows += [(name, f"{size:,}", f"{size / total:.1%}") for name, size in parts.items()]
    rows.append(("all levels", f"{total:,}", "100.0%"))
    plain = half * len(stored)
    coded = sum(size for name, size in parts.items() if name in VM_FIELD)
    note = f"factors and basis: {coded:,} bytes, in half precision {plain:,}: {plain / max(coded, 1):.1f}x smaller"
    return Accounts(rows, (note,))
