"""The order of the images by difficulty: scores, places and epochs against loops in NumPy."""

import numpy as np
import pytest
import torch

from ddspec.dsl.spec.experts import DataOrder
from ddspec.engine.training.data_order import error_norms, images_of_epoch, ranks_in_classes
from ddspec.engine.training.epoch import (
    EpochSettings,
    LabelledImages,
    cross_entropy_gradient,
    train_epoch,
)
from ddspec.engine.training.optimisers import OptimiserState, SgdOptimiser

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2])
GENERATOR = torch.Generator().manual_seed(0)
SCORES = [torch.rand(14, generator=GENERATOR) for _ in range(3)]
ORDER = DataOrder(
    first_share=0.5, all_from_epoch=4, drop_from_epochs=(6, 8), drop_shares=(0.25, 0.5)
)


def test_score_is_the_distance_of_the_softmax_from_the_label(problem):
    scores = error_norms(problem.net, problem.start, problem.images, problem.labels)
    logits = problem.net(problem.start, problem.images).numpy()
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.linalg.norm(softmax - np.eye(3)[problem.labels.numpy()], axis=1)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-12)


def test_places_are_those_of_the_mean_score_within_the_class():
    ranks = ranks_in_classes(SCORES, LABELS).numpy()
    means = np.mean([score.numpy().astype(np.float64) for score in SCORES], axis=0)
    for label in range(3):
        inside = np.flatnonzero(LABELS.numpy() == label)
        by_score = inside[np.argsort(means[inside])]
        assert ranks[by_score].tolist() == list(range(len(inside)))


def test_of_equal_scores_the_earlier_image_is_the_easier_one():
    assert ranks_in_classes([torch.ones(14)], LABELS).tolist() == [*range(5), *range(8), 0]


@pytest.mark.parametrize(
    ("epoch", "first", "dropped"),
    [
        (0, 0.5, 0.0),
        (1, 0.625, 0.0),
        (3, 0.875, 0.0),
        (4, 1.0, 0.0),
        (5, 1.0, 0.0),
        (6, 1.0, 0.25),
        (7, 1.0, 0.25),
        (8, 1.0, 0.5),
        (99, 1.0, 0.5),
    ],
)
def test_epoch_has_the_easiest_of_each_class_and_later_the_others(epoch, first, dropped):
    ranks = ranks_in_classes(SCORES, LABELS)
    shown = images_of_epoch(ORDER, epoch, ranks, LABELS).tolist()
    expected = []
    for image, (rank, label) in enumerate(zip(ranks.tolist(), LABELS.tolist(), strict=True)):
        count = LABELS.tolist().count(label)
        if int(dropped * count) <= rank < max(1, int(first * count)):
            expected.append(image)
    assert shown == expected
    assert {LABELS[image].item() for image in shown} == {0, 1, 2}


def test_order_without_a_drop_has_all_images_from_its_epoch_on():
    order = DataOrder(first_share=0.75, all_from_epoch=0)
    ranks = ranks_in_classes(SCORES, LABELS)
    assert images_of_epoch(order, 0, ranks, LABELS).tolist() == list(range(14))


def test_epoch_among_some_images_is_that_of_these_alone(problem):
    among = torch.tensor([0, 2, 3, 5])

    def epoch(images, labels, among=None):
        return train_epoch(
            cross_entropy_gradient(problem.net),
            OptimiserState.without_memory(problem.start),
            LabelledImages(images, labels),
            EpochSettings(3, SgdOptimiser(0.1, 0.9)),
            torch.Generator().manual_seed(0),
            among=among,
        )

    part = epoch(problem.images, problem.labels, among)
    alone = epoch(problem.images[among], problem.labels[among])
    assert torch.equal(part.end.value, alone.end.value)
    assert (part.loss, part.accuracy) == (alone.loss, alone.accuracy)
