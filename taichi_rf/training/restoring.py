"""What a checkpoint says of a training, checked before anything of it is taken over.

Checkpoints are passed on like models, and what is in one may be anything. Here every number is looked at, and the
pixels. The parameters' arrays are looked at by :func:`parameter_values`, once the field has the structure that they are
for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError

if TYPE_CHECKING:
    from taichi_rf.kernels.optim import Parameters
    from taichi_rf.training.trainer import Trainer

MOST = 1 << 40
"""Of anything that is counted: more than there ever is, and far from where int64 ends."""
MAX_LOSS = 1e30
MAX_SECONDS = 1e12
THINNEST = 1 / 4096
"""Least side of a box over the largest of the box that the training began with: it is cut at grid nodes, of which
there are 1,024 at most."""


class Entries:
    """The entries of a JSON object; UserError where it is none."""

    def __init__(self, table: Any, name: str) -> None:
        self.table, self.name = table, name

    def get(self, key: str) -> Any:
        return checks.entry(self.table, key, self.name)

    def whole(self, key: str, high: int = MOST, low: int = 0) -> int:
        return checks.whole(self.get(key), low, high, f"'{key}' of {self.name}")

    def number(self, key: str, high: float, low: float = 0.0) -> float:
        return checks.number(self.get(key), low, high, f"'{key}' of {self.name}")

    def tables(self, key: str) -> list[Entries]:
        """Of a list of objects."""
        value = self.get(key)
        if not isinstance(value, list):
            raise UserError(f"'{key}' of {self.name} should be a list, not {checks.shown(value)}")
        return [Entries(item, f"'{key}'") for item in value]


def check_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """Check every number that a checkpoint has besides its arrays.

    Args:
        trainer: of the same scene and configuration, new.
        state: what :func:`taichi_rf.training.checkpoint.capture` returned, if it is what it seems.

    Raises:
        UserError: an entry is missing, of another type, or out of its range; it is named.
    """
    its = Entries(state, "its state")
    for key in ("iteration", "adam_steps", "rays_seen", "consumed"):
        its.whole(key)
    its.whole("mean_count", MOST if trainer.mean.values else 0)
    its.whole("milestones_done", len(trainer.milestones.entries))
    its.number("elapsed", MAX_SECONDS)
    its.number("recent_loss", MAX_LOSS)
    its.number("rate_restarted_at", 1.0)
    if its.get("last_loss") is not None:
        its.number("last_loss", MAX_LOSS)
    its.number("far", 1e7, low=its.number("near", 1e6))
    _check_box(its.get("box"), trainer.model.box)

    levels, ranks = trainer.ranks.highest, Entries(its.get("ranks"), "'ranks'")
    ranks.whole("level", levels, low=1)
    if "last_loss" in trainer.ranks.state():
        ranks.number("last_loss", math.inf)
        ranks.number("last_increment", 1.0)
    growth = Entries(its.get("growth"), "'growth'")
    for key, now in trainer.growth.state().items():
        if isinstance(now, bool):
            checks.truth(growth.get(key), f"'{key}' of 'growth'")
        else:
            growth.whole(key)
    trainer.growth.check_structure(its.get("field"), its.whole("milestones_done"))

    for event in its.tables("events"):
        event.whole("iteration")
        if not isinstance(event.get("event"), str):
            raise UserError(f"an event should have a name, not {checks.shown(event.get('event'))}")
        if event.get("event") == "rank":
            event.whole("level", levels, low=1)
    for entry in its.tables("history"):
        entry.whole("iteration")
        entry.number("psnr", 1e4, low=-1e4)


def _check_box(value: Any, begun: np.ndarray) -> None:
    """A box is cut while training, and never grows."""
    low, high = np.array(checks.box(value, "'box' of its state"))
    sides = begun[1].astype(np.float64) - begun[0]
    spare = 1e-4 * sides.max()
    if (low < begun[0] - spare).any() or (high > begun[1] + spare).any() or (high - low).min() < THINNEST * sides.max():
        raise UserError(
            f"'box' of its state should be a part of the box that its training began with, {begun.tolist()}, not "
            f"{np.stack([low, high]).tolist()}"
        )


def parameter_values(arrays: dict[str, np.ndarray], parameters: Parameters) -> dict[str, np.ndarray]:
    """What ``arrays`` holds for ``parameters``, as :meth:`Parameters.restore` takes it.

    Raises:
        UserError: as :func:`values_for`, or numbers that the parameters cannot have.
    """
    found = {}
    for key, array in parameters.arrays().items():
        found[f"{parameters.name}.{key}"] = values = values_for(arrays, f"{parameters.name}.{key}", array)
        parameters.check(key, values)
    return found


def values_for(arrays: dict[str, np.ndarray], name: str, array: Any) -> np.ndarray:
    """What ``arrays`` holds for a device array, with the zeros at its end that checkpoints leave out.

    Raises:
        UserError: it is missing, of another type or width, longer than the device array, or not finite.
    """
    shape = tuple(array.shape) + ((array.n,) if hasattr(array, "n") else ())
    kind = "i4" if array.dtype == ti.i32 else "f4"
    values = checks.array(_there(arrays, name), kind, (None, *shape[1:]), f"'{name}'")
    if len(values) > shape[0]:
        raise UserError(f"'{name}' should have {shape[0]} rows at most, not {len(values)}")
    padded = np.zeros(shape, values.dtype)
    padded[: len(values)] = values
    return padded


def bits_of(arrays: dict[str, np.ndarray], name: str, count: int) -> np.ndarray:
    """``count`` bits as stored, (ceil(count / 8),) uint8. UserError where there are not so many."""
    return checks.array(_there(arrays, name), "u1", (-(-count // 8),), f"'{name}'")


def pixels_of(arrays: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Which of ``count`` pixels are learnt from, ascending. UserError where there are none."""
    found = np.flatnonzero(np.unpackbits(bits_of(arrays, "pixels", count), count=count))
    if not len(found):
        raise UserError("'pixels' leaves no pixel to learn from")
    return found


def _there(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise UserError(f"it lacks the array '{name}'")
    return arrays[name]
