"""Coarse pixels grown to a picture, beside pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from viewer.overlay.enlarge import enlarge, soften

SIZES = [
    ((80, 45), (1280, 720)),
    ((54, 45), (853, 719)),  # no whole multiple
    ((1, 1), (7, 5)),
    ((1, 30), (9, 400)),
    ((30, 1), (400, 9)),
    ((60, 40), (60, 40)),
    ((320, 3), (1280, 4)),
]


@pytest.mark.parametrize(("few", "many"), SIZES, ids=[f"{a[0]}x{a[1]} to {b[0]}x{b[1]}" for a, b in SIZES])
def test_is_pillows_bilinear_to_within_two(few, many):
    pixels = np.random.default_rng(0).choice(np.array([0, 1, 100, 254, 255], np.uint8), (*few, 3))
    canvas = np.zeros((*many, 4), np.uint8)
    enlarge(pixels, canvas)
    expected = np.asarray(Image.fromarray(pixels).resize((many[1], many[0]), Image.Resampling.BILINEAR))
    assert (canvas[..., 3] == 255).all()
    assert np.abs(canvas[..., :3].astype(int) - expected).max() <= 2


def test_one_colour_stays_exactly_that():
    for colour in np.random.default_rng(1).integers(0, 256, (20, 3), dtype=np.uint8):
        canvas = np.zeros((61, 47, 4), np.uint8)
        enlarge(np.broadcast_to(colour, (9, 4, 3)), canvas)
        assert (canvas == [*colour, 255]).all()


@pytest.mark.parametrize(("pixels", "canvas"), [((4, 4, 4), (8, 8, 4)), ((4, 4, 3), (8, 8, 3)), ((4, 4), (8, 8, 4))])
def test_other_shapes_are_refused(pixels, canvas):
    with pytest.raises(ValueError, match="into"):
        enlarge(np.zeros(pixels, np.uint8), np.zeros(canvas, np.uint8))


def test_canvas_with_gaps_is_refused_rather_than_left_as_it_is():
    with pytest.raises(ValueError, match="gaps"):
        enlarge(np.zeros((4, 4, 3), np.uint8), np.zeros((8, 16, 4), np.uint8)[:, ::2])


def test_softening_spreads_a_pixel_over_its_neighbours_and_leaves_what_is_even():
    pixels = np.zeros((5, 6, 3), np.uint8)
    pixels[2, 3] = 160
    np.testing.assert_array_equal(soften(pixels)[1:4, 2:5, 0], [[10, 20, 10], [20, 40, 20], [10, 20, 10]])
    assert soften(pixels).sum() == pixels.sum()
    for even in (0, 77, 255):
        assert (soften(np.full((1, 4, 3), even, np.uint8)) == even).all()
