"""The panels, without a window: what they say, where they are, and that what is done to them is done."""

from __future__ import annotations

import itertools

import pytest

from taichi_rf.core.errors import UserError
from tests.tiny import tiny_scene
from tests.viewer.desktop.hands import draw, place, press, session_in_training, session_of_model, slide, texts
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.desktop.menu import PAGES
from viewer.desktop.pages import KEYS
from viewer.desktop.panels import Panels
from viewer.overlay import panel_cards
from viewer.overlay.panel_cards import _row as draw_row
from viewer.session import budget
from viewer.session.session import Session


def test_level_bytes_and_psnr_are_said():
    session = session_of_model()
    session.levels.choose(2)
    said = texts(draw(session))
    assert {"rank", "size 0.50 MB", "PSNR 25.00 dB"} <= set(said)
    session.model.metadata["coding_loss"] = [0.25] * 4
    assert "PSNR ≈ 24.8 dB" in texts(draw(session))
    session.model.metadata.clear()
    assert "PSNR not known" in texts(draw(session))


@pytest.mark.parametrize(("share", "level"), [(0.1, 1), (0.6, 3), (9.0, 4), (-7.0, 1)])
def test_slider_sets_the_level_and_cannot_leave_the_model(share, level):
    session = session_of_model()
    slide(session, Panels(), "rank", share)
    assert session.level == level


@pytest.mark.parametrize(
    ("share", "level", "said"), [(0.332, 1, 499), (0.3334, 2, 500), (9.0, 4, 1000), (-7.0, 1, 250)]
)
def test_bytes_can_be_chosen_and_the_level_follows(share, level, said):
    session = session_of_model()
    slide(session, Panels(), "kB at most", share)
    assert session.level == level
    assert budget.kilobytes(session.levels) == (250, 1000, said)


def test_one_level_leaves_no_bytes_to_choose():
    session = session_in_training()  # it has one rank yet
    assert "kB at most" not in texts(draw(session))


def test_button_pauses_the_training():
    session = session_in_training()
    panels = Panels()
    press(session, panels, "Pause training")
    assert not session.training
    assert "Resume training" in texts(panels)


def test_a_button_that_the_mouse_leaves_is_not_pressed():
    session, panels = session_in_training(), Panels()
    where = place(draw(session, panels), "Pause training")
    panels.press(where.x + 5, where.y + 5)
    draw(session, panels)
    panels.release(where.x + 5, where.y + 300)
    assert session.training


def test_long_failure_is_broken_into_lines_that_fit():
    session = session_in_training()
    session.learning.failure = UserError(
        "the loss became not a number at iteration 123, in a/very/long/path/" + "x" * 200
    )
    said = texts(draw(session))
    assert any("not a number" in text for text in said)
    assert not any("training" in text and "Pause" in text for text in said)


@pytest.mark.parametrize("name", ["", None, 7, "ünïcode", "蓮", "a###b", "x" * 500, "100 %s %n"])
def test_any_scene_name_makes_a_title(name):
    panels = draw(session_of_model(scene=name))
    assert panels.cards[0].pixels.shape[1] == panels.placed[0].title.width


def test_every_key_is_on_the_page_of_keys():
    panels = Panels()
    panels.menu.turn_to("help")
    said = texts(draw(session_in_training(), panels))
    assert {f"{key} {meaning}" for key, meaning in KEYS} <= set(said)


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (700, 400), (640, 360), (3840, 2160)])
@pytest.mark.parametrize("page", [None, *PAGES])
def test_panels_lie_below_each_other_within_the_window(page, size):
    panels = Panels()
    panels.menu.page = page
    draw(session_in_training(), panels, size)
    boxes = [placed.box for placed in panels.placed]
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= size[0]
        assert box.y + box.height <= size[1]
    for a, b in itertools.combinations(boxes, 2):
        assert a.y + a.height <= b.y or a.x + a.width <= b.x
    assert panels.extent == (max(b.x + b.width for b in boxes), max(b.y + b.height for b in boxes))
    if page == "look":
        assert "< back" in texts(panels)


def test_what_has_no_room_is_folded_and_opens_with_a_click_on_its_title():
    session, panels, size = session_in_training(), Panels(), (640, 360)

    def folded() -> dict[str, bool]:
        return {placed.panel.key: placed.folded for placed in draw(session, panels, size).placed}

    assert folded() == {"level": False, "training": True, "menu": False}
    press(session, panels, "Training", size=size)
    assert not folded()["training"]
    assert folded()["menu"]
    press(session, panels, "Training", size=size)
    assert folded() == {"level": False, "training": True, "menu": False}
    draw(session, panels)
    assert all(placed.folded == (placed.panel.key == "training") for placed in panels.placed)


def test_rows_that_have_no_room_come_with_the_next_page():
    session, panels, size, seen = session_in_training(), Panels(), (640, 300), set()
    panels.menu.page = "help"
    for _ in range(3):
        draw(session, panels, size)
        seen |= set(texts(panels))
        if any(text.startswith("more") for text in texts(panels)):
            press(session, panels, "more", size=size)
    assert {f"{key} {meaning}" for key, meaning in KEYS} <= seen


def test_text_grows_with_the_window():
    heights = []
    for size in [(1280, 720), (1920, 1080), (3840, 2160)]:
        panels = draw(session_of_model(), size=size)
        heights.append(place(panels, "rank").height)
    assert heights[1:] == [pytest.approx(factor * heights[0], abs=3) for factor in (1.5, 3)]


def test_beside_each_other_both_pictures_have_their_tops_free():
    session, panels = session_in_training(), Panels()
    session.set_compare("level", "beside")
    draw(session, panels)
    assert panels.extent[1] < 0.06 * 720
    press(session, panels, "Taichi RF")
    assert "right rank" in panels.widgets
    press(session, panels, "Taichi RF")
    assert panels.extent[1] < 0.06 * 720
    session.set_compare("off")
    assert "rank" in draw(session, panels).widgets


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
        assert draw(session_of_model(), size=size).placed == []


def test_a_row_is_drawn_anew_only_when_it_changes(monkeypatch):
    drawn = []
    monkeypatch.setattr(panel_cards, "_row", lambda row, *a: drawn.append(row) or draw_row(row, *a))
    session, panels = session_of_model(), Panels()
    draw(session, panels)
    drawn.clear()
    draw(session, panels)
    assert drawn == []
    session.levels.choose(2)
    draw(session, panels)
    assert {getattr(row, "label", "") or row.name for row in drawn} == {"rank", "kB at most", "size", "PSNR"}


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
    press(session, panels, "Test or training", "First view", "< back", "Taichi RF", "Demonstration")
    assert session.demo
    assert draw(session, panels).placed == []  # hidden for the audience


def test_second_slider_is_there_when_levels_are_compared():
    session = session_of_model()
    assert "right rank" not in texts(draw(session))
    session.set_compare("level")
    assert "right rank" in texts(draw(session))


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


def test_any_photograph_is_one_slide_away():
    clock = Clock()
    session, panels = Session(FakeModel(), scene=tiny_scene(), render=FakeRender(clock), clock=clock), Panels()
    press(session, panels, "Look", "Test or training")
    slide(session, panels, "photograph", 5.5 / 8)
    assert (session.at_view.split, session.at_view.index) == ("train", 5)
