"""SlimmeRF: a tensor-factorised field whose levels are ranks. Its configuration, presets and options.

Constants of the ``paper`` preset are SlimmeRF's for NeRF-synthetic scenes, 30,000 iterations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.base import Config, StrategyConfig
from taichi_rf.training.limits import FRACTION, WEIGHT, Range


@dataclass(frozen=True)
class SlimmerfConfig(StrategyConfig):
    """Ranks, grid, empty space and regularisers."""

    LIMITS: ClassVar[Mapping[str, Range]] = {
        "num_ranks": (1, 64),
        "prefix_from": FRACTION,
        "prefix_rate": WEIGHT,
        "prefix_mean_from": FRACTION,
        "upsilon": WEIGHT,
        "eta": FRACTION,
        "rank_deadlines": FRACTION,
        "resolutions": (2, 1024),
        "grid": (2, 1024),
        "upsample_at": FRACTION,
        "occupancy_from": FRACTION,
        "occupancy_every": (1, 1 << 40),
        "occupancy_threshold": (0, 0.999999),
        "shrink_at": FRACTION,
        "factor_rate": WEIGHT,
        "l1": WEIGHT,
        "l1_after_shrink": WEIGHT,
        "tv_density": WEIGHT,
        "tv_appearance": WEIGHT,
        "orthogonality": WEIGHT,
    }
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "ranks": (
            "num_ranks", "upsilon", "eta", "rank_deadlines", "prefix_from", "prefix_rate", "prefix_mean_from"
        ),
    }  # fmt: skip

    ranks: Literal["prefix", "train", "plain", "bcd"] = "train"
    """"train" adds ranks one by one (TRaIn); "prefix" does, too, and then trains prefixes of them as models of their
    own; "plain" has all from the start (TensoRF); "bcd" does, too, and trains one group of them at a time
    (block-coordinate descent)."""
    prefix_from: float = 0.35
    """Prefix training: fraction from which steps on a prefix and steps on the whole take turns."""
    prefix_rate: float = 1.0
    """Learning rate of a step on a prefix over that of one on the whole."""
    prefix_mean_from: float = 0.8
    """Prefix training: fraction from which the mean of the parameters is kept, to end with, for the steps pull in
    different directions."""
    num_ranks: int = 16
    upsilon: float = 0.4
    """TRaIn: the relative change of the loss from batch to batch above which a rank is added (0.2 for Ficus and
    T&T)."""
    eta: float = 0.0
    """TRaIn: least fraction of the training between two increments (paper: 0, LLFF 100 iterations)."""
    rank_deadlines: tuple[float, float] = (0.3, 0.6)
    """The second rank is in at the first fraction at the latest, the last one at the second; evenly between."""

    activation: Literal["softplus", "relu"] = "softplus"
    resolutions: tuple[int, ...] = (128, 152, 180, 213, 253, 300)
    """Nodes a side of a cube of as many voxels; the first at the start, the others at ``upsample_at``."""
    upsample_at: tuple[float, ...] = (2 / 30, 3 / 30, 4 / 30, 5.5 / 30, 7 / 30)
    grid: int | None = None
    """Nodes a side of the last grid in place of the last of ``resolutions``; finer ones than this are left out."""
    begun: bool = False
    """The training begins with a model, and its grid: upsampling to one that is no finer is left out."""
    shrink_at: float = 2 / 30
    """Fraction at which the box shrinks to what is occupied; 1 for never."""

    occupancy_from: float = 2 / 30
    """Fraction from which empty space is skipped."""
    occupancy_every: int = 1000
    """Iterations between two refreshes of the occupancy grid; later more, up to a 64th of those that were."""
    occupancy_threshold: float = 2.5e-3
    """Alpha of one step below which a cell is empty. The paper's 1e-4 leaves out its distance scale of 25."""

    factor_rate: float = 0.02
    """Learning rate of the factors."""
    restart_on_upsample: bool = True
    """Adam and the learning rate start anew at each upsampling."""
    l1: float = 8e-5
    l1_after_shrink: float = 4e-5
    tv_density: float = 0.0
    tv_appearance: float = 0.0
    orthogonality: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.num_ranks <= 64:
            raise UserError("num_ranks must be 1 to 64")
        if len(self.resolutions) != len(self.upsample_at) + 1:
            raise UserError("resolutions needs one entry more than upsample_at")

    @property
    def grids(self) -> list[tuple[float, int]]:
        """Fraction of the training and nodes a side of each grid, in order; the first is that to begin with."""
        every = list(zip((0.0, *self.upsample_at), self.resolutions, strict=True))
        if self.grid is None:
            return every
        coarser = [(at, nodes) for at, nodes in every[:-1] if nodes < self.grid]
        return [*coarser, (every[len(coarser)][0], self.grid)]

    @property
    def mean_from(self) -> float | None:
        return self.prefix_mean_from if self.ranks == "prefix" else None

    @property
    def rate_of_fewer_levels(self) -> float:
        return self.prefix_rate if self.ranks != "bcd" else 1.0


PAPER = Config("slimmerf", SlimmerfConfig(), preset="paper")
"""SlimmeRF-16 on NeRF-synthetic, every constant of the paper and its code."""

BALANCED = PAPER.changed(
    preset="balanced",
    iterations=10_000,
    resolutions=(128, 160, 200),
    upsample_at=(0.15, 0.3),
    occupancy_from=0.05,
    occupancy_every=64,
    silhouettes=True,
    shrink_at=0.15,
    filter_at=1.0,
    eta=0.01,
    ranks="prefix",
    prefix_rate=2.0,
    rank_deadlines=(0.02, 0.2),
)
"""Minutes on a GPU."""

QUICK = BALANCED.changed(
    preset="quick",
    iterations=2500,
    decoder="sh",
    resolutions=(64, 128),
    upsample_at=(0.12,),
    occupancy_from=0.03,
    occupancy_every=16,
    shrink_at=0.12,
    rank_deadlines=(0.02, 0.12),
    weight_threshold=1e-3,  # a third fewer samples to shade than at 1e-4
    step_ratio=1.0,  # lego, training rays, one seed: 0.2 to 0.3 dB above 0.5 after the same steps
)
"""Minutes on two CPU cores."""

PRESETS = {config.preset: config for config in (QUICK, BALANCED, PAPER)}

_NO_SPARSITY = {"l1": 0.0, "l1_after_shrink": 0.0}
"""A background is nowhere empty: what is drawn to zero comes back as fog."""
_PHOTOGRAPHS: dict[str, Any] = {**_NO_SPARSITY, "activation": "relu", "background": "random"}
"""relu begins half opaque, so that colours are learnt from the first step on, where softplus begins transparent and
what it learns first is fog before the cameras. Behind opaque photographs a random colour asks for opacity."""
_COARSE_FIRST: dict[str, Any] = {
    **_PHOTOGRAPHS,
    "frusta": True,
    "iterations": 10_000,
    "batch_rays": 1024,
    "occupancy_threshold": 0.01,
    "upsample_at": (0.04, 0.12, 0.3),
    "shrink_at": 1.0,
}
"""Of "quick": every ray meets something and at first all samples on it count, so that steps cost least on a coarse grid
and with few rays; as many rays as for objects in all."""

SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "contract": {
        "quick": {**_COARSE_FIRST, "resolutions": (32, 64, 128, 224), "tv_density": 0.1, "tv_appearance": 0.03},
        "balanced": {**_PHOTOGRAPHS, "resolutions": (96, 192, 300), "tv_density": 0.1, "tv_appearance": 0.03},
        "paper": {**_PHOTOGRAPHS, "tv_density": 0.1, "tv_appearance": 0.01, "upsilon": 0.2, "shrink_at": 1.0},
    },
    "ndc": {
        "quick": {**_COARSE_FIRST, "resolutions": (32, 64, 128, 224), "tv_density": 0.3, "tv_appearance": 0.1},
        "balanced": {**_PHOTOGRAPHS, "resolutions": (96, 192, 400), "tv_density": 1.0, "tv_appearance": 1.0},
        "paper": {
            **_NO_SPARSITY,
            "activation": "relu",
            "num_ranks": 24,
            "iterations": 25_000,
            "resolutions": (128, 191, 286, 428, 640),
            "upsample_at": (2 / 25, 3 / 25, 4 / 25, 5.5 / 25),
            "shrink_at": 1.0,
            "tv_density": 1.0,
            "tv_appearance": 1.0,
            "upsilon": 0.1,
            "eta": 100 / 25_000,
        },
    },
}
"""What differs for captures with a background, and for cameras that look ahead."""


def settled(steps: int) -> Config:
    """What ``bench`` trains for so many steps and then measures: all ranks, over the box that is left after a quarter
    of them."""
    iterations = steps + 10_000
    shrink = 0.25 * steps / iterations
    return QUICK.changed(
        ranks="plain",
        resolutions=(128, 128),  # the second time over the box that is left
        upsample_at=(shrink,),
        iterations=iterations,
        occupancy_from=0.8 * shrink,
        shrink_at=shrink,
        filter_at=shrink,
    )


@dataclass(frozen=True)
class SlimmerfOptions:
    """What ``train.py`` can be told for this method alone."""

    # slimmerf. prefix: ranks come in one by one, then prefixes of them are trained as models of their own, too. train:
    # they come in one by one (TRaIn, the paper's way). plain: all at once, good only as a whole. bcd: all are there,
    # and one group of them trains at a time while the others rest (block-coordinate descent). Default: the preset's.
    ranks: Literal["prefix", "train", "plain", "bcd"] | None = None
    # slimmerf: how many ranks there are in the end, 1 to 64. Default: the preset's, and with --from the model's.
    num_ranks: int | None = None
    # slimmerf: nodes a side of the last grid, if it were a cube; from 2 to 1024. Default: the preset's.
    grid: int | None = None


def entries(options: SlimmerfOptions) -> dict[str, Any]:
    """Entries of the configuration that the options name. UserError for a number out of its range."""
    for name, low, high in (("num_ranks", 1, 64), ("grid", 2, 1024)):
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} {value}: {low} to {high} is expected")
    names = ("ranks", "num_ranks", "grid")
    return {name: value for name in names if (value := getattr(options, name)) is not None}
