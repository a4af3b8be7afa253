"""Which cells of a grid may hold density: the bits, and how they are found from densities at the grid's nodes."""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, empty

COARSE_BITS = 3
COARSE = 1 << COARSE_BITS
"""Cells along each side of a coarse cell, which is skipped in one stride when all of it is empty."""
BAND = 1 << 24
"""Cells that are unpacked from their bits at a time."""


class Occupancy:
    """Which cells of a grid may hold density: one bit a cell, and one number for each coarse cell of 8^3.

    Cell (i, j, k) spans nodes i..i+1, j..j+1, k..k+1 of a grid of ``nodes``. Starts full.
    """

    def __init__(self, nodes: tuple[int, int, int]) -> None:
        self.cells = (nodes[0] - 1, nodes[1] - 1, nodes[2] - 1)
        self.words = -(-self.cells[0] // 32)
        self.bits = empty(ti.i32, self.words * self.cells[1] * self.cells[2])
        self.coarse_cells = tuple(-(-c // COARSE) for c in self.cells)
        self.coarse = empty(ti.i32, int(np.prod(self.coarse_cells)))
        self.limits: Any = None
        self.fill()

    def fill(self) -> None:
        """Mark every cell that may be marked."""
        if self.limits is None:
            self.bits.fill(-1)
            self.coarse.fill(1)
        else:
            self.bits.copy_from(self.limits)
            _mark_coarse(*self.cells, self.words, *self.coarse_cells, self.bits, self.coarse)

    def limit(self, cells: np.ndarray) -> None:
        """Never mark a cell outside ``cells``, (z, y, x) of bool; marks all inside."""
        self.limits = empty(ti.i32, self.bits.shape[0])
        self.set_cells(cells)
        self.limits.copy_from(self.bits)

    def update(self, node_density: Any, scale: float, threshold: float, *, grow: bool) -> None:
        """Mark the cells where alpha = 1 - exp(-density * scale) may exceed ``threshold``.

        A VM field is trilinear inside a cell before its monotonic activation, so the largest of the eight corners
        bounds it:
        nothing that could matter is dropped. ``grow`` marks the neighbours too, for a field that still trains.

        Args:
            node_density: (nx * ny * nz,) at the grid's nodes, x fastest.
            scale: step size times distance scale.
            threshold: smallest alpha that counts.
            grow: mark one cell more in every direction.
        """
        limit = -np.log1p(-threshold) / scale
        nodes = tuple(c + 1 for c in self.cells)
        node_words = -(-nodes[0] // 32)
        node_bits = empty(ti.i32, node_words * nodes[1] * nodes[2])
        _threshold(*nodes, node_words, float(limit), node_density, node_bits)
        _mark(*self.cells, self.words, int(grow), node_words, node_bits, self.bits)
        if self.limits is not None:
            _and(self.bits, self.limits)
        _mark_coarse(*self.cells, self.words, *self.coarse_cells, self.bits, self.coarse)

    def to_numpy(self) -> np.ndarray:
        """(cells z, cells y, cells x) of bool."""
        words = self.bits.to_numpy().view(np.uint32).reshape(self.cells[2], self.cells[1], self.words)
        bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
        return bits.reshape(self.cells[2], self.cells[1], -1)[..., : self.cells[0]].astype(bool)

    def packed(self) -> np.ndarray:
        """The bits as stored: uint8, eight cells a byte, x fastest."""
        return np.packbits(self.to_numpy().reshape(-1), bitorder="little")

    def set_packed(self, packed: np.ndarray) -> None:
        """The inverse of :meth:`packed`."""
        nx, ny, nz = self.cells
        words = np.empty(self.words * ny * nz, np.int32)
        slices = max(8, BAND // (nx * ny) // 8 * 8)  # of whole bytes; a cell takes bytes here, and a bit elsewhere
        for z in range(0, nz, slices):
            count = min(slices, nz - z)
            first, bits = z * nx * ny // 8, count * nx * ny
            cells = np.unpackbits(packed[first : first - (-bits // 8)], bitorder="little", count=bits)
            rows = slice(z * ny * self.words, (z + count) * ny * self.words)
            words[rows] = self.words_of(cells.reshape(count, ny, nx))
        self.set_words(words)

    def set_cells(self, cells: np.ndarray) -> None:
        """Occupied cells from a (z, y, x) array of bool, or of 0 and 1."""
        self.set_words(self.words_of(cells))

    @staticmethod
    def words_of(cells: np.ndarray) -> np.ndarray:
        """The bits of a (z, y, x) array of bool as they are on the device: int32, every row begins a word."""
        words = -(-cells.shape[2] // 32)
        padded = np.zeros((*cells.shape[:2], words * 32), np.uint8)
        padded[..., : cells.shape[2]] = cells
        return np.packbits(padded.reshape(-1), bitorder="little").view("<u4").astype(np.uint32).view(np.int32)

    def set_words(self, words: np.ndarray) -> None:
        """Occupied cells from what :meth:`words_of` made of them."""
        self.bits.from_numpy(words)
        _mark_coarse(*self.cells, self.words, *self.coarse_cells, self.bits, self.coarse)

    def packed_size(self) -> int:
        """Bytes of :meth:`packed`."""
        return -(-int(np.prod(self.cells)) // 8)


@ti.func
def bit_at(cell, rows, words, bits: ti.template()):
    """1 where a cell of the grid is marked, else 0: a grid of ``rows`` cells along y and ``words`` a row of them."""
    return (bits[(cell[2] * rows + cell[1]) * words + (cell[0] >> 5)] >> (cell[0] & 31)) & 1


@ti.kernel
def _threshold(nx: int, ny: int, nz: int, words: int, limit: float, density: F32, bits: I32):
    # bit x of row (y, z): is the density at that node above the limit
    for z, y in ti.ndrange(nz, ny):
        for w in range(words):
            word = 0
            for b in range(ti.min(32, nx - w * 32)):
                if density[(z * ny + y) * nx + w * 32 + b] > limit:
                    word |= 1 << b
            bits[(z * ny + y) * words + w] = word


@ti.func
def word_at(bits: ti.template(), row, w, words):
    """Word w of a row, zero beyond its ends."""
    word = ti.u32(0)
    if 0 <= w < words:
        word = ti.cast(bits[row * words + w], ti.u32)
    return word


@ti.kernel
def _mark(nx: int, ny: int, nz: int, words: int, grow: int, node_words: int, nodes: I32, bits: I32):
    # a cell is occupied if one of its corners is, nodes x - grow .. x + 1 + grow: an OR of shifted words
    for z, y in ti.ndrange(nz, ny):
        for w in range(words):
            word = ti.u32(0)
            for k in range(ti.max(z - grow, 0), ti.min(z + 1 + grow, nz) + 1):
                for j in range(ti.max(y - grow, 0), ti.min(y + 1 + grow, ny) + 1):
                    row = k * (ny + 1) + j
                    here = word_at(nodes, row, w, node_words)
                    after = word_at(nodes, row, w + 1, node_words)
                    word |= here | (here >> 1) | (after << 31)
                    if grow != 0:
                        before = word_at(nodes, row, w - 1, node_words)
                        word |= (here << 1) | (before >> 31) | (here >> 2) | (after << 30)
            valid = ti.min(32, nx - w * 32)
            if valid < 32:
                word &= (ti.u32(1) << ti.cast(valid, ti.u32)) - 1
            bits[(z * ny + y) * words + w] = ti.cast(word, ti.i32)


@ti.kernel
def _and(bits: I32, limits: I32):
    for i in bits:
        bits[i] = bits[i] & limits[i]


@ti.kernel
def _mark_coarse(nx: int, ny: int, nz: int, words: int, cx: int, cy: int, cz: int, bits: I32, coarse: I32):
    for c in range(cx * cy * cz):
        x0 = c % cx * COARSE
        y0 = c // cx % cy * COARSE
        z0 = c // (cx * cy) * COARSE
        found = 0
        for z in range(z0, ti.min(z0 + COARSE, nz)):
            for y in range(y0, ti.min(y0 + COARSE, ny)):
                word = bits[(z * ny + y) * words + x0 // 32]  # eight divides 32: one word covers the run
                if (word >> (x0 % 32)) & 255 != 0:
                    found = 1
        coarse[c] = found
