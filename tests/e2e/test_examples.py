"""The scripts in examples/ do what they say, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.places import ROOT

TENSOR = str(ROOT / "tests/data/tensor.trf")
RUNS = {
    "01_train_and_slim": (["lantern", "40"], ("whole.trf", "four.trf", "small.trf")),
    "02_turntable": ([TENSOR, "4"], ("turntable.gif",)),
    "03_rate_distortion": ([TENSOR, "lantern", "16"], ("rate_distortion.png",)),
    "04_view_loop": ([TENSOR, "3"], ()),
}


def test_all_examples_are_run():
    assert set(RUNS) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs_and_writes_what_it_names(name: str, tmp_path: Path):
    arguments, written = RUNS[name]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)
    for file in written:
        assert file in done.stdout
    if "small.trf" in written:
        assert (tmp_path / "small.trf").stat().st_size <= 300_000
    if "turntable.gif" in written:
        with Image.open(tmp_path / "turntable.gif") as picture:
            assert (picture.n_frames, picture.size) == (4, (320, 240))
