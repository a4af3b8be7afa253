"""What the plots of a viewer are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from taichi_rf.storage.quality import Decibels


@dataclass
class Point:
    level: int
    megabytes: float
    psnr: float | None
    measured: bool = True

    @property
    def decibels(self) -> Decibels | None:
        return None if self.psnr is None else Decibels(self.psnr, self.measured)


@dataclass
class Story:
    batch: list = field(default_factory=list)
    test: list = field(default_factory=list)
    levels: list = field(default_factory=list)


POINTS = [Point(k, 0.4 + 0.3 * k, 20.0 + 2.0 * k + (k % 2)) for k in range(1, 9)]
