"""Signals wait for the end of a step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from taichi_rf.cli.entry import SIGNALS, Stopped, Stopper


@pytest.fixture
def clock() -> list[float]:
    """The time, to be set."""
    return [0.0]


@pytest.fixture
def stopper(clock: list[float]) -> Iterator[Stopper]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}  # under nohup one is ignored
    stopper = Stopper(lambda: clock[0])
    stopper.install()
    yield stopper
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_outside_a_step_is_raised_at_once(stopper):
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM


def test_a_signal_within_nested_steps_waits_for_the_outermost(stopper):
    done = []

    def work() -> None:
        with stopper.step():
            with stopper.step():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with pytest.raises(Stopped):
        work()
    assert done == ["inner", "outer"]
    with stopper.step():
        done.append("the next is whole")
    assert len(done) == 3


def test_a_signal_that_comes_twice_is_one(stopper, clock):
    """A closing terminal sends SIGHUP twice: the second must not tear the step, nor the saving after it."""
    done = []

    def work() -> None:
        with stopper.step():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
            done.append("the step is whole")

    with pytest.raises(Stopped):
        work()
    clock[0] += 0.5
    os.kill(os.getpid(), signal.SIGHUP)
    done.append("and so is the saving")
    assert len(done) == 2


def test_a_later_signal_is_raised_at_once(stopper, clock):
    done = []

    def work() -> None:
        with stopper.step(), stopper.step():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("waits")
            clock[0] += 1.5
            os.kill(os.getpid(), signal.SIGINT)
            done.append("does not")

    with pytest.raises(Stopped):
        work()
    assert done == ["waits"]
    with stopper.step():
        pass
