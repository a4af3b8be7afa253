"""The octree field: features on the corners of sparse cells, summed over levels of detail (NGLOD and VQAD, Takikawa et
al. 2021 and 2022).

Level l adds a grid of 2^(base_depth + l - 1) cells a side, of which only those near a surface exist. Channel 0 is the
density's, or a signed distance; channels 1 to 15 are what the decoder reads. How the vertices' features are represented
is the quantiser's business (``taichi_rf.fields.quantisers``). How the tree lies on the device is in ``layout.py``, what
is computed on it in ``kernels.py``; here are its parameters and its file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.headers import are_whole, is_number, is_whole, wrong
from taichi_rf.core.device import BLOCK
from taichi_rf.core.errors import UserError
from taichi_rf.fields.accounts import octree_accounts
from taichi_rf.fields.base import Accounts, Arrays, Header, Schema, Stage
from taichi_rf.fields.octree.layout import CORNERS, MAX_BASE_DEPTH, MAX_LEVELS, MIN_BASE_DEPTH
from taichi_rf.fields.octree.learning import OctreeLearning
from taichi_rf.fields.octree.smoothing import Smoothing
from taichi_rf.fields.quantisers.registry import (
    check_quantiser,
    check_stored,
    empty_quantiser,
    quantiser_schema,
    reserved_quantiser,
    stored_part,
    stored_quantiser,
)
from taichi_rf.fields.trees.morton import coordinates
from taichi_rf.fields.trees.octree import MAX_DEPTH, Octree
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.optim import Moments, Parameters

MAX_VERTICES = 1 << 24
CELL_BYTES, ROW_BYTES = 4, 4 * BLOCK


@dataclass(frozen=True, eq=False)
class Grown:
    """A level that came, worked out up to where the device is needed: the tree with it, and its cells as bits."""

    arrays: Arrays
    tree: Octree
    space: np.ndarray


class OctreeField(OctreeLearning):
    """Features on an octree of up to ``levels`` levels.

    Args:
        tree: what there is to begin with, of ``levels`` layers or fewer: the others are grown later, and until then a
            level that is missing is the same as the finest there is.
        quantiser: made for the tree's vertices; its ``capacity`` is how many the field has room for.
        levels: number of levels in the end.
        finest_depth: of the whole model, where this one is cut off before; it decides the step along rays.
        activation: "softplus" (shifted by ``density_shift``), or "none" for a signed distance.
        rows: samples whose features can be computed at once.
        trains: whether there is room for gradients.
        rates: learning rates of features, and of logits.
    """

    kind = "octree"
    level_name = "LOD"
    compressed = frozenset({"tree", "indices", "codebook", "features", "factors", "matrix"})

    _smoothing: Smoothing | None = None  # takes 24 bytes a vertex

    # Parameters

    def parameters(self, level: int | None = None, above: int | None = None) -> list[Parameters]:
        assert above is None, "levels of an octree do not rest"
        return self.quantiser.parameters(self.gradients)

    def published(self) -> None:
        self.quantiser.published()

    def regularise(self, level: int, l1: float, tv_density: float, tv_appearance: float, orthogonality: float) -> None:
        """Only total variation, of all levels."""
        if tv_density or tv_appearance:
            if self._smoothing is None:
                self._smoothing = Smoothing(self)
            self._smoothing.add(tv_density, tv_appearance)

    def bytes_at(self, level: int) -> int:
        return sum(
            int(np.prod(shape)) * np.dtype(kind).itemsize
            for l in range(1, min(level, self.grown) + 1)
            for kind, shape in self.level_schema(self.header(), l).values()
        )

    # What a step costs

    def forward_stages(self, n: int, positions: Any, density: Any, m: int, shaded: Any, level: int) -> list[Stage]:
        levels, index = self.depth(level), self.quantiser.index_bytes
        below = CELL_BYTES * (levels - 1) + CELL_BYTES  # the way down the tree
        corners = CORNERS * CELL_BYTES * levels

        def features() -> None:
            self.lookup(m, 0, shaded, level)
            self.features(m, level)

        return [
            Stage(
                "density", lambda: self.density(n, positions, density, level), n,
                size=(below + corners + CORNERS * levels * (index + 4)) * n,
            ),
            Stage(
                "lookup features", features, m,
                size=(below + corners + CORNERS * levels * (index + ROW_BYTES) + ROW_BYTES) * m,
            ),
        ]  # fmt: skip

    def backward_stages(
        self, n: int, positions: Any, density: Any, gradient: Any, m: int, shaded: Any, d_features: Any,
        level: int,
    ) -> list[Stage]:  # fmt: skip
        levels = self.depth(level)
        corners = (2 * CELL_BYTES + CORNERS * CELL_BYTES) * levels  # the cells are written down, and read again

        def density_adjoint() -> None:
            gradient.fill(1.0)  # no sample may be skipped here
            self.density_adjoint(n, positions, density, gradient, level)

        def features_adjoint() -> None:
            self.features_adjoint(m, 0, shaded, d_features, level)

        def update() -> None:
            features_adjoint()  # vertices without a gradient would be passed over
            self.quantiser.parameters(self.gradients)[0].update(0.0, Moments(0.9, 0.99, 1e-8, 1.0, 1.0))

        update()
        features_adjoint()
        touched = int((np.abs(self.gradients.features.to_numpy()).max(axis=1) > 0).sum())
        return [
            Stage("scatter features", features_adjoint, m, size=(corners + 2.0 * CORNERS * levels * ROW_BYTES) * m),
            Stage(
                "scatter density", density_adjoint, n, size=(corners + 2.0 * CORNERS * levels * 4) * n,
                apart=lambda: gradient.fill(1.0),
            ),
            Stage(
                f"update of codes '{self.quantiser.kind}'", update, touched, size=self.quantiser.update_bytes * touched,
                apart=features_adjoint, unit="vertices",
            ),
        ]  # fmt: skip

    # Storage

    def header(self) -> Header:
        """A level that has not been grown yet is not in the file."""
        layers = self.tree.layers
        return {
            "kind": self.kind,
            "num_levels": self.grown,
            "base_depth": self.base_depth,
            "finest_depth": max(self.base_depth + self.grown - 1, self._cut_from),
            "cells": [len(layer.cells) for layer in layers],
            "vertices": [len(layer.vertices) for layer in layers],
            "activation": self.activation,
            "density_shift": self.density_shift,
            **self.quantiser.header(),
        }

    @classmethod
    def checked_header(cls, header: Header, levels: int) -> None:
        if not is_whole(header.get("num_levels"), max(1, levels), MAX_LEVELS):
            raise wrong("field.num_levels", f"1 to {MAX_LEVELS} and cover the levels in the file")
        if not is_whole(header.get("base_depth"), MIN_BASE_DEPTH, MAX_BASE_DEPTH):
            raise wrong("field.base_depth", f"a whole number from {MIN_BASE_DEPTH} to {MAX_BASE_DEPTH}")
        base, count = header["base_depth"], header["num_levels"]
        if not is_whole(header.get("finest_depth"), base + count - 1, min(MAX_DEPTH, base + MAX_LEVELS - 1)):
            raise wrong("field.finest_depth", f"a whole number from {base + count - 1} to {MAX_DEPTH}")
        for key in ("cells", "vertices"):
            if not are_whole(header.get(key), count, 1, MAX_VERTICES):
                raise wrong(f"field.{key}", f"{count} whole numbers from 1 to {MAX_VERTICES:,}")
        if sum(header["vertices"][:levels]) > MAX_VERTICES:
            raise wrong("field.vertices", f"at most {MAX_VERTICES:,} in all")
        for i, (cells, vertices) in enumerate(zip(header["cells"], header["vertices"], strict=True)):
            before = header["cells"][i - 1] * 8 if i else 8**base
            if not (cells <= before and cells < vertices <= 8 * cells):
                raise wrong("field.cells", "numbers of cells that an octree can have, with one to eight vertices each")
        if header.get("activation") not in ("softplus", "none"):
            raise wrong("field.activation", "softplus or none")
        if not is_number(header.get("density_shift"), -100, 100):
            raise wrong("field.density_shift", "a number from -100 to 100")
        check_quantiser(header)

    @classmethod
    def level_schema(cls, header: Header, level: int) -> Schema:
        tree = 8 ** header["base_depth"] // 8 if level == 1 else header["cells"][level - 2]
        return {"tree": ("u1", (tree,)), **quantiser_schema(header, header["vertices"][level - 1])}

    @classmethod
    def accounts(cls, header: Header, stored: list[dict[str, int]], chunks: list[int]) -> Accounts:
        return octree_accounts(header, stored, chunks)

    @classmethod
    def from_file(cls, header: Header, arrays: list[Arrays], *, rows: int = 1 << 16) -> "OctreeField":
        packed = [a["tree"] for a in arrays]
        tree = _told_of(header, Octree.unpack(packed, header["base_depth"], cells=header["cells"]))
        quantiser = stored_quantiser(header, tuple(len(layer.vertices) for layer in tree.layers), tree)
        for level, of_level in enumerate(arrays, 1):
            quantiser.unpack(level, of_level)
        return cls(
            tree, quantiser, levels=len(arrays), finest_depth=header["finest_depth"], activation=header["activation"],
            density_shift=header["density_shift"], rows=rows, trains=False,
        )  # fmt: skip

    @classmethod
    def reserved(cls, header: Header, *, rows: int = 1 << 16) -> "OctreeField":
        """Until a level has come it is one empty cell, of a tree in which anything may be anywhere."""
        counts = tuple(header["vertices"][: header["num_levels"]])
        field = cls(
            Octree.from_cells([0], header["base_depth"], header["base_depth"]),
            reserved_quantiser(header, counts, max(sum(counts), CORNERS)), levels=header["num_levels"],
            finest_depth=header["finest_depth"], activation=header["activation"],
            density_shift=header["density_shift"], rows=rows, trains=False,
        )  # fmt: skip
        side = (1 << header["base_depth"]) + 1
        field._space[1] = Occupancy((side, side, side))
        return field

    @classmethod
    def prepared(cls, header: Header, arrays: Arrays, before: Any) -> Grown:
        if before is None:
            tree = Octree.unpack([arrays["tree"]], header["base_depth"], cells=header["cells"])
        else:
            tree = before.tree.extended(arrays["tree"], header["cells"][len(before.tree.layers)])
        tree = _told_of(header, tree)
        check_stored(header, arrays, len(tree.layers[-1].vertices))
        return Grown(arrays, tree, tree.words(len(tree.layers)))

    def put(self, level: int, prepared: Grown) -> None:
        tree, layer = prepared.tree, prepared.tree.layers[-1]
        assert len(tree.layers) == level
        if level == 1:
            self._set_tree(tree)
        else:
            before = tree.layers[-2]
            vertex = sum(len(l.vertices) for l in tree.layers[:-1])
            above = self.cells - len(before.cells)
            self._put_cells(len(layer.cells), self.cells, vertex, layer.corners, self.corners, 0)
            self._put_cells(len(before.cells), above, self.cells, before.children, self.children, 1)
            self.cells, self.tree = self.cells + len(layer.cells), tree
        side = (1 << layer.depth) + 1
        self._space[level] = Occupancy((side, side, side))
        self._space[level].set_words(prepared.space)
        self.quantiser.unpack(level, prepared.arrays)
        self.quantiser.placed(level, layer.vertices)

    def rehearse(self, header: Header) -> None:
        self.quantiser.unpack(1, self.zeros(header, 1))
        self.quantiser.placed(1, np.zeros(header["vertices"][0], np.uint32))
        nothing = np.zeros((1, CORNERS), np.int32)
        for target in (self.corners, self.children):
            self._put_cells(0, 0, 0, nothing, target, 0)

    @classmethod
    def pruned(
        cls, header: Header, arrays: list[Arrays], inside: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[Header, list[Arrays]]:
        packed = [level["tree"] for level in arrays]
        tree = _told_of(header, Octree.unpack(packed, header["base_depth"], cells=header["cells"]))
        finest = tree.layers[-1]
        keep = inside((coordinates(finest.cells) + 0.5) / (1 << finest.depth))
        if not keep.any():
            raise UserError("none of its cells would be left")
        after = tree.pruned(keep)
        levels = []
        for level, (stored, layer) in enumerate(zip(arrays, tree.layers, strict=True), 1):
            places = after.surviving(tree, level)
            own = stored_part(header, stored, len(layer.vertices), places)
            levels.append({"tree": after.pack(level), **own})
        cells, vertices = ([len(getattr(layer, name)) for layer in after.layers] for name in ("cells", "vertices"))
        return {**header, "num_levels": len(arrays), "cells": cells, "vertices": vertices}, levels

    def pack(self, level: int) -> Arrays:
        return {"tree": self.tree.pack(level), **self.quantiser.pack(level)}

    def structure(self) -> tuple[Arrays, Header]:
        trees = {f"tree.{level}": self.tree.pack(level) for level in range(1, self.grown + 1)}
        return trees, {"levels": self.grown, "coder": self.quantiser.header()}

    def set_structure(self, arrays: Arrays, state: Header) -> None:
        packed = []
        for name in (f"tree.{level}" for level in range(1, state["levels"] + 1)):
            packed.append(checks.array(checks.entry(arrays, name, "its octree"), "u1", (None,), f"'{name}'"))
        tree = Octree.unpack(packed, self.base_depth, most=self.capacity)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        if sum(counts) > self.capacity:
            raise UserError(f"an octree of {sum(counts):,} vertices does not fit a field made for {self.capacity:,}")
        described = state["coder"]
        if described["codes"] == "none":
            self.quantiser.remap(counts, np.full(sum(counts), -1), np.random.default_rng(0))
        else:
            rate, logit_rate = self.rates
            self.quantiser = empty_quantiser(described, tree, rate=rate, logit_rate=logit_rate)
        self._set_tree(tree)


def _told_of(header: Header, tree: Octree) -> Octree:
    """The tree, if it is the one that the header tells of; else UserError."""
    for index, layer in enumerate(tree.layers):
        if len(layer.vertices) != header["vertices"][index] or len(layer.cells) != header["cells"][index]:
            raise UserError("its octree is not the one that the header tells of")
    return tree
