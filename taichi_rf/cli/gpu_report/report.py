"""The report as it grows: parts and their states, written as JSON and as a page whenever something has changed."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taichi_rf.cli.gpu_report.page import page
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write, read_json, write_json, writing

JSON, PAGE = "report.json", "index.html"
FOLDERS = ("parts", "logs", "models", "pictures", "reference")


@dataclass(frozen=True)
class Plan:
    """What a part is, and how long it may take: ``share`` of the time that is left, and ``most`` seconds."""

    name: str
    title: str
    share: float
    most: float = float("inf")
    needs: str = ""
    """The part that has to have been done before."""
    preset: str = ""
    reads: str = ""
    """A file in the report's folder that an earlier part has to have left."""

    def seconds(self, left: float) -> float:
        """That it may take where ``left`` seconds are left for all that is to come."""
        return min(self.share * left, self.most)


PLANS = (
    Plan("machine", "Machine and device", 1.0, 120.0),
    Plan("reference", "Small models on the CPU, to compare with", 0.25, 150.0, "machine"),
    Plan("agreement", "Every kernel against the CPU's", 0.35, 150.0, "reference"),
    Plan("bench", "Benchmark, stage by stage", 0.4, 180.0, "machine"),
    Plan("balanced", "Training, preset balanced", 0.55, needs="machine", preset="balanced"),
    Plan("speed", "Pictures of 800x800 at ranks 16, 8 and 4", 0.3, 60.0, "balanced", "balanced", "models/balanced.trf"),
    Plan("paper", "Training, preset paper", 1.0, needs="machine", preset="paper"),
)


@dataclass
class Part:
    """How far a part is: "waiting", "running", "done", "failed", "cut" (its time was over) or "skipped"."""

    name: str
    title: str
    state: str = "waiting"
    seconds: float = 0.0
    why: str = ""
    last_lines: tuple[str, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)


class Report:
    """All parts of one report in ``folder``."""

    def __init__(self, folder: Path, minutes: float, scene: str) -> None:
        self.folder, self.minutes, self.scene = folder, minutes, scene
        self.started = time.strftime("%Y-%m-%d %H:%M")
        self.parts = [Part(plan.name, plan.title) for plan in PLANS]
        self._read: dict[str, float] = {}

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    @property
    def running(self) -> bool:
        """Whether anything is still to come."""
        return any(part.state in ("waiting", "running") for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """All of it, as ``report.json`` has it."""
        return {
            "started": self.started,
            "minutes": self.minutes,
            "scene": self.scene,
            "state": "running" if self.running else "done",
            "parts": [vars(part) for part in self.parts],
        }

    def write(self) -> None:
        """Write both files, each whole or as it was before."""
        write_json(self.folder / JSON, self.to_json())
        with atomic_write(self.folder / PAGE) as file:
            file.write(page(self.to_json(), self.folder / "pictures").encode("utf-8", "backslashreplace"))

    def take(self, part: Part) -> bool:
        """Take over what the part's process has found so far; whether that is news."""
        path = self.folder / "parts" / f"{part.name}.json"
        with contextlib.suppress(OSError, UserError):  # there is none yet
            changed = path.stat().st_mtime
            if self._read.get(part.name) != changed:
                result = read_json(path)
                self._read[part.name] = changed
                if isinstance(result, dict):
                    part.result = result
                    return True
        return False


def make_folder(folder: Path, *, overwrite: bool) -> None:
    """Make the folder of a report, with what belongs in it.

    Raises:
        UserError: it holds something, and that is no report or may not be replaced; or it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            if not (folder / JSON).exists():
                raise UserError(f"{folder} holds something else than a report: choose another -o")
            if not overwrite:
                raise UserError(f"{folder} already holds a report: replace it with --overwrite, or choose another -o")
            for name in FOLDERS:
                shutil.rmtree(folder / name, ignore_errors=True)
            for name in (JSON, PAGE):
                (folder / name).unlink(missing_ok=True)
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
