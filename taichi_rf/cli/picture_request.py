"""What picture or video a command line asks for, and whether that can be had. Nothing here needs Taichi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import bytes_of
from taichi_rf.streaming.rate import bandwidth

LARGEST_SIDE = 16384
"""Pixels of a picture."""
SIZE = (1280, 720)
"""Pixels of a picture, and of a video whose camera path does not say otherwise."""


@dataclass(frozen=True)
class PictureRequest:
    """A picture (``screenshot``), a turn around the scene (``turntable``), or a video along a camera path (``path`` to
    ``output``), of ``model``. The other fields are None where the default is to be used; they are the command line's
    options of the same name."""

    model: str | None
    level: int | None = None
    size: str | None = None
    mode: str | None = None
    screenshot: Path | None = None
    turntable: Path | None = None
    path: Path | None = None
    output: Path | None = None
    seconds: float | None = None
    fps: float | None = None
    sweep: bool = False
    caption: str = "auto"
    width: int | None = None
    height: int | None = None
    bandwidth: str | None = None
    azimuth: float | None = None
    elevation: float | None = None
    distance: float | None = None
    fov: float | None = None
    arch: str = "auto"

    @property
    def asked(self) -> list[str]:
        """The names of those fields that ask for something to be written."""
        return [name for name in ("screenshot", "turntable", "path") if getattr(self, name) is not None]

    @property
    def video(self) -> Path | None:
        """The video to write, if that is what is asked for."""
        return self.turntable or (self.output if self.path else None)

    @property
    def captioned(self) -> bool:
        """Whether the frames of the video say which level they show."""
        return self.caption == "on" or (self.caption == "auto" and self.sweep)

    @property
    def bytes_a_second(self) -> float | None:
        """What ``bandwidth`` says; None where there is no limit. UserError where it says nothing of the kind."""
        return None if self.bandwidth is None else bandwidth(self.bandwidth)

    @property
    def most_bytes(self) -> int | None:
        """What ``size`` says; None where there is no limit. UserError where it says nothing of the kind."""
        return None if self.size is None else bytes_of(self.size, "--size")

    def check(self) -> None:
        """Check all that can be checked before anything is read.

        Raises:
            UserError: options contradict each other, or are out of range.
        """
        # Imported here, because --help needs neither numpy nor pillow, which these load.
        from taichi_rf.motion.camera_path import FPS, SECONDS, frame_count
        from taichi_rf.motion.video import check_video

        if self.most_bytes is not None and self.level is not None:
            raise UserError("--size chooses the level: leave --level (--rank, --lod)")
        if self.asked and self.model is None:
            raise UserError("name the model: a .trf file or its address, or the folder of a run")
        if self.bytes_a_second is not None and self.model is None:
            raise UserError("--bandwidth goes with the file or the address of a model")
        if len(self.asked) > 1:
            raise UserError(f"--{self.asked[0]} and --{self.asked[1]}: one at a time")
        if self.screenshot is not None and self.screenshot.suffix.lower() != ".png":
            raise UserError(f"--screenshot {self.screenshot}: pictures are PNG: name a file that ends in .png")
        if (self.path is None) != (self.output is None):
            raise UserError("--path camera_path.json and --output FILE.mp4 go together")
        self._check_company()
        self._check_ranges()
        if self.turntable is not None:
            fps = self.fps or FPS
            check_video(self.turntable, self.width or SIZE[0], self.height or SIZE[1], fps)
            frame_count(self.seconds or SECONDS, fps)

    def _check_company(self) -> None:
        """Refuse options that say nothing without others, or contradict them."""
        for name, where, others in (
            ("seconds", self.turntable is not None, "--turntable"),
            ("fps", self.video is not None, "--turntable or --path"),
            ("sweep", self.video is not None, "--turntable or --path"),
        ):
            if getattr(self, name) not in (None, False) and not where:
                raise UserError(f"--{name} goes with {others}")
        if self.caption != "auto" and self.video is None:
            raise UserError("--caption goes with --turntable or --path")
        for name in ("azimuth", "elevation", "distance", "fov"):
            if self.path is not None and getattr(self, name) is not None:
                raise UserError(f"--{name} does not go with --path: the path says where the camera stands")

    def _check_ranges(self) -> None:
        """Refuse numbers out of range."""
        # Imported here for the reason given in check().
        from taichi_rf.motion.video import FASTEST, SLOWEST

        for name in ("width", "height"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= LARGEST_SIDE:
                raise UserError(f"--{name} {value}: choose 1 to {LARGEST_SIDE} pixels")
        for name, low, high in (
            ("azimuth", -1e6, 1e6), ("elevation", -90, 90), ("distance", 1e-6, 1e6), ("fov", 1, 170),
            ("seconds", 1e-3, 1e6), ("fps", SLOWEST, FASTEST),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{name} {value}: choose {low:g} to {high:g}")
