"""The synthetic set before the first iteration: which images, and what is taught about them."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.plan.steps import ExpertsStep, InitialiseStep, TrajectoryStep
from ddspec.dsl.spec.synthetic import (
    Correct,
    ExpertLabels,
    Forgetting,
    Hard,
    Herding,
    KCenter,
    LearnedLabels,
    Noise,
    Real,
    Representative,
)
from ddspec.dsl.terms import Features
from ddspec.engine.control import Diverged
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
from ddspec.engine.stages.windows import final_parameters
from ddspec.engine.store.artifacts import SHOWN_CLASSES
from ddspec.engine.store.store import Provenance
from ddspec.engine.training.epoch import forward_in_batches

ExpertSource = ExpertsStep | TrajectoryStep
Array = NDArray[np.generic]


@dataclass(frozen=True)
class InitContext:
    """Everything that an initialisation may look at."""

    step: InitialiseStep
    source: ExpertSource
    net: FlatNetwork
    context: StageContext

    @property
    def ipc(self) -> int:
        """Images per class."""
        return self.step.synthetic.ipc

    def of_class(self, label: int) -> slice:
        """Where the training images of a class lie."""
        counts = self.context.facts.train_per_class
        first = sum(counts[:label])
        return slice(first, first + counts[label])

    def end(self, expert: int) -> Tensor:
        """An expert at its last epoch."""
        return final_parameters(self.source, expert, self.context)

    def features(self, expert: int, which: Features) -> Float[NDArray[np.float32], "n f"]:
        """Of all training images, by an expert at its last epoch."""
        forward: Forward = self.net.features if which == "penultimate" else self.net
        found = forward_in_batches(forward, self.end(expert), self.context.data.train_images)
        features: NDArray[np.float32] = found.cpu().numpy()
        if not np.isfinite(features).all():
            raise Diverged(
                cause=f"features of expert {expert} are no finite numbers",
                advice="train better experts: lower experts.optimizer.lr",
                at=None,
            )
        return features


def initialise(step: InitialiseStep, source: ExpertSource, context: StageContext) -> None:
    """Make the first synthetic set: class-major images and their labels."""
    net = context.network(step.network)
    images, clusters = initial_images(InitContext(step, source, net, context))
    labels = initial_labels(step, source, images, net, context)
    arrays = {"images": images.cpu().numpy(), **labels, **clusters}
    context.store.put("synthetic", step.preimage, arrays, Provenance((step.route,)))


def initial_images(at: InitContext) -> tuple[Float[Tensor, "n c h w"], dict[str, Array]]:
    """The images, which of the training images they are where one looked for them, and for a
    picture what k-means made of the first classes.
    """
    step, context = at.step, at.context
    facts, init = context.facts, step.synthetic.init
    match init:
        case Real():
            return random_real(context, at.ipc, random_stream(step.seed, "initialise", "real")), {}
        case Noise():
            shape = (facts.classes * at.ipc, facts.channels, facts.height, facts.width)
            return torch.randn(shape, generator=random_stream(step.seed, "initialise", "noise")), {}
        case Representative():
            return representative(at, init)
        case Correct(experts=experts):
            return correctly_classified(at, experts)
        case Herding():
            features = at.features(0, "penultimate")
            chosen = [herding(features[at.of_class(c)], at.ipc) for c in range(facts.classes)]
        case KCenter():
            features = at.features(0, "penultimate")
            chosen = [k_center(features[at.of_class(c)], at.ipc) for c in range(facts.classes)]
        case Forgetting():
            right = correct_by_epoch(at)
            chosen = [forgetting(right[:, at.of_class(c)], at.ipc) for c in range(facts.classes)]
        case _:
            assert_never(init)
    return select_images(at, chosen)


def select_images(
    at: InitContext, chosen: list[Int[NDArray[np.int64], " ipc"]]
) -> tuple[Tensor, dict[str, Array]]:
    """The training images of those indices within each class, and where they lie among all."""
    places = np.concatenate([at.of_class(c).start + indices for c, indices in enumerate(chosen)])
    images = at.context.data.train_images[torch.from_numpy(places).to(at.context.device)]
    return images, {"chosen": places}


def representative(at: InitContext, init: Representative) -> tuple[Tensor, dict[str, Array]]:
    """Real images nearest to the centres of k-means in each class (AST, arXiv:2310.10541).

    Of the first classes the artifact keeps every image's place in two principal components
    (`cluster_points`), its cluster, and whether it was chosen; `cluster_class` is its class.
    """
    clusters = init.clusters or min(at.ipc, MOST_CLUSTERS)
    features = at.features(init.expert, init.features)
    chosen, shown = [], []
    for label in range(at.context.facts.classes):
        own = features[at.of_class(label)]
        seed = seed_of(at.step.seed, "initialise", "k-means", label)
        found = representatives(own, at.ipc, clusters, seed)
        chosen.append(found.chosen)
        if label < SHOWN_CLASSES:
            shown.append((own, found))
    is_chosen = [np.isin(np.arange(len(own)), found.chosen) for own, found in shown]
    pictures: dict[str, Array] = {
        "cluster_points": np.concatenate([two_components(own) for own, _ in shown]),
        "cluster_number": np.concatenate([found.clusters for _, found in shown]),
        "cluster_chosen": np.concatenate(is_chosen),
        "cluster_class": np.repeat(np.arange(len(shown)), [len(own) for own, _ in shown]),
    }
    images, places = select_images(at, chosen)
    return images, {**places, **pictures}


MOST_CLUSTERS = 10
"""Of AST: for more images than this per class every centre is given several."""


def correctly_classified(at: InitContext, experts: int) -> tuple[Tensor, dict[str, Array]]:
    """Random real images that an expert classifies correctly (DATM, arXiv:2310.05773).

    Classes that lack such images are filled by asking one expert after the other.
    """
    data, facts = at.context.data, at.context.facts
    generator = random_stream(at.step.seed, "initialise", "correct")
    orders = [torch.randperm(count, generator=generator).numpy() for count in facts.train_per_class]
    chosen: list[list[int]] = [[] for _ in range(facts.classes)]
    for expert in range(experts):
        if all(len(own) == at.ipc for own in chosen):
            break
        predicted = forward_in_batches(at.net, at.end(expert), data.train_images).argmax(1)
        right = (predicted == data.train_labels).cpu().numpy()
        for label, order in enumerate(orders):
            own, inside = chosen[label], right[at.of_class(label)]
            own += [int(i) for i in order if inside[i] and i not in own][: at.ipc - len(own)]
    poor = [(facts.class_names[c], len(own)) for c, own in enumerate(chosen) if len(own) < at.ipc]
    if poor:
        raise Diverged(
            cause=f"class {poor[0][0]!r} has {poor[0][1]} training images that {experts} expert(s) "
            f"classify correctly, fewer than {at.ipc}",
            advice='raise synthetic.init.experts, train better experts, or use init = "real"',
            at=None,
        )
    return select_images(at, [np.array(own, dtype=np.int64) for own in chosen])


def correct_by_epoch(at: InitContext) -> NDArray[np.bool_]:
    """Which training images expert 0 classifies correctly after each epoch (epochs + 1, n)."""
    data = at.context.data
    with at.context.store.open("expert", at.source.members[0].digest) as file:
        snapshots = torch.from_numpy(file["theta"][: at.source.recipe.experts.epochs + 1])
    right = [
        forward_in_batches(at.net, theta.to(at.context.device), data.train_images).argmax(1)
        == data.train_labels
        for theta in snapshots
    ]
    found: NDArray[np.bool_] = torch.stack(right).cpu().numpy()
    return found


def initial_labels(
    step: InitialiseStep,
    source: ExpertSource,
    images: Tensor,
    net: FlatNetwork,
    context: StageContext,
) -> dict[str, Array]:
    """Labels (classes, or probabilities), and the logits behind them where those are learned."""
    hard = hard_labels(context.facts.classes, step.synthetic.ipc)
    images = images.to(context.device)
    match step.synthetic.labels:
        case Hard():
            return {"labels": hard.numpy()}
        case ExpertLabels():
            logits = forward_in_batches(net, final_parameters(source, 0, context), images)
            return {"labels": logits.softmax(1).cpu().numpy()}
        case LearnedLabels(experts=asked):
            experts = asked or len(source.members)
            answers = torch.stack(
                [
                    forward_in_batches(net, final_parameters(source, i, context), images)
                    for i in range(experts)
                ]
            )
            logits = mean_of_correct(answers, hard.to(context.device))
            arrays = {"labels": logits.softmax(1), "label_logits": logits}
            return {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
        case _:
            assert_never(step.synthetic.labels)


def mean_of_correct(
    answers: Float[Tensor, "experts n k"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n k"]:
    """Mean logits over the experts that classify an image correctly; over all where none does.

    The beginning of DATM's labels (arXiv:2310.05773), whose public code divides by zero there.
    """
    right = (answers.argmax(2) == labels).to(answers)
    weights = torch.where(right.sum(0) > 0, right, torch.ones_like(right))
    return (answers * weights[:, :, None]).sum(0) / weights.sum(0)[:, None]


def hard_labels(classes: int, ipc: int) -> Int[Tensor, " n"]:
    """One class per image, class-major."""
    return torch.from_numpy(np.repeat(np.arange(classes, dtype=np.int64), ipc))


def random_real(
    context: StageContext, ipc: int, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """`ipc` distinct random training images of each class."""
    chosen = []
    first = 0
    for count in context.facts.train_per_class:
        chosen.append(first + torch.randperm(count, generator=generator)[:ipc])
        first += count
    return context.data.train_images[torch.cat(chosen).to(context.device)]
