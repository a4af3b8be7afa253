"""Suites of runs: what starting trainings by one costs, and whether one that loses a machine ends as one that does not.

python tests/bench/suites.py overhead [RUNS [ITERATIONS]]   the same trainings by hand and by --jobs 1; a quiet machine
python tests/bench/suites.py cluster [SEEDS]                twice so many runs on a Ray cluster of two workers, one of
                                                            which is killed half-way, against the same without
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.suites import SUITE, cluster_of_two, kill_machine_of, start, trains, wait_for
from tests.places import ROOT
from tests.tiny import write_tiny_scene


def suite(here: Path, seeds: int, iterations: int = 150) -> list[str]:
    """Write the suite; returns the names of its runs."""
    write_tiny_scene(here / "balls", train=5, test=1)
    text = SUITE.replace("seeds = [0, 1]", f"seeds = {list(range(seeds))}")
    text = text.replace("iterations = 150", f"iterations = {iterations}")
    (here / "tiny.toml").write_text(
        text.replace("[variants.train]", '[variants.plain]\nranks = "plain"\n[variants.train]')
    )
    return [f"balls-{variant}-seed{seed}" for variant in ("plain", "train") for seed in range(seeds)]


def done(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate()
    assert process.returncode == 0, said


def cluster(seeds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here, results = Path(folder), {}
        names = suite(here, seeds)
        for out in ("whole", "killed"):
            with cluster_of_two() as machines:
                began = time.monotonic()
                process = start(here, "--cluster", machines.address, "--cpus", "1", "--out", out)
                if out == "killed":
                    half = names[len(names) // 2 - 1]
                    wait_for(lambda half=half, out=out: trains(here / out, half), process)
                    kill_machine_of(machines, half)
                done(process)
                print(f"{out}: {len(names)} runs in {time.monotonic() - began:.0f} s")
            results[out] = [(here / out / name / "model.trf").read_bytes() for name in names]
            for name in names:
                log = (here / out / "logs" / f"{name}.log").read_text()
                for line in log.splitlines():
                    if line.startswith("going on"):
                        print(f"  {name}: {line}")
        print("models are the same bit for bit:", results["whole"] == results["killed"])


def of_children() -> float:
    """Seconds that processors have worked for all processes that were started here and ended, whoever else they worked
    for meanwhile."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def overhead(runs: int, iterations: int = 1500) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        names = suite(here, max(1, runs // 2), iterations)
        # Kernels are compiled and files are in memory before anything is measured.
        done(start(here, "--out", "warm", "--jobs", "1", "--seeds", "0", "--iterations", "150"))
        listed = subprocess.run(
            [sys.executable, "-m", "taichi_rf", "suite", "tiny.toml", "--list"],
            cwd=here, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

        def by_hand(turn: int) -> None:
            for line in listed.splitlines():
                name, _, arguments = line.partition(": ")
                command = [sys.executable, str(ROOT / "train.py"), *arguments.split(), "--out", f"hand{turn}/{name}"]
                subprocess.run(command, cwd=here, capture_output=True, check=True)

        def by_suite(turn: int) -> None:
            done(start(here, "--out", f"suite{turn}", "--jobs", "1"))

        for turn in range(2):
            seconds = {}
            for way in ((by_hand, by_suite), (by_suite, by_hand))[turn]:
                began, computed = time.monotonic(), of_children()
                way(turn)
                seconds[way] = time.monotonic() - began, of_children() - computed
            for what, hand, by_it in zip(("s", "s of processors"), seconds[by_hand], seconds[by_suite]):
                print(
                    f"{len(names)} runs: {hand:.1f} {what} by hand, {by_it:.1f} by suite, {by_it - hand:+.1f}, "
                    f"{by_it / hand - 1:+.1%}; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    {"cluster": cluster, "overhead": overhead}[sys.argv[1]](*map(int, sys.argv[2:] or ["4"]))
