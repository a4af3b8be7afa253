"""The viewer in a browser without a browser: over fake handles, and over viser's real server with a bare socket."""

from __future__ import annotations

import asyncio
import contextlib
import html
import math
import pickle
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import viser
from hypothesis import given
from hypothesis import strategies as st
from viser import _messages
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Cameras, look_at
from taichi_rf.streaming import progressive_model as growing
from taichi_rf.streaming.download import Progress
from tests.viewer_fakes import Clock, FakeField, FakeModel, FakeRender, FakeTrainer, Views
from viewer.app.studio import Pending, Studio
from viewer.overlay.stats import TrainingStats
from viewer.session.session import SHARE, Session
from viewer.session.stats import stats_of
from viewer.web import frame_sender
from viewer.web import site as web
from viewer.web.client_events import ClientEvents, Report
from viewer.web.complaints import Complaints
from viewer.web.frame_sender import SHORTEST, FrameSender, letterboxed
from viewer.web.hosts import is_foreign
from viewer.web.panel import figures, plain, training_figures
from viewer.web.server import start
from viewer.web.wire import Wire

PATIENCE = 20.0  # seconds
JPEG = frame_sender.compressed


class Handle:
    """Any control: remembers what it was set to and does what a client does to it."""

    def __init__(self, value=None, **properties):
        self.value, self.visible, self._called = value, True, []
        vars(self).update(properties)

    def on_update(self, callback):
        self._called.append(callback)

    on_click = on_update

    def change(self, value=None, client_id=1):
        self.value = value
        for callback in self._called:
            asyncio.run(callback(SimpleNamespace(client_id=client_id)))


class Gui:
    """Makes a handle for everything it is asked to add, by label."""

    def __init__(self):
        self.main_panel, self.made = SimpleNamespace(dock_right=lambda: None), {}
        self.every = []

    def reset(self):
        self.made.clear()
        self.every = []

    def set_panel_label(self, label):
        self.label = label

    def add_folder(self, label):
        return contextlib.nullcontext()

    def __getattr__(self, name):
        def add(label, *arguments, initial_value=None, **_):
            value = initial_value if initial_value is not None else arguments[-1] if arguments else None
            key = label if isinstance(label, str) and label else name
            self.made[key] = Handle(value, content="", image=None)
            self.every.append(self.made[key])
            return self.made[key]

        return add


class Loop:
    """An event loop that does at once what it is handed."""

    def call_soon_threadsafe(self, function, *arguments):
        function(*arguments)


class Client:
    """A browser that has every picture at once, or only when it is told (``slow``)."""

    def __init__(self, client_id=0, *, slow=False, size=(64, 32)):
        self.client_id, self.pictures, self.moves, self.may_answer = client_id, [], 0, threading.Event()
        if not slow:
            self.may_answer.set()
        self.asked = threading.Event()
        self._websock_connection = SimpleNamespace(
            queue_message=self._take, register_handler=lambda kind, handler: setattr(self, "_answered", handler)
        )
        self.camera = SimpleNamespace(
            position=(3.0, 0.0, 1.0), look_at=(0.0, 0.0, 0.0), up_direction=(0.0, 0.0, 1.0), fov=0.7,
            image_width=size[0], image_height=size[1], on_update=lambda callback: setattr(self, "_moved", callback),
        )  # fmt: skip

    def _take(self, message):
        if isinstance(message, _messages.BackgroundImageMessage):
            self.pictures.append(pickle.loads(message.rgb_data))
        else:
            self.asked.set()
            self._question = message.request_uuid
            if self.may_answer.is_set():
                self.answer()

    def answer(self):
        self.may_answer.set()
        self._answered(self.client_id, SimpleNamespace(request_uuid=self._question))

    def flush(self):
        pass

    @contextlib.contextmanager
    def atomic(self):
        self.moves += 1
        yield

    def move(self, **camera):
        vars(self.camera).update(camera)
        asyncio.run(self._moved(self.camera))


class Browsers:
    """A site over a fake server, its time, and the browsers at it."""

    def __init__(self, studio, clock):
        self.session, self.clock, self.gui = studio.session, clock, Gui()
        scene = SimpleNamespace(set_up_direction=lambda up: None)
        server = SimpleNamespace(
            gui=self.gui, scene=scene, initial_camera=SimpleNamespace(), get_event_loop=Loop,
            on_client_connect=lambda callback: setattr(self, "_joined", callback),
            on_client_disconnect=lambda callback: setattr(self, "_left", callback),
        )  # fmt: skip
        self.site = web.Site(server, studio, clock)
        self.slept = []
        self.site._client_events.wait = lambda seconds: (self.slept.append(seconds), clock.spend(seconds))

    def join(self, client):
        asyncio.run(self._joined(client))
        return client

    def leave(self, client):
        asyncio.run(self._left(client))

    def texts(self):
        return html.unescape("\n".join(handle.content for handle in self.gui.every))

    def turns(self, count=1):
        """Turns of the loop; after each, every picture has arrived whose browser answers."""
        for _ in range(count):
            self.site.turn()
            self.clock.spend(SHORTEST)
            end = time.monotonic() + PATIENCE
            for visitor in self.site._visitors.values():
                while visitor.sender.due > 0 and visitor.client.may_answer.is_set():
                    assert time.monotonic() < end
                    time.sleep(0.0005)

    def settle(self):
        self.turns(40)
        assert self.session.composer.complete


@pytest.fixture(autouse=True)
def lossless(monkeypatch):
    """Pictures come as they were sent; what JPEG does to them is not tested here."""
    monkeypatch.setattr(frame_sender, "compressed", lambda picture, quality: pickle.dumps(picture))


def studio_with(session):
    studio = Studio()
    studio.session = session
    return studio


@pytest.fixture
def browsers():
    clock = Clock()
    return Browsers(studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)), clock)


@pytest.fixture
def training():
    clock = Clock()
    trainer = FakeTrainer(clock, steps=1000)
    return Browsers(studio_with(Session(trainer=trainer, render=FakeRender(clock), clock=clock)), clock)


# Pictures


def test_browser_gets_the_sharp_picture_and_then_nothing_more(browsers):
    client = browsers.join(Client(size=(320, 200)))
    browsers.settle()
    shown = client.pictures[-1][:100]  # the figures are laid over the lower half
    np.testing.assert_array_equal(shown, browsers.session.snapshot(320, 200)[:100])
    sent, rendered = len(client.pictures), len(browsers.session._render.sizes)
    browsers.slept.clear()
    browsers.turns(50)
    assert (len(client.pictures), len(browsers.session._render.sizes)) == (sent, rendered)
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


# The camera


def test_browser_moves_the_camera(browsers):
    client = browsers.join(Client())
    browsers.settle()
    client.move(position=(0.0, -4.0, 0.0), look_at=(0.0, 1.0, 0.0), fov=0.9)
    browsers.turns()
    camera = browsers.session.orbit.camera(10, 10)
    np.testing.assert_allclose(camera.position, (0.0, -4.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(-camera.pose[:, 2], (0.0, 1.0, 0.0), atol=1e-5)
    assert browsers.session.orbit.field_of_view == pytest.approx(0.9)


def test_browser_that_joins_or_changes_its_size_moves_nothing(browsers):
    before = browsers.session.orbit.state()
    client = browsers.join(Client())
    browsers.turns(2)
    client.move(image_width=100)
    browsers.settle()
    assert browsers.session.orbit.state() == before
    assert client.pictures[-1].shape == (32, 100, 3)


def test_browsers_camera_follows_and_its_echo_moves_nothing(browsers):
    client = browsers.join(Client())
    browsers.settle()
    client.moves = 0
    client.move(position=(0.0, -4.0, 0.0))
    browsers.settle()
    dragged = client.camera.position
    assert client.moves == 0  # it is where it says
    browsers.session.reset_view()
    first = browsers.session.orbit.state()
    for _ in range(50):
        browsers.turns(not client.moves)
    there = client.camera.position
    np.testing.assert_allclose(there, browsers.session.orbit.camera(2, 2).position)
    client.move(position=dragged)  # sent before it was told
    browsers.turns()
    assert browsers.session.orbit.state() == first
    client.move(position=tuple(np.array(there) * (1 + 1e-7)))  # its echo
    browsers.turns()
    assert browsers.session.orbit.state() == first
    assert client.moves == 1
    client.move(position=(2.0, 2.0, 2.0))  # and a hand again
    browsers.turns()
    assert browsers.session.orbit.state() != first


def test_drag_ends_the_demonstration(browsers):
    client = browsers.join(Client())
    browsers.settle()
    browsers.session.toggle_demo()
    browsers.turns(10)
    client.move(position=(2.0, 2.0, 2.0))
    browsers.turns()
    assert not browsers.session.demo
    np.testing.assert_allclose(browsers.session.orbit.camera(2, 2).position, (2.0, 2.0, 2.0), atol=1e-5)


GOOD = {
    "position": (1, 2, 3), "look_at": (0, 0, 0), "up_direction": (0, 0, 1), "fov": 1.0, "image_width": 5,
    "image_height": 4,
}  # fmt: skip


def test_report_of_a_camera_that_makes_sense():
    assert Report.of(SimpleNamespace(**GOOD)) == Report((1, 2, 3), (0, 0, 0), (0, 0, 1), 1.0, 5, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": (1, 2)},
        {"position": (math.nan, 0, 0)},
        {"position": (1, math.inf, 0)},
        {"position": (1e7, 0, 0)},
        {"position": "far away"},
        {"position": None},
        {"position": [[1, 2, 3]]},
        {"position": (0, 0, 0)},
        {"look_at": (1, 2, 3)},
        {"up_direction": (0, 0, 0)},
        {"up_direction": {"x": 1}},
        {"fov": math.nan},
        {"fov": 0.0},
        {"fov": 4.0},
        {"fov": "wide"},
        {"image_width": 0},
        {"image_width": -5},
        {"image_height": 1_000_000},
        {"image_height": math.inf},
        {"image_height": math.nan},
        {"image_width": None},
    ],
    ids=str,
)
def test_camera_that_makes_no_sense_is_not_heard(wrong):
    assert Report.of(SimpleNamespace(**(GOOD | wrong))) is None


# The panel


def test_slider_sets_the_level_and_the_figures_follow(browsers):
    browsers.join(Client())
    browsers.settle()
    for level in (1, 3, 2):
        browsers.gui.made["rank"].change(level)
        browsers.turns(5)
        assert browsers.session.level == level
        text = browsers.gui.made["add_markdown"].content
        assert f"rank {level} of 4" in text
        assert f"{0.25 * level:.2f} MB" in text
        assert f"{[20, 25, 28, 30][level - 1]:.2f} dB" in text


@pytest.mark.parametrize(
    ("sent", "level"),
    [(1e300, 4), (-7, 1), (math.nan, 3), (math.inf, 3), ("many", 3), (None, 3), ([1], 3), (2.4, 2)],
)
def test_level_out_of_range_is_put_back_into_it(browsers, sent, level):
    browsers.join(Client())
    browsers.session.levels.choose(3)
    browsers.turns(3)
    browsers.gui.made["rank"].change(sent)
    browsers.turns(5)
    assert browsers.session.level == level
    assert browsers.gui.made["rank"].value == level


@pytest.mark.parametrize(
    ("sent", "level", "said"),
    [(600, 2, 600), (1e300, 4, 1000), (-7, 1, 250), (math.nan, 3, 750), (math.inf, 3, 750), ("many", 3, 750)],
)
def test_bytes_can_be_chosen_and_the_level_follows(browsers, sent, level, said):
    browsers.join(Client())
    browsers.session.levels.choose(3)
    browsers.turns(3)
    slider = browsers.gui.made["kB at most"]
    assert (slider.min, slider.max, slider.value, slider.visible) == (250, 1000, 750, True)
    slider.change(sent)
    browsers.turns(5)
    assert browsers.session.level == level
    assert slider.value == said
    assert browsers.gui.made["rank"].value == level


@pytest.mark.parametrize(
    ("control", "sent"),
    [
        ("Show", "everything"),
        ("Show", ["colour"]),
        ("Show", "error"),  # there is no photograph
        ("Compare with", "the sun"),
        ("Compare with", "the photograph"),
        ("Divider", math.nan),
        ("Other level", math.nan),
        ("Layout", ""),
    ],
)
def test_choice_that_there_is_not_is_put_back(browsers, control, sent):
    browsers.join(Client())
    browsers.turns(3)
    before = browsers.gui.made[control].value
    browsers.gui.made[control].change(sent)
    browsers.turns(5)
    assert browsers.gui.made[control].value == before
    session = browsers.session
    assert (session.mode, session.compare, session.layout, session.divider) == ("colour", "off", "wipe", 0.5)


def test_what_the_viewer_itself_sets_is_no_wish_of_a_client(browsers):
    browsers.gui.made["rank"].change(1, client_id=None)
    browsers.turns()
    assert browsers.session.level == 4


def test_comparison_demo_modes_and_first_view(browsers):
    session, made = browsers.session, browsers.gui.made
    client = browsers.join(Client())
    browsers.settle()
    assert not made["Divider"].visible
    made["Compare with"].change("another level")
    made["Other level"].change(2)
    made["Divider"].change(0.25)
    made["Show"].change("depth")
    browsers.turns(5)
    assert (session.compare, session.levels.other, session.divider, session.mode) == ("level", 2, 0.25, "depth")
    assert made["Divider"].visible
    made["Layout"].change("beside")
    browsers.turns(5)
    assert session.layout == "beside"
    assert not made["Divider"].visible
    client.move(position=(0.0, 4.0, 1.0))
    browsers.turns()
    made["First view"].change(True)
    browsers.turns()
    assert session.orbit.state() == session.viewpoint.first.state()
    made["Demo"].change(True)
    browsers.turns(5)
    assert session.demo


def photographs(train, test):
    """A scene of as many views, each at an angle of its own."""
    splits = {}
    for split, count, height in (("train", train, 1.0), ("test", test, 2.0)):
        angles = np.linspace(0, 2, count)
        poses = [look_at((3 * math.cos(angle), 3 * math.sin(angle), height), (0, 0, 0)) for angle in angles]
        poses = np.stack(poses) if poses else np.zeros((0, 3, 4), np.float32)
        splits[split] = Views(Cameras(poses, np.tile(np.float32([[80, 80, 32, 32]]), (count, 1)), 64, 64))
    return SimpleNamespace(**splits)


def test_any_photograph_can_be_gone_to(browsers):
    session, made = browsers.session, browsers.gui.made
    browsers.join(Client())
    browsers.turns(5)
    for control in ("Photographs", "Photograph", "Go to"):
        assert not made[control].visible
    session.attach_scene(photographs(train=30, test=8))
    browsers.turns(10)
    for control in ("Photographs", "Photograph", "Go to"):
        assert made[control].visible
    assert (made["Photographs"].value, made["Photograph"].max) == ("test", 8)
    for number in (8, 3):
        made["Photograph"].change(number)
        browsers.turns(10)
        assert (session.at_view.split, session.at_view.index) == ("test", number - 1)
    made["Photographs"].change("training")
    browsers.turns(10)
    assert session.at_view.split == "train"
    assert (made["Photograph"].max, made["Photograph"].value) == (30, session.at_view.index + 1)
    made["Photograph"].change(22)
    browsers.turns(10)
    assert (session.at_view.split, session.at_view.index) == ("train", 21)
    made["Go to"].change("next")
    browsers.turns(10)
    assert session.at_view.index == 22
    assert made["Photograph"].value == 23


@pytest.mark.parametrize(
    ("control", "sent", "index"),
    [
        ("Photograph", 1e300, 7),
        ("Photograph", -5, 0),
        ("Photograph", math.nan, 4),
        ("Photograph", "last", 4),
        ("Photographs", "holiday", 4),
        ("Photographs", ["test"], 4),
        ("Photographs", "test", 4),  # it is that already
    ],
)
def test_photograph_that_there_is_not_is_put_back(browsers, control, sent, index):
    session, made = browsers.session, browsers.gui.made
    browsers.join(Client())
    session.attach_scene(photographs(train=30, test=8))
    session.go_to(session.views[4])
    browsers.turns(5)
    made[control].change(sent)
    browsers.turns(10)
    assert (session.at_view.split, session.at_view.index) == ("test", index)
    assert (made["Photographs"].value, made["Photograph"].value) == ("test", index + 1)


def test_photographs_that_nobody_has_cannot_be_gone_to(browsers):
    browsers.join(Client())
    browsers.turns(5)
    for control, sent in (("Photograph", 2), ("Photographs", "training")):
        browsers.gui.made[control].change(sent)
        browsers.turns(5)
    assert browsers.session.at_view is None


def test_one_split_needs_no_choice_and_one_photograph_no_slider(browsers):
    browsers.session.attach_scene(photographs(train=1, test=0))
    browsers.join(Client())
    browsers.turns(5)
    made = browsers.gui.made
    assert [made[control].visible for control in ("Photographs", "Photograph", "Go to")] == [False, False, True]
    assert made["Photographs"].value == "training"


def test_figures_that_are_no_numbers_are_left_out(browsers):
    stats = replace(stats_of(browsers.session), psnr=math.nan)
    assert "PSNR not measured" in figures(stats)
    assert "nan" not in figures(stats)
    training = TrainingStats(
        "running", iteration=5, level=1, loss=math.nan, psnr=math.nan, rays_per_second=math.nan, seconds_left=math.inf
    )  # fmt: skip
    assert training_figures(training, "rank") == "**running**, iteration 5, rank 1"
    long = training_figures(replace(training, loss=0.5, seconds_left=4500.0), "rank")
    assert "loss 0.50000" in long
    assert "1:15:00 of training left" in long


def test_names_from_files_are_no_markup():
    text = plain("<script>alert('1')</script> **rank** [a](javascript:b) $x$ & `c`\n# d")
    assert not set(text) & set("<>*`[]()_\"'$!")
    assert "rank" in text


def test_presses_do_not_pile_up():
    client_events, button = ClientEvents(), Handle()
    client_events.count("next", button)
    for _ in range(1000):
        button.change(True)
    assert client_events.take().presses["next"] <= 20
    assert not client_events.take().presses


# Training


def test_training_goes_on_unwatched_and_draws_nothing(training):
    training.turns(20)
    assert training.session.trainer.iteration >= 20
    assert training.session._render.sizes == []
    assert training.slept == []


def test_watched_training_pauses_and_resumes(training):
    client = training.join(Client())
    training.turns(20)
    assert len(client.pictures) > 5
    button = training.gui.made["Pause"]
    button.change(True)
    training.turns(2)
    paused = training.session.trainer.iteration
    training.turns(20)
    assert training.session.trainer.iteration == paused
    assert button.label == "Resume"
    button.change(True)
    training.turns(20)
    assert training.session.trainer.iteration > paused
    assert button.label == "Pause"


@pytest.mark.parametrize("share", [*SHARE, 0.0, 1.0])
def test_whatever_share_was_set_has_a_place_on_the_slider(share):
    clock = Clock()
    session = Session(trainer=FakeTrainer(clock, steps=1000), render=FakeRender(clock), clock=clock)
    session.share = share
    server = start("127.0.0.1", 0)
    try:
        site = web.Site(server, studio_with(session), clock)
        site.turn()
        slider = site._panel._handles["share"]
        assert slider.min <= slider.value <= slider.max
    finally:
        server.stop()


def test_share_is_kept_in_its_range(training):
    training.join(Client())
    training.turns(3)
    for sent, share in ((0.5, 0.5), (7.0, SHARE[1]), (-1.0, SHARE[0]), (math.nan, SHARE[0])):
        training.gui.made["Share of time"].change(sent)
        training.turns(10)
        assert training.session.share == share
        assert training.gui.made["Share of time"].value == share


def test_training_is_not_held_up_by_a_browser_that_does_not_answer(training):
    client = training.join(Client(slow=True))
    training.turns(5)
    before, rendered = training.session.trainer.iteration, len(training.session._render.sizes)
    training.turns(50)
    assert len(training.session._render.sizes) == rendered
    assert training.session.trainer.iteration >= before + 10
    assert len(client.pictures) == 1


class Shelf(Studio):
    """A studio with one model, which the test reads and switches to when it likes."""

    reads, finished, started = None, False, 0

    @property
    def pending(self):
        return self.reads

    @property
    def ready(self):
        return self.finished

    def start(self):
        self.started += 1
        self.reads = Pending("loading lantern", 0.25)
        return True

    def switch(self):
        clock = Clock()
        self.session, self.finished, self.reads = self.made(clock), False, None
        return self.session

    def made(self, clock):
        return Session(FakeModel(), render=FakeRender(clock), clock=clock)


def test_page_without_anything_says_what_to_do_and_shows_what_is_read():
    studio = Shelf()
    browsers = Browsers(studio, Clock())
    client = browsers.join(Client(size=(640, 360)))
    browsers.turns(3)
    for word in ("Nothing is open", "run_viewer", "lantern"):
        assert word in browsers.texts()
    empty = client.pictures[-1]
    assert empty.shape == (360, 640, 3)
    assert empty.max() > 150  # it is written in the picture too
    bar, button = browsers.gui.made["add_progress_bar"], browsers.gui.made["Train"]
    assert not bar.visible
    assert not button.visible
    browsers.turns(20)
    assert len(client.pictures) == 1
    studio.reads = Pending("reading lego", 0.5)
    browsers.turns(3)
    assert "reading lego" in browsers.texts()
    assert (bar.visible, bar.value) == (True, 50.0)
    assert len(client.pictures) == 2
    assert (client.pictures[-1] != empty).any()
    studio.finished = True
    browsers.turns(30)
    assert "rank" in browsers.gui.made
    assert (client.pictures[-1] != client.pictures[1]).any()
    assert browsers.site._picture.any()


def test_scene_that_was_chosen_is_trained_by_a_button():
    studio = Shelf()
    studio.source = "builtin:lantern"
    browsers = Browsers(studio, Clock())
    browsers.join(Client())
    browsers.turns(3)
    assert "lantern: press Train" in browsers.texts()
    button = browsers.gui.made["Train"]
    assert button.visible
    button.change(True)
    browsers.turns(3)
    assert studio.started == 1
    assert "loading lantern" in browsers.texts()
    assert not button.visible


def test_what_cannot_be_opened_is_said():
    studio = Shelf()
    studio.say("there is no model in /nowhere", alarm=True)
    browsers = Browsers(studio, Clock())
    browsers.turns(3)
    assert "there is no model in /nowhere" in browsers.texts()


def test_another_session_takes_the_place_of_the_first():
    studio = Shelf()
    studio.switch()
    browsers = Browsers(studio, Clock())
    client = browsers.join(Client())
    browsers.turns(20)
    model = FakeModel(FakeField(num_levels=7))
    studio.made = lambda clock: Session(model, render=FakeRender(clock), clock=clock)
    studio.finished = True
    sent = len(client.pictures)
    browsers.turns(20)
    assert "of 7" in browsers.texts()
    assert len(client.pictures) > sent


# The server


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"taichi-rf\[web\]"):
        web.serve(None, stop=lambda: True)


def test_port_that_is_taken_and_host_that_is_not_ours_are_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"):
            web.serve(None, port=port, stop=lambda: True)
    for host, port in [("no such host", 8080), ("127.0.0.1", 99999), ("192.0.2.1", 8080)]:
        with pytest.raises(UserError, match=host):
            web.serve(None, host=host, port=port, stop=lambda: True)


@pytest.mark.parametrize(
    ("asked", "origin", "host", "foreign"),
    [
        ("localhost:8080", "http://localhost:8080", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", False),
        ("localhost:9999", "http://localhost:9999", "127.0.0.1", False),  # through a tunnel
        ("[::1]:8080", "http://[::1]:8080", "::1", False),
        ("localhost:8080", None, "127.0.0.1", False),
        ("localhost:8080", "http://localhost:3000", "127.0.0.1", True),
        ("127.0.0.1:8080", "https://evil.example", "127.0.0.1", True),
        ("localhost:8080", "null", "127.0.0.1", True),
        ("evil.example:8080", "http://evil.example:8080", "127.0.0.1", True),  # a name made to mean this computer
        ("gpu.example:8080", "http://gpu.example:8080", "gpu.example", False),
        ("gpu.example:8080", "http://gpu.example:8080", "0.0.0.0", True),  # a name that anybody may have
        ("gpu.example:8080", "https://evil.example", "0.0.0.0", True),
        ("", None, "127.0.0.1", True),
    ],
)
def test_pages_of_other_sites_are_told_apart(asked, origin, host, foreign):
    assert is_foreign(asked, origin, host) is foreign


@pytest.fixture
def server():
    server = start("127.0.0.1", 0)
    yield server
    server.stop()


def dial(server, **options):
    address = f"ws://127.0.0.1:{server.get_port()}"
    return connect(address, subprotocols=[f"viser-v{viser.__version__}"], compression=None, **options)


def camera_message(angle):
    position = [3 * math.cos(angle), 3 * math.sin(angle), 1.0]
    return msgspec.msgpack.encode({
        "type": "ViewerCameraMessage", "wxyz": [1.0, 0.0, 0.0, 0.0], "position": position, "fov": 0.7, "near": 0.1,
        "far": 10.0, "image_height": 120, "image_width": 160, "look_at": [0.0, 0.0, 0.0],
        "up_direction": [0.0, 0.0, 1.0],
    })  # fmt: skip


def test_server_turns_other_sites_away(server):
    with pytest.raises(InvalidStatus, match="403"):
        dial(server, origin="https://evil.example")
    dial(server, origin=f"http://127.0.0.1:{server.get_port()}").close()


def test_no_client_can_open_a_public_tunnel(server):
    with dial(server) as client:
        client.send(msgspec.msgpack.encode({"type": "ShareUrlRequest"}))
        client.send(camera_message(0.0))
        until(server.get_clients)
    assert server._share_tunnel is None


def test_no_client_can_send_files(server):
    slider = server.gui.add_slider("rank", 1, 4, 1, 1)
    heard = threading.Event()
    slider.on_update(lambda event: heard.set())
    uuid = slider._impl.uuid
    with dial(server) as client:
        client.send(camera_message(0.0))
        for message in (
            {
                "type": "FileTransferStartUpload", "source_component_uuid": uuid, "transfer_uuid": "a",
                "filename": "file", "mime_type": "text/plain", "part_count": 2, "size_bytes": 8,
            },
            {
                "type": "FileTransferPart", "source_component_uuid": uuid, "transfer_uuid": "a", "part_index": 0,
                "content": b"1234",
            },
            {"type": "GuiUpdateMessage", "uuid": uuid, "updates": {"value": 3}},
        ):  # fmt: skip
            client.send(msgspec.msgpack.encode(message))
        assert heard.wait(PATIENCE)  # messages are handled in their order
    assert not server.gui._current_file_upload_states
    for kind in (_messages.FileTransferStartUpload, _messages.FileTransferPart):
        assert not server._websock_server._incoming_handlers.get(kind)


def until(there):
    """Wait for something to be so."""
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_real_client_that_never_answers_grows_no_queue(server, monkeypatch):
    """It steers all the time and is sent a picture each time; only one is ever on its way."""
    monkeypatch.setattr(frame_sender, "compressed", JPEG)
    clock = Clock()
    site = web.Site(server, studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)))
    with dial(server, max_size=None) as client:
        client.send(camera_message(0.0))
        until(server.get_clients)
        for turn in range(60):
            client.send(camera_message(0.1 * turn))
            site.turn()
            time.sleep(0.01)
        (handle,) = server.get_clients().values()
        assert len(handle._websock_connection.get_message_buffer().message_from_id) <= 2
        received = []
        with contextlib.suppress(TimeoutError):
            while True:
                received.append(client.recv(timeout=0.5))
        assert sum(b"\xff\xd8\xff" in message for message in received) == 1  # the first bytes of a JPEG
    until(lambda: not server.get_clients())
    site.turn()
    assert not site._visitors


def test_messages_that_mean_nothing_harm_nobody(server):
    clock = Clock()
    site = web.Site(server, studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)))
    with dial(server) as good:
        good.send(camera_message(0.0))
        until(server.get_clients)
        for rubbish in (b"\x00rubbish", "text", msgspec.msgpack.encode({"type": "NoSuchMessage"})):
            with contextlib.suppress(Exception), dial(server) as bad:
                bad.send(rubbish)
                bad.recv(timeout=0.2)
        for _ in range(20):
            site.turn()
        assert len(site._visitors) == 1


def test_serve_trains_and_ends_frees_the_port_and_prints_nothing(capfd):
    clock = Clock()
    session = Session(trainer=FakeTrainer(clock, steps=1000), render=FakeRender(clock), clock=clock)
    turns, addresses = iter(range(5)), []
    web.serve(studio_with(session), port=0, stop=lambda: next(turns, None) is None, ready=addresses.append)
    assert session.trainer.iteration > 0
    assert session.trainer.saved == 0  # that is for the studio's owner to do
    assert_closed(addresses[0])
    assert capfd.readouterr() == ("", "")


def assert_closed(address):
    port = int(address.rpartition(":")[2])
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def test_training_that_fails_is_said_and_the_page_stays(training):
    training.session.trainer.fails_at = 3
    training.turns(10)
    training.join(Client())
    training.turns(10)
    assert "loss is not a number" in training.texts()
    assert training.gui.made["Pause"].disabled


def test_ctrl_c_goes_through_with_the_server_down():
    clock, addresses = Clock(), []
    session = Session(FakeModel(), render=FakeRender(clock), clock=clock)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        web.serve(studio_with(session), port=0, stop=stop, ready=addresses.append)
    assert_closed(addresses[0])


def test_a_model_on_its_way_is_shown_as_it_comes_and_the_slider_ends_where_it_ends(monkeypatch):
    monkeypatch.setattr(growing, "put", lambda model, part: None)
    monkeypatch.setattr(growing, "rehearsal", lambda model, outline: iter(()))
    clock, incoming = Clock(), SimpleNamespace(
        outline=SimpleNamespace(levels=4), parts=[], over=False, error=None, warning=None,
        progress=Progress(0, 4, 900, 9000, 0.4, 1e5, None, False),
    )  # fmt: skip
    session = Session(FakeModel(), render=FakeRender(clock), clock=clock, incoming=incoming)
    browsers = Browsers(studio_with(session), clock)
    client = browsers.join(Client(size=(320, 180)))
    browsers.turns(30)
    waiting = client.pictures[-1]
    assert np.ptp(waiting) > 100  # something is there to read
    sent = len(client.pictures)
    for received in range(910, 940):
        incoming.progress = replace(incoming.progress, received=received)
        browsers.turns()
    assert len(client.pictures) == sent  # bytes alone are no reason for another picture
    slider = browsers.gui.made["rank"]
    for level in (1, 2):
        incoming.parts.append(SimpleNamespace(level=level))
        incoming.progress = replace(incoming.progress, levels=level)
        browsers.turns(60)
        assert slider.value == level
        assert f"rank {level} of 4" in browsers.texts()
    assert not np.array_equal(client.pictures[-1], waiting)
    incoming.over, incoming.warning = True, "level 3 is damaged"
    browsers.turns(60)
    assert (slider.value, slider.max) == (2, 2)
    assert session.message.text == "level 3 is damaged"
