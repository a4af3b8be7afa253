"""The report page: it draws whatever a run produced, and its marks and labels are where they should be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import bytes_of, megabytes
from taichi_rf.evaluation import axes, plot
from taichi_rf.evaluation.axes import Axis
from taichi_rf.evaluation.plot import Labels, Page
from taichi_rf.evaluation.report import WIDTH, caption, report


def run(count: int, /, **changes: Any) -> dict[str, Any]:
    """Metrics such as a run leaves behind."""
    rows = [
        {"level": k, "psnr": 33 - 12 * math.exp(-k / 3), "ssim": 1 - 0.3 / k, "bytes": 300_000 + 400_000 * k}
        for k in range(1, count + 1)
    ]
    return {
        "method": "slimmerf",
        "scene": "lego",
        "preset": "quick",
        "arch": "cpu",
        "seed": 0,
        "iterations": 2000,
        "train_seconds": 300.0,
        "rays_per_second": 31_250.0,
        "levels": rows,
        **changes,
    }


def story(levels: int) -> list[dict[str, Any]]:
    """A history with training and test values and an event a level."""
    entries: list[dict[str, Any]] = [
        {"iteration": i, "seconds": i / 50, "psnr": 30 - 18 * math.exp(-i / 300), "level": 1} for i in range(0, 2000, 2)
    ]
    entries += [{"iteration": i, "test_psnr": 25.0} for i in (500, 1000, 1500)]
    return entries + [{"iteration": 100 * k, "event": "rank", "level": k} for k in range(levels)]


def views(count: int, height: int = 40, width: int = 60) -> list[tuple[str, NDArray[Any]]]:
    generator = np.random.default_rng(0)
    return [(f"rank {k}", generator.random((height, width, 3), dtype=np.float32)) for k in range(count)]


def drawn(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def count(page: NDArray[np.uint8], colour: str) -> int:
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return int((page == wanted).all(-1).sum())


@pytest.mark.parametrize("levels", [1, 2, 5, 16, 32])
def test_a_page_is_drawn_for_any_number_of_levels(tmp_path: Path, levels: int) -> None:
    report(tmp_path / "report.png", run(levels), story(levels), views(min(levels, 6) + 1))
    page = drawn(tmp_path / "report.png")
    assert page.shape[1] == WIDTH
    assert (page[:20] == 255).all()
    assert (page[:, :20] == 255).all()
    assert (page[:, -20:] == 255).all()
    assert count(page, plot.BLUE) > 100
    assert count(page, plot.ORANGE) > 100


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"levels": None, "scene": None},
        run(16, levels=[{"level": k, "psnr": None, "ssim": None, "bytes": 1000} for k in range(1, 17)]),
        run(1, levels=[{"level": 1, "psnr": math.inf, "ssim": math.nan, "bytes": 10}]),
        run(2, levels=[{"level": 1}, {"level": 2, "psnr": 20.0, "bytes": 0}]),
        run(4, levels=[{"level": k, "psnr": 25.0, "bytes": 5_000_000} for k in range(1, 5)]),
        run(8, levels=[{"level": k, "psnr": 20.0 + k, "bytes": 3000 * 4**k} for k in range(1, 9)], level_name="LOD"),
        run(3, scene="Szenenname " * 40, method="x" * 500, train_seconds=90_000.0, iterations=None),
        run(3, scene="日本 Löwe\n\x1b[31m"),
    ],
)
@pytest.mark.parametrize("history", [[], [{"iteration": 3, "psnr": 20.0}], [{"iteration": 0, "psnr": None}], story(3)])
def test_a_page_is_drawn_whatever_is_missing(
    tmp_path: Path, metrics: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    report(tmp_path / "report.png", metrics, history, views(2))
    assert drawn(tmp_path / "report.png").shape[1] == WIDTH


def test_without_pictures_the_page_ends_after_the_plots(tmp_path: Path) -> None:
    report(tmp_path / "a.png", run(4), story(4), [])
    report(tmp_path / "b.png", run(4), story(4), views(1))
    assert drawn(tmp_path / "a.png").shape[0] < drawn(tmp_path / "b.png").shape[0]


@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (40, 60), (300, 100), (900, 1600), (1, 3000)])
def test_pictures_of_any_size_fit_their_cell_with_their_shape(shape: tuple[int, int]) -> None:
    page = Page(500, 400)
    left, top, right, bottom = page.picture(np.full((*shape, 3), 0.5, np.float32), (50, 60, 450, 360))
    assert 50 <= left < right <= 450
    assert 60 <= top < bottom <= 360
    assert max((right - left) / 400, (bottom - top) / 300) == pytest.approx(1, abs=0.01)
    assert (right - left) == pytest.approx((bottom - top) * shape[1] / shape[0], abs=1 + shape[1] / shape[0])


def test_small_pictures_keep_their_pixels_and_shades() -> None:
    page = Page(200, 200)
    checks = np.indices((4, 4)).sum(0)[..., None] % 2 * np.ones(3)
    page.picture(checks * 0.5 + 0.25, (20, 20, 180, 180))
    inside = np.asarray(page.finish())[20:180, 20:180]
    expected = np.round((checks * 0.5 + 0.25) * 255).astype(np.uint8).repeat(40, 0).repeat(40, 1)
    np.testing.assert_array_equal(inside, expected)


def test_values_outside_the_unit_range_are_clipped_and_other_shapes_refused(tmp_path: Path) -> None:
    image = np.array([[[-1.0, 0.5, 2.0], [math.nan, math.inf, -math.inf]]])
    np.testing.assert_array_equal(np.asarray(plot.to_image(image)), [[[0, 128, 255], [0, 255, 0]]])
    np.testing.assert_array_equal(np.asarray(plot.to_image(np.full((2, 2, 3), 7, np.uint8))), 7)
    for shape in ((4, 4), (4, 4, 4), (0, 4, 3)):
        with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
            report(tmp_path / "report.png", run(1), [], [("bad", np.zeros(shape))])


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.*report\.png"):
        report(tmp_path / "missing" / "report.png", run(1), [], [])


def test_captions_leave_out_what_is_unknown() -> None:
    assert caption("rank", 4, 27.12, 1_300_000) == "rank 4 · 27.1 dB · 1.3 MB"
    assert caption("LOD", 2, None, 12_345) == "LOD 2 · 12.3 kB"
    assert caption("rank", 1, math.inf, None) == "rank 1"
    assert [megabytes(size) for size in (950, 99_000, 200_000, 20_500_000)] == [
        "0.9 kB",
        "99.0 kB",
        "0.20 MB",
        "20.5 MB",
    ]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_evenly_spaced_and_within(low: float, length: float, wanted: int) -> None:
    high = low + length
    marks = axes.ticks(low, high, wanted)
    assert len(marks) <= wanted + 1
    assert all(low - 1e-6 * length - 1e-9 <= mark <= high + 1e-6 * length + 1e-9 for mark in marks)
    if len(marks) > 1:
        step = marks[1] - marks[0]
        leading = step / 10.0 ** math.floor(math.log10(step) + 1e-6)
        assert min(abs(leading - factor) for factor in (1, 2, 5, 10)) < 0.01
        assert np.diff(marks) == pytest.approx(step, rel=0.01)


def test_logarithmic_axes_place_equal_ratios_at_equal_distances() -> None:
    axis = Axis(1.0, 10_000.0, logarithmic=True)
    assert [axis.place(10.0**k) for k in range(5)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert axis.ticks(5) == [1, 10, 100, 1000, 10_000]
    assert Axis(0.9, 60.0, logarithmic=True).ticks(5) == [1, 2, 5, 10, 20, 50]
    around = Axis.around([2.0, 200.0], margin=0.5, logarithmic=True)
    assert (around.low, around.high) == pytest.approx((0.2, 2000.0))
    assert Axis.around([7.0]).low < 7.0 < Axis.around([7.0]).high


def test_tick_labels_are_short() -> None:
    assert axes.tick_labels([0, 5000, 10_000, 15_000]) == ["0", "5k", "10k", "15k"]
    assert axes.tick_labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1"]
    assert axes.tick_labels([0, 500, 1000]) == ["0", "500", "1000"]


def test_labels_cover_neither_one_another_nor_the_curve() -> None:
    page = Page(400, 300)
    points = [(50.0 + 9 * k, 250 - 180 * (1 - math.exp(-k / 4))) for k in range(32)]
    curve = plot.along(points, 2.0)
    labels = Labels(page, (0, 0, 400, 300), curve)
    placed = [labels.put(point, str(k), 12) for k, point in enumerate(points)]
    boxes = labels.taken[len(curve) :]
    assert len(boxes) == sum(placed) > 10
    for index, box in enumerate(boxes):
        for other in curve + boxes[:index]:
            assert box[0] >= other[2] or box[2] <= other[0] or box[1] >= other[3] or box[3] <= other[1]


def test_long_text_is_cut_and_strange_signs_are_replaced() -> None:
    text = plot.fit_text("a rather long caption", 15, 80)
    assert text.endswith("...")
    assert plot.text_width(text, 15) <= 80
    assert plot.fit_text("short", 15, 80) == "short"
    assert plot.legible("Löwe · 日\x1b\n±") == "Lowe · ???±"


def test_a_size_is_read_as_it_is_printed():
    found = [bytes_of(text, "--size") for text in ("1MB", "1.5 M", "300kB", "300 K", "0.25mb", "2GB", "77", "77 b")]
    assert found == [1_000_000, 1_500_000, 300_000, 300_000, 250_000, 2_000_000_000, 77, 77]
    for text in ("", "MB", "1e6", "-1MB", "0", "0.1", "1TB", "1 000", "9" * 40, "nan", "\u0661MB"):
        with pytest.raises(UserError, match="--size"):
            bytes_of(text, "--size")
