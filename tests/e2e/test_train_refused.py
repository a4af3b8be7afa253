"""``train.py`` with everything that can be wrong: one plain line, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import scenes
from taichi_rf.cli.train.options import BUILT_IN
from taichi_rf.core import backend
from tests.e2e.train_cli import refuses, train


def test_help_names_every_option(tmp_path):
    done = train("--help", folder=tmp_path, tiny=False)
    assert done.returncode == 0
    for option in (
        "--method", "--preset", "--out", "--downscale", "--views", "--background", "--ranks", "--codes", "--bits",
        "--levels", "--joint", "--no-depth", "--decoder", "--max-seconds",
        "--iterations", "--seed", "--set", "--threads", "--save-seconds",
        "--arch", "--eval-views", "--resume", "--overwrite", "--view", "SCENE", "paper",
    ):  # fmt: skip
        assert option in done.stdout


def test_without_a_scene_it_says_what_there_is(tmp_path):
    done = train(folder=tmp_path, tiny=False)
    assert done.returncode == 2
    for name in BUILT_IN:
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert BUILT_IN == scenes.builtin_names()


def spoil(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def apply(data: dict[str, Any]) -> None:
        for key, value in changes.items():
            if value is None:
                del data[key]
            else:
                data["frames"][1][key] = value

    return apply


NAN_POSE = [[float("nan"), 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (spoil(camera_angle_x=None), "camera_angle_x"),
        (spoil(frames=None), "'frames'"),
        (spoil(file_path="./train/r_99"), "frame 1, key 'file_path'"),
        (spoil(transform_matrix=NAN_POSE), "frame 1, key 'transform_matrix' holds NaN"),
        (lambda data: data["frames"].__delitem__(slice(1, None)), "only 1 training image"),
    ],
)
def test_a_broken_scene_is_refused_and_no_folder_is_left(spoilable, change, because):
    data = json.loads((spoilable / "transforms_train.json").read_text())
    change(data)
    (spoilable / "transforms_train.json").write_text(json.dumps(data))
    refuses("balls", "--out", "runs/balls", folder=spoilable.parent, because=because)
    assert not (spoilable.parent / "runs").exists()


def test_a_broken_scene_costs_nothing_of_the_run_that_it_was_to_replace(place, tmp_path):
    shutil.copytree(place / "runs" / "whole", tmp_path / "run")
    refuses("nowhere", "--out", "run", "--overwrite", folder=tmp_path, because="there is no scene 'nowhere'")


def test_a_folder_with_a_run_needs_overwrite(place, tmp_path):
    shutil.copytree(place / "runs" / "whole", tmp_path / "run")
    refuses(place / "balls", "--out", "run", folder=tmp_path, because="--overwrite")


def test_a_folder_that_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "file").touch()
    refuses(place / "balls", "--out", "file/run", folder=tmp_path, because="cannot write file/run")


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (["--max-seconds", 0], "--max-seconds 0"),
        (["--max-seconds", "nan"], "--max-seconds nan"),
        (["--iterations", 0], "--iterations 0"),
        (["--iterations", 5, "--max-seconds", 5], "give one of the two"),
        (["--seed", -1], "--seed -1"),
        (["--eval-views", -1], "--eval-views -1"),
        (["--downscale", 0], "--downscale 0"),
        (["--views", 1], "--views 1"),
        (["--views", 99], "--views 99"),
        (["--arch", "abacus"], "abacus"),
        (["--method", "nerf"], "nerf"),
        (["--method", "vqad", "--ranks", "train"], "--ranks goes with --method slimmerf, not with vqad"),
        (["--method", "vqad", "--decoder", "sh"], "--decoder sh does not go with --method vqad: choose small"),
        (["--decoder", "small"], "--decoder small does not go with --method slimmerf: choose sh or mlp"),
        (["--codes", "none"], "--codes goes with --method vqad, not with slimmerf"),
        (["--bits", 6], "--bits goes with --method vqad"),
        (["--no-depth"], "--no-depth goes with --method vqad"),
        (["--method", "vqad", "--codes", "magic"], "magic"),
        (["--method", "vqad", "--codes", "none", "--bits", 4], "--bits does not go with --codes none"),
        (["--method", "vqad", "--bits", 0], "--bits 0"),
        (["--method", "vqad", "--bits", 9], "--bits 9"),
        (["--method", "vqad", "--codes", "hash", "--bits", 15], "--bits 15"),
        (["--method", "vqad", "--codes", "lowrank", "--bits", 16], "--bits 16"),
        (["--method", "vqad", "--levels", "8-5"], "--levels 8-5"),
        (["--method", "vqad", "--levels", "5-10"], "--levels 5-10"),
        (["--method", "vqad", "--levels", "1-4"], "--levels 1-4"),
        (["--method", "vqad", "--levels", "five"], "--levels five"),
        (["--rank", 4], "--rank"),
        (["--view"], "display"),
        (["--resume", "nothing"], "there is no folder nothing"),
        (["--resume", "."], "is not the folder of a run"),
    ],
)
def test_an_option_that_cannot_be_is_named(place, tmp_path, arguments, because):
    scene = [] if "--resume" in arguments else [place / "balls", "--out", "run"]
    refuses(*scene, *arguments, folder=tmp_path, because=because, tiny=False)
    assert list(tmp_path.iterdir()) == []


def test_an_arch_that_is_not_there_is_said_with_those_that_are(place, tmp_path):
    missing = next(arch for arch in ("cuda", "metal") if not backend.available(arch))
    done = refuses(place / "balls", "--arch", missing, folder=tmp_path, because=f"arch '{missing}'", tiny=False)
    assert "cpu" in done.stderr
    assert list(tmp_path.iterdir()) == []
