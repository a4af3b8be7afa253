"""The scene that a model was trained on, to judge the model by: found again, and compared with what was learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scenes
from scenes.base import MIN_TRAIN_VIEWS, Scene
from taichi_rf.coding.headers import is_whole
from taichi_rf.core.errors import UserError
from taichi_rf.storage.metadata import is_builtin, is_of
from taichi_rf.storage.scene_identity import compare
from taichi_rf.storage.trf import load_checkpoint
from taichi_rf.storage.world import World
from taichi_rf.training import checkpoint
from taichi_rf.training.run import recipe_beside


def source_of(model: Path, metadata: dict[str, Any]) -> str:
    """Where the scene of the model in that file is: what its run's configuration says, or the name of a built-in one.

    Raises:
        UserError: nothing says it, or it is a path to another machine, which a run from anybody may name.
    """
    recipe, source = recipe_beside(model), metadata.get("source")
    if recipe is None:
        if is_builtin(source):
            return str(source)
        raise UserError(f"{model} does not say where the scene is that it was trained on: name it behind the model")
    if recipe.is_remote:
        raise UserError(
            f"{model} was trained on a scene on another machine of the network: if {recipe.source} is to be opened, "
            "name it behind the model"
        )
    return recipe.source


def judged(model: Path, metadata: dict[str, Any], scene: Any) -> tuple[bool | None, str]:
    """Whether ``scene``, loaded as for the training, is what the model in that file was trained on, and what differs as
    far as that is known, in brackets. None where nothing says what it was trained on.

    The checkpoint beside a model knows more than the model: which image is another, and which hardly differs.
    """
    same = is_of(metadata, scene)
    if same or (same is False and is_builtin(scene.source)):
        return same, ""
    try:
        saved = load_checkpoint(model.parent / checkpoint.NAME)[1]["scene"]
    except (UserError, KeyError):  # there is none, or it cannot be read
        return same, ""
    try:
        compare(saved, scene, depth=False)
    except UserError as error:
        return False, f" ({error})"
    except (KeyError, TypeError, ValueError):  # it makes no sense
        return same, ""
    return True, ""


def load_to_judge(
    source: str, model: Path, metadata: dict[str, Any], downscale: int, *, world: World | None = None, **options: Any
) -> tuple[Scene, str | None]:
    """The scene in ``source``, and what is to be said where it is not the one that a model was trained on.

    The training views are loaded only if they can be compared: those of a folder, in the size that was learnt from.

    Args:
        model, metadata: its file, and what that says.
        world: what is to be otherwise than in the training; nothing by default.
        options: of :func:`scenes.load`.

    Raises:
        UserError: as :func:`scenes.load`.
    """
    views = metadata.get("views")
    named = is_builtin(scenes.find(source)) or scenes.is_mesh(source)
    if not named:
        world = World.of(metadata).with_said(world or World())
    options["world"] = world
    comparable = not named and is_whole(views, MIN_TRAIN_VIEWS, 1 << 20) and metadata.get("downscale") == downscale
    try:
        scene = scenes.load(source, downscale=downscale, views=views if comparable else MIN_TRAIN_VIEWS, **options)
    except UserError as error:
        if not comparable:
            raise
        scene = scenes.load(source, downscale=downscale, views=MIN_TRAIN_VIEWS, **options)
        return scene, f"nobody knows whether {source} is what this model was trained on: {error}"
    same, why = judged(model, metadata, scene) if comparable or named else (None, "")
    return scene, f"{source} does not hold what this model was trained on{why}" if same is False else None
