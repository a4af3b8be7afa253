"""The Python API: the examples in its docstrings, and what is refused."""

from __future__ import annotations

import doctest

import pytest

import taichi_rf as trf
from taichi_rf import api
from tests.places import ROOT

TENSOR = ROOT / "tests/data/tensor.trf"


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.chdir(ROOT)  # the examples name files of the project
    trf.init("cpu")


@pytest.mark.parametrize("name", [test.name for test in doctest.DocTestFinder().find(api) if test.examples])
def test_an_example_says_what_happens(name):
    (test,) = (test for test in doctest.DocTestFinder().find(api) if test.name == name)
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0
    assert result.attempted > 0


def test_every_function_has_an_example():
    shown = {test.name.rpartition(".")[2] for test in doctest.DocTestFinder().find(api) if test.examples}
    assert {"init", "load", "camera", "train", "slim", "evaluate"} <= shown


def test_what_is_exported_is_there():
    assert all(hasattr(trf, name) for name in trf.__all__)


def test_a_loop_that_was_left_goes_on_where_it_was():
    training = trf.train("lantern", downscale=16, views=4, iterations=4, seed=1)
    for progress in training:
        if progress.iteration == 2:
            break
    assert not training.done
    assert [progress.iteration for progress in training] == [3, 4]
    assert training.done
    assert list(training) == []


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"method": "nerf"}, "slimmerf, vqad"), ({"preset": "fast"}, "quick"), ({"iteration": 3}, "iteration"),
        ({"iterations": "many"}, "iterations"), ({"iterations": 0}, "iterations"), ({"seed": 1.5}, "seed"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_training_is_named(options, because):
    with pytest.raises(trf.UserError, match=because):
        trf.train("lantern", downscale=16, views=2, **options)


def test_a_scene_or_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(trf.UserError, match="no scene 'lanterm'"):
        trf.train("lanterm")
    with pytest.raises(trf.UserError, match="holds no model"):
        trf.load(tmp_path)
    with pytest.raises(trf.UserError, match="level 9"):
        trf.load(TENSOR, level=9)
    with pytest.raises(trf.UserError, match="rank 9"):
        trf.load(TENSOR).render(trf.camera((3, 0, 0), width=4, height=4), level=9)


@pytest.mark.parametrize(
    ("arguments", "because"), [({}, "level, size or precision"), ({"size": 9000, "precision": "fine"}, "one at")]
)
def test_slimming_says_what_it_needs(arguments, because, tmp_path):
    with pytest.raises(trf.UserError, match=because):
        trf.slim(TENSOR, tmp_path / "slim.trf", **arguments)


def test_a_size_is_kept_and_levels_are_prefixes(tmp_path):
    assert trf.slim(TENSOR, tmp_path / "small.trf", size=9000) <= 9000
    assert trf.load(tmp_path / "small.trf").num_levels >= 1
    model = trf.load(TENSOR)
    sizes = [model.bytes_at(level) for level in range(1, 5)]
    assert sizes[-1] == TENSOR.stat().st_size
    for level in (1, 3):
        assert trf.slim(TENSOR, tmp_path / "cut.trf", level=level) == sizes[level - 1]
        cut = trf.load(tmp_path / "cut.trf")
        eye = trf.camera((2.6, 2.2, 1.5), width=24, height=16)
        assert (cut.render(eye) == model.render(eye, level=level)).all()
