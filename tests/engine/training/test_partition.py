"""Partitioned images: cut, enlarged and composed, in float64."""

import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.training.partition import (
    composed,
    enlarged,
    seen_images,
    seen_labels,
    small_images,
)


def random_images(*shape: int):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_images_are_enlarged_as_torch_does(factor):
    small = random_images(3, 2, 5, 4)
    by_torch = F.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged(small, factor), by_torch, rtol=0, atol=1e-13)


def test_small_images_follow_one_another_by_rows():
    stored = torch.arange(16.0).view(1, 1, 4, 4)
    assert small_images(stored, 2).flatten(1).tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


def test_composed_images_hold_the_means_of_the_real_pixels():
    real = random_images(2 * 9, 3, 6, 6)
    stored = composed(real, 3)
    assert stored.shape == (2, 3, 6, 6)
    torch.testing.assert_close(small_images(stored, 3), F.avg_pool2d(real, 3))


def test_one_part_is_the_image_itself():
    stored, labels = random_images(4, 1, 4, 4), torch.arange(4)
    assert seen_images(stored, 1) is stored
    assert composed(stored, 1) is stored
    assert seen_labels(labels, 1) is labels


def test_chosen_images_are_those_of_all_with_the_labels_of_their_owners():
    stored, labels = random_images(3, 2, 4, 4), torch.tensor([5, 7, 9])
    chosen = torch.tensor([11, 0, 6])
    assert torch.equal(seen_images(stored, 2, chosen), seen_images(stored, 2)[chosen])
    assert seen_labels(labels, 2)[chosen].tolist() == [9, 5, 7]
    assert torch.equal(seen_labels(labels, 2)[chosen], labels[chosen // 4])


def test_gradient_reaches_every_stored_pixel():
    stored = random_images(2, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: seen_images(x, 2).sin(), stored)
    (gradient,) = torch.autograd.grad(seen_images(stored, 2).sum(), stored)
    # Each stored pixel is worth f x f enlarged ones, on average.
    assert gradient.sum() == pytest.approx(4 * stored.numel(), rel=1e-12)
