"""What the command lines and the window are tried on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.train_cli import ITERATIONS, train
from tests.e2e.windows import FAKE, ROOT, Viewer, revived
from tests.tiny import write_tiny_scene


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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Start a viewer in the test's folder and wait for its first frames; it is gone when the test is over."""
    with ExitStack() as stack:

        def start(*command: object, **arguments: object) -> Viewer:
            arguments.setdefault("folder", tmp_path)
            return stack.enter_context(Viewer(*command, **arguments)).started()  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Viewer]]:
    with revived(lambda: Viewer(FAKE, "model", "STATE", folder=tmp_path_factory.mktemp("shared"))) as get:
        yield get


@pytest.fixture
def model(models: Callable[[], Viewer]) -> Viewer:
    """A window over a model that costs little, with photographs, as it was when it opened; shared by many tests."""
    return models()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, and a finished run of it."""
    folder = tmp_path_factory.mktemp("place")
    write_tiny_scene(folder / "balls")
    done = train("balls", "--iterations", ITERATIONS, "--out", "runs/whole", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


@pytest.fixture
def spoilable(place: Path, tmp_path: Path) -> Path:
    """The scene's folder, to be broken."""
    return Path(shutil.copytree(place / "balls", tmp_path / "balls"))


@pytest.fixture
def bare(model) -> Viewer:
    """The shared viewer with nothing over its picture."""
    model.key("Tab")
    model.wait(lambda state: state["hidden"] and state["slider"] is None, "no panels")
    model.wait(lambda state: state["message"] is None, "the end of a message of the test before")
    model.sharp()
    return model
