"""The exact state of a training: what :meth:`Trainer.save` writes and a resumed trainer continues from.

Everything that decides the next step is in it; what follows from scene and configuration is not. On the CPU a resumed
training makes the model of an uninterrupted one, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taichi_rf.coding.checks import shown
from taichi_rf.core.errors import UserError
from taichi_rf.storage.scene_identity import compare, identity
from taichi_rf.storage.trf import load_checkpoint, save_checkpoint
from taichi_rf.training.presets import Config
from taichi_rf.training.restoring import bits_of, check_state, parameter_values, pixels_of, values_for

if TYPE_CHECKING:
    from taichi_rf.training.trainer import Trainer

Arrays = dict[str, np.ndarray]

NAME = "checkpoint"
"""Of the file in a run folder."""

MAY_CHANGE = ("iterations", "max_seconds")
"""Entries of the configuration that a resumed training may have changed."""


def capture(trainer: Trainer) -> tuple[Arrays, dict[str, Any]]:
    """Copies of everything that decides the next step: arrays by name, and JSON values."""
    model = trainer.model
    arrays = {name: values for p in model.parameters() for name, values in p.state().items()} | trainer.mean.state()
    arrays = {name: _without_tail(values) for name, values in arrays.items()}
    structure, described = model.field.structure()
    arrays |= {f"field.{name}": values for name, values in structure.items()}
    if not model.field.knows_space:
        arrays["occupancy"] = model.occupancy.packed()
    if trainer.filtered:
        kept = np.zeros(_pixel_count(trainer.scene), bool)
        kept[trainer.pixels] = True
        arrays["pixels"] = np.packbits(kept)
    state = {
        "config": trainer.config.to_json(),
        "scene": identity(trainer.scene),
        "field": described,
        "growth": trainer.growth.state(),
        "box": model.box.tolist(),
        "near": model.near,
        "far": model.far,
        "adam_steps": trainer.adam.steps,
        "mean_count": trainer.mean.count,
        "milestones_done": trainer.milestones.done,
        "rate_restarted_at": trainer.rate.restarted_at,
        "ranks": trainer.ranks.state(),
        "consumed": trainer.consumed,
        "iteration": trainer.iteration,
        "elapsed": trainer.elapsed,
        "rays_seen": trainer.rays_seen,
        "recent_loss": trainer.recent_loss,
        "last_loss": trainer.last_loss,
        "events": list(trainer.events),
        "history": list(trainer.history),
    }
    return arrays, state


def restore(trainer: Trainer, arrays: Arrays, state: dict[str, Any]) -> None:
    """The inverse of :func:`capture`, for a trainer of the same scene and configuration.

    Raises:
        UserError: something is missing, or is nothing that :func:`capture` returns; the trainer is of no use then.
    """
    check_state(trainer, state)
    model, field = trainer.model, trainer.model.field
    field.set_structure(
        {name.removeprefix("field."): values for name, values in arrays.items() if name.startswith("field.")},
        state["field"],
    )
    for p in model.parameters():
        p.restore(parameter_values(arrays, p))
        p.clear()
    trainer.mean.restore(
        state["mean_count"],
        {name: values_for(arrays, name, array) for name, array in trainer.mean.values.items() if state["mean_count"]},
    )
    model.box = np.array(state["box"], np.float32)
    model.near, model.far = float(state["near"]), float(state["far"])
    model.reset_occupancy()
    if not field.knows_space:
        model.occupancy.set_packed(bits_of(arrays, "occupancy", int(np.prod(model.occupancy.cells))))
    trainer.adam.steps = state["adam_steps"]
    trainer.milestones.done = state["milestones_done"]
    trainer.rate.restarted_at = state["rate_restarted_at"]
    trainer.ranks.restore(state["ranks"])
    trainer.growth.restore(state["growth"])
    if "pixels" in arrays and not trainer.filtered:
        trainer.keep_pixels(pixels_of(arrays, _pixel_count(trainer.scene)))
    trainer.consumed = state["consumed"]
    trainer.iteration = state["iteration"]
    trainer.elapsed = state["elapsed"]
    trainer.rays_seen = state["rays_seen"]
    trainer.recent_loss, trainer.last_loss = state["recent_loss"], state["last_loss"]
    trainer.events, trainer.history = list(state["events"]), list(state["history"])
    model.published()


def save(trainer: Trainer, path: Path) -> None:
    """Write the state atomically.

    Raises:
        FloatingPointError: a parameter is not finite, so there is nothing worth going on from.
        UserError: the file cannot be written. Either way the earlier checkpoint is untouched.
    """
    arrays, state = capture(trainer)
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise FloatingPointError(f"'{name}' holds numbers that are not finite at iteration {trainer.iteration}")
    save_checkpoint(path, arrays, state)


def load(
    trainer_type: type[Trainer], path: Path, scene: Any, config: Config | None = None, *, rows: int | None = None
) -> Trainer:
    """Make a trainer for ``scene`` that goes on from the checkpoint; see :meth:`Trainer.resume`."""
    if not path.exists():
        raise UserError(f"{path.parent} holds no checkpoint to resume from")
    arrays, state = load_checkpoint(path)
    try:
        saved = Config.from_json(state["config"])
        config = config or saved
        _same_config(saved, config, path)
        warnings = _same_scene(state["scene"], scene, config, path)
        trainer = trainer_type(scene, config, rows=rows)
        trainer.warnings = (*trainer.warnings, *warnings)
        try:
            restore(trainer, arrays, state)
        except UserError as error:
            raise UserError(f"checkpoint {path} cannot be used: {error}; train again with --overwrite") from None
        if trainer.done:
            trainer.end()
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"checkpoint {path} does not fit this version of the program ({type(error).__name__}: {error}): "
            "train again with --overwrite"
        ) from error
    return trainer


def size_limit(trainer: Trainer) -> int:
    """Bytes that a checkpoint of this training can need on disk, at most."""
    arrays = [array for p in trainer.model.parameters() for array in p.arrays().values()]
    arrays += trainer.mean.values.values()
    numbers = sum(int(np.prod(array.shape)) * getattr(array, "n", 1) for array in arrays)
    return 4 * numbers + _pixel_count(trainer.scene) // 8 + (1 << 20)


def _same_scene(saved: dict[str, Any], scene: Any, config: Config, path: Path) -> tuple[str, ...]:
    """Warnings, if it may be the same. UserError with what differs, and how to go on, if it is not."""
    try:
        return compare(saved, scene, depth=config.method == "vqad" and config.depth)
    except UserError as error:
        raise UserError(
            f"{path} was trained on another scene ({error}): bring back what it was trained on, or name the scene that "
            "it was (python train.py --resume RUN SCENE), or train anew in another folder"
        ) from None


def _same_config(saved: Config, given: Config, path: Path) -> None:
    before, now = saved.to_json(), given.to_json()
    for key in before:
        if key not in MAY_CHANGE and before[key] != now[key]:
            raise UserError(
                f"{path} was trained with {key} {shown(before[key])}, not {shown(now[key])}; this cannot change"
            )


def _pixel_count(scene: Any) -> int:
    return int(np.prod(scene.train.images.shape[:3]))


def _without_tail(values: np.ndarray) -> np.ndarray:
    """Without the zeros at its end, of which an arena with room for a finer grid is full."""
    used = np.flatnonzero(np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1).any(axis=1))
    return values[: used[-1] + 1] if len(used) else values[:0]
