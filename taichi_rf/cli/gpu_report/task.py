"""What one part of a report is asked to do, as it is passed to the process that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taichi_rf.core.files import read_json, write_json

Keep = Callable[[dict[str, Any]], None]
"""Writes down what a part has found so far, in place of what it had found before."""


@dataclass(frozen=True)
class Task:
    """One part: its name, and all that it may need."""

    part: str
    arch: str
    folder: Path
    """Of the report."""
    seconds: float
    """That it may take, from the start of its process."""
    scene: str | None = None
    """None for the one that suits the benchmark."""
    preset: str = ""
    cases: tuple[str, ...] = ()
    """Names of models to compare; all of them by default."""

    @property
    def result(self) -> Path:
        """The file that the part writes what it finds to."""
        return self.folder / "parts" / f"{self.part}.json"

    def write(self, path: Path) -> None:
        """Write it for the process."""
        write_json(path, asdict(self))

    @staticmethod
    def read(path: Path) -> Task:
        """What :meth:`write` wrote."""
        values = read_json(path)
        return Task(**{**values, "folder": Path(values["folder"]), "cases": tuple(values["cases"])})
