"""The cases: distillation, experts, evaluation, how they grow, and what else one waits for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, sqrt

import torch

from benchmarks import keeping, ours, plain
from benchmarks.measure import Side, Timed, compare_ways
from benchmarks.shapes import CIFAR10, DIGITS, Shape
from ddspec.dsl.facts.network_sizes import network_size

Case = Callable[[torch.device, int, int], dict[str, Timed]]
"""Measures all sides on a device with so many threads, so many times."""

PLAIN, PLAIN_KEPT = "plain", "plain, our allocator"


def against_plain(work: Callable[[], object], threads: int) -> dict[str, Side]:
    """The plain way twice: as the field runs it, and with freed memory kept as ddspec keeps it."""
    return {
        PLAIN: Side(work, threads, own_allocator=False, deterministic=False),
        PLAIN_KEPT: Side(work, threads, deterministic=False),
    }


def distillation(
    shape: Shape, ipc: int, steps: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """One iteration of the outer loop."""
    theirs = plain.Distillation(shape, ipc, steps, device)
    kept, again = (
        ours.Distillation(shape, ipc, steps, device, graph) for graph in ("kept", "recomputed")
    )
    threads = kept.step.route.threads
    sides = against_plain(theirs.iteration, cores) | {
        "graph kept": Side(kept.iteration, threads),
        "graph recomputed": Side(again.iteration, threads),
    }
    return compare_ways(sides, repetitions, device)


def experts(
    shape: Shape, images: int, epochs: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Training two experts, without test passes."""
    data = shape.images(images).to(device), shape.labels(images).to(device)
    threads = ours.experts_step(shape, device).route.threads
    sides = against_plain(partial(plain.train_experts, shape, *data, 2, epochs), cores) | {
        "engine": Side(partial(ours.train_experts, shape, *data, 2, epochs), threads)
    }
    return compare_ways(sides, repetitions, device)


NETS, TESTED = 5, 500


def evaluation(
    shape: Shape, ipc: int, epochs: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Five fresh networks, trained and tested once."""
    count = ipc * shape.classes
    training = shape.images(count).to(device), shape.labels(count).to(device)
    tested = shape.images(TESTED, seed=1).to(device), shape.labels(TESTED).to(device)
    threads = ours.evaluation_step(shape, ipc, device).route.threads
    sides = against_plain(partial(plain.evaluate, shape, training, tested, NETS, epochs), cores) | {
        "engine": Side(partial(ours.evaluate, shape, training, tested, NETS, epochs), threads)
    }
    return compare_ways(sides, repetitions, device)


@dataclass(frozen=True)
class Iteration:
    """An iteration of the outer loop whose cost is looked at as one of its numbers grows."""

    label: str
    shape: Shape
    ipc: int
    steps: int
    keep_every: int = 1

    @property
    def counted(self) -> float:
        """Multiply-adds of one forward pass for every image of every student step."""
        net, shape = ours.network_of(self.shape), self.shape
        size = network_size(net, shape.channels, shape.side, shape.side, shape.classes)
        return float(self.steps * self.ipc * shape.classes * size.multiply_adds)


def growth(
    iterations: Sequence[Iteration], device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Iterations that differ in one number, graphs recomputed, each by itself."""
    timings: dict[str, Timed] = {}
    for size in iterations:
        work = ours.Distillation(
            size.shape, size.ipc, size.steps, device, "recomputed", size.keep_every
        )
        threads = work.step.route.threads
        side = Side(work.iteration, threads, counted=size.counted)
        timings |= compare_ways({size.label: side}, min(2, repetitions), device)
    return timings


def more_experts(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """More and more experts on digits, as a plan trains so many."""
    data = DIGITS.images(1347).to(device), DIGITS.labels(1347).to(device)
    timings: dict[str, Timed] = {}
    for count in (2, 4, 8):
        work = partial(ours.train_experts, DIGITS, *data, count, 10)
        threads = ours.experts_step(DIGITS, device).route.threads
        side = Side(work, threads, counted=float(count))
        timings |= compare_ways({f"{count} experts": side}, min(2, repetitions), device)
    return timings


def with_steps(shape: Shape, ipc: int, counts: Sequence[int], sparse: bool) -> list[Iteration]:
    """Iterations of more and more student steps; `sparse` keeps few of the parameters."""
    return [
        Iteration(f"N = {steps}", shape, ipc, steps, ceil(sqrt(steps)) if sparse else 1)
        for steps in counts
    ]


STEPS = (10, 20, 40, 80)
ONE_IMAGE = "CIFAR-10, 1 image per class"
SIDES = [
    Iteration(f"{side} pixels", replace(CIFAR10, name=f"{side} pixels", side=side), 1, 10)
    for side in (16, 32, 64)
]
MORE_IMAGES = [Iteration(f"{ipc} per class", CIFAR10, ipc, 10) for ipc in (1, 3, 10)]

CASES: dict[str, Case] = {
    "distillation, CIFAR-10, 10 images per class, N = 10": partial(distillation, CIFAR10, 10, 10),
    "distillation, CIFAR-10, 1 image per class, N = 50": partial(distillation, CIFAR10, 1, 50),
    "distillation, digits, 10 images per class, N = 20": partial(distillation, DIGITS, 10, 20),
    "experts, digits, 50 epochs": partial(experts, DIGITS, 1347, 50),
    "experts, CIFAR-10": partial(experts, CIFAR10, 512, 1),
    "evaluation, digits, 1 image per class": partial(evaluation, DIGITS, 1, 100),
    "evaluation, CIFAR-10, 1 image per class": partial(evaluation, CIFAR10, 1, 100),
    f"growth with N, {ONE_IMAGE}": partial(growth, with_steps(CIFAR10, 1, STEPS, sparse=False)),
    f"growth with N, {ONE_IMAGE}, parameters walked again": partial(
        growth, with_steps(CIFAR10, 1, STEPS, sparse=True)
    ),
    "growth with N, CIFAR-10, 10 images per class": partial(
        growth, with_steps(CIFAR10, 10, (10, 80), sparse=False)
    ),
    "growth with images per class, CIFAR-10, N = 10": partial(growth, MORE_IMAGES),
    "growth with resolution, 1 image per class, N = 10": partial(growth, SIDES),
    "growth with experts, digits": more_experts,
    "opening 100 experts of CIFAR-10, and reading one snapshot": keeping.opening,
    "reading a snapshot that was written with": keeping.compression,
    "start-up of the command line": keeping.start_up,
}
