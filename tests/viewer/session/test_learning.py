"""Training under a session: its share of time, what is measured meanwhile, and what is remembered. No Taichi."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from tests.tiny import tiny_scene
from tests.viewer_fakes import Clock, FakeTrainer
from viewer.session import learning
from viewer.session.learning import Learning

ROUND = 5  # chunks


class FakeHeldOut:
    """A round of ``ROUND`` chunks of 10 ms: level l at iteration i has 10 l + i / 100 dB."""

    def __init__(self, split):
        self.psnr, self.chunks = None, 0
        assert len(split)

    def advance(self, model, levels, budget, clock):
        clock.spend(0.01)
        self.chunks += 1
        if self.chunks % ROUND:
            return False
        self.psnr = [10.0 * level for level in range(1, levels + 1)]
        return True


def make(monkeypatch, **arguments) -> tuple[Learning, Clock]:
    monkeypatch.setattr(learning, "HeldOut", FakeHeldOut)
    clock = Clock()
    trainer = FakeTrainer(clock, **arguments)
    trainer.scene = tiny_scene()
    return Learning(trainer, clock), clock


def test_measuring_takes_a_small_part_of_the_training_s_time(monkeypatch):
    learns, clock = make(monkeypatch, steps=10_000)
    for _ in range(2000):
        learns.train(0.05)
    measured = 0.01 * learns._heldout.chunks
    assert clock.now == pytest.approx(100, rel=0.01)
    assert measured / clock.now == pytest.approx(0.05, rel=0.2)


def test_levels_are_known_as_they_come_and_the_best_makes_a_curve(monkeypatch):
    learns, _ = make(monkeypatch, steps=1000)
    for _ in range(400):
        learns.train(0.05)
    assert learns.psnr == [10.0, 20.0, 30.0, 40.0]
    assert learns.history.test[-1][1] == 40.0
    iterations = [iteration for iteration, _ in learns.history.test]
    assert iterations == sorted(iterations)


def test_a_pause_and_the_end_are_measured_to_the_end_of_the_round_and_no_further(monkeypatch):
    learns, clock = make(monkeypatch, steps=50)
    for _ in range(20):
        learns.train(0.1)
    learns.toggle()
    for _ in range(100):
        learns.train(0.1)
    at = clock.now
    learns.train(0.1)
    assert clock.now == at
    assert learns.history.test[-1][0] == learns.trainer.iteration
    learns.toggle()
    for _ in range(200):
        learns.train(0.1)
    assert learns.trainer.done
    assert learns.history.test[-1][0] == 50
    at = clock.now
    learns.train(0.1)
    assert clock.now == at


def test_levels_are_marked_where_they_entered(monkeypatch):
    learns, _ = make(monkeypatch, steps=20)
    for _ in range(100):
        learns.train(0.1)
    assert learns.history.levels == [(1, 1), (2, 2), (4, 3), (6, 4)]


def test_a_resumed_training_remembers_its_curve_and_its_levels(monkeypatch):
    monkeypatch.setattr(learning, "HeldOut", FakeHeldOut)
    trainer = FakeTrainer(Clock())
    trainer.history = [{"iteration": 10, "psnr": 15.0}, {"iteration": 20, "psnr": 18.0}]
    trainer.events = [{"event": "shrink", "iteration": 5}, {"event": "rank", "iteration": 12, "level": 2}]
    learns = Learning(trainer, trainer.clock)
    assert learns.history.batch == [(10, 15.0), (20, 18.0)]
    assert learns.history.levels == [(12, 2)]


def test_time_left_is_of_the_clock_and_follows_the_share(monkeypatch):
    learns, clock = make(monkeypatch, steps=1000)
    assert learns.seconds_left is None
    for spent, share in ((0.0, 1.0), (0.1, 0.5), (0.4, 0.2)):  # beside every 0.1 s of training
        for _ in range(300):
            learns.train(0.1)
            clock.spend(spent)
        left = 0.1 * (1000 - learns.trainer.iteration) * 1.05 / share  # measuring has its part, too
        assert learns.seconds_left == pytest.approx(left, rel=0.08)


def test_time_left_is_no_time_until_there_is_a_rate_and_a_pause_does_not_count(monkeypatch):
    learns, clock = make(monkeypatch, steps=100)
    for _ in range(4):
        learns.train(0.1)
        assert learns.seconds_left is None or learns.seconds_left > 5
    assert learns.seconds_left == pytest.approx(9.6, rel=0.1)
    learns.toggle()
    clock.spend(1000.0)
    learns.toggle()
    for _ in range(4):
        learns.train(0.1)
    assert learns.seconds_left == pytest.approx(9.2, rel=0.1)


def test_curves_stay_short_for_ever():
    points: list[tuple[int, float]] = []
    for iteration in range(100_000):
        learning._append(points, (iteration, 0.0))
    assert len(points) <= 2001
    assert points[-1][0] == 99_999
    assert np.all(np.diff([iteration for iteration, _ in points]) > 0)


def test_a_full_disk_pauses_and_the_training_goes_on_after_it(monkeypatch):
    learns, _ = make(monkeypatch, steps=20, fails_at=5)
    learns.trainer.error = UserError("no space left")
    for _ in range(50):
        learns.train(0.1)
    assert (learns.trainer.iteration, learns.running, learns.over) == (5, False, False)
    assert str(learns.hitch) == "no space left"
    learns.trainer.fails_at = None
    learns.toggle()
    for _ in range(50):
        learns.train(0.1)
    assert learns.trainer.done


@pytest.mark.parametrize("error", [FloatingPointError("nan"), RuntimeError("out of device memory"), MemoryError()])
def test_what_ends_a_training_for_good_is_kept(monkeypatch, error):
    learns, _ = make(monkeypatch, fails_at=2)
    learns.trainer.error = error
    for _ in range(10):
        learns.train(0.1)
    learns.toggle()
    assert (learns.failure, learns.running, learns.over) == (error, False, True)


def test_compiling_says_nothing_of_the_speed(monkeypatch):
    learns, clock = make(monkeypatch, steps=100)
    trainer, part = learns.trainer, learns.trainer.part
    trainer.cold = True

    def compiling():
        clock.spend(10.0 if trainer.cold else 0.0)
        trainer.cold = False
        return part()

    trainer.part = compiling
    for _ in range(300):
        learns.train(0.1)
        if trainer.iteration == 10:
            break
    assert learns.seconds_left == pytest.approx(9.0, rel=0.15)
