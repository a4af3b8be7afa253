"""COLMAP's files: binary and text say the same, and a damaged file is refused by its name."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenes.files.colmap_files import MODELS, camera_of, has_model, read_model
from taichi_rf.core.errors import UserError
from tests.capture_files import COUNT, POINTS, poses, write_colmap

FILES = ("cameras", "images", "points3D")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("colmap")
    write_colmap(root)
    write_colmap(root, text=True, folder="text/0")
    return root


def test_binary_and_text_say_the_same(model):
    one, other = read_model(model / "sparse/0"), read_model(model / "text/0")
    assert one.cameras == other.cameras
    assert [image.name for image in one.images] == [image.name for image in other.images]
    assert len(one.images) == COUNT
    for a, b, pose in zip(one.images, other.images, poses(), strict=True):
        np.testing.assert_allclose(a.pose(), pose, atol=1e-6)
        np.testing.assert_allclose(b.pose(), a.pose(), atol=1e-12)
        np.testing.assert_array_equal(a.places, [[1.5, 2.5]])  # the other one is of no point
        np.testing.assert_array_equal(b.places, a.places)
        assert a.points.tolist() == b.points.tolist() == [1]
    np.testing.assert_allclose(one.points, POINTS)
    np.testing.assert_allclose(other.points, POINTS)
    assert one.colours[0].tolist() == other.colours[0].tolist() == [10, 20, 30]


def test_a_model_needs_no_points(model, tmp_path):
    write_colmap(tmp_path)
    (tmp_path / "sparse/0/points3D.bin").unlink()
    assert len(read_model(tmp_path / "sparse/0").points) == 0
    (tmp_path / "sparse/0/images.bin").unlink()
    assert not has_model(tmp_path / "sparse/0")


def test_text_with_odd_lines_is_read(model, tmp_path):
    """Blank and missing lines of places, names with spaces and folders, three-digit exponents, points that are NaN."""
    write_colmap(tmp_path, text=True)
    (tmp_path / "sparse/0/images.txt").write_text(
        "# a comment\n\n1 1 0 0 0 1e-300 2 3 1 a folder/B C.PNG\n\n"
        "2 1 0 0 0 1 2 3 1 next.png\n3 1 0 0 0 1 2 3 1 last.png\n1 2 -1 3.5 4.5 7"
    )
    (tmp_path / "sparse/0/points3D.txt").write_text("\n7 1 2 3 0 0 300 0.1\n8 nan 0 0 0 0 0 1\n9 1 1 1 1 1 1 inf 1 2\n")
    read = read_model(tmp_path / "sparse/0")
    assert [image.name for image in read.images] == ["a folder/B C.PNG", "last.png", "next.png"]
    assert read.images[1].points.tolist() == [7]
    assert read.identifiers.tolist() == [7, 9]
    assert read.colours[0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("name", "number"), [(name, number) for name, (number, _) in MODELS.items()])
def test_every_camera_model_is_known_by_name_and_number(name, number, tmp_path):
    """Numbers and parameters as https://colmap.github.io/cameras.html has them."""
    count = dict(zip(MODELS, (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12), strict=True))
    parameters = (30.0, 12.0, 8.0, 0.1, 0.01, 1e-3, 2e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4)[: count[name]]
    write_colmap(tmp_path / "b", model=number, parameters=parameters)
    write_colmap(tmp_path / "t", text=True, name=name, parameters=parameters)
    one, other = (read_model(tmp_path / kind / "sparse/0").cameras[1] for kind in "bt")
    assert one == other
    assert one.model == name
    assert (one.lens is None) == (name in ("SIMPLE_PINHOLE", "PINHOLE"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("EQUIRECTANGULAR", 10, 10, [1.0]), "not known"), (("PINHOLE", 10, 10, [1.0]), "4 parameters"),
        (("PINHOLE", 10, 10, [1.0, np.nan, 0, 0]), "not finite"), (("PINHOLE", 0, 10, [1.0, 1, 0, 0]), "0 x 10"),
        (("PINHOLE", 10, 10, [1.0, -1, 0, 0]), "above 0"), (("PINHOLE", 1 << 40, 10, [1.0, 1, 0, 0]), "cannot be"),
    ],
)  # fmt: skip
def test_a_camera_that_cannot_be_is_refused(arguments, says):
    with pytest.raises(UserError, match=says):
        camera_of(*arguments, "here")


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_cut_off_anywhere_is_refused(file, model, tmp_path):
    whole = (model / f"sparse/0/{file}.bin").read_bytes()
    write_colmap(tmp_path)
    for length in sorted({*range(60), *range(0, len(whole), 97)}):
        (tmp_path / f"sparse/0/{file}.bin").write_bytes(whole[:length])
        with pytest.raises(UserError, match=file):
            read_model(tmp_path / "sparse/0")


@pytest.mark.parametrize("file", FILES)
def test_counts_that_no_file_holds_take_no_memory(file, model, tmp_path):
    write_colmap(tmp_path)
    path = tmp_path / f"sparse/0/{file}.bin"
    path.write_bytes(struct.pack("<Q", 2**61) + path.read_bytes()[8:])
    with pytest.raises(UserError, match="are announced"):
        read_model(tmp_path / "sparse/0")


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(FILES), st.sampled_from((".bin", ".txt")), st.integers(0, 10**6),
    st.one_of(st.binary(max_size=12), st.sampled_from([b"nan", b"1e999", b"-1", b"\n", b" ", b"\xff" * 8, b"\0" * 8])),
    st.booleans(),
)  # fmt: skip
def test_changed_files_are_read_or_refused(model, file, suffix, at, put, insert):
    folder = model / ("sparse/0" if suffix == ".bin" else "text/0")
    path = folder / f"{file}{suffix}"
    whole = path.read_bytes()
    at %= len(whole)
    said, read = str(folder), None
    try:
        path.write_bytes(whole[:at] + put + whole[at if insert else at + len(put) :])
        read = read_model(folder)
    except UserError as error:
        said = str(error)
    finally:
        path.write_bytes(whole)
    assert str(folder) in said
    assert len(said) < 2000
    if read is not None:
        assert np.isfinite(read.points).all()
        assert all(np.isfinite(image.pose()).all() for image in read.images)
