"""``python -m taichi_rf mesh``: the surface of a model as a mesh or as points, for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from taichi_rf.cli.console import bar, say, warn
from taichi_rf.cli.options import Mesh
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.kernels.spaces import BOX
from taichi_rf.meshing.formats import check_name, write_mesh, write_points
from taichi_rf.meshing.libraries import library
from taichi_rf.meshing.mesher import Surface, Wishes, meshing
from taichi_rf.meshing.points import MOST_POINTS, scattered
from taichi_rf.storage.levels import best_level, checked_level
from taichi_rf.storage.model_file import load_model, model_path


def run(command: Mesh) -> None:
    """Write the mesh of a model, or points on it. UserError for what the user can mend."""
    source, output = model_path(command.model), command.output
    check_name(output, command.points is not None)
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
    surface = _surface(model, level, wishes)
    tell(surface, model, level)
    if command.points is not None:
        size = write_points(output, *scattered(surface, command.points))
        say(f"{output}: {command.points:,} points, {megabytes(size)}")
        return
    size = write_mesh(output, surface.mesh, surface.normals, surface.colours)
    axes = ", turned so that y is up, as glTF has it" if output.suffix.lower() == ".glb" else ""
    count = len(surface.mesh.vertices)
    say(f"{output}: {count:,} vertices, {len(surface.mesh.faces):,} triangles, {megabytes(size)}{axes}")


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


def _surface(model: Any, level: int, wishes: Wishes) -> Surface:
    """The surface, with a bar."""
    steps = meshing(model, level, wishes)
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
