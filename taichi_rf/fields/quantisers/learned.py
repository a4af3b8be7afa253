"""A codebook whose indices are learnt end to end (VQAD: Takikawa et al. 2022, section 4).

Every vertex has a logit for each row that it may take; the forward pass takes the row with the largest (hard), the
backward pass the gradient that the softmax of the logits would have (soft, the straight-through estimator of Bengio et
al. 2013). With row c_j, softmax s_j and dL/d feature g:

    dL/d logit_i = s_i (c_i . g - sum_j s_j c_j . g)        dL/d c_j = the sum of g over the vertices that took row j

VQAD has a logit for every row. Here a vertex may take the 16 rows that were nearest to what it had learnt before there
were codes: rows farther away have a softmax near zero, are hardly ever taken, and would make a step of 8 bits cost 16
times as much in time and memory.
"""

from typing import Any

import numpy as np

from taichi_rf.coding.checks import indices
from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.quantisers.base import EPSILON, PARTITIONS, Gradients, fresh, moment
from taichi_rf.fields.quantisers.codebook import Codebook, IndexParameters
from taichi_rf.kernels.optim import Moments, Parameters

CHUNK = 1 << 15
"""Vertices whose logits are on the host at once."""

NEVER = -1e30
"""Logit of a row that does not exist: codebooks of fewer than 16 rows fill a block all the same."""

BYTES = 4
"""Rows in one number of the candidates: an index has at most 8 bits."""


@ti.func
def exponential(x):
    """e^x of each of 16 numbers of at most 0, to 1e-7: a polynomial and shifted bits, because a call of the library's
    for each is eight times slower."""
    result = Block(0.0)
    for j in ti.static(range(BLOCK)):
        y = ti.max(x[j] * 1.4426950408889634, -126.0)
        whole = ti.floor(y + 0.5)
        f = y - whole
        p = 0.00015403530393381608 * f + 0.0013333558146428443
        p = p * f + 0.009618129107628477
        p = p * f + 0.05550410866482158
        p = p * f + 0.24022650695910072
        p = p * f + 0.6931471805599453
        p = p * f + 1.0
        result[j] = p * ti.bit_cast((ti.cast(whole, ti.i32) + 127) << 23, ti.f32)
    return result


class LogitParameters(IndexParameters):
    """The logits, with a second moment only, and the rows that they are of."""

    def __post_init__(self) -> None:
        self.second = self.quantiser.logit_second

    def arrays(self) -> dict[str, Any]:
        return {"value": self.value, "second": self.second, "candidates": self.quantiser.candidates}

    def reset(self) -> None:
        self.second.fill(0)

    def check(self, key: str, values: np.ndarray) -> None:
        super().check(key, values)
        rows, choices = self.quantiser.rows, self.quantiser.choices
        if key == "candidates":
            indices(unpacked(values), rows, f"'{self.name}.{key}'")  # the kernels read all 16
        if key == "value" and not ((values[:, :choices] > NEVER).all() and (values[:, choices:] <= NEVER).all()):
            raise UserError(f"'{self.name}.{key}' prefers rows that the codebook of {rows} does not have")


def packed(candidates: np.ndarray) -> np.ndarray:
    """(n, 4) int32 of rows (n, 16), the first in the lowest bits."""
    return np.ascontiguousarray(candidates, np.uint8).view("<i4")


def unpacked(candidates: np.ndarray) -> np.ndarray:
    """The inverse of :func:`packed`, (n, 16) int32."""
    return np.ascontiguousarray(candidates, "<i4").view(np.uint8).astype(np.int32)


def chosen(logits: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(n,) int32: of each vertex's candidates (n, 16) the one with the largest of its logits (n, 16)."""
    best = logits.argmax(axis=1)[:, None]
    return np.take_along_axis(candidates, best, axis=1)[:, 0].astype(np.int32)


@ti.data_oriented
class LearnedCodebook(Codebook):
    """Rows of codebooks, and for every vertex 16 candidates among them, with logits that choose one.

    Args: as :class:`Codebook`; without ``trains`` there are no logits, and the indices are fixed. Otherwise logits
        begin as small random numbers, see :meth:`begin`.
    """

    kind = "learned"
    book_trains = True

    def _choose(self, indices: np.ndarray | None, rng: np.random.Generator | None) -> None:
        if not self.trains:
            super()._choose(indices, rng)
            return
        self.choices = min(self.rows, BLOCK)
        self.candidates = ti.Vector.field(BLOCK // BYTES, ti.i32, self.capacity)
        self.logits = ti.Vector.field(BLOCK, ti.f32, self.capacity)
        self.logit_second = ti.Vector.field(BLOCK, ti.f32, self.capacity)
        if rng is not None:
            for first in range(0, self.vertices, CHUNK):
                self.begin(first, fresh(min(CHUNK, self.vertices - first), self.rows, rng))

    def begin(self, first: int, logits: np.ndarray) -> None:
        """Logits (n, 2^bits) of vertices [first, first + n), of which the 16 largest of each are kept."""
        n = len(logits)
        if self.rows > BLOCK:
            rows = np.sort(np.argpartition(-logits, BLOCK - 1, axis=1)[:, :BLOCK], axis=1)
        else:
            rows = np.broadcast_to(np.arange(self.rows), (n, self.rows))
        values, candidates = np.full((n, BLOCK), NEVER, np.float32), np.zeros((n, BLOCK), np.uint8)
        values[:, : self.choices] = np.take_along_axis(logits, rows, axis=1)
        candidates[:, : self.choices] = rows
        self._begin(n, first, values, packed(candidates), chosen(values, candidates))

    @ti.kernel
    def _begin(
        self,
        n: int,
        first: int,
        logits: ti.types.ndarray(dtype=ti.f32, ndim=2),
        candidates: ti.types.ndarray(dtype=ti.i32, ndim=2),
        taken: ti.types.ndarray(dtype=ti.i32, ndim=1),
    ):
        for i in range(n):
            for j in ti.static(range(BLOCK)):
                self.logits[first + i][j] = logits[i, j]
            for j in ti.static(range(BLOCK // BYTES)):
                self.candidates[first + i][j] = candidates[i, j]
            self.index[first + i] = taken[i]

    def _index_parameters(self, gradients: Gradients) -> Parameters:
        return LogitParameters(self, gradients)

    @property
    def update_bytes(self) -> float:
        # logits and their second moments, read and written, and the candidates; the codebook lies in the cache
        return super().update_bytes + (4 * BLOCK * 4 + BLOCK if self.trains else 0)

    def _take(self, step: tuple[int, int, int, Gradients], rate: float, moments: Moments) -> None:
        (self._learn if self.owner else self._learn_side_by_side)(*step, rate, moments.beta2)

    @ti.func
    def learn(self, level, v, d, rate, beta2):
        """One vertex's step: the straight-through gradient of its logits, scaled as RMSprop does."""
        numbers = self.candidates[v]
        rows = ti.Vector([(numbers[j // BYTES] >> (8 * (j % BYTES))) & 255 for j in range(BLOCK)], ti.i32)
        dots = Block(0.0)  # c_i . d
        for j in ti.static(range(BLOCK)):
            dots[j] = self.book[level * self.rows + rows[j]].dot(d)
        x = self.logits[v]
        e = exponential(x - x.max())
        total = e.sum()
        g = e * (dots - (e * dots).sum() / total) / total
        s = moment(self.logit_second[v], g * g, self.logit_second[v], beta2)
        x -= rate * g / (ti.sqrt(s) + EPSILON)
        self.logit_second[v] = s
        self.logits[v] = x
        best = x[0]
        row = rows[0]
        for j in ti.static(range(1, BLOCK)):
            if x[j] > best:
                best = x[j]
                row = rows[j]
        self.index[v] = row

    @ti.kernel
    def _learn(
        self,
        level: int,
        first: int,
        last: int,
        gradients: ti.template(),
        rate: float,
        beta2: float,
    ):
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            for row in range(self.rows):
                self.partial[p, level * self.rows + row] = Block(0.0)
            for v in range(first + (last - first) * p // PARTITIONS, first + (last - first) * (p + 1) // PARTITIONS):
                self._learn_one(p, level, v, gradients, rate, beta2)

    @ti.kernel
    def _learn_side_by_side(
        self,
        level: int,
        first: int,
        last: int,
        gradients: ti.template(),
        rate: float,
        beta2: float,
    ):
        for v in range(first, last):  # a GPU has threads for all of them
            self._learn_one(0, level, v, gradients, rate, beta2)

    @ti.func
    def _learn_one(self, partition, level, v, gradients: ti.template(), rate, beta2):
        d = gradients.take(v)
        if ti.abs(d).max() > 0.0:
            self.collect(partition, level, v, d)
            self.learn(level, v, d, rate, beta2)

    def restored(self) -> None:
        """Call after logits were put back: the indices follow from them."""
        if self.trains:
            self.index.from_numpy(chosen(self.logits.to_numpy(), unpacked(self.candidates.to_numpy())))
