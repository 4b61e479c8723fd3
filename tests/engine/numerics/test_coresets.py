"""Coresets against plain loops; representative images against their definition."""

import numpy as np
import pytest

from ddspec.engine.numerics.coresets import (
    forgetting,
    herding,
    k_center,
    representatives,
    two_components,
)


@pytest.fixture
def features():
    return np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)


def test_herding_follows_the_mean_one_image_at_a_time(features):
    order = herding(features, 8)
    mean, left, chosen = features.astype(np.float64).mean(0), list(range(40)), []
    for _ in range(8):
        best = min(
            left,
            key=lambda i: np.linalg.norm(mean - features[[*chosen, i]].astype(np.float64).mean(0)),
        )
        chosen.append(best)
        left.remove(best)
    assert order.tolist() == chosen


def test_k_center_takes_the_farthest_each_time(features):
    order = k_center(features, 7)
    chosen = [int(np.linalg.norm(features - features.mean(0), axis=1).argmin())]
    while len(chosen) < 7:
        nearest = [min(np.linalg.norm(f - features[c]) for c in chosen) for f in features]
        chosen.append(int(np.argmax(nearest)))
    assert order.tolist() == chosen


def test_forgetting_counts_turns_from_right_to_wrong():
    correct = np.array(
        [
            # forgotten:  0  2  1  never right
            [True, True, False, False],
            [True, False, True, False],
            [True, True, False, False],
            [True, False, False, False],
        ]
    )
    assert forgetting(correct, 4).tolist() == [3, 1, 2, 0]
    assert forgetting(correct, 4, "left_out").tolist() == [1, 2, 0, 3]


def test_representatives_are_the_images_nearest_to_their_centres():
    """Three clusters that nobody could mistake, of 6, 5 and 4 images."""
    draw = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20]])
    sizes = (6, 5, 4)
    points = np.concatenate(
        [c + draw.normal(size=(n, 2)) for c, n in zip(centres, sizes, strict=True)]
    )
    points = points.astype(np.float32)
    clusters = np.repeat([0, 1, 2], sizes)

    result = representatives(points, 3, 3, seed=1)
    assert sorted(clusters[result.chosen]) == [0, 1, 2]
    for index in result.chosen:
        group = points[clusters == clusters[index]]
        distances = np.linalg.norm(group - group.mean(0), axis=1)
        assert np.linalg.norm(points[index] - group.mean(0)) == pytest.approx(distances.min())

    # Eight images of three clusters: two each, and one more for the two largest.
    many = representatives(points, 8, 3, seed=1)
    assert np.bincount(clusters[many.chosen]).tolist() == [3, 3, 2]
    assert len(set(many.chosen.tolist())) == 8


def test_representatives_are_distinct_even_where_clusters_are_smaller_than_their_share():
    points = np.array([[0.0], [0.1], [0.2], [0.3], [9.0]], dtype=np.float32)
    result = representatives(points, 4, 2, seed=0)
    assert len(set(result.chosen.tolist())) == 4


def test_representatives_are_the_same_each_time(features):
    first, again = (representatives(features, 5, 5, seed=7) for _ in range(2))
    assert first.chosen.tolist() == again.chosen.tolist()
    assert np.array_equal(first.clusters, again.clusters)


def test_picture_of_one_image_or_one_feature_has_zeros():
    assert two_components(np.ones((1, 5), dtype=np.float32)).tolist() == [[0.0, 0.0]]
    flat = two_components(np.array([[1.0], [3.0]], dtype=np.float32))
    assert flat[:, 1].tolist() == [0.0, 0.0]
    assert sorted(flat[:, 0]) == pytest.approx([-1.0, 1.0])


def test_two_components_are_the_singular_vectors(features):
    flat = two_components(features)
    centred = features - features.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(flat), np.abs(centred @ axes[:2].T), atol=1e-4)
