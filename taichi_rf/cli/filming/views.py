"""A scene's views, rendered and scored: pictures, errors, a table, and a page with the photographs beside them."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from scenes.origin import load_to_judge, source_of
from taichi_rf.cli.console import bar, say, warn
from taichi_rf.cli.filming.film import form_of, frame_folder, goes_on
from taichi_rf.cli.filming.frames import PAGE, SCORES, TABLE, FrameFolder, Shot
from taichi_rf.cli.filming.recipe import photographs_of
from taichi_rf.cli.filming.request import frame_range
from taichi_rf.cli.options import PROGRAM, Render
from taichi_rf.cli.picture_request import PictureRequest
from taichi_rf.cli.pictures import level_of, read
from taichi_rf.coding.headers import is_whole
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import append_line, atomic_write, read_lines
from taichi_rf.core.plain_text import visible
from taichi_rf.core.sizes import megabytes
from taichi_rf.evaluation.gallery import View, error_colours, gallery, view_of
from taichi_rf.evaluation.image_metrics import psnr, ssim
from taichi_rf.motion.layers import save_colour, see
from taichi_rf.storage.levels import size_at
from taichi_rf.storage.metadata import title
from taichi_rf.storage.model_file import model_path
from taichi_rf.streaming.transport import is_address

COLUMNS = ("frame", "name", "level", "psnr", "ssim")


def write_views(command: Render, request: PictureRequest) -> None:
    """Write what ``--views`` asks for.

    Raises:
        UserError: the model or its scene cannot be read, or the folder cannot be written.
    """
    assert command.views is not None
    if command.downscale is not None and command.downscale < 1:
        raise UserError(f"--downscale {command.downscale}: 1 or more is expected")
    if command.scene is None and is_address(command.model):
        raise UserError("name the scene that the model was trained on: --scene")
    form = form_of(command)
    model, levels = read(request, PROGRAM)
    level = level_of(request, model, levels)
    scene = _scene(command, model)
    split = scene.test if command.views == "test" else scene.train
    if not len(split):
        raise UserError(f"{scene.name} has no {command.views} views")
    shots = [Shot(_stem(index, split.names[index]), split.cameras[index], level) for index in range(len(split))]
    chosen = frame_range(command.frames, len(shots))
    photographs = photographs_of(scene, command.views)
    folder = frame_folder(command, model, shots, command.output, photographs=photographs)
    known = _known(folder, resume=command.resume)
    views: list[tuple[Shot, str, View]] = []
    with goes_on(folder.path), bar(f"rendering {command.views} views") as show:
        for done, index in enumerate(chosen):
            shot, name, photograph = shots[index], split.names[index], split.composite(index, model.background)
            scores = known.get(shot.stem) if folder.has(shot) and "colour" in form.layers and not form.exr else None
            if scores is None:
                picture = model.render(shot.camera, level=level)
                extra = tuple(layer for layer in form.layers if layer != "colour" or form.alpha)
                seen = see(model, shot.camera, extra, level=level, alpha=form.alpha)
                if "colour" in form.layers and not form.alpha:
                    seen = type(seen)(picture, seen.depth, seen.normals)
                folder.save(shot, seen)
                save_colour(folder.path / f"{shot.stem}-error.png", error_colours(picture, photograph))
                scores = psnr(picture, photograph), ssim(picture, photograph)
                append_line(folder.path / SCORES, {"stem": shot.stem, "psnr": scores[0], "ssim": scores[1]})
            else:
                picture = _read(folder.path / f"{shot.stem}.png", model.background)
            views.append((shot, name, view_of(name, *scores, photograph, picture)))
            show((done + 1) / len(chosen), f"{done + 1} of {len(chosen)}")
    folder.finish()
    _table(folder.path / TABLE, views)
    mean, likeness = (float(np.mean([getattr(view, key) for _, _, view in views])) for key in ("psnr", "ssim"))
    name = f"{model.field.level_name} {level} of {levels}"
    facts = [
        ("PSNR, mean", f"{mean:.2f} dB"), ("SSIM, mean", f"{likeness:.4f}" if math.isfinite(likeness) else "–"),
        ("model", f"{name}, {megabytes(size_at(model, level))}"),
        ("views", f"{len(views)} of {len(shots)}, {command.views}"),
    ]  # fmt: skip
    gallery(folder.path / PAGE, title(model.metadata, scene.name), facts, [view for _, _, view in views])
    say(f"{name}: PSNR {mean:.2f} dB, SSIM {likeness:.4f} over {len(views)} {command.views} views")
    for file in (PAGE, TABLE):
        say(f"  {command.output / file}")


def _scene(command: Render, model: Any) -> Any:
    """The scene to compare with, and a warning where it is not the one that was learnt from."""
    path = Path(command.model) if is_address(command.model) else model_path(command.model)
    source = command.scene or source_of(path, model.metadata)
    trained_at = model.metadata.get("downscale")
    downscale = command.downscale or (trained_at if is_whole(trained_at, 1, 1 << 16) else 1)
    with bar("loading images") as show:
        scene, another = load_to_judge(
            source, path, model.metadata, downscale, progress=show.counted, stage=show.begin, depth=False,
            follow_links=command.follow_links,
        )  # fmt: skip
    warn([*scene.warnings, *([another] if another else [])])
    return scene


def _stem(index: int, name: str) -> str:
    """Of the files of a view: its number, and of its name what makes a file's everywhere."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:40]
    return f"{index:05}-{plain}" if plain else f"{index:05}"


def _known(folder: FrameFolder, *, resume: bool) -> dict[str, tuple[float, float]]:
    """The scores of views that were rendered before, by the stem of their files."""
    path = folder.path / SCORES
    if not path.exists():
        return {}
    if not resume:
        path.unlink()
        return {}
    found = {}
    for line in read_lines(path):
        numbers = [line.get(key) for key in ("psnr", "ssim")]
        if isinstance(line.get("stem"), str) and all(isinstance(n, float) and math.isfinite(n) for n in numbers):
            found[line["stem"]] = (float(line["psnr"]), float(line["ssim"]))
    return found


def _read(path: Path, background: tuple[float, ...]) -> np.ndarray:
    """A picture (H, W, 3) as it was written, over the background where it has alpha."""
    pixels = iio.imread(path).astype(np.float32) / 255
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + np.asarray(background, np.float32) * (1 - alpha)
    return pixels


def _table(path: Path, views: list[tuple[Shot, str, View]]) -> None:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for shot, name, view in views:
        shown = visible(name)
        shown = f"'{shown}" if shown[:1] in "=+-@" else shown  # a spreadsheet would compute it
        rows.writerow((shot.stem, shown, shot.level, f"{view.psnr:.4f}", f"{view.ssim:.5f}"))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
