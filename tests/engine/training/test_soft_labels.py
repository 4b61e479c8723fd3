"""Learned labels: what they begin as, and what networks are taught."""

import pytest
import torch

from ddspec.dsl.spec.synthetic import Hard, LearnedLabels, RegressionLabels, UnnormalizedLabels
from ddspec.engine.training.soft_labels import (
    half_squared_error,
    label_margin,
    regression_labels,
    taught,
    within_bounds,
)

VALUES = torch.tensor([[2.0, -1.0, 0.5]])


@pytest.mark.parametrize(("classes", "scale"), [(10, 1.0), (100, 0.31622776), (200, 0.22360679)])
def test_targets_of_classes_are_those_of_frepo(classes, scale):
    targets = regression_labels(torch.tensor([0, 3]), classes)
    assert targets[1, 3] == pytest.approx((1 - 1 / classes) * scale, rel=1e-6)
    assert targets[1, 0] == pytest.approx(-scale / classes, rel=1e-5)
    torch.testing.assert_close(targets.sum(1), torch.zeros(2), rtol=0, atol=1e-5)


def test_what_is_taught_follows_from_what_is_learned():
    learned = LearnedLabels(name="learned", lr=1.0)
    assert torch.equal(taught(learned, VALUES), VALUES.softmax(1))
    for form in (
        UnnormalizedLabels(name="unnormalized", lr=1.0),
        RegressionLabels(name="regression", lr=1.0),
    ):
        assert taught(form, VALUES) is VALUES
    with pytest.raises(ValueError, match="not learned"):
        taught(Hard(name="hard"), VALUES)


def test_only_weights_of_classes_are_kept_from_becoming_negative():
    weights = within_bounds(UnnormalizedLabels(name="unnormalized", lr=1.0), VALUES)
    assert weights.tolist() == [[2.0, 0.0, 0.5]]
    assert within_bounds(RegressionLabels(name="regression", lr=1.0), VALUES) is VALUES


def test_margin_stops_at_one_over_the_classes():
    assert label_margin(VALUES) == pytest.approx(1 / 3)
    assert label_margin(torch.tensor([[0.5, 0.4, 0.0], [1.0, 0.0, 0.0]])) == pytest.approx(
        (0.1 + 1 / 3) / 2, rel=1e-6
    )


def test_squared_error_is_summed_over_classes_and_averaged_over_images():
    outputs, labels = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert half_squared_error(outputs, labels) == pytest.approx(0.5 * 5 / 2)
