"""Fresh networks trained on a synthetic set, or on random real images, and tested on real data.

MTT's protocol (arXiv:2203.11932): SGD at the learned student_lr, momentum 0.9, weight decay 5e-4,
batches of 256, augmented; after a little more than half of the epochs the rate drops to a tenth
and the momentum begins anew; one test at the end. Of E epochs the first (E - 1) // 2 + 2 run at
the full rate: 502 of 1001, as in the public code.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.plan import EvaluateStep, ExpertsStep, TrajectoryStep, member_preimage
from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.artifacts import accuracies, all_finite
from ddspec.engine.bench import Bench
from ddspec.engine.control import Progress
from ddspec.engine.descent import (
    Descent,
    Iterate,
    cross_entropy_slope,
    in_batches,
    test,
    train_epoch,
)
from ddspec.engine.initialise import hard_labels, random_real
from ddspec.engine.networks import FlatNetwork, flat_network, initial_parameters
from ddspec.engine.seeds import stream
from ddspec.engine.store import Provenance, Store
from ddspec.engine.trajectories import expert_end

BATCH_SIZE = 256
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
DROP = 0.1


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train on, and at which rate."""

    images: Tensor
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""
    student_lr: float


def evaluate(
    step: EvaluateStep,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    bench: Bench,
) -> None:
    """Make every evaluation of the step that has too few networks so far.

    `sets` names the synthetic sets that are there, by iteration. A network is a function of the
    settings, the set and its number alone: more repeats train only the further ones.
    """
    store, net = bench.store, flat_network(step.network, bench.facts)
    repeats = step.evaluation.repeats
    is_there = [m for m in step.members if step.subject != "distilled" or m.number in sets]
    total, done = len(is_there) * repeats, 0
    for member in is_there:
        values, finite = accuracies(store, member.digest), all_finite(store, member.digest)
        made = store.provenance("evaluation", member.digest) if values else Provenance()
        saved, rate = len(values), 0.0
        try:
            while len(values) < repeats:
                began = time.monotonic()
                repeat = len(values)
                training = training_set(step, member.number, repeat, sets, source, bench)
                found, sound = train_and_test(step, member.number, repeat, training, net, bench)
                values, finite = (*values, found), (*finite, sound)
                rate = training.student_lr
                made = made.then(step.route, time.monotonic() - began)
                bench.control.report(
                    Progress(step.id, done + len(values), total, {"accuracy": found})
                )
        finally:
            # Also where a signal or a fault ends the loop: networks that are done stay done.
            if len(values) > saved:
                save(step, member.number, values, finite, rate, made, store)
        bench.control.saved()
        done += repeats


def save(
    step: EvaluateStep,
    number: int,
    values: tuple[float, ...],
    finite: tuple[bool, ...],
    rate: float,
    made: Provenance,
    store: Store,
) -> None:
    """Write the accuracies of one set."""
    store.put(
        "evaluation",
        member_preimage(step.preimage, number),
        {"values": np.array(values), "finite": np.array(finite)},
        made,
        {"student_lr": rate},
    )


def training_set(
    step: EvaluateStep,
    number: int,
    repeat: int,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    bench: Bench,
) -> TrainingSet:
    """A synthetic set, or random real images at the rate that distillation begins with.

    Both baselines draw the same images. Expert labels are the softmax of expert 0's last epoch at
    temperature 1, on the images without augmentation.
    """
    rate = step.synthetic.student_lr.init
    match step.subject:
        case "distilled":
            with bench.store.open("synthetic", sets[number]) as file:
                return TrainingSet(
                    torch.from_numpy(file["images"][()]).to(bench.device),
                    torch.from_numpy(file["labels"][()]).to(bench.device),
                    float(file["student_lr"][()]),
                )
        case "random_real":
            images, labels = drawn_real(step, repeat, bench)
            return TrainingSet(images, labels, rate)
        case "random_real_expert_labels":
            images, _ = drawn_real(step, repeat, bench)
            expert = flat_network(source.recipe.network, bench.facts)
            logits = in_batches(expert, expert_end(source, 0, bench), images)
            return TrainingSet(images, logits.softmax(1), rate)
        case _:
            assert_never(step.subject)


def drawn_real(step: EvaluateStep, repeat: int, bench: Bench) -> tuple[Tensor, Tensor]:
    """Random real images of each class with their classes, another draw for each network."""
    ipc = step.synthetic.ipc
    images = random_real(bench, ipc, stream(step.seed, "random real", repeat))
    return images, hard_labels(bench.facts.classes, ipc).to(bench.device)


def train_and_test(
    step: EvaluateStep,
    number: int,
    repeat: int,
    training: TrainingSet,
    net: FlatNetwork,
    bench: Bench,
) -> tuple[float, bool]:
    """Test accuracy in percent of one fresh network, and whether its parameters are numbers."""
    place = ("evaluate", step.subject, number, repeat)
    theta = initial_parameters(step.network, bench.facts, step.seed, *place, "initialisation")
    match step.evaluation.protocol:
        case "mtt":
            recipe = train_mtt
        case _:
            assert_never(step.evaluation.protocol)
    trained = recipe(
        theta.to(bench.device),
        training,
        net,
        step.evaluation.epochs,
        step.augmentation.families,
        stream(step.seed, *place, "training"),
        bench.control.leave_if_stopped,
    )
    accuracy = test(net, trained, bench.data.test_images, bench.data.test_labels)
    return accuracy, bool(trained.isfinite().all())


def train_mtt(
    theta: Tensor,
    training: TrainingSet,
    net: FlatNetwork,
    epochs: int,
    families: tuple[AugmentationFamily, ...],
    generator: torch.Generator,
    before_batch: Callable[[], None],
) -> Tensor:
    """A network trained by MTT's protocol."""
    at = Iterate.at_rest(theta)
    full_rate = (epochs - 1) // 2 + 2
    for epoch in range(epochs):
        if epoch == full_rate:
            at = Iterate.at_rest(at.value)
        lr = training.student_lr * (1.0 if epoch < full_rate else DROP)
        at = train_epoch(
            cross_entropy_slope(net),
            at,
            training.images,
            training.labels,
            BATCH_SIZE,
            Descent(lr, MOMENTUM, WEIGHT_DECAY),
            families,
            generator,
            before_batch,
        ).end
    return at.value
