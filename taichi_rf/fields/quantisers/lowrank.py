"""Vertices whose features are a few numbers times a matrix a level: low-rank approximation, VQAD's baseline "LRA"."""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.fields.quantisers.base import EPSILON, PARTITIONS, Gradients, Quantiser, half, moment, put_rows
from taichi_rf.kernels.optim import Moments, Parameters, zeros_like

MAX_RANK = 15


class FactorParameters(Parameters):
    """The vertices' few numbers: takes their gradients, and gives the matrices their own."""

    def __init__(self, quantiser: Any, gradients: Gradients, rate: float) -> None:
        super().__init__("factors", quantiser.value, gradients.features, rate, quantiser.vertices)
        self.quantiser, self.gradients = quantiser, gradients

    def update(self, rate: float, moments: Moments) -> None:
        self.quantiser.update(self, rate, moments)

    def clear(self) -> None:
        self.gradients.clear()


@ti.data_oriented
class LowRank(Quantiser):
    """feature = z M_l with z (rank,) of the vertex and M_l (rank, 16) of its level; both in half precision on disk."""

    kind = "lowrank"

    def __init__(
        self,
        counts: tuple[int, ...],
        capacity: int,
        *,
        rank: int = 4,
        rate: float = 0.02,
        values: np.ndarray | None = None,
        matrices: np.ndarray | None = None,
        trains: bool = True,
    ) -> None:
        check_rank(rank)
        super().__init__(counts, capacity)
        self.rank, self.rate, self.trains = rank, rate, trains
        self.value = ti.Vector.field(rank, ti.f32, capacity)
        self.matrix = ti.Vector.field(BLOCK, ti.f32, len(counts) * rank)
        if trains:
            self.matrix_gradient = zeros_like(self.matrix)
            self.partial = ti.Vector.field(BLOCK, ti.f32, (PARTITIONS, rank))
        padded = np.zeros((capacity, rank), np.float32)
        padded[: self.vertices] = 0 if values is None else values
        # always, and after all arrays are made: others that are laid out otherwise have other last bits when resumed
        self.value.from_numpy(padded)
        if matrices is not None:
            self.matrix.from_numpy(np.ascontiguousarray(matrices, np.float32).reshape(-1, BLOCK))
        self._parameters: list[Parameters] = []

    @ti.func
    def row(self, level, vertex):
        total = Block(0.0)
        z = self.value[vertex]
        for j in ti.static(range(self.rank)):
            total += z[j] * self.matrix[level * self.rank + j]
        return total

    @ti.func
    def density(self, level, vertex):
        total = 0.0
        z = self.value[vertex]
        for j in ti.static(range(self.rank)):
            total += z[j] * self.matrix[level * self.rank + j][0]
        return total

    def parameters(self, gradients: Gradients) -> list[Parameters]:
        if not self.trains:
            return []
        if not self._parameters:
            matrix = Parameters("matrices", self.matrix, self.matrix_gradient, self.rate, self.matrix.shape[0])
            self._parameters = [FactorParameters(self, gradients, self.rate), matrix]
        return self._parameters

    @property
    def update_bytes(self) -> float:
        return 2.0 * BLOCK * 4 + 6 * self.rank * 4

    def update(self, p: Parameters, rate: float, moments: Moments) -> None:
        """The step of the vertices' numbers, and the matrices' gradient."""
        g = p.gradients  # type: ignore[attr-defined]
        for level in range(len(self.counts)):
            update = self._update if self.owner else self._update_side_by_side
            update(
                level, self.firsts[level], self.firsts[level + 1], g, p.first, p.second, rate,
                moments.beta1, moments.beta2,
            )  # fmt: skip
            if self.owner:
                self._reduce(level)

    @ti.kernel
    def _update(
        self,
        level: int,
        begin: int,
        end: int,
        gradients: ti.template(),
        first: ti.template(),
        second: ti.template(),
        rate: float,
        beta1: float,
        beta2: float,
    ):
        # a partition has its own sums
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            for j in range(self.rank):
                self.partial[p, j] = Block(0.0)
            for v in range(begin + (end - begin) * p // PARTITIONS, begin + (end - begin) * (p + 1) // PARTITIONS):
                self._update_one(p, level, v, gradients, first, second, rate, beta1, beta2)

    @ti.kernel
    def _update_side_by_side(
        self,
        level: int,
        begin: int,
        end: int,
        gradients: ti.template(),
        first: ti.template(),
        second: ti.template(),
        rate: float,
        beta1: float,
        beta2: float,
    ):
        for v in range(begin, end):  # a GPU has threads for all of them
            self._update_one(0, level, v, gradients, first, second, rate, beta1, beta2)

    @ti.func
    def _update_one(
        self,
        partition,
        level,
        v,
        gradients: ti.template(),
        first: ti.template(),
        second: ti.template(),
        rate,
        beta1,
        beta2,
    ):
        # dz_j = M_j . d, dM_j = the sum of z_j d
        d = gradients.take(v)
        if ti.abs(d).max() > 0.0:
            z = self.value[v]
            g = z
            for j in ti.static(range(self.rank)):
                g[j] = self.matrix[level * self.rank + j].dot(d)
                if ti.static(self.owner):
                    self.partial[partition, j] = self.partial[partition, j] + z[j] * d
                else:
                    for k in ti.static(range(BLOCK)):
                        self.matrix_gradient[level * self.rank + j][k] += z[j] * d[k]
            m = moment(first[v], g, second[v], beta1)
            s = moment(second[v], g * g, second[v], beta2)
            first[v] = m
            second[v] = s
            self.value[v] = z - rate * m / (ti.sqrt(s) + EPSILON)

    @ti.kernel
    def _reduce(self, level: int):
        for j in range(self.rank):
            total = Block(0.0)
            for p in range(PARTITIONS):
                total += self.partial[p, j]
            row = level * self.rank + j
            self.matrix_gradient[row] = self.matrix_gradient[row] + total

    def features(self) -> np.ndarray:
        matrices = self.matrix.to_numpy().reshape(len(self.counts), self.rank, BLOCK)
        values = self.value.to_numpy()
        parts = [values[a:b] @ m for a, b, m in zip(self.firsts, self.firsts[1:], matrices)]
        return np.concatenate(parts)

    def remap(self, counts: tuple[int, ...], sources: np.ndarray, rng: np.random.Generator) -> None:
        raise NotImplementedError("factors are made for the final octree")

    def header(self) -> dict[str, Any]:
        return {"codes": self.kind, "rank": self.rank}

    @staticmethod
    def schema(header: dict[str, Any], vertices: int) -> Schema:
        """Arrays of one level in the file: see :meth:`Quantiser.schema`."""
        rank = header["rank"]
        return {"factors": ("f2", (vertices, rank)), "matrix": ("f2", (rank, BLOCK))}

    def pack(self, level: int) -> Arrays:
        part = slice(self.firsts[level - 1], self.firsts[level])
        matrices = self.matrix.to_numpy().reshape(len(self.counts), self.rank, BLOCK)
        return {"factors": half(self.value.to_numpy()[part]), "matrix": half(matrices[level - 1])}

    def unpack(self, level: int, arrays: Arrays) -> None:
        put_rows(self.firsts[level - 1], arrays["factors"], self.value)
        put_rows((level - 1) * self.rank, arrays["matrix"], self.matrix)


def check_rank(rank: int) -> None:
    """UserError for a number of features a vertex that low-rank codes do not have."""
    if not 1 <= rank <= MAX_RANK:
        raise UserError(f"--bits {rank}: codes of kind 'lowrank' have 1 to {MAX_RANK} numbers a vertex")
