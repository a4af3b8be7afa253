"""The panel of a page: controls set the session, figures follow, and what makes no sense is put back."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from taichi_rf.kernels.rays import Cameras, look_at
from tests.viewer.web.browsers import Client, Handle
from tests.viewer_fakes import Views
from viewer.overlay.stats import PictureTime, SceneView, TrainingStats
from viewer.session.stats import stats_of
from viewer.web.client_events import ClientEvents
from viewer.web.page.figures import figures, plain, training_figures

pytestmark = pytest.mark.usefixtures("lossless")


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
    browsers.join(Client())
    browsers.turns()
    browsers.gui.made["rank"].change(1, client_id=None)
    browsers.turns()
    assert browsers.session.level == 4


def test_comparison_demo_modes_and_first_view(browsers):
    client = browsers.join(Client())
    browsers.settle()
    session, made = browsers.session, browsers.gui.made
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
    browsers.join(Client())
    browsers.turns(5)
    session, made = browsers.session, browsers.gui.made
    for control in ("Photographs", "Photograph", "Go to"):
        assert not made[control].visible
    session.subject.scene = photographs(train=30, test=8)
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
    browsers.join(Client())
    browsers.turns(5)
    session, made = browsers.session, browsers.gui.made
    session.subject.scene = photographs(train=30, test=8)
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
    browsers.session.subject.scene = photographs(train=1, test=0)
    browsers.join(Client())
    browsers.turns(5)
    made = browsers.gui.made
    assert [made[control].visible for control in ("Photographs", "Photograph", "Go to")] == [False, False, True]
    assert made["Photographs"].value == "training"


def test_the_divider_moves_also_when_the_picture_is_complete(browsers):
    browsers.join(Client())
    browsers.settle()
    browsers.gui.made["Compare with"].change("another level")
    browsers.settle()
    assert stats_of(browsers.session).compare.divider == pytest.approx(0.5, abs=0.02)
    browsers.gui.made["Divider"].change(0.1)
    browsers.settle()
    assert stats_of(browsers.session).compare.divider == pytest.approx(0.1, abs=0.02)


def test_the_lines_above_the_slider_are_always_as_many_and_short(browsers):
    """Else the slider would move under a hand when the picture becomes sharp or a photograph is gone to."""
    stats = stats_of(browsers.session)
    timed = PictureTime(2, 123.456, measured=False)
    states = [replace(stats, divisor=divisor, picture=picture) for divisor in (1, 16) for picture in (None, timed)]
    lines = [figures(replace(state, view=SceneView("test", 0, "r_0", 3))).split("\n\n") for state in states]
    assert {len(some) for some in lines} == {4}
    assert max(len(line) for some in lines for line in some[2:]) < 36  # what the panel's width takes


def test_figures_that_are_no_numbers_are_left_out(browsers):
    stats = replace(stats_of(browsers.session), psnr=math.nan)
    assert "PSNR not known" in figures(stats)
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
    client_events.count(1, "next", button)
    for _ in range(1000):
        button.change(True)
    assert client_events.take().deeds[1].presses["next"] <= 20
    assert not client_events.take().deeds
