"""The page on which one opens and trains: nothing moves under the mouse, and names are typed and completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from tests.capture_files import write_nerfstudio
from tests.tiny import write_tiny_scene
from tests.viewer.desktop.hands import draw, press, session_of_model, slide, studio_of, texts
from viewer.app import studio as studios
from viewer.app.loading import Plan
from viewer.app.settings import Settings
from viewer.app.studio import Studio
from viewer.desktop.menu import Chooser
from viewer.desktop.open_page import open_first
from viewer.desktop.panels import Panels
from viewer.overlay.rows import Button


def settled(studio: Studio) -> None:
    """The scene that is chosen has been chosen for long, and is read."""
    studio.look()
    studio.preview._since = -1.0
    studio.look()
    assert studio.preview._reading is not None
    assert studio.preview._reading.wait(60)


def test_where_a_scene_lies_is_chosen_on_a_page_of_its_own(tmp_path):
    write_nerfstudio(tmp_path)
    studio, panels = studio_of(None), Panels()
    studio.choose(tmp_path)
    studio.place(World(space="box"))
    settled(studio)
    press(studio, panels, "Where the scene lies")
    heights = [panels.placed[0].box.height]
    assert "box from -1.5, -1.5, -1.5" in texts(panels)
    press(studio, panels, "Up: auto", "Up: x", "Format: as recognised")
    slide(studio, panels, "% scale", (50 - 10 + 0.5) / 391)
    assert studio.world == World(up="y", format="blender", scale=0.5, space="box")
    studio.look()  # the scene is another, and no longer there
    assert studio.preview.scene is None
    heights.append(draw(studio, panels).placed[0].box.height)
    assert heights[0] == heights[1]
    press(studio, panels, "As it is by itself")
    assert studio.world == World()
    press(studio, panels, "Space: auto")
    assert studio.world == World(space="box")
    settled(studio)
    slide(studio, panels, "% box", (80 - 20 + 0.5) / 281)
    assert studio.world == World(space="box", box=(-1.2, -1.2, -1.2, 1.2, 1.2, 1.2))
    press(studio, panels, "< back")
    assert panels.menu.page == "open"
    studio.preview.forget()


def test_scene_is_chosen_by_looking_into_folders(tmp_path):
    write_tiny_scene(tmp_path / "data" / "balls")
    (tmp_path / "data" / "empty").mkdir()
    studio, panels = studio_of(None), Panels(Chooser(tmp_path))
    press(studio, panels, "data/", "empty/", ".. (up)", "balls (scene)")
    assert Path(studio.source) == tmp_path / "data" / "balls"
    press(studio, panels, "Preset: quick", "Method: slimmerf", "Images: 1/2")
    assert (studio.preset, studio.method, studio.downscale) == ("balanced", "vqad", 4)
    slide(studio, panels, "time limit", 5.5 / 121)
    assert studio.max_seconds == 300
    slide(studio, panels, "time limit", 0.0)
    assert studio.max_seconds is None


def test_nothing_moves_when_a_scene_is_chosen_and_the_choice_is_highlighted(tmp_path):
    for name in ("balls", "cubes"):
        write_tiny_scene(tmp_path / name)
    studio, panels = studio_of(None), Panels(Chooser(tmp_path))
    studio.settings = Settings(recent=(str(tmp_path / "cubes"),))
    before = dict(draw(studio, panels).widgets)
    for label, source in (("balls (scene)", tmp_path / "balls"), ("lantern", "builtin:lantern")):
        press(studio, panels, label)
        assert studio.source == str(source)
        assert {name: panels.widgets[name] for name in before} == before
        rows = [row for placed in panels.placed for row, _ in placed.rows if isinstance(row, Button) and row.chosen]
        assert {row.label for row in rows} == {label, "Start training"}


def test_a_path_is_typed_and_completed(tmp_path):
    for name in ("data_2/lego", "data_2/lantern-1", "other"):
        (tmp_path / name).mkdir(parents=True)
    write_tiny_scene(tmp_path / "data_2" / "lego_3")
    studio, panels = studio_of(None), Panels(Chooser(tmp_path))
    chooser = panels.menu.chooser
    press(studio, panels, "...")
    assert chooser.typed == ""
    chooser.type("d")
    assert [entry.name for entry in chooser.entries()] == ["data_2"]
    chooser.complete()
    assert chooser.folder == tmp_path / "data_2"
    chooser.type("l")
    chooser.complete()
    assert {entry.name for entry in chooser.entries()} == {"lego", "lantern-1", "lego_3"}
    chooser.type("e")
    chooser.complete()
    assert chooser.typed == "lego"
    open_first(panels.menu, studio)
    assert studio.source == str(tmp_path / "data_2" / "lego_3")  # scenes come first
    for _ in "lego":
        chooser.back()
    chooser.back()
    assert chooser.folder == tmp_path


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
        press(studio, panels, "more (60")
        assert panels.extent[1] <= 720
        seen |= {text for text in texts(panels) if text.endswith("/") and "x" in text}
    assert len(seen) >= 1
    assert panels.menu.chooser.first < 60


def test_entries_that_look_alike_can_all_be_pressed(tmp_path):
    for name in ("x" * 60 + "a" * 40, "y" * 60 + "a" * 40):
        (tmp_path / name).mkdir()
    said = [text for text in texts(draw(studio_of(None), Panels(Chooser(tmp_path)))) if "aaa" in text]
    assert len(said) == len(set(said)) == 2


def test_a_folder_that_cannot_be_read_is_said():
    said = texts(draw(studio_of(None), Panels(Chooser(Path("/nonexistent/folder")))))
    assert any("cannot be read" in text for text in said)
