"""From the options of ``train.py`` to what is trained: a preset's configuration with what the options change, and the
scene."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import scenes
from taichi_rf.cli.train.options import TrainOptions
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.autorank import PIXELS
from taichi_rf.training.methods import registry
from taichi_rf.training.methods.base import Method
from taichi_rf.training.run import Recipe


def new_recipe(options: TrainOptions) -> Recipe:
    """What a new run is to be; everything not given is the preset's.

    Raises:
        UserError: options cannot be, or do not go together.
    """
    source = options.scene
    assert source is not None
    method = registry.find(options.method, registry.teacher_for(mesh=scenes.is_mesh(source)))
    config = method.preset(options.preset or "quick").changed(**_entries(options, method))
    if options.background is not None:
        config = config.changed(background="random" if options.background == "random" else "scene")
    return Recipe(
        config,
        source=source,
        downscale=1 if options.downscale is None else options.downscale,
        views=options.views,
        background="black" if options.background == "black" else "white",
        eval_views=options.eval_views,
        follow_links=options.follow_links,
        world=options.world,
        arch=options.arch or "auto",
    )


def resumed_recipe(recipe: Recipe, options: TrainOptions) -> Recipe:
    """What a run goes on as whose ``config.json`` says ``recipe``.

    Raises:
        UserError: its scene is not there any more.
    """
    config = recipe.config
    if options.max_seconds is not None:
        config = config.changed(max_seconds=options.max_seconds)
    if options.iterations is not None:
        config = config.changed(iterations=options.iterations, max_seconds=None)
    recipe = replace(
        recipe,
        config=config,
        source=options.scene or recipe.source,
        arch=options.arch or recipe.arch,
        eval_views=recipe.eval_views if options.eval_views is None else options.eval_views,
    )
    _check_scene(recipe.source, options)
    return recipe


def _check_scene(source: str, options: TrainOptions) -> None:
    """UserError where the scene of a run to go on with is not there any more; it says how to go on."""
    try:
        scenes.find(source)
    except UserError as error:
        if options.scene is not None:
            raise
        raise UserError(
            f"{error}; if the scene of this run is elsewhere now, name it: python train.py --resume "
            f"{shlex.quote(str(options.resume))} SCENE"
        ) from None


def _entries(options: TrainOptions, method: Method) -> dict[str, Any]:
    """Entries of the configuration that the options name. UserError for what cannot be, or not together."""
    same = ("decoder", "max_seconds", "iterations", "seed")
    found = {key: value for key in same if (value := getattr(options, key)) is not None}
    found |= method.entries(options)
    if options.rank is not None:
        if method.learns_from == "mesh":
            raise UserError("--rank auto does not go with a mesh, which has no rays to keep back")
        found["held_out"] = PIXELS
    if options.decoder is not None and options.decoder not in method.decoders:
        if not method.decoders:
            raise UserError(f"--decoder does not go with a {method.learns_from}, which has no colours")
        raise UserError(
            f"--decoder {options.decoder} does not go with --method {method.name}: choose "
            f"{' or '.join(method.decoders)}"
        )
    return found
