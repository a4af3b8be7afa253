"""Mixing cards into pictures: what the formula says, in every layout of memory, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewer.overlay.blend import Overlay, blend

HEIGHT, WIDTH = 40, 60


def canvas(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((width, height, 4), 255, np.uint8)


LAYOUTS = {
    "rows": lambda: np.empty((HEIGHT, WIDTH, 3), np.uint8),
    "rows of four bytes": lambda: np.empty((HEIGHT, WIDTH, 4), np.uint8),
    "three of four bytes": lambda: np.empty((HEIGHT, WIDTH, 4), np.uint8)[..., :3],
    "last three of four bytes": lambda: np.empty((HEIGHT, WIDTH, 4), np.uint8)[..., 1:],
    "a window's columns, upwards": lambda: canvas()[..., :3].transpose(1, 0, 2)[::-1],
    "a window's columns of four bytes": lambda: canvas().transpose(1, 0, 2)[::-1],
    "columns": lambda: np.empty((WIDTH, HEIGHT, 3), np.uint8).transpose(1, 0, 2),
    "backwards": lambda: np.empty((HEIGHT, WIDTH, 3), np.uint8)[::-1, ::-1],
    "every second pixel": lambda: np.empty((HEIGHT, 2 * WIDTH, 4), np.uint8)[:, ::2, :3],
    "blue first": lambda: np.empty((HEIGHT, WIDTH, 4), np.uint8)[..., 2::-1],
    "part of a picture": lambda: np.empty((HEIGHT + 9, WIDTH + 7, 3), np.uint8)[5:-4, 3:-4],
}


def card(seed: int, width: int, height: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[: height // 4, :, 3], pixels[height // 4 : height // 2, :, 3] = 0, 255
    return pixels


def mixed(picture: np.ndarray, overlay: Overlay) -> np.ndarray:
    """The plain formula, a pixel at a time."""
    result = picture.astype(np.float64)
    for row in range(overlay.pixels.shape[0]):
        for column in range(overlay.pixels.shape[1]):
            y, x = overlay.y + row, overlay.x + column
            if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
                *colour, opacity = overlay.pixels[row, column] / 1.0
                result[y, x] = result[y, x] * (1 - opacity / 255) + np.array(colour) * opacity / 255
    return result


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [(5, 7), (-6, -4), (50, 30), (0, 0)])
def test_pixels_are_mixed_by_their_opacity(layout: str, place: tuple[int, int]) -> None:
    before = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture = LAYOUTS[layout]()
    picture[...] = 77
    picture[..., :3] = before
    overlay = Overlay(*place, card(1, 21, 16))
    expected = mixed(before, overlay)
    blend(picture, [overlay])
    after = picture[..., :3]
    assert np.abs(after - expected).max() <= 1.1  # bytes are rounded, and an opacity is a 256th part instead of a 255th
    untouched = expected == before
    assert (after[untouched] == before[untouched]).all()
    x, y = place
    opaque = overlay.pixels[4:8, 6:, :3][: HEIGHT - y - 4, : WIDTH - x - 6]
    assert (after[y + 4 : y + 8, x + 6 : x + 21] == opaque).all()
    if picture.shape[2] == 4:
        assert (picture[..., 3] == 77).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_lies_around_the_picture_in_memory_stays(layout: str) -> None:
    picture = LAYOUTS[layout]()
    owner = picture
    while owner.base is not None:
        owner = owner.base
    owner[...] = np.random.default_rng(0).integers(0, 256, owner.shape, dtype=np.uint8)
    before = owner.copy()
    picture[...] = 0
    inside = owner == 0
    owner[...] = before
    blend(picture, [Overlay(-3, -3, card(1, WIDTH + 9, HEIGHT + 9))])
    assert (owner[~inside] == before[~inside]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [(5, 7), (-6, -4), (50, 30)])
def test_a_card_that_lets_nothing_through_is_laid_on_as_it_is(layout: str, place: tuple[int, int]) -> None:
    picture = LAYOUTS[layout]()
    picture[...] = 77
    pixels = card(1, 21, 16)
    pixels[..., 3] = 255
    overlay = Overlay(*place, pixels)
    expected = mixed(picture[..., :3], overlay)
    blend(picture, [overlay])
    np.testing.assert_array_equal(picture[..., :3], expected)
    assert (picture[..., 3:] == 77).all()


def test_last_pixel_may_end_where_the_memory_does() -> None:
    buffer = np.zeros(4 * HEIGHT * WIDTH - 1, np.uint8)
    picture = np.lib.stride_tricks.as_strided(buffer, (HEIGHT, WIDTH, 3), (4 * WIDTH, 4, 1))
    blend(picture, [Overlay(0, 0, np.full((HEIGHT, WIDTH, 4), 255, np.uint8))])
    assert (picture == 255).all()
    assert (buffer[3::4] == 0).all()


def test_later_cards_lie_over_earlier_ones_and_may_move() -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red, green = (np.full((9, 9, 4), (*colour, 255), np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    overlay = Overlay(0, 0, red)
    blend(picture, [overlay, Overlay(5, 5, green), overlay.at(20, 20)])
    assert picture[4, 4].tolist() == [255, 0, 0]
    assert picture[6, 6].tolist() == [0, 255, 0]
    assert picture[20, 20].tolist() == [255, 0, 0]
    assert overlay.at(20, 20).box == (20, 20, 29, 29)


@settings(deadline=None, max_examples=50)
@given(st.integers(-80, 80), st.integers(-80, 80), st.integers(1, 70), st.integers(1, 50))
def test_cards_beyond_the_edge_are_cut_off(x: int, y: int, width: int, height: int) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    blend(picture, [Overlay(x, y, np.full((height, width, 4), 255, np.uint8))])
    rows, columns = np.indices((HEIGHT, WIDTH))
    inside = (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
    assert ((picture[..., :3] == 255).all(-1) == inside).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 4), (1, 1, 3), (1, 5, 4), (5, 1, 3)])
def test_slivers_of_pictures(shape: tuple[int, int, int]) -> None:
    picture = np.zeros(shape, np.uint8)
    blend(picture, [Overlay(-2, -2, np.full((30, 30, 4), 255, np.uint8))])
    assert (picture[..., :3] == 255).all()


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3))])
def test_other_arrays_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="picture"):
        blend(picture, [])
