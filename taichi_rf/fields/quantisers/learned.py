"""A codebook whose indices are learnt end to end (VQAD: Takikawa et al. 2022, section 4).

Every vertex has a logit for each row; the forward pass takes the row with the largest (hard), the backward pass the
gradient that the softmax of the logits would have (soft, the straight-through estimator of Bengio et al. 2013). With
row c_j, softmax s_j and dL/d feature g:

    dL/d logit_i = s_i (c_i . g - sum_j s_j c_j . g)        dL/d c_j = the sum of g over the vertices that took row j
"""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Block
from taichi_rf.core.errors import UserError
from taichi_rf.fields.quantisers.base import EPSILON, PARTITIONS, Gradients, asked, fresh, moment
from taichi_rf.fields.quantisers.codebook import Codebook, IndexParameters
from taichi_rf.kernels.linear import runaway
from taichi_rf.kernels.optim import Moments, Parameters

CHUNK = 1 << 15
"""Vertices whose logits are on the host at once."""

NEVER = -1e30
"""Logit of a row that does not exist: codebooks of fewer than 16 rows fill a block all the same."""


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
    """The logits; they have a second moment only."""

    def __post_init__(self) -> None:
        self.second = self.quantiser.logit_second

    def arrays(self) -> dict[str, Any]:
        return {"value": self.value, "second": self.second}

    def check(self, key: str, values: np.ndarray) -> None:
        super().check(key, values)
        if key == "value":  # the index of each vertex follows from them
            logits = values.reshape(len(values), self.quantiser.padded)
            if (
                not (logits[:, self.quantiser.rows :] <= NEVER).all()
                or not (logits[:, : self.quantiser.rows] > NEVER).all()
            ):
                raise UserError(
                    f"'{self.name}.{key}' prefers rows that the codebook of {self.quantiser.rows} does not have"
                )


@ti.data_oriented
class LearnedCodebook(Codebook):
    """Rows of codebooks, and logits of every vertex that choose one of them.

    Args: as :class:`Codebook`; without ``trains`` there are no logits, and the indices are fixed. Otherwise logits
        begin as small random numbers, see :meth:`begin`.
    """

    kind = "learned"
    book_trains = True

    def _choose(self, indices: np.ndarray | None, rng: np.random.Generator | None) -> None:
        self.blocks = -(-self.rows // BLOCK)
        self.padded = self.blocks * BLOCK
        # the codebook with rows across, so that one product serves 16 rows
        self.across = ti.Vector.field(BLOCK, ti.f32, (len(self.counts), self.blocks, BLOCK))
        if not self.trains:
            super()._choose(indices, rng)
            return
        self.logits = ti.Vector.field(BLOCK, ti.f32, (self.capacity, self.blocks))
        self.logit_second = ti.Vector.field(BLOCK, ti.f32, (self.capacity, self.blocks))
        # what a vertex's step needs twice, of each block of rows, where registers do not hold it
        self.work = ti.Vector.field(BLOCK, ti.f32, (PARTITIONS if self.owner else 1, self.blocks, 2))
        if rng is not None:
            for first in range(0, self.vertices, CHUNK):
                self.begin(first, fresh(min(CHUNK, self.vertices - first), self.rows, rng))

    def begin(self, first: int, logits: np.ndarray) -> None:
        """Logits (n, 2^bits) of vertices [first, first + n): a chunk at a time, for there may be a gigabyte of them."""
        values = np.full((len(logits), self.padded), NEVER, np.float32)
        values[:, : self.rows] = logits
        self._begin(len(values), first, values, np.argmax(values, axis=1).astype(np.int32))

    @ti.kernel
    def _begin(
        self,
        n: int,
        first: int,
        logits: ti.types.ndarray(dtype=ti.f32, ndim=2),
        indices: ti.types.ndarray(dtype=ti.i32, ndim=1),
    ):
        for i, block in ti.ndrange(n, self.blocks):
            row = Block(0.0)
            for j in ti.static(range(BLOCK)):
                row[j] = logits[i, block * BLOCK + j]
            self.logits[first + i, block] = row
            if block == 0:
                self.index[first + i] = indices[i]

    def _index_parameters(self, gradients: Gradients) -> Parameters:
        return LogitParameters(self, gradients)

    @property
    def update_bytes(self) -> float:
        # for every row the logit twice and its second moment, read, and both written
        return super().update_bytes + (5 * self.padded * 4 if self.trains else 0)

    def published(self) -> None:
        if self.trains:
            self._publish()

    @ti.kernel
    def _publish(self):
        for level, block, k in ti.ndrange(ti.static(len(self.counts)), self.blocks, BLOCK):
            row = Block(0.0)
            for j in ti.static(range(BLOCK)):
                if block * BLOCK + j < self.rows:
                    row[j] = self.book[level * self.rows + block * BLOCK + j][k]
            self.across[level, block, k] = row

    def _take(self, step: tuple[int, int, int, Any, Any], rate: float, moments: Moments) -> None:
        (self._learn if self.owner else self._learn_side_by_side)(*step, rate, moments.beta2)

    @ti.func
    def soft(self, level, v, block, top, features: ti.template(), density):
        """Of 16 rows: e^(logit - top), and c_i . d."""
        # a loop with two exits, see linear.py: written out, half of the 256 products would be taken one at a time
        dots = density * self.across[level, block, 0]
        for k in range(BLOCK):
            x = features[v][k]
            if runaway(x):
                break
            dots += x * self.across[level, block, k]
        return exponential(self.logits[v, block] - top), dots

    @ti.func
    def step(self, v, block, e, dots, mean, total, rate, beta2, best, where):
        """The step of 16 logits; returns the largest so far, and whose it is."""
        g = e * (dots - mean) / total
        s = moment(self.logit_second[v, block], g * g, self.logit_second[v, block], beta2)
        self.logit_second[v, block] = s
        x = self.logits[v, block] - rate * g / (ti.sqrt(s) + EPSILON)
        self.logits[v, block] = x
        for j in ti.static(range(BLOCK)):
            if x[j] > best:
                best = x[j]
                where = block * BLOCK + j
        return best, where

    @ti.func
    def learn(self, partition, level, v, features: ti.template(), density, rate, beta2):
        """One vertex's step: the straight-through gradient of its logits, scaled as RMSprop does."""
        at = self.index[v]
        top = self.logits[v, at // BLOCK][at % BLOCK]
        total = 0.0  # of e^(logit - top), and times c_i . d
        weighted = 0.0
        best = 2.0 * NEVER
        where = 0
        if ti.static(self.blocks <= 4):  # up to six bits: what is found is kept in registers
            e0, dots0 = self.soft(level, v, 0, top, features, density)
            e1, dots1 = Block(0.0), Block(0.0)
            e2, dots2 = Block(0.0), Block(0.0)
            e3, dots3 = Block(0.0), Block(0.0)
            total = e0.sum()
            weighted = (e0 * dots0).sum()
            if ti.static(self.blocks > 1):
                e1, dots1 = self.soft(level, v, 1, top, features, density)
                total += e1.sum()
                weighted += (e1 * dots1).sum()
            if ti.static(self.blocks > 2):
                e2, dots2 = self.soft(level, v, 2, top, features, density)
                e3, dots3 = self.soft(level, v, 3, top, features, density)
                total += (e2 + e3).sum()
                weighted += (e2 * dots2 + e3 * dots3).sum()
            mean = weighted / total
            best, where = self.step(v, 0, e0, dots0, mean, total, rate, beta2, best, where)
            if ti.static(self.blocks > 1):
                best, where = self.step(v, 1, e1, dots1, mean, total, rate, beta2, best, where)
            if ti.static(self.blocks > 2):
                best, where = self.step(v, 2, e2, dots2, mean, total, rate, beta2, best, where)
                best, where = self.step(v, 3, e3, dots3, mean, total, rate, beta2, best, where)
        else:
            for block in range(self.blocks):
                e, dots = self.soft(level, v, block, top, features, density)
                total += e.sum()
                weighted += (e * dots).sum()
                if ti.static(self.owner):
                    self.work[partition, block, 0] = e
                    self.work[partition, block, 1] = dots
            for block in range(self.blocks):
                e, dots = Block(0.0), Block(0.0)
                if ti.static(self.owner):
                    e = self.work[partition, block, 0]
                    dots = self.work[partition, block, 1]
                else:
                    e, dots = self.soft(level, v, block, top, features, density)
                best, where = self.step(v, block, e, dots, weighted / total, total, rate, beta2, best, where)
        self.index[v] = where

    @ti.kernel
    def _learn(
        self,
        level: int,
        first: int,
        last: int,
        features: ti.template(),
        density: ti.template(),
        rate: float,
        beta2: float,
    ):
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            for row in range(self.rows):
                self.partial[p, level * self.rows + row] = Block(0.0)
            for v in range(first + (last - first) * p // PARTITIONS, first + (last - first) * (p + 1) // PARTITIONS):
                self._learn_one(p, level, v, features, density, rate, beta2)

    @ti.kernel
    def _learn_side_by_side(
        self,
        level: int,
        first: int,
        last: int,
        features: ti.template(),
        density: ti.template(),
        rate: float,
        beta2: float,
    ):
        for v in range(first, last):  # a GPU has threads for all of them
            self._learn_one(0, level, v, features, density, rate, beta2)

    @ti.func
    def _learn_one(self, partition, level, v, features: ti.template(), density: ti.template(), rate, beta2):
        d = asked(features[v], density[v])
        if ti.abs(d).max() > 0.0:
            self.collect(partition, level, v, d)
            self.learn(partition, level, v, features, density[v], rate, beta2)
            features[v] = Block(0.0)
            density[v] = 0.0

    def restored(self) -> None:
        """Call after logits were put back: the indices follow from them."""
        if self.trains:
            values = self.logits.to_numpy().reshape(self.capacity, self.padded)
            self.index.from_numpy(np.argmax(values, axis=1).astype(np.int32))
