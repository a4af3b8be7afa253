"""Looking and slimming in the real window on a virtual display, as a person does it with mouse and keys."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.e2e.window_pictures import LEVELS, rendered
from tests.e2e.windows import CLEAR, COVERED, EMPTY, FAKE, PATIENCE, ROOT, RUN_VIEWER, SIZE, Screen, Viewer

PSNR = {1: 20.0, 2: 25.0, 3: 28.0, 4: 30.0}
TINY_PSNR = [11.0, 13.0, 17.0, 23.0]  # what tiny_model.py writes into its model
FIGURES = np.s_[640:706, 375:905]  # the large figures at the bottom
PLOT = np.s_[14:265, 936:1266]


# Slimming


def test_dragging_the_slider_changes_picture_bytes_and_psnr(model):
    before = model.state()["camera"]
    for level in (1, 3, 2, 4, 1, 2):
        state = model.slide(level)
        assert state["megabytes"] == pytest.approx(0.25 * level)
        assert state["psnr"] == PSNR[level]
        np.testing.assert_array_equal(model.sharp_screenshot()[CLEAR], rendered(level, covered=COVERED)[CLEAR])
    assert model.state()["camera"] == before  # the slider is no handle on the scene


def test_panel_figures_and_plot_follow_the_level(model):
    panel = np.s_[60:94, 20:300]
    before = model.sharp_screenshot()
    model.key("Left", "Left")
    model.wait(lambda state: state["level"] == LEVELS - 2, "two levels less")
    after = model.sharp_screenshot()
    for part in (panel, FIGURES, PLOT):
        assert (np.abs(after[part] - before[part]).max(axis=-1) > 60).sum() > 30
    model.key("Right", "Right")
    back = model.sharp_screenshot()
    for part in (panel, PLOT):
        np.testing.assert_array_equal(back[part], before[part])


def test_keys_step_the_level_and_stop_at_the_ends(model):
    for key, levels in (("Left", [3, 2, 1, 1]), ("Right", [2, 3, 4, 4])):
        assert [model.key(key)["level"] for _ in levels] == levels


def test_the_bar_under_the_picture_and_the_points_of_the_plot_set_the_level(model):
    before = model.state()["camera"]
    bar = (FIGURES[0].stop - 16, FIGURES[1].start + 24, FIGURES[1].stop - 24)
    for level in (1, 3, 2):
        model.click((bar[1] + (bar[2] - bar[1]) * (level - 0.5) / LEVELS, bar[0]))
        model.wait(lambda state, level=level: state["level"] == level, f"level {level}")
    model.drag((1173, 125), (1232, 109))  # from the third point of the plot to the fourth
    model.wait(lambda state: state["level"] == LEVELS, "the highest level")
    assert model.state()["camera"] == before


def test_the_wheel_comes_nearer_over_the_picture_and_does_nothing_over_the_panels(model):
    before = model.state()["camera"]
    model.move(EMPTY)
    model.hand("click", 4)
    nearer = model.wait(lambda state: state["camera"]["distance"] < before["distance"], "a nearer camera")["camera"]
    model.hand("click", 5)
    model.wait(lambda state: state["camera"]["distance"] > nearer["distance"], "a camera that goes back")
    model.move((150, 300))
    model.hand("click", 4)
    assert model.frames_later(5)["camera"]["distance"] == pytest.approx(before["distance"])


# Moving


def test_window_shows_the_render_to_the_byte(bare):
    np.testing.assert_array_equal(bare.screenshot(), rendered())


def test_drag_turns_the_scene_by_pixels(model):
    before = model.state()["camera"]
    after = model.drag(EMPTY, (EMPTY[0] - 180, EMPTY[1] - 72))["camera"]
    assert after["azimuth"] - before["azimuth"] == pytest.approx(180 * 180 / SIZE[1], abs=0.5)
    assert after["elevation"] - before["elevation"] == pytest.approx(-180 * 72 / SIZE[1], abs=0.5)
    assert np.abs(model.sharp_screenshot() - rendered(covered=COVERED))[CLEAR].mean() > 5
    model.key("r")
    model.wait(lambda state: state["camera"] == before, "the first view")
    np.testing.assert_array_equal(model.sharp_screenshot()[CLEAR], rendered(covered=COVERED)[CLEAR])


def test_a_double_click_asks_what_lies_there_and_two_drags_do_not(model):
    for _ in range(2):
        state = model.drag(EMPTY, (EMPTY[0] + 30, EMPTY[1]))
    assert state["message"] is None
    model.move(EMPTY)
    model.hand("click", "--repeat", 2, "--delay", 80, 1)
    model.says("nothing to turn about")  # a model that costs nothing has no depths


def test_right_drag_comes_nearer_and_middle_drag_moves(model):
    before = model.state()["camera"]
    nearer = model.drag(EMPTY, (EMPTY[0], EMPTY[1] - 200), button=3)["camera"]
    assert nearer["distance"] < 0.8 * before["distance"]
    assert nearer["azimuth"] == before["azimuth"]
    moved = model.drag(EMPTY, (EMPTY[0] + 100, EMPTY[1]), button=2)["camera"]
    assert moved["target"] != nearer["target"]
    assert moved["distance"] == nearer["distance"]


def test_w_flies_forward_as_long_as_it_is_down(model):
    def eye(state):
        angles = np.radians([state["camera"]["azimuth"], state["camera"]["elevation"]])
        (east, up), (north, _) = np.cos(angles), np.sin(angles)
        away = np.array([east * up, north * up, np.sin(angles[1])])
        return np.array(state["camera"]["target"]) + state["camera"]["distance"] * away

    before = model.state()
    forward = -eye(before) / np.linalg.norm(eye(before))  # the first view looks at the origin
    model.hand("keydown", "w")
    model.wait(lambda state: (eye(state) - eye(before)) @ forward > 0.1, "a flight")
    model.hand("keyup", "w")
    after = model.frames_later(3)
    flown = eye(after) - eye(before)
    assert flown @ forward == pytest.approx(np.linalg.norm(flown), rel=1e-6)
    assert model.frames_later(10)["camera"] == after["camera"]
    assert after["level"] == LEVELS


def test_drag_turns_the_head_while_flying(model):
    assert model.key("f")["flying"]
    before = model.state()["camera"]
    after = model.drag(EMPTY, (EMPTY[0] - 100, EMPTY[1]))["camera"]
    assert after["target"] != before["target"]
    assert after["azimuth"] != before["azimuth"]


def test_photographs_are_gone_to_in_turn(bare):
    def at(state):
        return state["view"] and (state["view"]["split"], state["view"]["index"], state["view"]["count"])

    assert bare.state()["view"] is None
    assert [at(bare.key("v")) for _ in range(3)] == [("test", 0, 2), ("test", 1, 2), ("test", 0, 2)]
    np.testing.assert_array_equal(bare.sharp_screenshot(), rendered(view=0))
    assert at(bare.key("shift+v")) == ("test", 1, 2)
    assert at(bare.key("b")) == ("train", 0, 8)
    bare.drag(EMPTY, (EMPTY[0] + 20, EMPTY[1]))
    assert bare.state()["view"] is None


# Demonstration, help and panels


def test_demonstration_starts_and_stops_by_one_key(model):
    before = model.state()
    model.key("g")
    model.wait(lambda state: state["demo"] and not state["widgets"], "a demonstration without panels")
    one = model.wait(lambda state: state["level"] == 1, "the first level")["camera"]["azimuth"]
    model.key("Next")  # Page Down, of a presenter's remote
    model.wait(lambda state: state["level"] == 2, "the next stop")
    model.key("Prior")
    model.wait(lambda state: state["level"] == 1, "the one before")
    for name in ("Right", "Down", "Next", "Right"):  # levels 2 and 4, the photograph, and on
        model.key(name)
    model.wait(lambda state: abs(state["camera"]["azimuth"] - one) > 5, "the camera turning")
    model.key("g")
    after = model.wait(lambda state: not state["demo"] and state["widgets"], "the panels")
    assert (after["camera"], after["level"], after["mode"]) == (before["camera"], before["level"], before["mode"])
    np.testing.assert_array_equal(model.sharp_screenshot()[CLEAR], rendered(covered=COVERED)[CLEAR])


def test_demonstration_ends_when_one_takes_hold_of_it(model):
    before = model.state()["camera"]
    model.press("Demonstration")
    model.wait(lambda state: state["demo"], "a demonstration")
    model.drag(EMPTY, (EMPTY[0] - 80, EMPTY[1]))
    after = model.wait(lambda state: not state["demo"] and state["widgets"], "its end")["camera"]
    assert after["azimuth"] - before["azimuth"] == pytest.approx(20, abs=0.5)


def test_help_and_panels_have_keys(model):
    without = model.sharp_screenshot()
    model.key("h")
    model.wait(lambda state: state["page"] == "help", "help")
    assert np.abs(model.screenshot() - without)[300:420, 20:300].mean() > 20
    model.key("Tab")
    model.wait(lambda state: state["hidden"] and not state["widgets"], "no panels")
    model.wait(lambda state: state["message"] is None, "the end of a message of the test before")
    np.testing.assert_array_equal(model.sharp_screenshot(), rendered())
    model.key("h")
    model.wait(lambda state: not state["hidden"] and state["page"] == "help", "help again")
    model.press("< back")
    model.wait(lambda state: state["page"] is None, "the menu")


def test_panel_is_folded_and_opened_by_its_title_and_cannot_be_dragged(model):
    before = model.sharp_screenshot()[:60, :290]
    camera = model.state()["camera"]
    model.drag((200, 22), (600, 400))
    model.move(EMPTY)
    np.testing.assert_array_equal(model.sharp_screenshot()[:60, :290], before)
    model.press("Menu")
    model.wait(lambda state: "Keys" not in state["widgets"], "a menu that is folded")
    model.press("Menu")
    model.wait(lambda state: "Keys" in state["widgets"], "a menu that is open")
    assert model.state()["camera"] == camera


# The window itself


def test_window_survives_any_size(bare):
    for size in [(640, 480), (300, 20), (2, 2), (1, 700), (1000, 3), (1000, 700)]:
        assert bare.resize(*size)["level"] == LEVELS
        picture = bare.sharp_screenshot()[: size[1], : size[0]]
        np.testing.assert_array_equal(picture, rendered(size=size))
    bare.key("Tab", "c")
    for size in [(300, 20), (2, 2), (1, 700), SIZE]:  # with all that can lie over it
        bare.resize(*size)
        bare.sharp()


def test_panels_answer_where_they_are_in_a_window_of_another_size(model):
    for size in [(640, 480), (1280, 400), (900, 700)]:
        model.resize(*size)
        model.slide(2)
        model.press("Look ...")
        assert model.press("Mode: colour")["mode"] == "depth"
        model.press("< back")
        model.home()


def test_window_that_was_minimised_comes_back(model):
    with model.minimised():
        model.frames_later(10)
    model.key("Left")
    model.wait(lambda state: state["level"] == LEVELS - 1, "one level less")
    np.testing.assert_array_equal(model.sharp_screenshot()[CLEAR], rendered(LEVELS - 1, covered=COVERED)[CLEAR])


def test_escape_leaves_the_demonstration_and_the_page_before_the_window(start):
    viewer = start(FAKE, "model", "STATE")
    viewer.key("h", "g")
    assert not viewer.key("Escape")["demo"]
    assert viewer.key("Escape")["page"] is None
    viewer.hand("key", "Escape")
    assert viewer.ended() == 0


def test_window_closes_and_leaves_nothing_in_the_working_directory(start):
    viewer = start(FAKE, "model", "STATE")
    viewer.key("h", "h", "Tab")
    assert viewer.close() == 0
    assert list(viewer.folder.iterdir()) == []
    assert viewer.output == ""


def test_window_is_as_large_and_as_bare_as_it_was_left(start, tmp_path):
    config = tmp_path / "config"
    first = start(FAKE, "model", "STATE", config=config)
    first.resize(800, 500)
    first.key("Tab")
    assert first.close() == 0
    second = start(FAKE, "model", "STATE", config=config)
    state = second.wait(lambda state: state["hidden"], "hidden panels")
    assert state["size"] == [800, 500]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DISPLAY": ""}, "no display"),
        ({"DISPLAY": ":9999"}, "does not answer"),
        ({"VK_ICD_FILENAMES": "/nonexistent.json"}, "Vulkan"),
    ],
)
def test_where_no_window_can_open_it_says_what_to_do(tmp_path, environment, message):
    (tmp_path / "model.trf").write_bytes(b"")
    screen = Screen()
    try:
        done = subprocess.run(
            [sys.executable, RUN_VIEWER, str(tmp_path)],
            env={**os.environ, "DISPLAY": screen.display, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    finally:
        screen.close()
    assert done.returncode == 2
    assert message in done.stderr
    assert "--headless" in done.stderr
    assert "Traceback" not in done.stderr


def test_states_that_cannot_be_written_are_named(tiny_run, tmp_path):
    with Viewer(RUN_VIEWER, tiny_run / "model.trf", "--state-file", "no/such/folder/states", folder=tmp_path) as viewer:
        assert viewer.ended() == 2
        assert "cannot write no/such/folder/states" in viewer.output


# A trained model


def test_slider_slims_a_trained_model(start, tiny_run):
    viewer = start(RUN_VIEWER, tiny_run, "--state-file", "STATE")
    sizes, pictures = {}, {}
    for level in (4, 2, 3, 1):
        if level != viewer.state()["level"]:
            viewer.slide(level)
        state = viewer.sharp()
        assert state["psnr"] == TINY_PSNR[level - 1]
        sizes[level], pictures[level] = state["megabytes"], viewer.screenshot()[CLEAR]
    assert sizes[1] < sizes[2] < sizes[3] < sizes[4]
    assert sizes[4] == pytest.approx((tiny_run / "model.trf").stat().st_size / 1e6)
    for level in (1, 2, 3):
        assert np.abs(pictures[level] - pictures[level + 1]).mean() > 0.5
    assert viewer.close() == 0
