"""Training configurations: one dataclass, and named instances of it.

Fractions are of the whole training (iterations, or seconds where a time limit stretches the schedule). Constants of the
``paper`` preset are SlimmeRF's for NeRF-synthetic scenes, 30,000 iterations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_type_hints

from taichi_rf.core.errors import UserError
from taichi_rf.training.limits import check_entries


@dataclass(frozen=True)
class Config:
    """Everything that a training needs to be repeated, besides the scene."""

    method: Literal["slimmerf", "vqad"] = "slimmerf"
    preset: str = "quick"
    seed: int = 0
    iterations: int = 30_000
    max_seconds: float | None = None
    """Training time; the schedule is stretched or shortened to fit it."""
    batch_rays: int = 4096

    ranks: Literal["prefix", "train", "plain"] = "train"
    """"train" adds ranks one by one (TRaIn); "prefix" does, too, and then trains prefixes of them as models of their
    own; "plain" has all from the start (TensoRF)."""
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
    """TRaIn: least fraction of the training between two increments (paper: 0, LLFF 100 of 30,000 iterations)."""
    rank_deadlines: tuple[float, float] = (0.3, 0.6)
    """The second rank is in at the first fraction at the latest, the last one at the second; evenly between."""

    decoder: Literal["mlp", "sh", "small", "none"] = "mlp"
    activation: Literal["softplus", "relu"] = "softplus"
    density_shift: float = -10.0
    distance_scale: float = 25.0

    resolutions: tuple[int, ...] = (128, 152, 180, 213, 253, 300)
    """Nodes a side of a cube of as many voxels; the first at the start, the others at ``upsample_at``."""
    upsample_at: tuple[float, ...] = (2 / 30, 3 / 30, 4 / 30, 5.5 / 30, 7 / 30)
    step_ratio: float = 0.5
    """Step along rays, in units of the grid's spacing."""

    weight_threshold: float = 1e-4
    """Samples of smaller weight get no colour."""

    occupancy_from: float = 2 / 30
    """Fraction from which empty space is skipped."""
    occupancy_every: int = 1000
    """Iterations between two refreshes of the occupancy grid; later more, up to a 64th of those that were."""
    occupancy_threshold: float = 2.5e-3
    """Alpha of one step below which a cell is empty. The paper's 1e-4 leaves out its distance scale of 25."""
    silhouettes: bool = False
    """Start inside the visual hull of images with alpha rather than in the whole box (not in the paper)."""
    shrink_at: float = 2 / 30
    """Fraction at which the box shrinks to what is occupied; 1 for never."""
    filter_at: float = 4 / 30
    """Fraction at which rays that see nothing occupied are dropped; 1 for never."""

    factor_rate: float = 0.02
    network_rate: float = 1e-3
    decay: float = 0.1
    """Learning rate at the end over that at the start; exponential in between."""
    restart_on_upsample: bool = True
    """Adam and the learning rate start anew at each upsampling."""

    l1: float = 8e-5
    l1_after_shrink: float = 4e-5
    tv_density: float = 0.0
    tv_appearance: float = 0.0
    orthogonality: float = 0.0
    # The octree field (vqad)
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
    """Plant the octree where depth images say the surface is, where there are any."""
    max_vertices: int = 1 << 20
    """Room for an octree that is found while training."""
    grow_at: tuple[float, ...] = (0.06, 0.14, 0.27)
    """Fractions at which cells that no ray sees are dropped, and the others divided as long as levels are missing."""
    seen_threshold: float = 0.01
    """Largest weight in a cell below which no ray sees it."""
    quantise_at: float = 0.32
    """Fraction from which features are what ``codes`` says."""
    vertex_rate: float = 0.1
    logit_rate: float = 0.3
    sharpness: float = 1.0
    """How sure the first logits are of the nearest row."""

    # A solid, learnt from the distances of a mesh (vqad)
    points: int = 1 << 20
    """Points whose distances are asked for, to learn from; ``batch_rays`` of them are drawn for a step."""

    background: Literal["scene", "random"] = "scene"
    """"random" trains against a new colour a batch, for scenes whose images have alpha."""

    held_out: int = 0
    """Training pixels that are kept back, to find which level is best; see ``autorank``."""

    def __post_init__(self) -> None:
        if self.held_out < 0:
            raise UserError("held_out must not be below 0")
        if self.iterations < 1 or self.batch_rays < 1:
            raise UserError("iterations and batch_rays must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UserError("--max-seconds must be above 0")
        if not 1 <= self.num_ranks <= 64:
            raise UserError("num_ranks must be 1 to 64")
        if self.grow_at and max(self.grow_at) > self.quantise_at:
            raise UserError("grow_at must not go beyond quantise_at: codes are made for the final octree")
        if len(self.resolutions) != len(self.upsample_at) + 1:
            raise UserError("resolutions needs one entry more than upsample_at")

    @property
    def wants_depth(self) -> bool:
        """Whether depth images matter, where a scene has any."""
        return self.method == "vqad" and self.depth

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Any) -> Config:
        """The inverse of :meth:`to_json`; UserError for anything else, such as a key that this version does not
        know, or a number out of its range."""
        if not isinstance(values, dict):
            raise UserError("the configuration is broken: it is no list of named entries")
        names = set(Config.__dataclass_fields__)
        unknown = set(values) - names
        if unknown:
            raise UserError(f"the configuration has unknown entries: {', '.join(sorted(unknown))}")
        check_entries(values, get_type_hints(Config))
        lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Config(**lists)


PAPER = Config(preset="paper")
"""SlimmeRF-16 on NeRF-synthetic, every constant of the paper and its code."""

BALANCED = replace(
    PAPER,
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

QUICK = replace(
    BALANCED,
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

VQAD_PAPER = Config(
    method="vqad",
    preset="paper",
    iterations=60_000,
    decoder="small",
    density_shift=-3.0,
    network_rate=5e-3,
    silhouettes=True,
    filter_at=1.0,
    step_ratio=0.5,
    resolutions=(256,),
    upsample_at=(),
    shrink_at=1.0,
)
"""VQAD's levels 5 to 8 of 16 features, the finest rays."""

VQAD_BALANCED = replace(VQAD_PAPER, preset="balanced", iterations=20_000)
"""Minutes on a GPU."""

VQAD_QUICK = replace(VQAD_PAPER, preset="quick", iterations=4000, step_ratio=1.0, weight_threshold=1e-3)
"""Minutes on two CPU cores."""

VQAD_PRESETS = {config.preset: config for config in (VQAD_QUICK, VQAD_BALANCED, VQAD_PAPER)}

PRESETS = {config.preset: config for config in (QUICK, BALANCED, PAPER)}

METHODS: dict[str, dict[str, Config]] = {"slimmerf": PRESETS, "vqad": VQAD_PRESETS}
"""The presets of each method."""

SOLID_QUICK = replace(
    VQAD_QUICK,
    iterations=400,
    batch_rays=1 << 16,
    decoder="none",
    vertex_rate=2e-5,
    logit_rate=0.01,
    quantise_at=0.3,
    grow_at=(),
    filter_at=1.0,
    silhouettes=False,
)
"""A solid: a minute on two CPU cores. The distance is there from the start, and there are small rates to better it."""

SOLID_BALANCED = replace(SOLID_QUICK, preset="balanced", iterations=2000, points=1 << 21)
SOLID_PAPER = replace(SOLID_QUICK, preset="paper", iterations=10_000, points=1 << 22)

SOLIDS = {config.preset: config for config in (SOLID_QUICK, SOLID_BALANCED, SOLID_PAPER)}
"""The presets of "vqad" where the scene is a mesh."""


def find_preset(method: str, name: str, *, mesh: bool = False) -> Config:
    """The configuration called ``name`` of a method, for a mesh or for photographs.

    Raises:
        UserError: there is no such method or preset, or the method cannot fit a mesh.
    """
    if method not in METHODS:
        raise UserError(f"unknown method '{method}': choose one of {', '.join(METHODS)}")
    if mesh and method != "vqad":
        raise UserError(f"--method {method} cannot fit a mesh: give --method vqad")
    found = SOLIDS if mesh else METHODS[method]
    if name not in found:
        raise UserError(f"there is no preset '{name}': choose one of {', '.join(found)}")
    return found[name]
