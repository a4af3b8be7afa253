"""What lies over the picture: it says what the numbers say, covers nothing that matters, and costs little."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageColor

from taichi_rf.evaluation.plot import DARK
from taichi_rf.rendering import colormaps
from taichi_rf.storage.quality import Decibels
from tests.plot_fakes import POINTS, Story
from tests.viewer_fakes import Clock
from viewer.overlay import cards, overlay, plots
from viewer.overlay.blend import Overlay, blend
from viewer.overlay.overlay import Overlays, screen
from viewer.overlay.stats import Comparison, JobStats, Message, PictureTime, SceneView, Stats, TrainingStats

PANELS = (316, 432)
SIZES = [(1280, 720), (1920, 1080), (800, 600), (1000, 560), (3840, 2160), (300, 40), (40, 300), (1, 1), (2560, 300)]
TRAINING = TrainingStats(
    "running", iteration=900, progress=0.43, level=6, loss=0.002, psnr=27.0, rays_per_second=70_000.0,
    seconds_left=130.0, share=0.6,
)  # fmt: skip
COMPARE = Comparison("level", "wipe", 0.5, "rank 4", "rank 8")
VIEW = SceneView("test", 3, "r_3", 20)
RECORDING = JobStats("turntable", 0.4, "/runs/lantern/turntable-2.mp4")
MESSAGE = Message("saved snapshot-3.png in /runs/lantern")
STORY = Story([(i, 20.0 + i / 100) for i in range(0, 900, 10)], [(500, 24.0)], [(0, 1), (300, 2)])


def numbers(**changes: Any) -> Stats:
    shown = Stats(
        4, "rank", 8, megabytes=1.6, psnr=28.0, picture=PictureTime(4, 1.24, True), complete=True,
        compare=replace(COMPARE, kind="off"),
    )  # fmt: skip
    return replace(shown, **changes)


def kept(overlays: Overlays, name: str) -> np.ndarray:
    """The pixels of one of the cards."""
    found = [card for key, (_, card) in overlays._kept.items() if key.startswith(name) and card is not None]
    return found[0].pixels


def of(pixels: np.ndarray, colour: str) -> np.ndarray:
    return (pixels[..., :3] == ImageColor.getrgb(colour)[:3]).all(-1)


def said(monkeypatch: pytest.MonkeyPatch, stats: Stats) -> str:
    """The figures that are handed to the card."""
    entries: list[cards.Figure] = []
    draw = cards.figures
    monkeypatch.setattr(cards, "figures", lambda found, *rest: entries.extend(found) or draw(found, *rest))
    Overlays().draw(stats, POINTS, None, 1280, 720)
    return " | ".join("".join(text for text, _ in entry.runs) for entry in entries)


def check_places(found: list[Overlay], size: tuple[int, int], panels: tuple[int, int]) -> None:
    boxes = [entry.box for entry in found]
    for box in boxes:
        assert box[0] < box[2]
        assert box[1] < box[3]
    inside = [box for box in boxes if box[2] - box[0] > 20]  # the divider may stand at the very edge
    for box in inside:
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= size[0]
        assert box[3] <= size[1]
    for a, b in itertools.combinations([(0, 0, *panels), *boxes], 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("panels", [(0, 0), PANELS])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": TRAINING, "psnr": None},
        {"compare": COMPARE},
        {"compare": replace(COMPARE, divider=0.2), "view": VIEW},
        {"compare": replace(COMPARE, divider=0.9, kind="photo", right="photo"), "mode": "error"},
        {"compare": replace(COMPARE, divider=0.0)},
        {"compare": replace(COMPARE, divider=1.0)},
        {"mode": "samples", "recording": RECORDING, "message": MESSAGE, "training": TRAINING, "compare": COMPARE},
        {"message": Message("a long message " * 40, True), "view": replace(VIEW, name="n" * 300)},
    ],
)
def test_cards_are_in_the_window_and_cover_neither_one_another_nor_the_panels(size, panels, changes) -> None:
    found = Overlays().draw(numbers(**changes), POINTS, STORY, *size, panels=panels)
    check_places(found, size, panels)


ANY = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5)
SHORT = st.text(max_size=40)
STATS = st.builds(
    Stats, level=st.integers(0, 99), level_name=st.text(max_size=60), num_levels=st.integers(0, 500), megabytes=ANY,
    psnr=ANY, demo=st.booleans(), mode=st.sampled_from(["", "colour", "depth", "samples", "error"]),
    compare=st.builds(
        Comparison, kind=st.sampled_from(["off", "level", "photo"]), divider=ANY, left=SHORT, right=SHORT
    ),
    view=st.none() | st.builds(
        SceneView, split=st.text(max_size=9), index=st.integers(0, 999), name=st.text(), count=st.integers(0, 999)
    ),
    picture=st.none() | st.builds(PictureTime, level=st.just(1), seconds=ANY, measured=st.booleans()),
    recording=st.none() | st.builds(
        JobStats, what=st.text(max_size=20), progress=ANY, path=st.text(), seconds_left=ANY
    ),
    message=st.none() | st.builds(Message, text=st.text(), alarm=st.booleans()),
    training=st.none() | st.builds(
        TrainingStats, state=st.sampled_from(["running", "paused", "done", "failed"]), progress=ANY, seconds_left=ANY,
        failure=st.none() | st.text(max_size=300), level=st.integers(0, 99),
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(STATS, st.integers(1, 2000), st.integers(1, 1200), st.booleans(), st.booleans())
def test_whatever_the_numbers_and_the_window_cards_are_placed(stats, width, height, hidden, with_panels) -> None:
    panels = PANELS if with_panels else (0, 0)
    found = Overlays().draw(stats, POINTS[:3], STORY, width, height, hidden=hidden, panels=panels)
    check_places(found, (width, height), (0, 0) if hidden or stats.demo else panels)
    blend(np.zeros((height, width, 3), np.uint8), found)


def test_figures_say_level_size_quality_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, numbers()) == "rank 4 of 8 | 1.60 MB | 28.0 dB | 1,240 ms"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"psnr": None, "picture": None}, "rank 4 of 8 | 1.60 MB"),
        ({"level_name": "LOD", "megabytes": 0.0931}, "LOD 4 of 8 | 93.1 kB | 28.0 dB | 1,240 ms"),
        ({"megabytes": 123.4, "psnr": math.nan}, "rank 4 of 8 | 123 MB | 1,240 ms"),
        ({"demo": True}, "rank 4 | 1.60 MB | 28.0 dB"),
        ({"level": 0, "megabytes": None}, "28.0 dB | 1,240 ms"),
        ({"picture": PictureTime(4, 1.24, False)}, "rank 4 of 8 | 1.60 MB | 28.0 dB | ≈ 1,200 ms"),
        ({"picture": PictureTime(4, 0.0123, False)}, "rank 4 of 8 | 1.60 MB | 28.0 dB | ≈ 12 ms"),
    ],
)
def test_figures_leave_out_what_is_not_known_or_not_for_the_stage(monkeypatch, changes, text) -> None:
    assert said(monkeypatch, numbers(**changes)) == text


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_figures_stand_at_the_bottom_centre_in_large_letters(size) -> None:
    overlays = Overlays()
    card = overlays.draw(numbers(), None, None, *size)[-1]
    left, _, right, bottom = card.box
    assert abs((left + right) / 2 - size[0] / 2) <= 1
    assert size[1] * 0.95 < bottom < size[1]
    digits = np.nonzero((card.pixels[..., :3].min(-1) > 200).any(1))[0]
    assert np.ptp(digits) + 1 >= 0.025 * size[1]  # a digit has 0.72 of the height of its letters


def test_figures_do_not_move_while_their_digits_change() -> None:
    overlays = Overlays()
    boxes = set()
    for level, size, psnr, seconds in [(1, 0.41, 9.1, 0.4), (8, 3.18, 29.1, 1.2), (16, 6.33, 31.9, 2.5)]:
        time = PictureTime(level, seconds, level > 1)
        stats = numbers(level=level, megabytes=size, psnr=psnr, picture=time, num_levels=16)
        boxes.add(overlays.draw(stats, None, None, 1280, 720)[-1].box)
    assert len(boxes) == 1


@pytest.mark.parametrize("level", [1, 3, 8])
def test_one_pip_a_level_is_lit(level: int) -> None:
    overlays = Overlays()
    card = overlays.draw(numbers(level=level, training=replace(TRAINING, level=6)), None, None, 1280, 720)[-1].pixels
    row = card[int(np.nonzero(of(card, DARK.mark).sum(1) > 10)[0].max()) - 1]
    for colour, count in ((DARK.mark, level), (cards._EMPTY, max(6 - level, 0)), (cards._ABSENT, 8 - max(6, level))):
        lit = of(row[None], colour)[0].astype(int)
        assert (np.diff(lit) == 1).sum() == count


def test_nothing_is_drawn_twice_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    overlays, stats = Overlays(), numbers(
        training=TRAINING, compare=COMPARE, view=VIEW, recording=RECORDING, message=MESSAGE, mode="error"
    )  # fmt: skip
    first = overlays.draw(stats, POINTS, STORY, 800, 600, panels=PANELS)

    def again(*arguments: Any, **named: Any) -> None:
        pytest.fail("drawn again")

    for module, names in ((cards, "figures line progress colour_bar"), (plots, "rate_distortion training_curve")):
        for name in names.split():
            monkeypatch.setattr(module, name, again)
    second = overlays.draw(replace(stats), list(POINTS), STORY, 800, 600, panels=PANELS)
    assert [entry.box for entry in second] == [entry.box for entry in first]


def test_plots_are_renewed_once_a_second_in_training_and_with_the_second_picture_of_a_level(monkeypatch) -> None:
    clock, drawn, story = Clock(), [], Story()
    overlays = Overlays(clock)
    curve, training = plots.rate_distortion, plots.training_curve
    monkeypatch.setattr(plots, "rate_distortion", lambda *a, **k: drawn.append("curve") or curve(*a, **k))
    monkeypatch.setattr(plots, "training_curve", lambda *a, **k: drawn.append("training") or training(*a, **k))
    for frame in range(100):
        story.batch.append((frame, 20.0))
        points = [SimpleNamespace(level=1, megabytes=0.4, decibels=Decibels(20.0 + frame))]
        overlays.draw(numbers(level=1, training=TRAINING), points, story, 1280, 720)
        clock.spend(0.05)
    assert drawn.count("curve") == drawn.count("training") == 5
    drawn.clear()
    for level, expected in ((2, 0), (2, 1), (2, 1), (3, 1), (4, 2), (5, 2), (4, 2), (5, 2), (5, 3)):
        overlays.draw(numbers(level=level, training=TRAINING), points, story, 1280, 720)
        assert drawn == ["curve"] * expected
    overlays.draw(numbers(level=2, training=TRAINING), points, story, 1400, 900)  # the old one would not fit
    assert drawn == ["curve"] * 3 + ["curve", "training"]


def test_plot_that_was_put_off_is_drawn_with_what_there_is_later() -> None:
    clock = Clock()
    overlays = Overlays(clock)
    points = [SimpleNamespace(level=1, megabytes=0.4, decibels=Decibels(psnr)) for psnr in (20.0, 30.0)]
    first = overlays.draw(numbers(), [points[0]], None, 1280, 720)[0].pixels
    clock.spend(0.1)
    assert overlays.draw(numbers(), [points[1]], None, 1280, 720)[0].pixels is first
    clock.spend(1.0)
    assert (overlays.draw(numbers(), [points[1]], None, 1280, 720)[0].pixels != first).any()


def test_memory_does_not_grow_with_what_was_shown() -> None:
    overlays, sizes = Overlays(), set()
    for turn in range(60):
        stats = numbers(level=1 + turn % 8, compare=COMPARE, message=Message(f"message {turn}"))
        for entry in overlays.draw(stats, POINTS, STORY, 1000 + turn, 700):
            blend(np.zeros((700, 1000 + turn, 3), np.uint8), [entry])
        sizes.add(len(overlays._kept) + len(overlays._plotted))
    assert len(sizes) <= 2
    assert max(sizes) < 20


def test_divider_is_a_bright_line_between_its_labels() -> None:
    picture = np.full((720, 1280, 3), 128, np.uint8)
    found = Overlays().draw(numbers(compare=replace(COMPARE, divider=0.4)), None, None, 1280, 720)
    blend(picture, found)
    bright = np.nonzero(of(picture, DARK.ink).sum(0) > 400)[0]
    assert abs(bright.mean() - 512) <= 1
    labels = sorted((entry for entry in found if entry.y < 40 and entry.pixels.shape[1] > 20), key=lambda e: e.x)
    assert [of(entry.pixels, DARK.mark).any() for entry in labels] == [True, False]  # the left one is the level shown
    assert labels[0].box[2] < bright.min()
    assert labels[1].box[0] > bright.max()
    assert labels[0].y == labels[1].y


def test_labels_of_the_sides_keep_off_the_panels_and_off_sides_too_narrow_for_them() -> None:
    for divider, count in ((0.2, 2), (0.02, 1), (0.99, 1), (0.5, 2)):
        stats = numbers(compare=replace(COMPARE, divider=divider))
        found = Overlays().draw(stats, None, None, 1280, 720, panels=PANELS)
        labels = [entry for entry in found if 20 < entry.pixels.shape[1] < 200]
        assert len(labels) == count, divider
        for entry in labels:
            assert entry.x >= PANELS[0] or entry.y >= PANELS[1]


def test_beside_and_off_are_told_apart() -> None:
    beside = Overlays().draw(numbers(compare=replace(COMPARE, layout="beside")), None, None, 1280, 720)
    assert len(beside) > len(Overlays().draw(numbers(), None, None, 1280, 720)) == 1


def test_hidden_leaves_the_picture_the_divider_and_what_must_be_known() -> None:
    stats = numbers(compare=COMPARE, view=VIEW, mode="samples", training=TRAINING)
    found = Overlays().draw(stats, POINTS, STORY, 1280, 720, hidden=True)
    assert [entry.box[1::2] for entry in found] == [(0, 720)]
    stats = replace(stats, message=MESSAGE, recording=RECORDING)
    assert len(Overlays().draw(stats, POINTS, STORY, 1280, 720, hidden=True)) >= 3


def test_demo_is_large_and_without_the_training() -> None:
    plain, demo = (Overlays().draw(numbers(demo=demo), POINTS, STORY, 1280, 720, hidden=demo) for demo in (False, True))
    assert [entry.pixels.shape[1] > 300 for entry in demo] == [True, True]  # sizes and quality; the caption
    assert len(plain) == 3
    assert demo[1].pixels.shape[0] > 1.3 * plain[2].pixels.shape[0]


def test_alarm_is_red_and_a_failed_training_says_so_by_itself() -> None:
    for stats, colour in (
        (numbers(message=MESSAGE), DARK.ink),
        (numbers(message=replace(MESSAGE, alarm=True)), cards.ALARM),
        (numbers(training=replace(TRAINING, failure="the loss is not a number")), cards.ALARM),
    ):
        overlays = Overlays()
        overlays.draw(stats, None, None, 1280, 720)
        assert of(kept(overlays, "message"), colour).any()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0, 7.0, math.nan])
def test_recording_fills_its_bar(share: float) -> None:
    overlays = Overlays()
    overlays.draw(numbers(recording=replace(RECORDING, progress=share)), None, None, 1280, 720)
    card = kept(overlays, "recording")
    reached, rest = of(card, cards.RECORDING), of(card, cards._EMPTY)
    row = int(np.argmax((reached | rest).sum(1)))
    expected = min(share, 1.0) if share == share else 0.0
    assert reached[row].sum() / (reached | rest)[row].sum() == pytest.approx(expected, abs=0.03)


def test_legends_have_the_scales_of_the_pictures() -> None:
    from taichi_rf.rendering.pictures import SAMPLES_AT_TOP
    from viewer.session.compose import ERROR_AT_TOP

    for mode, at in (
        ("samples", lambda n: math.log2(1 + n) / math.log2(1 + SAMPLES_AT_TOP)),
        ("error", lambda n: n / ERROR_AT_TOP),
    ):
        _, colours, marks = overlay._LEGENDS[mode]
        for place, text in marks:
            assert place == pytest.approx(at(float(text.rstrip("+"))))
        overlays = Overlays()
        overlays.draw(numbers(mode=mode), None, None, 1280, 720)
        card = kept(overlays, "legend")
        strip = card[int(np.argmax((card[..., 3] == 255).sum(1))) + 2]
        for place in (0.02, 0.5, 0.98):
            wanted = colormaps.apply(colours, place) * 255
            near = strip[int(12 + place * (len(strip) - 24)), :3]
            assert np.abs(near - wanted).max() < 12


def test_words_are_wrapped_between_words_and_cut_at_the_last_row() -> None:
    rows = cards.wrap("one two three four five six", 20, 110, 2)
    assert len(rows) == 2
    assert rows[0] == "one two"
    assert rows[1].endswith("...")
    path = cards.wrap("/home/someone/runs/lantern/snapshot.png", 20, 200, 4)
    assert "".join(path) == "/home/someone/runs/lantern/snapshot.png"
    assert all(row.endswith("/") for row in path[:-1])
    assert cards.wrap("x" * 100_000, 20, 200, 3)[-1].endswith("...")
    assert cards.wrap("fits", 20, 200, 3) == ["fits"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("progress", [None, 0.0, 0.5, 1.0, 3.0])
def test_screen_has_the_size_of_the_window(size, progress) -> None:
    picture = screen("Taichi RF", ["a line", "", "another " * 90], progress, *size)
    assert picture.shape == (size[1], size[0], 3)
    edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert edges.max() < 60


def test_screen_says_how_far_it_is_and_keeps_off_the_panels() -> None:
    for share in (0.25, 0.75):
        picture = screen("lantern", ["reading photographs"], share, 1280, 720)
        reached = of(picture, DARK.first)
        row = int(np.argmax(reached.sum(1)))
        whole = np.nonzero(picture[row].max(-1) > 70)[0]
        assert reached[row].sum() / (np.ptp(whole) + 1) == pytest.approx(share, abs=0.02)
    picture = screen("Taichi RF", ["Choose a scene at the left"], None, 800, 600, panels=PANELS)
    letters = np.nonzero((picture.max(-1) > 100).any(0))[0]
    assert letters.min() > PANELS[0]
    assert letters.max() < 800
