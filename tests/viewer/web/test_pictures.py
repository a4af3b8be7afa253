"""Which pictures browsers get, and when: the sharp one, the newest, and no queue of them."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.viewer.web.browsers import PATIENCE, Client, Loop
from tests.viewer_fakes import Clock
from viewer.web import site as web
from viewer.web.complaints import Complaints
from viewer.web.frame_sender import FrameSender, letterboxed
from viewer.web.wire import Wire

pytestmark = pytest.mark.usefixtures("lossless")


def test_browser_gets_the_sharp_picture_and_then_nothing_more(browsers):
    client = browsers.join(Client(size=(320, 200)))
    browsers.settle()
    shown = client.pictures[-1][:100]  # the figures are laid over the lower half
    np.testing.assert_array_equal(shown, browsers.session.snapshot(320, 200)[:100])
    sent, rendered = len(client.pictures), len(browsers.session.subject.render.sizes)
    browsers.slept.clear()
    browsers.turns(50)
    assert (len(client.pictures), len(browsers.session.subject.render.sizes)) == (sent, rendered)
    assert min(browsers.slept) >= 0.1  # and the loop sleeps


def test_slow_browser_gets_the_newest_picture_and_no_queue(browsers):
    slow, quick = browsers.join(Client(0, slow=True)), browsers.join(Client(1))
    for level in (1, 2, 3, 4) * 5:
        browsers.session.levels.choose(level)
        browsers.turns(2)
    assert slow.asked.wait(PATIENCE)
    assert len(slow.pictures) == 1
    assert len(quick.pictures) >= 20
    browsers.session.levels.choose(2)
    browsers.settle()
    slow.answer()
    browsers.turns(3)
    assert len(slow.pictures) == 2
    np.testing.assert_array_equal(slow.pictures[-1], quick.pictures[-1])


def sending(arrived=lambda: None, clock=time.monotonic):
    """A sender and its client."""
    client, complain = Client(), Complaints()
    return FrameSender(client, arrived, Wire(Loop(), complain), ThreadPoolExecutor(1), complain, clock), client


def test_no_more_than_thirty_pictures_a_second():
    clock, home = Clock(), threading.Event()
    sender, client = sending(home.set, clock)
    picture, sent = np.zeros((4, 4, 3), np.uint8), 0
    for _ in range(1000):  # two seconds in steps of 2 ms
        if sender.due == 0.0:
            home.clear()
            sender.send(picture, sent, 80, (4, 4))
            sent += 1
            assert home.wait(PATIENCE)
        clock.spend(0.002)
    sender.dismiss()
    assert 55 <= sent <= 60
    assert len(client.pictures) == sent


def test_sender_that_was_dismissed_sends_nothing():
    sender, client = sending()
    sender.dismiss()
    assert math.isinf(sender.due)
    assert client.pictures == []


def test_everybody_sees_the_picture_of_the_one_who_moved_last(browsers):
    wide, tall = browsers.join(Client(0, size=(200, 100))), browsers.join(Client(1, size=(100, 200)))
    browsers.settle()
    assert wide.pictures[-1].shape == (100, 200, 3)
    assert tall.pictures[-1].shape == (400, 200, 3)
    np.testing.assert_array_equal(tall.pictures[-1][150:250], wide.pictures[-1])
    tall.move(position=(0.0, 3.0, 1.0))
    browsers.settle()
    assert tall.pictures[-1].shape == (200, 100, 3)
    browsers.leave(tall)
    browsers.settle()
    assert wide.pictures[-1].shape == (100, 200, 3)
    before = len(tall.pictures)
    browsers.session.levels.choose(1)
    browsers.settle()
    assert len(tall.pictures) == before


@given(st.integers(1, 16384), st.integers(1, 16384))
def test_picture_has_the_shape_of_the_browser_and_not_too_many_pixels(width, height):
    across, down = web.bounded(width, height)
    assert 16 <= across
    assert 16 <= down
    assert across * down <= 1920 * 1080 + 16 * 16384
    if min(width, height) >= 200 and max(width, height) <= 4 * min(width, height):
        assert across / down == pytest.approx(width / height, rel=0.02)


def test_browser_that_only_takes_to_fewer_pixels_keeps_its_picture():
    assert web.resized((0, 0), (956, 720)) == (956, 720)
    assert web.resized((956, 720), (717, 540)) == (956, 720)
    assert web.resized((956, 720), (1434, 1080)) == (1434, 1080)
    assert web.resized((956, 720), (956, 500)) == (956, 500)
    assert web.resized((956, 720), (500, 720)) == (500, 720)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 200), st.integers(1, 200))
def test_letterboxed_keeps_every_pixel(columns, rows, width, height):
    picture = np.random.default_rng(0).integers(100, 255, (rows, columns, 3), dtype=np.uint8)
    boxed = letterboxed(picture, width, height)
    bright = boxed.min(axis=-1) >= 100
    np.testing.assert_array_equal(boxed[bright], picture.reshape(-1, 3))
    assert boxed.shape[0] == rows or boxed.shape[1] == columns
