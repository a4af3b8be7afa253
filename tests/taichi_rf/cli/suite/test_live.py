"""The live table of a suite: it fits its terminal whatever there is to say, and the time left is what is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from taichi_rf.cli.suite.live import LiveTable
from taichi_rf.suite.plan import Failure, PlannedRun

RUNS = [PlannedRun(f"a-scene-of-a-long-name-variant-seed{n}", "s", "/s", "v", n, ()) for n in range(100)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


def says(folder, run, line):
    (folder / "logs" / f"{run.name}.log").write_text(f"{line}\n")


def shown(table, width, height):
    """The lines that a terminal shows."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(100, 30), (60, 20), (40, 8), (20, 4)])
def test_it_fits_any_terminal_and_keeps_failures_and_the_whole_in_sight(folder, width, height):
    for run in RUNS[:40]:
        says(folder, run, "training  42% 1,234 · 24.31 dB · rank 3/16 · 40,123 rays/s · 1 min 12 s left")
    failed = {run: Failure(2, ("train.py: [x] the disk is full, " * 9,)) for run in RUNS[90:]}
    lines = shown(LiveTable(folder, 100, 0).table(RUNS[:90], 5, failed, width, height), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "5 of" in lines[-1]
    assert lines[-2].split()[1] in ("failed", "fail")
    assert "[x] the disk" in lines[-2] or width < 60
    assert lines[0].split()[0].endswith("d0")  # of seed0
    assert any(line.startswith("and ") for line in lines)


def test_the_time_left_counts_what_a_run_had_behind_it_before(folder):
    now = [0.0]
    live = LiveTable(folder, 4, 1, lambda: now[0])  # one is done already, one goes on, two wait
    says(folder, RUNS[0], "training  50% 1,000")
    live.table(RUNS[:1], 1, {}, 100, 30)
    now[0] = 60.0
    says(folder, RUNS[0], "training  75% 1,500")  # 0.93 / 4 of a run in a minute; (1 - 0.02 - 0.6975) + 2 to do
    last = shown(live.table(RUNS[:1], 1, {}, 100, 30), 100, 30)[-1]
    assert "9:49 left, 2 waiting" in last


def test_runs_that_a_cluster_has_queued_wait(folder):
    says(folder, RUNS[0], "compiling  50%")
    lines = shown(LiveTable(folder, 100, 0).table(RUNS, 0, {}, 100, 30), 100, 30)
    assert len(lines) == 2
    assert "99 waiting" in lines[-1]
