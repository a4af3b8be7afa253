"""What a session shows and does, as plain values."""

from __future__ import annotations

from taichi_rf.streaming.arrivals import Arrivals
from viewer.overlay.stats import ArrivalStats, Comparison, JobStats, Stats, TrainingStats
from viewer.session.learning import Learning
from viewer.session.session import Session


def stats_of(session: Session) -> Stats:
    """The numbers beside the picture of ``session``."""
    levels, composer, job = session.levels, session.composer, session.keeper.job
    level, name, pixels = levels.shown, levels.name, session.size[0] * session.size[1]
    return Stats(
        level=level,
        level_name=name,
        num_levels=levels.count,
        megabytes=levels.megabytes(level),
        psnr=levels.psnr(level),
        picture=session.times.at(level, session.plain_mode, pixels),
        pictures=session.times.all(session.plain_mode, pixels),
        divisor=composer.divisor,
        complete=composer.complete,
        mode=session.mode,
        compare=Comparison(
            kind=session.compare,
            layout=session.layout,
            divider=composer.divider / session.size[0],
            left=f"{name} {level}",
            right="photo" if session.compare == "photo" else f"{name} {levels.other}",
        ),
        view=session.at_view,
        flying=session.viewpoint.flying,
        demo=session.demo,
        recording=None if job is None else JobStats(job.what, job.progress, str(job.path), job.seconds_left),
        message=session.message,
        training=None if session.learning is None else _training(session.learning, session.share),
        arriving=None if session.arrivals is None else _arriving(session.arrivals),
    )


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
