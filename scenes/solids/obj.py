"""Wavefront OBJ files: vertices and faces, as exporters of many kinds write them.

The file is untrusted: the memory that it can need is known before it is read, every number is checked, and complaints
name the line. Read are ``v``, of which three coordinates count, and ``f`` (``fo`` in old files), of which the vertices
count; everything else is passed over. A statement may be indented, go on in the next line after a backslash, and end in
a comment; lines end in LF, CR LF or CR; bytes that are not ASCII may stand in comments and names.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from scenes.base import check_memory
from scenes.solids.polygons import triangulate
from taichi_rf.core.errors import UserError

MAX_BYTES = 1 << 30
MEMORY_PER_BYTE = 24
"""Bytes of memory that reading can take for a byte of the file: "v 0 0 0" becomes three numbers, several copies."""
MAX_FACES = 20_000_000
MAX_CORNERS = 10_000
"""Of one face."""
MAX_COORDINATE = 1e30

_OTHERS = (b"\x89", b"PK", b"glTF", b"ply", b"OFF", b"solid")
"""How files of other kinds begin."""
_CURVED = frozenset(("surf", "curv", "curv2", "bzp", "bsp", "cdc", "cdp", "res"))
"""Statements that make surfaces or curves without faces."""
_NUMBERS = (3, 4, 6, 7, 8)
"""That a vertex may have: x, y, z; a weight; a colour of three or four numbers; a weight and a colour."""


def read_obj(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], tuple[str, ...]]:
    """Vertices (n, 3), triangles (m, 3) and sentences about what was passed over, of a Wavefront OBJ file.

    Raises:
        UserError: the file cannot be read, is no OBJ, is too large, or has no vertices or faces.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path} has {size / 1e9:.1f} GB: meshes of up to {MAX_BYTES / 1e9:.1f} GB are read")
        check_memory(f"reading {path}", size * MEMORY_PER_BYTE)
        with open(path, "rb") as file:
            begins = file.read(5)
            if begins.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UserError(f"{path} is text in UTF-16: save it as UTF-8 or ASCII")
            if begins.startswith(_OTHERS):
                raise UserError(f"{path} is no Wavefront OBJ file, whatever it is called")
            file.seek(3 if begins.startswith(b"\xef\xbb\xbf") else 0)
            return _Reader(path).read(io.TextIOWrapper(file, "latin-1"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


class _Reader:
    """Reads one file; every complaint names it and the line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = array("d")
        self._corners, self._counts, self._lines = array("q"), array("i"), array("i")
        self._triangles = self._weights = 0
        self._curved: dict[str, int] = {}

    def read(self, lines: Iterable[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], tuple[str, ...]]:
        for line, words in _statements(lines):
            kind = words[0]
            if kind == "v":
                self._vertex(line, words)
            elif kind == "f" or kind == "fo":
                self._face(line, words)
            elif kind in _CURVED:
                self._curved[kind] = self._curved.get(kind, 0) + 1
        vertices = np.array(self._numbers).reshape(-1, 3)
        corners, counts = np.array(self._corners, np.int64), np.array(self._counts, np.int64)
        if not len(vertices):
            raise UserError(
                f"{self._path} has no vertices (lines that begin with 'v '): it is no mesh in Wavefront OBJ format"
            )
        if not len(counts):
            raise UserError(
                f"{self._path} has {len(vertices):,} vertices but no faces: a signed distance needs a closed surface"
            )
        bad = np.flatnonzero(corners >= len(vertices))  # faces may come before their vertices
        if len(bad):
            face = int(np.searchsorted(np.cumsum(counts), bad[0], side="right"))
            self._refuse(
                self._lines[face],
                f"a face names vertex {corners[bad[0]] + 1}, but the file has {len(vertices):,}",
            )
        triangles, crossing = triangulate(vertices, corners, counts)
        return vertices, triangles, self._notes(crossing)

    def _notes(self, crossing: npt.NDArray[np.int64]) -> tuple[str, ...]:
        notes = []
        if len(crossing):
            notes.append(
                f"{len(crossing):,} of its polygons cross themselves or are too crooked to be cut, the first in line "
                f"{self._lines[crossing[0]]:,}; they became fans of triangles, which may lie beside what was meant"
            )
        if self._curved:
            kinds = ", ".join(f"'{kind}'" for kind in sorted(self._curved))
            notes.append(f"its curved surfaces and curves ({kinds}) are left out: only polygons are read")
        if self._weights:
            notes.append(f"{self._weights:,} of its vertices have a weight other than 1, which is passed over")
        return tuple(notes)

    def _vertex(self, line: int, words: list[str]) -> None:
        try:
            x, y, z = map(float, _plain(words[1:4]))
            weight = float(words[4]) if len(words) in (5, 9) else 1.0
        except ValueError:
            self._refuse(line, f"three coordinates are expected, not {_quoted(words)}")
        if len(words) - 1 not in _NUMBERS:
            self._refuse(line, f"three coordinates, and a weight or a colour, are expected, not {_quoted(words)}")
        if not abs(x) + abs(y) + abs(z) < MAX_COORDINATE:  # nor NaN
            self._refuse(line, f"the vertex is not finite: {_quoted(words)}")
        self._weights += weight != 1
        self._numbers.extend((x, y, z))

    def _face(self, line: int, words: list[str]) -> None:
        count, known = len(words) - 1, len(self._numbers) // 3
        if not 3 <= count <= MAX_CORNERS:
            self._refuse(line, f"a face of {count} corners; 3 to {MAX_CORNERS:,} are expected")
        try:
            indices = [int(word.partition("/")[0]) for word in _plain(words[1:])]
        except ValueError:
            self._refuse(line, f"whole numbers are expected, not {_quoted(words)}")
        # counted from 1, or back from the latest vertex; what is too large is found once all vertices are known
        indices = [index - 1 if index > 0 else known + index if index < 0 else -1 for index in indices]
        if max(indices) >= 1 << 62 or min(indices) < 0:
            self._refuse(line, f"no such vertex (they are counted from 1, or back from -1): {_quoted(words)}")
        self._triangles += count - 2
        if self._triangles > MAX_FACES:
            raise UserError(f"{self._path} has more than {MAX_FACES:,} triangles: simplify it first")
        self._corners.extend(indices)
        self._counts.append(count)
        self._lines.append(line)

    def _refuse(self, line: int, reason: str) -> NoReturn:
        raise UserError(f"{self._path}, line {line}: {reason}")


def _statements(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The line that each statement begins in, counted from 1, and its words; without comments.

    Only vertices and faces go on after a backslash: in names it may be part of a path.
    """
    begun: list[str] = []
    first = 0
    for number, text in enumerate(lines, 1):
        words = text.partition("#")[0].split()
        if not words:
            more = False
        else:
            more = words[-1].endswith("\\") and (bool(begun) or words[0] in ("v", "f", "fo"))
        if more:
            words[-1] = words[-1][:-1]
            first = first if begun else number
            begun += [word for word in words if word]
        elif begun:
            yield first, begun + words
            begun = []
        elif words:
            yield number, words
    if begun:
        yield first, begun


def _plain(words: list[str]) -> list[str]:
    """ValueError where Python alone would read a number: 1_000."""
    if any("_" in word for word in words):
        raise ValueError
    return words


def _quoted(words: list[str]) -> str:
    return repr(" ".join(word[:60] for word in words[:20])[:60])
