"""A recipe: what ``config.json`` says, written by this version or by 0.1.0, or spoilt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from taichi_rf.training.configs import slimmerf, solid, vqad
from taichi_rf.training.run import CONFIG, Recipe, RunFolder
from tests.places import ROOT
from tests.tiny import tiny_config


@pytest.mark.parametrize("config", slimmerf.PRESETS.values(), ids=slimmerf.PRESETS.keys())
def test_a_recipe_survives_json(config):
    recipe = Recipe(
        config, "builtin:lantern", downscale=2, views=10, background="black", eval_views=0, arch="cpu",
        world=World(box=(-1, -1, -1, 1, 1, 2), up="-y", scale=0.5),
    )  # fmt: skip
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json())), Path("config.json")) == recipe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slimmerf", slimmerf.QUICK.changed(max_seconds=300.0, seed=3)),
        ("vqad", vqad.BALANCED.changed(bits=4, grow_at=(0.1, 0.2))),
        ("solid", solid.QUICK),
    ],
)
def test_a_configuration_that_0_1_0_wrote_is_read_as_what_it_was(name, expected):
    path = ROOT / f"tests/data/0.1.0/config-{name}.json"
    recipe = Recipe.from_json(json.loads(path.read_text()), path)
    assert recipe == Recipe(expected, "data/lego", downscale=2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: [],
        lambda values: {},
        lambda values: {**values, "scene": {**values["scene"], "downscale": "two"}},
        lambda values: {**values, "scene": {**values["scene"], "colour": "blue"}},
        lambda values: {**values, "scene": {**values["scene"], "source": None}},
        lambda values: {**values, "scene": {**values["scene"], "world": {"up": "north"}}},
        lambda values: {**values, "scene": {**values["scene"], "world": 3}},
        lambda values: {**values, "scene": 3},
        lambda values: {**values, "config": {**values["config"], "ranks_of_the_future": 3}},
        lambda values: {**values, "config": {**values["config"], "iterations": "many"}},
        lambda values: {**values, "config": {**values["config"], "num_ranks": 10**9}},
        lambda values: {**values, "config": 7},
        lambda values: {**values, "config": []},
    ],
)
def test_a_spoilt_config_is_refused_by_name(tmp_path, spoil):
    values = Recipe(tiny_config(), "builtin:lantern").to_json()
    (tmp_path / CONFIG).write_text(json.dumps(spoil(values)))
    with pytest.raises(UserError, match=CONFIG):
        RunFolder(tmp_path).recipe()
