"""The panels, drawn into a notebook instead of a window: what they say fits, and what is done to them is done."""

from __future__ import annotations

import contextlib

import pytest

from taichi_rf.errors import UserError
from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from viewer.panels import Panels
from viewer.session import Session

LETTER, PADDING = 7, 8  # pixels, of GGUI's font and ImGui's panels


class Notebook:
    """Notes what is drawn; ``slide`` is where the user puts the slider, ``click`` whether buttons are pressed."""

    def __init__(self, slide: int | None = None, click: bool = False):
        self.slide, self.click = slide, click
        self.texts: list[str] = []
        self.panels: list[tuple[str, float, float, float, float]] = []
        self.room = 0.0

    @contextlib.contextmanager
    def sub_window(self, name, x, y, width, height):
        self.panels.append((name, x, y, width, height))
        self.room = width
        yield self

    def slider_int(self, text, value, low, high):
        self.texts.append(text)
        return value if self.slide is None else self.slide

    def text(self, text, color=None):
        self.texts.append(text)
        assert len(text) * LETTER <= self.room * 1280 - 2 * PADDING, f"too long: {text}"

    def button(self, text):
        self.texts.append(text)
        return self.click


def draw(
    session: Session, panels: Panels | None = None, notebook: Notebook | None = None, size=(1280, 720)
) -> Notebook:
    notebook = notebook or Notebook()
    (panels or Panels()).draw(notebook, session, *size)
    return notebook


def session_of_model(**metadata) -> Session:
    model = FakeModel()
    model.metadata.update(metadata)
    return Session(model, render=FakeRender(Clock()))


def session_in_training(**arguments) -> Session:
    clock = Clock()
    return Session(trainer=FakeTrainer(clock, **arguments), render=FakeRender(clock), clock=clock)


def test_level_bytes_and_psnr_are_said():
    session = session_of_model()
    session.set_level(2)
    texts = "\n".join(draw(session).texts)
    assert "rank" in texts
    assert "0.50 MB" in texts
    assert "25.00 dB" in texts


@pytest.mark.parametrize(("slide", "level"), [(1, 1), (3, 3), (99, 4), (-7, 1)])
def test_slider_sets_the_level_and_cannot_leave_the_model(slide, level):
    session = session_of_model()
    draw(session, notebook=Notebook(slide=slide))
    assert session.level == level


def test_button_pauses_the_training():
    session = session_in_training()
    assert "Pause training" in draw(session, notebook=Notebook(click=True)).texts
    assert not session.training
    assert "Resume training" in draw(session).texts


def test_figures_of_a_long_training_fit():
    session = session_in_training(steps=10_000_000)
    session.trainer.iteration = 9_999_999
    session._figures = {"loss": 12345.678901, "psnr": -40.9, "rays_per_second": 123_456_789.0}
    draw(session)


def test_long_failure_is_broken_into_lines_that_fit():
    session = session_in_training()
    session.failure = UserError("the loss became not a number at iteration 123, in a/very/long/path/" + "x" * 200)
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


def test_help_is_in_the_middle_and_clear_of_the_figures():
    panels, notebook = Panels(), Notebook()
    panels.help = True
    panels.draw(notebook, session_in_training(), 1280, 720)
    (_, x, y, width, height), (_, left, top, across, down) = notebook.panels
    assert left + across / 2 == pytest.approx(0.5, abs=0.01)
    assert top + down / 2 == pytest.approx(0.5, abs=0.01)
    assert x + width < left or y + height < top


def test_panels_know_what_they_cover():
    panels = Panels()
    draw(session_of_model(), panels)
    assert panels.covers(100, 60)
    assert not panels.covers(640, 360)
    panels.help = True
    draw(session_of_model(), panels)
    assert panels.covers(640, 360)
    panels.hidden = True
    draw(session_of_model(), panels)
    assert not panels.covers(100, 60)


def test_sliver_of_a_window_has_no_panels():
    for size in [(1, 1), (100, 700), (1280, 10)]:
        assert draw(session_of_model(), size=size).panels == []


def test_panel_is_laid_out_anew_when_the_window_its_height_or_its_place_changed():
    panels, session, training = Panels(), session_of_model(), session_in_training()
    names = [draw(session, panels).panels[0][0], draw(session, panels).panels[0][0]]
    assert names[0] == names[1]
    names.append(draw(session, panels, size=(1000, 700)).panels[0][0])
    names.append(draw(training, panels).panels[0][0])
    panels.put_back()
    names.append(draw(session, panels).panels[0][0])
    assert len(set(names)) == 4
