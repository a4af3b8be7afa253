"""What a session shows and does, as plain values."""

from __future__ import annotations

from taichi_rf.core.sizes import amount_and_unit
from taichi_rf.streaming.arrivals import Arrivals
from viewer.overlay.stats import ArrivalStats, Comparison, JobStats, Stats, TrainingStats
from viewer.session.learning import Learning
from viewer.session.levels import Levels
from viewer.session.session import Session


def stats_of(session: Session) -> Stats:
    """The numbers beside the picture of ``session``."""
    levels, composer, job = session.levels, session.composer, session.keeper.job
    level, name, pixels = levels.shown, levels.name, session.size[0] * session.size[1]
    quality = levels.decibels(level)
    return Stats(
        level=level,
        level_name=name,
        num_levels=levels.count,
        megabytes=levels.megabytes(level),
        psnr=None if quality is None else quality.value,
        estimated=quality is not None and not quality.measured,
        picture=session.times.at(level, session.plain_mode, pixels),
        pictures=session.times.all(session.plain_mode, pixels),
        divisor=composer.divisor,
        complete=composer.complete,
        mode=session.mode,
        compare=Comparison(
            kind=session.compare,
            layout=session.layout,
            divider=composer.divider / session.size[0],
            left=_caption(levels, level) if session.compare != "off" else "",
            right={"level": _caption(levels, levels.other), "photo": "photo"}.get(session.compare, ""),
        ),
        view=session.at_view,
        flying=session.viewpoint.flying,
        demo=session.demo,
        recording=None if job is None else JobStats(job.what, job.progress, str(job.path), job.seconds_left),
        message=session.message,
        training=None if session.learning is None else _training(session.learning, session.share),
        arriving=None if session.arrivals is None else _arriving(session.arrivals),
    )


def _caption(levels: Levels, level: int) -> str:
    """What a level is, costs and gives, in one line."""
    quality = levels.decibels(level)
    parts = [f"{levels.name} {level}", " ".join(amount_and_unit(1e6 * levels.megabytes(level)))]
    return " · ".join(parts if quality is None else [*parts, f"{quality.text(1)} dB"])


def _training(learning: Learning, share: float) -> TrainingStats:
    trainer, figures = learning.trainer, learning.figures
    return TrainingStats(
        state=learning.state,
        iteration=trainer.iteration,
        progress=trainer.progress,
        level=trainer.level,
        loss=figures.get("loss"),
        psnr=figures.get("psnr"),
        rays_per_second=figures.get("rays_per_second"),
        seconds_left=learning.seconds_left,
        share=share,
        failure=None if learning.failure is None else str(learning.failure),
    )


def _arriving(arrivals: Arrivals) -> ArrivalStats:
    progress = arrivals.incoming.progress
    return ArrivalStats(
        level=arrivals.level,
        total=arrivals.total,
        text=arrivals.text(),
        progress=arrivals.progress,
        received=progress.received,
        trouble=progress.trouble,
        over=arrivals.over,
    )
