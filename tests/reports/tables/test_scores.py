"""Scores against their formulas, and against baselines that are missing."""

import math

import pytest

from ddspec.reports.tables.scores import (
    augmentation_robust_score,
    label_robust_score,
    scores_of,
)


def test_dd_rankings_scores_are_their_formulas():
    assert label_robust_score(100, 0, weight=1.0) == pytest.approx(100)
    assert label_robust_score(0, 100, weight=0.0) == pytest.approx(0)
    alpha = 0.5 * 0.30 - 0.5 * 0.20
    by_hand = (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))
    assert label_robust_score(30, 20) == pytest.approx(100 * by_hand)
    assert augmentation_robust_score(30, -20) == pytest.approx(100 * by_hand)
    assert augmentation_robust_score(30, 10, weight=1.0) == label_robust_score(30, 0, weight=1.0)


def test_scores_compare_labels_of_one_kind(record, everything):
    own, random = record.results.accuracy, record.results.random_real["convnet"]
    scores = scores_of(record, "convnet")
    assert scores.over_random.points == pytest.approx(own.mean - random.mean)
    assert scores.over_random.half > 0
    assert (scores.hard_label_recovery, scores.label_robust, scores.over_random_plain) == (
        None,
    ) * 3
    soft = everything.results.random_real_expert_labels["convnet"]
    of_soft = scores_of(everything, "convnet")
    chosen = everything.results.accuracy
    assert of_soft.over_random.points == pytest.approx(chosen.mean - soft.mean)


def test_recovery_of_soft_labels_is_measured_with_hard_ones(everything):
    whole = everything.results.accuracy.model_copy(update={"mean": 97.0})
    hard = everything.results.accuracy.model_copy(update={"mean": 60.0})
    of = {"full_data": {"convnet": whole}, "distilled_hard_labels": {"convnet": hard}}
    changed = everything.model_copy(update={"results": everything.results.model_copy(update=of)})
    scores = scores_of(changed, "convnet")
    assert scores.hard_label_recovery.points == pytest.approx(37.0)
    assert scores.label_robust == pytest.approx(label_robust_score(scores.over_random.points, 37.0))


def test_augmentation_robust_score_needs_both_sides_without_augmentation(record):
    own = record.results.accuracy
    plain = {"distilled_plain": {"convnet": own}, "random_real_plain": {"convnet": own}}
    changed = record.model_copy(update={"results": record.results.model_copy(update=plain)})
    scores = scores_of(changed, "convnet")
    by_formula = augmentation_robust_score(scores.over_random.points, 0.0)
    assert scores.augmentation_robust == pytest.approx(by_formula)
    assert scores_of(record, "convnet").augmentation_robust is None


def test_network_that_was_not_evaluated_has_no_scores(record):
    assert scores_of(record, "resnet18").over_random is None
