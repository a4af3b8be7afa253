"""What training for slimmability gives: one model cut to every rank, beside models trained at those ranks. Not a test.

    python tests/bench/slimming.py lego=data/nerf_synthetic/lego:2 --seconds 600 --views 25 --out runs/slimming

Each training is a process of its own with the same time (or, with --iterations, the same steps), and is scored on test
views at every rank of --ranks. What is in --out already is kept, so that the same command goes on after an
interruption; --table prints what there is. Nothing else should run meanwhile: time is what the ways share.

A way is "plain-R" (a model of rank R alone), "train" (TRaIn), or a schedule of the class ``Way`` below, by name.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.errors import UserError  # noqa: E402
from taichi_rf.files import read_json, write_json  # noqa: E402
from taichi_rf.presets import Config, find_preset  # noqa: E402

RANKS = (1, 2, 4, 8, 12, 16)
PLAIN = ("plain-2", "plain-4", "plain-8", "plain-16")


@dataclass(frozen=True)
class Way:
    """A schedule to be tried: every rank from the start, and some rays on prefixes.

    Args:
        share: of the rays of a step that see a prefix only; of the steps where ``steps``.
        levels: the prefixes.
        weight: of the prefix's loss beside the whole's.
        order: "cycle" through the prefixes, or at "random", or "all" in every step.
        steps: whole steps on a prefix instead of a share of each.
        both: the prefix sees rays that the whole sees, too, instead of taking them from it.
        balance: weights follow the inverse of the losses, so that decibels count and not errors.
        start: fraction of the training before which there is only the whole; TRaIn until then if negative.
        end: fraction from which there is only the whole again.
    """

    share: float = 0.25
    levels: tuple[int, ...] = (2, 4, 8)
    weight: float = 1.0
    order: str = "cycle"
    steps: bool = False
    both: bool = False
    balance: bool = False
    start: float = 0.0
    end: float = 1.0


WAYS = {
    "split-25": Way(),
    "split-40": Way(share=0.4),
    "split-15": Way(share=0.15),
    "split-25-1248": Way(levels=(1, 2, 4, 8)),
    "split-25-all": Way(order="all"),
    "split-25-any": Way(levels=tuple(range(1, 16)), order="random"),
    "split-25-balance": Way(balance=True),
    "split-40-balance": Way(share=0.4, balance=True),
    "split-40-balance-1248": Way(share=0.4, balance=True, levels=(1, 2, 4, 8)),
    "steps-25": Way(steps=True),
    "steps-50": Way(steps=True, share=0.5),
    "both-25": Way(both=True),
    "both-50-balance": Way(both=True, share=0.5, balance=True),
    "train-split-25": Way(start=-0.4),
    "late-split-25": Way(start=0.4),
}


class Schedule:
    """A :class:`Way` as the trainer asks for it."""

    def __init__(self, way: Way, config: Config) -> None:
        from taichi_rf.schedule import RankSchedule

        self.way, self.config, self.level = way, config, config.num_ranks
        self.levels = [level for level in way.levels if level < config.num_ranks]
        self.highest = config.num_ranks
        self.progress = 0.0
        self.losses = dict.fromkeys([*self.levels, self.highest], 0.0)
        self.train = None
        if way.start < 0:
            deadlines = (config.rank_deadlines[0], -way.start)
            self.train = RankSchedule(replace(config, ranks="train", rank_deadlines=deadlines))
            self.level = self.train.level

    def passes(self, rays: int, iteration: int) -> list[tuple[int, int, int, float]]:
        way, whole = self.way, self.level
        rng = np.random.default_rng((self.config.seed, iteration, 2))
        lower = [level for level in self.levels if level < whole]
        if not lower or not max(way.start, 0.0) <= self.progress < way.end:
            return [(whole, 0, rays, 1.0)]
        chosen = lower if way.order == "all" else [lower[iteration % len(lower)]]
        if way.order == "random":
            chosen = [int(rng.choice(lower))]
        if way.steps:
            return [(chosen[0], 0, rays, 1.0)] if rng.random() < way.share else [(whole, 0, rays, 1.0)]
        lesser = round(way.share * rays)
        last = rays if way.both else rays - lesser
        ends = np.linspace(rays - lesser, rays, len(chosen) + 1).round().astype(int)
        parts = [(whole, 0, last, 1.0)]
        for level, first, end in zip(chosen, ends, ends[1:]):
            weight = way.weight / len(chosen)
            if way.balance and self.losses[level] > 0:
                weight *= self.losses[self.highest] / self.losses[level]
            parts.append((level, int(first), int(end), weight))
        return parts

    def update(self, losses: dict[int, float], progress: float) -> str | None:
        self.progress = progress
        for level, loss in losses.items():
            before = self.losses.get(level, 0.0)
            self.losses[level] = loss if before == 0 else before + 0.05 * (loss - before)
        if self.train is None or progress < 1e-9 or self.train.level not in losses:
            return None
        cause = self.train.update(losses, progress)
        self.level = self.train.level
        return cause

    def state(self) -> dict[str, Any]:
        return {"level": self.level}

    def restore(self, state: dict[str, Any]) -> None:
        self.level = int(state["level"])


@dataclass(frozen=True)
class Work:
    """One training."""

    scene: str
    source: str
    downscale: int
    way: str
    seed: int
    seconds: float | None
    iterations: int | None
    views: int | None
    preset: str

    @property
    def folder(self) -> str:
        return f"{self.scene}/{self.way}-seed{self.seed}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="NAME=SOURCE:DOWNSCALE")
    parser.add_argument("--ways", nargs="+", default=[*PLAIN, "train", "split-25"], help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seconds", type=float, help="of training, each")
    parser.add_argument("--iterations", type=int, help="of training, each, instead of --seconds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--views", type=int, help="test views, evenly spread; all by default")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--out", type=Path, default=Path("runs/slimming"))
    parser.add_argument("--table", action="store_true", help="print what there is, and train nothing")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # a process of its own: one training, as JSON
    options = parser.parse_args(arguments)
    if options.work is not None:
        train(Work(**json.loads(options.work)), options.out)
        return 0
    if not options.table:
        if not options.scenes or (options.seconds is None) == (options.iterations is None):
            parser.error("name a scene, and give --seconds or --iterations")
        if unknown := [way for way in options.ways if way not in WAYS and way != "train" and way[:6] != "plain-"]:
            parser.error(f"there is no way called {unknown[0]}")
        for work in works(options):
            run(work, options.out)
    print(table(options.out))
    return 0


def works(options: argparse.Namespace) -> list[Work]:
    found = []
    for seed in options.seeds:
        for scene in options.scenes:
            name, source, downscale = parsed(scene)
            for way in options.ways:
                found.append(
                    Work(
                        name,
                        source,
                        downscale,
                        way,
                        seed,
                        options.seconds,
                        options.iterations,
                        options.views,
                        options.preset,
                    )  # fmt: skip
                )
    return found


def parsed(scene: str) -> tuple[str, str, int]:
    """Name, source and downscale of NAME=SOURCE:DOWNSCALE; without a downscale it is 1."""
    name, separator, source = scene.partition("=")
    if not separator:
        name = source = scene
    before, _, last = source.rpartition(":")
    if before and last.isdigit():
        return name, before, int(last)
    return name, source, 1


def run(work: Work, out: Path) -> None:
    """Do it in a process of its own, unless it is there already."""
    folder = out / work.folder
    if (folder / "result.json").exists():
        if read_json(folder / "result.json")["work"] != json.loads(json.dumps(asdict(work))):
            raise UserError(f"{folder} holds another run: remove it, or choose another --out")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "w") as log:
        subprocess.run(
            [sys.executable, __file__, "--work", json.dumps(asdict(work)), "--out", str(out)],
            stdout=log, stderr=subprocess.STDOUT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    print(_row(read_json(folder / "result.json")), flush=True)


def train(work: Work, out: Path) -> None:
    """Train one, score it, and keep both."""
    import scenes
    from taichi_rf import backend
    from taichi_rf.evaluate import evaluate
    from taichi_rf.model import Model
    from taichi_rf.trainer import Trainer

    folder = out / work.folder
    backend.init("cpu")
    scene = scenes.load(work.source, downscale=work.downscale, max_test_views=work.views)
    config = replace(find_preset("slimmerf", work.preset), seed=work.seed, ranks="plain")
    if work.seconds is not None:
        config = replace(config, max_seconds=work.seconds)
    if work.iterations is not None:
        config = replace(config, iterations=work.iterations)
    if work.way.startswith("plain-"):
        config = replace(config, num_ranks=int(work.way.removeprefix("plain-")))
    elif work.way == "train":
        config = replace(config, ranks="train")
    trainer = Trainer(scene, config)
    if work.way in WAYS:
        trainer.ranks = Schedule(WAYS[work.way], config)
        trainer.model.field.level = trainer.ranks.level
    trainer.warm_up()
    began = time.perf_counter()
    while not trainer.done:
        trainer.step()
    print(f"{time.perf_counter() - began:.1f} s, {trainer.iteration} steps")
    sizes = trainer.model.save(folder / "model.trf")
    found = evaluate(Model.load(folder / "model.trf"), scene.test, sizes, views=work.views)
    levels = {score.level: {"psnr": score.psnr, "ssim": score.ssim, "bytes": score.bytes} for score in found.scores}
    write_json(
        folder / "result.json",
        {"work": asdict(work), "levels": levels, "iterations": trainer.iteration, "seconds": trainer.elapsed},
    )


def table(out: Path) -> str:
    """A row a run: decibels at each rank."""
    results = [read_json(path) for path in sorted(out.glob("*/*/result.json"), key=lambda p: p.stat().st_mtime)]
    head = f"{'scene':12} {'way':24} {'seed':>4} {'steps':>6} " + " ".join(f"{f'rank {r}':>8}" for r in RANKS)
    return "\n".join([head, *(_row(result) for result in results)])


def _row(result: dict[str, Any]) -> str:
    work, levels = result["work"], result["levels"]
    scores = [f"{levels[str(r)]['psnr']:8.2f}" if str(r) in levels else " " * 8 for r in RANKS]
    return f"{work['scene']:12} {work['way']:24} {work['seed']:4} {result['iterations']:6} {' '.join(scores)}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
