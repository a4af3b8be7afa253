"""OBJ files as exporters of many kinds write them, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenes.solids.obj import read_obj
from taichi_rf.core.errors import UserError

V = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
QUADS = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]


def cube(v: str = "v {} {} {}", f: str = "f {} {} {} {}", end: str = "\n", head: str = "# cube", shift: int = 0) -> str:
    quads = [f.format(*(index + shift for index in quad)) for quad in QUADS]
    return end.join([head, *(v.format(*p) for p in V), *quads]) + end


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "cube.obj"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


LEGAL = {
    "tabs": cube(v="v\t{}\t{}\t{}", f="f\t{}\t{}\t{}\t{}"),
    "tab and blanks": cube(f="f\t{} {}  {} \t {}"),
    "indented": cube(v="  v {} {} {}", f="\tf {} {} {} {}"),
    "CR LF": cube(end="\r\n"),
    "CR": cube(end="\r"),
    "ends mixed": cube(end="\r\n") [: -2] + "\r",
    "mark": "\ufeff" + cube(),
    "mark before a vertex": ("\ufeff" + cube()).replace("# cube\n", ""),
    "no end": cube().rstrip(),
    "empty lines": cube(end="\n\n \t\n"),
    "continued faces": cube(f="f {} {} \\\n {} {}"),
    "continued at the number": cube(f="f {} {}\\\n {}\\\n{}"),
    "continued vertices": cube(v="v {} \\\n{} \\\r\n {}"),
    "comment behind a backslash": cube(f="f {} {} \\ # half\n {} {}"),
    "comments behind": cube(v="v {} {} {} # v", f="f {} {} {} {}# f 1 2"),
    "latin-1": cube(head="# W\xfcrfel \x85 \xa0").encode("latin-1"),
    "backwards": cube(shift=-9),
    "slashes": cube(f="f {0}/{0}/{0} {1}//{1} {2}/{2} {3}"),
    "colours": cube(v="v {} {} {} 0.5 0.5 0.5"),
    "weights": cube(v="v {} {} {} 1.0"),
    "weights and colours": cube(v="v {} {} {} 1 0.5 0.5 0.5"),
    "exponents": cube(v="v {}.0e0 {}E+00 {}.e-0"),
    "statements of other kinds": "mtllib my cube.mtl\no a\ng b c\ns off\nusemtl d\nvt 0 0\nvn 0 0 1\nvp 1\nl 1 2\np 1\n"
    + cube(),
    "a path that ends in a backslash": "mtllib c:\\files\\\ng a \\\n" + cube(head=""),
    "faces before vertices": "\n".join([*(l for l in cube().splitlines() if l[0] == "f"), *cube().splitlines()[:9]]),
    "the old word for faces": cube(f="fo {} {} {} {}"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
def test_a_cube_is_read_however_it_is_written(tmp_path, name):
    vertices, faces, notes = read_obj(written(tmp_path, LEGAL[name]))
    np.testing.assert_array_equal(vertices, V)
    fans = [(a - 1, b - 1, c - 1) for q in QUADS for a, b, c in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]
    np.testing.assert_array_equal(faces, fans)
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (cube().encode("utf-16"), "UTF-16"),
        (cube(v="v {},0 {},0 {},0"), "line 2: three coordinates"),
        (cube(v="v {} {}"), "line 2: three coordinates"),
        (cube(v="v 1_0 {} {}"), "line 2: three coordinates"),
        (cube(v="v {} {} {} 1 1"), "line 2: three coordinates, and a weight or a colour"),
        (cube(f="f {}.0 {} {} {}"), "line 10: whole numbers"),
        (cube(shift=-1), "counted from 1"),
        (cube(shift=-10), "line 10: no such vertex"),
        (cube(end="\r\n", f="f {} {} \\\r\n {} {}") + "f 1 2 99\n", "line 22: a face names vertex 99"),
        ("v 0 0 0\n" * 3 + "f 1 2 3\nf 1 \\\n\\\n2 4\n", "line 5: a face names vertex 4"),
        (cube() + "f 1 \\", "line 16: a face of 1 corners"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, because):
    with pytest.raises(UserError) as error:
        read_obj(written(tmp_path, text))
    assert because in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_passed_over_is_told(tmp_path):
    bow = "v 0 0 5\nv 1 1 5\nv 1 0 5\nv 0 1 5\nf 9 10 11 12\nsurf 0 1 0 1 1 2 3 4\n"
    *_, notes = read_obj(written(tmp_path, cube(v="v {} {} {} 2.0") + bow))
    assert [note.split(",")[0] for note in notes] == [
        "1 of its polygons cross themselves or are too crooked to be cut",
        "its curved surfaces and curves ('surf') are left out: only polygons are read",
        "8 of its vertices have a weight other than 1",
    ]
    assert "line 20" in notes[0]
