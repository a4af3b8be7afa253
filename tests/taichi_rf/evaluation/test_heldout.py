"""PSNR on held-out pixels: right when it measures all of them, near when it measures some, and never in the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.evaluation.evaluate import evaluate
from taichi_rf.evaluation.heldout import CHUNK, SMALLEST, HeldOut
from taichi_rf.evaluation.image_metrics import psnr
from taichi_rf.rendering.pictures import render
from taichi_rf.training import checkpoint
from taichi_rf.training.trainer import Trainer
from tests.arches import per_arch
from tests.tiny import ROWS, SIZE, tiny_config, tiny_scene

ON_CPU = pytest.mark.parametrize("trainer", ["cpu"], indirect=True)
"""For what has nothing to do with the device: every renderer of prefixes compiles its kernels anew."""

BYTES = [10, 20, 30, 40]
ALL = 3 * SIZE**2  # pixels of the three test views


class Clock:
    """Seconds that pass by themselves: one ``tick`` each time one looks."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@per_arch
def trainer() -> Trainer:
    """All ranks from the start, half trained: every prefix is of another quality."""
    made = Trainer(tiny_scene(test=3), tiny_config(ranks="plain"), rows=ROWS)
    for _ in range(30):
        made.step()
    return made


def a_round(heldout: HeldOut, model, levels: int = 4) -> list[float]:
    """The figures of a whole round, begun here."""
    for _ in range(1000):
        if heldout.advance(model, levels, 0.0, Clock()):
            assert heldout.psnr is not None
            return heldout.psnr
    raise AssertionError("a round never ended")


def test_measuring_every_pixel_gives_what_evaluate_gives(trainer):
    model, split = trainer.model, trainer.scene.test
    expected = [score.psnr for score in evaluate(model, split, BYTES).scores]
    measured = a_round(HeldOut(split, pixels=ALL, views=3), model)
    np.testing.assert_allclose(measured, expected, atol=2e-3)
    assert max(expected) - min(expected) > 0.5
    np.testing.assert_allclose(a_round(HeldOut(split, pixels=10 * ALL, views=9), model), expected, atol=2e-3)


@ON_CPU
def test_some_pixels_estimate_all(trainer):
    model, split = trainer.model, trainer.scene.test
    expected = np.array([score.psnr for score in evaluate(model, split, BYTES).scores])
    errors = []
    for seed in range(8):
        measured = a_round(HeldOut(split, pixels=ALL // 4, views=3, seed=seed), model)
        errors.append(np.array(measured) - expected)
    assert np.abs(errors).max() < 2.5  # dB; a quarter of the pixels of such small pictures
    assert np.abs(np.mean(errors, axis=0)).max() < 0.7
    assert np.std(errors) > 0  # other seeds are other pixels


@ON_CPU
def test_a_round_is_the_same_every_time_and_whatever_the_chunks(trainer):
    model, split = trainer.model, trainer.scene.test
    heldout = HeldOut(split, pixels=900)
    first = a_round(heldout, model)
    assert a_round(heldout, model) == pytest.approx(first, abs=1e-4)
    slow = HeldOut(split, pixels=900)
    for _ in range(100):
        if slow.advance(model, 4, 0.0, Clock(tick=1.0)):  # every chunk seems slow, so they become small
            break
    assert slow.psnr == pytest.approx(first, abs=1e-4)


@ON_CPU
def test_views_are_spread_and_the_mean_is_of_their_decibels(trainer):
    model, split = trainer.model, trainer.scene.test
    ends = [psnr(render(model, split.cameras[i]), split.composite(i, model.background)) for i in (0, 2)]
    assert abs(ends[0] - ends[1]) > 1e-3
    measured = a_round(HeldOut(split, pixels=2 * SIZE**2, views=2), model)
    assert measured[-1] == pytest.approx(np.mean(ends), abs=2e-3)


@ON_CPU
def test_fewer_levels_are_the_first_ones_and_a_round_keeps_those_it_began_with(trainer):
    model, split = trainer.model, trainer.scene.test
    heldout = HeldOut(split, pixels=2000)
    whole = a_round(heldout, model)
    assert a_round(heldout, model, levels=2) == pytest.approx(whole[:2], abs=1e-4)
    assert not heldout.advance(model, 1, 0.0, Clock())
    assert 0 < heldout.progress < 1
    assert a_round(heldout, model, levels=3) == pytest.approx(whole[:1], abs=1e-4)
    assert heldout.progress == 0
    assert a_round(heldout, model, levels=3) == pytest.approx(whole[:3], abs=1e-4)


@ON_CPU
def test_the_model_is_left_as_it_was_and_its_background_is_the_photographs(trainer):
    model, split = trainer.model, trainer.scene.test
    before = model.field.value.to_numpy()
    white = a_round(HeldOut(split, pixels=ALL, views=3), model)
    np.testing.assert_array_equal(model.field.value.to_numpy(), before)
    kept, model.background = model.background, (0.0, 0.0, 0.0)
    try:
        black = a_round(HeldOut(split, pixels=ALL, views=3), model)
        expected = [score.psnr for score in evaluate(model, split, BYTES).scores]
    finally:
        model.background = kept
    np.testing.assert_allclose(black, expected, atol=2e-3)
    assert np.abs(np.subtract(black, white)).max() > 0.01


@ON_CPU
def test_a_call_stops_at_its_budget_and_after_a_round(trainer):
    model = trainer.model
    heldout = HeldOut(trainer.scene.test, pixels=1700)
    assert heldout.psnr is None
    assert heldout.progress == 0
    clock = Clock(tick=0.001)
    assert not heldout.advance(model, 4, 0.0, clock)
    first = heldout.progress
    assert 0 < first <= CHUNK / 1700
    assert heldout.psnr is None
    assert heldout.advance(model, 4, 1e9, clock)
    assert heldout.psnr is not None
    assert heldout.progress == 0  # and did not begin another


@ON_CPU
def test_chunks_shrink_when_they_are_slow_and_grow_when_they_are_not(trainer):
    model = trainer.model
    heldout = HeldOut(trainer.scene.test, pixels=ALL, views=3)

    def rays(tick: float) -> int:
        before = heldout.progress
        ended = heldout.advance(model, 1, 0.0, Clock(tick=tick))
        return 0 if ended else round((heldout.progress - before) * ALL)

    first = rays(0.1)
    second, third = rays(0.1), rays(0.1)
    assert (first, second, third) == (CHUNK // 4, SMALLEST, SMALLEST)
    assert rays(0.0) == SMALLEST
    assert rays(0.0) == int(1.5 * SMALLEST)


@ON_CPU
def test_another_model_begins_the_round_again(trainer):
    heldout = HeldOut(trainer.scene.test, pixels=1700)
    other = Trainer(tiny_scene(test=3), tiny_config(ranks="plain", seed=5), rows=ROWS)
    expected = a_round(HeldOut(trainer.scene.test, pixels=1700), other.model)
    heldout.advance(trainer.model, 4, 0.0, Clock())
    assert a_round(heldout, other.model) == pytest.approx(expected, abs=1e-4)


@ON_CPU
def test_a_perfect_match_is_a_number(trainer):
    """A black scene that nothing is in, seen on black: no error at all."""
    model, split = trainer.model, trainer.scene.test
    nothing = replace(split, pixels=PixelPool.of(np.zeros_like(split.images)))
    cells = model.occupancy.to_numpy()
    model.occupancy.set_cells(np.zeros_like(cells))
    try:
        assert a_round(HeldOut(nothing, pixels=100), model) == pytest.approx([120.0] * 4)
    finally:
        model.occupancy.set_cells(cells)


@ON_CPU
def test_a_training_that_is_measured_in_between_is_the_same_to_the_bit(trainer):
    """Through a shrink, a filter, an upsampling and ranks that come in one after the other; in the middle of steps."""
    config = tiny_config(decoder="mlp")  # which has more to be disturbed than spherical harmonics have
    alone = Trainer(tiny_scene(test=3), config, rows=ROWS)
    measured = Trainer(tiny_scene(test=3), config, rows=ROWS)
    heldout, rounds, levels = HeldOut(measured.scene.test, pixels=600), 0, set()
    alone.part_rays = measured.part_rays = 100
    while not alone.done:
        one, other, parts = alone.step(), None, 0
        while other is None:
            other, parts = measured.part(), parts + 1
            rounds += heldout.advance(measured.model, measured.level, 0.0, Clock())
            levels.add(len(heldout.psnr or []))
        assert parts > 2
        assert (one.loss, one.level) == (other.loss, other.level)
    assert rounds > 10
    assert len(levels) >= 3
    expected, state = checkpoint.capture(alone)
    arrays, other_state = checkpoint.capture(measured)
    assert expected.keys() == arrays.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    for trained in (state, other_state):
        for timed in ("elapsed", "events"):
            trained.pop(timed, None)
    assert state == other_state
    assert {"shrink", "filter", "upsample"} <= {event["event"] for event in measured.events}


def test_a_scene_without_test_views_is_said():
    with pytest.raises(UserError, match="no test views"):
        HeldOut(tiny_scene(test=0).test)


@ON_CPU
def test_more_levels_than_there_are_is_said(trainer):
    heldout = HeldOut(trainer.scene.test, pixels=100)
    with pytest.raises(UserError, match="rank 5 is outside"):
        heldout.advance(trainer.model, 5, 0.0, Clock())
    assert len(a_round(heldout, trainer.model, levels=2)) == 2
