"""A solid: VQAD's field of signed distances, learnt from a mesh. Its presets and options are VQAD's but for these."""

from __future__ import annotations

from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs import vqad

QUICK = vqad.QUICK.changed(
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
"""A minute on two CPU cores. The distance is there from the start, and there are small rates to better it."""

BALANCED = QUICK.changed(preset="balanced", iterations=2000, points=1 << 21)
PAPER = QUICK.changed(preset="paper", iterations=10_000, points=1 << 22)

PRESETS = {config.preset: config for config in (QUICK, BALANCED, PAPER)}


def entries(options: vqad.VqadOptions) -> dict[str, Any]:
    """Entries of the configuration that the options name. UserError for what cannot be, or not together."""
    if options.no_depth:
        raise UserError("--no-depth does not go with a mesh, which has its distances")
    return vqad.entries(options)
