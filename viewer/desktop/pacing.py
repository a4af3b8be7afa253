"""Divides the time of the window's loop: what work is promised it gets, whatever showing a picture costs.

The loop asks :meth:`Pacing.turn` what to do and tells :meth:`Pacing.spent` what it took. Pictures may take what the
work leaves of the time on the clock. That is saved up until it suffices for the next picture: where showing one is dear
there are fewer of them, and each brings a larger piece. Only a hand on the mouse or the keys does not wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MOVING = 0.018
"""Seconds of drawing for a picture that answers a hand."""
GLIDING = 0.08
"""Seconds of drawing for a picture that moves by itself."""
RESTING = 0.2
"""Seconds of drawing in a turn in which nobody waits and nothing else is to be done."""
AT_ONCE = 0.03
"""Of those, seconds between two looks at the mouse and the keys: a hand ends the turn."""
STILL = 2.0
"""Seconds after which a window in which nothing changes is shown again, for something may have lain over it."""
_PIECES = (0.02, 0.06)  # seconds of drawing beside work: at least, for a piece has costs of its own, and at most
_SLICE = 0.05  # seconds of work between two looks at the mouse and the keys, of which the last part may take longer
_FINE_SLICE = 0.16  # the same of work that can be cut anywhere: small pieces of a picture cost a sixth more
_BESIDE_A_HAND = 0.02  # seconds of work in a turn while a hand moves things: one part of a step, which may take longer
_AHEAD = 0.25  # seconds that may be saved beyond the next picture: parts of the work may last that long
_FORGOTTEN = (
    0.5  # seconds: what a picture took beyond this, and beyond what such pictures take, is not held against the next
)
_FIRST = 3  # pictures that a window begins with; it may lose the first
_SMOOTHING = 0.2


@dataclass(frozen=True)
class Turn:
    """One turn of the loop: show a picture, after drawing for ``drawing`` seconds, or show none; then work. A
    ``patient`` turn is drawn in pieces, and ends early when a hand does something."""

    shows: bool
    drawing: float
    working: float
    patient: bool = False

    @property
    def rests(self) -> bool:
        """Whether there is nothing to do."""
        return not self.shows and not self.working


def draw(
    turn: Turn,
    frame: Callable[[float], bool],
    stirs: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Render as long as ``turn`` says; a patient turn in pieces, the last of which follows no stir.

    Args:
        frame: renders for so many seconds, and says whether the picture is complete.
        stirs: whether a hand did something.
    """
    left, at_once = turn.drawing, AT_ONCE if turn.patient else turn.drawing
    while True:
        begun = clock()
        complete = frame(min(left, at_once))
        left -= clock() - begun
        if complete or left < at_once / 2 or stirs():
            return


class Pacing:
    """What the loop of one window does with its time.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.showing = 0.02
        """Seconds that a picture takes beside drawing and working, as a running mean."""
        self._clock = clock
        self._saved = 0.0  # seconds that pictures may take by now; below 0 when they have taken more
        self._counted = self._shown = clock()  # until when that is counted, and when a picture was last shown
        self._pictures = 0
        self._hand = False
        self._cost = 0.0  # seconds that the next picture will take

    def turn(
        self, *, share: float, hand: bool, unfinished: bool, changed: bool, glides: bool = False, fine: bool = False
    ) -> Turn:
        """What to do now.

        Args:
            share: of the time, promised to work; 0 where there is none to be done.
            hand: somebody is doing something, and waits for an answer.
            unfinished: the picture can be made sharper or newer.
            changed: something else is to be seen than in the last picture.
            glides: the picture moves by itself, and is better smooth than soon.
            fine: the work can be cut anywhere, as a recording can, and a training step cannot.
        """
        now, most = self._clock(), _FINE_SLICE if fine else _SLICE
        hand |= glides
        piece = GLIDING if glides else self._piece(share, hand) if unfinished or hand else 0.0
        cost = self._cost = self.showing + piece
        self._saved = min(self._saved + (1.0 - share) * (now - self._counted), cost + _AHEAD)
        self._counted, self._hand = now, hand
        anything = unfinished or changed
        shows = hand or self._pictures < _FIRST or (anything and self._saved >= cost)
        if not share:
            return Turn(shows or anything or now - self._shown >= STILL, piece, 0.0, patient=not hand)
        if self._pictures < _FIRST:  # before work that may begin with a minute of compiling
            return Turn(True, piece, 0.0)
        if hand:
            return Turn(True, piece, _BESIDE_A_HAND)
        if shows or not anything:  # and work waits as long as pictures are owed more than one
            return Turn(shows, piece, 0.0 if shows and self._saved >= 2 * cost else most)
        wait = (cost - self._saved) / max(1.0 - share, 1e-3)
        return Turn(False, piece, min(max(wait, 1e-3), most))

    def spent(self, *, showing: float, drawing: float) -> None:
        """A picture was shown; the seconds that drawing it and all else about it took."""
        left = self._saved - min(showing + drawing, max(_FORGOTTEN, 3.0 * self._cost))
        self.showing += _SMOOTHING * (min(showing, 1.0) - self.showing)
        # What a hand asked for is not held against the pictures that follow.
        self._saved = max(left, min(self._saved, 0.0)) if self._hand else left
        self._shown = self._clock()
        self._pictures += 1

    def _piece(self, share: float, hand: bool) -> float:
        """Seconds of drawing in a picture: beside work as long as showing it takes twice, or pieces cost too much."""
        if hand:
            return MOVING
        return RESTING if not share else min(max(2.0 * self.showing, _PIECES[0]), _PIECES[1])
