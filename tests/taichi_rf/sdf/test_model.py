"""A model that is a solid: its pictures in every mode, its prefixes, and its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes.solids.meshes import MeshScene
from taichi_rf.core.errors import UserError
from taichi_rf.evaluation.evaluate import evaluate
from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering import colormaps
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import MODES, render, render_prefixes
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.sdf.renderer import SurfaceRenderer
from taichi_rf.sdf.shading import shade
from taichi_rf.storage.model_file import load_model, model_chunks, save_model
from taichi_rf.storage.trf import write_trf
from taichi_rf.training.trainer import Trainer
from tests.arches import per_arch
from tests.solids import TINY_SOLID, ball_scene

RADIUS = 0.9  # world units
only_cpu = pytest.mark.parametrize("model", ["cpu"], indirect=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> MeshScene:
    return ball_scene(tmp_path_factory.mktemp("mesh"), downscale=8)


@per_arch
def model() -> SurfaceModel:
    """As it is before any training: the distance interpolated."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(ball_scene(Path(folder), 64), TINY_SOLID.changed(points=100))
    assert isinstance(trainer.model, SurfaceModel)
    trainer.model.background = (0.2, 0.4, 0.6)
    return trainer.model


def sight(scene: MeshScene, view: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of a picture's rays, (height, width): those that surely meet the ball, those that surely do not, t, normals and
    directions."""
    camera = scene.test.cameras[view]
    origins, directions = camera.rays()
    towards = -(origins * directions).sum(1)
    clearance = np.linalg.norm(origins + towards[:, None] * directions, axis=1)
    t = towards - np.sqrt(np.maximum(RADIUS**2 - clearance**2, 0))
    normals = (origins + t[:, None] * directions) / RADIUS
    size = camera.height, camera.width
    return (
        (clearance < RADIUS - 0.05).reshape(size), (clearance > RADIUS + 0.01).reshape(size), t.reshape(size),
        normals.astype(np.float32).reshape(*size, 3), directions.reshape(*size, 3),
    )  # fmt: skip


def test_the_modes_show_a_ball_as_the_formulas_say(scene, model):
    met, missed, t, normals, directions = sight(scene)
    shown = {mode: render(model, scene.test.cameras[0], mode=mode) for mode in MODES}
    np.testing.assert_allclose(shown["colour"][met], shade(normals[met], directions[met]), atol=0.03)
    np.testing.assert_allclose(shown["colour"][missed], np.tile(model.background, (missed.sum(), 1)), atol=1e-6)
    np.testing.assert_allclose(shown["normals"][met], 0.5 + 0.5 * normals[met], atol=0.05)
    assert (shown["opacity"][met] == 1).all()
    assert (shown["opacity"][missed] == 0).all()
    away = float(np.linalg.norm(scene.test.cameras[0].position))
    radius = 0.65 * np.sqrt(3)
    expected = colormaps.apply("turbo", (away + radius - t[met]) / (2 * radius))
    np.testing.assert_allclose(shown["depth"][met], expected, atol=0.03)
    assert (shown["depth"][missed] == 0).all()
    assert shown["samples"][met].mean() > shown["samples"][0, 0].mean()
    assert (shown["occupancy"][met] != np.float32(model.background)).any(axis=-1).all()


def test_a_background_of_one_s_own(scene, model):
    _, missed, *_ = sight(scene)
    picture = render(model, scene.test.cameras[0], background=(1, 0, 0))
    assert (picture[missed] == [1, 0, 0]).all()


def test_prefixes_are_the_pictures_of_each_level(scene, model):
    camera = scene.test.cameras[1]
    together = render_prefixes(model, camera)
    assert isinstance(model.renderer, SurfaceRenderer)
    assert together.shape == (2, camera.height, camera.width, 3)
    for level in (1, 2):
        np.testing.assert_array_equal(together[level - 1], render(model, camera, level=level))
    assert not np.array_equal(together[0], together[1])
    origins, directions = camera.rays()
    assert model.renderer.prefixes(origins[:7], directions[:7], model.settings(1)).shape == (1, 7, 3)
    with pytest.raises(UserError):
        model.settings(3)


def test_pictures_of_the_mesh_are_what_the_model_is_measured_against(scene, model):
    plain = model.background
    model.background = scene.background
    found = evaluate(model, scene.test, [10, 20], views=3)
    model.background = plain
    assert found.scores[0].psnr > 20
    assert found.scores[1].psnr > found.scores[0].psnr


# The file


def stored(model: Model, folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    header, chunks = model_chunks(model)
    header = json.loads(json.dumps(header))
    if change is not None:
        change(header)
    write_trf(folder / "model.trf", header, chunks)
    return folder / "model.trf"


@only_cpu
def test_what_is_loaded_looks_like_what_was_saved_whole_or_cut(scene, model, tmp_path):
    sizes = save_model(model, tmp_path / "model.trf")
    camera = scene.test.cameras[2]
    whole = load_model(tmp_path / "model.trf")
    assert isinstance(whole, SurfaceModel)
    first = load_model(tmp_path / "model.trf", level=1)
    (tmp_path / "cut.trf").write_bytes((tmp_path / "model.trf").read_bytes()[: sizes[0]])
    cut = load_model(tmp_path / "cut.trf")
    for level, loaded in ((2, whole), (1, whole), (1, first), (1, cut)):
        # half precision moves a surface by a thousandth of a distance
        apart = np.abs(render(loaded, camera, level=level) - render(model, camera, level=level)).max(axis=-1)
        assert (apart > 0.02).mean() < 0.01
    np.testing.assert_array_equal(render(first, camera), render(whole, camera, level=1))
    np.testing.assert_array_equal(render(cut, camera), render(first, camera))


@only_cpu
@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda header: header.pop("render"), "render"),
        (lambda header: header.update(render="volume"), "render"),
        (lambda header: header.update(render="hologram"), "render"),
        (lambda header: header.update(render=None), "render"),
        (lambda header: header.update(render=["surface"]), "render"),
        (lambda header: header.update(decoder="small"), "render"),
        (lambda header: header["field"].update(activation="softplus"), "render"),
        (lambda header: header.update(box=[[-1, -1, -1], [1, 1, 1.5]]), "cube"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(model, tmp_path, change, because):
    assert isinstance(load_model(stored(model, tmp_path)), SurfaceModel)
    path = stored(model, tmp_path, change)
    with pytest.raises(UserError, match=because) as error:
        load_model(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("distance", [300.0, 1e4, 1e9, np.nan])
def test_a_picture_from_afar_is_that_of_a_ball_in_every_mode(model, distance):
    from taichi_rf.motion.free_view import render_from_anywhere

    size = 40
    pose = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, distance]], np.float32)
    focal = size / 2.4 * (distance if distance == distance else 1.0)
    camera = Camera(pose, focal, focal, size / 2, size / 2, size, size)
    shown = {mode: render_from_anywhere(model, camera, level=2, mode=mode) for mode in MODES}
    assert all(np.isfinite(picture).all() for picture in shown.values())
    x, y = (np.indices((size, size)) + 0.5) / size * 2.4 - 1.2
    away = np.hypot(x, y) - RADIUS
    if distance < 1e5:
        assert (shown["opacity"][away < -0.03] == 1).all()
    if not distance < 1e5 or distance == distance:
        assert (shown["opacity"][away > 0.03] == 0).all()
