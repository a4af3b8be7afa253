"""Where a session stands and what it compares: views of the scene, photographs, wipes, demonstrations. No Taichi."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.camera_path import turntable
from taichi_rf.motion.orbit import Orbit
from tests.tiny import SIZE, tiny_scene
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.overlay.stats import Message
from viewer.session.compose import ERROR_AT_TOP, placed
from viewer.session.demo import Demo
from viewer.session.session import Session
from viewer.session.stats import stats_of
from viewer.session.viewpoint import fitted, image_area

BLACK_BELOW_WHITE = np.zeros((4, 4, 3), np.uint8)
BLACK_BELOW_WHITE[:2] = 255


def make(**arguments) -> tuple[Session, FakeRender, Clock]:
    clock = Clock()
    render = FakeRender(clock)
    return Session(FakeModel(), render=render, clock=clock, **{"scene": tiny_scene(), **arguments}), render, clock


def settle(session: Session, size=(96, 64)) -> np.ndarray:
    for _ in range(1000):
        picture = session.frame(*size, 0.02)
        if session.composer.complete:
            return picture.copy()
    raise AssertionError("the picture never settled")


# Motion


def test_flying_goes_equally_far_at_any_frame_rate():
    places = []
    for frames in (2, 10, 50):
        session, _, _ = make()
        for _ in range(frames):
            session.viewpoint.fly(0.5, 0.0, 1.0, 0.4 / frames)
        places.append(session.orbit.camera(8, 8).position)
    np.testing.assert_allclose(places, [places[0]] * 3, atol=1e-5)


def test_flying_forward_goes_where_one_looks():
    session, _, _ = make()
    before = session.orbit.camera(8, 8).pose
    session.viewpoint.fly(0, 0, 1, 0.1)
    moved = session.orbit.camera(8, 8).position - before[:, 3]
    np.testing.assert_allclose(moved / np.linalg.norm(moved), -before[:, 2], atol=1e-5)


def test_a_window_that_hung_does_not_shoot_off():
    session, _, _ = make()
    before = session.orbit.camera(8, 8).position
    session.viewpoint.fly(0, 0, 1, 60.0)
    assert np.linalg.norm(session.orbit.camera(8, 8).position - before) < 0.1 * session.orbit.extent


def test_a_drag_while_flying_turns_the_head_and_moves_nothing():
    session, _, _ = make()
    before = session.orbit.camera(8, 8)
    session.viewpoint.flying = True
    session.viewpoint.drag(100, 40, 720)
    after = session.orbit.camera(8, 8)
    np.testing.assert_allclose(after.position, before.position, atol=1e-5)
    turned = math.acos(np.clip(after.pose[:, 2] @ before.pose[:, 2], -1, 1))
    assert math.radians(10) < turned < math.radians(40)


def test_standing_is_where_one_was_told_to():
    session, _, _ = make()
    session.stand((1, 2, 3), (0.5, 0, 0), (0, 0, 1), 0.8)
    camera = session.camera(64, 64)
    np.testing.assert_allclose(camera.pose, look_at((1, 2, 3), (0.5, 0, 0)), atol=1e-5)
    assert camera.fy == pytest.approx(32 / math.tan(0.4))


@pytest.mark.parametrize(
    ("position", "target", "up"),
    [
        ((math.nan, 0, 0), (0, 0, 0), (0, 0, 1)),
        ((1, 0, 0), (1, 0, 0), (0, 0, 1)),
        ((1, 0, 0), (0, 0, 0), (0, 0, 0)),
        ((1e30, 0, 0), (0, 0, 0), (0, 0, 1)),
        ((1, 0), (0, 0), (0, 1)),
    ],
)
def test_standing_nowhere_changes_nothing(position, target, up):
    session, _, _ = make()
    before = session.orbit.state()
    session.stand(position, target, up, 0.8)
    assert session.orbit.state() == before


# Views of the scene


def test_views_are_gone_round_and_come_back():
    session, _, _ = make()
    seen = []
    for _ in range(3):
        session.next_view()
        seen.append((session.at_view.split, session.at_view.index))
    assert seen == [("test", 0), ("test", 1), ("test", 0)]
    session.next_view(-1)
    assert session.at_view.index == 1
    session.next_view(split="train")
    assert (session.at_view.split, session.at_view.index, session.at_view.count) == ("train", 0, 8)
    session.next_view()
    assert (session.at_view.split, session.at_view.index) == ("train", 1)


def test_a_view_is_seen_through_the_photographs_own_camera():
    session, _, _ = make()
    session.next_view()
    np.testing.assert_array_equal(session.camera(SIZE, SIZE).pose, session.scene.test.cameras[0].pose)
    assert session.camera(SIZE, SIZE).fx == session.scene.test.cameras[0].fx


def test_moving_leaves_the_view_without_a_jump():
    session, _, _ = make()
    session.next_view()
    at = session.camera(96, 64)
    session.orbit.rotate(1e-6, 0, 64)
    free = session.camera(96, 64)
    assert session.at_view is None
    np.testing.assert_allclose(free.pose, at.pose, atol=1e-4)
    assert free.fy == pytest.approx(at.fy)


def test_a_fitted_camera_sees_the_photograph_in_the_middle_and_more():
    camera = Camera(look_at((3, 0, 1), (0, 0, 0)), 50.0, 60.0, 15.0, 11.0, 30, 20)
    for width, height in [(90, 40), (60, 80), (30, 20)]:
        left, top, right, bottom = image_area(camera, width, height)
        wide = fitted(camera, width, height)
        assert (right - left) / (bottom - top) == pytest.approx(1.5, rel=0.1)
        for point in np.random.default_rng(0).normal(size=(5, 3)) * 0.3:
            (x, y), _ = camera.project(point)
            (u, v), _ = wide.project(point)
            assert (u, v) == pytest.approx((left + x * (right - left) / 30, top + y * (bottom - top) / 20), abs=0.6)


def test_without_a_scene_the_views_say_why_there_are_none():
    session, _, _ = make(scene=None)
    for act in (session.next_view, lambda: session.set_compare("photo"), lambda: session.set_mode("error")):
        session._messages._last = None
        act()
        assert session.message.alarm
        assert "scene" in session.message.text
    assert (session.at_view, session.compare, session.mode) == (None, "off", "colour")


def test_a_scene_without_test_views_still_has_training_views():
    session, _, _ = make(scene=tiny_scene(test=0))
    session.next_view()
    assert session.at_view.split == "train"
    session.next_view(split="test")
    assert "no test views" in session.message.text


# Comparing


def test_wipe_shows_each_level_on_its_side_of_the_divider():
    session, render, _ = make()
    session.set_compare("level")
    session.levels.choose(4)
    session.levels.choose_other(1)
    for divider in (0.0, 0.25, 1.0):
        session.divider = divider
        picture, cut = settle(session), round(96 * divider)
        camera = session.camera(96, 64)
        left, right = (quantise(render(session.model, camera, level=level, mode="colour")) for level in (4, 1))
        np.testing.assert_array_equal(picture[:, :cut], left[:, :cut])
        np.testing.assert_array_equal(picture[:, cut:], right[:, cut:])


def test_moving_the_divider_renders_nothing():
    session, render, _ = make()
    session.set_compare("level")
    settle(session)
    count = len(render.sizes)
    for divider in np.linspace(0, 1, 20):
        session.divider = float(divider)
        session.frame(96, 64, 0.02)
    assert len(render.sizes) == count


def test_beside_each_half_shows_all_of_the_view():
    session, render, _ = make()
    session.set_compare("level", "beside")
    session.levels.choose_other(2)
    picture, camera = settle(session), session.camera(48, 64)
    for part, level in ((picture[:, :48], 4), (picture[:, 48:], 2)):
        np.testing.assert_array_equal(part, quantise(render(session.model, camera, level=level, mode="colour")))


def test_comparing_begins_with_two_different_levels():
    session, _, _ = make()
    session.set_compare("level")
    assert session.levels.other != session.level


def test_photograph_lies_where_its_camera_saw_it():
    camera = Camera(look_at((3, 0, 1), (0, 0, 0)), 4.0, 4.0, 2.0, 2.0, 4, 4)
    picture = placed(BLACK_BELOW_WHITE, camera, 16, 8, (9, 8, 7))[..., :3].transpose(1, 0, 2)[::-1]
    assert picture[1, 8].tolist() == [255] * 3
    assert picture[6, 8].tolist() == [0] * 3
    assert picture[1, 2].tolist() == picture[6, 13].tolist() == [9, 8, 7]


def test_photograph_is_beside_the_picture_and_goes_when_one_moves():
    session, _, _ = make()
    session.next_view()
    session.set_compare("photo")
    session.divider = 0.0
    photograph = quantise(session.scene.test.composite(0, (1, 1, 1)))
    np.testing.assert_array_equal(settle(session, (SIZE, SIZE)), photograph)
    session.orbit.rotate(10, 0, 64)
    settle(session)
    assert (session.compare, stats_of(session).view) == ("off", None)


def test_comparing_with_a_photograph_goes_to_the_nearest_view():
    session, _, _ = make()
    session.stand(session.scene.test.cameras[1].position + 0.01, (0, 0, 0), (0, 0, 1), 0.7)
    session.set_compare("photo")
    assert (session.at_view.split, session.at_view.index) == ("test", 1)


def test_error_is_black_where_the_picture_is_right_and_grows_with_the_difference():
    scene = tiny_scene()
    session, render, _ = make(scene=scene)
    shown = scene.test.composite(0, (1, 1, 1))
    offset = np.zeros((SIZE, SIZE, 1), np.float32)
    offset[:, : SIZE // 2] = ERROR_AT_TOP

    def almost(model, camera, *, level, mode):
        assert mode == "colour"
        top = round(scene.test.cameras[0].cy * camera.width / SIZE - camera.cy)
        wrong = np.where(shown > 0.5, shown - offset, shown + offset)
        return wrong[top : top + camera.height] if camera.width == SIZE else np.zeros((camera.height, camera.width, 3))

    session.composer.sides[0]._bands._render = lambda camera, level, mode: almost(None, camera, level=level, mode=mode)
    session.next_view()
    session.set_mode("error")
    picture = settle(session, (SIZE, SIZE)).astype(int)
    assert picture[:, SIZE // 2 :].max() < 16
    assert picture[:, : SIZE // 2].min(axis=(0, 1)).sum() > 400
    session.orbit.rotate(10, 0, 64)
    settle(session)
    assert session.mode == "colour"


# Demonstration


def test_demo_shows_every_level_and_turns_all_the_way():
    demo = Demo(Orbit(), 100.0)
    times = 100.0 + np.arange(0, 120, 0.05)
    levels = [demo.level(now, 16) for now in times]
    assert set(levels) == set(range(1, 17))
    assert max(abs(a - b) for a, b in zip(levels, levels[1:])) == 1
    assert levels[0] == 16
    azimuths = np.unwrap([demo.orbit(now).azimuth for now in times])
    assert azimuths[-1] - azimuths[0] > 2 * math.pi


def test_demo_depends_on_the_time_alone():
    demo = Demo(Orbit(), 0.0)
    assert demo.level(17.3, 8) == Demo(Orbit(), 5.0).level(22.3, 8)
    assert demo.level(3.0, 1) == 1


def test_demo_returns_to_what_was_shown_before():
    session, _, clock = make()
    session.levels.choose(3)
    session.set_compare("level")
    before = session.orbit.state()
    session.toggle_demo()
    levels = set()
    for _ in range(400):
        session.frame(32, 32, 0.01)
        levels.add(session.level)
        clock.spend(0.1)
    assert levels == {1, 2, 3, 4}
    assert session.orbit.state() != before
    session.toggle_demo()
    assert (session.level, session.compare, session.orbit.state()) == (3, "level", before)


# Keeping


def test_picture_is_saved_while_frames_go_on(tmp_path):
    session, render, clock = make(folder=tmp_path / "pictures")
    path = session.keeper.picture(400, 300)
    assert not path.exists()
    frames = 0
    while session.keeper.job is not None:
        start = clock.now
        session.frame(96, 64, 0.02)
        session.work(0.05)
        assert clock.now - start < 0.2 + 1.2  # the fake's clock does not run while a picture is made in bands
        frames += 1
        assert frames < 1000
    from PIL import Image

    expected = quantise(render(session.model, session.camera(400, 300), level=4, mode="colour"))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
    assert str(path) in session.message.text
    assert session.keeper.picture(8, 8) != path


def test_one_recording_at_a_time_and_it_can_be_cancelled(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.keeper.picture(64, 64)
    first = session.keeper.job
    session.keeper.picture(32, 32)
    assert session.keeper.job is first
    assert session.message.alarm
    session.keeper.cancel()
    assert session.keeper.job is None
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_a_line_and_no_crash(tmp_path):
    (tmp_path / "file").write_text("")
    session, _, _ = make(folder=tmp_path / "file" / "folder")
    session.keeper.picture(16, 16)
    while session.keeper.job is not None:
        session.work(0.05)
    assert session.message.alarm
    assert session.keeper.camera() is None
    assert session.message.alarm


def test_camera_is_kept_as_numbers_that_make_the_same_view(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.frame(96, 64, 0.02)
    values = json.loads(session.keeper.camera().read_text())
    camera = session.camera(96, 64)
    np.testing.assert_allclose(np.array(values["camera_to_world"])[:3], camera.pose, atol=1e-6)
    assert (values["fx"], values["width"]) == (camera.fx, 96)
    np.testing.assert_allclose(
        Orbit.from_state(values["view"], session.model.box).camera(96, 64).pose, camera.pose, atol=1e-5
    )


def finish(session: Session) -> None:
    for _ in range(10_000):
        if session.keeper.job is None:
            return
        session.work(0.05)
    raise AssertionError("the recording never ended")


@pytest.mark.parametrize(("ffmpeg", "suffix"), [(True, ".mp4"), (False, ".gif")])
def test_films_are_mp4_or_else_gif(tmp_path, monkeypatch, ffmpeg, suffix):
    monkeypatch.setattr("viewer.session.keep.has_ffmpeg", lambda: ffmpeg)
    session, _, _ = make(folder=tmp_path)
    session.keeper.turntable(32, 24, seconds=0.5, fps=10)
    finish(session)
    (film,) = tmp_path.iterdir()
    assert film.suffix == suffix
    assert str(film) in session.message.text


def test_camera_path_is_recorded_saved_and_taken_up_again(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.keeper.path_film(32, 24)
    assert "2 to" in session.message.text  # keyframes are needed
    for _ in range(3):
        session.keeper.add_keyframe()
        session.orbit.rotate(40, 5, 64)
    session.keeper.path_film(32, 24)
    finish(session)
    poses = [frame.pose for frame in session.keeper.keyframes]
    assert session.keeper.save_path().name == "camera_path.json"
    session.keeper.clear_path()
    session.keeper.load_path()
    np.testing.assert_allclose([frame.pose for frame in session.keeper.keyframes], poses, atol=1e-6)
    assert session.keeper.loaded.seconds == pytest.approx(4.0, abs=0.1)
    (tmp_path / "camera_path-9.json").symlink_to("gone")
    session.keeper.load_path()
    assert session.message.alarm
    (tmp_path / "camera_path-9.json").unlink()
    (tmp_path / "camera_path.json").write_text("[]")
    session.keeper.load_path()
    assert session.message.alarm
    assert len(session.keeper.keyframes) == 3


@pytest.mark.parametrize(("ffmpeg", "frames"), [(True, 60), (False, 30)])
def test_a_loaded_path_is_filmed_with_its_own_timing(tmp_path, monkeypatch, ffmpeg, frames):
    monkeypatch.setattr("viewer.session.keep.has_ffmpeg", lambda: ffmpeg)
    session, _, _ = make(folder=tmp_path)
    way = turntable(session.orbit, seconds=2, fps=30, width=64, height=48)
    way.save(tmp_path / "camera_path.json")
    session.keeper.load_path()
    session.keeper.path_film(32, 24)
    job = session.keeper.job
    assert job.frames == frames  # a GIF has every second one
    finish(session)
    session.keeper.add_keyframe()
    assert session.keeper.loaded is None


# Messages


def test_a_message_goes_by_itself_and_an_alarm_stays_longer():
    session, _, clock = make()
    for alarm, seconds in ((False, 8), (True, 16)):
        session.say("look", alarm=alarm)
        clock.spend(seconds - 0.1)
        assert stats_of(session).message == Message("look", alarm)
        clock.spend(0.2)
        assert stats_of(session).message is None
