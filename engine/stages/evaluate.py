"""Evaluation: fresh networks trained on synthetic sets or real images, tested on real data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import EvaluateStep, ExpertsStep, Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.spec.synthetic import Imported
from ddspec.engine.control import Control, Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.networks.flat_network import Trainee, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.numerics.seeds import random_stream, seed_of
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.imported_set import initial_lr
from ddspec.engine.stages.initialise import hard_labels, random_real
from ddspec.engine.stages.windows import final_parameters
from ddspec.engine.store.evaluation_file import (
    TrainedNetwork,
    TrainedNetworks,
    lr_search_preimage,
    part_digest,
    part_preimage,
    put_evaluation,
    read_evaluation,
    read_networks,
)
from ddspec.engine.store.locks import locked
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.training.epoch import (
    forward_in_batches,
    loss_gradient,
    measure_accuracy,
    recorded_gradient,
)
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    NetworkTraining,
    TrainingSet,
    protocol_epochs,
    train_network,
    train_stack,
)
from ddspec.engine.training.partition import seen_images, seen_labels
from ddspec.engine.training.soft_labels import half_squared_error, regression_labels
from ddspec.engine.training.stacked_epoch import stacked_gradient_fn


@dataclass(frozen=True)
class EvaluationInputs:
    """Everything that the networks of a step are trained from."""

    step: EvaluateStep
    sets: Mapping[int, str]
    """Digests of the synthetic sets by iteration."""
    experts: ExpertsStep | TrajectoryStep | None
    """The step of the experts, if the plan has one."""


@dataclass(frozen=True)
class NetworkBlock:
    """Networks of one evaluation that are trained at once, by their numbers."""

    member: Member
    repeats: range


def evaluate(inputs: EvaluationInputs, block: NetworkBlock, context: StageContext) -> None:
    """Train and test a block of networks, unless the store has them, and save their accuracies.

    A network is a function of the settings, the set and its number alone, so more repeats train
    only more networks.
    """
    step, store, first = inputs.step, context.store, block.repeats.start
    have = add_networks(step, block.member, None, context)
    if max(have, first + len(part_networks(step, block, store))) < block.repeats.stop:
        stopwatch = Stopwatch(step.route)
        training = [
            taught_set(inputs, block.member.number, repeat, context) for repeat in block.repeats
        ]
        if step.evaluation.lr_search is not None:
            rate = searched_lr(inputs, block.member, step.evaluation.lr_search, context)
            training = [replace(data, student_lr=rate) for data in training]
        addresses = [network_address(step, block.member, repeat) for repeat in block.repeats]
        watch = partial(report_training, step, block, context)
        networks = train_and_test(step, addresses, training, watch, context)
        made = Provenance().then(stopwatch.work())
        trained = TrainedNetworks(tuple(networks), training[0].student_lr, made)
        add_networks(step, block.member, NumberedNetworks(first, trained), context)
        figures = {"accuracy": networks[-1].accuracy}
        context.control.report(Progress(step.id, len(networks), len(networks), figures))
    context.control.saved()


def report_training(
    step: EvaluateStep, block: NetworkBlock, context: StageContext, epochs: float
) -> None:
    """Report from time to time how far a block of networks is trained; stop if told to."""
    total = len(block.repeats)
    done = total * epochs / step.evaluation.epochs
    context.control.report_within(lambda: Progress(step.id, done, total, {}))


def report_lr_search(step: EvaluateStep, rate: float, context: StageContext, epochs: float) -> None:
    """Report from time to time which learning rate is tried; stop if told to."""
    figures = {"tried learning rate": rate, "epoch": epochs}
    context.control.report_within(lambda: Progress(step.id, 0, 1, figures))


Address = tuple[str | int, ...]
"""Path of a network's random streams."""


def network_address(step: EvaluateStep, member: Member, repeat: int | str) -> Address:
    """Return the path of the random streams of one network.

    An imported set keeps the number that it had in the run of ddspec that made it.
    """
    init, number = step.synthetic.init, member.number
    if step.subject == "distilled" and isinstance(init, Imported):
        number += init.iteration
    return ("evaluate", step.subject, number, repeat)


def searched_lr(
    inputs: EvaluationInputs, member: Member, rates: Sequence[float], context: StageContext
) -> float:
    """Return the rate whose network has the best accuracy on held-out images.

    The networks, one per rate, have the same initialisation and the same batches. Other processes
    wait for the search, and later networks of the evaluation take its result from the store.
    """
    step, store = inputs.step, context.store
    known = read_evaluation(store, member.digest)
    if known.networks:
        return known.student_lr
    preimage = lr_search_preimage(step, member.number)
    name, address = digest(preimage), network_address(step, member, "lr search")
    with locked(store.root, name, step.id, context.control):
        tried = read_evaluation(store, name, "unfinished")
        for rate in rates[len(tried.networks) :]:
            stopwatch = Stopwatch(step.route)
            data = taught_set(inputs, member.number, 0, context)
            watch = partial(report_lr_search, step, rate, context)
            tested = replace(data, student_lr=rate)
            networks = train_and_test(step, [address], [tested], watch, context)
            made = Provenance().then(stopwatch.work())
            tried = tried.followed_by(TrainedNetworks(tuple(networks), rate, made))
            put_evaluation(store, "unfinished", preimage, tried)
    held_out = [network.validation or 0.0 for network in tried.networks]
    return rates[held_out.index(max(held_out))]


def part_networks(
    step: EvaluateStep, block: NetworkBlock, store: Store
) -> tuple[TrainedNetwork, ...]:
    """Return the networks of a block that wait for earlier ones; none if they were just added."""
    name = part_digest(step, block.member, block.repeats.start)
    try:
        return read_networks(store, name, "unfinished")
    except StoreError:
        if store.has("unfinished", name):
            raise
        return ()


@dataclass(frozen=True)
class NumberedNetworks:
    """Trained networks of an evaluation, and the number of the first of them."""

    first: int
    trained: TrainedNetworks


def add_networks(
    step: EvaluateStep, member: Member, added: NumberedNetworks | None, context: StageContext
) -> int:
    """Add networks to an evaluation, and the parts that follow; return how many it has then.

    Other processes may do so at the same time. Networks that come before those that are stored
    wait in a part of their own. Those that are stored already are not added again.
    """
    store = context.store
    # Waiting here is not ended by a signal: what was trained would be lost, for milliseconds.
    with locked(store.root, member.digest, step.id, Control(say=context.control.say)):
        before = evaluation = read_evaluation(store, member.digest)
        have = len(evaluation.networks)
        if added is not None and added.first > have:
            preimage = part_preimage(step, member.number, added.first)
            put_evaluation(store, "unfinished", preimage, added.trained)
            return have
        if added is not None:
            new = added.trained.networks[have - added.first :]
            evaluation = evaluation.followed_by(replace(added.trained, networks=new))
        parts = []
        while store.has("unfinished", part := part_digest(step, member, len(evaluation.networks))):
            parts.append(part)
            evaluation = evaluation.followed_by(read_evaluation(store, part, "unfinished"))
        if len(evaluation.networks) > len(before.networks):
            preimage = member_preimage(step.preimage, member.number)
            put_evaluation(store, "evaluation", preimage, evaluation)
        for part in parts:
            store.remove("unfinished", part)
    return len(evaluation.networks)


def is_regression(step: EvaluateStep) -> bool:
    """Return whether networks reduce the squared error to the targets of a regression."""
    return step.evaluation.protocol == "frepo"


def taught_set(
    inputs: EvaluationInputs, iteration: int, repeat: int, context: StageContext
) -> TrainingSet:
    """Return what networks are trained on, with the targets of classes if they regress."""
    data = training_set(inputs, iteration, repeat, context)
    if not is_regression(inputs.step) or data.labels.dim() == 2:
        return data
    return replace(data, labels=regression_labels(data.labels, context.facts.classes))


def training_set(
    inputs: EvaluationInputs, iteration: int, repeat: int, context: StageContext
) -> TrainingSet:
    """Return a synthetic set, or real images, with the learning rate of their training.

    It is that of the evaluation, or else the learned one of a synthetic set, and for real images
    the one that distillation begins with. A searched one takes its place.

    Both baselines draw the same images. Expert labels are the softmax of expert 0's last epoch
    at temperature 1, on the images without augmentation.
    """
    step, device = inputs.step, context.device
    match step.subject:
        case "distilled" | "distilled_plain":
            return stored_set(step, inputs.sets[iteration], context)
        case "distilled_hard_labels":
            stored = stored_set(step, inputs.sets[iteration], context)
            hard = hard_labels(context.facts.classes, step.synthetic.seen_ipc).to(device)
            return replace(stored, labels=hard)
        case "random_real" | "random_real_plain":
            images, labels = random_real_set(step, repeat, context)
            return TrainingSet(images, labels, rate_of_real_images(step, context))
        case "random_real_expert_labels":
            assert inputs.experts is not None  # planned with every baseline that reads them
            images, _ = random_real_set(step, repeat, context)
            expert = context.network(inputs.experts.recipe.network)
            end = final_parameters(inputs.experts, 0, context)
            logits = forward_in_batches(expert, end, images)
            return TrainingSet(images, logits.softmax(1), rate_of_real_images(step, context))
        case "full_data":
            full = step.evaluation.full_data
            assert full is not None  # the compiler makes such a step only if it is asked for
            return TrainingSet(context.data.train_images, context.data.train_labels, full.lr)
        case _:
            assert_never(step.subject)


def stored_set(step: EvaluateStep, name: str, context: StageContext) -> TrainingSet:
    """Return a synthetic set of the store, as networks see it, with its learning rate."""
    given, device, partition = step.evaluation.lr, context.device, step.synthetic.partition
    # The learned student_lr belongs to the set: networks are trained with it (MTT).
    with context.store.open("synthetic", name) as file:
        return TrainingSet(
            seen_images(torch.from_numpy(file["images"][()]).to(device), partition),
            seen_labels(torch.from_numpy(file["labels"][()]).to(device), partition),
            float(file["student_lr"][()]) if given is None else given,
        )


def rate_of_real_images(step: EvaluateStep, context: StageContext) -> float:
    """Return the learning rate at which networks are trained on random real images."""
    given = step.evaluation.lr
    return initial_lr(step.synthetic, context) if given is None else given


def random_real_set(
    step: EvaluateStep, repeat: int, context: StageContext
) -> tuple[Tensor, Tensor]:
    """Return random real images of each class with their classes; each repeat draws anew."""
    ipc = step.synthetic.ipc
    images = random_real(context, ipc, random_stream(step.seed, "random real", repeat))
    return images, hard_labels(context.facts.classes, ipc).to(context.device)


def train_and_test(
    step: EvaluateStep,
    networks: Sequence[Address],
    data: Sequence[TrainingSet],
    watch: Callable[[float], None],
    context: StageContext,
) -> list[TrainedNetwork]:
    """Train and test fresh networks with these random streams, each on its own set.

    `watch` is called with the number of epochs that are done, and may raise to stop.
    """
    net, form, asked = context.network(step.network), step.network, step.evaluation
    steps = -(-len(data[0].images) // asked.batch_size)
    size = step.route.networks if isinstance(form, ConvNet) else 1
    # A stack is always full: its size may change the last bits, its other members may not.
    spare = size - len(networks) if size > 1 else 0
    addresses = [*networks, *[networks[0]] * spare]
    thetas = [
        initial_parameters(form, context.facts, step.seed, *address, "initialisation")
        for address in addresses
    ]
    generators = [random_stream(step.seed, *address, "training") for address in addresses]
    trainee = net.in_training(context.device)
    training = NetworkTraining(
        # All sets of a block have the same learning rate.
        protocol_epochs(asked.protocol, asked.epochs, data[0].student_lr, steps),
        asked.batch_size,
        step.augmentation.families,
        lambda theta: measure(trainee, theta, context),
        watch,
    )
    if size > 1 and isinstance(form, ConvNet):
        stack = StackedNetworks(net, form)
        gradient_fn = stacked_gradient_fn(stack, step.route.recorded, is_regression(step))
        stacked = torch.stack(thetas).to(context.device)
        sets = [*data, *[data[0]] * spare]
        ends = train_stack(training, gradient_fn, stacked, sets, generators)
    else:
        # Running statistics are state between steps, which a recording must not have.
        recorded = step.route.recorded and not net.statistics
        mean_loss = half_squared_error if is_regression(step) else F.cross_entropy
        gradient = recorded_gradient(loss_gradient(trainee.learning, mean_loss), recorded)
        theta = thetas[0].to(context.device)
        with torch.random.fork_rng():
            # Dropout draws from torch's global stream.
            torch.manual_seed(seed_of(step.seed, *addresses[0], "dropout"))
            ends = [train_network(training, gradient, theta, data[0], generators[0])]
    return [
        TrainedNetwork(best.accuracy, bool(theta.isfinite().all()), best.validation)
        for theta, best in ends[: len(networks)]
    ]


def measure(trainee: Trainee, theta: Tensor, context: StageContext) -> MeasuredAccuracy:
    """Test a network on the test set, and on the held-out images if there are any."""
    data = context.data
    accuracy = measure_accuracy(trainee.tested, theta, data.test_images, data.test_labels)
    if not len(data.validation_labels):
        return MeasuredAccuracy(accuracy, None)
    images, labels = data.validation_images, data.validation_labels
    return MeasuredAccuracy(accuracy, measure_accuracy(trainee.tested, theta, images, labels))
