"""The synthetic set before the first iteration: its images and their labels."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.plan.steps import ExpertsStep, InitialiseStep, TrajectoryStep
from ddspec.dsl.spec.synthetic import (
    Correct,
    ExpertLabels,
    Forgetting,
    Hard,
    Herding,
    Imported,
    KCenter,
    LearnedLabels,
    Noise,
    Real,
    RegressionLabels,
    Representative,
    UnnormalizedLabels,
)
from ddspec.dsl.terms import Features
from ddspec.engine.control import Diverged
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.networks.flat_network import FlatNetwork, Forward
from ddspec.engine.numerics.coresets import (
    forgetting,
    herding,
    k_center,
    representatives,
    two_components,
)
from ddspec.engine.numerics.seeds import random_stream, seed_of
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.imported_set import imported_arrays
from ddspec.engine.stages.windows import final_parameters
from ddspec.engine.store.artifacts import SHOWN_CLASSES
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.trajectory_file import Array, read_snapshots, trajectory_digest
from ddspec.engine.training.epoch import forward_in_batches
from ddspec.engine.training.partition import composed
from ddspec.engine.training.soft_labels import regression_labels

InitOfRealData = Real | Noise | Representative | Correct | Herding | KCenter | Forgetting
"""Initialisations that begin from the dataset, or from noise."""


@dataclass(frozen=True)
class InitContext:
    """Everything that an initialisation may use."""

    step: InitialiseStep
    experts: ExpertsStep | TrajectoryStep | None
    net: FlatNetwork
    context: StageContext

    @property
    def source(self) -> ExpertsStep | TrajectoryStep:
        """Return the step of the experts, which a rule that reads them has in its plan."""
        assert self.experts is not None
        return self.experts

    @property
    def ipc(self) -> int:
        """Return the images per class that are chosen: several for each partitioned image."""
        return self.step.synthetic.seen_ipc

    def end(self, expert: int) -> Tensor:
        """Return the parameters of an expert after its last epoch."""
        return final_parameters(self.source, expert, self.context)

    def features(self, expert: int, which: Features) -> Float[np.ndarray, "n f"]:
        """Return the features of all training images, by an expert after its last epoch.

        Raises Diverged if a feature is not finite.
        """
        forward: Forward = self.net.features if which == "penultimate" else self.net
        images = self.context.data.train_images
        tensor = forward_in_batches(forward, self.end(expert), images)
        features: NDArray[np.float32] = tensor.cpu().numpy()
        if not np.isfinite(features).all():
            raise Diverged(
                cause=f"features of expert {expert} are not finite",
                advice="train better experts: lower experts.optimizer.lr",
                at=None,
            )
        return features


def initialise(
    step: InitialiseStep, experts: ExpertsStep | TrajectoryStep | None, context: StageContext
) -> None:
    """Make the first synthetic set: images ordered by class, and their labels."""
    stopwatch = Stopwatch(step.route)
    init = step.synthetic.init
    if isinstance(init, Imported):
        arrays = imported_arrays(init.set, context)
    else:
        at = InitContext(step, experts, context.network(step.network), context)
        images, clusters = initial_images(at, init)
        if not isinstance(init, Noise):
            images = composed(images, step.synthetic.partition)
        labels = initial_labels(at, images)
        arrays = {"images": images.cpu().numpy(), **labels, **clusters}
    context.store.put("synthetic", step.preimage, arrays, Provenance().then(stopwatch.work()))


def initial_images(
    at: InitContext, init: InitOfRealData
) -> tuple[Float[Tensor, "n c h w"], dict[str, Array]]:
    """Return the images, with arrays for the artifact: indices of chosen training images, and
    for a picture the clusters of the first classes.
    """
    step, context = at.step, at.context
    facts = context.facts
    match init:
        case Real():
            return random_real(context, at.ipc, random_stream(step.seed, "initialise", "real")), {}
        case Noise(norm=norm):
            shape = (facts.classes * step.synthetic.ipc, facts.channels, facts.height, facts.width)
            drawn = torch.randn(shape, generator=random_stream(step.seed, "initialise", "noise"))
            return drawn if norm is None else norm * F.normalize(drawn.flatten(1)).view(shape), {}
        case Representative():
            return representative(at, init)
        case Correct(experts=experts):
            return correctly_classified(at, experts)
        case Herding():
            features = at.features(0, "penultimate")
            chosen = [
                herding(features[at.context.of_class(c)], at.ipc) for c in range(facts.classes)
            ]
        case KCenter():
            features = at.features(0, "penultimate")
            chosen = [
                k_center(features[at.context.of_class(c)], at.ipc) for c in range(facts.classes)
            ]
        case Forgetting(never_learned=never_learned):
            correct = correct_by_epoch(at)
            chosen = [
                forgetting(correct[:, at.context.of_class(c)], at.ipc, never_learned)
                for c in range(facts.classes)
            ]
        case _:
            assert_never(init)
    return select_images(at, chosen)


def select_images(
    at: InitContext, chosen: list[Int[np.ndarray, " ipc"]]
) -> tuple[Tensor, dict[str, Array]]:
    """Return training images by their indices within each class, and their indices overall."""
    overall = np.concatenate(
        [at.context.of_class(c).start + indices for c, indices in enumerate(chosen)]
    )
    images = at.context.data.train_images[torch.from_numpy(overall).to(at.context.device)]
    return images, {"chosen": overall}


def representative(at: InitContext, init: Representative) -> tuple[Tensor, dict[str, Array]]:
    """Choose the real images nearest to the centres of k-means in each class (AST).

    AST is arXiv:2310.10541. For the first classes the artifact keeps every image's position in two
    principal components (`cluster_points`), its cluster (`cluster_number`), whether it was chosen
    (`cluster_chosen`), and its class (`cluster_class`).
    """
    clusters = init.clusters or min(at.ipc, MOST_CLUSTERS)
    features = at.features(init.expert, init.features)
    chosen, shown = [], []
    for label in range(at.context.facts.classes):
        of_class = features[at.context.of_class(label)]
        seed = seed_of(at.step.seed, "initialise", "k-means", label)
        clustered = representatives(of_class, at.ipc, clusters, seed)
        chosen.append(clustered.chosen)
        if label < SHOWN_CLASSES:
            shown.append((of_class, clustered))
    is_chosen = [np.isin(np.arange(len(f)), clustered.chosen) for f, clustered in shown]
    pictures: dict[str, Array] = {
        "cluster_points": np.concatenate([two_components(f) for f, _ in shown]),
        "cluster_number": np.concatenate([clustered.clusters for _, clustered in shown]),
        "cluster_chosen": np.concatenate(is_chosen),
        "cluster_class": np.repeat(np.arange(len(shown)), [len(f) for f, _ in shown]),
    }
    images, indices = select_images(at, chosen)
    return images, {**indices, **pictures}


MOST_CLUSTERS = 10
"""AST's number: with more images per class than this, every centre gets several."""


def correctly_classified(at: InitContext, experts: int) -> tuple[Tensor, dict[str, Array]]:
    """Choose random real images that an expert classifies correctly (DATM, arXiv:2310.05773).

    Experts are asked one after the other until every class has enough images; raises Diverged if
    one still has too few.
    """
    data, facts = at.context.data, at.context.facts
    generator = random_stream(at.step.seed, "initialise", "correct")
    orders = [torch.randperm(count, generator=generator).numpy() for count in facts.train_per_class]
    chosen: list[list[int]] = [[] for _ in range(facts.classes)]
    for expert in range(experts):
        if all(len(indices) == at.ipc for indices in chosen):
            break
        predicted = forward_in_batches(at.net, at.end(expert), data.train_images).argmax(1)
        correct = (predicted == data.train_labels).cpu().numpy()
        for label, order in enumerate(orders):
            taken, is_correct = chosen[label], correct[at.context.of_class(label)]
            further = [int(i) for i in order if is_correct[i] and i not in taken]
            taken += further[: at.ipc - len(taken)]
    short = [(facts.class_names[c], len(i)) for c, i in enumerate(chosen) if len(i) < at.ipc]
    if short:
        name, count = short[0]
        raise Diverged(
            cause=f"class {name!r} has {count} training images that {experts} expert(s) "
            f"classify correctly, fewer than {at.ipc}",
            advice='raise synthetic.init.experts, train better experts, or use init = "real"',
            at=None,
        )
    return select_images(at, [np.array(indices, dtype=np.int64) for indices in chosen])


def correct_by_epoch(at: InitContext) -> NDArray[np.bool_]:
    """Return whether expert 0 classifies each training image correctly, by epoch.

    The result has shape (epochs + 1, n); row 0 is the initialisation.
    """
    data = at.context.data
    epochs = range(at.source.recipe.experts.epochs + 1)
    with at.context.store.open("expert", trajectory_digest(at.source, 0)) as file:
        snapshots = [torch.from_numpy(row) for row in read_snapshots(file, epochs).values()]
    correct = [
        forward_in_batches(at.net, theta.to(at.context.device), data.train_images).argmax(1)
        == data.train_labels
        for theta in snapshots
    ]
    by_epoch: NDArray[np.bool_] = torch.stack(correct).cpu().numpy()
    return by_epoch


def initial_labels(at: InitContext, images: Tensor) -> dict[str, Array]:
    """Return the labels (classes, or probabilities), and their logits if they are learned."""
    classes, ipc = at.context.facts.classes, at.step.synthetic.ipc
    hard, device = hard_labels(classes, ipc), at.context.device
    images = images.to(device)
    match at.step.synthetic.labels:
        case Hard():
            return {"labels": hard.numpy()}
        case ExpertLabels():
            logits = forward_in_batches(at.net, at.end(0), images)
            return {"labels": logits.softmax(1).cpu().numpy()}
        case LearnedLabels(experts=wanted):
            experts = range(wanted or len(at.source.members))
            answers = torch.stack([forward_in_batches(at.net, at.end(i), images) for i in experts])
            logits = mean_of_correct(answers, hard.to(device))
            arrays = {"labels": logits.softmax(1), "label_logits": logits}
            return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
        case UnnormalizedLabels():
            one_hot = F.one_hot(hard, classes).float().numpy()
            return {"labels": one_hot, "label_logits": one_hot}
        case RegressionLabels():
            targets = regression_labels(hard, classes).numpy()
            return {"labels": targets, "label_logits": targets}
        case _:
            assert_never(at.step.synthetic.labels)


def mean_of_correct(
    answers: Float[Tensor, "experts n k"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n k"]:
    """Return mean logits over the experts that classify an image correctly; over all if none does.

    The initial labels of DATM (arXiv:2310.05773), whose public code divides by zero if no expert
    is correct.
    """
    correct = (answers.argmax(2) == labels).to(answers)
    weights = torch.where(correct.sum(0) > 0, correct, torch.ones_like(correct))
    return (answers * weights[:, :, None]).sum(0) / weights.sum(0)[:, None]


def hard_labels(classes: int, ipc: int) -> Int[Tensor, " n"]:
    """Return the class of every image, ordered by class."""
    return torch.from_numpy(np.repeat(np.arange(classes, dtype=np.int64), ipc))


def random_real(
    context: StageContext, ipc: int, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Return `ipc` distinct random training images of each class."""
    chosen = []
    first = 0
    for count in context.facts.train_per_class:
        chosen.append(first + torch.randperm(count, generator=generator)[:ipc])
        first += count
    return context.data.train_images[torch.cat(chosen).to(context.device)]
