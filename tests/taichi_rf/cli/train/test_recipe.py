"""From options to what is trained: what was said stays said, and how long is within bounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from taichi_rf.cli.train.options import MOST_ITERATIONS, TrainOptions, check, parse
from taichi_rf.cli.train.recipe import new_recipe, resumed_recipe, suited_config
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.spaces import BOX, Contraction
from taichi_rf.training.configs.slimmerf import QUICK, SPACES
from taichi_rf.training.run import Recipe

CAPTURE = SimpleNamespace(space=Contraction())


def test_an_option_with_the_value_of_the_preset_is_said_all_the_same():
    here = SPACES["contract"]["quick"]
    assert here["iterations"] != QUICK.iterations
    said = parse(["lantern", "--iterations", str(QUICK.iterations), "--background", "white"])
    silent = parse(["lantern"])
    for options, iterations, background in (
        (said, QUICK.iterations, QUICK.background),
        (silent, here["iterations"], here["background"]),
    ):
        config = suited_config(new_recipe(options), options, CAPTURE)
        assert (config.iterations, config.background) == (iterations, background)
        assert config.get("activation") == "relu"
        assert suited_config(new_recipe(options), options, SimpleNamespace(space=BOX)).get("activation") == "softplus"


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"iterations": 0}, "--iterations 0: 1 to"),
        ({"iterations": -3}, "--iterations -3: 1 to"),
        ({"iterations": MOST_ITERATIONS + 1}, f"1 to {MOST_ITERATIONS:,} is expected"),
        ({"more": 0, "resume": Path("run")}, "--more 0: 1 to"),
        ({"more": -1, "resume": Path("run")}, "--more -1: 1 to"),
        ({"more": 10**30, "resume": Path("run")}, f"1 to {MOST_ITERATIONS:,} is expected"),
        ({"more": 5}, "--more goes with --resume"),
        ({"more": 5, "iterations": 5, "resume": Path("run")}, "give one of them"),
    ],
)
def test_how_long_is_within_bounds(options, because):
    with pytest.raises(UserError, match=because):
        check(TrainOptions(scene="lantern", **options))


def test_a_run_that_is_gone_on_with_has_so_many_iterations_in_all_or_more():
    recipe = Recipe(QUICK.changed(max_seconds=60.0), "builtin:lantern")
    for options, iterations in (({"more": 100}, 400), ({"iterations": 350}, 350)):
        config = resumed_recipe(recipe, TrainOptions(resume=Path("run"), **options), taken=300).config
        assert (config.iterations, config.max_seconds) == (iterations, None)
    with pytest.raises(UserError, match="the run has 300 already.* --more 200 adds so many"):
        resumed_recipe(recipe, TrainOptions(resume=Path("run"), iterations=200), taken=300)
    with pytest.raises(UserError, match="no run has more than"):
        resumed_recipe(recipe, TrainOptions(resume=Path("run"), more=MOST_ITERATIONS), taken=300)
