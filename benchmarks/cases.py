"""The cases: distillation, experts, evaluation, and how memory and time grow."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks import ours, plain
from benchmarks.measure import Side, Timed, compared
from benchmarks.shapes import CIFAR10, DIGITS, Shape

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
    return compared(sides, repetitions, device)


def experts(
    shape: Shape, images: int, epochs: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """Training two experts, without test passes."""
    data = shape.images(images).to(device), shape.labels(images).to(device)
    threads = ours.expert_route(shape, device).threads
    sides = against_plain(partial(plain.train_experts, shape, *data, 2, epochs), cores) | {
        "engine": Side(partial(ours.train_experts, shape, *data, 2, epochs), threads)
    }
    return compared(sides, repetitions, device)


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
    return compared(sides, repetitions, device)


def growth(
    shape: Shape, ipc: int, device: torch.device, cores: int, repetitions: int
) -> dict[str, Timed]:
    """An iteration of more and more student steps, graphs recomputed."""
    found: dict[str, Timed] = {}
    for steps in (10, 20, 40, 80):
        one = ours.Distillation(shape, ipc, steps, device, "recomputed")
        side = {f"N = {steps}": Side(one.iteration, one.step.route.threads)}
        found |= compared(side, min(2, repetitions), device)
    return found


CASES: dict[str, Case] = {
    "distillation, CIFAR-10, 10 images per class, N = 10": partial(distillation, CIFAR10, 10, 10),
    "distillation, CIFAR-10, 1 image per class, N = 50": partial(distillation, CIFAR10, 1, 50),
    "distillation, digits, 10 images per class, N = 20": partial(distillation, DIGITS, 10, 20),
    "experts, digits": partial(experts, DIGITS, 1347, 4),
    "experts, CIFAR-10": partial(experts, CIFAR10, 512, 1),
    "evaluation, digits, 1 image per class": partial(evaluation, DIGITS, 1, 100),
    "evaluation, CIFAR-10, 1 image per class": partial(evaluation, CIFAR10, 1, 30),
    "growth with N, CIFAR-10, 10 images per class": partial(growth, CIFAR10, 10),
    "growth with N, CIFAR-10, 1 image per class": partial(growth, CIFAR10, 1),
}
