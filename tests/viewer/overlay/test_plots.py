"""The plots beside the picture: marks where the figures say, legible on any scene, whatever is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageColor

from taichi_rf.evaluation import charts
from taichi_rf.evaluation.plot import DARK
from tests.plot_fakes import POINTS, Point, Story
from viewer.overlay.plots import rate_distortion, training_curve

SIZE = (660, 500)


def of(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a card has exactly this colour."""
    return (pixels[..., :3] == ImageColor.getrgb(colour)[:3]).all(-1) & (pixels[..., 3] > 250)


def disc(pixels: np.ndarray, colour: str, reach: int = 4) -> tuple[float, float] | None:
    """The middle (x, y) of what is solid around every pixel as far as ``reach``, which no letter is."""
    there = of(pixels, colour)
    solid = np.ones_like(there)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            solid &= np.roll(there, (down, across), (0, 1))
    rows, columns = np.nonzero(solid)
    return (columns.mean(), rows.mean()) if len(rows) else None


def runs(there: np.ndarray) -> int:
    """How many stretches of True there are."""
    return int(np.sum(np.diff(np.concatenate([[0], there.astype(int)])) == 1))


def test_mark_is_where_size_and_quality_say() -> None:
    marks = np.array([disc(rate_distortion(POINTS, p.level, "rank", *SIZE), DARK.mark) for p in POINTS])
    for values, places in (([p.megabytes for p in POINTS], marks[:, 0]), ([p.psnr for p in POINTS], -marks[:, 1])):
        line = np.polyfit(values, places, 1)
        assert line[0] > 0
        assert np.abs(np.polyval(line, values) - places).max() < 1.0


def test_level_without_psnr_is_marked_at_its_size() -> None:
    marks = [disc(rate_distortion(POINTS, p.level, "rank", *SIZE), DARK.mark) for p in POINTS]
    unknown = [Point(p.level, p.megabytes, None if p.level > 5 else p.psnr) for p in POINTS]
    card = rate_distortion(unknown, 7, "rank", *SIZE)
    assert disc(card, DARK.mark) is None
    dashes = of(card, DARK.mark).sum(0)
    assert abs(int(dashes.argmax()) - marks[6][0]) <= 2.5


def test_without_any_psnr_the_sizes_are_bars_in_proportion() -> None:
    unknown = [Point(p.level, p.megabytes, None) for p in POINTS]
    card = rate_distortion(unknown, 3, "rank", *SIZE)
    bars = of(card, DARK.first) | of(card, DARK.mark)
    bottom = int(np.nonzero(of(card, DARK.first).any(1))[0].max())
    assert runs(bars[bottom - 2]) == len(POINTS)
    assert runs(of(card, DARK.mark)[bottom - 2]) == 1
    heights = [int(bars[:, column].sum()) for column in np.nonzero(np.diff(bars[bottom - 2].astype(int)) == 1)[0] + 6]
    ratios = np.array(heights) / [p.megabytes for p in POINTS]
    assert np.ptp(ratios) / ratios.mean() < 0.05


def test_measuring_is_said_until_there_is_something_measured() -> None:
    unknown = [Point(p.level, p.megabytes, None) for p in POINTS]
    waiting, idle = (rate_distortion(unknown, 3, "rank", *SIZE, measuring=measuring) for measuring in (True, False))
    assert (waiting != idle).any()
    assert (waiting[80:] == idle[80:]).all()  # beside the title
    known = [rate_distortion(POINTS, 3, "rank", *SIZE, measuring=measuring) for measuring in (True, False)]
    assert (known[0] == known[1]).all()


def test_training_shows_both_curves_and_where_levels_entered() -> None:
    batch = [(i, 30 - 15 * math.exp(-i / 300)) for i in range(0, 2000, 10)]
    test = [(i, psnr - 1.5) for i, psnr in batch[10::20]]
    card = training_curve(Story(batch, test), "rank", *SIZE)
    rising = [np.nonzero(of(card, colour).any(0))[0] for colour in (DARK.first, DARK.second)]
    assert all(columns.max() - columns.min() > 300 for columns in rising)
    without = training_curve(Story(batch), "rank", *SIZE)
    assert not of(without, DARK.second).any()
    entered = training_curve(Story(batch, test, [(0, 1), (500, 2), (1000, 3)]), "rank", *SIZE)
    drawn = (entered[160:280].astype(int) - card[160:280])[..., 0] > 20  # above the legend
    columns = np.nonzero(drawn.sum(0) > 30)[0]
    groups = np.split(columns, np.nonzero(np.diff(columns) > 3)[0] + 1)
    assert len(groups) == 3
    steps = np.diff([group.mean() for group in groups])
    assert steps[0] == pytest.approx(steps[1], abs=1.5)


def test_note_stands_beside_the_title() -> None:
    story = Story([(i, 20.0 + i / 100) for i in range(100)])
    with_note, without = (training_curve(story, "rank", *SIZE, note=note) for note in ("43 %, 2 min left", ""))
    changed = np.nonzero((with_note != without).any((1, 2)))[0]
    assert len(changed)
    assert changed.max() < 80


@pytest.mark.parametrize(
    "size", [(1, 1), (7, 300), (300, 7), (150, 120), (160, 130), (250, 190), (495, 376), (2000, 900)]
)
def test_cards_have_the_size_asked_for_and_stay_within_it(size: tuple[int, int]) -> None:
    story = Story([(i, 20.0 + i / 100) for i in range(100)], [(50, 20.0)], [(0, 1), (40, 2)])
    for card in (
        rate_distortion(POINTS, 8, "rank", *size),
        rate_distortion([], 8, "rank", *size),
        training_curve(story, "LOD", *size, note="a long note " * 9),
        training_curve(Story(), "LOD", *size),
    ):
        assert card.shape == (size[1], size[0], 4)
        assert card.dtype == np.uint8
        if min(size) >= 120:
            edge = np.concatenate([card[:3, 40:-40].reshape(-1, 4), card[40:-40, -3:].reshape(-1, 4)])
            paper = np.array(ImageColor.getrgb(DARK.paper))
            assert (np.abs(edge.astype(int) - paper) <= 1).all()
            assert card[0, 0, 3] == 0


BROKEN = st.none() | st.floats() | st.integers(-3, 3) | st.sampled_from([10**400, 1e308, -1e308, 25.0, 25.1])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 40), BROKEN, BROKEN), max_size=5),
    st.lists(st.tuples(st.integers(0, 10**9), BROKEN), max_size=5),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 64)), max_size=4),
)
def test_whatever_the_figures_are_a_card_is_drawn(points, curve, levels) -> None:
    card = rate_distortion([Point(*point) for point in points], 2, "rank", 330, 250, measuring=True)
    assert card.shape == (250, 330, 4)
    story = Story(sorted(curve, key=lambda point: point[0]), sorted(curve, key=lambda point: point[0])[:2], levels)
    assert training_curve(story, "rank", 330, 250).shape == (250, 330, 4)


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour in bytes, as WCAG 2 has it."""
    c = np.asarray(colour, float) / 255
    return float(np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scene", [0, 128, 255])
def test_dark_theme_is_legible_over_any_scene(scene: int) -> None:
    *paper, opacity = ImageColor.getrgb(DARK.paper)
    ground = luminance(np.array(paper) * opacity / 255 + scene * (1 - opacity / 255))
    for colour, least in ((DARK.ink, 9), (DARK.muted, 4.5), (DARK.first, 4.5), (DARK.second, 4.5), (DARK.mark, 4.5)):
        above = luminance(ImageColor.getrgb(colour))
        assert (above + 0.05) / (ground + 0.05) >= least, colour


@pytest.mark.parametrize("shape", ["rising", "falling", "flat", "late"])
def test_the_legend_lies_on_no_curve(shape, monkeypatch) -> None:
    values = {
        "rising": [20 + 8 * i / 400 for i in range(400)],
        "falling": [28 - 8 * i / 400 for i in range(400)],
        "flat": [25.0 + 0.01 * (i % 3) for i in range(400)],
        "late": [12.0 if i < 330 else 25.0 for i in range(400)],
    }[shape]
    batch = list(enumerate(values))
    story = Story(batch, [(i, psnr - 1.5) for i, psnr in batch[::40]], [])
    boxes = []
    monkeypatch.setattr(charts, "_legend", lambda page, box, *rest: boxes.append(box))
    card = training_curve(story, "rank", *SIZE)
    left, top, right, bottom = (round(edge) for edge in boxes[0])
    under = card[top:bottom, left:right]
    for colour in (DARK.first, DARK.second):
        assert of(under, colour).sum() == 0
