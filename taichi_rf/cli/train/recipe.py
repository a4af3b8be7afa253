"""From the options of ``train.py`` to what is trained: a preset's configuration with what the options change, and the
scene."""

from __future__ import annotations

import shlex
from collections.abc import Container
from dataclasses import replace
from typing import Any

import scenes
from taichi_rf.cli.train.options import MOST_ITERATIONS, TrainOptions
from taichi_rf.coding.headers import is_whole
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.autorank import PIXELS
from taichi_rf.storage.model_file import StoredModel, model_path
from taichi_rf.storage.world import World
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.named import read_settings
from taichi_rf.training.methods import registry
from taichi_rf.training.methods.base import Method
from taichi_rf.training.run import Recipe, recipe_beside


def new_recipe(options: TrainOptions, stored: StoredModel | None = None) -> Recipe:
    """What a new run is to be; everything not given is the preset's, or that of the run of the model it begins with.

    Args:
        stored: the model that ``options.begin_with`` names.

    Raises:
        UserError: options cannot be, or do not go together.
    """
    if stored is not None:
        return _begun_recipe(options, stored)
    source = options.scene
    assert source is not None
    method = registry.find(options.method, registry.teacher_for(mesh=scenes.is_mesh(source)))
    config = method.preset(options.preset or "quick")
    said = _entries(options, method)
    config = config.changed(**said)
    if options.background is not None:
        said["background"] = "random" if options.background == "random" else "scene"
        config = config.changed(background=said["background"])
    config = config.changed(**settings(options, config, said))
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


def suited_config(recipe: Recipe, options: TrainOptions, scene: Any) -> Config:
    """The configuration of a new run as suits ``scene``: what options say stays, also where it is what the preset says
    anyway, and so does all that comes from the run of the model that the new one begins with, which suited it already.
    """
    if _run_before(recipe.config.method, options) is not None:
        return recipe.config
    said = set(_entries(options, registry.find(recipe.config.method, registry.teacher_of(scene))))
    said |= {"background"} if options.background is not None else set()
    said |= {"num_ranks", "decoder"} if options.begin_with is not None else set()  # the model's, where nothing is said
    return registry.suited(recipe.config, scene, said)


def settings(options: TrainOptions, config: Config, said: Container[str] = ()) -> dict[str, Any]:
    """What ``--set`` says of ``config``.

    Args:
        said: entries that other options name.

    Raises:
        UserError: an entry is unknown, is named by another option as well, or cannot have that value.
    """
    found = read_settings(config, options.set_)
    for key in found:
        if key in said:
            raise UserError(f"--set {key} and an option of its own both say '{key}': give one of the two")
    return found


def _begun_recipe(options: TrainOptions, stored: StoredModel) -> Recipe:
    """What a new run is to be that begins with a model: as the run beside the model, but for what is said."""
    assert options.begin_with is not None
    if stored.kind.knows_space:
        raise UserError(
            f"--from {options.begin_with}: a tensor is expected, of ranks; a model of {stored.kind.level_name}s is "
            "trained anew, for what it learnt is coded"
        )
    before = recipe_beside(model_path(options.begin_with))
    source = options.scene or (None if before is None or before.is_remote else before.source)
    if source is None:
        raise UserError(
            f"name the scene: there is no run beside {options.begin_with} that says which it was trained on"
        )
    method = registry.find(options.method, registry.teacher_for(mesh=scenes.is_mesh(source)))
    entries: dict[str, Any] = {"num_ranks": len(stored.levels)} if method.name == "slimmerf" else {}
    entries |= _entries(options, method)
    if (run := _run_before(method.name, options)) is not None:
        config = run.config
    else:
        config = method.preset(options.preset or "quick")
        if options.preset is None and options.decoder is None and stored.header["decoder"] in method.decoders:
            config = config.changed(decoder=stored.header["decoder"])
    if options.iterations is not None:
        entries["max_seconds"] = None
    config = config.changed(**entries)
    if options.background is not None:
        config = config.changed(background="random" if options.background == "random" else "scene")
    config = config.changed(**settings(options, config, _entries(options, method)))
    said: dict[str, Any] = {
        "downscale": options.downscale,
        "views": options.views,
        "background": None if options.background is None else "black" if options.background == "black" else "white",
        "eval_views": options.eval_views,
        "follow_links": options.follow_links or None,
        "arch": options.arch,
    }
    said = {key: value for key, value in said.items() if value is not None}
    recipe = Recipe(config, source=source) if before is None else replace(before, config=config, source=source)
    if before is None:
        recipe = replace(recipe, world=World.of(stored.header["metadata"]))
        downscale = stored.header["metadata"].get("downscale")
        if is_whole(downscale, 1, 1 << 16):
            said = {"downscale": downscale, **said}
    return replace(recipe, world=recipe.world.with_said(options.world), **said)


def _run_before(method: str, options: TrainOptions) -> Recipe | None:
    """The run whose configuration a new one has but for what is said: that of the model it begins with, if it is of the
    same method and no preset is given."""
    if options.begin_with is None or options.preset is not None:
        return None
    before = recipe_beside(model_path(options.begin_with))
    return before if before is not None and before.config.method == method else None


def resumed_recipe(recipe: Recipe, options: TrainOptions, taken: int) -> Recipe:
    """What a run goes on as whose ``config.json`` says ``recipe``, and which has taken so many iterations.

    Raises:
        UserError: its scene is not there any more, or it has taken more iterations than it is to have.
    """
    config = recipe.config
    if options.max_seconds is not None:
        config = config.changed(max_seconds=options.max_seconds)
    if options.iterations is not None:
        if options.iterations < taken:
            raise UserError(
                f"--iterations {options.iterations}: the run has {taken:,} already, and this says how many there are "
                f"in all; --more {options.iterations} adds so many"
            )
        config = config.changed(iterations=options.iterations, max_seconds=None)
    if options.more is not None:
        if taken + options.more > MOST_ITERATIONS:
            raise UserError(
                f"--more {options.more}: the run has {taken:,} already, and no run has more than {MOST_ITERATIONS:,}"
            )
        config = config.changed(iterations=taken + options.more, max_seconds=None)
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
