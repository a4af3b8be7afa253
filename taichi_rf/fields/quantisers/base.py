"""How the features of an octree's vertices are represented: as they are, or as combinations of a few vectors.

A quantiser holds k = 16 numbers for every vertex in a form that costs less, and knows how a gradient with regard to
those numbers changes that form. Vertices of all levels lie in one list, level after level. The field's kernels read
features through :meth:`Quantiser.row` and :meth:`Quantiser.density`, and leave gradients in :class:`Gradients`; the
updates here take them from there, and leave zeros. Only vertices that got a gradient since the last update are touched
at all.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.kernels.optim import Moments, Parameters

EPSILON = 1e-15
"""Of Adam for vertices: a vertex is met by few rays, so its gradients are tiny (as for hash grids, Mueller et al.
2022)."""

PARTITIONS = 16
"""Runs of vertices whose sums are kept apart until the end, so that they do not depend on the number of threads."""

INITIAL = 0.01
"""Standard deviation of features to begin with (VQAD's feature_std)."""


@ti.data_oriented
class Gradients:
    """Where the field leaves what it asks of its vertices: zero except between an adjoint and the update."""

    def __init__(self, capacity: int) -> None:
        self.features = ti.Vector.field(BLOCK, ti.f32, capacity)
        self.density = ti.field(ti.f32, capacity)
        self.touched = ti.field(ti.i32, capacity)
        """1 where something was asked: an update looks through this, and not through 17 numbers of every vertex."""

    def clear(self) -> None:
        """Forget what was asked."""
        self.features.fill(0)
        self.density.fill(0)
        self.touched.fill(0)

    @ti.func
    def take(self, v):
        """What is asked of a vertex's row, (16,), zero where nothing is; it is zero afterwards."""
        d = Block(0.0)
        if self.touched[v] != 0:
            d = self.features[v]
            d[0] += self.density[v]
            self.features[v] = Block(0.0)
            self.density[v] = 0.0
            self.touched[v] = 0
        return d


class Quantiser(ABC):
    """Features of ``counts[l]`` vertices of level l + 1, for up to ``capacity`` in all."""

    kind: str
    index_bytes = 0
    """Read before a vertex's row can be."""

    def __init__(self, counts: tuple[int, ...], capacity: int) -> None:
        if sum(counts) > capacity:
            raise UserError(f"an octree of {sum(counts):,} vertices does not fit a field made for {capacity:,}")
        self.counts, self.capacity = counts, capacity
        self.firsts = tuple(int(n) for n in np.concatenate([[0], np.cumsum(counts)]))
        self.owner = current().owner_computes

    @property
    def vertices(self) -> int:
        """Vertices of all levels."""
        return self.firsts[-1]

    @abstractmethod
    def row(self, level: Any, vertex: Any) -> Any:
        """ti.func: the block of features of one vertex, which is of level ``level`` + 1."""

    @abstractmethod
    def density(self, level: Any, vertex: Any) -> Any:
        """ti.func: channel 0 of :meth:`row`."""

    @abstractmethod
    def parameters(self, gradients: Gradients) -> list[Parameters]:
        """What trains. The first in the list takes the ``gradients``, and passes on what the others need."""

    def published(self) -> None:
        """Called after parameters changed."""

    @property
    def update_bytes(self) -> float:
        """Read and written for an update of one vertex: its gradient, which becomes zero, and what changes by it."""
        return 8.0 * BLOCK * 4

    @abstractmethod
    def features(self) -> np.ndarray:
        """All rows, (vertices, 16) float32."""

    @abstractmethod
    def remap(self, counts: tuple[int, ...], sources: np.ndarray, rng: np.random.Generator) -> None:
        """Other vertices: new vertex i is the old vertex ``sources[i]``, or a fresh one where that is -1."""

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """JSON from which the arrays' shapes follow."""

    @abstractmethod
    def pack(self, level: int) -> Arrays:
        """What one level's chunk holds."""

    @abstractmethod
    def unpack(self, level: int, arrays: Arrays) -> None:
        """The inverse of :meth:`pack`."""

    def placed(self, level: int, vertices: np.ndarray) -> None:
        """Take the lattice points, Morton codes (n,), of a level's vertices: for indices that follow from places."""


def half(values: np.ndarray) -> np.ndarray:
    """As stored: float16, clipped to what it can hold."""
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)


def fresh(count: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(count, width) small random numbers, to begin with."""
    return (INITIAL * rng.standard_normal((count, width))).astype(np.float32)


class VertexParameters(Parameters):
    """Numbers of vertices, updated by Adam only where there is a gradient."""

    def __init__(self, quantiser: Any, gradients: Gradients, name: str, value: Any, rate: float) -> None:
        super().__init__(name, value, gradients.features, rate, quantiser.vertices)
        self.quantiser, self.gradients = quantiser, gradients

    def update(self, rate: float, moments: Moments) -> None:
        self.quantiser.update(self, rate, moments)

    def clear(self) -> None:
        self.gradients.clear()


@ti.data_oriented
class Uncompressed(Quantiser):
    """Features as they are, 16 numbers a vertex in half precision on disk: NGLOD's, Takikawa et al. 2021."""

    kind = "none"

    def __init__(self, counts: tuple[int, ...], capacity: int, *, rate: float = 0.02, seed: int | None = 0) -> None:
        super().__init__(counts, capacity)
        self.rate = rate
        self.value = ti.Vector.field(BLOCK, ti.f32, capacity)
        if seed is not None:
            values = np.zeros((capacity, BLOCK), np.float32)
            values[: self.vertices] = fresh(self.vertices, BLOCK, np.random.default_rng(seed))
            self.value.from_numpy(values)
        self._parameters: list[Parameters] = []

    @ti.func
    def row(self, level, vertex):
        return self.value[vertex]

    @ti.func
    def density(self, level, vertex):
        return self.value[vertex][0]

    def parameters(self, gradients: Gradients) -> list[Parameters]:
        if not self._parameters:
            self._parameters = [VertexParameters(self, gradients, "features", self.value, self.rate)]
        self._parameters[0].active = self.vertices
        return self._parameters

    def update(self, p: Parameters, rate: float, moments: Moments) -> None:
        """Adam on the vertices with a gradient."""
        g = p.gradients  # type: ignore[attr-defined]
        _adam_rows(p.active, p.value, g, p.first, p.second, rate, moments.beta1, moments.beta2)

    def features(self) -> np.ndarray:
        values: np.ndarray = self.value.to_numpy()[: self.vertices]
        return values

    def remap(self, counts: tuple[int, ...], sources: np.ndarray, rng: np.random.Generator) -> None:
        super().__init__(counts, self.capacity)
        arrays = [self.value]
        if self._parameters:
            arrays += [self._parameters[0].first, self._parameters[0].second]
        for array in arrays:
            old = array.to_numpy()
            new = np.zeros_like(old)
            kept = sources >= 0
            new[: len(sources)][kept] = old[sources[kept]]
            if array is self.value:
                new[: len(sources)][~kept] = fresh(int((~kept).sum()), BLOCK, rng)
            array.from_numpy(new)

    def header(self) -> dict[str, Any]:
        return {"codes": self.kind}

    @staticmethod
    def schema(header: dict[str, Any], vertices: int) -> Schema:
        """Arrays of one level in the file: see :meth:`Quantiser.schema`."""
        return {"features": ("f2", (vertices, BLOCK))}

    def pack(self, level: int) -> Arrays:
        return {"features": half(self.features()[self.firsts[level - 1] : self.firsts[level]])}

    def unpack(self, level: int, arrays: Arrays) -> None:
        put_rows(self.firsts[level - 1], arrays["features"], self.value)


def put_rows(first: int, rows: np.ndarray, target: Any) -> None:
    """target[first], target[first + 1], ... become ``rows`` (n, width), and nothing else is touched."""
    if len(rows):
        _put_rows(len(rows), first, np.ascontiguousarray(rows, np.float32), target)


@ti.kernel
def _put_rows(n: int, first: int, rows: ti.types.ndarray(dtype=ti.f32, ndim=2), target: ti.template()):
    for i in range(n):
        for k in ti.static(range(target.n)):
            target[first + i][k] = rows[i, k]


@ti.func
def moment(old, new, second, beta):
    """A moment with one value more. The first value counts whole, because a bias correction by the steps so far would
    be wrong for a vertex that is met for the first time late."""
    return ti.select(second > 0.0, beta * old + (1.0 - beta) * new, new)


@ti.kernel
def _adam_rows(
    n: int,
    value: ti.template(),
    gradients: ti.template(),
    first: ti.template(),
    second: ti.template(),
    rate: float,
    beta1: float,
    beta2: float,
):
    # Adam where there is a gradient; moments of the others do not decay meanwhile
    for v in range(n):
        d = gradients.take(v)
        if ti.abs(d).max() > 0.0:
            m = moment(first[v], d, second[v], beta1)
            s = moment(second[v], d * d, second[v], beta2)
            first[v] = m
            second[v] = s
            value[v] = value[v] - rate * m / (ti.sqrt(s) + EPSILON)
