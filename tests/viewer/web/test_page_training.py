"""Training under a page: watched, paused, left alone; and pages that wait for something to show."""

from __future__ import annotations

import math

import pytest

from tests.capture_files import write_nerfstudio
from tests.viewer.web.browsers import Browsers, Client, studio_with
from tests.viewer_fakes import Clock, FakeField, FakeModel, FakeRender, FakeTrainer
from tests.web_client import camera, dial
from viewer.app.studio import Pending, Studio
from viewer.session.session import Session
from viewer.session.subject import SHARE
from viewer.web import site as web
from viewer.web.server import start

pytestmark = pytest.mark.usefixtures("lossless")


def test_training_goes_on_unwatched_and_draws_nothing(training):
    training.turns(20)
    assert training.session.trainer.iteration >= 20
    assert training.session.subject.render.sizes == []
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
        with dial(server.get_port()) as page:
            page.send(camera())
            while not site._visitors:
                site.turn()
            slider = next(iter(site._visitors.values())).page._controls._handles["share"]
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
    before, rendered = training.session.trainer.iteration, len(training.session.subject.render.sizes)
    training.turns(50)
    assert len(training.session.subject.render.sizes) == rendered
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
    assert browsers.first._picture.any()


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


def test_a_scene_that_was_chosen_is_shown_before_it_is_trained(tmp_path):
    write_nerfstudio(tmp_path)
    studio = Shelf()
    studio.choose(tmp_path)
    browsers = Browsers(studio, Clock())
    browsers.join(Client())
    browsers.turns(3)
    image = browsers.gui.made["add_image"]
    assert not image.visible
    studio.preview._since = -1.0  # the choice has stood for long
    browsers.turns(1)
    assert studio.preview._reading.wait(60)
    browsers.turns(1)
    assert studio.preview._drawing.wait(60)
    browsers.turns(3)
    assert image.visible
    assert image.image.shape[1:] == (640, 3)
    assert "background" in browsers.texts()
    studio.preview.forget()


def test_what_cannot_be_opened_is_said():
    studio = Shelf()
    studio.say("there is no model in /nowhere", alarm=True)
    browsers = Browsers(studio, Clock())
    browsers.join(Client())
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
