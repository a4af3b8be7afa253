"""``python -m taichi_rf suite`` with real trainings: interrupted and called again here, and on a Ray cluster that loses
a machine. Both end with the same models, bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.suites import SUITE, TIMEOUT, cluster_of_two, kill_machine_of, start, trains, wait_for
from tests.tiny import write_tiny_scene

NAMES = ("balls-train-seed0", "balls-train-seed1")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suites")
    write_tiny_scene(folder / "balls", train=5, test=1)
    (folder / "tiny.toml").write_text(SUITE)
    return folder


def models(folder: Path) -> list[bytes]:
    return [(folder / name / "model.trf").read_bytes() for name in NAMES]


@pytest.fixture(scope="module")
def interrupted(here: Path) -> Path:
    """The suite's folder after Ctrl-C in the first of its runs, and the same command again with two at a time."""
    first = start(here, "--jobs", "1", "--out", "local")
    wait_for(lambda: trains(here / "local", NAMES[0]), first)
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=TIMEOUT)
    assert first.returncode == 130, said
    assert "saved" in said
    again = start(here, "--jobs", "2", "--out", "local")
    said, _ = again.communicate(timeout=TIMEOUT)
    assert again.returncode == 0, said
    assert "30.50" in said  # published, beside the one scene
    return here / "local"


def test_a_suite_that_was_interrupted_goes_on_with_the_run_that_was_under_way_and_begins_the_other(interrupted):
    for name in NAMES:
        assert json.loads((interrupted / name / "metrics.json").read_text())["iterations"] == 150
    said = {name: (interrupted / "logs" / f"{name}.log").read_text() for name in NAMES}
    assert [name for name in NAMES if "going on from iteration" in said[name]] == [NAMES[0]]
    assert json.loads((interrupted / "suite.json").read_text())["failures"] == {}


def test_nothing_is_run_that_is_there(here, interrupted):
    before = {path: path.stat().st_mtime_ns for name in NAMES for path in (interrupted / name).iterdir()}
    again = start(here, "--jobs", "2", "--out", "local")
    said, _ = again.communicate(timeout=TIMEOUT)
    assert (again.returncode, "starting" in said) == (0, False), said
    assert {path: path.stat().st_mtime_ns for name in NAMES for path in (interrupted / name).iterdir()} == before


@pytest.fixture
def cluster() -> Iterator[object]:
    if not Path("/proc/self/stat").exists():
        pytest.skip("the processes of a machine are found in /proc")
    with cluster_of_two() as found:
        yield found


def test_a_run_whose_machine_is_lost_goes_on_elsewhere(here, interrupted, cluster):
    suite = start(here, "--cluster", cluster.address, "--cpus", "1", "--out", "cluster")
    wait_for(lambda: trains(here / "cluster", NAMES[0]), suite)
    kill_machine_of(cluster, NAMES[0])
    said, _ = suite.communicate(timeout=TIMEOUT)
    assert suite.returncode == 0, said
    assert "going on from iteration" in (here / "cluster" / "logs" / f"{NAMES[0]}.log").read_text()
    assert models(here / "cluster") == models(interrupted)
