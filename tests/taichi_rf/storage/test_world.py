"""What a person says of how a folder becomes a scene: checked, and kept with a training."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import KEY, World

SAID = World(format="colmap", box=(-1, -2, -3, 1.5, 2, 3), space="contract", near=0.1, far=9.0, scale=0.5, up="-y")


@pytest.mark.parametrize("world", [SAID, World(), World(scale=2.0)])
def test_what_was_said_survives_json(world):
    said = json.loads(json.dumps(world.said()))
    assert World.from_json(said) == world
    assert World.of({KEY: said}) == world
    assert World.of({}) == World()


def test_only_what_is_said_is_written_and_takes_the_place_of_what_was_said_before():
    assert World(up="y").said() == {"up": "y"}
    assert SAID.with_said(World(up="z", far=2.0)) == replace(SAID, far=2.0, up="z")


@pytest.mark.parametrize(
    ("world", "says"),
    [
        (World(format="nerf"), "--format nerf: choose one of"), (World(space="x"), "--space x: choose one of"),
        (World(up="w"), "--up w: choose one of auto, x"),
        (World(box=(0, 0, 0, 1, 1, 0)), "--box 0 0 0 1 1 0"), (World(box=(0, 0, 0, 1, 1, float("nan"))), "--box"),
        (World(near=-1.0), "--near -1"), (World(far=float("inf")), "--far inf"), (World(near=2.0, far=1.0), "less"),
        (World(scale=0.0), "--scale 0"), (World(scale=float("nan")), "--scale nan"),
    ],
)  # fmt: skip
def test_what_no_scene_can_have_is_refused_by_the_option(world, says):
    with pytest.raises(UserError, match="--") as refusal:
        world.check()
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "values",
    [
        None, 3, [], {"colour": 1}, {"box": 3}, {"box": [1, 2, 3]}, {"box": "123456"}, {"box": [0, 0, 0, 1, 1, True]},
        {"near": "1"}, {"scale": 1e400}, {"scale": 10**400}, {"up": []}, {"up": "north"}, {"space": 1}, {"format": {}},
        {1: 2},
    ],
)  # fmt: skip
def test_what_no_version_wrote_is_refused(values):
    with pytest.raises(UserError, match=KEY):
        World.from_json(values)
