"""The bar of levels and the points of the plot say which level lies under the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from taichi_rf.evaluation.plot import DARK
from tests.plot_fakes import POINTS, Point
from viewer.overlay.handles import handle_at
from viewer.overlay.overlay import Overlays
from viewer.overlay.stats import Comparison, PictureTime, Stats, TrainingStats

SIZE = (1280, 720)
STATS = Stats(4, "rank", 8, megabytes=1.6, psnr=28.0, complete=True)


def drawn(stats: Stats = STATS, points: list[Point] | None = POINTS, **options: object) -> tuple[Overlays, np.ndarray]:
    overlays = Overlays()
    canvas = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    for card in overlays.draw(stats, points, None, *SIZE, **options):
        left, top, right, bottom = card.box
        canvas[top:bottom, left:right] = card.pixels
    return overlays, canvas


def marked(canvas: np.ndarray) -> np.ndarray:
    """(n, 2) x and y of pixels in the colour of the level shown."""
    mark = np.array(ImageColor.getrgb(DARK.mark))
    return np.argwhere((np.abs(canvas[..., :3].astype(int) - mark) < 12).all(axis=-1))[:, ::-1]


@pytest.mark.parametrize("level", [1, 4, 8])
def test_the_spot_of_a_level_is_where_it_is_drawn(level):
    stats = Stats(level, "rank", 8, megabytes=1.6, psnr=28.0)
    overlays, canvas = drawn(stats)
    plot, bar = (handle for handle in overlays.handles if handle.what == "level")
    pixels = marked(canvas)
    for handle in (plot, bar):
        left, top, right, bottom = handle.box
        x, y = next((x, y) for number, x, y in handle.spots if number == level)
        assert left <= x < right
        assert top <= y < bottom
        assert np.abs(pixels - (x, y)).sum(axis=1).min() < 3
        assert handle.level_at(x, y) == level
        assert handle_at(overlays.handles, x, y) is handle


def test_a_drag_follows_the_mouse_beyond_the_ends():
    overlays, _ = drawn()
    bar = overlays.handles[-1]
    left, top, right, _ = bar.box
    assert [bar.level_at(x, top) for x in (-500, left, (left + right) / 2 + 1, right, 5000)] == [1, 1, 5, 8, 8]


def test_levels_that_are_not_there_yet_cannot_be_taken_hold_of():
    overlays, _ = drawn(Stats(2, "rank", 8, training=TrainingStats("running", level=3)), None)
    assert [level for level, *_ in overlays.handles[0].spots] == [1, 2, 3]


def test_where_no_quality_is_known_the_bars_answer():
    unknown = [Point(p.level, p.megabytes, None) for p in POINTS]
    overlays, _ = drawn(STATS, unknown)
    spots = overlays.handles[0].spots
    assert [level for level, *_ in spots] == [p.level for p in POINTS]
    assert np.diff([x for _, x, _ in spots]) == pytest.approx(np.diff([x for _, x, _ in spots])[0] * np.ones(7))


def test_the_zoom_has_buttons_where_there_is_no_wheel():
    assert {handle.what for handle in drawn()[0].handles} == {"level"}
    overlays, _ = drawn(zoom=True)
    above, below = (next(h for h in overlays.handles if h.what == what) for what in ("nearer", "farther"))
    assert above.box[3] <= below.box[1]


def test_two_pictures_side_by_side_have_no_plot_over_them():
    beside = Comparison("level", "beside", 0.5, "rank 4", "rank 2")
    overlays, _ = drawn(Stats(4, "rank", 8, megabytes=1.6, psnr=28.0, compare=beside))
    assert overlays.beside == 0
    assert len(overlays.handles) == 1
    assert drawn()[0].beside > 300


def test_milliseconds_have_an_axis_on_request_and_the_spots_stay_where_the_levels_are():
    times = tuple(PictureTime(level, 0.1 * level, True) for level in (2, 4, 8))
    stats = Stats(4, "rank", 8, megabytes=1.6, psnr=28.0, pictures=times)
    plain, asked = drawn(stats), drawn(stats, times=True)
    assert (plain[1] != asked[1]).any()
    x, y = next((x, y) for number, x, y in asked[0].handles[0].spots if number == 4)
    assert np.abs(marked(asked[1]) - (x, y)).sum(axis=1).min() < 3
    second = np.array(ImageColor.getrgb(DARK.second))
    right = asked[1][:300, 1215:1266, :3].astype(int)
    assert (np.abs(right - second) < 12).all(axis=-1).sum() > 30  # the axis's numbers


def test_nothing_can_be_taken_hold_of_that_is_hidden():
    assert drawn(hidden=True)[0].handles == []
