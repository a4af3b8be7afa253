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
from viewer.web import visitor as web
from viewer.web.complaints import Complaints
from viewer.web.frame_sender import FrameSender
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
    browsers.turns()

    def choose(level):
        for visitor in browsers.site._visitors.values():
            visitor.session.levels.choose(level)

    for level in (1, 2, 3, 4) * 5:
        choose(level)
        browsers.turns(3)
    assert slow.asked.wait(PATIENCE)
    assert len(slow.pictures) == 1
    assert len(quick.pictures) >= 20
    choose(2)
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
            sender.send(picture, sent, 80)
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


def test_every_visitor_has_a_camera_a_level_and_a_shape_of_their_own(browsers):
    wide, tall = browsers.join(Client(0, size=(200, 100))), browsers.join(Client(1, size=(100, 200)))
    browsers.settle()
    assert "2 visitors" in browsers.texts()
    assert (wide.pictures[-1].shape, tall.pictures[-1].shape) == ((100, 200, 3), (200, 100, 3))
    before = len(wide.pictures), wide.moves
    tall.move(position=(0.0, 3.0, 1.0))
    tall.gui.made["rank"].change(1)
    browsers.settle()
    assert (len(wide.pictures), wide.moves) == before
    mine, other = (visitor.session for visitor in browsers.site._visitors.values())
    assert (mine.level, other.level) == (4, 1)
    for client, session in ((wide, mine), (tall, other)):
        height, width = client.pictures[-1].shape[:2]
        top = height // 3  # the figures are laid over the rest
        np.testing.assert_array_equal(client.pictures[-1][:top], session.snapshot(width, height)[:top])
    browsers.leave(tall)
    browsers.turns(20)
    assert "visitors" not in browsers.texts()


def test_visitors_are_drawn_for_in_turn(browsers):
    clients = [browsers.join(Client(number, size=(320, 200))) for number in range(4)]
    browsers.turns(4)
    before = [len(client.pictures) for client in clients]
    for step in range(40):
        for client in clients:
            client.move(position=(3.0, 0.01 * step, 1.0))
        browsers.turns()
    more = [len(client.pictures) - count for client, count in zip(clients, before, strict=True)]
    assert max(more) - min(more) <= 1
    assert min(more) >= 9


def test_pictures_of_many_visitors_have_no_more_pixels_than_those_of_four(browsers):
    for number in range(8):
        browsers.join(Client(number, size=(1920, 1080)))
    browsers.turns()
    sizes = [visitor.size for visitor in browsers.site._visitors.values()]
    assert len(set(sizes)) == 1
    assert sum(width * height for width, height in sizes) <= 4 * 1920 * 1080


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
