"""At five sizes and in whatever is going on, nothing covers anything and no text is cut: cards and panels together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.evaluation import plot
from tests.plot_fakes import POINTS, Story
from tests.tiny import tiny_scene
from tests.viewer_fakes import Clock, FakeField, FakeModel, FakeRender, FakeTrainer
from viewer.app.studio import Studio
from viewer.desktop.menu import Chooser
from viewer.desktop.panels import Panels
from viewer.overlay import panel_cards
from viewer.overlay.overlay import Overlays
from viewer.overlay.stats import JobStats, Message, Stats
from viewer.session.session import Session
from viewer.session.stats import stats_of

SIZES = [(640, 360), (800, 600), (1280, 720), (1920, 1080), (3840, 2160)]
SITUATIONS = {
    "alone": {},
    "training": {"training": True},
    "compare": {"compare": "level", "training": True},
    "beside": {"compare": "level", "layout": "beside", "training": True},
    "recording": {"recording": JobStats("turntable", 0.3, "kept/lantern-turntable-rank-16.mp4"), "training": True},
    "message": {"message": Message("saved /home/somebody/pictures/lantern-rank-16-0001.png"), "training": True},
    "legend": {"mode": "samples", "training": True},
    "all": {
        "compare": "level", "mode": "samples", "training": True, "message": Message("the video is written", alarm=True),
        "recording": JobStats("turntable", 0.3, "kept/lantern-turntable-rank-16.mp4"),
    },
    "keep": {"page": "keep"},
    "look": {"page": "look"},
    "help": {"page": "help"},
    "open": {"page": "open"},
}  # fmt: skip


def shown(situation: dict, size: tuple[int, int]) -> tuple[Studio, Session]:
    clock = Clock()
    if situation.get("training"):
        trainer = FakeTrainer(clock, steps=10_000)
        trainer.level, trainer.model.field = 4, FakeField(16)
        trainer.model.metadata["level_psnr"] = [20.0 + level for level in range(16)]
        session = Session(trainer=trainer, render=FakeRender(clock), clock=clock)
        session.learning.figures = {"loss": 0.00123, "psnr": 27.3, "rays_per_second": 74_321.0}
    else:
        metadata = {"level_psnr": [20.0 + level for level in range(16)], "scene": "lantern"}
        session = Session(
            FakeModel(FakeField(16), metadata=metadata), render=FakeRender(clock), clock=clock, scene=tiny_scene()
        )
    session.size = size
    session.mode = situation.get("mode", "colour")
    if "compare" in situation:
        session.set_compare(situation["compare"], situation.get("layout"))
    studio = Studio(arch="cpu", runs=Path("nowhere"))
    studio.session = session
    return studio, session


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_covers_anything_and_no_text_is_cut(size, situation, monkeypatch, tmp_path):
    said = SITUATIONS[situation]
    written: list[tuple[str, plot.Box, int, int]] = []
    cut: list[str] = []
    text, fit = plot.Page.text, plot.fit_text

    def noted(page: plot.Page, *arguments: object, **options: object) -> plot.Box:
        box = text(page, *arguments, **options)
        written.append((str(arguments[1]), box, page.width, page.height))
        return box

    def whole(wanted: str, *room: float) -> str:
        fitting = fit(wanted, *room)
        cut.extend([wanted] if fitting != wanted else [])
        return fitting

    monkeypatch.setattr(plot.Page, "text", noted)
    monkeypatch.setattr(plot, "fit_text", whole)
    monkeypatch.setattr(panel_cards, "fit_text", whole)
    studio, session = shown(said, size)
    panels, overlays = Panels(Chooser(tmp_path)), Overlays()
    panels.menu.page = said.get("page")
    panels.draw(studio, *size)
    stats: Stats = stats_of(session)
    if stats.training is not None:
        stats = replace(stats, training=replace(stats.training, progress=0.16, seconds_left=1446.0))
    stats = replace(
        stats, recording=said.get("recording"), message=said.get("message"),
        compare=replace(stats.compare, divider=0.55),
    )  # fmt: skip
    story = Story([(i, 20.0 + i / 50) for i in range(400)], [(i, 19.0 + i / 50) for i in range(0, 400, 50)], [(1, 1)])
    found = overlays.draw(
        stats, POINTS, story if session.training else None, *size, panels=panels.extent, zoom=True
    )  # fmt: skip
    cards = [card.box for card in found if card.pixels.shape[1] > 20 or not said.get("compare")]  # not the divider
    boxes = [(b.x, b.y, b.x + b.width, b.y + b.height) for b in (placed.box for placed in panels.placed)] + cards
    assert len(panels.placed) > 0
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    assert cut == []
    for words, (left, top, right, bottom), width, height in written:
        assert left >= -1, words
        assert top >= -1, words
        assert right <= width + 1, words
        assert bottom <= height + 1, words
    if said.get("message"):
        assert any(words.startswith(said["message"].text[:5]) for words, *_ in written)
    if said.get("recording"):
        assert any("turntable" in words for words, *_ in written)


def test_the_middle_of_the_picture_stays_free_of_panels_and_plots():
    for size in SIZES:
        studio, session = shown({"training": True}, size)
        panels, overlays = Panels(), Overlays()
        panels.draw(studio, *size)
        found = overlays.draw(stats_of(session), POINTS, None, *size, panels=panels.extent)
        covered = np.zeros((size[1], size[0]), bool)
        for card in [*found, *panels.cards]:
            left, top, right, bottom = card.box
            covered[top:bottom, left:right] = True
        assert covered.mean() < 0.5, size
