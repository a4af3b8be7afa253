"""Scenes that COLMAP has reconstructed: a model in ``sparse/`` and the photographs in ``images/``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes.base import Scene
from scenes.files.colmap_files import ColmapModel, has_model, read_model
from scenes.files.locate import Finder
from scenes.files.values import Notes, bounded
from scenes.readers.assembling import Options, assembled, fitted, split_frames
from scenes.readers.masking import with_folder_masks
from scenes.readers.posed import Inside, posed_frame
from scenes.readers.transforms import Frames
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Camera

MODELS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap", ".")
"""Where a model lies, the likeliest first."""
IMAGES = ("images", "input", ".", "images_2", "images_4", "images_8")
"""Where the photographs lie; smaller copies are taken where the originals are not there."""
MOST_MODELS = 100


def recognises(folder: Path) -> bool:
    """Whether ``folder`` looks like such a scene; nothing in it is opened."""
    return bool(_candidates(folder))


def load(folder: Path, options: Options) -> Scene:
    """Read the scene in ``folder``: of several models the one that placed most images.

    Every eighth image by name is to judge by. The world is moved and scaled so that the points lie in a box of the
    usual size.

    Raises:
        UserError: the model is damaged, its cameras are not supported, or none of its images is there.
    """
    notes = Notes()
    finder = Finder(folder, notes, follow_links=options.follow_links)
    return scene_of(find_model(finder.root, notes), finder, options, notes, "COLMAP")


def scene_of(
    model: ColmapModel, finder: Finder, options: Options, notes: Notes, format: str, *, upright: bool = False
) -> Scene:
    """The scene of ``model``, whose images ``finder`` finds.

    Args:
        notes: told what the person should know.
        format: what the scene was read as, in words.
        upright: the model was made here, from images that had been turned as their EXIF data say.

    Raises:
        UserError: as :func:`load`.
    """
    every = frames_of(model, finder, options.downscale, notes, upright=upright)
    every, fit = fitted(every, model.points, options.world, notes)
    parts = split_frames(every, options)
    errors = reprojection_errors(model)
    errors = errors[np.isfinite(errors)]
    return assembled(
        finder.root, parts, fit, options, notes, format, points=fit.placement.points(model.points),
        reprojection_error=float(errors.mean()) if len(errors) else None,
    )  # fmt: skip


def find_model(root: Path, notes: Notes) -> ColmapModel:
    """The model in ``root`` that placed most images; ``notes`` is told which were left.

    Raises:
        UserError: it is damaged.
    """
    found = _candidates(root)
    if not found:
        raise UserError(f"'{root}' holds no model of COLMAP's: cameras.bin and images.bin, or .txt, in sparse/0")
    models = [read_model(path) for path in found]
    best = max(models, key=lambda model: len(model.images))
    others = [model for model in models if model is not best]
    if others:
        notes.add(
            "models",
            f"'{best.folder}' placed {len(best.images)} images and is used; "
            + ", ".join(f"'{model.folder.name}' placed {len(model.images)}" for model in others[:5])
            + ": they share no world",
        )
    return best


def frames_of(model: ColmapModel, finder: Finder, downscale: int, notes: Notes, *, upright: bool = False) -> Frames:
    """The images that the model lists and the disk has; of those that are absent ``notes`` is told.

    Args:
        upright: the model was made here, from images that had been turned as their EXIF data say.

    Raises:
        UserError: none is there.
    """
    frames = []
    path = finder.root if upright else model.folder / "images"
    for image in model.images:
        where = f"'{path}', image '{bounded(image.name)}'"
        found = next(
            (
                found
                for folder in IMAGES
                if (found := finder.find(image.name if folder == "." else f"{folder}/{image.name}", "name", where))
            ),
            None,
        )
        if found is None:
            notes.add("absent", f"{where}: there is no such file in 'images'; the view is left out")
            continue
        camera = model.cameras[image.camera]
        inside = Inside(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.lens)
        frames.append(posed_frame(finder, found, inside, image.pose(), where, notes, upright=upright))
    if not frames:
        raise UserError(
            f"'{finder.root}': none of the {len(model.images)} images that the model in '{model.folder}' lists is "
            f"there; they are looked for in {', '.join(IMAGES[:2])} and beside the model, the first as "
            f"'{bounded(model.images[0].name)}'"
        )
    return with_folder_masks(Frames(path, frames, None, downscale), finder)


def reprojection_errors(model: ColmapModel) -> np.ndarray:
    """Distances (n,) in pixels between where points were found in images and where cameras show them: what a model is
    worth, and whether its cameras were understood."""
    errors = []
    for image in model.images:
        camera = model.cameras[image.camera]
        index = np.minimum(np.searchsorted(model.identifiers, image.points), max(len(model.identifiers) - 1, 0))
        known = (
            model.identifiers[index] == image.points if len(model.identifiers) else np.zeros(len(image.points), bool)
        )
        shown, _ = Camera(
            image.pose().astype(np.float32),
            camera.fx,
            camera.fy,
            camera.cx,
            camera.cy,
            camera.width,
            camera.height,
            camera.lens,
        ).project(model.points[index[known]])
        errors.append(np.linalg.norm(shown - image.places[known], axis=1))
    return np.concatenate(errors) if errors else np.zeros(0)


def _candidates(root: Path) -> list[Path]:
    """Folders with a model: the first of :data:`MODELS` that is one, or all of ``sparse/`` with their numbers."""
    try:
        numbered = sorted(path for path in (root / "sparse").glob("[0-9]*") if path.is_dir() and has_model(path))[
            :MOST_MODELS
        ]
        if numbered:
            return numbered
        return next(([root / name] for name in MODELS if has_model(root / name)), [])
    except (OSError, ValueError):
        return []
