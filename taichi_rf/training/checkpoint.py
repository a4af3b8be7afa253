"""The exact state of a training: what :meth:`Trainer.save` writes and a resumed trainer continues from.

Everything that decides the next step is in it; what follows from scene and configuration is not. On the CPU a resumed
training makes the model of an uninterrupted one, bit for bit. What there is to save is for the training's owners of
state to say (:class:`taichi_rf.training.state.Owner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from taichi_rf.coding.checks import shown
from taichi_rf.core.errors import UserError
from taichi_rf.storage.scene_identity import compare, identity
from taichi_rf.storage.trf import load_checkpoint, save_checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods.registry import read_config
from taichi_rf.training.state import Arrays, Entries, Owner

NAME = "checkpoint"
"""Of the file in a run folder."""

MAY_CHANGE = ("iterations", "max_seconds")
"""Entries of the configuration that a resumed training may have changed."""

ROOM = 1 << 20
"""Bytes of a checkpoint that are not arrays, at most."""


class Stateful(Protocol):
    """What a checkpoint needs of a training."""

    scene: Any
    config: Config
    warnings: tuple[str, ...]

    @property
    def owners(self) -> Sequence[Owner]:
        """All that have state, in the order in which they take it back."""

    def restored(self) -> None:
        """Called once all of them have."""


Made = TypeVar("Made", bound=Stateful)


def capture(training: Stateful) -> tuple[Arrays, dict[str, Any]]:
    """Copies of everything that decides the next step: arrays by name, and JSON values."""
    arrays: Arrays = {}
    state = {"config": training.config.to_json(), "scene": identity(training.scene)}
    for owner in training.owners:
        arrays |= owner.arrays()
        state |= owner.state()
    return arrays, state


def check(training: Stateful, state: dict[str, Any]) -> None:
    """Check every number that a checkpoint has besides its arrays.

    Args:
        training: of the same scene and configuration, new.
        state: what :func:`capture` returned, if it is what it seems.

    Raises:
        UserError: an entry is missing, of another type, or out of its range; it is named.
    """
    its = Entries(state, "its state")
    for owner in training.owners:
        owner.check(its)


def restore(training: Stateful, arrays: Arrays, state: dict[str, Any]) -> None:
    """The inverse of :func:`capture`, for a training of the same scene and configuration.

    Raises:
        UserError: something is missing, or is nothing that :func:`capture` returns; the training is of no use then.
    """
    check(training, state)
    for owner in training.owners:
        owner.restore(arrays, state)
    training.restored()


def save(training: Stateful, path: Path) -> None:
    """Write the state atomically.

    Raises:
        FloatingPointError: a parameter is not finite, so there is nothing worth going on from.
        UserError: the file cannot be written. Either way the earlier checkpoint is untouched.
    """
    arrays, state = capture(training)
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise FloatingPointError(f"'{name}' holds numbers that are not finite at iteration {state['iteration']}")
    save_checkpoint(path, arrays, state)


def load(make: Callable[[Config], Made], path: Path, scene: Any, config: Config | None = None) -> Made:
    """A training that goes on from the checkpoint; ``make`` makes a new one of ``scene``. See ``Trainer.resume``."""
    if not path.exists():
        raise UserError(f"{path.parent} holds no checkpoint to resume from")
    arrays, state = load_checkpoint(path)
    try:
        saved = read_config(state["config"])
        config = config or saved
        _same_config(saved, config, path)
        warnings = _same_scene(state["scene"], scene, config, path)
        training = make(config)
        training.warnings = (*training.warnings, *warnings)
        try:
            restore(training, arrays, state)
        except UserError as error:
            raise UserError(f"checkpoint {path} cannot be used: {error}; train again with --overwrite") from None
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"checkpoint {path} does not fit this version of the program ({type(error).__name__}: {error}): "
            "train again with --overwrite"
        ) from error
    return training


def taken(path: Path) -> int:
    """The iterations that the training in a checkpoint has taken. UserError where there is none, or it is damaged."""
    if not path.exists():
        raise UserError(f"{path.parent} holds no checkpoint to resume from")
    return Entries(load_checkpoint(path)[1], f"the state of {path}").whole("iteration")


def size_limit(training: Stateful) -> int:
    """Bytes that a checkpoint of this training can need on disk, at most."""
    return sum(owner.most_bytes() for owner in training.owners) + ROOM


def _same_scene(saved: dict[str, Any], scene: Any, config: Config, path: Path) -> tuple[str, ...]:
    """Warnings, if it may be the same. UserError with what differs, and how to go on, if it is not."""
    try:
        return compare(saved, scene, depth=config.wants_depth)
    except UserError as error:
        raise UserError(
            f"{path} was trained on another scene ({error}): bring back what it was trained on, or name the scene that "
            "it was (python train.py --resume RUN SCENE), or train anew in another folder"
        ) from None


def _same_config(saved: Config, given: Config, path: Path) -> None:
    before, now = _entries(saved), _entries(given)
    for key in before:  # the method comes first: entries of another would be missing
        if key not in MAY_CHANGE and before[key] != now[key]:
            raise UserError(
                f"{path} was trained with {key} {shown(before[key])}, not {shown(now[key])}; this cannot change"
            )


def _entries(config: Config) -> dict[str, Any]:
    """Those of the common part and of the method's own, side by side."""
    common = config.to_json()
    own: dict[str, Any] = common.pop("strategy")
    return common | own
