"""The numbers beside the picture, as plain values: for panels, overlays, browsers and files of state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viewer.session.session import Session


def stats(session: Session) -> dict[str, Any]:
    """What ``session`` shows and does; ``psnr``, ``view``, ``recording``, ``message``, ``training`` and
    ``arriving`` are None where there is none."""
    level, view, message, job = session.level, session.at_view, session.message, session.keeper.job
    name = session.field.level_name
    right = "photo" if session.compare == "photo" else f"{name} {session.other_level}"
    return {
        "level": level,
        "level_name": name,
        "num_levels": session.num_levels,
        "megabytes": session.megabytes(level),
        "psnr": session.psnr(level),
        "fps": session.fps,
        "divisor": session.composer.divisor,
        "complete": session.composer.complete,
        "mode": session.mode,
        "compare": {
            "with": session.compare,
            "layout": session.layout,
            "divider": session.composer.divider / session.size[0],
            "left": f"{name} {level}",
            "right": right,
        },
        "view": view and {"split": view.split, "index": view.index, "name": view.name, "count": view.count},
        "flying": session.viewpoint.flying,
        "demo": session.demo,
        "recording": job and {"what": job.what, "progress": job.progress, "path": str(job.path)},
        "message": message and {"text": message.text, "alarm": message.alarm},
        "training": _training(session),
        "arriving": None if session.arrivals is None else session.arrivals.stats(),
    }


def _training(session: Session) -> dict[str, Any] | None:
    learning = session.learning
    if learning is None:
        return None
    trainer, figures = learning.trainer, learning.figures
    return {
        "running": learning.running,
        "done": trainer.done,
        "iteration": trainer.iteration,
        "progress": trainer.progress,
        "level": trainer.level,
        "loss": figures.get("loss"),
        "psnr": figures.get("psnr"),
        "rays_per_second": figures.get("rays_per_second"),
        "seconds_left": learning.seconds_left(),
        "share": session.share,
        "failure": None if learning.failure is None else str(learning.failure),
    }
