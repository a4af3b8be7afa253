"""The page on which a person cuts the model to a box, whose faces are dragged in the picture or by sliders."""

from __future__ import annotations

from functools import partial

from taichi_rf.motion.crop_box import FACES
from viewer.app.studio import Studio
from viewer.desktop.menu import Menu
from viewer.overlay.rows import SOFT, Button, Row, Slider, Text
from viewer.session.session import Session


def crop_row(menu: Menu, session: Session) -> Row:
    """The button that opens the page."""
    return Button("Crop to a box ...", partial(_begin, menu, session))


def crop_page(menu: Menu, studio: Studio, session: Session) -> list[Row]:
    """A slider for each face of the box, and what is done with it."""
    crop = session.keeper.crop_box()
    sliders = [
        Slider(
            name, crop.percent(face), 0, 100, partial(crop.place, face),
            shown=f"{crop.box[face % 2, face // 2]:.3g}",
        )
        for face, name in enumerate(FACES)
    ]  # fmt: skip
    return [
        Button("< back", partial(menu.turn_to, "keep")),
        Text("drag a handle in the picture, or:", SOFT),
        *sliders,
        Button("The first box again", crop.reset),
        Button("Cut to the box, and open it", partial(_cut, studio, session)),
    ]


def _begin(menu: Menu, session: Session) -> None:
    """Open the page; the box is drawn into one picture, not into two halves."""
    session.set_compare("off")
    session.keeper.crop_box()
    menu.turn_to("crop")


def _cut(studio: Studio, session: Session) -> None:
    path = session.keeper.cut()
    if path is not None:
        studio.open(path)
