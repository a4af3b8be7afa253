"""The window's loop on a clock of its own: work has its share whatever a picture costs, and a hand does not wait."""

from __future__ import annotations

import math

import pytest

from tests.viewer_fakes import Clock
from viewer.desktop.pacing import AT_ONCE, RESTING, STILL, Pacing, Turn, draw

PART = 0.065  # seconds of a part of a training step on two cores


class Loop:
    """A window whose pictures take ``showing`` seconds beside what is drawn."""

    def __init__(self, showing: float, part: float = PART) -> None:
        self.clock, self.showing, self.part = Clock(), showing, part
        self.pacing = Pacing(self.clock)
        self.worked, self.pictures, self.drawn = 0.0, [], []
        self._debt = 0.0

    def turn(self, share: float, *, hand: bool = False, unfinished: bool = True, changed: bool = True) -> bool:
        """Whether a picture was shown."""
        turn = self.pacing.turn(share=share, hand=hand, unfinished=unfinished, changed=changed)
        self.clock.spend(1e-4)  # to look at the mouse
        if turn.shows:
            self.clock.spend(turn.drawing + self.showing)
            self.pacing.spent(showing=self.showing, drawing=turn.drawing)
            self.pictures.append(self.clock.now)
            self.drawn.append(turn.drawing)
        # as viewer.session.learning does it: whole parts, and what they take too long is taken off
        self._debt -= turn.working
        while self._debt < 0:
            self.clock.spend(self.part)
            self.worked, self._debt = self.worked + self.part, self._debt + self.part
        if turn.rests:
            self.clock.spend(0.05)
        return turn.shows

    def run(self, seconds: float, share: float, **what: bool) -> float:
        """The part of the time that was worked."""
        end, before, start = self.clock.now + seconds, self.worked, self.clock.now
        while self.clock.now < end:
            self.turn(share, **what)
        return (self.worked - before) / (self.clock.now - start)


@pytest.mark.parametrize("showing", [0.005, 0.020, 0.049, 0.120, 0.8])
@pytest.mark.parametrize("share", [0.3, 0.85, 0.95])
def test_work_has_its_share_of_the_time_on_the_clock_whatever_a_picture_costs(showing, share):
    loop = Loop(showing)
    loop.run(100, share)
    assert loop.run(500, share) == pytest.approx(share, abs=0.02)
    expected = (showing + loop.drawn[-1]) / (1 - share)  # seconds from one picture to the next
    gaps = [b - a for a, b in zip(loop.pictures[-10:], loop.pictures[-9:])]
    assert max(gaps) < expected + 2 * PART + 0.05  # and pictures have theirs
    assert loop.drawn[-1] >= min(showing, 0.06)


@pytest.mark.parametrize("part", [0.002, 0.2])
def test_parts_of_any_length_have_the_same_share(part):
    loop = Loop(0.049, part)
    loop.run(5, 0.85)
    assert loop.run(60, 0.85) == pytest.approx(0.85, abs=0.03)


@pytest.mark.parametrize("showing", [0.005, 0.020, 0.049])
def test_a_hand_is_answered_at_once_and_work_goes_on_beside_it(showing):
    loop = Loop(showing)
    loop.run(5, 0.95)
    before, pictures = loop.worked, len(loop.pictures)
    for _ in range(30):
        start = loop.clock.now
        assert loop.turn(0.95, hand=True)
        assert loop.pictures[-1] - start < 0.1
    assert loop.worked > before
    assert len(loop.pictures) == pictures + 30
    start = loop.clock.now
    while not loop.turn(0.85):
        pass
    assert loop.clock.now - start < (showing + 0.06) / 0.15 + 2 * PART + 0.05  # what the hand took is not paid back


def test_between_two_looks_at_the_mouse_lies_no_more_than_a_part():
    loop = Loop(0.020)
    loop.run(5, 0.85)
    for _ in range(300):
        start = loop.clock.now
        shown = loop.turn(0.85)
        assert loop.clock.now - start < PART + 0.002 + (0.02 + loop.drawn[-1] if shown else 0.0)


def test_without_work_a_picture_is_finished_in_large_pieces_and_then_nothing_is_done():
    loop = Loop(0.020)
    for _ in range(10):
        assert loop.turn(0.0)
    assert loop.drawn[-1] > 0.1
    pictures, start = len(loop.pictures), loop.clock.now
    loop.run(20, 0.0, unfinished=False, changed=False)
    assert len(loop.pictures) - pictures <= math.ceil((loop.clock.now - start) / STILL)
    assert loop.turn(0.0, unfinished=False, changed=True)
    assert loop.drawn[-1] == 0.0


def drawn(turn: Turn, clock: Clock, *, complete_at: float = math.inf, stirs_at: float = math.inf) -> list[float]:
    """The seconds of the pieces that a turn is drawn in."""
    pieces = []

    def frame(seconds: float) -> bool:
        pieces.append(seconds)
        clock.spend(seconds)
        return clock.now >= complete_at

    draw(turn, frame, lambda: clock.now >= stirs_at, clock)
    return pieces


def test_while_nobody_waits_a_picture_is_drawn_in_pieces_between_which_a_hand_is_seen():
    loop = Loop(0.020)
    for _ in range(4):
        loop.turn(0.0)
    resting = loop.pacing.turn(share=0.0, hand=False, unfinished=True, changed=True)
    answering = loop.pacing.turn(share=0.0, hand=True, unfinished=True, changed=True)
    training = loop.pacing.turn(share=0.85, hand=False, unfinished=True, changed=True)
    assert (resting.patient, answering.patient, training.patient) == (True, False, False)
    pieces = drawn(resting, Clock())
    assert sum(pieces) == pytest.approx(RESTING)
    assert max(pieces) <= AT_ONCE
    assert sum(drawn(resting, Clock(), stirs_at=0.05)) <= 0.05 + AT_ONCE
    assert sum(drawn(resting, Clock(), complete_at=0.01)) <= AT_ONCE
    assert drawn(answering, Clock()) == [answering.drawing]
    assert drawn(resting, Clock(), stirs_at=0.0) == [AT_ONCE]  # something is drawn in every turn


def test_a_recording_alone_has_nearly_all_of_the_time():
    loop = Loop(0.049, part=0.02)
    loop.run(5, 0.95, unfinished=False)
    assert loop.run(30, 0.95, unfinished=False) > 0.92


def test_pictures_come_before_work_that_compiles_for_a_minute():
    loop = Loop(0.02, part=60.0)
    for _ in range(3):
        assert loop.turn(0.85)
    assert loop.worked == 0


def test_a_new_cost_is_learnt_within_some_pictures():
    loop = Loop(0.005)
    loop.run(10, 0.85)
    loop.showing = 0.120  # the window was enlarged
    loop.run(10, 0.85)
    assert loop.run(30, 0.85) == pytest.approx(0.85, abs=0.03)


def test_what_moves_by_itself_is_drawn_in_every_turn():
    loop = Loop(0.02)
    loop.run(5, 0.85)
    for _ in range(5):
        turn = loop.pacing.turn(share=0.85, hand=False, unfinished=True, changed=True, glides=True)
        assert turn.shows
        assert turn.drawing > 0.05
        loop.clock.spend(0.1)
        loop.pacing.spent(showing=0.02, drawing=0.08)
