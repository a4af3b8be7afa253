"""The demonstration: which stops there are, that each is sharp before it goes on, and stepping by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.viewer.session.sessions import make
from viewer.session.demo import Demo, Shot, demo_levels


@pytest.mark.parametrize(
    ("highest", "levels"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (5, [1, 2, 4, 5]), (16, [1, 2, 4, 8, 16]), (20, [1, 2, 4, 8, 16, 20])],
)
def test_it_stops_at_powers_of_two_and_the_highest(highest, levels):
    assert demo_levels(highest) == levels


def shots(demo: Demo, seconds: float, *, sharpening: float = 2.0, highest: int = 16) -> list[tuple[float, Shot, bool]]:
    """(time, shot, whether it was sharp) of a picture that takes some seconds to become so."""
    made, since, last = [], 0.0, None
    sharp = False
    for now in np.arange(0.0, seconds, 0.05):
        shot = demo.advance(float(now), sharp, highest)
        if last is None or (shot.level, shot.azimuth) != (last.level, last.azimuth):
            since = now
        sharp, last = now - since >= sharpening and not shot.moving, shot
        made.append((float(now), shot, sharp))
    return made


@pytest.mark.parametrize("sharpening", [0.1, 2.0, 9.0])
def test_no_stop_is_left_before_it_was_sharp_for_its_time(sharpening):
    made = shots(Demo(16, photograph=True, seconds=3.0), 200, sharpening=sharpening)
    stops: list[list[tuple[float, Shot, bool]]] = []
    for entry in made:
        key = (entry[1].level, entry[1].azimuth, entry[1].photograph > 0, entry[1].moving)
        before = stops[-1][-1][1] if stops else None
        if before is None or key != (before.level, before.azimuth, before.photograph > 0, before.moving):
            stops.append([])
        stops[-1].append(entry)
    for stop in (stop for stop in stops[:-1] if not stop[0][1].moving):
        sharp = [now for now, _, good in stop if good]
        assert sharp[-1] - sharp[0] == pytest.approx(3.0 + (2.0 if stop[0][1].photograph else 0.0), abs=0.16)


def test_levels_rise_then_comes_the_photograph_once_then_it_turns_and_they_rise_again():
    made = [shot for _, shot, _ in shots(Demo(8, photograph=True, seconds=1.0), 60, sharpening=0.5, highest=8)]
    story = []
    for shot in made:
        what = "turn" if shot.moving else "photo" if shot.photograph == 1.0 else shot.level
        if (not story or story[-1] != what) and not 0 < shot.photograph < 1:
            story.append(what)
    assert story[:12] == [1, 2, 4, 8, "photo", "turn", 1, 2, 4, 8, "turn", 1]
    assert "photo" not in story[5:]
    azimuths = [shot.azimuth for shot in made]
    assert np.all(np.diff(azimuths) >= 0)
    assert np.diff(azimuths).max() < math.radians(2)  # smoothly, at 20 frames a second
    wiped = [shot.photograph for shot in made if 0 < shot.photograph < 1]
    assert np.all(np.diff(wiped) > 0)
    assert len(wiped) > 30


def test_steps_by_hand_go_both_ways_and_wait_for_the_next():
    demo = Demo(16, seconds=1.0)
    now, levels = 0.0, []

    def see(seconds: float) -> Shot:
        nonlocal now
        for _ in range(round(seconds / 0.1)):
            now += 0.1
            shot = demo.advance(now, True, 16)
        return shot

    for step in (1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1):
        demo.step(step, now, 16)
        levels.append(see(0.3).level)
    assert levels == [2, 4, 8, 4, 2, 1, 1, 2, 4, 8, 16]
    assert see(100).level == 16
    demo.step(1, now, 16)
    assert see(1.0).moving
    demo.step(1, now, 16)  # while it turns: the stop after, which it still turns to
    shot = see(5.0)
    assert (shot.level, shot.moving) == (2, False)
    assert shot.azimuth == pytest.approx(math.pi / 4)
    demo.step(-1, now, 16)
    demo.step(-1, now, 16)
    assert see(0.3).level == 1  # not back into the round before


def test_a_session_shows_every_stop_at_full_resolution_and_no_coarse_pixels():
    session, _, clock = make(scene=None)
    session.demo_seconds = 1.0
    session.toggle_demo()
    seen, last, was_sharp = [], None, False
    for _ in range(3000):
        session.frame(640, 480, 0.05)
        shot = session.demonstration.shot
        if last is not None and (shot.level, shot.moving) != (last.level, last.moving) and not last.moving:
            assert was_sharp
            seen.append(last.level)
        assert session.composer.divisor <= 6
        if last is not None and shot.level != last.level and not shot.moving and not last.moving:
            assert session.composer.divisor == 1  # rows of the next level come over the one before
        last, was_sharp = shot, session.composer.sharp
        clock.spend(0.02)
    assert seen[:6] == [1, 2, 4, 1, 2, 4]


def test_a_longer_time_for_stops_counts_at_once():
    session, _, clock = make(scene=None)
    session.demo_seconds = 1000.0
    session.toggle_demo()
    for _ in range(100):
        session.frame(32, 32, 0.05)
        clock.spend(0.1)
    assert session.level == 1
    session.demo_seconds = 1.0
    session.frame(32, 32, 0.05)
    assert session.level == 2
