"""From lists to runs: every combination once, each named by what it is, and all that cannot be refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from taichi_rf.cli.options import Suite
from taichi_rf.cli.suite import command, defining, expanding
from taichi_rf.cli.suite.keys import Keys
from taichi_rf.core.errors import UserError
from taichi_rf.suite.definition import Definition
from taichi_rf.training.configs.named import read_settings
from taichi_rf.training.configs.slimmerf import QUICK


def runs(**entries):
    definition = Definition("suite", **{"scenes": ("lantern",), **entries})
    return expanding.expand(definition, expanding.find_scenes(definition.scenes, None, skip_missing=False)[0])


def test_every_combination_is_a_run_that_its_name_tells_from_the_others():
    found = runs(
        scenes=("lantern", "orrery"), seeds=(0, 1), product={"ranks": ("train", "plain"), "preset": ("quick",)}
    )
    assert [run.name for run in found] == [
        f"{scene}-{ranks}-seed{seed}" for scene in ("lantern", "orrery") for ranks in ("train", "plain")
        for seed in (0, 1)
    ]  # fmt: skip
    assert found[0].arguments == ("--method=slimmerf", "--ranks=train", "--preset=quick")


def test_what_goes_with_one_method_does_not_multiply_the_others():
    found = runs(product={"method": ("slimmerf", "vqad"), "ranks": ("train", "plain"), "bits": (4, 6)})
    assert [run.variant for run in found] == ["slimmerf train", "slimmerf plain", "vqad bits4", "vqad bits6"]


def test_entries_of_the_configuration_are_settings_too():
    found = runs(settings={"ranks": {"upsilon": 0.2}, "max-seconds": 30}, product={"batch_rays": (64, 128)})
    assert [run.variant for run in found] == ["batch_rays64", "batch_rays128"]
    assert found[0].arguments == (
        "--method=slimmerf", "--set=ranks.upsilon=0.2", "--max-seconds=30", "--set=batch_rays=64"
    )  # fmt: skip


def test_exclusions_leave_out_what_has_all_that_they_say():
    found = runs(
        scenes=("lantern", "orrery"), product={"ranks": ("train", "plain")},
        exclude=({"scene": "orrery", "ranks": "plain"}, {"seed": [5, 6]}),
    )  # fmt: skip
    assert [run.name for run in found] == ["lantern-train-seed0", "lantern-plain-seed0", "orrery-train-seed0"]


@pytest.mark.parametrize(
    ("entries", "because"),
    [
        ({"scenes": ("lanten",)}, "did you mean 'lantern'?"),
        ({"scenes": ("s3://bucket/lego",)}, "lies at an address"),
        ({"scenes": ("lantern", "builtin:lantern")}, "two runs would share the folder"),
        ({"scenes": ("lantern", "lantern")}, "lantern is listed twice among scenes"),
        ({"seeds": (1, 1)}, "1 is listed twice among seeds"),
        ({"seeds": (-1,)}, "seed -1"),
        ({"settings": {"max_second": 3}}, "did you mean 'max_seconds'?"),
        ({"settings": {"upsilo": 3}}, "did you mean 'upsilon'?"),
        ({"settings": {"upsilon": -3}}, "'upsilon' should be a number from 0"),
        ({"settings": {"seed": 3}}, "train.py has no 'seed'"),
        ({"settings": {"out": "x"}}, "train.py has no 'out'"),
        ({"settings": {"preset": "quik"}}, "did you mean 'quick'?"),
        ({"settings": {"downscale": "x"}}, "nothing to train.py"),
        ({"settings": {"iterations": 3, "max_seconds": 3}}, "give one of the two"),
        ({"product": {"method": ("slimerf",)}}, "did you mean 'slimmerf'?"),
        ({"product": {"bits": ()}}, "the list of bits is empty"),
        ({"exclude": ({"scene": "lantern"},)}, "has no runs"),
        ({"exclude": ({"scen": "lantern"},)}, "did you mean 'scene'?"),
        ({"seeds": tuple(range(10_001))}, "10,001 combinations"),
        ({"product": {key: tuple(range(500)) for key in ("bits", "num_ranks", "grid")}}, "125,000,000 combinations"),
        ({"settings": {"box": ["--view", "1", "1", "1", "1", "1"]}}, "'box': --view would be read as an option"),
        ({"settings": {"upsilon": "0.1\x1b"}}, "all of them printable"),
        ({"settings": {"iterations": 10**30}}, "no number beyond 1e+15"),
        ({"settings": {"upsilon": float("nan")}}, "no number beyond 1e+15"),
        ({"settings": {"begun": True}}, "train.py has no 'begun'"),
        (
            {"settings": {"space": "ndc"}},
            "lantern, slimmerf: --space goes with a folder; 'lantern' is a built-in scene",
        ),
        ({"variants": {"x" * 300: {}}}, "the name of a run is longer than 200 bytes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(entries, because):
    with pytest.raises(UserError) as error:
        runs(**entries)
    assert because in str(error.value)


def test_negative_numbers_of_a_list_are_numbers():
    keys = Keys()
    box = [-1, -1.5, -0.5, 1, 1.5, 1e-7]
    assert list(keys.arguments("box", box)) == ["--box", "-1", "-1.5", "-0.5", "1", "1.5", "1e-07"]
    with pytest.raises(UserError, match="would be read as an option; a number without an exponent would not"):
        list(keys.arguments("box", [-1e-7]))
    assert list(keys.arguments("up", "-y")) == ["--up=-y"]


def test_scenes_that_are_not_there_are_left_out_where_that_is_asked_for(tmp_path):
    found, absent = expanding.find_scenes(["lantern", "a/b"], tmp_path, skip_missing=True)
    assert ([scene.label for scene in found], absent) == (["lantern"], ["a/b"])
    with pytest.raises(UserError, match="none of the suite's scenes is there"):
        expanding.find_scenes(["a/b"], tmp_path, skip_missing=True)


def plan(**options):
    said = Suite(**options)
    return command._plan(defining.define(said), said)


@pytest.mark.parametrize("path", sorted(defining.HERE.glob("*.toml")), ids=lambda path: path.stem)
def test_the_suites_that_come_with_it_can_be_run_at_reduced_size(path, tmp_path):
    (tmp_path / "poses_bounds.npy").touch()  # what makes it a scene; some suites want a folder
    found = plan(suite=path.stem, scenes=(str(tmp_path),), minutes=1.0, presets=("quick",), downscale=8)
    assert found.timed
    assert found.reduced == ("--downscale 8", "--max-seconds 60", "--presets quick")
    assert all("--max-seconds=60" in run.arguments and "--preset=quick" in run.arguments for run in found.runs)
    assert all("--downscale=8" in run.arguments for run in found.runs)


SUITE = """
scenes = ["lantern"]
[settings]
iterations = 5
ranks.upsilon = 0.1
[variants.a]
max-seconds = 7
downscale = 2
ranks = "train"
[variants.b]
eval-views = 3
ranks = "plain"
"""


def test_what_the_command_line_says_of_size_replaces_what_variants_say(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    said = Suite(suite=str(tmp_path / "mine.toml"), minutes=1.0, downscale=4, eval_views=1, set_=("upsilon=0.2",))
    size = ("--set=upsilon=0.2", "--downscale=4", "--max-seconds=60", "--eval-views=1")
    found = expanding.variants(defining.define(said))
    told = {variant.label: list(expanding._arguments(variant)) for variant in found}
    assert {label: [text for text in texts if text in size] for label, texts in told.items()} == dict.fromkeys(
        ("a", "b"), [size[0], "--downscale=4", "--eval-views=1", "--max-seconds=60"]
    )
    assert not [text for texts in told.values() for text in texts if "iterations" in text or "0.1" in text]


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"ranks": ("prefix",)}, "--ranks does not go with a suite that compares values of it"),
        ({"set_": ("ranks=prefix",)}, "--set ranks does not go with"),
        ({"set_": ("max-seconds=3",)}, "--set max_seconds does not go with"),
    ],
)
def test_the_command_line_does_not_say_what_a_suite_compares(tmp_path, options, because):
    (tmp_path / "mine.toml").write_text(SUITE)
    with pytest.raises(UserError, match=because):
        defining.define(Suite(suite=str(tmp_path / "mine.toml"), **options))


@pytest.mark.parametrize("option", ["out", "data"])
def test_an_address_is_no_folder(option):
    with pytest.raises(UserError, match="a folder is expected; mount what lies at an address"):
        command.run(Suite(scenes=("lantern",), **{option: Path("s3://bucket/mine")}))


def test_runs_that_go_by_the_clock_run_one_at_a_time():
    timed = plan(scenes=("lantern",), max_seconds=5.0)
    assert command._jobs(timed, Suite()) == 1
    with pytest.raises(UserError, match="would disturb each other"):
        command._jobs(timed, Suite(jobs=2))
    counted = plan(scenes=("lantern", "orrery"), iterations=5)
    assert command._jobs(counted, Suite(jobs=8)) == 2


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("upsilon", "an entry and its value"),
        ("upsilo=0.2", "did you mean 'upsilon'?"),
        ("ranks.l1=1", "'l1' stands in it without 'ranks'"),
        ("upsilon=much", "a number is expected"),
        ("num_ranks=1.5", "a whole number is expected"),
        ("frusta=perhaps", "true or false"),
        ("ranks=foo", "one of prefix, train, plain"),
        ("preset=paper", "an option of its own"),
        ("begun=true", "'begun' cannot be set"),
        ("strategy.begun=true", "'strategy.begun' cannot be set"),
        ("resolutions=3,4,5,6", "one entry more"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(text, because):
    with pytest.raises(UserError) as error:
        read_settings(QUICK, [text])
    assert because in str(error.value)


def test_settings_have_the_type_of_their_entry():
    texts = ["ranks.upsilon=0.2", "strategy.num-ranks=4", "resolutions=[16, 20]", "frusta=true", "max_seconds=none"]
    assert read_settings(QUICK, texts) == {
        "upsilon": 0.2, "num_ranks": 4, "resolutions": (16, 20), "frusta": True, "max_seconds": None
    }  # fmt: skip
    with pytest.raises(UserError, match="twice"):
        read_settings(QUICK, ["upsilon=1", "ranks.upsilon=2"])
