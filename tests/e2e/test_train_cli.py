"""``train.py`` as a user runs it: to its end, stopped, killed, and resumed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from taichi_rf.core.files import read_json, read_lines
from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.training.run import CONFIG, EVENTS, LOCK, METRICS, MODEL, REPORT, THUMBNAIL
from tests.e2e.train_cli import ITERATIONS, TIMEOUT, chunks, refuses, start, train, wait_for
from tests.tiny import write_tiny_scene

# To the end


def test_a_run_ends_with_a_table_and_everything_in_its_folder(place):
    run, output = place / "runs" / "whole", (place / "output").read_text()
    assert {path.name for path in run.iterdir()} == {CONFIG, "checkpoint", MODEL, METRICS, EVENTS, REPORT, THUMBNAIL}
    metrics = read_json(run / METRICS)
    assert metrics["levels"][-1]["psnr"] > 20
    for level in metrics["levels"]:
        assert f"{level['psnr']:.2f}" in output
    assert str(Path("runs/whole") / REPORT) in output
    assert "\x1b" not in output
    assert "\r" not in output
    assert read_lines(run / EVENTS)[-1]["event"] == "evaluation"
    config = read_json(run / CONFIG)
    assert config["scene"]["source"] == str(place / "balls")
    assert config["config"]["iterations"] == ITERATIONS


def test_the_model_says_how_to_look_at_it(place):
    metadata = read_trf(place / "runs" / "whole" / MODEL).header["metadata"]
    assert 3.4 < metadata["view"]["distance"] < 4.5
    assert len(metadata["level_psnr"]) == 4


def test_time_is_counted_options_are_kept_and_overwrite_replaces(place, tmp_path):
    shutil.copytree(place / "runs" / "whole", tmp_path / "run")
    done = train(
        place / "balls", "--max-seconds", 1, "--out", tmp_path / "run", "--ranks", "plain", "--background", "random",
        "--decoder", "sh", "--seed", 7, "--views", 6, "--downscale", 2, "--eval-views", 1, "--arch", "cpu",
        "--overwrite", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics, config = read_json(tmp_path / "run" / METRICS), read_json(tmp_path / "run" / CONFIG)
    assert 1 <= metrics["train_seconds"] < 2
    assert metrics["iterations"] > 5
    assert metrics["views"] == 1
    kept = {"ranks": "plain", "background": "random", "seed": 7, "max_seconds": 1.0}
    entries = config["config"] | config["config"]["strategy"]
    assert {key: entries[key] for key in kept} == kept
    assert (config["scene"]["views"], config["scene"]["downscale"], config["arch"]) == (6, 2, "cpu")


def test_an_octree_is_trained_as_its_options_say(place, tmp_path):
    done = train(
        place / "balls", "--method", "vqad", "--codes", "lowrank", "--bits", 2, "--levels", "2-3", "--joint", "random",
        "--no-depth", "--decoder", "small", "--iterations", 60, "--out", "run", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics, config = read_json(tmp_path / "run" / METRICS), read_json(tmp_path / "run" / CONFIG)["config"]
    assert (metrics["method"], metrics["level_name"], len(metrics["levels"])) == ("vqad", "LOD", 2)
    sizes = [level["bytes"] for level in metrics["levels"]]
    assert sizes[0] < sizes[1] == (tmp_path / "run" / MODEL).stat().st_size
    kept = {"codes": "lowrank", "bits": 2, "base_depth": 2, "lods": 2, "joint": "random", "depth": False}
    assert {key: config["strategy"][key] for key in kept} == kept
    field = read_trf(tmp_path / "run" / MODEL).header["field"]
    assert (field["codes"], field["rank"], field["base_depth"], field["num_levels"]) == ("lowrank", 2, 2, 2)
    assert "LOD" in done.stdout
    events = [event["event"] for event in read_lines(tmp_path / "run" / EVENTS)]
    assert {"grow", "quantise", "filter", "evaluation"} <= set(events)


def test_an_octree_that_was_stopped_goes_on_to_the_same_model(place, tmp_path):
    method = (place / "balls", "--method", "vqad", "--iterations", 120)
    done = train(*method, "--out", "whole", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    process = start(*method, "--out", "run", folder=tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT)
    assert load_checkpoint(tmp_path / "run" / "checkpoint")[1]["iteration"] < 120
    done = train("--resume", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(chunks(tmp_path / "run")) == 3
    assert chunks(tmp_path / "run") == chunks(tmp_path / "whole")


def test_without_test_views_there_is_no_psnr_and_without_out_a_new_folder_is_named_after_the_scene(tmp_path):
    write_tiny_scene(tmp_path / "balls", test=0)
    (tmp_path / "runs" / "balls-1").mkdir(parents=True)
    done = train("balls", "--iterations", 5, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no test views" in done.stdout
    run = tmp_path / "runs" / "balls-2"
    assert [level["psnr"] for level in read_json(run / METRICS)["levels"]] == [None] * 4
    assert (run / REPORT).exists()
    assert list((tmp_path / "runs" / "balls-1").iterdir()) == []


# Not to the end


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_model(place, tmp_path, number, code):
    process = start(place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code
    assert "--resume run" in errors
    assert "Traceback" not in errors
    _, state = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert 0 < state["iteration"] < ITERATIONS
    assert f"iteration {state['iteration']}" in errors
    assert (tmp_path / "run" / MODEL).exists()
    if number == signal.SIGINT:
        done = train("--resume", "run", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert chunks(tmp_path / "run") == chunks(place / "runs" / "whole")


def test_a_killed_run_goes_on_from_its_last_checkpoint_to_the_same_model(place, tmp_path):
    process = start(
        place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path, TINY_SAVE_SECONDS="0.2"
    )
    saved = tmp_path / "run" / "checkpoint"
    first = saved.stat().st_ino
    wait_for(lambda: saved.stat().st_ino != first, process)
    process.kill()
    process.communicate()
    assert (tmp_path / "run" / LOCK).exists()
    _, state = load_checkpoint(saved)
    assert 0 < state["iteration"] < ITERATIONS
    done = train("--resume", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"going on from iteration {state['iteration']}" in done.stdout
    assert chunks(tmp_path / "run") == chunks(place / "runs" / "whole")
    events = [event for event in read_lines(tmp_path / "run" / EVENTS) if event["event"] != "evaluation"]
    assert len({(event["event"], event["iteration"]) for event in events}) == len(events)


def test_a_second_process_does_not_write_to_the_same_run(place, tmp_path):
    process = start(place / "balls", "--iterations", 10**6, "--out", "run", folder=tmp_path)
    try:
        done = train("--resume", "run", folder=tmp_path)
        assert done.returncode == 2
        assert str(process.pid) in done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(place, tmp_path):
    done = train(
        place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path,
        TINY_NAN_AT="30", TINY_SAVE_SECONDS="0.001",
    )  # fmt: skip
    assert done.returncode == 2
    assert "the loss became nan at iteration 29" in done.stderr
    assert "Traceback" not in done.stderr
    _, state = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert state["iteration"] == 29
    assert not (tmp_path / "run" / METRICS).exists()


def test_a_finished_run_can_be_made_longer_but_not_otherwise(place, tmp_path):
    shutil.copytree(place / "runs" / "whole", tmp_path / "run")
    longer = ITERATIONS + 5
    done = train("--resume", "run", place / "balls", "--iterations", longer, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / METRICS)["iterations"] == longer
    assert read_json(tmp_path / "run" / CONFIG)["config"]["iterations"] == longer
    refuses("--resume", "run", "--decoder", "mlp", folder=tmp_path, because="--decoder does not go with --resume")
    refuses("--resume", "run", "--overwrite", folder=tmp_path, because="--overwrite does not go with --resume")
