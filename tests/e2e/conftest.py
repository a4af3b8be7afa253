"""What the command lines and the window are tried on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the ``model.trf`` of a small scene, four ranks; not to be written to."""
    folder = tmp_path_factory.mktemp("run")
    script = str(ROOT / "tests" / "e2e" / "tiny_model.py")
    done = subprocess.run(
        [sys.executable, script, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
