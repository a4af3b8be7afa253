"""Many models in one process: what one of them took is given back by stopping Taichi in between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.windows import ROOT

LOADS = """
import gc, resource, sys
from taichi_rf.core import backend
from taichi_rf.storage.model_file import load_model
for _ in range(4):
    backend.init("cpu")
    model = load_model(sys.argv[1])
    del model
    backend.reset()
    gc.collect()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def test_a_process_that_starts_taichi_anew_for_every_model_stays_as_large_as_for_one(tiny_run: Path) -> None:
    script = [sys.executable, "-c", LOADS, str(tiny_run / "model.trf")]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    megabytes = [float(line) for line in done.stdout.split("\n") if line and line[0].isdigit()]
    assert len(megabytes) == 4
    assert megabytes[-1] < megabytes[1] + 40  # without, every one takes as much or more
