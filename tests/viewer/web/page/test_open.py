"""What pages may have opened, and what opening and training from a page comes to."""

from __future__ import annotations

import pytest

from taichi_rf.core.errors import UserError
from tests.tiny import write_tiny_scene
from tests.viewer.web.browsers import Browsers, Client, studio_with
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.app.settings import Settings
from viewer.app.studio import Pending, Studio
from viewer.session.session import Session
from viewer.web.page.places import UP, Places

pytestmark = pytest.mark.usefixtures("lossless")


class Desk(Studio):
    """A studio that notes what it is asked to open and to train."""

    reads = None

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.opened, self.started, self.cancelled = [], 0, 0

    @property
    def pending(self):
        return self.reads

    def open(self, what):
        self.opened.append(str(what))
        return True

    def start(self):
        self.started += 1
        return True

    def cancel(self):
        self.cancelled += 1
        self.reads = None


@pytest.fixture
def root(tmp_path):
    write_tiny_scene(tmp_path / "data" / "balls")
    (tmp_path / "secret").mkdir()
    (tmp_path / "data" / "out").symlink_to(tmp_path / "secret")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name", ["../secret", "out", "/etc", "balls/../../secret", "a\0b", "~root", "https://host/x.trf"]
)
def test_no_page_leads_out_of_the_folder(root, name):
    places = Places(root)
    try:
        path = places.found(name)
    except UserError:
        return
    assert path.is_relative_to(root)
    assert not path.exists()  # a name like any other, of which there is nothing


def test_without_a_folder_nothing_can_be_opened():
    with pytest.raises(UserError, match="--browse"):
        Places(None).found("balls")


def test_the_list_has_scenes_runs_what_was_opened_and_the_folder(root, tmp_path):
    studio = Desk(runs=tmp_path / "runs", settings=Settings(recent=("/models/old.trf",)))
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "model.trf").touch()
    entries = Places(root).entries(studio, root)
    for label in ("lantern (built-in scene)", "/models/old.trf (recent)", "balls (scene)", "first (run, "):
        assert any(entry.startswith(label) for entry in entries), label
    assert UP not in entries
    (root / "deep").mkdir()
    assert Places(root).entries(studio, root / "deep")[UP] == root


@pytest.fixture
def desk(root, tmp_path):
    studio = Desk(runs=tmp_path / "runs")
    browsers = Browsers(studio, Clock(), root=root)
    browsers.join(Client())
    browsers.turns(3)
    return browsers


def test_a_page_opens_what_is_chosen_or_written(desk, root):
    made = desk.gui.made
    assert "lantern (built-in scene)" in made["Open"].options
    made["Open"].change("lantern (built-in scene)")
    made["Open it"].change(True)
    desk.turns(5)
    made["or a path"].change("balls")
    made["Open it"].change(True)
    desk.turns(5)
    assert desk.studio.opened == ["lantern", str(root / "balls")]
    made["or a path"].change("../secret")
    made["Open it"].change(True)
    desk.turns(5)
    assert "only what lies in" in desk.texts()
    made["Open"].change("the moon")
    desk.turns(5)
    assert made["Open"].value == "lantern (built-in scene)"
    assert len(desk.studio.opened) == 2


def test_a_folder_is_looked_into_and_left_again(desk, root):
    (root / "deep").mkdir()
    made = desk.gui.made
    desk.clock.spend(60)
    desk.turns(3)
    made["Open"].change("deep (folder)")
    desk.turns(5)
    assert UP in made["Open"].options
    assert made["Open"].value == "choose here"
    made["Open"].change(UP)
    desk.turns(5)
    assert "balls (scene)" in made["Open"].options


def test_a_scene_is_trained_as_chosen_and_that_can_be_cancelled(desk, root):
    made, studio = desk.gui.made, desk.studio
    studio.source = str(root / "balls")
    desk.turns(20)
    assert all(made[name].visible for name in ("Preset", "Method", "Images", "Time", "Train"))
    made["Preset"].change("balanced")
    made["Images"].change("1/4 of their size")
    made["Time"].change("5 min")
    made["Method"].change("no such method")
    made["Train"].change(True)
    desk.turns(5)
    assert (studio.preset, studio.downscale, studio.max_seconds, studio.started) == ("balanced", 4, 300.0, 1)
    assert made["Method"].value == studio.method == "slimmerf"
    studio.reads = Pending("loading balls", 0.5)
    desk.turns(20)
    assert "loading balls" in desk.texts()
    assert (made["add_progress_bar"].visible, made["add_progress_bar"].value) == (True, 50.0)
    made["Cancel"].change(True)
    desk.turns(20)
    assert studio.cancelled == 1
    assert not made["Cancel"].visible
    studio.preview.forget()


def test_where_pages_may_open_nothing_there_is_nothing_to_choose():
    clock = Clock()
    browsers = Browsers(studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)), clock)
    browsers.join(Client())
    browsers.turns(3)
    assert not {"Open", "or a path", "Open it", "Train"} & browsers.gui.made.keys()
