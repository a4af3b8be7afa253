"""A hand on the panels, without a window: draws them, reads them, presses buttons and drags sliders."""

from __future__ import annotations

from pathlib import Path

from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from viewer.app.studio import Studio
from viewer.desktop.panels import Panels
from viewer.overlay.rows import Rectangle, Text
from viewer.session.session import Session


def studio_of(session: Session | None) -> Studio:
    studio = Studio(arch="cpu", runs=Path("nowhere"))
    studio.session = session
    return studio


def draw(shown: Session | Studio | None, panels: Panels | None = None, size: tuple[int, int] = (1280, 720)) -> Panels:
    panels = panels or Panels()
    panels.draw(shown if isinstance(shown, Studio) else studio_of(shown), *size)
    return panels


def texts(panels: Panels) -> list[str]:
    """All that can be read on panels, row by row."""
    found = []
    for placed in panels.placed:
        found.append(placed.panel.title)
        for row, _ in placed.rows:
            found.append(f"{row.name} {row.text}".strip() if isinstance(row, Text) else row.label)
    return found


def place(panels: Panels, label: str) -> Rectangle:
    """Where the widget is that begins with ``label``."""
    return next(place for name, place in panels.widgets.items() if name.startswith(label))


def press(shown: Session | Studio | None, panels: Panels, *labels: str, size: tuple[int, int] = (1280, 720)) -> None:
    """Press widgets one after the other; each has to be there."""
    for label in labels:
        where = place(draw(shown, panels, size), label)
        x, y = where.x + where.width / 2, where.y + where.height / 2
        assert panels.press(x, y)
        draw(shown, panels, size)
        panels.release(x, y)
        draw(shown, panels, size)


def slide(shown: Session | Studio | None, panels: Panels, label: str, share: float) -> None:
    """Drag a slider from its middle to a ``share`` of its width, which may be outside of it."""
    where = place(draw(shown, panels), label)
    panels.press(where.x + where.width / 2, where.y + 5)
    draw(shown, panels)
    panels.move(where.x + share * where.width, where.y + 200)
    draw(shown, panels)
    panels.release(where.x + share * where.width, where.y + 200)
    draw(shown, panels)


def session_of_model(**metadata) -> Session:
    model = FakeModel()
    model.metadata.update(metadata)
    return Session(model, render=FakeRender(Clock()))


def session_in_training(**arguments) -> Session:
    clock = Clock()
    return Session(trainer=FakeTrainer(clock, **arguments), render=FakeRender(clock), clock=clock)
