"""Matching losses against a loop in NumPy, and their laws."""

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from ddspec.dsl.spec.objectives.trajectory import MatchedParameters
from ddspec.dsl.terms import IntermediatePoints, IntermediateWeights, ParameterOrder
from ddspec.engine.matching.losses import (
    MatchTarget,
    expert_distances,
    intermediate_step,
    intermediate_weight,
    kept_entries,
    matched_step,
    matching_losses,
    normalized_l2,
)

GENERATOR = torch.Generator().manual_seed(0)
PATH = [torch.randn(7, dtype=torch.float64, generator=GENERATOR) for _ in range(6)]
START, NEAR, FAR = (torch.randn(7, dtype=torch.float64, generator=GENERATOR) for _ in range(3))


def test_loss_vanishes_at_the_target():
    assert normalized_l2(FAR, FAR, START) == 0


def test_normalized_loss_of_standing_still_is_one():
    assert normalized_l2(START, FAR, START) == 1


def test_goals_add_up_each_in_units_of_its_own_distance():
    """AST: every intermediate target is divided by the expert's own way to it."""
    goals = [MatchTarget(2, NEAR, 0.5), MatchTarget(5, FAR)]
    losses, cotangents = matching_losses(PATH, goals, START)
    expected, start = 0.0, START.numpy()
    for goal in goals:
        student, target = PATH[goal.step].numpy(), goal.target.numpy()
        scale = np.sum((start - target) ** 2)
        expected += goal.weight * np.sum((student - target) ** 2) / scale
        slope = goal.weight * 2 * (student - target) / scale
        np.testing.assert_allclose(cotangents[goal.step].numpy(), slope, rtol=1e-13)
    assert losses.sum().item() == pytest.approx(expected, rel=1e-13)
    assert set(cotangents) == {2, 5}


def test_goals_of_one_step_share_its_cotangent():
    _, both = matching_losses(PATH, [MatchTarget(3, NEAR), MatchTarget(3, FAR)], START)
    parts = [matching_losses(PATH, [MatchTarget(3, target)], START)[1][3] for target in (NEAR, FAR)]
    torch.testing.assert_close(both[3], parts[0] + parts[1])


def part(drop, by):
    return MatchedParameters(drop=drop, by=by)


@pytest.mark.parametrize(("drop", "dropped"), [(0.0, 0), (0.14, 0), (0.15, 1), (0.5, 3), (0.99, 6)])
def test_parameters_left_out_are_the_first_or_those_of_least_error(drop, dropped):
    student, entries = PATH[2], np.arange(7)
    deep = entries[kept_entries(part(drop, "depth"), student, FAR)]
    assert deep.tolist() == entries[dropped:].tolist()
    by_error = kept_entries(part(drop, "error"), student, FAR).numpy()
    errors = np.abs((student - FAR).numpy())
    assert by_error.tolist() == sorted(np.argsort(errors)[dropped:])


def test_of_equal_errors_the_first_entry_is_left_out():
    assert kept_entries(part(0.5, "error"), FAR, FAR).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("by", get_args(ParameterOrder))
def test_nothing_left_out_is_matching_of_all_parameters_bitwise(by):
    goals = [MatchTarget(2, NEAR, 0.5), MatchTarget(5, FAR)]
    losses, cotangents = matching_losses(PATH, goals, START)
    same_losses, same_cotangents = matching_losses(PATH, goals, START, parameters=part(0.0, by))
    assert torch.equal(losses, same_losses)
    assert all(torch.equal(cotangents[step], same_cotangents[step]) for step in (2, 5))


@pytest.mark.parametrize("by", get_args(ParameterOrder))
def test_standing_still_costs_one_in_a_part_of_the_parameters(by):
    path = [START, START]
    losses, _ = matching_losses(path, [MatchTarget(1, FAR)], START, parameters=part(0.6, by))
    assert losses.item() == 1


@pytest.mark.parametrize("by", get_args(ParameterOrder))
def test_parameters_left_out_change_neither_the_loss_nor_the_distance(by):
    """Moved by so little that they stay those of least error."""
    rule, goals = part(0.5, by), [MatchTarget(3, FAR)]
    losses, cotangents = matching_losses(PATH, goals, START, parameters=rule)
    outside = torch.ones(7, dtype=torch.float64)
    outside[kept_entries(rule, PATH[3], FAR)] = 0.0
    moved = [student + 1e-6 * outside for student in PATH]
    again, _ = matching_losses(moved, goals, START, parameters=rule)
    assert outside.sum() == 3
    assert torch.equal(losses, again)
    assert ((cotangents[3] == 0) == (outside == 1)).all()
    distances = [
        expert_distances(PATH, goals, start, rule) for start in (START, START + 5 * outside)
    ]
    assert torch.equal(*distances)
    kept = outside == 0
    expected = np.sum(((START - FAR)[kept]).numpy() ** 2)
    assert distances[0].item() == pytest.approx(expected, rel=1e-13)


def test_nearest_step_is_the_one_of_least_l1_distance_after_a_step():
    target = PATH[2] + 0.01
    distances = [np.abs((student - target).numpy()).sum() for student in PATH[1:]]
    assert matched_step("nearest", PATH, target) == int(np.argmin(distances)) + 1 == 2
    assert matched_step("nearest", PATH, PATH[0]) > 0
    assert matched_step("last", PATH, target) == 5


def test_points_of_both_readings():
    """floor(i N / M) of the paper, i floor(N / M) of its public code."""
    assert [intermediate_step("floor", i, 3, 20) for i in (1, 2)] == [6, 13]
    assert [intermediate_step("multiples", i, 3, 20) for i in (1, 2)] == [6, 12]


@pytest.mark.parametrize(
    ("rule", "epochs", "steps"), list(product(get_args(IntermediatePoints), (2, 3, 7), (7, 20)))
)
def test_points_lie_inside_the_walk_in_their_order(rule, epochs, steps):
    points = [intermediate_step(rule, i, epochs, steps) for i in range(1, epochs)]
    assert points == sorted(set(points))
    assert all(0 < point < steps for point in points)


@pytest.mark.parametrize("rule", get_args(IntermediateWeights))
def test_weights_end_at_that_of_the_final_match(rule):
    weights = [intermediate_weight(rule, i, 4) for i in range(1, 5)]
    assert weights[-1] == 1.0
    assert weights == sorted(weights)
    assert weights == {"equal": [1.0] * 4, "growing": [0.25, 0.5, 0.75, 1.0]}[rule]
