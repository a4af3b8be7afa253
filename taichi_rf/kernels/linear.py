"""Matrix products over rows of activations, tiled for registers, with their adjoints.

Activations are fields of blocks: element (i, k) of an (n, K) matrix is ``x[i, k // 16][k % 16]``. Fields and not arrays
passed as arguments, because only a field's addresses are provably contiguous to LLVM: index arithmetic on arguments is
in 32 bits that might wrap, nothing is vectorised, and a product runs at 10 GFLOP/s instead of 120 (two AVX-512 cores).
"""

from typing import Any

import numpy as np

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, Block

TILE = 32
"""Outputs that one task accumulates in registers, for two rows at a time."""

PARTITIONS = 16
"""Into how many runs of rows the weight gradient is split. Fixed, so that sums do not depend on the number of
threads."""

CHUNK = 64
"""Rows of one partition that are walked for every tile before going on: inputs and gradients of a chunk stay in L2."""


@ti.func
def runaway(x):
    """False for every number that can occur here. A second exit of an accumulation loop: with a single one LLVM
    vectorises the tile across its reduction, with gathers, which is eight times slower than the tile as written."""
    return x > 1e38


def blocks_of(components: int) -> int:
    """Blocks that hold a row of ``components`` numbers."""
    return -(-components // BLOCK)


@ti.data_oriented
class Linear:
    """y = x W + b over packed rows, W of shape (inputs, outputs).

    Rows of y hold ``outputs`` numbers padded with zeros to a multiple of 32. With ``segments`` s, the inputs are s
    equal runs of whole blocks, and a forward pass may use only elements [begin, end) of each: a prefix of every mode's
    components. The parameters are views into flat fields owned by the caller (from ``offset``: W row by row, then b),
    so that one optimiser step serves all layers; :meth:`publish` copies them to where products read them.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool, offset: int, segments: int = 1) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.bias, self.offset = bias, offset
        self.size = inputs * outputs + (outputs if bias else 0)
        self.input_blocks = blocks_of(inputs)
        self.segments = segments
        self.segment_blocks = self.input_blocks // segments
        self.segment = inputs // segments
        self.tiles = -(-outputs // TILE)
        self.output_blocks = 2 * self.tiles
        self.used_output_blocks = blocks_of(outputs)
        self.w = ti.Vector.field(TILE, ti.f32, (self.tiles, self.input_blocks * BLOCK))
        self.b = ti.Vector.field(TILE, ti.f32, self.tiles)
        self.input_tiles = -(-self.input_blocks // 2)
        self.w_t = ti.Vector.field(TILE, ti.f32, (self.input_tiles, outputs))
        self.atomic = not current().owner_computes
        if not self.atomic:
            self.partial = ti.Vector.field(
                BLOCK, ti.f32, (PARTITIONS, self.input_blocks * BLOCK + 1, self.output_blocks)
            )

    def initial(self, rng: np.random.Generator) -> np.ndarray:
        """Uniform in +-1/sqrt(inputs), the usual default for linear layers; shape (size,)."""
        bound = 1 / np.sqrt(self.inputs)
        return rng.uniform(-bound, bound, self.size).astype(np.float32)

    @ti.kernel
    def publish(self, values: ti.template()):
        """Copy W and b out of the flat parameters. Call after every change of them."""
        for tile, j in ti.ndrange(self.input_tiles, self.outputs):
            row = ti.Vector.zero(ti.f32, TILE)
            for k in ti.static(range(TILE)):
                if tile * TILE + k < self.inputs:
                    row[k] = values[self.offset + (tile * TILE + k) * self.outputs + j]
            self.w_t[tile, j] = row
        for k, tile in ti.ndrange(self.inputs, self.tiles):
            row = ti.Vector.zero(ti.f32, TILE)
            for j in ti.static(range(TILE)):
                if tile * TILE + j < self.outputs:
                    row[j] = values[self.offset + k * self.outputs + tile * TILE + j]
            self.w[tile, k] = row
        if ti.static(self.bias):
            for tile in range(self.tiles):
                row = ti.Vector.zero(ti.f32, TILE)
                for j in ti.static(range(TILE)):
                    if tile * TILE + j < self.outputs:
                        row[j] = values[self.offset + self.inputs * self.outputs + tile * TILE + j]
                self.b[tile] = row

    def forward(
        self, n: int, x: Any, y: Any, *, relu: bool = False, begin: int = 0, end: int | None = None, add: bool = False
    ) -> None:
        """y = (y if ``add`` else b) + x[begin:end of each segment] W, then relu if asked; x (n, inputs), y (n,
        outputs)."""
        if n > 0:
            self._forward(n, x, y, begin, self.segment if end is None else end, int(add), int(relu))

    @ti.kernel
    def _forward(self, n: int, x: ti.template(), y: ti.template(), begin: int, end: int, add: int, relu: int):
        for pair in range((n + 1) // 2):
            i0 = 2 * pair
            i1 = ti.min(i0 + 1, n - 1)
            for tile in range(self.tiles):
                a0 = self.b[tile]
                a1 = self.b[tile]
                if add != 0:
                    for j in ti.static(range(TILE)):
                        a0[j] = y[i0, tile * 2 + j // BLOCK][j % BLOCK]
                        a1[j] = y[i1, tile * 2 + j // BLOCK][j % BLOCK]
                for block in range(self.input_blocks):
                    first = (block % self.segment_blocks) * BLOCK
                    for c in range(ti.max(begin - first, 0), ti.min(end - first, BLOCK)):
                        x0 = x[i0, block][c]
                        x1 = x[i1, block][c]
                        if runaway(x0):
                            break
                        w = self.w[tile, block * BLOCK + c]
                        for j in ti.static(range(TILE)):
                            a0[j] += x0 * w[j]
                            a1[j] += x1 * w[j]
                if relu != 0:
                    a0 = ti.max(a0, 0.0)
                    a1 = ti.max(a1, 0.0)
                for q in ti.static(range(2)):
                    y[i0, tile * 2 + q] = Block([a0[q * BLOCK + j] for j in range(BLOCK)])
                    y[i1, tile * 2 + q] = Block([a1[q * BLOCK + j] for j in range(BLOCK)])

    def adjoint(
        self, n: int, x: Any, dy: Any, dx: Any | None, gradient: Any, *, relu: bool = False, blocks: int | None = None
    ) -> None:
        """dx = dy W^T (zero where x <= 0 if ``relu``: x came out of one) and gradient += x^T dy.

        Args:
            n: rows.
            x, dy: (n, inputs) and (n, outputs) as in :meth:`forward`.
            dx: (n, inputs), overwritten, or None where nobody needs it.
            gradient: flat array, laid out like the parameters.
            blocks: of each segment, if not all: what x holds beyond is not looked at, nor does dx get it.
        """
        if n == 0:
            return
        blocks = blocks or self.segment_blocks
        if dx is not None:
            self._input_gradient(n, x, dy, dx, blocks, int(relu))
        if self.atomic:
            self._weight_gradient_atomic(n, x, dy, gradient, blocks)
        else:
            self._weight_gradient(n, x, dy, blocks)
            self._reduce(gradient)

    @ti.func
    def takes_part(self, block, blocks):
        """Whether a block of inputs is one of the first ``blocks`` of its segment."""
        return block < self.input_blocks and block % self.segment_blocks < blocks

    @ti.kernel
    def _input_gradient(self, n: int, x: ti.template(), dy: ti.template(), dx: ti.template(), blocks: int, relu: int):
        # dx_k = sum_j dy_j W_kj: the forward product with the transposed weights
        for pair in range((n + 1) // 2):
            i0 = 2 * pair
            i1 = ti.min(i0 + 1, n - 1)
            for tile in range(self.input_tiles):
                a0 = ti.Vector.zero(ti.f32, TILE)
                a1 = ti.Vector.zero(ti.f32, TILE)
                used = self.used_output_blocks
                if not (self.takes_part(2 * tile, blocks) or self.takes_part(2 * tile + 1, blocks)):
                    used = 0
                for block in range(used):
                    for c in range(ti.min(self.outputs - block * BLOCK, BLOCK)):
                        d0 = dy[i0, block][c]
                        d1 = dy[i1, block][c]
                        if runaway(d0):
                            break
                        w = self.w_t[tile, block * BLOCK + c]
                        for k in ti.static(range(TILE)):
                            a0[k] += d0 * w[k]
                            a1[k] += d1 * w[k]
                for q in ti.static(range(2)):
                    block = tile * 2 + q
                    if self.takes_part(block, blocks):
                        g0 = Block([a0[q * BLOCK + k] for k in range(BLOCK)])
                        g1 = Block([a1[q * BLOCK + k] for k in range(BLOCK)])
                        if relu != 0:
                            zero = ti.Vector.zero(ti.f32, BLOCK)
                            g0 = ti.select(x[i0, block] > 0, g0, zero)
                            g1 = ti.select(x[i1, block] > 0, g1, zero)
                        dx[i0, block] = g0
                        dx[i1, block] = g1

    @ti.kernel
    def _weight_gradient(self, n: int, x: ti.template(), dy: ti.template(), blocks: int):
        # dW_kj = sum_i x_ik dy_ij; partition p owns its own copy, so no two tasks write one number
        # (and a = a + b, because Taichi makes += on memory an atomic)
        ti.loop_config(block_dim=1)
        for p in range(PARTITIONS):
            for row, block in ti.ndrange(self.input_blocks * BLOCK + 1, self.output_blocks):
                self.partial[p, row, block] = ti.Vector.zero(ti.f32, BLOCK)
            first = n * p // PARTITIONS
            last = n * (p + 1) // PARTITIONS
            for chunk in range((last - first + CHUNK - 1) // CHUNK):
                i_begin = first + chunk * CHUNK
                i_end = ti.min(i_begin + CHUNK, last)
                for tile in range(self.tiles):
                    for part in range(self.segments * blocks * 4):
                        block = part // 4 // blocks * self.segment_blocks + part // 4 % blocks
                        c = part % 4 * 4
                        row = block * BLOCK + c
                        a0 = ti.Vector.zero(ti.f32, BLOCK)
                        a1 = ti.Vector.zero(ti.f32, BLOCK)
                        a2 = ti.Vector.zero(ti.f32, BLOCK)
                        a3 = ti.Vector.zero(ti.f32, BLOCK)
                        b0 = ti.Vector.zero(ti.f32, BLOCK)
                        b1 = ti.Vector.zero(ti.f32, BLOCK)
                        b2 = ti.Vector.zero(ti.f32, BLOCK)
                        b3 = ti.Vector.zero(ti.f32, BLOCK)
                        for i in range(i_begin, i_end):
                            x0 = x[i, block][c]
                            x1 = x[i, block][c + 1]
                            x2 = x[i, block][c + 2]
                            x3 = x[i, block][c + 3]
                            if runaway(x0):
                                break
                            d0 = dy[i, tile * 2]
                            d1 = dy[i, tile * 2 + 1]
                            a0 += x0 * d0
                            b0 += x0 * d1
                            a1 += x1 * d0
                            b1 += x1 * d1
                            a2 += x2 * d0
                            b2 += x2 * d1
                            a3 += x3 * d0
                            b3 += x3 * d1
                        self.partial[p, row, tile * 2] = self.partial[p, row, tile * 2] + a0
                        self.partial[p, row, tile * 2 + 1] = self.partial[p, row, tile * 2 + 1] + b0
                        self.partial[p, row + 1, tile * 2] = self.partial[p, row + 1, tile * 2] + a1
                        self.partial[p, row + 1, tile * 2 + 1] = self.partial[p, row + 1, tile * 2 + 1] + b1
                        self.partial[p, row + 2, tile * 2] = self.partial[p, row + 2, tile * 2] + a2
                        self.partial[p, row + 2, tile * 2 + 1] = self.partial[p, row + 2, tile * 2 + 1] + b2
                        self.partial[p, row + 3, tile * 2] = self.partial[p, row + 3, tile * 2] + a3
                        self.partial[p, row + 3, tile * 2 + 1] = self.partial[p, row + 3, tile * 2 + 1] + b3
                    if ti.static(self.bias):
                        s0 = ti.Vector.zero(ti.f32, BLOCK)
                        s1 = ti.Vector.zero(ti.f32, BLOCK)
                        for i in range(i_begin, i_end):
                            if runaway(dy[i, tile * 2][0]):
                                break
                            s0 += dy[i, tile * 2]
                            s1 += dy[i, tile * 2 + 1]
                        row = self.input_blocks * BLOCK
                        self.partial[p, row, tile * 2] = self.partial[p, row, tile * 2] + s0
                        self.partial[p, row, tile * 2 + 1] = self.partial[p, row, tile * 2 + 1] + s1

    @ti.kernel
    def _reduce(self, gradient: ti.template()):
        for k, j in ti.ndrange(self.inputs + (1 if ti.static(self.bias) else 0), self.outputs):
            row = k
            if k == self.inputs:
                row = self.input_blocks * BLOCK
            total = 0.0
            for p in range(PARTITIONS):
                total += self.partial[p, row, j // BLOCK][j % BLOCK]
            e = self.offset + k * self.outputs + j
            gradient[e] = gradient[e] + total  # += would be atomic

    @ti.kernel
    def _weight_gradient_atomic(
        self, n: int, x: ti.template(), dy: ti.template(), gradient: ti.template(), blocks: int
    ):
        # one thread a (run of rows, k, j): neighbours read neighbouring j; one atomic add a run
        for run, k, j in ti.ndrange((n + 255) // 256, self.inputs + (1 if ti.static(self.bias) else 0), self.outputs):
            if k == self.inputs or self.takes_part(k // BLOCK, blocks):
                total = 0.0
                for i in range(run * 256, ti.min(run * 256 + 256, n)):
                    xk = 1.0
                    if k < self.inputs:
                        xk = x[i, k // BLOCK][k % BLOCK]
                    total += xk * dy[i, j // BLOCK][j % BLOCK]
                gradient[self.offset + k * self.outputs + j] += total
