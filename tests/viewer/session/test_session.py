"""The session: levels, pictures that sharpen at rest, and training in the time that is left. No window, no Taichi."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.motion.bands import quantise
from tests.tiny import tiny_scene
from tests.viewer_fakes import RAYS_PER_SECOND, Clock, FakeModel, FakeRender, FakeTrainer
from viewer.session.session import MODES, Session
from viewer.session.stats import stats_of


def make(**arguments) -> tuple[Session, FakeRender, Clock]:
    clock = Clock()
    render = FakeRender(clock)
    if "trainer" in arguments:
        arguments["trainer"].clock = clock
    else:
        arguments["model"] = FakeModel()
    return Session(render=render, clock=clock, **arguments), render, clock


def settle(session: Session, size=(96, 64), budget=0.02) -> int:
    """Frames until nothing sharper follows."""
    for count in range(1, 1000):
        session.frame(*size, budget)
        if session.composer.complete:
            return count
    raise AssertionError("the picture never settled")


# Levels


def test_level_is_kept_within_the_model_whatever_a_slider_says():
    session, _, _ = make()
    for asked, shown in [(99, 4), (-3, 1), (2, 2), (2.6, 3)]:
        session.levels.choose(asked)
        assert session.level == shown


def test_first_level_outside_the_model_is_the_users_error():
    for level in (0, 5):
        with pytest.raises(UserError, match="rank 1 to 4"):
            make(level=level)


def test_budget_shows_the_highest_level_that_fits_until_a_level_is_asked_for():
    session, _, _ = make(level=2)
    assert session.levels.budget == 500_000
    for size, level in [(0, 1), (250_000, 1), (749_999, 2), (750_000, 3), (1e12, 4), (500_000, 2)]:
        session.levels.limit(size)
        assert (session.level, session.levels.budget) == (level, size)
    session.levels.step(1)
    assert (session.level, session.levels.budget) == (3, 750_000)


def test_budget_holds_while_the_model_grows_but_not_in_a_demonstration():
    session, _, clock = make(trainer=FakeTrainer(Clock()))
    session.levels.limit(500_000)
    assert session.level == 1
    while session.training:
        session.work(0.1)
    assert (session.trainer.level, session.level) == (4, 2)
    session.model.bytes_at = lambda level: 400_000 * level  # as after a grid was made finer
    clock.spend(1.0)
    assert session.level == 1
    session.toggle_demo()
    for _ in range(2):
        session.demonstration.step(1)
    session.frame(96, 64, 0.02)
    assert session.level == 4
    session.toggle_demo()
    assert session.level == 1


def test_bytes_and_psnr_follow_the_level():
    session, _, _ = make()
    for level, psnr in [(4, 30.0), (2, 25.0)]:
        session.levels.choose(level)
        stats = stats_of(session)
        assert (stats.level, stats.psnr, stats.megabytes) == (level, psnr, 0.25 * level)


def test_size_is_that_of_the_file_where_the_file_says_it():
    session, _, _ = make(level=2)
    session.model.metadata["prefix_bytes"] = [300_000, 600_000, 900_000, 1_200_000]
    assert stats_of(session).megabytes == 0.6


def test_psnr_is_unknown_for_a_model_that_was_never_evaluated():
    for metadata in (
        {},
        {"level_psnr": []},
        {"level_psnr": "good"},
        {"level_psnr": [1.0]},
        {"level_psnr": ["x"] * 4},
        {"level_psnr": [10**400] * 4},
        {"level_psnr": [float("nan")] * 4},
    ):
        session, _, _ = make()
        session.model.metadata.clear()
        session.model.metadata.update(metadata)
        assert stats_of(session).psnr is None


# Pictures


def test_picture_at_rest_is_the_plain_render_to_the_byte():
    session, render, _ = make()
    settle(session)
    expected = render(session.model, session.orbit.camera(96, 64), level=4, mode="colour")
    np.testing.assert_array_equal(session.frame(96, 64, 0.02), quantise(expected))


def test_canvas_has_x_first_and_y_up():
    session, _, _ = make()
    settle(session)
    picture, canvas = session.composer.picture, session.composer.canvas
    assert canvas.shape == (96, 64, 4)
    assert canvas.flags.c_contiguous
    np.testing.assert_array_equal(canvas[10, 63 - 20], [*picture[20, 10], 255])


def test_every_change_shows_at_once_and_coarse():
    session, render, clock = make()
    settle(session)
    changes = [
        lambda: session.levels.choose(2),
        session.next_mode,
        lambda: session.orbit.rotate(10, 0, 64),
        session.reset_view,
    ]
    for change in changes:
        before, start = session.composer.picture.copy(), clock.now
        change()
        session.frame(96, 64, 0.02)
        assert clock.now - start < 0.03
        assert session.composer.divisor > 1
        assert np.abs(session.composer.picture.astype(int) - before).mean() > 1
        settle(session)
        assert session.composer.divisor == 1


def test_preview_resembles_the_sharp_picture():
    session, _, _ = make()
    session.frame(96, 64, 0.005)
    coarse = session.composer.picture.astype(int)
    assert session.composer.divisor >= 4
    settle(session)
    assert np.abs(session.composer.picture - coarse).max() < 16


def test_no_frame_takes_much_longer_than_its_budget():
    session, _, clock = make()
    session.frame(640, 360, 0.05)  # learns the speed
    for _ in range(200):
        start = clock.now
        session.frame(640, 360, 0.05)
        assert clock.now - start < 0.08
    assert session.composer.complete


def test_sharp_picture_costs_little_more_than_itself():
    session, _, clock = make()
    settle(session, (640, 360), 0.05)
    assert clock.now < 1.2 * 640 * 360 / RAYS_PER_SECOND


def test_nothing_is_rendered_once_the_picture_is_complete():
    session, render, _ = make()
    settle(session)
    count = len(render.sizes)
    session.frame(96, 64, 0.02)
    assert len(render.sizes) == count


def test_window_may_become_a_sliver_or_nothing():
    session, _, _ = make()
    for size in [(96, 64), (1, 300), (500, 1), (0, 0), (97, 63)]:
        settle(session, size)
        assert session.composer.picture.shape == (max(size[1], 1), max(size[0], 1), 3)


def test_what_a_full_picture_takes_is_scaled_until_one_was_made_and_known_for_every_level_seen():
    session, _, _ = make()
    assert stats_of(session).picture is None
    session.frame(96, 64, 0.002)
    assert session.composer.divisor > 1
    guess = stats_of(session).picture
    assert (guess.level, guess.measured) == (4, False)
    assert guess.seconds == pytest.approx(96 * 64 / RAYS_PER_SECOND, rel=0.01)
    assert guess.text.startswith("≈ ")
    settle(session)
    assert stats_of(session).picture.measured
    assert stats_of(session).picture.text == f"{1000 * 96 * 64 / RAYS_PER_SECOND:.0f} ms"
    session.levels.choose(2)
    session.frame(96, 64, 0.002)
    assert [(time.level, time.measured) for time in stats_of(session).pictures] == [(2, False), (4, True)]
    session.levels.choose(4)
    session.frame(96, 64, 0.002)  # a coarse picture says nothing new
    assert stats_of(session).picture.measured
    session.frame(192, 128, 0.002)
    assert not stats_of(session).picture.measured  # of another size
    session.set_mode("depth")
    assert stats_of(session).picture is None


def test_reset_returns_to_the_first_view():
    session, _, _ = make()
    first = session.orbit.state()
    session.orbit.rotate(30, 20, 100)
    session.orbit.pan(5, 5, 100)
    session.orbit.dolly(20, 100)
    assert session.orbit.state() != first
    session.reset_view()
    assert session.orbit.state() == first


def test_first_view_can_be_given():
    session, _, _ = make()
    session.viewpoint.start_from(azimuth=30, elevation=-10, distance=3)
    session.orbit.rotate(30, 20, 100)
    session.reset_view()
    view = session.orbit.state()
    assert (view["azimuth"], view["elevation"], view["distance"]) == pytest.approx((30, -10, 3))


def test_snapshot_is_what_the_window_shows_at_rest():
    session, _, _ = make()
    settle(session)
    np.testing.assert_array_equal(session.snapshot(96, 64), session.composer.picture)


def test_modes_come_round():
    for scene, modes in [(None, MODES[:-1]), (tiny_scene(), MODES)]:  # no error without a photograph
        session, _, _ = make(scene=scene)
        seen = []
        for _ in modes:
            seen.append(session.mode)
            session.next_mode()
        assert tuple(seen) == modes
        assert session.mode == modes[0]
        session.next_mode(-1)
        assert session.mode == modes[-1]


# Training


def test_session_wants_a_model_or_a_trainer():
    for both in ({}, {"model": FakeModel(), "trainer": FakeTrainer(Clock())}):
        with pytest.raises(ValueError, match="one of the two"):
            Session(**both)


def test_training_gets_its_share_of_the_time_although_a_step_is_longer_than_a_frame():
    session, _, clock = make(trainer=FakeTrainer(Clock(), steps=1000))
    trained = 0.0
    for _ in range(200):
        start = clock.now
        session.work(0.025)
        trained += clock.now - start
        assert clock.now - start < 0.11
    assert trained == pytest.approx(200 * 0.025, rel=0.05)


def test_share_of_the_time_stays_within_its_range():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    for asked, given in [(0.0, 0.05), (2.0, 0.95), (0.5, 0.5)]:
        session.share = asked
        assert session.share == given


def test_stepping_to_the_top_follows_the_training_again():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    for _ in range(4):
        session.work(0.1)
    session.levels.step(-1)
    session.levels.step(1)
    while session.training:
        session.work(0.1)
    assert session.level == 4


def test_level_follows_the_training_until_one_is_chosen():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    assert session.level == 1
    for _ in range(3):
        session.work(0.1)
    assert session.level == session.trainer.level > 1
    session.levels.choose(1)
    while session.training:
        session.work(0.1)
    assert session.level == 1
    session.levels.choose(4)
    assert session.level == 4


def test_looking_at_a_level_is_asked_of_the_renderer_and_sets_nothing_in_the_model():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    while session.training:
        session.work(0.1)
    session.levels.choose(1)
    settle(session)
    assert session.trainer.level == 4
    assert not hasattr(session.field, "level")


def test_pause_and_resume():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    session.toggle_training()
    session.work(1.0)
    assert session.trainer.iteration == 0
    session.toggle_training()
    session.work(0.1)
    assert session.trainer.iteration == 1


def test_training_that_is_done_stays_done():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    for _ in range(100):
        session.work(0.1)
    assert session.trainer.iteration == 10
    session.toggle_training()
    assert not session.training
    assert stats_of(session).training.state == "done"


def test_picture_is_renewed_while_training_and_sharp_after_it():
    session, _, _ = make(trainer=FakeTrainer(Clock(), steps=40))
    session.frame(96, 64, 0.02)
    pictures = []
    while session.training:
        session.work(0.1)
        pictures.append(session.frame(96, 64, 0.02).copy())
    assert len({picture.tobytes() for picture in pictures}) > 3
    settle(session)
    assert session.composer.divisor == 1


def test_figures_of_the_training_are_shown():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    assert stats_of(session).training.loss is None
    session.work(0.1)
    training = stats_of(session).training
    assert (training.iteration, training.progress) == (1, 0.1)
    assert training.loss == pytest.approx(0.01)
    assert training.psnr == pytest.approx(20.0)
    assert training.rays_per_second == pytest.approx(40_960)


def test_failed_training_stops_and_does_not_overwrite_the_checkpoint():
    session, _, _ = make(trainer=FakeTrainer(Clock(), fails_at=2))
    for _ in range(5):
        session.work(0.1)
    assert not session.training
    assert stats_of(session).training.failure == "the loss is not a number"
    session.toggle_training()
    assert not session.training
    session.save()
    assert session.trainer.saved == 0


def test_save_keeps_what_was_trained():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    session.work(0.1)
    session.save()
    assert session.trainer.saved == 1


def test_training_starts_from_a_camera_of_the_scene():
    session, _, _ = make(trainer=FakeTrainer(Clock()))
    pose = session.trainer.scene.train.cameras[0].pose
    np.testing.assert_allclose(session.orbit.camera(64, 64).pose, pose, atol=1e-5)
