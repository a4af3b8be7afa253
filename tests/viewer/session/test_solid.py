"""A mesh in the viewer: chosen, trained while it is looked at, with the same slider and modes, and opened again."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from scenes.solids.meshes import MeshScene
from taichi_rf.core import backend
from taichi_rf.training.configs import solid
from taichi_rf.training.run import MODEL, Run, RunFolder
from taichi_rf.training.trainer import Trainer
from tests.solids import TINY_SOLID, ball, write_obj
from viewer.app import catalogue
from viewer.app.loading import Loading, load_photographs, plan_model, plan_training
from viewer.app.opening import build_model, build_run
from viewer.app.studio import Studio
from viewer.session.session import MODES, Session

SIZE = 48


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_obj(tmp_path_factory.mktemp("mesh") / "ball.obj", *ball(32))


@pytest.fixture(scope="module")
def run(mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the mesh as the studio begins it, and its recipe."""
    backend.init("cpu")
    before, solid.PRESETS["quick"] = solid.PRESETS["quick"], TINY_SOLID
    studio = Studio(arch="cpu", runs=tmp_path_factory.mktemp("runs"))
    assert studio.choose(mesh)
    studio.downscale = 8
    recipe = studio.recipe()
    solid.PRESETS["quick"] = before
    plan = plan_training(recipe, Loading("", lambda loading: None))
    assert isinstance(plan.scene, MeshScene)
    folder, claim = RunFolder(tmp_path_factory.mktemp("run") / "ball"), contextlib.ExitStack()
    claim.enter_context(folder.claimed(new=True))
    return build_run(plan, folder, claim, guard=contextlib.nullcontext)


def test_a_mesh_is_found_and_only_what_fits_it_is_offered(mesh, tmp_path):
    assert [(entry.name, entry.kind) for entry in catalogue.browse(mesh.parent).entries] == [("ball.obj", "scene")]
    studio = Studio(arch="cpu", runs=tmp_path)
    assert studio.choose(mesh)
    assert studio.method == "vqad"
    assert studio.recipe().config.decoder == "none"


def test_it_trains_while_it_is_looked_at_at_every_level_and_in_every_mode(run):
    assert isinstance(run.training.trainer, Trainer)
    session = Session(trainer=run.training)
    middle = SIZE // 2
    for level in (1, 2):
        session.levels.choose(level)
        assert session.level == level
        for mode in MODES[:-1]:
            session.set_mode(mode)
            picture = session.snapshot(SIZE, SIZE)
            assert picture.shape == (SIZE, SIZE, 3)
            assert picture[middle, middle].tolist() != picture[0, 0].tolist(), mode
    session.set_mode("colour")
    coarse, fine = (session.render_band(session.camera(SIZE, SIZE), level, "colour") for level in (1, 2))
    assert not np.array_equal(coarse, fine)
    for _ in range(2000):
        session.frame(SIZE, SIZE, 0.01)
        session.work(0.05)
        if not session.training and session.levels.decibels(2) is not None:  # measured on pictures of the mesh
            break
    assert session.failure is None
    assert run.training.done
    assert session.history().batch
    assert session.levels.decibels(2).value > session.levels.decibels(1).value > 20
    assert len(session.levels.curve()) == 2


def test_the_photograph_to_compare_with_is_the_mesh(run):
    session = Session(trainer=run.training)
    session.go_to(session.views[0])
    session.set_compare("photo")
    assert session.compare == "photo"
    session.set_mode("error")
    picture = session.frame(SIZE, SIZE, 1.0)
    assert picture.shape == (SIZE, SIZE, 3)


def test_what_was_saved_is_opened_and_knows_its_mesh(run, mesh):
    run.training.save(anyway=True)
    path = run.training.folder / MODEL
    loading = Loading("", lambda loading: None)
    plan = plan_model(path, loading)
    assert plan.photographs is not None
    assert plan.photographs.source == str(mesh)
    assert len(load_photographs(plan, loading).test)
    session = Session(build_model(plan))
    whole = session.snapshot(SIZE, SIZE)
    session.levels.choose(1)
    assert not np.array_equal(session.snapshot(SIZE, SIZE), whole)
