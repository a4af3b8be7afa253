"""Pictures and videos without a window: the same pixels, for machines without a screen and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from taichi_rf.cli.console import bar, duration, say
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.motion.camera_path import CameraPath
from taichi_rf.streaming.download import PATIENCE, Incoming
from taichi_rf.streaming.progressive_model import reserve
from viewer.session.record import Recording
from viewer.session.screenshot import Still
from viewer.session.session import Session

_BUDGET = 0.25  # seconds of work between two looks at its progress


def receive(address: str, level: int | None, bandwidth: float | None, start: Callable[[], object]) -> Session:
    """A session of a model that has to come first, with a bar: of all of its levels, or the first ``level``.

    Args:
        bandwidth: bytes a second that are taken at most.
        start: starts Taichi; called as soon as it is clear that there is something to show.

    Raises:
        UserError: it does not come, or less of it than is asked for.
    """
    incoming = Incoming(address, bandwidth=bandwidth, levels=level, patience=PATIENCE).start()
    try:
        with bar("receiving") as show:
            while not incoming.wait(lambda: incoming.outline is not None, 0.1):
                show(0.0, incoming.progress.trouble or "")
            if incoming.error is not None:
                raise incoming.error
            assert incoming.outline is not None
            start()
            session = Session(reserve(incoming.outline), incoming=incoming)
            arrivals = session.arrivals
            assert arrivals is not None
            wanted = session.num_levels if level is None else session.check_level(level)
            while not arrivals.over:
                session.work(0.0)
                incoming.wait(lambda: len(incoming.parts) > arrivals.level, 0.1)
                progress = incoming.progress
                coming = (progress.levels + (progress.share if progress.levels < wanted else 0.0)) / wanted
                show(min(coming, 1.0), arrivals.text())
    finally:
        incoming.close()
    if arrivals.failure is not None:
        raise UserError(arrivals.failure)
    if incoming.shortfall is not None:
        raise UserError(incoming.shortfall)
    if level is not None:
        session.check_level(level)
    return session


def write_picture(session: Session, path: Path, width: int, height: int) -> None:
    """Write what the session shows as PNG, with a bar. UserError when that fails."""
    if not path.absolute().parent.is_dir():  # said before it is rendered
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    camera = session.camera(width, height)
    still = Still(path, camera, session.render_band, level=session.level, mode=session.plain_mode)
    try:
        with bar("rendering") as show:
            while not still.done:
                still.advance(_BUDGET)
                show(still.progress, "")
    except BaseException:
        still.cancel()
        raise
    if still.failure is not None:
        raise still.failure


def write_video(
    session: Session,
    path: Path,
    way: CameraPath,
    size: tuple[int | None, int | None],
    fps: float,
    levels: Sequence[int],
) -> None:
    """Record ``way``, at its own size where ``size`` does not say otherwise, with a bar; Ctrl-C and errors leave
    nothing half written.

    Raises:
        UserError: the video cannot be made.
    """
    cameras = way.cameras(*size)
    video = Recording(path, cameras, session.render_band, levels=levels, mode=session.plain_mode, fps=fps)
    with video as recording, bar("recording") as show:
        while not recording.done:
            recording.advance(_BUDGET)
            left = duration(recording.seconds_left)
            fraction = 1.0 if recording.done else min(recording.progress, 0.999)  # the encoder may need a moment yet
            show(fraction, f"frame {recording.frame} of {recording.frames}, {left} left")
    if recording.failure is not None:
        raise recording.failure
    size_of_file = megabytes(recording.path.stat().st_size)
    say(f"{recording.path}: {recording.frames} frames, {cameras[0].width}x{cameras[0].height}, {size_of_file}")
