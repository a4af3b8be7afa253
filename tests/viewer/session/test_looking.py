"""Looking round: flying, the scene's own views, comparing, demonstrating. No window, no Taichi."""

from __future__ import annotations

import math

import numpy as np
import pytest

from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.bands import quantise
from tests.tiny import SIZE, tiny_scene
from tests.viewer.session.sessions import BLACK_BELOW_WHITE, make, settle
from viewer.overlay.stats import Message
from viewer.session.compose import ERROR_AT_TOP, placed
from viewer.session.stats import stats_of
from viewer.session.viewpoint import fitted, image_area

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
    session.orbit.stand((1, 2, 3), (0.5, 0, 0), (0, 0, 1), 0.8)
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
    session.orbit.stand(position, target, up, 0.8)
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


@pytest.mark.parametrize(("shown", "other"), [(4, 2), (3, 1), (2, 1), (1, 4)])
def test_comparing_begins_with_half_of_the_level_or_with_all_where_it_is_low(shown, other):
    session, _, _ = make()
    session.levels.choose(shown)
    session.set_compare("level")
    assert session.levels.other == other


def test_a_level_is_never_beside_itself_wherever_the_sliders_go():
    session, _, _ = make()
    session.set_compare("level")
    for shown in (1, 2, 3, 4, 2):
        session.levels.choose(shown)
        for other in (1, 2, 3, 4):
            session.levels.choose_other(other)
            assert session.levels.other == other or other == shown != session.levels.other


def test_both_sides_say_their_level_its_bytes_and_its_decibels():
    session, _, _ = make()
    session.set_compare("level")
    compare = stats_of(session).compare
    assert (compare.left, compare.right) == ("rank 4 · 1.00 MB · 30.0 dB", "rank 2 · 0.50 MB · 25.0 dB")
    session.model.metadata["coding_loss"] = [0.5] * 4
    assert stats_of(session).compare.right == "rank 2 · 0.50 MB · ≈ 24.5 dB"


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
    session.orbit.stand(session.scene.test.cameras[1].position + 0.01, (0, 0, 0), (0, 0, 1), 0.7)
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


def test_demo_returns_to_what_was_shown_before():
    session, _, clock = make()
    session.levels.choose(3)
    session.set_compare("level", "beside")
    before = session.orbit.state()
    session.toggle_demo()
    shown = set()
    for _ in range(400):
        session.frame(32, 32, 0.01)
        shown.add((session.level, session.compare))
        clock.spend(0.1)
    assert shown == {(1, "off"), (2, "off"), (4, "off"), (4, "photo")}
    assert session.orbit.state() != before
    session.toggle_demo()
    assert (session.level, session.compare, session.layout, session.orbit.state()) == (3, "level", "beside", before)


# Messages


def test_a_message_goes_by_itself_and_an_alarm_stays_longer():
    session, _, clock = make()
    for alarm, seconds in ((False, 8), (True, 16)):
        session.say("look", alarm=alarm)
        clock.spend(seconds - 0.1)
        assert stats_of(session).message == Message("look", alarm)
        clock.spend(0.2)
        assert stats_of(session).message is None


def test_what_lies_over_the_picture_leaves_the_middle_and_the_whole_height_free():
    session, _, _ = make()
    width, height, (left, right, bottom) = 1280, 720, (300, 100, 90)
    edges = [(width / 2, 0.0), (width / 2, float(height))]
    plain, session.viewpoint.covered = session.viewpoint.frame_camera(width, height), (left, right, bottom)
    fitted, kept = session.viewpoint.frame_camera(width, height), session.viewpoint.camera(width, height)
    assert (kept.fx, kept.cx, kept.cy) == (plain.fx, plain.cx, plain.cy)
    for (x, y), expected in zip(edges, (0.0, height - bottom), strict=True):  # what the upper and the lower edge show
        ray = plain.pose[:, :3] @ np.array([(x - plain.cx) / plain.fx, -(y - plain.cy) / plain.fy, -1.0])
        (pixel,), _ = fitted.project((plain.position + ray)[None])
        np.testing.assert_allclose(pixel, (left + (width - left - right) / 2, expected), atol=0.01)


def test_what_is_moved_stays_under_the_mouse_also_above_the_figures():
    session, _, _ = make()
    session.viewpoint.covered = (300, 100, 90)
    target = session.orbit.target.copy()
    (before,), _ = session.viewpoint.frame_camera(1280, 720).project(target[None])
    session.viewpoint.pan(40, 25, 720)
    (after,), _ = session.viewpoint.frame_camera(1280, 720).project(target[None])
    np.testing.assert_allclose(after - before, (40, 25), atol=0.01)
