"""SlimmeRF with few photographs: the study of the paper's Table of sparse LLFF scenes, at a size for two cores. Not a
test.

    python tests/bench/sparse.py --scenes data/llff/fern:1 data/llff/flower:2 --views 3 6 9 --iterations 2500 \
        --out runs/sparse

A scene is SOURCE:DOWNSCALE. As in the paper the first N training views are learnt from and the first N test views are
judged by, all 24 ranks are trained (TRaIn), and the levels are cut afterwards. For the question of ``--rank auto`` each
training is asked twice which of its levels is best: by patches of its own photographs that were kept back, and, in a
training of its own, by one whole photograph of the N that was kept back. What is in --out already is kept, so that the
same command goes on after an interruption, and --table prints what there is. Steps are counted, not seconds, so that
other work on the machine changes nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import scenes  # noqa: E402
from scenes.base import Split  # noqa: E402
from taichi_rf.core import backend  # noqa: E402
from taichi_rf.core.files import read_json, write_json  # noqa: E402
from taichi_rf.core.pixel_pool import PixelPool  # noqa: E402
from taichi_rf.core.pixels import decibels  # noqa: E402
from taichi_rf.evaluation.autorank import PIXELS, best_level, scoring  # noqa: E402
from taichi_rf.kernels.rays import Cameras  # noqa: E402
from taichi_rf.rendering.pictures import render_prefixes  # noqa: E402
from taichi_rf.training.methods import registry  # noqa: E402
from taichi_rf.training.trainer import Trainer  # noqa: E402

RANKS = 24
SHOWN = (2, 4, 6, 8, 12, 16, 20, 24)
PUBLISHED = {
    3: (15.51, 16.63, 16.73, 16.76, 16.75, 16.74, 16.73, 16.72),
    6: (16.28, 18.21, 18.76, 18.97, 19.08, 19.09, 19.09, 19.08),
    9: (17.09, 19.66, 20.51, 20.97, 21.21, 21.29, 21.34, 21.35),
}
"""Yuan 2024, sparse LLFF, mean of eight scenes at 640^3 and 25,000 iterations."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=[], metavar="SOURCE:DOWNSCALE")
    parser.add_argument("--views", nargs="+", type=int, default=[3, 6, 9])
    parser.add_argument("--iterations", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="also train without one photograph, to choose a level by")
    parser.add_argument("--out", type=Path, default=Path("runs/sparse"))
    parser.add_argument("--table", action="store_true", help="print what there is, and train nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # one training, in a process of its own
    options = parser.parse_args(arguments)
    if options.one:
        source, downscale, views, whole, out = options.one.split("|")
        train(source, int(downscale), int(views), whole == "whole", options.iterations, options.seed, Path(out))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for scene in options.scenes:
            source, _, downscale = scene.rpartition(":")
            for views in options.views:
                for kind in ("patches", "whole") if options.whole and views > 3 else ("patches",):
                    out = options.out / f"{Path(source).name}-{views}-{kind}-{options.seed}.json"
                    if not out.exists():
                        command = [sys.executable, __file__, "--one", f"{source}|{downscale}|{views}|{kind}|{out}"]
                        command += ["--iterations", str(options.iterations), "--seed", str(options.seed)]
                        subprocess.run(command, check=True)
    print(table([read_json(path) for path in sorted(options.out.glob("*.json"))]))
    return 0


def first(split: Split, indices: Sequence[int]) -> Split:
    """The views ``indices`` of ``split``."""
    cameras, pixels = split.cameras, split.pixels
    chosen = list(indices)
    lenses = tuple(cameras.lenses[index] for index in chosen) if cameras.lenses else ()
    stored = np.concatenate([pixels.raw(index).reshape(-1, pixels.stored.shape[1]) for index in chosen])
    return Split(
        PixelPool(stored, pixels.widths[chosen], pixels.heights[chosen]),
        Cameras(
            cameras.poses[chosen], cameras.intrinsics[chosen], cameras.widths[chosen], cameras.heights[chosen], lenses
        ),
        tuple(split.names[index] for index in chosen),
    )


def train(source: str, downscale: int, views: int, whole: bool, iterations: int, seed: int, out: Path) -> None:
    """Train on the first ``views`` photographs, or on all of them but the middle one, and score every level."""
    backend.init("cpu")
    scene = scenes.load(source, downscale=downscale)
    mine = list(range(views))
    kept = mine.pop(views // 2) if whole else None
    test = first(scene.test, range(min(views, len(scene.test))))
    held = None if kept is None else first(scene.train, [kept])
    scene = replace(scene, train=first(scene.train, mine), test=test)
    preset = registry.suited(registry.find("slimmerf").preset("quick"), scene)
    config = preset.changed(
        iterations=iterations, seed=seed, ranks="train", num_ranks=RANKS, upsilon=0.1, eta=100 / 30_000,
        held_out=0 if whole else PIXELS,
    )  # fmt: skip
    trainer = Trainer(scene, config)
    while not trainer.done:
        trainer.step()
    model = trainer.model
    levels = psnr(model, test)
    if held is not None:
        kept_back = psnr(model, held)
    else:
        parts = scoring(model, scene.train, trainer.sampler.held_out)
        while True:
            try:
                next(parts)
            except StopIteration as end:
                kept_back = end.value
                break
    result = {
        "scene": Path(source).name, "downscale": downscale, "views": views, "kind": "whole" if whole else "patches",
        "seed": seed, "iterations": iterations, "seconds": trainer.elapsed, "space": scene.space.kind,
        "test_psnr": levels, "kept_back_psnr": kept_back, "best": best_level(kept_back),
        "bytes": [float(size) for size in model_sizes(model)],
    }  # fmt: skip
    write_json(out, result)
    print(row(result), flush=True)


def model_sizes(model: Any) -> list[float]:
    """Bytes of every level's file, as estimated."""
    from taichi_rf.storage.levels import size_at  # the table needs none of it

    return [size_at(model, level) for level in range(1, model.field.num_levels + 1)]


def psnr(model: Any, split: Split) -> list[float]:
    """Mean over the views of ``split`` of every level's PSNR in dB."""
    scores = []
    for index, camera in enumerate(split.cameras):
        pictures = np.clip(render_prefixes(model, camera), 0, 1)
        error = (pictures.astype(np.float64) - split.composite(index, model.background)) ** 2
        scores.append(decibels(error.reshape(len(pictures), -1).mean(axis=1)))
    return [float(value) for value in np.mean(scores, axis=0)]


def row(result: dict[str, Any]) -> str:
    cells = " ".join(f"{result['test_psnr'][level - 1]:6.2f}" for level in SHOWN)
    best = int(np.argmax(result["test_psnr"])) + 1
    chosen = result["test_psnr"][result["best"] - 1] - max(result["test_psnr"])
    return (
        f"{result['scene']:10} {result['views']:5} {result['kind']:8} {cells}   {best:4} {result['best']:6} "
        f"{chosen:+.2f}"
    )


def table(results: Sequence[dict[str, Any]]) -> str:
    """A row a training: decibels at the levels of the paper, the best level by test views, the one that was chosen by
    what was kept back, and what that costs; and the means beside the published ones."""
    head = f"{'scene':10} {'views':>5} {'kept':8} " + " ".join(f"{f'R={r}':>6}" for r in SHOWN) + "   best chosen  cost"
    lines = [head]
    for views in sorted({result["views"] for result in results}):
        own = [result for result in results if result["views"] == views]
        lines += [row(result) for result in own]
        values = [result["test_psnr"] for result in own if result["kind"] == "patches"]
        if values:
            mean = np.mean(values, axis=0)
            lines.append(f"{'mean':10} {views:5} {'':8} " + " ".join(f"{mean[level - 1]:6.2f}" for level in SHOWN))
        if views in PUBLISHED:
            lines.append(
                f"{'published':10} {views:5} {'':8} " + " ".join(f"{value:6.2f}" for value in PUBLISHED[views])
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
