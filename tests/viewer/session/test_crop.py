"""A box that is dragged by its faces, and the model cut to it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.kernels.spaces import CONTRACTED_BOX, Contraction
from taichi_rf.motion.crop_box import BEYOND, FACES, THINNEST, CropBox
from taichi_rf.storage.cropping import occupancy
from taichi_rf.storage.model_file import load_model, read_stored
from taichi_rf.storage.trf import write_trf
from tests.viewer.session.sessions import make
from viewer.session.session import Session

DATA = Path(__file__).resolve().parents[2] / "data"
BOX = np.array([[-1.0, -1.0, -0.5], [1.0, 1.0, 1.5]])


def camera(eye=(4.0, -3.0, 2.5), target=(0.0, 0.0, 0.5)) -> Camera:
    return Camera(look_at(eye, target), 600, 600, 320, 240, 640, 480)


def moved(crop: CropBox, face: int, by: float) -> np.ndarray:
    """The box with one face elsewhere."""
    box = crop.box.copy()
    box[face % 2, face // 2] += by
    return box


@pytest.mark.parametrize("grab", [(0.0, 0.0), (4.0, -3.0)])
@pytest.mark.parametrize("face", range(6))
def test_a_face_follows_the_mouse_along_its_axis_and_the_others_stay(face, grab):
    crop, view = CropBox(BOX), camera()
    place = crop.handles(view)[face]
    inward = 0.4 if face % 2 == 0 else -0.4
    wanted = moved(crop, face, inward)
    shift = np.zeros(3)
    shift[face // 2] = inward
    to = view.project(crop.middles()[face] + shift)[0]
    crop.take(face, view, *(place + grab))
    crop.pull(view, *(place + grab))
    np.testing.assert_allclose(crop.box, BOX, atol=1e-6)  # nothing jumps when it is taken hold of
    crop.pull(view, *(to + grab))
    np.testing.assert_allclose(crop.box, wanted, atol=1e-4 if grab == (0.0, 0.0) else 0.02)
    crop.let_go()
    crop.pull(view, 0, 0)
    np.testing.assert_allclose(crop.box, wanted, atol=1e-4 if grab == (0.0, 0.0) else 0.02)


@pytest.mark.parametrize("face", range(6))
def test_a_face_stops_at_its_reach_and_before_the_face_opposite(face):
    crop = CropBox(BOX)
    axis, side = face // 2, face % 2
    for beyond in (-99.0, 99.0):
        crop.move(face, beyond)
        outward = (beyond > 0) == (side == 1)
        opposite = BOX[1 - side, axis]
        gap = THINNEST * (BOX[1, axis] - BOX[0, axis])
        expected = BOX[side, axis] if outward else opposite + (gap if side else -gap)
        assert crop.box[side, axis] == pytest.approx(expected)
    before = crop.box.copy()
    crop.move(face, float("nan"))
    np.testing.assert_array_equal(crop.box, before)
    crop.reset()
    np.testing.assert_array_equal(crop.box, BOX)
    assert crop.whole


def test_a_face_that_is_looked_at_along_its_way_cannot_be_dragged():
    crop, view = CropBox(BOX), camera(eye=(0.0, 0.0, 9.0), target=(0.0, 0.0, 0.0))
    crop.take(5, view, *crop.handles(view)[5])
    crop.pull(view, 320, 240)
    np.testing.assert_array_equal(crop.box, BOX)


def test_sliders_place_a_face_in_percent_of_its_reach():
    crop = CropBox(BOX)
    for face in range(len(FACES)):
        crop.place(face, 25 if face % 2 == 0 else 75)
    np.testing.assert_allclose(crop.box, [[-0.5, -0.5, 0.0], [0.5, 0.5, 1.0]])
    assert [crop.percent(face) for face in range(6)] == [25, 75] * 3
    for face in range(6):
        crop.place(face, 100 * (face % 2))
    assert crop.whole


def test_the_handle_under_the_mouse_is_that_of_the_face_in_front():
    crop, view = CropBox(BOX), camera(eye=(6.0, 0.0, 0.5))
    front, behind = crop.handles(view)[1], crop.handles(view)[0]
    np.testing.assert_allclose(front, behind, atol=1e-3)  # one behind the other
    assert crop.at(view, *front, 10) == 1
    assert crop.facing(view.position) == [False, True, False, False, False, False]
    assert crop.at(view, front[0] + 30, front[1], 10) is None
    inside = camera(eye=(0.0, 0.0, 0.5), target=(0.0, 5.0, 0.5))
    assert np.isnan(crop.handles(inside)[2]).all()  # behind
    assert crop.at(inside, *crop.handles(inside)[3], 10) == 3


def test_a_model_without_end_can_be_cut_farther_out_than_one_turns_around():
    model = SimpleNamespace(world_box=np.float32([[-1, -1, -1], [1, 1, 1]]), space=Contraction())
    crop = CropBox.around(model)
    np.testing.assert_array_equal(crop.box, [[-1, -1, -1], [1, 1, 1]])
    np.testing.assert_array_equal(crop.reach, [[-BEYOND] * 3, [BEYOND] * 3])
    assert CropBox.around(SimpleNamespace(world_box=np.float32(BOX))).whole


def test_a_face_at_the_end_of_its_reach_cuts_nothing_of_a_model_without_end(tmp_path):
    stored = read_stored(DATA / "tensor.trf")
    header = {**stored.header, "box": CONTRACTED_BOX.tolist(), "space": Contraction().describe()}
    base = {**stored.base, "occupancy": np.full_like(stored.base["occupancy"], 255)}
    endless = type(stored)(stored.kind, header, base, stored.levels, [], [])
    write_trf(tmp_path / "endless.trf", header, endless.chunks())
    backend.init("cpu")
    session = Session(load_model(tmp_path / "endless.trf"), folder=tmp_path, file=tmp_path / "endless.trf")
    for face in (1, 2, 3, 4, 5):
        session.keeper.crop_box().place(face, 100 * (face % 2))
    path = session.keeper.cut()
    assert path is not None, session.message
    left = occupancy(read_stored(path)).any(axis=(0, 1))
    middles = -2 + 4 * (np.arange(len(left)) + 0.5) / len(left)
    np.testing.assert_array_equal(left, middles > -1)  # only x has an end
    assert left[-1]


def a_session(name: str, folder: Path) -> Session:
    backend.init("cpu")
    return Session(load_model(DATA / f"{name}.trf"), folder=folder, file=DATA / f"{name}.trf")


@pytest.mark.parametrize("name", ["tensor", "compressed_tensor", "octree"])
def test_the_model_is_cut_at_all_levels_whichever_is_shown(name, tmp_path):
    session = a_session(name, tmp_path)
    session.levels.choose(1)
    crop = session.keeper.crop_box()
    assert session.keeper.crop is crop
    crop.place(1, 60)
    path = session.keeper.cut()
    assert path is not None
    assert path.name.endswith("-cut.trf")
    assert "% of the cells" in session.message.text
    cut = load_model(path)
    assert cut.num_levels == session.model.num_levels
    assert path.stat().st_size < (DATA / f"{name}.trf").stat().st_size
    if name != "octree":
        assert cut.box[1, 0] == pytest.approx(crop.box[1, 0], abs=0.1)
        np.testing.assert_array_equal(cut.box[0], session.model.box[0])
    assert list(tmp_path.iterdir()) == [path]  # nothing half made is left


def test_a_box_around_all_of_it_a_training_and_a_full_folder_are_refused(tmp_path):
    session = a_session("tensor", tmp_path)
    assert session.keeper.cut() is None
    assert session.message.alarm
    assert "drag a face" in session.message.text
    session.keeper.crop_box().box[:] = [[0.9, 0.9, 0.9], [0.901, 0.901, 0.901]]
    (tmp_path / "file").write_text("")
    session.keeper.folder = tmp_path / "file" / "below"
    assert session.keeper.cut() is None
    assert session.message.alarm
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_model_in_training_is_not_cut(tmp_path):
    from tests.viewer_fakes import FakeTrainer

    session, _, clock = make(folder=tmp_path)
    trained = Session(trainer=FakeTrainer(clock), render=session.subject.render, clock=clock, folder=tmp_path)
    trained.keeper.crop_box().place(0, 30)
    assert trained.training
    assert trained.keeper.cut() is None
    assert "pause it" in trained.message.text
