"""What a model's levels cost and give: what its file says where that is a number, else what is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from taichi_rf.core.errors import UserError


class Levels(Protocol):
    """What is needed of a field."""

    @property
    def num_levels(self) -> int:
        """How many levels there are."""

    @property
    def level_name(self) -> str:
        """What a level is called: "rank" or "LOD"."""


class Levelled(Protocol):
    """What is needed of a model."""

    @property
    def field(self) -> Levels:
        """What has the levels."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known of where the model comes from."""

    def bytes_at(self, level: int) -> int:
        """What a file of the first ``level`` levels takes."""


def stated(metadata: Mapping[str, Any], name: str, level: int | None = None) -> float | None:
    """The number that the metadata call ``name``, or the one of ``level`` in the list of that name; None where there is
    none."""
    value = values = metadata.get(name)
    if level is not None:
        value = values[level - 1] if isinstance(values, list | tuple) and len(values) >= level else None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # nor NaN
    return float(cast(float, value)) if good else None


def size_at(model: Levelled, level: int) -> float:
    """Bytes that the file needs up to ``level``: as read where the model came from a file, else as estimated."""
    size = stated(model.metadata, "prefix_bytes", level)
    return model.bytes_at(level) if size is None else size


def best_level(metadata: Mapping[str, Any], num_levels: int) -> int:
    """The level to show first: the best one where the file says which that is, else the highest."""
    best = stated(metadata, "best_level")
    return num_levels if best is None else min(max(round(best), 1), num_levels)


def level_within(model: Levelled, size: float, highest: int) -> int:
    """The highest level, up to ``highest``, that takes no more than ``size`` bytes; the first if none does."""
    return max(1, sum(round(size_at(model, level)) <= size for level in range(1, highest + 1)))


def checked_level(level: int, num_levels: int, level_name: str) -> int:
    """Return ``level`` when it is 1 to ``num_levels``.

    Raises:
        UserError: it is not; the message calls it by ``level_name``.
    """
    if not 1 <= level <= num_levels:
        raise UserError(f"{level_name} {level} is outside this model: it has {level_name} 1 to {num_levels}")
    return level
