"""The panels, drawn into a notebook instead of a window: what they say fits, and what is done to them is done."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from tests.capture_files import write_nerfstudio
from tests.tiny import tiny_scene, write_tiny_scene
from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from viewer.app import studio as studios
from viewer.app.loading import Plan
from viewer.app.studio import Studio
from viewer.desktop.menu import PAGES, Chooser
from viewer.desktop.pages import KEYS
from viewer.desktop.panels import Panels
from viewer.desktop.rows import Button, Rectangle, Slider, Text, panel_height
from viewer.session import budget
from viewer.session.session import Session

LETTER, PADDING = 7, 8  # pixels, of GGUI's font and ImGui's panels


class Notebook:
    """Notes what is drawn; ``slide`` is where the user puts the ``slider`` (or the first), ``press`` a button."""

    def __init__(self, slide: int | None = None, press: str = "", slider: str = ""):
        self.slide, self.press, self.slider = slide, press, slider
        self.texts: list[str] = []
        self.panels: list[tuple[str, float, float, float, float]] = []
        self.room, self.across = 0.0, 1280

    @contextlib.contextmanager
    def sub_window(self, name, x, y, width, height):
        self.panels.append((name, x, y, width, height))
        self.room = width
        yield self

    def slider_int(self, text, value, low, high):
        self.texts.append(text)
        assert low <= value <= high
        if not text.startswith(self.slider):
            return value
        slide, self.slide = self.slide, None
        return value if slide is None else slide

    def text(self, text, color=None):
        self.texts.append(text)
        assert len(text) * LETTER <= self.room * self.across - 2 * PADDING, f"too long: {text}"

    def button(self, text):
        self.texts.append(text)
        assert (len(text) + 2) * LETTER <= self.room * self.across - 2 * PADDING, f"too long: {text}"
        return bool(self.press) and text.startswith(self.press)


def studio_of(session: Session | None) -> Studio:
    studio = Studio(arch="cpu", runs=Path("nowhere"))
    studio.session = session
    return studio


def draw(
    session: Session | Studio | None, panels: Panels | None = None, notebook: Notebook | None = None, size=(1280, 720)
) -> Notebook:
    notebook = notebook or Notebook()
    studio = session if isinstance(session, Studio) else studio_of(session)
    notebook.across = size[0]
    (panels or Panels()).draw(notebook, studio, *size)
    return notebook


def press(session: Session | Studio | None, panels: Panels, *labels: str) -> None:
    """Press buttons one after the other; each has to be there."""
    for label in labels:
        notebook = draw(session, panels, Notebook(press=label))
        assert any(text.startswith(label) for text in notebook.texts), (label, notebook.texts)


def session_of_model(**metadata) -> Session:
    model = FakeModel()
    model.metadata.update(metadata)
    return Session(model, render=FakeRender(Clock()))


def session_in_training(**arguments) -> Session:
    clock = Clock()
    return Session(trainer=FakeTrainer(clock, **arguments), render=FakeRender(clock), clock=clock)


def test_where_a_scene_lies_is_chosen_on_a_page_of_its_own(tmp_path):
    write_nerfstudio(tmp_path)
    studio, panels = studio_of(None), Panels()
    studio.choose(tmp_path)
    studio.place(World(space="box"))
    studio.look()
    studio.preview._since = -1.0  # the choice has stood for long
    studio.look()
    assert studio.preview._reading is not None
    assert studio.preview._reading.wait(60)
    heights = [draw(studio, panels).panels[0][4]]
    press(studio, panels, "Where the scene lies")
    heights.append(draw(studio, panels).panels[0][4])
    assert "box from -1.5, -1.5, -1.5" in draw(studio, panels).texts
    press(studio, panels, "Up: auto", "Up: x", "Format: as recognised")
    draw(studio, panels, Notebook(slide=50, slider="% scale"))
    assert studio.world == World(up="y", format="blender", scale=0.5, space="box")
    studio.look()  # the scene is another, and no longer there
    assert studio.preview.scene is None
    assert draw(studio, panels).panels[0][4] == heights[1]
    panels.menu.page = None
    assert draw(studio, panels).panels[0][4] == heights[0]
    panels.menu.page = "place"
    press(studio, panels, "As it is by itself")
    assert studio.world == World()
    press(studio, panels, "Space: auto")
    assert studio.world == World(space="box")
    studio.look()
    studio.preview._since = -1.0
    studio.look()
    assert studio.preview._reading.wait(60)
    draw(studio, panels, Notebook(slide=80, slider="% box"))
    assert studio.world == World(space="box", box=(-1.2, -1.2, -1.2, 1.2, 1.2, 1.2))
    press(studio, panels, "< back")
    assert panels.menu.page == "open"
    studio.preview.forget()


def test_level_bytes_and_psnr_are_said():
    session = session_of_model()
    session.levels.choose(2)
    texts = "\n".join(draw(session).texts)
    assert "rank" in texts
    assert "0.50 MB" in texts
    assert "25.00 dB" in texts


@pytest.mark.parametrize(("slide", "level"), [(1, 1), (3, 3), (99, 4), (-7, 1)])
def test_slider_sets_the_level_and_cannot_leave_the_model(slide, level):
    session = session_of_model()
    draw(session, notebook=Notebook(slide=slide))
    assert session.level == level


@pytest.mark.parametrize(
    ("kilobytes", "level", "said"), [(499, 1, 499), (500, 2, 500), (99_999, 4, 1000), (-7, 1, 250)]
)
def test_bytes_can_be_chosen_and_the_level_follows(kilobytes, level, said):
    session = session_of_model()
    draw(session, notebook=Notebook(slide=kilobytes, slider="kB at most"))
    assert session.level == level
    assert budget.kilobytes(session.levels) == (250, 1000, said)


def test_one_level_leaves_no_bytes_to_choose():
    session = session_in_training()  # it has one rank yet
    assert "kB at most" not in draw(session).texts


def test_button_pauses_the_training():
    session = session_in_training()
    press(session, Panels(), "Pause training")
    assert not session.training
    assert "Resume training" in draw(session).texts


def test_figures_of_a_long_training_fit():
    session = session_in_training(steps=10_000_000)
    session.trainer.iteration = 9_999_999
    session.learning.figures = {"loss": 12345.678901, "psnr": -40.9, "rays_per_second": 123_456_789.0}
    draw(session)


def test_long_failure_is_broken_into_lines_that_fit():
    session = session_in_training()
    session.learning.failure = UserError(
        "the loss became not a number at iteration 123, in a/very/long/path/" + "x" * 200
    )
    notebook = draw(session)
    assert any("not a number" in text for text in notebook.texts)
    assert not any("training" in text and "Pause" in text for text in notebook.texts)


@pytest.mark.parametrize("name", ["", None, 7, "ünïcode", "蓮", "a###b", "x" * 500, "100 %s %n"])
def test_any_scene_name_makes_a_title_that_the_font_has(name):
    notebook = draw(session_of_model(scene=name))
    title, _, identity = notebook.panels[0][0].partition("###")
    assert identity
    assert "#" not in identity
    assert len(title) <= 40
    title.encode("latin-1")


def test_every_key_is_on_the_page_of_keys_and_fits():
    panels = Panels()
    panels.menu.turn_to("help")
    texts = draw(session_in_training(), panels).texts
    assert all(any(text.startswith(key) and text.endswith(meaning) for text in texts) for key, meaning in KEYS)


def test_panels_lie_below_each_other_within_the_window():
    for page in (None, *PAGES):
        for size in [(1280, 720), (1920, 1080), (700, 400)]:
            panels = Panels()
            panels.menu.page = page
            notebook = draw(session_in_training(), panels, size=size)
            bottom = 0.0
            for _, x, y, width, height in notebook.panels:
                assert y >= bottom
                assert x + width <= 1
                bottom = y + height
            assert bottom <= 1 or len(notebook.panels) == 1
            if page == "look":
                assert "< back" in notebook.texts
            assert panels.extent == pytest.approx((12 + 304, bottom * size[1]), abs=1)


def test_rows_are_where_they_are_drawn():
    rows = [Text("a"), Slider("b", 1, 1, 4, print), Button("c", print)]
    assert panel_height(rows) == 19 + 8 + (13 + 4) + (19 + 4) + 19 + 8
    place = Rectangle(12, 12, 304, panel_height(rows))
    slider = rows[1].place(place, 12 + rows[0].height)
    assert (slider.x, slider.y, slider.height) == (20, 12 + 19 + 8 + 17, 19)


def test_panels_know_what_they_cover():
    panels = Panels()
    draw(session_of_model(), panels)
    assert panels.covers(100, 60)
    assert not panels.covers(640, 360)
    panels.menu.hidden = True
    draw(session_of_model(), panels)
    assert not panels.covers(100, 60)


def test_sliver_of_a_window_has_no_panels():
    for size in [(1, 1), (100, 700), (1280, 10)]:
        assert draw(session_of_model(), size=size).panels == []


def test_panel_is_laid_out_anew_when_the_window_or_its_place_changed():
    panels, session = Panels(), session_of_model()
    names = [draw(session, panels).panels[0][0], draw(session, panels).panels[0][0]]
    assert names[0] == names[1]
    names.append(draw(session, panels, size=(1000, 700)).panels[0][0])
    panels.put_back()
    names.append(draw(session, panels).panels[0][0])
    assert len(set(names)) == 3


# Pages


def test_looking_page_does_what_it_says():
    clock = Clock()
    session, panels = Session(FakeModel(), scene=tiny_scene(), render=FakeRender(clock), clock=clock), Panels()
    press(session, panels, "Look", "Mode: colour", "Next photograph", "Compare: nothing", "Layout: wipe", "Drag: orbit")
    assert (session.mode, session.at_view.split, session.compare, session.layout) == (
        "depth",
        "test",
        "level",
        "beside",
    )
    assert session.viewpoint.flying
    press(session, panels, "Test or training", "First view", "< back", "Demonstration")
    assert session.demo
    assert draw(session, panels).panels == []  # hidden for the audience


def test_second_slider_is_there_when_levels_are_compared():
    session = session_of_model()
    assert "right rank" not in draw(session).texts
    session.set_compare("level")
    assert "right rank" in draw(session).texts


def test_keeping_page_writes_where_the_session_keeps_things(tmp_path):
    session, panels = session_of_model(scene="a b/c"), Panels()
    session.keeper.folder = tmp_path
    press(
        session, panels, "Keep", "Camera as JSON", "Add keyframe 1", "Add keyframe 2", "Save the path", "Picture, 1280"
    )
    assert session.recording is not None
    press(session, panels, "Cancel the picture")
    assert session.recording is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera.json", "camera_path.json"]


def test_scene_is_chosen_by_looking_into_folders(tmp_path):
    write_tiny_scene(tmp_path / "data" / "balls")
    (tmp_path / "data" / "empty").mkdir()
    studio, panels = studio_of(None), Panels(Chooser(tmp_path))
    press(studio, panels, "data/", "empty/", ".. (up)", "balls (scene)")
    assert Path(studio.source) == tmp_path / "data" / "balls"
    press(studio, panels, "Preset: quick", "Method: slimmerf", "Images: 1/2")
    assert (studio.preset, studio.method, studio.downscale) == ("balanced", "vqad", 4)
    draw(studio, panels, Notebook(slide=5))
    assert studio.max_seconds == 300
    draw(studio, panels, Notebook(slide=0))
    assert studio.max_seconds is None


@pytest.mark.parametrize("readable", [True, False])
def test_page_is_closed_once_a_model_is_opened_however_fast_it_is_read(tmp_path, monkeypatch, readable):
    def read(path, loading):
        if not readable:
            raise UserError("broken")
        return Plan(str(path))

    class Swift(Studio):
        def _ask(self, loading):
            super()._ask(loading)
            while not loading.wait(1.0):
                pass

    monkeypatch.setattr(studios, "plan_model", read)
    (tmp_path / "small.trf").write_bytes(b"TRF")
    studio, panels = Swift(arch="cpu", runs=Path("nowhere")), Panels(Chooser(tmp_path))
    studio.session = session_of_model()
    panels.menu.page = "open"
    press(studio, panels, "small.trf (model)")
    assert studio.ready == readable
    assert panels.menu.page == (None if readable else "open")


def test_long_folders_are_paged_and_fit(tmp_path):
    for number in range(60):
        (tmp_path / f"folder {number:02} {'x' * 80}").mkdir()
    studio, panels, seen = studio_of(None), Panels(Chooser(tmp_path)), set()
    for _ in range(8):
        notebook = draw(studio, panels, Notebook(press="more (60"))
        assert notebook.panels[0][2] + notebook.panels[0][4] <= 1
        seen |= {text for text in notebook.texts if text.endswith("/") and "x" in text}
    assert len(seen) >= 1
    assert panels.menu.chooser.first < 60


def test_entries_that_look_alike_can_all_be_pressed(tmp_path):
    for name in ("蓮蓮", "花花", "x" * 60 + "a" * 40, "y" * 60 + "a" * 40):
        (tmp_path / name).mkdir()
    texts = draw(studio_of(None), Panels(Chooser(tmp_path))).texts
    assert len(texts) == len(set(texts))
    assert "??/ (2)" in texts


def test_any_photograph_is_one_slide_away():
    clock = Clock()
    session, panels = Session(FakeModel(), scene=tiny_scene(), render=FakeRender(clock), clock=clock), Panels()
    press(session, panels, "Look", "Test or training")
    notebook = Notebook()
    notebook.slider_int = lambda text, value, low, high: (
        notebook.texts.append(text),
        6 if text == "photograph" else value,
    )[1]
    draw(session, panels, notebook)
    assert (session.at_view.split, session.at_view.index) == ("train", 5)


def test_a_folder_that_cannot_be_read_is_said():
    texts = draw(studio_of(None), Panels(Chooser(Path("/nonexistent/folder")))).texts
    assert any("cannot be read" in text for text in texts)
