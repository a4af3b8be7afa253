"""What lies under the mouse: a double click has the camera turn about it."""

from __future__ import annotations

from taichi_rf.motion.free_view import surface_at
from viewer.session.session import Session


def centre_on(session: Session, x: float, y: float) -> None:
    """Turn about the surface that is at the pixel (x, y) of the picture from now on."""
    (width, height), half = session.size, session.size[0] // 2
    if session.layout == "beside" and session.compare != "off":
        x, width = (x, half) if x < half else (x - half, width - half)
    camera = session.viewpoint.frame_camera(width, height)
    place = surface_at(session.model, camera, x, y, session.level)
    if place is None:
        session.say("there is nothing to turn about at this place")
        return
    if session.demo:
        session.toggle_demo()
    session.orbit.turn_about(place)
