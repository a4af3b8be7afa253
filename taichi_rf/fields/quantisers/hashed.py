"""A codebook whose indices follow from the vertex's place alone (instant-ngp's, Mueller et al. 2022): only the rows
train, and no index is stored."""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.fields.quantisers.codebook import Codebook
from taichi_rf.fields.trees.morton import coordinates

PRIMES = (1, 2654435761, 805459861)
"""Of the spatial hash (Teschner et al. 2003, as instant-ngp has it)."""


@ti.data_oriented
class HashedCodebook(Codebook):
    """Rows of codebooks, and of each vertex the row that its lattice point hashes to. Args: as :class:`Codebook`."""

    kind = "hash"
    book_trains = True

    @staticmethod
    def schema(header: dict[str, Any], vertices: int) -> Schema:
        """Arrays of one level in the file: see :meth:`Quantiser.schema`."""
        return {"codebook": ("f2", (1 << header["bits"], BLOCK))}

    def pack(self, level: int) -> Arrays:
        return {"codebook": self._rows_of(level)}

    def unpack(self, level: int, arrays: Arrays) -> None:
        self._put_rows_of(level, arrays["codebook"])
        self.published()

    def placed(self, level: int, vertices: np.ndarray) -> None:
        indices = self.index.to_numpy()
        indices[self.firsts[level - 1] : self.firsts[level]] = hashed(coordinates(vertices), self.bits)
        self.index.from_numpy(indices)


def hashed(places: np.ndarray, bits: int) -> np.ndarray:
    """Rows of vertices at lattice points ``places`` (n, 3): the xor of coordinates times primes, modulo 2^bits."""
    mixed = np.zeros(len(places), np.uint64)
    for axis, prime in enumerate(PRIMES):
        mixed ^= places[:, axis].astype(np.uint64) * np.uint64(prime)
    return (mixed & np.uint64((1 << bits) - 1)).astype(np.int32)
