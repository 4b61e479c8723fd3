"""The cases: distillation, experts, evaluation, their growth, the store and start-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, sqrt

import torch

from benchmarks import ddspec_engine, plain_pytorch, store_and_startup
from benchmarks.measure import Side, Timed, time_in_turns
from benchmarks.shapes import CIFAR10_SHAPE, DIGITS_SHAPE, Shape
from ddspec.dsl.facts.network_sizes import network_size

Case = Callable[[torch.device, int, int], dict[str, Timed]]
"""Measures all sides of a case: takes the device, the threads and the repetitions."""

PLAIN, PLAIN_KEPT = "plain", "plain, our allocator"


def against_plain(work: Callable[[], object], threads: int) -> dict[str, Side]:
    """Return two plain sides: with glibc's allocator, and with freed memory kept.

    The second keeps freed memory in the process, as ddspec does.
    """
    return {
        PLAIN: Side(work, threads, keeps_memory=False, deterministic=False),
        PLAIN_KEPT: Side(work, threads, deterministic=False),
    }


def measure_distillation(
    shape: Shape, ipc: int, steps: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Measure one iteration of the outer loop."""
    theirs = plain_pytorch.PlainDistillation(shape, ipc, steps, device)
    kept, again = (
        ddspec_engine.EngineDistillation(shape, ipc, steps, device, graph)
        for graph in ("kept", "recomputed")
    )
    threads = kept.step.route.threads
    sides = against_plain(theirs.iteration, cores) | {
        "graph kept": Side(kept.iteration, threads),
        "graph recomputed": Side(again.iteration, threads),
    }
    return time_in_turns(sides, repetitions, device)


def measure_experts(
    shape: Shape, images: int, epochs: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Measure the training of two experts, without tests."""
    data = shape.images(images).to(device), shape.labels(images).to(device)
    threads = ddspec_engine.experts_step(shape, device).route.threads
    sides = against_plain(
        partial(plain_pytorch.train_plain_experts, shape, *data, 2, epochs), cores
    ) | {
        "engine": Side(
            partial(ddspec_engine.train_engine_experts, shape, *data, 2, epochs), threads
        )
    }
    return time_in_turns(sides, repetitions, device)


NETS, TESTED = 5, 500


def measure_evaluation(
    shape: Shape, ipc: int, epochs: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Measure the training of five fresh networks and one test of each."""
    count = ipc * shape.classes
    training = shape.images(count).to(device), shape.labels(count).to(device)
    tested = shape.images(TESTED, seed=1).to(device), shape.labels(TESTED).to(device)
    threads = ddspec_engine.evaluation_step(shape, ipc, device).route.threads
    sides = against_plain(
        partial(plain_pytorch.evaluate_plain_networks, shape, training, tested, NETS, epochs), cores
    ) | {
        "engine": Side(
            partial(ddspec_engine.evaluate_engine_networks, shape, training, tested, NETS, epochs),
            threads,
        )
    }
    return time_in_turns(sides, repetitions, device)


@dataclass(frozen=True)
class Iteration:
    """An iteration of the outer loop, one of several that differ in a single number."""

    label: str
    shape: Shape
    ipc: int
    steps: int
    keep_every: int = 1

    @property
    def counted(self) -> float:
        """Return the multiply-adds of one forward pass per image and student step."""
        net, shape = ddspec_engine.convnet_of(self.shape), self.shape
        size = network_size(net, shape.channels, shape.side, shape.side, shape.classes)
        return float(self.steps * self.ipc * shape.classes * size.multiply_adds)


def measure_growth(
    iterations: Sequence[Iteration], device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Measure iterations that differ in one number, with recomputed graphs."""
    timings: dict[str, Timed] = {}
    for size in iterations:
        work = ddspec_engine.EngineDistillation(
            size.shape, size.ipc, size.steps, device, "recomputed", size.keep_every
        )
        threads = work.step.route.threads
        side = Side(work.iteration, threads, counted=size.counted)
        timings |= time_in_turns({size.label: side}, min(2, repetitions), device)
    return timings


def measure_windows(
    student: str, recomputed: bool, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Measure performance with windows of 10 and of 60 student steps, without free steps."""
    timings: dict[str, Timed] = {}
    for window in (10, 60):
        every = ceil(sqrt(window)) if recomputed else 1
        work = ddspec_engine.EnginePerformance(CIFAR10_SHAPE, window, student, every, device)
        side = Side(work.iteration, work.step.route.threads, counted=float(window))
        timings |= time_in_turns({f"W = {window}": side}, min(2, repetitions), device)
    return timings


def measure_more_experts(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """Measure the training of 2, 4 and 8 experts on digits, as a plan would train them."""
    data = DIGITS_SHAPE.images(1347).to(device), DIGITS_SHAPE.labels(1347).to(device)
    timings: dict[str, Timed] = {}
    for count in (2, 4, 8):
        work = partial(ddspec_engine.train_engine_experts, DIGITS_SHAPE, *data, count, 10)
        threads = ddspec_engine.experts_step(DIGITS_SHAPE, device).route.threads
        side = Side(work, threads, counted=float(count))
        timings |= time_in_turns({f"{count} experts": side}, min(2, repetitions), device)
    return timings


def with_steps(shape: Shape, ipc: int, counts: Sequence[int], sparse: bool) -> list[Iteration]:
    """Return iterations with these numbers of student steps.

    With `sparse`, only some of the student's parameter vectors are kept.
    """
    return [
        Iteration(f"N = {steps}", shape, ipc, steps, ceil(sqrt(steps)) if sparse else 1)
        for steps in counts
    ]


STEPS = (10, 20, 40, 80)
ONE_IMAGE = "CIFAR-10, 1 image per class"
SIDES = [
    Iteration(f"{side} pixels", replace(CIFAR10_SHAPE, name=f"{side} pixels", side=side), 1, 10)
    for side in (16, 32, 64)
]
MORE_IMAGES = [Iteration(f"{ipc} per class", CIFAR10_SHAPE, ipc, 10) for ipc in (1, 3, 10)]

CASES: dict[str, Case] = {
    "distillation, CIFAR-10, 10 images per class, N = 10": partial(
        measure_distillation, CIFAR10_SHAPE, 10, 10
    ),
    "distillation, CIFAR-10, 1 image per class, N = 50": partial(
        measure_distillation, CIFAR10_SHAPE, 1, 50
    ),
    "distillation, digits, 10 images per class, N = 20": partial(
        measure_distillation, DIGITS_SHAPE, 10, 20
    ),
    "experts, digits, 50 epochs": partial(measure_experts, DIGITS_SHAPE, 1347, 50),
    "experts, CIFAR-10": partial(measure_experts, CIFAR10_SHAPE, 512, 1),
    "evaluation, digits, 1 image per class": partial(measure_evaluation, DIGITS_SHAPE, 1, 100),
    "evaluation, CIFAR-10, 1 image per class": partial(measure_evaluation, CIFAR10_SHAPE, 1, 100),
    f"growth with N, {ONE_IMAGE}": partial(
        measure_growth, with_steps(CIFAR10_SHAPE, 1, STEPS, sparse=False)
    ),
    f"growth with N, {ONE_IMAGE}, parameters recomputed": partial(
        measure_growth, with_steps(CIFAR10_SHAPE, 1, STEPS, sparse=True)
    ),
    "growth with N, CIFAR-10, 10 images per class": partial(
        measure_growth, with_steps(CIFAR10_SHAPE, 10, (10, 80), sparse=False)
    ),
    "growth with images per class, CIFAR-10, N = 10": partial(measure_growth, MORE_IMAGES),
    "growth with resolution, 1 image per class, N = 10": partial(measure_growth, SIDES),
    f"growth with the window of performance by sgd, {ONE_IMAGE}": partial(
        measure_windows, "sgd", False
    ),
    f"growth with the window of performance by adam, {ONE_IMAGE}": partial(
        measure_windows, "adam", False
    ),
    f"growth with the window of performance by adam, {ONE_IMAGE}, states recomputed": partial(
        measure_windows, "adam", True
    ),
    "growth with experts, digits": measure_more_experts,
    "opening 100 experts of CIFAR-10, and reading one snapshot": store_and_startup.open_experts,
    "reading a snapshot that was written with": store_and_startup.read_compressed,
    "start-up of the command line": store_and_startup.start_command_line,
}
