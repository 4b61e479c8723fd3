"""Distribution matching: features of real and synthetic images of a class are alike.

The objective of DM (arXiv:2110.04181): features of networks that are never trained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

import torch
from torch import Tensor

from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.spec.objectives.classes import (
    CharacteristicStatistic,
    DistributionMatching,
    MeanStatistic,
)
from ddspec.engine.matching.feature_distance import (
    characteristic_distance,
    class_means,
    mean_distances,
)
from ddspec.engine.networks.flat_network import Forward
from ddspec.engine.numerics.seeds import to_device
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.distill_state import DistillState
from ddspec.engine.stages.objective import (
    IterationEnd,
    Measurement,
    Objective,
    ObjectiveGradient,
    Update,
)
from ddspec.engine.stages.objectives.class_images import ClassImages, measurement_of


@contextmanager
def open_distribution_matching(
    step: DistillStep, matching: DistributionMatching, context: StageContext
) -> Iterator[Objective]:
    """Yield the objective: in every iteration a fresh network, and one pixel step."""
    net = context.network(step.network)
    forward: Forward = net.features if matching.features == "penultimate" else net

    def iterate(state: DistillState, update: Update) -> IterationEnd:
        images = ClassImages(step, context, state.iteration)
        return IterationEnd(update(state, match_features(state, matching, forward, images)))

    yield iterate


def match_features(
    state: DistillState, matching: DistributionMatching, forward: Forward, images: ClassImages
) -> Measurement:
    """Compare the features of every class, some classes at a time."""
    theta = images.fresh_network()
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for labels in images.groups():
        pairs = [images.pair(label, 0, state.images.value) for label in labels]
        with torch.no_grad():
            real = forward(theta, torch.cat([pair.real for pair in pairs]))
        plain = [pair.plain.detach().requires_grad_() for pair in pairs]
        augmented = [pair.synthetic(part) for pair, part in zip(pairs, plain, strict=True)]
        synthetic = forward(theta, torch.cat(augmented))
        counts = [len(pair.real) for pair in pairs]
        by_class = distances(matching, real, synthetic, counts, images)
        gradients.extend(torch.autograd.grad(by_class.sum(), plain))
        losses.append(by_class.detach())
    return measurement_of(state, torch.cat(losses), lambda: ObjectiveGradient(torch.cat(gradients)))


def distances(
    matching: DistributionMatching,
    real: Tensor,
    synthetic: Tensor,
    counts: Sequence[int],
    images: ClassImages,
) -> Tensor:
    """Return the distance of each class; `counts` are the real images of each."""
    equal = [images.seen_ipc] * len(counts)
    match matching.statistic:
        case MeanStatistic():
            return mean_distances(class_means(real, counts), class_means(synthetic, equal))
        case CharacteristicStatistic(frequencies=count, amplitude=amplitude):
            # The same frequencies for all classes, from a stream that no class shares.
            drawn = torch.randn((count, real.shape[1]), generator=images.stream("frequencies"))
            frequencies = to_device(drawn, real.device).to(real.dtype)
            parts = zip(real.split(list(counts)), synthetic.split(equal), strict=True)
            return torch.stack(
                [characteristic_distance(r, s, frequencies, amplitude) for r, s in parts]
            )
        case _:
            assert_never(matching.statistic)
