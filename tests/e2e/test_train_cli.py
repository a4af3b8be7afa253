"""``train.py`` as a user runs it: to the end, interrupted, killed, and with everything that can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taichi_rf.core import backend
from taichi_rf.core.files import read_json, read_lines
from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.training.run import CONFIG, EVENTS, LOCK, METRICS, MODEL, REPORT
from tests.tiny import write_tiny_scene

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 400  # seconds, on any machine more than a signal needs to arrive
TIMEOUT = 240
HERE = {"PYTHONPATH": str(ROOT), "DISPLAY": "", "WAYLAND_DISPLAY": ""}


def command(*arguments: object, tiny: bool) -> list[str]:
    script = "tests/e2e/tiny_train.py" if tiny else "train.py"
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def train(*arguments: object, folder: Path, tiny: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*arguments, tiny=tiny), cwd=folder, env={**os.environ, **HERE, **environment},
        capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip


def start(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start it, and return once it trains."""
    process = subprocess.Popen(
        command(*arguments, tiny=True), cwd=folder, env={**os.environ, **HERE, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training"):
            return process
    raise AssertionError(process.communicate())


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses(
    *arguments: object, folder: Path, because: str, tiny: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """It ends with 2 and one plain line that holds ``because``, and leaves the folder as it was."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = train(*arguments, folder=folder, tiny=tiny, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert because in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    return done


def chunks(run: Path) -> list[bytes]:
    return read_trf(run / MODEL).chunks


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, and a finished run of it."""
    folder = tmp_path_factory.mktemp("place")
    write_tiny_scene(folder / "balls")
    done = train("balls", "--iterations", ITERATIONS, "--out", "runs/whole", folder=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


@pytest.fixture
def spoilable(place: Path, tmp_path: Path) -> Path:
    """The scene's folder, to be broken."""
    return Path(shutil.copytree(place / "balls", tmp_path / "balls"))


# To the end


def test_a_run_ends_with_a_table_and_everything_in_its_folder(place):
    run, output = place / "runs" / "whole", (place / "output").read_text()
    assert {path.name for path in run.iterdir()} == {CONFIG, "checkpoint", MODEL, METRICS, EVENTS, REPORT}
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
    assert {key: config["config"][key] for key in kept} == kept
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
    assert {key: config[key] for key in kept} == kept
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


# In a window


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen."""
    read, write = os.pipe()
    arguments = ["-displayfd", str(write), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(["Xvfb", *arguments], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(10)


class Window:
    """``train.py --view`` on a virtual screen."""

    def __init__(self, *arguments: object, folder: Path, display: str, **environment: str) -> None:
        self.environment = {**os.environ, **HERE, "DISPLAY": display, "TAICHI_RF_CONFIG": str(folder), **environment}
        self.process = subprocess.Popen(
            command(*arguments, "--view", tiny=True), cwd=folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for(self, what: Callable[[], bool]) -> None:
        wait_for(what, self.process)

    def close(self, how: str = "Escape") -> tuple[int, str, str]:
        """Press Escape, or send Ctrl-C; return exit code, output and errors."""
        try:
            if how == "Ctrl-C":
                self.process.send_signal(signal.SIGINT)
            else:
                press = ["xdotool", "search", "--sync", "--name", "Taichi RF", "mousemove", "640", "600", "key", how]
                subprocess.run(press, env=self.environment, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)
            output, errors = self.process.communicate(timeout=TIMEOUT)
        finally:
            self.process.kill()
        assert "Traceback" not in errors
        return self.process.returncode, output, errors


@pytest.mark.parametrize(("how", "code"), [("Escape", 0), ("Ctrl-C", 130)])
def test_a_window_that_is_closed_while_training_leaves_a_run_to_resume(place, tmp_path, display, how, code):
    run = tmp_path / "run"
    long = (place / "balls", "--iterations", 10**6, "--out", "run")
    window = Window(*long, folder=tmp_path, display=display, TINY_SAVE_SECONDS="0.1")
    window.wait_for((run / MODEL).exists)  # written with the second checkpoint
    closed, output, errors = window.close(how)
    assert closed == code, errors
    assert "--resume run" in output + errors
    _, state = load_checkpoint(run / "checkpoint")
    assert state["iteration"] > 0
    assert f"iteration {state['iteration']:,}" in output + errors
    assert len(chunks(run)) == 4
    assert not (run / LOCK).exists()
    again = Window("--resume", "run", folder=tmp_path, display=display, TINY_SAVE_SECONDS="0.1")
    before = (run / "checkpoint").stat().st_ino
    again.wait_for(lambda: (run / "checkpoint").stat().st_ino != before)
    assert again.close()[0] == 0
    assert load_checkpoint(run / "checkpoint")[1]["iteration"] > state["iteration"]


def test_a_training_that_ends_in_its_window_is_evaluated_there_and_makes_the_same_model(place, tmp_path, display):
    window = Window(place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path, display=display)
    window.wait_for((tmp_path / "run" / REPORT).exists)
    code, output, errors = window.close()
    assert code == 0, errors
    levels = read_json(tmp_path / "run" / METRICS)["levels"]
    for level in levels:
        assert f"{level['psnr']:.2f}" in output
    assert chunks(tmp_path / "run") == chunks(place / "runs" / "whole")
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_finished_run_that_is_resumed_with_view_is_shown_and_evaluated_in_its_window(place, tmp_path, display):
    run = tmp_path / "run"
    shutil.copytree(place / "runs" / "whole", run)
    before = read_json(run / METRICS)
    (run / METRICS).unlink()
    window = Window("--resume", "run", place / "balls", folder=tmp_path, display=display)
    window.wait_for((run / METRICS).exists)
    code, output, errors = window.close()
    assert code == 0, errors
    psnr = [level["psnr"] for level in before["levels"]]
    assert [level["psnr"] for level in read_json(run / METRICS)["levels"]] == psnr
    assert f"{before['levels'][-1]['psnr']:.2f}" in output
    assert "evaluate it with" not in output


def test_a_window_closed_before_the_evaluation_is_followed_by_one_and_no_request_for_it(place, tmp_path, display):
    run = tmp_path / "run"
    shutil.copytree(place / "runs" / "whole", run)
    window = Window("--resume", "run", place / "balls", folder=tmp_path, display=display)
    code, output, errors = window.close()
    assert code == 0, errors
    assert f"{read_json(run / METRICS)['levels'][-1]['psnr']:.2f}" in output
    assert "evaluate it with" not in output


def test_a_loss_that_is_no_number_ends_the_training_and_not_the_window(place, tmp_path, display):
    window = Window(
        place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path, display=display,
        TINY_NAN_AT="30", TINY_SAVE_SECONDS="0.001",
    )  # fmt: skip
    lock = tmp_path / "run" / LOCK
    window.wait_for(lock.exists)
    window.wait_for(lambda: not lock.exists())  # it lets go of the folder when the training has ended
    code, _, errors = window.close()
    assert code == 2
    assert "the loss became nan at iteration 29" in errors
    assert "--resume run" in errors
    assert load_checkpoint(tmp_path / "run" / "checkpoint")[1]["iteration"] == 29


# What is refused


def test_help_names_every_option(tmp_path):
    done = train("--help", folder=tmp_path, tiny=False)
    assert done.returncode == 0
    for option in (
        "--method", "--preset", "--out", "--downscale", "--views", "--background", "--ranks", "--codes", "--bits",
        "--levels", "--joint", "--no-depth", "--decoder", "--max-seconds",
        "--iterations", "--seed", "--arch", "--eval-views", "--resume", "--overwrite", "--view", "SCENE", "paper",
    ):  # fmt: skip
        assert option in done.stdout


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
