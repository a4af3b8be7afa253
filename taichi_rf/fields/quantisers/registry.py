"""Which quantiser is which: made from features that were trained, and read from a file."""

from typing import Any, Literal, get_args

import numpy as np

from taichi_rf.coding.bits import pack_aligned, unpack_aligned
from taichi_rf.coding.headers import is_whole, wrong
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Arrays, Schema
from taichi_rf.fields.quantisers.base import Quantiser, Uncompressed
from taichi_rf.fields.quantisers.codebook import MAX_HASH_BITS, MAX_LEARNED_BITS, Codebook, check_bits
from taichi_rf.fields.quantisers.hashed import HashedCodebook, hashed
from taichi_rf.fields.quantisers.kmeans import distances, kmeans
from taichi_rf.fields.quantisers.learned import CHUNK, LearnedCodebook
from taichi_rf.fields.quantisers.lowrank import MAX_RANK, LowRank, check_rank
from taichi_rf.fields.trees.morton import coordinates
from taichi_rf.fields.trees.octree import Octree

CodeKind = Literal["learned", "none", "kmeans", "lowrank", "hash"]
KINDS: tuple[CodeKind, ...] = get_args(CodeKind)
CODEBOOKS: dict[str, type[Codebook]] = {c.kind: c for c in (LearnedCodebook, Codebook, HashedCodebook)}
"""Of "learned", "kmeans" and "hash"."""


def check(kind: str, bits: int) -> None:
    """UserError for a kind, or a width of it, that there is not."""
    if kind not in KINDS:
        raise UserError(f"--codes {kind}: choose one of {', '.join(KINDS)}")
    if kind == "lowrank":
        check_rank(bits)
    elif kind != "none":
        check_bits(kind, bits)


def quantised(
    kind: CodeKind, bits: int, features: np.ndarray, weights: np.ndarray, tree: Octree, *, rate: float,
    logit_rate: float, sharpness: float, seed: int, feedback: bool = False, channels: np.ndarray | None = None,
) -> Quantiser:  # fmt: skip
    """A quantiser that comes as near as it can to ``features`` (vertices, 16), each vertex by its weight (vertices,).

    Args:
        bits: of an index; for "lowrank" the numbers a vertex.
        sharpness: "learned" logits begin at minus the squared distance to each row, times this over the mean squared
            distance to the nearest.
        feedback: of "learned" and "kmeans", have each level make up for what those before it lose (as the stages of
            residual vector quantisation do, Juang and Gray 1982). A level by itself is what it is without.
        channels: (16,) what a squared error in each channel of "learned" or "kmeans" weighs; all the same where None.
    """
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    total = sum(counts)
    rng = np.random.default_rng(seed)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    parts = [slice(int(a), int(b)) for a, b in zip(firsts, firsts[1:])]
    if kind == "lowrank":
        values, matrices = np.empty((total, bits), np.float32), np.empty((len(counts), bits, features.shape[1]))
        for level, part in enumerate(parts):
            values[part], matrices[level] = _principal(features[part], weights[part], bits)
        return LowRank(counts, total, rank=bits, rate=rate, values=values, matrices=matrices)
    if kind == "hash":
        indices = np.concatenate([hashed(coordinates(layer.vertices), bits) for layer in tree.layers])
        return HashedCodebook(counts, total, bits=bits, rate=rate, indices=indices, seed=seed)
    root = np.ones(features.shape[1], np.float32) if channels is None else np.sqrt(channels).astype(np.float32)
    features = features * root
    books, indices, begun = [], np.empty(total, np.int32), []
    lost = np.zeros(0)
    for level, part in enumerate(parts, 1):
        wanted = features[part]
        if feedback and level > 1:
            wanted = wanted + tree.prolonged(level, lost)
        means, indices[part] = kmeans(wanted, weights[part], 1 << bits, rng)
        books.append(means / root)
        lost = wanted - means[indices[part]]
        if kind == "learned":
            nearest = (lost**2).sum(axis=1)
            scale = max(float(np.average(nearest, weights=weights[part] + 1e-12)), 1e-12)
            begun.append((part.start, wanted, means, sharpness / scale))
    codes = CODEBOOKS[kind](
        counts, total, bits=bits, rate=rate, logit_rate=logit_rate, indices=indices, book=np.stack(books),
        seed=None,
    )  # fmt: skip
    for start, wanted, means, steepness in begun:
        assert isinstance(codes, LearnedCodebook)
        for first in range(0, len(wanted), CHUNK):
            codes.begin(start + first, -steepness * distances(wanted[first : first + CHUNK], means))
    return codes


def _principal(features: np.ndarray, weights: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best factors (n, rank) and matrix (rank, 16) by weighted least squares, the columns' scales shared evenly."""
    _, values, rows = np.linalg.svd(features * np.sqrt(weights + 1e-12)[:, None], full_matrices=False)
    matrix = rows[:rank]
    return (features @ matrix.T).astype(np.float32), matrix


def empty_quantiser(header: dict[str, Any], tree: Octree, *, rate: float, logit_rate: float) -> Quantiser:
    """A quantiser as :func:`quantised` makes it, to which a checkpoint then gives its values."""
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    kind, total = header["codes"], sum(counts)
    if kind == "lowrank":
        return LowRank(counts, total, rank=header["rank"], rate=rate)
    indices = None
    if kind == "hash":
        indices = np.concatenate([hashed(coordinates(layer.vertices), header["bits"]) for layer in tree.layers])
    return CODEBOOKS[kind](counts, total, bits=header["bits"], rate=rate, logit_rate=logit_rate, indices=indices)


def check_quantiser(header: dict[str, Any]) -> None:
    """UserError when a file's header does not say which quantiser, of a size that there is."""
    kind = header.get("codes")
    if kind not in KINDS:
        raise wrong("field.codes", f"one of {', '.join(KINDS)}")
    if kind == "lowrank" and not is_whole(header.get("rank"), 1, MAX_RANK):
        raise wrong("field.rank", f"a whole number from 1 to {MAX_RANK}")
    most = MAX_HASH_BITS if kind == "hash" else MAX_LEARNED_BITS
    if kind in ("learned", "kmeans", "hash") and not is_whole(header.get("bits"), 1, most):
        raise wrong("field.bits", f"a whole number from 1 to {most}")


def quantiser_schema(header: dict[str, Any], vertices: int) -> Schema:
    """The arrays of one level of ``vertices`` vertices."""
    kinds: dict[str, Any] = {"none": Uncompressed, "lowrank": LowRank, **CODEBOOKS}
    schema: Schema = kinds[header["codes"]].schema(header, vertices)
    return schema


def check_stored(header: dict[str, Any], arrays: Arrays, vertices: int) -> None:
    """UserError where a level's indices are none of ``vertices`` rows of its codebook. Needs no device."""
    if "indices" in arrays:
        unpack_aligned(arrays["indices"], vertices, header["bits"])


def stored_part(header: dict[str, Any], arrays: Arrays, vertices: int, places: np.ndarray) -> Arrays:
    """What a level's file holds for its vertices ``places`` (m,) alone, of ``vertices`` that it has. Needs no device.

    Raises:
        UserError: the indices are none of so many vertices.
    """
    kept = {name: arrays[name] for name in quantiser_schema(header, vertices)}
    if "indices" in kept:
        kept["indices"] = pack_aligned(
            unpack_aligned(kept["indices"], vertices, header["bits"])[places], header["bits"]
        )
    for name in ("features", "factors"):  # a row a vertex; codebooks and matrices are for all of them
        if name in kept:
            kept[name] = kept[name][places]
    return kept


def reserved_quantiser(header: dict[str, Any], counts: tuple[int, ...], capacity: int) -> Quantiser:
    """A quantiser of ``counts`` vertices that is to be unpacked, and :meth:`~Quantiser.placed`; it does not train."""
    kind = header["codes"]
    if kind == "none":
        return Uncompressed(counts, capacity, seed=None)
    if kind == "lowrank":
        return LowRank(counts, capacity, rank=header["rank"], trains=False)
    indices = np.zeros(sum(counts), np.int32)
    return CODEBOOKS[kind](counts, capacity, bits=header["bits"], indices=indices, trains=False, seed=None)


def stored_quantiser(header: dict[str, Any], counts: tuple[int, ...], tree: Octree) -> Quantiser:
    """A quantiser that is to be unpacked; it does not train."""
    quantiser = reserved_quantiser(header, counts, sum(counts))
    for level, layer in enumerate(tree.layers, 1):
        quantiser.placed(level, layer.vertices)
    return quantiser
