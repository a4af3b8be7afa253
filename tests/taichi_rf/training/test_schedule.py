"""TRaIn's rule on losses made by hand, learning rate and milestones. Plain numpy, no Taichi."""

import numpy as np
import pytest

from taichi_rf.training.configs import vqad
from taichi_rf.training.configs.slimmerf import PAPER, PRESETS, QUICK
from taichi_rf.training.methods import registry
from taichi_rf.training.schedule import (
    JointLevels,
    LearningRate,
    Milestones,
    PrefixRanks,
    RankSchedule,
    RanksInTurn,
    rank_schedule,
)
from taichi_rf.training.strategies.octree import OctreeStrategy
from taichi_rf.training.strategies.vm import VMStrategy

NEVER = (2.0, 3.0)  # deadlines that no training reaches


def schedule(**changes) -> RankSchedule:
    return RankSchedule(PAPER.changed(**{"rank_deadlines": NEVER, "num_ranks": 4, **changes}))


def run(ranks: RankSchedule, losses: list[float], *, iterations: int = 1000) -> list[int]:
    """The level after each of the steps; the trainer reports a step's loss with the progress at its end."""
    levels = []
    for step, loss in enumerate(losses, 1):
        ranks.update({ranks.level: loss}, step / iterations)
        levels.append(ranks.level)
    return levels


# Prefixes


def prefix_schedule(level: int, **changes) -> PrefixRanks:
    made = rank_schedule(PAPER.changed(**{"ranks": "prefix", "num_ranks": 16, "prefix_from": 0.5, **changes}))
    assert isinstance(made, PrefixRanks)
    made.level = level
    return made


def trained(ranks: PrefixRanks, steps: int, progress: float) -> list[int]:
    """The rank that each of so many steps trains: all of its rays see the whole, or half of them a prefix."""
    trained = []
    for iteration in range(steps):
        ((rank, first, end, weight),) = ranks.passes(1000, iteration, progress)
        assert (first, end, weight) == (0, 1000 if rank == ranks.level else 500, 1.0)
        trained.append(rank)
    return trained


def test_prefixes_take_turns_with_the_whole():
    ranks = prefix_schedule(16)
    assert trained(ranks, 12, 0.5) == [16, 2, 4, 16, 8, 2, 16, 4, 8, 16, 2, 4]
    assert trained(ranks, 12, 0.49) == [16] * 12


@pytest.mark.parametrize(
    ("level", "expected"),
    [(1, {1}), (2, {2}), (3, {3, 2}), (4, {4, 2}), (5, {5, 2, 4}), (8, {8, 2, 4}), (24, {24, 2, 4, 8, 16})],
)
def test_prefixes_of_any_number_of_ranks_are_the_powers_of_two_below_it(level, expected):
    turns = trained(prefix_schedule(level, num_ranks=24), 96, 0.9)
    assert set(turns) == expected
    assert turns.count(level) >= 32


def test_a_step_on_a_prefix_has_a_learning_rate_of_its_own():
    rate = LearningRate(PAPER.changed(decay=0.1, prefix_rate=3.0))
    for progress in (0.0, 0.6, 1.0):
        assert rate.factor(progress) == pytest.approx(0.1**progress)
        assert rate.factor(progress, prefix=True) == pytest.approx(3 * 0.1**progress)


def test_ranks_come_in_as_they_do_without_prefixes_and_steps_on_prefixes_bring_none():
    rng = np.random.default_rng(3)
    losses = np.exp(rng.normal(-4, 0.5, 300)).tolist()
    changes = {"num_ranks": 16, "upsilon": 3.0, "rank_deadlines": (0.1, 0.9)}
    train, prefix = schedule(**changes), prefix_schedule(1, **changes)
    for step, loss in enumerate(losses, 1):
        cause = prefix.update({prefix.level: loss}, step / 300)
        assert (cause, prefix.level) == (train.update({train.level: loss}, step / 300), train.level)
        if prefix.level > 2:
            assert prefix.update({2: 1e9}, step / 300) is None  # the loss has jumped, but it is another rank's
    assert 1 < train.level


# Block-coordinate descent


@pytest.mark.parametrize(
    ("ranks", "ends"), [(1, [1]), (2, [2]), (3, [2, 3]), (4, [2, 4]), (16, [2, 4, 8, 16]), (24, [2, 4, 8, 16, 24])]
)
def test_groups_of_ranks_take_turns_and_each_trains_as_the_end_of_a_prefix(ranks, ends):
    turns = rank_schedule(PAPER.changed(ranks="bcd", num_ranks=ranks))
    length = RanksInTurn.TURN
    for turn in range(2 * len(ends)):
        end, first, last = ends[turn % len(ends)], turn * length, (turn + 1) * length - 1
        assert turns.passes(100, first, 0.5) == turns.passes(100, last, 0.5) == [(end, 0, 100, 1.0)]
        assert turns.moving_above(end) == ([0, *ends])[turn % len(ends)]
        assert turns.update({end: 1.0}, 0.5) is None
        assert turns.level == ranks


def test_other_ways_to_train_let_nothing_rest():
    for ranks in ("plain", "train", "prefix"):
        assert rank_schedule(PAPER.changed(ranks=ranks)).moving_above(4) is None
    assert joint("split").moving_above(4) is None


def test_ranks_in_turn_have_the_learning_rate_of_ranks_together():
    assert LearningRate(QUICK.changed(ranks="bcd")).factor(0.5, prefix=True) == LearningRate(QUICK).factor(0.5)


# TRaIn


def test_iteration_0_cannot_fire_even_with_eta_0():
    """Algorithm 1: L[-1] is infinite, but t - t_last = 0 - 0 is not above eta = 0."""
    assert run(schedule(upsilon=0.4, eta=0.0), [1.0]) == [1]


def test_a_loss_that_changes_enough_adds_a_rank_in_either_direction():
    # changes of 0, then 0.43 and 0.17 down and 0.45 up, relative to the new loss
    assert run(schedule(upsilon=0.4), [1, 1, 0.7, 0.6, 1.1])[1:] == [1, 2, 2, 3]


def test_the_change_is_relative_to_the_new_loss_and_must_exceed_upsilon():
    # 1 -> 2 is 0.5 of the new loss and 1.0 of the old; 1 -> 0.5 is 1.0 of the new one
    assert run(schedule(upsilon=0.5), [1, 1, 2])[-1] == 1
    assert run(schedule(upsilon=0.6), [1, 1, 0.5])[-1] == 2
    assert run(schedule(upsilon=1.0), [1, 1, 0.5])[-1] == 1  # equal is not above


def test_increments_keep_eta_apart():
    jumps = [1.0, 9.0] * 20
    levels = run(schedule(upsilon=0.4, eta=0.0055), jumps, iterations=1000)
    steps = [i for i in range(1, len(levels)) if levels[i] > levels[i - 1]]
    assert levels[-1] == 4
    assert all(later - earlier == 6 for earlier, later in zip(steps, steps[1:]))  # eta is five and a half steps
    assert levels[:5] == [1] * 5


def test_without_eta_every_jump_adds_a_rank_until_all_are_there():
    levels = run(schedule(upsilon=0.4, eta=0.0), [1, 9, 1, 9, 1, 9, 1])
    assert levels == [1, 2, 3, 4, 4, 4, 4]


def test_a_quiet_loss_adds_nothing_before_the_deadlines():
    assert run(schedule(upsilon=0.4, rank_deadlines=(0.5, 0.9)), [1.0] * 499)[-1] == 1


@pytest.mark.parametrize("ranks", [2, 3, 4, 16, 24])
def test_deadlines_bring_in_the_rest_evenly(ranks):
    levels = run(schedule(upsilon=1e9, num_ranks=ranks, rank_deadlines=(0.3, 0.6)), [1.0] * 1000)
    first_at = {level: (levels.index(level) + 1) / 1000 for level in range(2, ranks + 1)}
    for level, at in first_at.items():
        due = 0.3 + 0.3 * (level - 2) / max(1, ranks - 2)
        assert due <= at <= due + 1.001e-3
    assert levels[600] == ranks


@pytest.mark.parametrize("seed", range(20))
def test_full_rank_is_there_at_the_second_deadline_whatever_the_loss_does(seed):
    rng = np.random.default_rng(seed)
    config = {"upsilon": rng.uniform(0.05, 2), "eta": rng.uniform(0, 0.5), "num_ranks": int(rng.integers(1, 30))}
    losses = np.exp(rng.normal(-4, rng.uniform(0, 1), 2000)).tolist()
    levels = run(schedule(rank_deadlines=(0.2, 0.7), **config), losses, iterations=2000)
    assert levels[1401] == config["num_ranks"]
    assert (np.diff(levels) >= 0).all()
    assert (np.diff(levels) <= 1).all()


@pytest.mark.parametrize("iterations", [3, 5, 10, 17])
def test_full_rank_is_there_at_the_second_deadline_in_a_training_of_few_steps(iterations):
    """A short run, or a slow machine under a time limit: fewer steps between the deadlines than ranks to add."""
    ranks = schedule(upsilon=1e9, num_ranks=16, rank_deadlines=(0.3, 0.6))
    levels = run(ranks, [1.0] * iterations, iterations=iterations)
    after_the_deadline = [level for step, level in enumerate(levels, 1) if step / iterations >= 0.6]
    assert set(after_the_deadline) == {16}


def test_an_increment_says_its_cause():
    ranks = schedule(upsilon=0.4, rank_deadlines=(0.5, 0.9))
    run(ranks, [1.0, 1.0])
    assert ranks.update({1: 1.0}, 0.1) is None
    assert ranks.update({1: 5.0}, 0.2) == "loss"
    assert ranks.update({1: 5.0}, 0.3) is None
    assert ranks.update({1: 5.0}, 0.95) == "deadline"


def test_plain_training_has_all_ranks_from_the_start():
    ranks = schedule(ranks="plain")
    assert ranks.level == 4
    assert run(ranks, [1, 9, 1, 9]) == [4] * 4


def test_a_loss_of_zero_is_no_division_by_zero():
    assert run(schedule(upsilon=0.4), [1.0, 0.0, 0.0, 0.0])[-1] == 2


def test_a_restored_schedule_goes_on_as_if_nothing_had_happened():
    rng = np.random.default_rng(0)
    losses = np.exp(rng.normal(-4, 0.5, 200)).tolist()
    whole = schedule(upsilon=1.0, eta=0.01, num_ranks=16, rank_deadlines=(0.5, 0.9))
    levels = run(whole, losses, iterations=200)
    first = RankSchedule(whole.config)
    run(first, losses[:60], iterations=200)
    second = RankSchedule(whole.config)
    second.restore({}, first.state())
    rest = []
    for step in range(60, 200):
        second.update({1: losses[step]}, (step + 1) / 200)
        rest.append(second.level)
    assert rest == levels[60:]
    assert levels[59] < levels[-1]


# Levels of detail that train together


def joint(way: str, level: int = 4, **changes) -> JointLevels:
    return JointLevels(vqad.QUICK.changed(joint=way, **changes), level=level)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rays", [1, 2, 3, 7, 16, 255, 4096])
@pytest.mark.parametrize("way", ["finest", "random", "split", "all"])
def test_shares_of_a_step_add_up_to_one_and_levels_come_in_order(way, rays, level):
    for iteration in range(5):
        passes = joint(way, level).passes(rays, iteration, 0.5)
        levels = [l for l, *_ in passes]
        assert levels == sorted(set(levels))
        assert all(1 <= l <= level for l in levels)
        assert all(0 <= begin < end <= rays for _, begin, end, _ in passes)
        total = sum(weight for *_, weight in passes)
        # levels too small to get one of a few rays are not in that step
        assert total == pytest.approx(1) if way != "split" or rays >= 2 ** (level + 1) else 0 < total <= 1 + 1e-9


@pytest.mark.parametrize("rays", [1, 2, 5, 15, 100, 4095, 4096])
def test_split_uses_every_ray_once_and_shares_them_out_as_two_to_the_level(rays):
    passes = joint("split").passes(rays, 7, 0.5)
    assert [i for _, begin, end, _ in passes for i in range(begin, end)] == list(range(rays))
    for level, begin, end, weight in passes:
        assert weight == pytest.approx((end - begin) / rays)  # every ray counts the same
        assert abs((end - begin) - rays * 2 ** (level - 1) / 15) <= 1


def test_all_has_every_ray_at_every_level():
    assert joint("all", 3).passes(100, 0, 0.5) == [(1, 0, 100, 1 / 7), (2, 0, 100, 2 / 7), (3, 0, 100, 4 / 7)]


def test_the_finest_is_the_finest_so_far():
    schedule = joint("finest", 2)
    assert schedule.highest == 4
    assert schedule.passes(10, 0, 0.5) == [(2, 0, 10, 1.0)]
    schedule.level = 4
    assert schedule.passes(10, 0, 0.5) == [(4, 0, 10, 1.0)]


def test_random_takes_one_level_a_step_by_the_same_shares_and_reproducibly():
    schedule = joint("random")
    drawn = [schedule.passes(10, i, 0.5)[0][0] for i in range(3000)]
    shares = np.bincount(drawn, minlength=5)[1:] / 3000
    np.testing.assert_allclose(shares, np.array([1, 2, 4, 8]) / 15, atol=0.04)  # four standard deviations
    again = joint("random")
    assert [again.passes(10, i, 0.5)[0][0] for i in (5, 0, 2999)] == [drawn[5], drawn[0], drawn[2999]]
    other = joint("random", seed=1)
    assert [other.passes(10, i, 0.5)[0][0] for i in range(50)] != drawn[:50]


def test_levels_come_with_the_tree_and_not_with_the_loss():
    schedule = registry.find("vqad").level_schedule(vqad.QUICK)
    assert isinstance(schedule, JointLevels)
    for loss in (1.0, 9.0, 1.0, 9.0):
        assert schedule.update({1: loss}, 0.5) is None
    assert schedule.level == 1
    schedule.level = 3
    restored = JointLevels(schedule.config)
    restored.restore({}, schedule.state())
    assert restored.passes(100, 3, 0.5) == schedule.passes(100, 3, 0.5)


@pytest.mark.parametrize("preset", vqad.PRESETS.values(), ids=vqad.PRESETS)
def test_every_preset_of_an_octree_grows_to_its_finest_level_before_it_is_quantised(preset):
    due = passed(Milestones(OctreeStrategy.milestones(preset)), 1.0)
    assert [name for name, _ in due].index("quantise") > max(i for i, (name, _) in enumerate(due) if name == "grow")
    grown = sum(name == "grow" for name, _ in due)
    assert min(2, preset.strategy.lods) + grown >= preset.strategy.lods


def test_an_octree_whose_milestones_are_due_at_once_is_grown_before_it_is_quantised():
    config = vqad.QUICK.changed(grow_at=(0.5, 0.5), quantise_at=0.5, filter_at=0.5)
    due = [name for name, _ in passed(Milestones(OctreeStrategy.milestones(config)), 0.5)]
    assert due == ["filter", "grow", "grow", "quantise"]


# The learning rate


def test_the_learning_rate_decays_to_a_tenth_and_counts_anew_from_a_restart():
    rate = LearningRate(PAPER)
    assert rate.factor(0) == 1
    assert rate.factor(0.5) == pytest.approx(10**-0.5)
    assert rate.factor(1) == pytest.approx(0.1)
    rate.restarted_at = 7 / 30
    assert rate.factor(7 / 30) == 1
    # the paper's last learning rate: 0.02 * 0.1^(23000 / 30000) = 0.0034
    assert PAPER.strategy.factor_rate * rate.factor(1) == pytest.approx(0.0034, abs=5e-5)


# Milestones


def passed(milestones: Milestones, progress: float) -> list[tuple[str, int]]:
    result = []
    while (due := milestones.due(progress)) is not None:
        result.append(due)
    return result


def test_milestones_come_once_in_order_and_in_their_time():
    config = PAPER.changed(
        resolutions=(16, 32, 64), upsample_at=(0.2, 0.4), shrink_at=0.2, filter_at=0.3
    )  # fmt: skip
    milestones = Milestones(VMStrategy.milestones(config))
    assert passed(milestones, 0.19) == []
    assert passed(milestones, 0.2) == [("shrink", 0), ("upsample", 32)]  # the box first, then the grid over it
    assert passed(milestones, 0.2) == []
    assert passed(milestones, 0.9) == [("filter", 0), ("upsample", 64)]
    assert passed(milestones, 1.0) == []


def test_a_milestone_at_1_never_comes():
    config = PAPER.changed(resolutions=(16,), upsample_at=(), shrink_at=1, filter_at=1)
    milestones = Milestones(VMStrategy.milestones(config))
    assert passed(milestones, 1.0) == []


def test_the_papers_milestones_are_where_the_paper_has_them():
    milestones = Milestones(VMStrategy.milestones(PAPER))
    at = [(round(fraction * 30000), name, nodes) for fraction, name, nodes in milestones.entries]
    assert at == [
        (2000, "shrink", 0), (2000, "upsample", 152), (3000, "upsample", 180), (4000, "filter", 0),
        (4000, "upsample", 213), (5500, "upsample", 253), (7000, "upsample", 300),
    ]  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_preset_ends_at_its_finest_grid_with_all_ranks(preset):
    ends = [argument for name, argument in passed(Milestones(VMStrategy.milestones(preset)), 1.0) if name == "upsample"]
    assert ends[-1] == max(preset.strategy.resolutions) == preset.strategy.resolutions[-1]
    ranks = RankSchedule(preset)
    for step in range(1, preset.iterations + 1):
        ranks.update({1: 1.0}, step / preset.iterations)
    assert ranks.level == preset.strategy.num_ranks
