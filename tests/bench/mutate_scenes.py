"""Scenes changed at random, and read: every one must be read, or refused with a UserError, soon and within its memory.

    python tests/bench/mutate_scenes.py --count 10000 --seed 1

Changed are values, keys and types of the JSON, files (truncated, other bytes, of another kind, size, mode or EXIF
orientation), names and links. What went wrong is printed with the seed that repeats it, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import scenes  # noqa: E402
from taichi_rf.core.errors import UserError  # noqa: E402
from taichi_rf.kernels.rays import look_at  # noqa: E402

LIMIT = 10
"""Seconds for one scene."""
ROOM = 64 * 2**20
"""Bytes by which a process may grow beyond what was announced: modules imported late, and what malloc keeps."""
LONGEST = 2000
"""Characters of a message."""
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 2, 1e-320, 1e-300, 1e300, 1e308, -1e308, float("nan"), float("inf"), 10**400,
    2**31, 2**63, "", "0", "x", "\0", "\ud800", "../x", "train/r_0", "a" * 5000, [], [[]], {}, {"a": 1}, [0] * 4,
    [[0] * 4] * 4, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [float("nan")] * 3, [["x"] * 4] * 4,
    [None] * 16,
]  # fmt: skip
KEYS = [
    "camera_angle_x", "camera_angle_y", "fl_x", "fl_y", "fx", "fy", "cx", "cy", "w", "h", "k1", "p2", "camera_model",
    "is_fisheye", "distortion_params", "scale", "offset", "aabb_scale", "time", "mask_path", "depth_path", "frames",
    "depth_file_path", "integer_depth_scale", "depth_unit_scale_factor", "file_path", "transform_matrix", "unknown",
    "rolling_shutter", "transform_matrix_start",
]  # fmt: skip
NAMES = [
    "train\\r_1",
    "./train//r_1.png",
    "/elsewhere/train/r_1.png",
    "train/R_1.JPG",
    "train/r_1.png.png",
    "train",
    ".",
]
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
SUFFIXES = [".png", ".jpg", ".tif", ".webp", ".bmp", ".gif", ".npy"]


def write(folder: Path, dice: random.Random) -> None:
    """A scene with depth and test views that is right."""
    general = {"camera_angle_x": 0.7, "depth_unit_scale_factor": 1e-3}
    for split, count in (("train", 3), ("test", 2)):
        (folder / split).mkdir(parents=True)
        frames = []
        for index in range(count):
            pixels = np.full((6, 8, 4), 255, np.uint8)
            pixels[:, : index + 1, :3] = 40 * index
            Image.fromarray(pixels).save(folder / split / f"r_{index}.png")
            Image.fromarray(np.full((6, 8), 4000, np.uint16)).save(folder / split / f"d_{index}.png")
            pose = look_at((4 * math.cos(index), 4 * math.sin(index), 0.5), (0, 0, 0), (0, 0, 1))
            frames.append(
                {
                    "file_path": f"./{split}/r_{index}",
                    "depth_file_path": f"./{split}/d_{index}.png",
                    "transform_matrix": [*np.asarray(pose).tolist(), [0, 0, 0, 1]],
                }
            )
        if dice.random() < 0.3:
            general |= {"fl_x": 4 / math.tan(0.35), "w": 8, "h": 6, "cx": 4, "cy": 3}
        (folder / f"transforms_{split}.json").write_text(json.dumps({**general, "frames": frames}))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(value, key), *places(item)]
    return found


def some_value(dice: random.Random, old: Any) -> Any:
    if isinstance(old, float | int) and not isinstance(old, bool) and abs(old) < 2**100 and dice.random() < 0.5:
        return old * dice.choice([-1, 0, 0.5, 0.999, 1.001, 2, 10, 1e6, 1e-6])
    if isinstance(old, str) and dice.random() < 0.5:
        return dice.choice([*NAMES, old.upper(), old + ".png", old[:-1], "../" + old, old.replace("/", "\\")])
    return copy.deepcopy(dice.choice(VALUES))


def mutate_json(path: Path, dice: random.Random) -> str:
    data = json.loads(path.read_text())
    done = []
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        where, key = dice.choice(places(data) or [([0], 0)])
        how = dice.choice(["value", "value", "value", "drop", "add", "double", "swap"])
        done.append(f"{how} {key}")
        if how == "value":
            where[key] = some_value(dice, where[key])
        elif how == "drop":
            del where[key]
        elif how == "add":
            keys = [item for item, _ in places(data) if isinstance(item, dict)] or [{}]
            dice.choice(keys)[dice.choice(KEYS)] = copy.deepcopy(dice.choice(VALUES))
        elif how == "double" and isinstance(where, list):
            where.extend(copy.deepcopy([where[key]] * dice.choice([1, 5])))
        elif how == "swap":
            other, second = dice.choice(places(data))
            where[key], other[second] = copy.deepcopy(other[second]), copy.deepcopy(where[key])
    path.write_text(json.dumps(data), encoding="utf-8", errors="surrogatepass")
    return f"{path.name}: {', '.join(done)}"


def mutate_bytes(path: Path, dice: random.Random) -> str:
    content = bytearray(path.read_bytes())
    how = dice.choice(["cut", "flip", "flip", "insert", "zeros", "empty", "repeat"])
    at = dice.randrange(len(content)) if content else 0
    if how == "cut":
        del content[at:]
    elif how == "flip":
        for _ in range(dice.choice([1, 3, 20]) if content else 0):
            content[dice.randrange(len(content))] = dice.randrange(256)
    elif how == "insert":
        content[at:at] = dice.randbytes(dice.choice([1, 4, 1000]))
    elif how == "zeros":
        content[at : at + 16] = bytes(16)
    elif how == "empty":
        content.clear()
    else:
        content *= 2
    path.write_bytes(content)
    return f"{path.name}: {how} at {at}"


def mutate_image(path: Path, dice: random.Random) -> str:
    """Another image in the place of ``path``: of another kind, size, mode, orientation or content."""
    mode, suffix = dice.choice(MODES), dice.choice(SUFFIXES)
    size = dice.choice([(8, 6), (8, 6), (6, 8), (16, 12), (1, 1), (9, 6), (800, 600), (4000, 1), (1, 3000)])
    pixels = np.random.default_rng(dice.randrange(2**32)).integers(0, 65536, (size[1], size[0]))
    image = Image.fromarray((pixels / 257).astype(np.uint8))
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(pixels.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = dice.choice([*range(1, 9), 0, 9, 99])
    target = path if dice.random() < 0.5 else path.with_suffix(suffix)
    path.unlink()
    try:
        if suffix == ".npy":
            np.save(
                target, (pixels / 4).astype(dice.choice([np.uint16, np.float32, np.float16, np.int8, np.complex64]))
            )
        else:
            options = {"exif": exif} if suffix in (".png", ".jpg", ".tif", ".webp") and dice.random() < 0.5 else {}
            image.save(target, Image.registered_extensions()[suffix], **options)
    except (OSError, ValueError, KeyError):  # there is no such file of that mode
        target.write_bytes(b"nothing")
    return f"{target.name}: {suffix}, {mode}, {size[0]} x {size[1]}, orientation {exif[0x0112]}"


def mutate_place(path: Path, dice: random.Random) -> str:
    """Another name, a link or a folder in the place of ``path``, or nothing."""
    how = dice.choice(["gone", "folder", "link out", "link in", "loop", "nowhere", "upper", "pipe", "suffix"])
    moved = path.with_name(f"moved_{path.name}")
    path.rename(moved)
    if how == "folder":
        path.mkdir()
    elif how == "link out":
        path.symlink_to("/etc/passwd")
    elif how == "link in":
        path.symlink_to(moved.name)
    elif how in ("loop", "nowhere"):
        path.symlink_to(path.name if how == "loop" else "nowhere")
    elif how == "upper":
        moved.rename(path.with_name(path.name.upper()))
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "suffix":
        moved.rename(path.with_suffix(dice.choice(SUFFIXES)))
    return f"{path.name}: {how}"


def mutate(folder: Path, dice: random.Random) -> str:
    """Change the scene in ``folder``; returns what was done."""
    write(folder, dice)
    done = []
    for _ in range(dice.choice([1, 1, 2])):
        jsons, images = sorted(folder.glob("transforms_*.json")), sorted(folder.glob("*/*"))
        kind = dice.choice([mutate_json] * 5 + [mutate_bytes] * 2 + [mutate_image] * 2 + [mutate_place])
        path = dice.choice(jsons if kind is mutate_json or dice.random() < 0.1 and kind is mutate_bytes else images)
        if path.is_file() and not path.is_symlink():
            try:
                done.append(kind(path, dice))
            except ValueError:  # bytes that were changed are JSON no more
                done.append(mutate_bytes(path, dice))
    return "; ".join(done)


def read(folder: Path, dice: random.Random) -> str:
    """How reading the scene ends: "read" or "refused". What is wrong with the end is raised."""
    announced = [0]
    before = peak()
    try:
        scene = scenes.load(
            str(folder),
            downscale=dice.choice([1, 1, 2, 3]),
            depth=dice.random() < 0.7,
            follow_links=dice.random() < 0.3,
            max_test_views=dice.choice([None, None, 0, 1]),
            announce=announced.append,
        )
    except UserError as error:
        if len(str(error)) > LONGEST or "Traceback" in str(error):
            raise AssertionError(f"a message of {len(str(error))} characters: {error!s:.300}") from error
        return "refused"
    finally:
        if (grown := peak() - before) > max(announced) + ROOM:
            raise AssertionError(f"grew by {grown:,} bytes; {max(announced):,} were announced")
    for split in (scene.train, scene.test):
        images = [split.pixels[index] for index in range(len(split))]
        depths = () if split.depths is None else split.depths
        for array in (*images, *depths, split.cameras.poses, split.cameras.intrinsics):
            assert np.isfinite(array).all(), "numbers that are not finite"
        assert len(split) == 0 or all(np.isfinite(rays).all() for rays in split.cameras[0].rays()), "rays"
    assert 0 <= scene.near < scene.far < math.inf
    assert all(len(text) <= LONGEST for text in scene.warnings), "a long warning"
    return "read"


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT} s")


def run(count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Read ``count`` changed scenes; returns how often each end came, and what went wrong."""
    ends: dict[str, int] = {}
    wrong: list[str] = []
    signal.signal(signal.SIGALRM, too_long)
    for number in range(seed * 1_000_000, seed * 1_000_000 + count):
        dice = random.Random(number)
        folder = Path(tempfile.mkdtemp(prefix="mutant-"))
        what = "nothing"
        signal.alarm(LIMIT)
        try:
            what = mutate(folder, dice)
            end = read(folder, dice)
        except Exception:
            end = "wrong"
            wrong.append(f"{number}: {what}\n{traceback.format_exc()}")
        finally:
            signal.alarm(0)
            shutil.rmtree(folder, ignore_errors=True)
        ends[end] = ends.get(end, 0) + 1
    return ends, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started, every = time.monotonic(), 500
    ends: dict[str, int] = {}
    failed = False
    for first in range(0, options.count, every):
        some, wrong = run(min(every, options.count - first), options.seed + first)
        ends = {end: ends.get(end, 0) + some.get(end, 0) for end in {*ends, *some}}
        failed |= bool(wrong)
        print("\n".join(wrong), end="\n" * bool(wrong))
        print(f"{sum(ends.values())} scenes after {time.monotonic() - started:.0f} s: {ends}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
