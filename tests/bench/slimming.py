"""What training for slimmability gives: one model cut to every rank, beside models trained at those ranks. Not a test.

    python tests/bench/slimming.py lego=data/nerf_synthetic/lego:2 --seconds 600 --views 25 --out runs/slimming

Each training is a process of its own with the same time (or, with --iterations, the same steps), and is scored on test
views at every rank of --ranks. What is in --out already is kept, so that the same command goes on after an
interruption; --table prints what there is: means over seeds with their spread, and what is missing to models trained at
each rank alone. --plot draws it. Nothing else should run meanwhile: time is what the ways share.

A way is "plain-R" (a model of rank R alone), "train" (TRaIn with deadlines, as the presets have it), "paper" (TRaIn
without), "prefix" (prefix training, as the presets have it), or one of the class ``Way`` below, by name. NAME+small is
the model of NAME coded to the precision "small", after it; also +fine and +tiny.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.core.errors import UserError  # noqa: E402
from taichi_rf.core.files import read_json, write_json  # noqa: E402
from taichi_rf.storage.model_file import load_model, save_model  # noqa: E402
from taichi_rf.training.configs.base import Config  # noqa: E402
from taichi_rf.training.methods.registry import find_preset  # noqa: E402
from tests.bench.slimming_results import RANKS, collected, mean, picture, table  # noqa: E402

PLAIN = ("plain-2", "plain-4", "plain-8", "plain-16")
NAMED = ("prefix", "train", "paper")
NEVER = (2.0, 3.0)  # deadlines that no training reaches


@dataclass(frozen=True)
class Way:
    """A schedule to be tried: TRaIn, or all ranks, and from some time on prefixes take turns with the whole.

    The defaults are what ``--ranks prefix`` does.

    Args:
        cycle: the ranks of one step after another; 0 is the whole.
        begin: fraction of the training from which they take turns.
        end: fraction from which there is only the whole again.
        train: ranks come in as in TRaIn; otherwise all are there from the start.
        rays: of a step on a prefix, as a fraction of those of a step on the whole.
        share: of each step's rays for the prefix whose turn it is, instead of all rays of a step for one rank.
        balance: the gradient of a prefix counts by the inverse of its loss, so that decibels count and not errors.
        rate: learning rate of a step on a prefix over that of one on the whole.
        mean_from: fraction from which the mean of the parameters is taken.
    """

    cycle: tuple[int, ...] = (0, 2, 4, 0, 8, 2, 0, 4, 8)
    begin: float = 0.35
    end: float = 1.0
    train: bool = True
    rays: float = 0.5
    share: float = 0.0
    balance: bool = False
    rate: float = 2.0
    mean_from: float = 0.8


WAYS = {
    "prefix-30": Way(begin=0.3),
    "prefix-50": Way(begin=0.5),
    "prefix-60": Way(begin=0.6),
    "prefix-rare": Way(cycle=(0, 2, 4, 0, 8, 4, 0, 8, 2, 0, 4, 8, 0, 4, 8)),  # rank 2 every other time
    "prefix-two": Way(cycle=(0, 2, 4, 0, 2, 8)),
    "prefix-half": Way(cycle=(0, 2, 0, 4, 0, 8)),
    "prefix-quarter": Way(cycle=(0, 2, 4, 8)),
    "prefix-one": Way(cycle=(0, 1, 2, 0, 4, 8)),
    "prefix-full": Way(rays=1.0),
    "prefix-slow": Way(rate=1.0),
    "prefix-fast": Way(rate=4.0),
    "prefix-last": Way(mean_from=2.0),
    "prefix-split": Way(cycle=(2, 4, 8), share=0.5),
    "prefix-balance": Way(balance=True),
    "prefix-back": Way(end=0.9),
    "early": Way(begin=0.0),
    "early-split": Way(cycle=(1, 2, 4, 8), begin=0.0, share=0.4),
    "always": Way(begin=0.0, train=False),
    "always-split": Way(cycle=(2, 4, 8), begin=0.0, train=False, share=0.25),
}


class Schedule:
    """A :class:`Way` as the trainer asks for it."""

    def __init__(self, way: Way, config: Config) -> None:
        from taichi_rf.training.schedule import RankSchedule

        self.way, self.highest = way, config.strategy.num_ranks
        self.train = RankSchedule(config.changed(ranks="train" if way.train else "plain"))
        self.losses: dict[int, float] = {}

    @property
    def level(self) -> int:
        return self.train.level

    @level.setter
    def level(self, level: int) -> None:
        self.train.level = level

    def passes(self, rays: int, iteration: int, progress: float) -> list[tuple[int, int, int, float]]:
        way, whole = self.way, self.level
        rank = way.cycle[iteration % len(way.cycle)]
        if not (way.begin <= progress < way.end and 0 < rank < whole):
            return [(whole, 0, rays, 1.0)]
        weight = 1.0
        if way.balance and {rank, whole} <= self.losses.keys():
            weight = self.losses[whole] / self.losses[rank]
        if way.share:
            split = rays - round(way.share * rays)
            return [(whole, 0, split, 1.0), (rank, split, rays, weight)]
        return [(rank, 0, round(way.rays * rays), weight)]

    def update(self, losses: dict[int, float], progress: float) -> str | None:
        for rank, loss in losses.items():
            self.losses[rank] = self.losses.get(rank, loss) * 0.95 + 0.05 * loss
        return self.train.update(losses, progress) if self.level in losses else None

    def moving_above(self, level: int) -> int | None:
        return None

    def state(self) -> dict[str, Any]:
        return self.train.state()

    def check(self, its: Any) -> None:
        self.train.check(its)

    def restore(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        self.train.restore(arrays, state)

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


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
    parser.add_argument("--ways", nargs="+", default=[*PLAIN, "paper", "train", "prefix"], help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seconds", type=float, help="of training, each")
    parser.add_argument("--iterations", type=int, help="of training, each, instead of --seconds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--views", type=int, help="test views, evenly spread; all by default")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--out", type=Path, default=Path("runs/slimming"))
    parser.add_argument("--table", action="store_true", help="print what there is, and train nothing")
    parser.add_argument("--plot", type=Path, help="draw PSNR against bytes of the first scene to this file (.png)")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # a process of its own: one training, as JSON
    options = parser.parse_args(arguments)
    if options.work is not None:
        train(Work(**json.loads(options.work)), options.out)
        return 0
    if not options.table:
        if not options.scenes or (options.seconds is None) == (options.iterations is None):
            parser.error("name a scene, and give --seconds or --iterations")
        if unknown := [way for way in options.ways if not is_way(way)]:
            parser.error(f"there is no way called {unknown[0]}")
        for work in works(options):
            run(work, options.out)
    results = collected(options.out)
    print(table(results))
    if options.plot is not None and results:
        picture(results, results[0]["work"]["scene"], options.plot)
    return 0


def is_way(name: str) -> bool:
    base, _, precision = name.partition("+")
    known = base in WAYS or base in NAMED or base.startswith("plain-")
    return known and precision in ("", "fine", "small", "tiny")


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
    result = read_json(folder / "result.json")
    scores = {r: round(result["levels"][str(r)]["psnr"], 2) for r in RANKS if str(r) in result["levels"]}
    print(f"{work.scene} {work.way} seed {work.seed}: {result['iterations']} steps, dB by rank {scores}", flush=True)


def train(work: Work, out: Path) -> None:
    """Train one, or code one that was trained; score it, and keep both."""
    import scenes
    from taichi_rf.core import backend
    from taichi_rf.evaluation.evaluate import evaluate

    folder = out / work.folder
    backend.init("cpu")
    base, _, precision = work.way.partition("+")
    if precision:
        before = out / replace(work, way=base).folder
        sizes, steps, seconds = code(before, precision, folder / "model.trf")
        scene = scenes.load(work.source, downscale=work.downscale, max_test_views=work.views)
    else:
        scene = scenes.load(work.source, downscale=work.downscale, max_test_views=work.views)
        sizes, steps, seconds = fit(work, scene, folder / "model.trf")
    found = evaluate(load_model(folder / "model.trf"), scene.test, sizes, views=work.views)
    levels = {
        str(score.level): {"psnr": score.psnr, "ssim": score.ssim, "bytes": score.bytes} for score in found.scores
    }
    write_json(
        folder / "result.json", {"work": asdict(work), "levels": levels, "iterations": steps, "seconds": seconds}
    )


def fit(work: Work, scene: Any, path: Path) -> tuple[list[int], int, float]:
    """Train; the bytes of every prefix, the steps and the seconds that they took."""
    from taichi_rf.training.trainer import Trainer

    config = find_preset("slimmerf", work.preset).changed(seed=work.seed, ranks="plain")
    if work.seconds is not None:
        config = config.changed(max_seconds=work.seconds)
    if work.iterations is not None:
        config = config.changed(iterations=work.iterations)
    if work.way.startswith("plain-"):
        config = config.changed(num_ranks=int(work.way.removeprefix("plain-")))
    elif work.way == "paper":
        config = config.changed(ranks="train", eta=0.0, rank_deadlines=NEVER)
    elif work.way in NAMED:
        config = config.changed(ranks=work.way)
    elif work.way in WAYS:
        way = WAYS[work.way]
        config = config.changed(ranks="prefix", prefix_rate=way.rate, prefix_mean_from=way.mean_from)
    trainer = Trainer(scene, config)
    if work.way in WAYS:
        trainer.level_schedule = Schedule(WAYS[work.way], config)  # type: ignore[assignment]
    trainer.warm_up()
    told, since = 0.0, []
    while not trainer.done:
        since.append(trainer.step().loss)
        if trainer.progress >= told:
            loss = -10 * np.log10(mean(since))
            print(f"{trainer.progress:.3f} rank {trainer.level} step {trainer.iteration} {loss:.2f} dB", flush=True)
            told, since = told + 0.025, []
    return save_model(trainer.model, path), trainer.iteration, trainer.elapsed


def code(before: Path, precision: str, path: Path) -> tuple[list[int], int, float]:
    """Code the model in the folder ``before``; as :func:`fit`, the steps and seconds being those of the model."""
    from taichi_rf.storage.compress import Compactor
    from taichi_rf.storage.trf import write_trf

    if not (before / "result.json").exists():
        raise UserError(f"{before} is not there: name its way first")
    result = read_json(before / "result.json")
    model = load_model(before / "model.trf")
    model.metadata["level_psnr"] = [level["psnr"] for level in result["levels"].values()]
    made = Compactor(model).losing(precision)  # type: ignore[arg-type]
    return write_trf(path, made.header, made.chunks), result["iterations"], result["seconds"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
