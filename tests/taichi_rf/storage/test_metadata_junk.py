"""A model's metadata may say anything: nothing that shows a model fails by it, and nonsense has a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.cli.info import run as info
from taichi_rf.cli.options import Info
from taichi_rf.core.files import slug
from taichi_rf.motion.orbit import Orbit
from taichi_rf.storage.metadata import LONGEST_TITLE, title
from taichi_rf.storage.trf import write_trf
from tests.hostile import JUNK
from tests.viewer_fakes import BOX, Clock, FakeModel, FakeRender
from viewer.app.loading import Loading, plan_model
from viewer.session.session import Session
from viewer.session.stats import stats_of

MORE: tuple[Any, ...] = (1e-300, -0.0, 1e6, 10**400, "x" * 15_000, "\x1b[2J\r\n\u202e", [[1, 2], [3]], {"a": {"b": []}})
VIEW = Orbit.around(BOX).state()
METADATA: dict[str, Any] = {
    "scene": "lego", "source": "builtin:lantern", "content": "00ff", "views": 8, "downscale": 2, "preset": "quick",
    "method": "vm", "view": VIEW, "best_level": 2, "level_psnr": [20.0, 25.0, 28.0, 30.0], "coding_loss": [0.1] * 4,
}  # fmt: skip


def show(metadata: dict[str, Any], folder: Path) -> None:
    """As the viewer and ``info`` do."""
    clock = Clock()
    session = Session(model=FakeModel(metadata=metadata), render=FakeRender(clock), clock=clock)
    session.frame(24, 16, 0.02)
    camera = session.camera(24, 16)
    assert np.isfinite(camera.pose).all()
    assert np.linalg.norm(camera.position) < 200
    assert np.linalg.det(camera.pose[:, :3]) == pytest.approx(1, abs=1e-4)
    stats_of(session)
    session.levels.curve()
    write_trf(folder / "junk.trf", {"metadata": metadata}, [b"base"] * 4)
    info(Info(str(folder / "junk.trf")))
    plan_model(folder / "junk.trf", Loading("", lambda loading: None))


@pytest.mark.parametrize("key", METADATA)
def test_any_entry_may_be_junk(tmp_path, capsys, key):
    for junk in (*JUNK, *MORE):
        show({**METADATA, key: junk}, tmp_path)
        show({**METADATA, key: [junk] * 4}, tmp_path)
    assert not set(capsys.readouterr().out) & set("\x1b\r\u202e")


@pytest.mark.parametrize("key", VIEW)
def test_any_entry_of_the_view_may_be_junk(tmp_path, key):
    for junk in (*JUNK, *MORE):
        show({"view": {**VIEW, key: junk}}, tmp_path)
        show({"view": {**VIEW, key: [junk, 0.0, 0.0]}}, tmp_path)
        show({"view": {**VIEW, key: [0.0, 0.0, junk]}}, tmp_path)


def test_a_title_is_one_line_that_can_be_shown():
    assert title({"scene": "lego"}, "model") == "lego"
    assert title({"scene": "a\nb\x1b"}, "model") == "a\\nb\\x1b"
    assert title({"scene": "x" * 60_000}, "model") == "x" * LONGEST_TITLE
    for nameless in ({}, {"scene": None}, {"scene": ["lego"]}, {"scene": " \n"}):
        assert title(nameless, "model") == "model"
        assert slug(title(nameless, "model")) == "model"
