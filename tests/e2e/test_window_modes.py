"""Modes and comparisons in the real window on a virtual display."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.rendering import colormaps
from tests.e2e.window_pictures import LEVELS, photograph, rendered
from tests.e2e.windows import COVERED, EMPTY, SIZE

LINE = 6  # pixels that the line between two sides may reach to either side


def test_modes_have_a_key_and_all_look_different(bare):
    seen, modes = [], ["depth", "normals", "opacity", "occupancy", "samples", "error", "colour"]
    assert [bare.key("m")["mode"] for _ in modes] == modes
    assert bare.key("r", "m", "shift+m", "m")["mode"] == "depth"
    seen = bare.sharp_screenshot()
    np.testing.assert_array_equal(seen, rendered(mode="depth"))


@pytest.mark.parametrize("layout", ["wipe", "beside"])
def test_two_levels_are_compared(bare, layout):
    state = bare.key("c")
    assert (state["compare"]["kind"], state["compare"]["left"], state["compare"]["right"]) == (
        "level", "rank 4 · 1.00 MB · 30.0 dB", "rank 2 · 0.50 MB · 25.0 dB",
    )  # fmt: skip
    if layout == "beside":
        bare.key("x")
        left, right = (rendered(level, size=(SIZE[0] // 2, SIZE[1])) for level in (4, 2))
        expected = np.concatenate([left, right], axis=1)
    for column in (200, 900, 640):  # at 640 of 1280 both layouts have their divider
        state = bare.move((column, EMPTY[1]))
        place = column if layout == "wipe" else SIZE[0] // 2
        assert state["compare"]["divider"] == pytest.approx(place / SIZE[0], abs=1e-3)
        if layout == "wipe":
            expected = np.where((np.arange(SIZE[0]) < place)[None, :, None], rendered(4), rendered(2))
        picture = bare.sharp_screenshot()
        for part in (np.s_[:, : place - LINE], np.s_[:, place + LINE :]):
            np.testing.assert_array_equal(picture[part], expected[part])
        assert np.abs(picture - expected)[:, place - LINE : place + LINE].mean() > 5  # the line itself


def test_right_side_of_a_wipe_has_a_slider_of_its_own(model):
    model.key("c")
    x, y, width, height = model.wait(lambda state: "right rank" in state["widgets"], "a slider")["widgets"][
        "right rank"
    ]
    divider = model.move((700, 400))["compare"]["divider"]
    model.drag((x + width / 8, y + height / 2), (x + width * 5 / 8, y + height / 2))
    state = model.wait(lambda state: state["compare"]["right"].startswith("rank 3"), "rank 3 at the right")
    assert state["level"] == LEVELS
    assert state["compare"]["divider"] == divider  # it follows the mouse over the picture, not over the panels
    place = round(divider * SIZE[0])
    np.testing.assert_array_equal(
        model.sharp_screenshot()[120:540, place + LINE : 900],
        rendered(3, covered=COVERED)[120:540, place + LINE : 900],
    )
    model.drag((x + width * 5 / 8, y + height / 2), (x + width / 8, y + height / 2))


def test_photograph_is_wiped_over_its_view(bare):
    bare.key("v", "c", "c")
    state = bare.move((640, EMPTY[1]))
    assert (state["compare"]["kind"], state["compare"]["right"]) == ("photo", "photo")
    assert state["view"] == {"split": "test", "index": 0, "name": "view 0", "count": 2}
    picture = bare.sharp_screenshot()
    np.testing.assert_array_equal(picture[:, : 640 - LINE], rendered(view=0)[:, : 640 - LINE])
    left = (SIZE[0] - SIZE[1]) // 2
    shown = picture[:, 640 + LINE : SIZE[0] - left]
    assert np.abs(shown - photograph(0, SIZE[1])[:, 640 + LINE - left :]).max() <= 1
    beside = picture[:, SIZE[0] - left :]
    assert np.ptp(beside) <= 1
    assert beside.max() < 250  # no part of the photograph, which is on white


def test_error_is_the_difference_from_the_photograph(bare):
    bare.key("v")
    colour = bare.sharp_screenshot()
    bare.key("shift+m")
    assert bare.state()["mode"] == "error"
    error = bare.sharp_screenshot()
    left = (SIZE[0] - SIZE[1]) // 2
    inside = np.s_[:, left : left + SIZE[1]]
    difference = np.abs(colour[inside] - photograph(0, SIZE[1])).max(axis=-1)
    expected = np.clip(colormaps.apply("magma", np.minimum(difference / 255 / 0.25, 1)) * 255 + 0.5, 0, 255).astype(int)
    assert np.abs(error[inside] - expected).max() <= 8  # one step of a photograph is up to 8 of the colours
    assert np.abs(error[inside] - expected).mean() < 0.5
    assert np.ptp(error[:, :left]) == 0


def test_error_from_anywhere_goes_to_a_photograph(model):
    model.drag(EMPTY, (EMPTY[0] - 100, EMPTY[1]))
    state = model.key("shift+m")
    assert state["mode"] == "error"
    assert state["view"]["split"] == "test"
