"""A box over the picture: its edges and handles lie where the camera sees them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from taichi_rf.evaluation.plot import DARK
from taichi_rf.kernels.lenses import Lens
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.crop_box import CropBox
from viewer.overlay.wireframe import Wireframe

BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
MARK = np.array(ImageColor.getrgb(DARK.mark)[:3])


def camera(eye=(4.0, -3.0, 2.5), lens: Lens | None = None) -> Camera:
    return Camera(look_at(eye, (0, 0, 0)), 500, 500, 320, 240, 640, 480, lens)


def drawn(crop: CropBox, view: Camera) -> np.ndarray:
    """(height, width, 4), all of the picture."""
    picture = np.zeros((view.height, view.width, 4), np.uint8)
    for card in Wireframe().draw(crop, view, 1.0):
        left, top, right, bottom = card.box
        picture[top:bottom, left:right] = card.pixels
    return picture


def opacity(picture: np.ndarray, view: Camera, point) -> int:
    """The most of a few pixels around where a place of the world is seen."""
    x, y = (int(value) for value in view.project(np.array(point))[0])
    return int(picture[y - 1 : y + 2, x - 1 : x + 2, 3].max())


def test_edges_in_front_are_bright_and_those_that_the_box_hides_are_faint():
    view = camera()
    picture = drawn(CropBox(BOX), view)
    in_front, hidden = (1.0, -1.0, 0.37), (-1.0, 1.0, 0.37)
    assert opacity(picture, view, in_front) == 255
    assert 60 < opacity(picture, view, hidden) < 160
    x, y = (int(value) for value in view.project(np.array(in_front))[0])
    near = picture[y - 2 : y + 3, x - 2 : x + 3, :3].astype(int)
    assert np.abs(near - MARK).sum(axis=-1).min() < 12
    assert opacity(picture, view, (0.6, 0.1, 1.0)) == 0  # a face is clear


def test_a_handle_is_in_the_middle_of_each_face_in_the_colour_of_its_axis_and_grows_under_the_mouse():
    view, crop = camera(), CropBox(BOX)
    picture = drawn(crop, view)
    for face, (x, y) in enumerate(crop.handles(view)):
        colour = picture[int(y), int(x), :3].astype(int)
        assert colour.argmax() == face // 2
    crop.hot = 5
    grown = drawn(crop, view)
    x, y = (int(value) for value in crop.handles(view)[5])
    assert (grown[y - 14 : y + 15, x - 14 : x + 15, 3] > 0).sum() > (
        picture[y - 14 : y + 15, x - 14 : x + 15, 3] > 0
    ).sum()


def test_from_inside_what_lies_ahead_is_drawn_and_what_lies_behind_is_not():
    view = Camera(look_at((0.2, 0, 0), (0.2, 5, 0)), 150, 150, 320, 240, 640, 480)
    picture = drawn(CropBox(BOX), view)
    assert opacity(picture, view, (1.0, 1.0, 0.5)) == 255
    assert opacity(picture, view, (0.5, 1.0, 1.0)) == 255
    behind = Camera(look_at((0, 9, 0), (0, 20, 0)), 300, 300, 320, 240, 640, 480)
    assert Wireframe().draw(CropBox(BOX), behind, 1.0) == []


@pytest.mark.parametrize("along", np.linspace(-0.9, 0.9, 7))
def test_a_lens_bends_the_edges(along):
    view = camera(eye=(3.0, -2.0, 1.5), lens=Lens(radial=(-0.2, 0.02, 0.0, 0.0, 0.0, 0.0)))
    picture = drawn(CropBox(BOX), view)
    assert opacity(picture, view, (1.0, -1.0, along)) == 255


def test_the_same_drawing_is_kept_until_something_changes():
    wireframe, crop, view = Wireframe(), CropBox(BOX), camera()
    (first,) = wireframe.draw(crop, view, 1.0)
    assert wireframe.draw(crop, view, 1.0)[0] is first
    crop.place(5, 50)
    assert wireframe.draw(crop, view, 1.0)[0] is not first
