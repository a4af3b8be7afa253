"""The configuration of a training: what all methods have, and one part that the method has to itself.

Fractions are of the whole training (iterations, or seconds where a time limit stretches the schedule).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from taichi_rf.core.errors import UserError
from taichi_rf.training.limits import FRACTION, WEIGHT, Range


@dataclass(frozen=True)
class StrategyConfig:
    """What a method has to itself, besides :class:`Config`. Every method has a subclass of its own."""

    LIMITS: ClassVar[Mapping[str, Range]] = {}
    """Least and most of every entry that is a number, or a list of such."""
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Entries that belong together, by a name that may stand before theirs: ``ranks.upsilon``."""

    @property
    def wants_depth(self) -> bool:
        """Whether depth images matter, where a scene has any."""
        return False

    @property
    def mean_from(self) -> float | None:
        """Fraction from which the mean of the parameters is kept, to end with; None for never."""
        return None

    @property
    def rate_of_fewer_levels(self) -> float:
        """Learning rate of a step on fewer levels than there are over that of a step on all."""
        return 1.0


@dataclass(frozen=True)
class Config:
    """Everything that a training needs to be repeated, besides the scene."""

    LIMITS: ClassVar[Mapping[str, Range]] = {
        "seed": (0, (1 << 63) - 1),
        "iterations": (1, 1 << 40),
        "max_seconds": (1e-9, 1e12),
        "batch_rays": (1, 1 << 20),
        "density_shift": (-100, 100),
        "distance_scale": (1e-3, 1e4),
        "step_ratio": (0.25, 16),  # storage.requirements.MOST_STEPS allows it on every grid
        "weight_threshold": (0, 1),
        "filter_at": FRACTION,
        "network_rate": WEIGHT,
        "decay": (1e-30, 1e9),
        "held_out": (0, 1 << 30),
        "distortion": WEIGHT,
        "exposure_rate": WEIGHT,
    }

    method: str
    """By its name in the registry."""
    strategy: StrategyConfig
    """What the method has to itself."""

    preset: str = "quick"
    seed: int = 0
    iterations: int = 30_000
    max_seconds: float | None = None
    """Training time; the schedule is stretched or shortened to fit it."""
    batch_rays: int = 4096
    background: Literal["scene", "random"] = "scene"
    """"random" trains against a new colour a batch, for scenes whose images have alpha."""
    held_out: int = 0
    """Training pixels that are kept back, to find which level is best; see ``autorank``."""

    decoder: Literal["mlp", "sh", "small", "none"] = "mlp"
    density_shift: float = -10.0
    distance_scale: float = 25.0
    step_ratio: float = 0.5
    """Step along rays, in units of the grid's spacing."""
    weight_threshold: float = 1e-4
    """Samples of smaller weight get no colour."""
    silhouettes: bool = False
    """Start inside the visual hull of images with alpha rather than in the whole box (not in the papers)."""
    frusta: bool = False
    """Leave empty what fewer than two cameras see, in a space without an end."""
    filter_at: float = 4 / 30
    """Fraction at which rays that see nothing occupied are dropped; 1 for never."""

    distortion: float = 0.0
    """Weight of the distortion loss (mip-NeRF 360), against what floats before a background."""

    exposure_rate: float = 0.0
    """Learning rate of a gain and an offset for each photograph and channel, which only the training knows; 0 for
    none."""

    network_rate: float = 1e-3
    """Learning rate of the decoder."""
    decay: float = 0.1
    """Learning rate at the end over that at the start; exponential in between."""

    def __post_init__(self) -> None:
        if self.held_out < 0:
            raise UserError("held_out must not be below 0")
        if self.iterations < 1 or self.batch_rays < 1:
            raise UserError("iterations and batch_rays must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UserError("--max-seconds must be above 0")

    @property
    def wants_depth(self) -> bool:
        """Whether depth images matter, where a scene has any."""
        return self.strategy.wants_depth

    def get(self, name: str) -> Any:
        """The entry called ``name``, wherever it is."""
        return getattr(self.strategy if name in names_of(type(self.strategy)) else self, name)

    def changed(self, **entries: Any) -> Config:
        """With some entries replaced, wherever they are: in the common part or in the method's own.

        Raises:
            UserError: there is no such entry, or values do not go together.
        """
        own = names_of(type(self.strategy))
        if unknown := entries.keys() - own - names_of(Config):
            raise UserError(f"the configuration has unknown entries: {', '.join(sorted(unknown))}")
        strategy = replace(self.strategy, **{key: value for key, value in entries.items() if key in own})
        common = {key: value for key, value in entries.items() if key not in own}
        return replace(self, **{"strategy": strategy, **common})

    def to_json(self) -> dict[str, Any]:
        """As values of JSON; :func:`taichi_rf.training.methods.registry.read_config` is the inverse."""
        return asdict(self)


def names_of(kind: type) -> frozenset[str]:
    """The entries of a configuration, or of a method's part."""
    return frozenset(field.name for field in fields(kind))
