"""The page on which a person says how videos are to be."""

from __future__ import annotations

from functools import partial
from typing import Any

from taichi_rf.cli.console import duration
from taichi_rf.motion.film import CAPTIONS, SIZES, Film
from viewer.desktop.menu import Menu
from viewer.overlay.rows import ACCENT, SOFT, Button, Row, Slider, Text
from viewer.session.keep import Keeper
from viewer.session.session import Session

LONGEST = 60
"""Seconds of a turntable that can be chosen here."""


def film_page(menu: Menu, session: Session) -> list[Row]:
    """Rows that change the session's film, and those that begin one."""
    keeper = session.keeper
    film, name = keeper.film, session.field.level_name
    levels = f"{name} 1 to {session.levels.highest}" if film.sweep else f"{name} {session.level}"
    rows: list[Row] = [
        Button("< back", partial(menu.turn_to, "keep")),
        Slider("s a turn", round(film.seconds), 1, LONGEST, partial(_set_seconds, film)),
        Button(f"Size: {size_text(film, session)}", partial(_next, film, "size", SIZES)),
        Button(f"Levels: {levels}", partial(setattr, film, "sweep", not film.sweep)),
        Button(f"Caption: {film.caption}", partial(_next, film, "caption", CAPTIONS)),
        Text("level, MB and dB; auto: if levels change", SOFT),
    ]
    return rows + (job_rows(keeper) or [Button("Video of a turntable", keeper.turntable)])


def job_rows(keeper: Keeper) -> list[Row]:
    """How far the picture or the video is that is being made, and how to end it; nothing where there is none."""
    job = keeper.job
    if job is None:
        return []
    left = "" if job.seconds_left is None else f", {duration(job.seconds_left)} left"
    return [
        Text(f"{job.what}, {100 * job.progress:.0f} %{left}", ACCENT),
        Button(f"Cancel the {job.what}", keeper.cancel),
    ]


def size_text(film: Film, session: Session) -> str:
    """The size of the next video, such as "1280 x 720"."""
    width, height = film.size or session.size
    return f"{width} x {height}"


def _set_seconds(film: Film, seconds: int) -> None:
    film.seconds = float(seconds)


def _next(film: Film, name: str, choices: tuple[Any, ...]) -> None:
    now = getattr(film, name)
    at = choices.index(now) if now in choices else -1
    setattr(film, name, choices[(at + 1) % len(choices)])
