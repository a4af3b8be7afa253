"""COLMAP's model files, binary and text: cameras, images with their poses, and sparse points.

The files are untrusted: every count is held against the bytes that are left before memory is taken, every number has
to be finite, and every complaint names the file and the entry. Layouts: https://colmap.github.io/format.html. Newer
versions add ``rigs`` and ``frames``; poses stand in ``images`` all the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from scenes.base import check_memory
from scenes.files.values import bounded
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.lenses import Lens

NAMES = ("cameras", "images", "points3D")
MAX_BYTES = 8 * 2**30
"""Of a file; points with their tracks take gigabytes only for whole cities."""
MAX_IMAGES = 100_000
MAX_NAME = 1024
"""Bytes of an image's name."""
MAX_COORDINATE = 1e9
NO_NUMBERS = ("nan", "1.#")
"""How programs write what is no number: nan, -nan(ind), 1.#QNAN."""

MODELS: dict[str, tuple[int, str]] = {
    "SIMPLE_PINHOLE": (0, "f cx cy"), "PINHOLE": (1, "fx fy cx cy"), "SIMPLE_RADIAL": (2, "f cx cy k1"),
    "RADIAL": (3, "f cx cy k1 k2"), "OPENCV": (4, "fx fy cx cy k1 k2 p1 p2"),
    "OPENCV_FISHEYE": (5, "fx fy cx cy k1 k2 k3 k4"), "FULL_OPENCV": (6, "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    "FOV": (7, "fx fy cx cy k1"), "SIMPLE_RADIAL_FISHEYE": (8, "f cx cy k1"), "RADIAL_FISHEYE": (9, "f cx cy k1 k2"),
    "THIN_PRISM_FISHEYE": (10, "fx fy cx cy k1 k2 p1 p2 k3 k4 s1 s3"),
}  # fmt: skip
"""Camera models: their number in binary files, and the names of their parameters; of FOV omega is called k1."""
BY_NUMBER = {number: name for name, (number, _) in MODELS.items()}


@dataclass(frozen=True)
class ColmapCamera:
    """The inside of a camera: ``fx``, ``fy``, ``cx``, ``cy`` in pixels of an image of ``width`` x ``height``."""

    model: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Lens | None


@dataclass(frozen=True)
class ColmapImage:
    """One image: ``rotation`` (3, 3) and ``translation`` (3,) take world points into the camera, whose axes are right,
    down and forward. ``places`` (m, 2) are pixels at which ``points`` (m,), by their identifiers, were found."""

    name: str
    camera: int
    rotation: npt.NDArray[np.float64]
    translation: npt.NDArray[np.float64]
    places: npt.NDArray[np.float64]
    points: npt.NDArray[np.int64]

    def pose(self) -> npt.NDArray[np.float64]:
        """(3, 4) camera to world, with axes right, up and backward as all cameras here have them."""
        turned = self.rotation.T * (1, -1, -1)
        return np.concatenate([turned, (-self.rotation.T @ self.translation)[:, None]], axis=1)


@dataclass(frozen=True)
class ColmapModel:
    """A reconstruction: cameras by identifier, images in the order of their names, and points."""

    folder: Path
    cameras: dict[int, ColmapCamera]
    images: tuple[ColmapImage, ...]
    points: npt.NDArray[np.float64]
    """(m, 3) in world units."""
    identifiers: npt.NDArray[np.int64]
    """(m,) of the points, ascending."""
    colours: npt.NDArray[np.uint8]
    """(m, 3) of the points."""


def has_model(folder: Path) -> bool:
    """Whether cameras and images of a model, binary or text, lie in ``folder``; nothing is opened."""
    return any(all((folder / f"{name}{suffix}").is_file() for name in NAMES[:2]) for suffix in (".bin", ".txt"))


def read_model(folder: Path) -> ColmapModel:
    """Read the model in ``folder``; binary files go before text. Points may be missing.

    Raises:
        UserError: a file is missing, damaged, or says what cannot be.
    """
    suffix = ".bin" if all((folder / f"{name}.bin").is_file() for name in NAMES[:2]) else ".txt"
    binary = suffix == ".bin"
    paths = [folder / f"{name}{suffix}" for name in NAMES]
    cameras = dict((_cameras_binary if binary else _cameras_text)(paths[0]))
    images: dict[str, ColmapImage] = {}
    for image in (_images_binary if binary else _images_text)(paths[1]):
        if image.camera not in cameras:
            raise UserError(
                f"'{paths[1]}': image '{bounded(image.name)}' names camera {image.camera}, which is not there"
            )
        if image.name in images:
            raise UserError(f"'{paths[1]}': image '{bounded(image.name)}' is there twice")
        if len(images) >= MAX_IMAGES:
            raise UserError(f"'{paths[1]}': more than {MAX_IMAGES} images; that many are not read")
        images[image.name] = image
    if not images:
        raise UserError(f"'{paths[1]}' holds no image: the reconstruction placed none")
    if paths[2].is_file():
        identifiers, points, colours = (_points_binary if binary else _points_text)(paths[2])
    else:
        identifiers, points, colours = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    order = np.argsort(identifiers, kind="stable")
    return ColmapModel(
        folder, cameras, tuple(images[name] for name in sorted(images)), points[order], identifiers[order],
        colours[order],
    )  # fmt: skip


def camera_of(model: str, width: int, height: int, parameters: list[float], where: str) -> ColmapCamera:
    """A camera from the parameters of its model.

    Raises:
        UserError: no such model is known, or the numbers cannot be a camera's.
    """
    if model not in MODELS:
        raise UserError(f"{where}: camera model '{bounded(model)}' is not known; known are {', '.join(MODELS)}")
    names = MODELS[model][1].split()
    if len(parameters) != len(names):
        raise UserError(f"{where}: {model} has {len(names)} parameters ({', '.join(names)}), not {len(parameters)}")
    if not all(np.isfinite(parameters)):
        raise UserError(f"{where}: parameters of the camera are not finite: {parameters}")
    if not (0 < width < 1 << 20 and 0 < height < 1 << 20):
        raise UserError(f"{where}: an image of {width} x {height} pixels cannot be")
    values = dict(zip(names, parameters, strict=True))
    fx = values.get("fx", values.get("f", 0.0))
    fy = values.get("fy", fx)
    if fx <= 0 or fy <= 0:
        raise UserError(f"{where}: a focal length is above 0, not {min(fx, fy):g}")
    projection = "fisheye" if "FISHEYE" in model else "field_of_view" if model == "FOV" else "perspective"
    k1, k2, k3, k4, k5, k6, p1, p2, s1, s3 = (
        values.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s1", "s3")
    )
    lens = Lens(projection, (k1, k2, k3, k4, k5, k6), (p1, p2), (s1, 0.0, s3, 0.0))  # type: ignore[arg-type]
    return ColmapCamera(model, width, height, fx, fy, values["cx"], values["cy"], None if lens.is_pinhole else lens)


def _image(name: str, camera: int, quaternion: npt.NDArray[np.float64], translation: npt.NDArray[np.float64],
           places: npt.NDArray[np.float64], points: npt.NDArray[np.int64], where: str) -> ColmapImage:  # fmt: skip
    where = f"{where}, image '{bounded(name)}'"
    with np.errstate(all="ignore"):
        length = float(np.linalg.norm(quaternion))
    if not (np.isfinite(quaternion).all() and 0.5 < length < 2):
        raise UserError(f"{where}: its rotation {quaternion.tolist()} is no unit quaternion")
    if not np.isfinite(translation).all() or np.abs(translation).max() > MAX_COORDINATE:
        raise UserError(f"{where}: its translation {translation.tolist()} is no place")
    w, x, y, z = quaternion / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return ColmapImage(name, camera, rotation, translation, places, points)


# Binary files


class _Bytes:
    """A binary file, read entry by entry; what is asked for has to be there."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self._file, self.left = path, file, size

    def take(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise UserError(f"'{self.path}' ends within {what}: it is cut off, or no file of COLMAP's")
        self.left -= count
        return self._file.read(count)

    def values(self, layout: str, what: str) -> tuple[float, ...]:
        """Little-endian numbers, as :mod:`struct` names them."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout), what))

    def count(self, least: int, what: str) -> int:
        """A number of things that take ``least`` bytes each at least."""
        found = int(self.values("Q", what)[0])
        if found * least > self.left:
            raise UserError(f"'{self.path}': {found} {what} are announced, and {self.left} bytes follow")
        return found

    def name(self) -> str:
        text = bytearray()
        while (byte := self.take(1, "a name")) != b"\0":
            text += byte
            if len(text) > MAX_NAME:
                raise UserError(f"'{self.path}': an image's name is longer than {MAX_NAME} bytes")
        return text.decode("utf-8", errors="surrogateescape")


def _reading(path: Path) -> Iterator[_Bytes]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"'{path}' is larger than {MAX_BYTES >> 30} GiB: that is not read")
        with open(path, "rb") as file:
            yield _Bytes(path, file, size)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error


def _cameras_binary(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    for data in _reading(path):
        for index in range(data.count(24, "cameras")):
            where = f"'{path}', camera {index}"
            identifier, number, width, height = (int(value) for value in data.values("iiQQ", "a camera"))
            if number not in BY_NUMBER:
                known = ", ".join(f"{name} ({known})" for known, name in BY_NUMBER.items())
                raise UserError(f"{where}: camera model {number} is not known; known are {known}")
            model = BY_NUMBER[number]
            parameters = list(data.values(f"{len(MODELS[model][1].split())}d", "a camera"))
            yield identifier, camera_of(model, width, height, parameters, where)


def _images_binary(path: Path) -> Iterator[ColmapImage]:
    for data in _reading(path):
        for _ in range(data.count(73, "images")):
            _, *numbers = data.values("i7d", "an image")
            (camera,) = data.values("i", "an image")
            name = data.name()
            found = data.count(24, "places in an image")
            check_memory(f"reading '{path}'", 64 * found)
            table = np.frombuffer(
                data.take(24 * found, "places in an image"), np.dtype([("place", "<f8", 2), ("point", "<i8")])
            )
            seen = table["point"] >= 0
            yield _image(
                name, int(camera), np.array(numbers[:4]), np.array(numbers[4:]), table["place"][seen],
                table["point"][seen], f"'{path}'",
            )  # fmt: skip


def _points_binary(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    identifiers: list[int] = []
    points: list[tuple[float, ...]] = []
    colours: list[tuple[float, ...]] = []
    for data in _reading(path):
        count = data.count(51, "points")
        check_memory(f"reading '{path}'", 400 * count)
        for _ in range(count):
            identifier, x, y, z, red, green, blue, _, length = data.values("Q3d3BdQ", "a point")
            data.take(8 * int(length), "a point's track")
            identifiers.append(int(identifier))
            points.append((x, y, z))
            colours.append((red, green, blue))
    return _checked_points(identifiers, points, colours)


# Text files


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are no comments, with their numbers; empty ones, too, for an image without places has one."""
    for data in _reading(path):
        check_memory(f"reading '{path}'", 8 * data.left)
        text = data.take(data.left, "its text").decode("utf-8", errors="surrogateescape")
        for number, line in enumerate(text.splitlines(), 1):
            if not line.lstrip().startswith("#"):
                yield number, line


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        return [math.nan if word.lstrip("+-").lower().startswith(NO_NUMBERS) else float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{where}: {bounded(error)}") from None


def _whole(word: str, where: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"{where}: '{bounded(word)}' is no whole number") from None


def _cameras_text(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    for number, line in _lines(path):
        words, where = line.split(), f"'{path}', line {number}"
        if not words:
            continue
        if len(words) < 5:
            raise UserError(f"{where}: identifier, model, width, height and parameters are expected")
        width, height = (_whole(word, where) for word in words[2:4])
        yield _whole(words[0], where), camera_of(words[1], width, height, _numbers(words[4:], where), where)


def _images_text(path: Path) -> Iterator[ColmapImage]:
    lines = list(_lines(path))
    index = 0
    while index < len(lines):
        number, line = lines[index]
        words, where = line.split(maxsplit=9), f"'{path}', line {number}"
        index += 1
        if not words:
            continue
        if len(words) < 10:
            raise UserError(
                f"{where}: identifier, four numbers of a rotation, three of a place, camera and name are expected"
            )
        numbers = np.array(_numbers(words[1:8], where))
        places = np.zeros((0, 3))
        # The next line has the places, and may be missing where a program left out what was empty.
        if index < len(lines) and not _begins_image(lines[index][1]):
            values = _numbers(lines[index][1].split(), f"'{path}', line {lines[index][0]}")
            if len(values) % 3:
                raise UserError(
                    f"'{path}', line {lines[index][0]}: x, y and a point's identifier for each place are expected"
                )
            places = np.array(values).reshape(-1, 3)
            index += 1
        seen = places[:, 2] >= 0
        yield _image(
            words[9].strip(), _whole(words[8], where), numbers[:4], numbers[4:], places[seen, :2],
            np.minimum(places[seen, 2], 2.0**62).astype(np.int64), f"'{path}'",
        )  # fmt: skip


def _begins_image(line: str) -> bool:
    """Whether a line is that of an image rather than the places of the one before: its tenth word is a file's name."""
    words = line.split(maxsplit=9)
    if len(words) < 10:
        return False
    try:
        float(words[9].split()[0])
    except ValueError:
        return True
    return False


def _points_text(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    identifiers, points, colours = [], [], []
    for number, line in _lines(path):
        words, where = line.split(maxsplit=8), f"'{path}', line {number}"
        if not words:
            continue
        if len(words) < 8:
            raise UserError(f"{where}: identifier, place, colour and error of a point are expected")
        identifiers.append(_whole(words[0], where))
        points.append(tuple(_numbers(words[1:4], where)))
        colours.append(tuple(_numbers(words[4:7], where)))
    return _checked_points(identifiers, points, colours)


def _checked_points(
    identifiers: list[int], points: list[tuple[float, ...]], colours: list[tuple[float, ...]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """As arrays, without points that are not finite."""
    places = np.array(points, np.float64).reshape(-1, 3)
    good = np.isfinite(places).all(axis=1) & (np.abs(places) < MAX_COORDINATE).all(axis=1)
    known = np.array([min(identifier, np.iinfo(np.int64).max) for identifier in identifiers], np.int64)
    paint = np.clip(np.nan_to_num(np.array(colours, np.float64).reshape(-1, 3)), 0, 255).astype(np.uint8)
    return known[good], places[good], paint[good]
