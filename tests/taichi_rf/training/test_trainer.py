"""On the CPU the same training makes the same model, to the bit: run again, warmed up, saved or resumed."""

from __future__ import annotations

import functools
import gc
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenes.base import Scene
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.storage.trf import load_checkpoint, save_checkpoint
from taichi_rf.training import checkpoint
from taichi_rf.training.configs import vqad
from taichi_rf.training.configs.base import Config
from taichi_rf.training.schedule import RanksInTurn
from taichi_rf.training.trainer import Trainer
from tests.places import ROOT
from tests.tiny import ROWS, tiny_config, tiny_scene

RUNS: dict[str, dict[str, Any]] = {"sh": {}, "mlp": {"decoder": "mlp"}, "prefix": {"ranks": "prefix"}}
SAVED_AT = (3, 25, 44, 54)
"""Before almost everything; between two ranks; after shrink and filter, before the upsampling; in the last stretch."""


def fresh() -> None:
    """Restart Taichi: memory is given back, and kernels that were compiled before are found again."""
    gc.collect()
    backend.reset()
    backend.init("cpu")


def make(config: Config, scene: Scene | None = None) -> Trainer:
    fresh()
    return Trainer(scene or tiny_scene(), config, rows=ROWS)


def outcome(trainer: Trainer) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Everything in the trainer that does not depend on the clock."""
    arrays, state = checkpoint.capture(trainer)
    state = {key: value for key, value in state.items() if key != "elapsed"}
    state["events"] = [{key: value for key, value in event.items() if key != "seconds"} for event in state["events"]]
    return {name: values.tobytes() for name, values in arrays.items()}, state


def assert_same(ours: tuple[dict[str, bytes], dict[str, Any]], theirs: tuple[dict[str, bytes], dict[str, Any]]) -> None:
    assert ours[1] == theirs[1]
    assert [name for name in theirs[0] if ours[0].get(name) != theirs[0][name]] == []


@dataclass
class Finished:
    """A training that was warmed up, and saved on its way in a folder for each of ``SAVED_AT``."""

    config: Config
    folder: Path
    outcome: tuple[dict[str, bytes], dict[str, Any]]
    psnr: list[float]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    runs = {}
    for name, changes in RUNS.items():
        config, folder = tiny_config(**changes), tmp_path_factory.mktemp(name)
        trainer = make(config)
        trainer.warm_up()
        psnr = []
        while not trainer.done:
            psnr.append(trainer.step().psnr)
            if trainer.iteration in SAVED_AT:
                place = folder / str(trainer.iteration)
                place.mkdir()
                trainer.save(place)
        runs[name] = Finished(config, folder, outcome(trainer), psnr)
    return runs


@pytest.fixture
def saved(finished: dict[str, Finished], tmp_path: Path) -> Path:
    """A folder with a checkpoint, the test's own."""
    shutil.copy(finished["sh"].folder / "25" / checkpoint.NAME, tmp_path)
    return tmp_path


# To the bit


@pytest.mark.parametrize("run", RUNS)
def test_everything_that_a_schedule_can_do_happens_in_the_training_that_is_compared(finished, run):
    _, state = finished[run].outcome
    by_name = {event["event"]: event for event in state["events"]}
    low, high = np.array(by_name["shrink"]["box"])
    assert ((high - low) < 3).any()
    assert 0 < by_name["filter"]["rays"] < by_name["filter"]["of"]
    assert by_name["upsample"]["resolution"] == state["field"]["resolution"]
    ranks = [event["level"] for event in state["events"] if event["event"] == "rank"]
    assert ranks == [2, 3, 4]
    assert np.mean(finished[run].psnr[-5:]) > np.mean(finished[run].psnr[:5]) + 6


@pytest.mark.parametrize("run", RUNS)
def test_a_second_training_is_the_same_and_neither_warming_up_nor_saving_leaves_a_trace(finished, run):
    trainer = make(finished[run].config)
    while not trainer.done:
        trainer.step()
    assert_same(outcome(trainer), finished[run].outcome)


@pytest.mark.parametrize(
    ("run", "iteration"), [("sh", 3), ("sh", 25), ("sh", 44), ("mlp", 44), ("prefix", 25), ("prefix", 54)]
)
def test_a_resumed_training_is_the_uninterrupted_one(finished, run, iteration):
    fresh()
    trainer = Trainer.resume(finished[run].folder / str(iteration), tiny_scene(), rows=ROWS)
    assert trainer.iteration == iteration
    if iteration == 44:  # once is enough: warming up leaves no trace in a shrunken, filtered training either
        trainer.warm_up()
    while not trainer.done:
        trainer.step()
    assert_same(outcome(trainer), finished[run].outcome)


def test_a_checkpoint_whose_configuration_has_all_entries_side_by_side_as_in_0_1_0_goes_on(finished, tmp_path):
    fresh()
    arrays, state = load_checkpoint(finished["sh"].folder / "44" / checkpoint.NAME)
    flat = dict(state["config"])
    flat |= flat.pop("strategy") | json.loads(json.dumps(asdict(vqad.QUICK.strategy)))
    save_checkpoint(tmp_path / checkpoint.NAME, arrays, {**state, "config": flat})
    trainer = Trainer.resume(tmp_path, tiny_scene(), rows=ROWS)
    assert trainer.config == finished["sh"].config
    while not trainer.done:
        trainer.step()
    assert_same(outcome(trainer), finished["sh"].outcome)


def test_a_checkpoint_that_0_1_0_wrote_goes_on():
    fresh()
    trainer = Trainer.resume(ROOT / "tests/data/0.1.0", tiny_scene(), rows=ROWS)
    assert trainer.config == tiny_config(ranks="prefix", iterations=30)
    assert (trainer.iteration, trainer.level) == (20, 4)
    assert [text for text in trainer.warnings if "0.1.0" in text]
    before = trainer.history[-1]["psnr"]
    while not trainer.done:
        trainer.step()
    assert trainer.history[-1]["psnr"] > before - 1


def test_prefix_training_ends_with_the_mean_of_its_last_stretch(finished):
    fresh()
    trainer = Trainer.resume(finished["prefix"].folder / "54", tiny_scene(), rows=ROWS)
    assert trainer.optimiser.mean.count == 2  # steps 48 and 52
    while not trainer.done:
        last = {p.name: p.value.to_numpy() for p in trainer.model.parameters()}
        trainer.step()
    for p in trainer.model.parameters():
        mean = trainer.optimiser.mean.values[f"{p.name}.mean"].to_numpy()
        np.testing.assert_array_equal(p.value.to_numpy(), mean)
        assert (mean != last[p.name]).any()
    assert trainer.optimiser.mean.count == 0


def test_the_mean_is_taken_when_the_clock_runs_out_within_a_step(finished, monkeypatch):
    fresh()
    folder = finished["prefix"].folder / "54"
    config = finished["prefix"].config.changed(max_seconds=1000.0)
    trainer = Trainer.resume(folder, tiny_scene(), config, rows=ROWS)
    trainer.record.elapsed = 999.0
    last_update = trainer.optimiser.adam.step
    clock = time.perf_counter

    def slow(*args):
        last_update(*args)
        monkeypatch.setattr(time, "perf_counter", lambda: clock() + 1000)

    monkeypatch.setattr(trainer.optimiser.adam, "step", slow)
    trainer.step()
    assert trainer.done
    assert trainer.optimiser.mean.count == 0
    for p in trainer.model.parameters():
        np.testing.assert_array_equal(p.value.to_numpy(), trainer.optimiser.mean.values[f"{p.name}.mean"].to_numpy())


def test_the_mean_of_a_training_that_goes_on_longer_begins_anew(finished):
    fresh()
    folder, config = finished["prefix"].folder / "54", finished["prefix"].config
    trainer = Trainer.resume(folder, tiny_scene(), config.changed(iterations=200), rows=ROWS)
    assert trainer.optimiser.mean.count == 2
    trainer.step()
    assert trainer.optimiser.mean.count == 0


def test_a_training_that_is_over_where_it_was_stopped_ends_with_its_mean(finished):
    fresh()
    folder, config = finished["prefix"].folder / "54", finished["prefix"].config
    trainer = Trainer.resume(folder, tiny_scene(), config.changed(iterations=54), rows=ROWS)
    assert trainer.done
    assert trainer.optimiser.mean.count == 0
    for p in trainer.model.parameters():
        np.testing.assert_array_equal(p.value.to_numpy(), trainer.optimiser.mean.values[f"{p.name}.mean"].to_numpy())


def test_ranks_that_rest_stay_to_the_bit_and_a_training_in_turns_goes_on_where_it_was(tmp_path):
    trainer = make(tiny_config(ranks="bcd"))
    field = trainer.model.field
    turns = [(1, 2)] * RanksInTurn.TURN + [(3, 4)] * 14
    for moving in turns:
        before = {rank: ranks_state(trainer, rank) for rank in (1, 2, 3, 4)}
        if trainer.iteration == 25:
            trainer.save(tmp_path)
        trainer.step()
        for rank, state in before.items():
            same = {key: np.array_equal(values, state[key]) for key, values in ranks_state(trainer, rank).items()}
            assert set(same.values()) == {rank not in moving}, (trainer.iteration, rank, same)
    assert field.num_levels == trainer.level == 4
    expected = outcome(trainer)
    fresh()
    trainer = Trainer.resume(tmp_path, tiny_scene(), rows=ROWS)
    while trainer.iteration < len(turns):
        trainer.step()
    assert_same(outcome(trainer), expected)


def ranks_state(trainer: Trainer, rank: int) -> dict[str, np.ndarray]:
    """Factors and basis of one rank, and Adam's moments of them."""
    field, state = trainer.model.field, {}
    for key, values in (item for p in field.parameters() for item in p.state().items()):
        if key.startswith("factors"):
            state[key] = field.level_factors(rank, values)
        else:
            state[key] = values.reshape(3, -1, 27)[:, 3 * (rank - 1) : 3 * rank]
    return state


def test_another_seed_makes_another_model(finished):
    trainer = make(finished["sh"].config.changed(seed=1))
    for _ in range(3):
        trainer.step()
    assert trainer.history == []
    assert outcome(trainer)[0]["factors.value"] != finished["sh"].outcome[0]["factors.value"]


# What a checkpoint goes with


def test_a_longer_training_goes_on_where_a_shorter_one_ended(finished, saved):
    fresh()
    config = finished["sh"].config.changed(iterations=90)
    trainer = Trainer.resume(saved, tiny_scene(), config, rows=ROWS)
    assert trainer.progress == 25 / 90
    trainer.step()
    assert trainer.iteration == 26


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda scene: tiny_scene(train=7), "number of training images: 8 then, 7 now"),
        (lambda scene: moved(scene), "cameras: they have changed"),
    ],
)
def test_another_scene_is_refused(saved, other, says):
    with pytest.raises(UserError) as caught:
        Trainer.resume(saved, other(tiny_scene()), rows=ROWS)
    assert says in str(caught.value)


def moved(scene: Scene) -> Scene:
    poses = scene.train.cameras.poses.copy()
    poses[0, 0, 3] += 0.01
    return replace(scene, train=replace(scene.train, cameras=replace(scene.train.cameras, poses=poses)))


def test_another_configuration_is_refused(saved):
    with pytest.raises(UserError, match="num_ranks 4, not 5"):
        Trainer.resume(saved, tiny_scene(), tiny_config(num_ranks=5), rows=ROWS)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        Trainer.resume(tmp_path, tiny_scene(), rows=ROWS)


@pytest.mark.parametrize("place", [20, 700, -1000])
def test_a_damaged_checkpoint_is_refused(saved, place):
    data = bytearray((saved / checkpoint.NAME).read_bytes())
    data[place] ^= 1
    (saved / checkpoint.NAME).write_bytes(data)
    with pytest.raises(UserError, match="checkpoint"):
        Trainer.resume(saved, tiny_scene(), rows=ROWS)


# When it goes wrong


def test_a_loss_that_is_no_number_stops_before_anything_has_changed(finished, saved, monkeypatch):
    fresh()
    trainer = Trainer.resume(saved, tiny_scene(), rows=ROWS)
    trainer.step()
    before = trainer.model.field.value.to_numpy()
    loss = trainer.sampler.loss
    monkeypatch.setattr(trainer.sampler, "loss", lambda *rays, **of: (float("nan"), loss(*rays, **of)[1]))
    with pytest.raises(FloatingPointError, match="the loss became nan at iteration 26"):
        trainer.step()
    np.testing.assert_array_equal(trainer.model.field.value.to_numpy(), before)
    assert trainer.iteration == 26


def test_a_step_that_failed_leaves_no_gradient_behind(saved, monkeypatch):
    fresh()
    trainer = Trainer.resume(saved, tiny_scene(), rows=ROWS)
    trainer.part_rays = 100
    assert trainer.part() is None
    assert any(np.any(p.gradient.to_numpy()) for p in trainer.model.parameters())
    monkeypatch.setattr(trainer.sampler, "loss", lambda *rays, **of: (float("nan"), None))
    with pytest.raises(FloatingPointError):
        trainer.part()
    assert not any(np.any(p.gradient.to_numpy()) for p in trainer.model.parameters())


# Parts of a step


def test_a_step_in_parts_has_the_gradient_and_the_loss_of_one_in_one_piece():
    gradients, losses = [], []
    for rays in (256, 100):
        trainer = make(tiny_config())
        trainer.part_rays = rays
        trainer.model.march = functools.partial(steady, trainer.model.march)
        trainer.optimiser.adam.step = lambda parameters, factor, found=gradients: found.append(
            {p.name: p.gradient.to_numpy() for p in parameters}
        )
        losses.append(trainer.step().loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for name, whole in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], whole, atol=1e-5 * np.abs(whole).max(), err_msg=name)


def steady(march, *arguments, seed, **options):
    """Marching without the jitter, which is another for each part."""
    return march(*arguments, seed=None, **options)


def test_a_checkpoint_in_the_middle_of_a_step_is_that_of_its_end(tmp_path):
    trainer = make(tiny_config())
    trainer.part_rays = 100
    trainer.step()
    assert trainer.part() is None
    trainer.save(tmp_path)
    assert trainer.iteration == 2
    saved = outcome(trainer)
    whole = make(tiny_config())
    whole.part_rays = 100
    for _ in range(2):
        whole.step()
    assert_same(saved, outcome(whole))
    fresh()
    assert_same(saved, outcome(Trainer.resume(tmp_path, tiny_scene(), rows=ROWS)))


def test_parameters_that_are_no_numbers_do_not_replace_a_good_checkpoint(saved):
    fresh()
    trainer = Trainer.resume(saved, tiny_scene(), rows=ROWS)
    good = (saved / checkpoint.NAME).read_bytes()
    values = trainer.model.field.value.to_numpy()
    values[5, 3] = np.inf
    trainer.model.field.value.from_numpy(values)
    with pytest.raises(FloatingPointError, match=r"factors\.value"):
        trainer.save(saved)
    assert (saved / checkpoint.NAME).read_bytes() == good


def test_cameras_that_all_miss_the_box_are_refused():
    scene = tiny_scene()
    away = replace(scene, box=scene.box + 100)
    with pytest.raises(UserError, match="no training camera sees the box"):
        make(tiny_config(), away)
