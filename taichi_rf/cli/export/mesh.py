"""``python -m taichi_rf mesh``: the surface of a model as a mesh or as points, for other programs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import scenes
from scenes.origin import judged, source_of
from taichi_rf.cli.console import bar, say, warn
from taichi_rf.cli.options import Mesh
from taichi_rf.coding.headers import is_whole
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.kernels.spaces import BOX
from taichi_rf.meshing.formats import check_name, write_mesh, write_points
from taichi_rf.meshing.libraries import library
from taichi_rf.meshing.mesher import Surface, Wishes, meshing
from taichi_rf.meshing.photographs import Photographs
from taichi_rf.meshing.points import MOST_POINTS, scattered
from taichi_rf.storage.levels import best_level, checked_level
from taichi_rf.storage.metadata import is_builtin
from taichi_rf.storage.model_file import load_model, model_path
from taichi_rf.storage.placement import KEY, Placement
from taichi_rf.storage.world import World


def run(command: Mesh) -> None:
    """Write the mesh of a model, or points on it. UserError for what the user can mend."""
    source, output = model_path(command.model), command.output
    check_name(output, command.points is not None)
    if command.downscale is not None and command.downscale < 1:
        raise UserError(f"--downscale {command.downscale}: 1 or more is expected")
    if command.colours == "model" and command.scene is not None:
        raise UserError("--scene is where photographs are, which --colours model does not look at: leave one")
    if command.points is not None and not 1 <= command.points <= MOST_POINTS:
        raise UserError(f"--points {command.points}: 1 to {MOST_POINTS:,} is expected")
    _check_output(source, output, command.overwrite)
    for module in ("skimage.measure", "scipy.sparse", "trimesh", *(["fast_simplification"] if command.faces else [])):
        library(module)
    backend.init(command.arch)
    model = load_model(source, command.level, lambda text: warn([text]))
    warn(model.metadata["warnings"])
    total = model.field.num_levels
    level = best_level(model.metadata, total)
    if command.level is not None:
        level = checked_level(command.level, total, model.field.level_name)
    wishes = Wishes(command.resolution, command.threshold, command.keep_largest, command.faces, command.reach)
    wishes.check(model)
    surface = _surface(model, level, wishes, photographs_for(command, model, source))
    tell(surface, model, level)
    surface = _placed(surface, model, command)
    if command.points is not None:
        size = write_points(output, *scattered(surface, command.points))
        say(f"{output}: {command.points:,} points, {megabytes(size)}")
        return
    size = write_mesh(output, surface.mesh, surface.normals, surface.colours)
    axes = ", turned so that y is up, as glTF has it" if output.suffix.lower() == ".glb" else ""
    count = len(surface.mesh.vertices)
    say(f"{output}: {count:,} vertices, {len(surface.mesh.faces):,} triangles, {megabytes(size)}{axes}")


def _placed(surface: Surface, model: Any, command: Mesh) -> Surface:
    """The surface in the coordinates that are wanted, and a line that says which, where they differ."""
    placement = Placement.of(model.metadata)
    if placement is None:
        if command.coordinates == "scene" and KEY not in model.metadata:
            say("the scene's coordinates are those of the viewer, as far as this model knows")
        return surface
    glb = command.output.suffix.lower() == ".glb"
    unit = f"a unit of the viewer is {1 / placement.scale:.4g} of the scene's"
    if (command.coordinates or ("viewer" if glb else "scene")) == "viewer":
        say(f"in the viewer's coordinates: {unit}; --coordinates scene writes those of the scene's files")
        return surface
    say(f"in the coordinates of the scene's files: {unit}")
    vertices = placement.back(surface.mesh.vertices)
    return replace(
        surface, mesh=replace(surface.mesh, vertices=vertices), normals=placement.directions_back(surface.normals)
    )


def tell(surface: Surface, model: Any, level: int) -> None:
    """Print what was chosen and what came of it."""
    name = f"{model.field.level_name} {level}"
    if surface.threshold is None:
        where = "where the distance is zero"
    else:
        where = f"at a density of {surface.threshold:.3g} (the highest is {surface.highest:.3g})"
    say(f"{name}, {surface.resolution} nodes along the longest side (one every {surface.voxel:.3g}), {where}")
    pieces = surface.pieces
    parts = [f"{pieces.kept:,} piece{'s' * (pieces.kept != 1)}"]
    if pieces.dropped:
        parts.append(f"{pieces.dropped:,} small ones with {pieces.dropped_faces:,} triangles dropped")
    parts.append("no holes" if not surface.holes else f"{surface.holes:,} hole{'s' * (surface.holes != 1)}")
    say(", ".join(parts))
    if model.space is not BOX:
        say("the scene has no end: what is far away is left out, and the mesh is open there (--reach says how far)")


def photographs_for(command: Mesh, model: Any, path: Path) -> Photographs | None:
    """The photographs to take a mesh's colours from, and a line that says which; None where the model's are to do.

    Raises:
        UserError: photographs are asked for that cannot be had.
    """
    if model.has_surface or command.colours == "model":
        return None
    asked = command.colours == "photographs" or command.scene is not None
    try:
        source = command.scene or source_of(path, model.metadata)
        if scenes.is_mesh(source):
            raise UserError(f"{source} is a mesh, and photographs are expected")
        trained_at, views = model.metadata.get("downscale"), model.metadata.get("views")
        downscale = command.downscale or (trained_at if is_whole(trained_at, 1, 1 << 16) else 1)
        with bar("loading images") as show:
            scene = scenes.load(
                source, downscale=downscale, views=views if not command.scene and is_whole(views, 2, 1 << 20) else None,
                max_test_views=0, progress=show.counted, stage=show.begin, depth=False,
                follow_links=command.follow_links,
                world=None if is_builtin(scenes.find(source)) else World.of(model.metadata),
            )  # fmt: skip
    except UserError as error:
        if asked:
            raise
        say(f"colours are the model's (--scene names the photographs): {error}")
        return None
    warn(scene.warnings)
    if not asked and downscale == trained_at and judged(path, model.metadata, scene)[0] is False:
        say(f"colours are the model's, for {source} does not hold what it was trained on: --scene takes another")
        return None
    say(f"colours are those of the {len(scene.train)} training views of {scene.name}")
    return Photographs(scene.train.cameras, scene.train.pixels)


def _surface(model: Any, level: int, wishes: Wishes, photographs: Photographs | None) -> Surface:
    """The surface, with a bar."""
    steps = meshing(model, level, wishes, photographs)
    title = ""
    with bar("meshing") as show:
        while True:
            try:
                stage, share = next(steps)
            except StopIteration as end:
                surface: Surface = end.value
                return surface
            if stage != title:
                title = stage
                show.begin(stage)
            show(share)


def _check_output(source: Path, output: Path, overwrite: bool) -> None:
    """Raise UserError where the output may not be written: said before anything takes time."""
    if not output.absolute().parent.is_dir():
        raise UserError(f"cannot write {output}: there is no folder {output.parent}")
    if not output.exists():
        return
    if os.path.samefile(source, output):
        raise UserError(f"{output} is the model itself: choose another --output")
    if not overwrite:
        raise UserError(f"{output} is there already: choose another --output, or give --overwrite")
