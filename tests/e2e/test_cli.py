"""``python -m taichi_rf`` as a user runs it, on a small model and on files that are damaged or written to attack."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from taichi_rf.core.files import read_json
from taichi_rf.kernels.rays import look_at
from taichi_rf.motion.camera_path import CameraPath, Frame
from taichi_rf.storage.trf import read_trf, write_trf
from tests.tiny import write_tiny_scene

ROOT = Path(__file__).resolve().parents[2]
SCENE = ("builtin:lantern", "--downscale", 16, "--eval-views", 2)
HERE = {"PYTHONPATH": str(ROOT), "DISPLAY": "", "WAYLAND_DISPLAY": ""}


def cli(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taichi_rf", *map(str, arguments)],
        cwd=folder, env={**os.environ, **HERE}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def works(*arguments: object, folder: Path) -> str:
    done = cli(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuses(*arguments: object, folder: Path, because: str) -> None:
    """It ends with 2 and one plain line that holds ``because``, and nothing in the folder is new or changed."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = cli(*arguments, folder=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert because in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    """A model of four ranks, to be broken."""
    return Path(shutil.copy(tiny_run / "model.trf", tmp_path / "model.trf"))


def test_info_says_what_each_level_costs(tiny_run, tmp_path):
    output = works("info", tiny_run, folder=tmp_path)
    assert "lantern" in output
    for size, psnr in zip(read_trf(tiny_run / "model.trf").prefix_bytes, (11, 13, 17, 23)):
        assert f"{size / 1e3:.1f} kB" in output or f"{size / 1e6:.2f} MB" in output
        assert f"{psnr:.2f}" in output


def test_a_slimmed_model_scores_as_that_rank_of_the_whole(model, tmp_path):
    whole, small = tmp_path / "whole.json", tmp_path / "small.json"
    output = works("evaluate", model, *SCENE, "--json", whole, folder=tmp_path)
    levels = read_json(whole)["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3, 4]
    assert all(f"{level['psnr']:.2f}" in output for level in levels)
    works("slim", model, "--rank", 2, "-o", "small.trf", folder=tmp_path)
    works("evaluate", "small.trf", *SCENE, "--json", small, folder=tmp_path)
    assert read_json(small)["levels"] == [pytest.approx(level, abs=1e-6) for level in levels[:2]]
    assert (tmp_path / "small.trf").stat().st_size == levels[1]["bytes"]
    assert 0.45 < levels[1]["bytes"] / levels[3]["bytes"] < 0.6


@pytest.fixture(scope="module")
def octree_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an octree of three levels of detail on files of its own; not to be written to."""
    folder = tmp_path_factory.mktemp("octree")
    write_tiny_scene(folder / "balls")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "e2e" / "tiny_train.py"), "balls", "--method", "vqad", "--out", "run"],
        cwd=folder, env={**os.environ, **HERE}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_info_says_what_an_octrees_levels_are_made_of(octree_run, tmp_path):
    output = works("info", octree_run, folder=tmp_path)
    file = read_trf(octree_run / "model.trf")
    rows = {words[0]: words[1:] for line in output.splitlines() if (words := line.split())}
    assert rows["LODs"] == ["3"]
    for name in ("cells", "vertices"):
        counts = file.header["field"][name]
        assert rows[name] == [f"{count:,}" for count in (*counts, sum(counts))]
    sizes = [len(chunk) for chunk in file.chunks]
    assert rows["chunk"] == [f"{size:,}" for size in (*sizes, sum(sizes))]
    assert {"indices", "codebook", "tree", "smaller", "formula"} <= rows.keys()
    assert "grid" not in rows


def test_an_octree_is_slimmed_scored_and_rendered_by_level_of_detail(octree_run, tmp_path):
    assert "does not hold" not in works("evaluate", octree_run, "--json", "whole.json", folder=tmp_path)
    whole = read_json(tmp_path / "whole.json")
    assert (whole["level_name"], [level["level"] for level in whole["levels"]]) == ("LOD", [1, 2, 3])
    works("slim", octree_run, "--lod", 2, "-o", "small.trf", folder=tmp_path)
    refuses("evaluate", "small.trf", folder=tmp_path, because="name it behind the model")
    shutil.copytree(octree_run.parent / "balls", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "train" / "r_0.png", tmp_path / "other" / "train" / "r_1.png")
    output = works("evaluate", "small.trf", "other", "--json", "small.json", folder=tmp_path)
    assert "warning: other does not hold what this model was trained on" in " ".join(output.split())
    small = read_json(tmp_path / "small.json")["levels"]
    assert small == [pytest.approx(level, abs=1e-6) for level in whole["levels"][:2]]
    assert (tmp_path / "small.trf").stat().st_size == small[-1]["bytes"]
    assert "2 of 3" in works("info", "small.trf", folder=tmp_path)
    size = ("--width", 48, "--height", 32)
    for name, model in (("of-whole.png", octree_run), ("of-part.png", "small.trf")):
        works("render", model, "-o", name, "--lod", 2, *size, folder=tmp_path)
    pictures = [np.asarray(Image.open(tmp_path / name), np.int32) for name in ("of-whole.png", "of-part.png")]
    assert np.ptp(pictures[0]) > 50
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1)
    works("render", octree_run, "-o", "turn.gif", "--turntable", "--sweep", "--seconds", 0.5, *size, folder=tmp_path)
    refuses("render", octree_run, "-o", "x.png", "--lod", 4, folder=tmp_path, because="4")


def test_a_run_is_evaluated_on_its_own_scene_and_at_one_level_if_asked(tiny_run, tmp_path):
    works("evaluate", tiny_run, "--lod", 1, "--downscale", 16, "--views", 1, "--json", "one.json", folder=tmp_path)
    found = read_json(tmp_path / "one.json")
    assert (found["scene"], found["views"], [level["level"] for level in found["levels"]]) == ("lantern", 1, [1])


def test_rank_level_and_lod_are_one_flag(model, tmp_path):
    for flag in ("--rank", "--level", "--lod"):
        works("slim", model, flag, 3, "--output", f"{flag[2:]}.trf", folder=tmp_path)
    assert len({(tmp_path / f"{name}.trf").read_bytes() for name in ("rank", "level", "lod")}) == 1


def test_slim_replaces_only_what_it_is_told_to(model, tmp_path):
    before = model.read_bytes()
    refuses("slim", model, "--rank", 1, "-o", "model.trf", "--overwrite", folder=tmp_path, because="the model itself")
    (tmp_path / "link.trf").symlink_to(model)
    refuses("slim", model, "--rank", 1, "-o", "link.trf", "--overwrite", folder=tmp_path, because="the model itself")
    (tmp_path / "other.trf").write_text("precious")
    refuses("slim", model, "--rank", 1, "-o", "other.trf", folder=tmp_path, because="--overwrite")
    works("slim", model, "--rank", 1, "-o", "other.trf", "--overwrite", folder=tmp_path)
    assert len(read_trf(tmp_path / "other.trf").chunks) == 1
    assert model.read_bytes() == before
    refuses("slim", model, "--rank", 1, "-o", "no/where.trf", folder=tmp_path, because="no/where.trf")


def test_slim_cuts_where_training_found_the_best_level(model, tmp_path):
    refuses("slim", model, "--rank", "auto", "-o", "x.trf", folder=tmp_path, because="train it with --rank auto")
    file = read_trf(model)
    metadata = file.header["metadata"]
    for best, because in ((0, "--rank auto"), (99, "--rank auto"), ("2", "--rank auto")):
        write_trf(tmp_path / "lying.trf", file.header | {"metadata": metadata | {"best_level": best}}, file.chunks)
        refuses("slim", "lying.trf", "--rank", "auto", "-o", "x.trf", folder=tmp_path, because=because)
    write_trf(tmp_path / "told.trf", file.header | {"metadata": metadata | {"best_level": 2}}, file.chunks)
    works("slim", "told.trf", "--rank", "auto", "-o", "best.trf", folder=tmp_path)
    assert read_trf(tmp_path / "best.trf").chunks == file.chunks[:2]


def test_slim_codes_a_model_to_a_precision_which_scores_almost_as_before(model, tmp_path):
    output = works("slim", model, "--precision", "small", "-o", "small.trf", folder=tmp_path)
    assert "rank 4: about 0.10 dB less" in output
    for name in ("model.trf", "small.trf"):
        works("evaluate", name, *SCENE, "--json", f"{name}.json", folder=tmp_path)
    before, after = (read_json(tmp_path / f"{name}.json")["levels"] for name in ("model.trf", "small.trf"))
    assert after[-1]["bytes"] < before[-1]["bytes"] / 2  # a grid this small is half random
    assert after[-1]["bytes"] == (tmp_path / "small.trf").stat().st_size
    for was, now in zip(before, after, strict=True):
        assert -0.3 < now["psnr"] - was["psnr"] < 0.3  # a score of two views of a few pixels
    works("slim", "small.trf", "--rank", 2, "-o", "smaller.trf", folder=tmp_path)
    assert (tmp_path / "smaller.trf").stat().st_size == after[1]["bytes"]
    output = works("info", "small.trf", folder=tmp_path)
    rows = {words[0]: words[1:] for line in output.splitlines() if (words := line.split())}
    assert {"planes", "lines", "table", "basis", "occupancy"} <= rows.keys()
    assert "x smaller" in output
    assert "≈ is an estimate" in output


def test_slim_finds_the_best_model_of_a_size(model, tmp_path):
    whole = model.stat().st_size
    output = works("slim", model, "--size", f"{whole // 4}", "-o", "quarter.trf", folder=tmp_path)
    assert "the highest PSNR by estimate of all that fit" in output
    assert (tmp_path / "quarter.trf").stat().st_size <= whole // 4
    works("render", "quarter.trf", "-o", "x.png", "--width", 16, "--height", 16, folder=tmp_path)
    output = works("slim", model, "--size", "1GB", "--rank", 3, "-o", "large.trf", folder=tmp_path)
    assert "as it is: it fits" in output
    assert (tmp_path / "large.trf").read_bytes() == model.read_bytes()[: read_trf(model).prefix_bytes[2]]
    refuses("slim", model, "--size", "1kB", "-o", "x.trf", folder=tmp_path, because="kB or more")
    refuses("slim", model, "--size", "much", "-o", "x.trf", folder=tmp_path, because="--size much: a size is expected")
    refuses("slim", model, "-o", "x.trf", folder=tmp_path, because="give --rank (or --lod), --precision or --size")
    both = ("--precision", "small", "--size", "1MB")
    refuses("slim", model, *both, "-o", "x.trf", folder=tmp_path, because="--size chooses the precision")


def test_an_octree_has_one_precision(octree_run, tmp_path):
    refuses("slim", octree_run, "--precision", "small", "-o", "x.trf", folder=tmp_path, because="one precision only")


@pytest.mark.parametrize("level", [0, 5, -1])
@pytest.mark.parametrize(
    "command",
    [["slim", "model.trf", "-o", "x.trf"], ["evaluate", "model.trf", *SCENE], ["render", "model.trf", "-o", "x.png"]],
)
def test_a_level_outside_the_model_is_refused(model, command, level):
    refuses(*command, "--level", level, folder=model.parent, because=f"{level}")


def test_render_writes_the_picture_of_a_level(tiny_run, tmp_path):
    pictures = []
    for level in (1, 4):
        works(
            "render", tiny_run, "-o", f"{level}.png", "--rank", level, "--width", 48, "--height", 32, "--azimuth", 30,
            folder=tmp_path,
        )  # fmt: skip
        pictures.append(np.asarray(Image.open(tmp_path / f"{level}.png"), np.int32))
    assert pictures[0].shape == (32, 48, 3)
    assert np.abs(pictures[0] - pictures[1]).max() > 20
    refuses("render", tiny_run, "-o", "out.jpg", folder=tmp_path, because=".png")
    refuses("render", tiny_run, "-o", "out.mp4", folder=tmp_path, because="--turntable")
    refuses("render", tiny_run, "-o", "out.png", "--width", 0, folder=tmp_path, because="--width 0")


def test_render_writes_videos_of_a_turn_and_of_a_camera_path(tiny_run, tmp_path):
    small = ("--width", 48, "--height", 32)
    turn = ("--turntable", "--seconds", 0.5, "--fps", 8, "--rank", 2)
    works("render", tiny_run, "-o", "turn.gif", *turn, *small, folder=tmp_path)
    assert iio.imread(tmp_path / "turn.gif").shape == (4, 32, 48, 3)
    path = CameraPath((Frame(look_at((4, 0, 1), (0, 0, 0)), 40), Frame(look_at((0, 4, 1), (0, 0, 0)), 40)), 40, 30, 5)
    path.save(tmp_path / "path.json")
    works("render", tiny_run, "-o", "path.mp4", "--path", "path.json", folder=tmp_path)
    first, second = iio.imread(tmp_path / "path.mp4").astype(int)
    assert first.shape == (30, 40, 3)
    assert np.abs(first - second).mean() > 1
    both = ("--turntable", "--path", "path.json")
    refuses("render", tiny_run, "-o", "out.mp4", *both, folder=tmp_path, because="one at a time")
    refuses(
        "render",
        tiny_run,
        "-o",
        "out.png",
        "--turntable",
        folder=tmp_path,
        because="ends in .mp4, .gif, .webp or .avif",
    )


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (["info", "nothing.trf"], "nothing.trf does not exist"),
        (["info", "."], "holds no model.trf"),
        (["slim", "nothing.trf", "--rank", 1, "-o", "x.trf"], "nothing.trf does not exist"),
        (["bench", "--json", "no/where.json"], "no/where.json"),
        (["bench", "--arch", "abacus"], "abacus"),
        (["melt", "model.trf"], "melt"),
        ([], "info"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, arguments, because):
    refuses(*arguments, folder=tmp_path, because=because)


def test_evaluate_names_a_scene_that_is_not_there(model):
    refuses("evaluate", model, "nowhere", folder=model.parent, because="there is no scene 'nowhere'")
    refuses("evaluate", model, "--eval-views", 0, folder=model.parent, because="--eval-views 0")


# Files that are not as they were written


def header_length(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 16)[0])


def claims(version: int, levels: int, length: int, data: bytes) -> bytes:
    """``data`` with another preamble, its checksum right."""
    text = data[24 : 24 + length]
    crc = zlib.crc32(struct.pack("<III", version, levels, length) + text)
    return data[:8] + struct.pack("<IIII", version, levels, length, crc) + data[24:]


def with_chunk_length(data: bytes, length: int) -> bytes:
    """``data`` whose first chunk claims to be ``length`` bytes long."""
    at = 24 + header_length(data) + 8
    return data[:at] + struct.pack("<Q", length) + data[at + 8 :]


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (lambda data: b"", "is not a .trf model"),
        (lambda data: b"PK\x03\x04" + data, "is not a .trf model"),
        (lambda data: data[:15], "ends within its header"),
        (lambda data: data[:200], "ends within its header"),
        (lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:], "its header is damaged"),
        (lambda data: claims(3, 4, header_length(data), data), "format version 3"),
        (lambda data: claims(1, 4, 0xFFFFFFFF, data), "claims 4294967295 bytes"),
        (lambda data: claims(1, 0xFFFFFFFF, header_length(data), data), "4294967295 levels"),
        (lambda data: with_chunk_length(data, 1 << 60), "base chunk is damaged"),
        (lambda data: data[: 24 + header_length(data)], "ends before the base chunk"),
    ],
)
def test_a_file_with_nothing_good_is_refused(model, damage: Callable[[bytes], bytes], because):
    model.write_bytes(damage(model.read_bytes()))
    refuses("info", "model.trf", folder=model.parent, because=because)
    refuses("slim", "model.trf", "--rank", 1, "-o", "x.trf", folder=model.parent, because="model.trf")


def test_the_good_prefix_of_a_damaged_file_is_used_with_a_warning(model, tmp_path):
    sizes = read_trf(model).prefix_bytes
    data = bytearray(model.read_bytes())
    data[sizes[2] - 50] ^= 1
    model.write_bytes(data)
    assert "level 3 is damaged" in works("info", model, folder=tmp_path)
    works("slim", model, "--rank", 2, "-o", "good.trf", folder=tmp_path)
    refuses("slim", model, "--rank", 3, "-o", "bad.trf", folder=tmp_path, because="level 3 is damaged")
    model.write_bytes(model.read_bytes()[: sizes[1] + 100])
    output = works("evaluate", model, *SCENE, "--json", "good.json", folder=tmp_path)
    assert "level 3 is damaged" in output
    assert len(read_json(tmp_path / "good.json")["levels"]) == 2
