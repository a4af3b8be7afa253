"""Captions on the frames of a video: what they say, where, and where there is no room."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.evaluation import caption
from taichi_rf.evaluation.caption import Captions, captions, level_text
from tests.viewer_fakes import FakeModel


def test_a_model_s_captions_say_level_size_and_what_its_file_knows_of_its_quality(monkeypatch):
    said = []
    monkeypatch.setattr(caption, "_card", lambda text, width, height: said.append(text))
    model = FakeModel(metadata={"level_psnr": [20.0, None, 28.04, 30.0]})
    lay = captions(model, 4)
    for level in (1, 2, 3, 3):
        lay(np.zeros((90, 160, 3), np.uint8), level)
    assert [(text.level, text.size, text.quality) for text in said] == [
        ("rank 1 of 4", "0.25 MB", "20.0 dB"), ("rank 2 of 4", "0.50 MB", ""), ("rank 3 of 4", "0.75 MB", "28.0 dB"),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (360, 640), (1920, 1080)])
def test_it_stands_below_in_the_middle_and_leaves_the_rest_as_it_is(size):
    width, height = size
    frame = np.full((height, width, 3), 200, np.uint8)
    Captions(lambda level: level_text("rank", level, 16, 1.2e6, "28.8 dB"))(frame, 4)
    rows, columns = np.nonzero((frame != 200).any(axis=-1))
    assert rows.min() > 0.8 * height
    assert rows.max() < height - 1
    assert abs(columns.min() + columns.max() + 1 - width) <= 1
    assert columns.min() >= 0.04 * width
    assert frame.min() < 60  # dark
    assert frame.max() > 230  # with bright letters


def test_a_frame_without_room_has_none():
    for shape in [(40, 60, 3), (1, 1, 3), (200, 20, 3)]:
        frame = np.full(shape, 200, np.uint8)
        Captions(lambda level: level_text("rank", level, 16, 1.2e6, "28.8 dB"))(frame, 4)
        assert (frame == 200).all()
