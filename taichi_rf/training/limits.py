"""What a configuration that comes from a file may say: every entry's type and range.

Ranges are far wider than what is of use. They keep out what would end in a traceback, in an endless training, or in
more memory than any machine has.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from taichi_rf.coding.checks import number, shown, whole
from taichi_rf.core.errors import UserError

FRACTION = (0.0, 100.0)  # of the training; above 1 is never
WEIGHT = (0.0, 1e9)

LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, (1 << 63) - 1),
    "iterations": (1, 1 << 40),
    "max_seconds": (1e-9, 1e12),
    "batch_rays": (1, 1 << 20),
    "num_ranks": (1, 64),
    "prefix_from": FRACTION,
    "prefix_rate": WEIGHT,
    "prefix_mean_from": FRACTION,
    "upsilon": WEIGHT,
    "eta": FRACTION,
    "rank_deadlines": FRACTION,
    "density_shift": (-100, 100),
    "distance_scale": (1e-3, 1e4),
    "resolutions": (2, 1024),
    "upsample_at": FRACTION,
    "step_ratio": (0.25, 16),  # asks.MOST_STEPS allows it on every grid
    "weight_threshold": (0, 1),
    "occupancy_from": FRACTION,
    "occupancy_every": (1, 1 << 40),
    "occupancy_threshold": (0, 0.999999),
    "shrink_at": FRACTION,
    "filter_at": FRACTION,
    "factor_rate": WEIGHT,
    "network_rate": WEIGHT,
    "decay": (1e-30, 1e9),
    "l1": WEIGHT,
    "l1_after_shrink": WEIGHT,
    "tv_density": WEIGHT,
    "tv_appearance": WEIGHT,
    "orthogonality": WEIGHT,
    "bits": (0, 64),
    "base_depth": (2, 7),
    "lods": (1, 5),
    "max_vertices": (1, 1 << 24),
    "grow_at": FRACTION,
    "seen_threshold": WEIGHT,
    "quantise_at": FRACTION,
    "vertex_rate": WEIGHT,
    "logit_rate": WEIGHT,
    "sharpness": WEIGHT,
    "points": (1, 1 << 26),
    "held_out": (0, 1 << 30),
}
"""Least and most of every entry that is a number, or a list of such."""

MOST_ENTRIES = 64
"""Of a list."""


def check_entries(values: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Check the entries of a configuration; ``annotations`` says what type each is.

    Raises:
        UserError: an entry is of another type or outside its range; it is named.
    """
    for key, value in values.items():
        _check(value, annotations[key], key)


def _check(value: Any, kind: Any, key: str) -> None:
    where, origin = f"the configuration's '{key}'", get_origin(kind)
    if origin in (Union, types.UnionType):  # X | None
        if value is not None:
            _check(value, next(part for part in get_args(kind) if part is not type(None)), key)
    elif origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise UserError(f"{where} should be one of {', '.join(get_args(kind))}, not {shown(value)}")
    elif origin is tuple:
        parts = get_args(kind)
        count = None if parts[-1] is Ellipsis else len(parts)
        if not isinstance(value, tuple | list) or len(value) > MOST_ENTRIES or count not in (None, len(value)):
            raise UserError(f"{where} should be a list{'' if count is None else f' of {count}'}, not {shown(value)}")
        for item in value:
            _check(item, parts[0], key)
    elif kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{where} should be true or false, not {shown(value)}")
    elif kind is str:
        if not isinstance(value, str):
            raise UserError(f"{where} should be text, not {shown(value)}")
    elif kind is int:
        low, high = LIMITS[key]
        whole(value, int(low), int(high), where)
    else:
        number(value, *LIMITS[key], where)
