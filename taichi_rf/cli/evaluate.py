"""``python -m taichi_rf evaluate``: PSNR and SSIM of every level on a scene's test views."""

from __future__ import annotations

from scenes.origin import load_to_judge, source_of
from scenes.solids.meshes import MeshScene
from taichi_rf.cli.console import bar, rate_distortion, waiting, warn
from taichi_rf.cli.options import Evaluate
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.evaluation.evaluate import evaluate as score
from taichi_rf.sdf.metrics import score_levels
from taichi_rf.storage.model_file import load_model, model_path


def run(command: Evaluate) -> None:
    """Print the rate-distortion table of a model on the test views of a scene."""
    for option, value in (("--eval-views", command.eval_views), ("--level", command.level)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: 1 or more is expected")
    path = model_path(command.model)
    backend.init(command.arch)
    model = load_model(path, command.level, lambda text: warn([text]))
    warn(model.metadata["warnings"])
    source = command.scene or source_of(path, model.metadata)
    trained_at = model.metadata.get("downscale")
    downscale = command.downscale or (trained_at if isinstance(trained_at, int) and trained_at > 0 else 1)
    with bar("loading images") as show:
        scene, another = load_to_judge(
            source,
            path,
            model.metadata,
            downscale,
            max_test_views=command.eval_views,
            progress=show.counted,
            stage=show.begin,
            depth=False,
            follow_links=command.follow_links,
            world=command.world,
        )
    warn([*scene.warnings, *([another] if another else [])])
    with bar("evaluating") as show:
        found = score(model, scene.test, model.metadata["prefix_bytes"], progress=show.counted)
    levels = [{"level": s.level, "psnr": s.psnr, "ssim": s.ssim, "bytes": s.bytes} for s in found.scores]
    if isinstance(scene, MeshScene) and model.has_surface:
        with waiting("measuring the surface"):
            for level, fit in zip(levels, score_levels(model, scene.shape), strict=True):
                level |= fit.entry()
    metrics = {
        "scene": scene.name,
        "downscale": downscale,
        "views": found.views,
        "level_name": model.field.level_name,
        "levels": levels,
    }
    if command.json is not None:
        write_json(command.json, metrics)
    rate_distortion(metrics)
