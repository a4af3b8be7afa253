"""VQAD: an octree field of quantised features, whose levels are levels of detail. Configuration, presets and options.

For a solid, which is learnt from the distances of a mesh, see :mod:`taichi_rf.training.configs.solid`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.base import Config, StrategyConfig
from taichi_rf.training.limits import FRACTION, WEIGHT, Range

KMEANS_AT = 0.98
"""Fraction of the training at which ``--codes kmeans`` finds its codes; the decoder alone gets used to them."""


@dataclass(frozen=True)
class VqadConfig(StrategyConfig):
    """Levels of detail, the octree's growth, and how features are stored."""

    LIMITS: ClassVar[Mapping[str, Range]] = {
        "bits": (0, 64),
        "base_depth": (2, 7),
        "lods": (1, 5),
        "max_vertices": (1, 1 << 24),
        "kept_vertices": (1, 1 << 24),
        "grow_at": FRACTION,
        "seen_threshold": WEIGHT,
        "quantise_at": FRACTION,
        "vertex_rate": WEIGHT,
        "logit_rate": WEIGHT,
        "sharpness": WEIGHT,
        "tv_density": WEIGHT,
        "tv_appearance": WEIGHT,
        "points": (1, 1 << 26),
    }

    codes: Literal["learned", "none", "kmeans", "lowrank", "hash"] = "learned"
    """How a vertex's features are represented: an index learnt into a codebook (VQAD), as they are (NGLOD-NeRF), an
    index from k-means in the end (kmVQ), a few numbers times a matrix (LRA), or a hashed index."""
    bits: int = 6
    """Of an index; for "lowrank" the numbers a vertex."""
    base_depth: int = 5
    """The first level of detail has 2^base_depth cells a side."""
    lods: int = 4
    joint: Literal["finest", "random", "split", "all"] = "split"
    """How levels train together, see ``schedule.JointLevels``."""
    depth: bool = True
    """Begin with the octree around the surface that depth images show, where there are any."""
    max_vertices: int = 1 << 20
    """Room for an octree that is found while training."""
    kept_vertices: int = 1 << 24
    """Vertices of the octree once it is no longer divided: of more, the cells go in which rays saw least."""
    grow_at: tuple[float, ...] = (0.06, 0.14, 0.27)
    """Fractions at which cells that no ray sees are dropped, and the others divided as long as levels are missing."""
    seen_threshold: float = 0.01
    """Largest weight in a cell below which no ray sees it."""
    quantise_at: float = 0.32
    """Fraction from which features are what ``codes`` says."""
    vertex_rate: float = 0.1
    """Learning rate of features."""
    logit_rate: float = 0.3
    """Learning rate of the logits of indices."""
    sharpness: float = 1.0
    """How sure the first logits are of the nearest row."""
    tv_density: float = 0.0
    tv_appearance: float = 0.0
    """Weights of the total variation between neighbouring vertices, see ``fields/octree/smoothing.py``."""
    points: int = 1 << 20
    """A solid: points whose distances are asked for, to learn from; ``batch_rays`` of them are drawn for a step."""

    def __post_init__(self) -> None:
        if self.grow_at and max(self.grow_at) > self.quantise_at:
            raise UserError("grow_at must not go beyond quantise_at: codes are made for the final octree")

    @property
    def wants_depth(self) -> bool:
        return self.depth


PAPER = Config(
    "vqad",
    VqadConfig(),
    preset="paper",
    iterations=60_000,
    decoder="small",
    density_shift=-3.0,
    network_rate=5e-3,
    silhouettes=True,
    filter_at=1.0,
    step_ratio=0.5,
)
"""VQAD's levels 5 to 8 of 16 features, the finest rays."""

BALANCED = PAPER.changed(preset="balanced", iterations=20_000)
"""Minutes on a GPU."""

QUICK = PAPER.changed(preset="quick", iterations=4000, step_ratio=1.0, weight_threshold=1e-3)
"""Minutes on two CPU cores."""

PRESETS = {config.preset: config for config in (QUICK, BALANCED, PAPER)}

_PHOTOGRAPHS: dict[str, Any] = {
    "background": "random", "frusta": True, "bits": 8, "max_vertices": 1 << 21, "kept_vertices": 1_000_000,
    "tv_density": 1e-9, "tv_appearance": 1e-9,
}  # fmt: skip
"""Photographs hold more than 64 rows of a codebook can: on a room 256 have 0.6 dB more at the finest level and 1.0 at
the first. They show surfaces everywhere, which are thick at first: with room for half as many vertices, cells were left
out for want of it, and there were holes. A million vertices of 8 bits are less than a megabyte."""
_QUICK_PHOTOGRAPHS: dict[str, Any] = {**_PHOTOGRAPHS, "batch_rays": 1024, "iterations": 16_000}
_COARSER: dict[str, Any] = {"base_depth": 4}
"""All of space has so many cells that something is in that there is no room to divide them to 256 a side: nine of ten
would be left out, and with them what the coarser levels show there."""

SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "contract": {"quick": {**_QUICK_PHOTOGRAPHS, **_COARSER}, "balanced": {**_PHOTOGRAPHS, **_COARSER}, "paper": {}},
    "ndc": {"quick": _QUICK_PHOTOGRAPHS, "balanced": _PHOTOGRAPHS, "paper": {}},
}
"""What differs for captures with a background, and for cameras that look ahead."""


def settled(steps: int) -> Config:
    """What ``bench`` trains for so many steps and then measures: all levels of detail, and codes learnt for the last
    quarter."""
    iterations = steps + 10_000
    share = steps / iterations
    return QUICK.changed(
        iterations=iterations,
        grow_at=tuple(part * share for part in (0.15, 0.3, 0.45, 0.6)),
        filter_at=0.65 * share,
        quantise_at=0.7 * share,
    )


@dataclass(frozen=True)
class VqadOptions:
    """What ``train.py`` can be told for this method alone."""

    # vqad: how a corner's features are stored. learned: as an index, learnt with a codebook. none: as they are.
    # kmeans: as an index found at the end. lowrank: as a few numbers times a matrix. hash: not at all, its place says
    # which row of a codebook it has. Default: the preset's.
    codes: Literal["learned", "none", "kmeans", "lowrank", "hash"] | None = None
    # vqad: bits of an index, 1 to 8 (hash: to 14); for lowrank the numbers of a corner, 1 to 15. Default: the preset's.
    bits: int | None = None
    # vqad: depths of the octree at the first level of detail and the last, such as 5-8, which has 32 to 256 cells a
    # side. Default: the preset's.
    levels: str | None = None
    # vqad: how levels train together. split: the rays of a batch are shared out among them. random: one level a batch.
    # all: all rays at all levels. finest: all rays at the last level, come what may of the others. Default: the
    # preset's.
    joint: Literal["split", "random", "all", "finest"] | None = None
    # vqad: find the surface from the images although the scene has depth.
    no_depth: bool = False


def entries(options: VqadOptions) -> dict[str, Any]:
    """Entries of the configuration that the options name. UserError for what cannot be, or not together."""
    found: dict[str, Any] = {}
    for key in ("codes", "bits", "joint"):
        if getattr(options, key) is not None:
            found[key] = getattr(options, key)
    if options.levels is not None:
        found |= _depths(options.levels)
    if options.no_depth:
        found["depth"] = False
    if options.codes == "kmeans":
        found["quantise_at"] = KMEANS_AT
    _check_codes(options)
    return found


def _depths(levels: str) -> dict[str, Any]:
    """What "5-8" means: the first depth and the number of levels."""
    from taichi_rf.fields.octree.layout import check_levels  # imports Taichi, which --help does without

    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", levels.strip())
    if found is None:
        raise UserError(f"--levels {levels}: depths of the first and the last level are expected, such as 5-8")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UserError(f"--levels {levels}: the first level is the coarsest, such as {last}-{first}")
    try:
        check_levels(first, last - first + 1)
    except UserError as error:
        raise UserError(f"--levels {levels}: {error}") from None
    return {"base_depth": first, "lods": last - first + 1}


def _check_codes(options: VqadOptions) -> None:
    from taichi_rf.fields.quantisers import registry as quantisers  # imports Taichi, which --help does without

    if options.codes == "none" and options.bits is not None:
        raise UserError("--bits does not go with --codes none, which stores features as they are")
    if options.bits is not None:
        quantisers.check(options.codes or "learned", options.bits)
