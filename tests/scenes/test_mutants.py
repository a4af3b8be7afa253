"""A few of the changed scenes that ``bench/mutate_scenes.py`` makes by the thousand."""

from __future__ import annotations

import importlib.util
import signal

import pytest

from tests.places import ROOT


@pytest.fixture
def mutants():
    """The script as a module; what it sets for signals is put back."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tests/bench/mutate_scenes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = signal.getsignal(signal.SIGALRM)
    yield module
    signal.signal(signal.SIGALRM, before)


def test_changed_scenes_are_read_or_refused_and_nothing_else(mutants):
    ends, wrong = mutants.run(100, seed=3)
    assert wrong == []
    assert ends["read"] > 15
    assert ends["refused"] > 30


def test_a_scene_that_ends_otherwise_is_found(mutants, monkeypatch):
    """The check itself: a reader that raises anything, returns what is not finite, or never ends is not passed over."""
    monkeypatch.setattr("scenes.readers.blender.load", lambda *_, **__: 1 / 0)
    ends, wrong = mutants.run(2, seed=4)
    assert ends == {"wrong": 2}
    assert "ZeroDivisionError" in wrong[0]

    def forever(*_, **__):
        while True:
            pass

    monkeypatch.setattr("scenes.readers.blender.load", forever)
    monkeypatch.setattr(mutants, "LIMIT", 1)
    ends, wrong = mutants.run(1, seed=4)
    assert ends == {"wrong": 1}
    assert "TimeoutError" in wrong[0]
