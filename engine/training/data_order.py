"""The order of PAD (arXiv:2408.03360): which real images an epoch has, by their difficulty."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.spec.experts import DataOrder
from ddspec.engine.networks.flat_network import Forward
from ddspec.engine.training.epoch import forward_in_batches


def error_norms(
    forward: Forward,
    theta: Float[Tensor, " p"],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Return the L2 norm of softmax minus label of every image.

    The EL2N score of one network (arXiv:2107.07075), which is large for difficult images.
    """
    probabilities = forward_in_batches(forward, theta, images).softmax(1)
    return (probabilities - F.one_hot(labels, probabilities.shape[1])).norm(dim=1)


def ranks_in_classes(
    scores: Sequence[Float[Tensor, " n"]], labels: Int[Tensor, " n"]
) -> Int[Tensor, " n"]:
    """Return the place of every image in its class by its mean score, 0 for the easiest.

    Of equal means the earlier image is the easier one.
    """
    means = torch.stack([score.double() for score in scores]).mean(0)
    by_score = means.sort(stable=True).indices
    # Sorted once more by class, stably: each class keeps its images in the order of their scores.
    grouped = by_score[labels[by_score].sort(stable=True).indices]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(labels)
    ranks[grouped] = torch.arange(len(labels)) - starts[labels[grouped]]
    return ranks


def images_of_epoch(
    order: DataOrder, epoch: int, ranks: Int[Tensor, " n"], labels: Int[Tensor, " n"]
) -> Int[Tensor, " shown"]:
    """Return the images that an epoch has, after `epoch` others, as an ascending index.

    A class of c images has the first floor(share * c) of them, but at least one, or later all but
    the first floor(dropped * c).
    """
    counts = labels.bincount()[labels].double()
    shown = (counts * first_share(order, epoch)).floor().clamp(min=1)
    dropped = (counts * dropped_share(order, epoch)).floor()
    return ((ranks < shown) & (ranks >= dropped)).nonzero().squeeze(1)


def first_share(order: DataOrder, epoch: int) -> float:
    """Return the share of the easiest images that an epoch has; it rises linearly to 1."""
    if epoch >= order.all_from_epoch:
        return 1.0
    return order.first_share + (1 - order.first_share) * epoch / order.all_from_epoch


def dropped_share(order: DataOrder, epoch: int) -> float:
    """Return the share of the easiest images that an epoch leaves out."""
    begun = [
        share
        for start, share in zip(order.drop_from_epochs, order.drop_shares, strict=True)
        if start <= epoch
    ]
    return begun[-1] if begun else 0.0
