"""A folder with a scene and its runs, and a studio in it."""

from __future__ import annotations

import contextlib
import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import scenes
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.slimmerf import PRESETS
from taichi_rf.training.finish import finish
from taichi_rf.training.run import Recipe, RunFolder, Training
from taichi_rf.training.trainer import Trainer
from tests.tiny import TINY, write_tiny_scene
from tests.viewer.app.studios import HALF, change_config
from viewer.app.studio import Studio


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, a finished run of it and one that was stopped half way; not to be written to."""
    place = tmp_path_factory.mktemp("place")
    source = str(write_tiny_scene(place / "balls"))
    for name, steps in (("whole", TINY.iterations), ("half", HALF)):
        gc.collect()
        backend.reset()
        backend.init("cpu")
        recipe, folder = Recipe(TINY, source), RunFolder(place / "runs" / name)
        with folder.claimed(new=True):
            trainer = Trainer(scenes.load(source), TINY)
            folder.begin(recipe, trainer)
            training = Training(trainer, folder)
            for _ in range(steps):
                training.step()
            training.save()
            if training.done:
                finish(training, recipe)
        del trainer, training
    return place


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that, and the working directory."""
    shutil.copytree(place, tmp_path / "here")
    for name in ("whole", "half"):  # the scene of the copied runs is the copied one
        change_config(tmp_path / "here" / "runs" / name, source=str(tmp_path / "here" / "balls"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setitem(PRESETS, "quick", TINY.changed(preset="quick"))
    return tmp_path / "here"


@pytest.fixture
def studio(here: Path) -> Iterator[Studio]:
    studio = Studio()
    studio.downscale = 1
    yield studio
    with contextlib.suppress(UserError):
        studio.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Scenes take for ever to load, until the function given is called."""
    go, genuine = threading.Event(), scenes.load

    def load(source: str, *, progress=None, **arguments: object) -> scenes.Scene:
        while not go.wait(0.005):
            progress(1, 4)
        return genuine(source, progress=progress, **arguments)

    monkeypatch.setattr(scenes, "load", load)
    yield go.set
    go.set()
