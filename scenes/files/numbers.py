"""Text files that hold nothing but numbers: matrices, boxes, cameras."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

MAX_BYTES = 1 << 16
Numbers = npt.NDArray[np.float64]


@overload
def read_numbers(path: Path, where: str, *, ragged: Literal[False] = False) -> Numbers: ...
@overload
def read_numbers(path: Path, where: str, *, ragged: Literal[True]) -> list[list[float]]: ...
def read_numbers(path: Path, where: str, *, ragged: bool = False) -> Numbers | list[list[float]]:
    """The numbers in ``path`` in one row, (n,), or with ``ragged`` line by line; all are finite, and there are some.

    Args:
        where: the file, as messages open.

    Raises:
        UserError: it cannot be read, is too large, or holds anything else.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{where} is larger than {MAX_BYTES >> 10} KiB; a few numbers are expected")
    lines = []
    for index, text in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        words = text.partition("#")[0].replace(",", " ").split()
        try:
            lines.append([float(word) for word in words])
        except ValueError as error:
            raise UserError(f"{where}, line {index}: '{bounded(text, 60)}' is not a row of numbers") from error
        if not all(map(math.isfinite, lines[-1])):
            raise UserError(f"{where}, line {index}: '{bounded(text, 60)}'; finite numbers are expected")
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{where} is empty; numbers are expected")
    return lines if ragged else np.array([number for line in lines for number in line])
