"""The outer loop: unroll a student from a window's start, and move the images by the gradient.

A kept iteration is an artifact of its own. It holds the synthetic set, the state of both
optimisers and the series from the first iteration on, so that the loop goes on from any of them;
how long it runs is no part of a name. Between kept iterations the state is saved now and then in
one file of its own, which goes when the last kept iteration is there.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.digest import digest
from ddspec.dsl.plan import (
    DistillStep,
    ExpertsStep,
    InitialiseStep,
    TrajectoryStep,
    member_preimage,
)
from ddspec.dsl.terms import OuterGradient
from ddspec.engine.artifacts import SERIES, unfinished
from ddspec.engine.augment import augment, draw
from ddspec.engine.bench import Bench
from ddspec.engine.control import Diverged, Progress
from ddspec.engine.descent import Descent, Iterate
from ddspec.engine.matching import loss_and_gradient
from ddspec.engine.networks import FlatNetwork, flat_network
from ddspec.engine.seeds import stream
from ddspec.engine.store import ArtifactKind, Provenance, Store
from ddspec.engine.trajectories import Window, Windows
from ddspec.engine.unroll import InnerLoss, adjoint, unroll


@dataclass(frozen=True)
class DistillState:
    """The synthetic set after some iterations, with all that the next one needs."""

    images: Iterate
    labels: Tensor
    student_lr: Iterate
    series: dict[str, tuple[float, ...]]
    made: Provenance

    @property
    def iteration(self) -> int:
        """Updates made so far."""
        return len(self.series["matching_loss"])


def distill(
    step: DistillStep, initial: InitialiseStep, source: ExpertsStep | TrajectoryStep, bench: Bench
) -> None:
    """Make the synthetic set of every kept iteration.

    Stopped at any moment and called again, it ends with the numbers of one that was never
    stopped. Raises Diverged where a number ran away; the sets before that are kept.
    """
    store, net = bench.store, flat_network(step.network, bench.facts)
    wanted = [member.number for member in step.members if not store.has("synthetic", member.digest)]
    if not wanted:
        return
    state = latest(step, initial, bench, at_most=wanted[0])
    with Windows(step, source, net, bench) as windows:
        for target in wanted:
            while state.iteration < target:
                if bench.control.save_due():
                    save_between(state, step, store)
                    bench.control.saved()
                try:
                    state = update(state, step, windows.draw(state.iteration), net)
                except Diverged:
                    save_between(state, step, store)
                    raise
                report(state, step, bench)
            save(state, step, store, "synthetic")
    if iteration_between(step, store) <= state.iteration:
        store.remove("unfinished", digest(unfinished(step)))
    bench.control.leave_if_stopped()


def iteration_between(step: DistillStep, store: Store) -> int:
    """Iteration of the state that is saved between kept ones; -1 where there is none."""
    name = digest(unfinished(step))
    if not store.has("unfinished", name):
        return -1
    with store.open("unfinished", name) as file:
        return len(file["series_expert"])


def save_between(state: DistillState, step: DistillStep, store: Store) -> None:
    """Save a state between kept iterations, unless one that is further was left by a longer run."""
    if iteration_between(step, store) <= state.iteration:
        save(state, step, store, "unfinished")


def report(state: DistillState, step: DistillStep, bench: Bench) -> None:
    """Tell how far the loop is."""
    figures = {"matching loss": state.series["matching_loss"][-1]}
    last = step.members[-1].number
    bench.control.report(Progress(step.id, state.iteration, last, figures))


def update(
    state: DistillState, step: DistillStep, window: Window, net: FlatNetwork
) -> DistillState:
    """One iteration: a student's walk, the exact gradient, a step of images and student_lr."""
    began = time.monotonic()
    matching, synthetic, iteration = step.matching, step.synthetic, state.iteration
    loss = student_loss(step, iteration, state.labels, net)
    images, student_lr = state.images.value, state.student_lr.value
    path = unroll(loss, window.start, images, student_lr, matching.syn_steps)
    distance, cotangent = loss_and_gradient(path[-1], window.target, window.start)
    gradient_of = outer_gradient(matching.gradient)
    by_images, by_rate = gradient_of(loss, path, images, student_lr, cotangent)

    pixels = Descent(synthetic.images.lr, synthetic.images.momentum)
    rate = Descent(synthetic.student_lr.lr, synthetic.student_lr.momentum)
    next_images = state.images.step(by_images, pixels)
    next_rate = state.student_lr.step(by_rate, rate)
    figures = (
        float(distance),
        float(next_rate.value),
        float(by_images.norm()),
        float(window.epoch),
        float(window.expert),
    )
    refuse_runaway(iteration, *figures[:3])
    return DistillState(
        next_images,
        state.labels,
        next_rate,
        {name: (*state.series[name], value) for name, value in zip(SERIES, figures, strict=True)},
        state.made.then(step.route, time.monotonic() - began),
    )


def outer_gradient(name: OuterGradient) -> Callable[..., tuple[Tensor, Tensor]]:
    """How the gradient by images and student_lr is computed."""
    match name:
        case "exact":
            return adjoint
        case _:
            assert_never(name)


def student_loss(step: DistillStep, iteration: int, labels: Tensor, net: FlatNetwork) -> InnerLoss:
    """Cross-entropy of each student step on its own batch, with its own augmentation."""
    matching = step.matching
    generator = stream(step.seed, "distill", iteration, "steps")
    batches = student_batches(len(labels), matching.batch_syn, matching.syn_steps, generator)
    draws = [draw(step.augmentation.families, len(batch), generator) for batch in batches]
    places = [batch.to(labels.device) for batch in batches]

    def loss(i: int, theta: Tensor, images: Tensor) -> Tensor:
        batch = places[i]
        return F.cross_entropy(net(theta, augment(images[batch], draws[i])), labels[batch])

    return loss


def student_batches(
    count: int, batch: int | None, steps: int, generator: torch.Generator
) -> list[Tensor]:
    """Which synthetic images each step takes.

    A random order is cut into batches; when it is used up a new one is drawn. The smaller rest
    comes first, because MTT's code takes the pieces from the end.
    """
    pieces: list[Tensor] = []
    batches = []
    for _ in range(steps):
        if not pieces:
            pieces = list(torch.randperm(count, generator=generator).split(batch or count))
        batches.append(pieces.pop())
    return batches


def refuse_runaway(iteration: int, distance: float, student_lr: float, norm: float) -> None:
    """Raise Diverged where an update would leave the state without meaning."""
    if not (math.isfinite(distance) and math.isfinite(norm)):
        raise Diverged(
            cause="the matching loss or its gradient is no finite number",
            advice="lower synthetic.images.lr, synthetic.student_lr.init or matching.syn_steps",
            at=iteration,
        )
    if not (math.isfinite(student_lr) and student_lr > 0):
        raise Diverged(
            cause=f"the learned student_lr became {student_lr:.3g}",
            advice="lower synthetic.student_lr.lr",
            at=iteration,
        )


def latest(step: DistillStep, initial: InitialiseStep, bench: Bench, at_most: int) -> DistillState:
    """The furthest saved state that is not past an iteration; the initial set if there is none."""
    store, device = bench.store, bench.device
    candidates: list[tuple[ArtifactKind, str]] = [
        ("synthetic", member.digest) for member in reversed(step.members) if member.number < at_most
    ]
    found = next((place for place in candidates if store.has(*place)), None)
    state = load(store, *found, device) if found else begin(step, initial, bench)
    if state.iteration < iteration_between(step, store) <= at_most:
        return load(store, "unfinished", digest(unfinished(step)), device)
    return state


def begin(step: DistillStep, initial: InitialiseStep, bench: Bench) -> DistillState:
    """The state before the first iteration."""
    with bench.store.open("synthetic", initial.digest) as file:
        images = torch.from_numpy(file["images"][()]).to(bench.device)
        labels = torch.from_numpy(file["labels"][()]).to(bench.device)
    rate = torch.tensor(step.synthetic.student_lr.init, device=bench.device)
    series: dict[str, tuple[float, ...]] = {name: () for name in SERIES}
    return DistillState(
        Iterate.at_rest(images), labels, Iterate.at_rest(rate), series, Provenance()
    )


def load(store: Store, kind: ArtifactKind, name: str, device: torch.device) -> DistillState:
    """A saved state."""
    with store.open(kind, name) as file:

        def tensor(key: str) -> Tensor:
            return torch.from_numpy(np.asarray(file[key][()])).to(device)

        return DistillState(
            Iterate(tensor("images"), tensor("images_velocity")),
            tensor("labels"),
            Iterate(tensor("student_lr"), tensor("student_lr_velocity")),
            {name: tuple(map(float, file[f"series_{name}"][()])) for name in SERIES},
            Provenance.of(file),
        )


def save(state: DistillState, step: DistillStep, store: Store, kind: ArtifactKind) -> None:
    """Write a state: under its iteration where that is kept, else as unfinished."""
    tensors = {
        "images": state.images.value,
        "images_velocity": state.images.velocity,
        "labels": state.labels,
        "student_lr": state.student_lr.value,
        "student_lr_velocity": state.student_lr.velocity,
    }
    arrays: dict[str, NDArray[Any]] = {k: t.cpu().numpy() for k, t in tensors.items()}
    for name, values in state.series.items():
        arrays[f"series_{name}"] = np.array(values, dtype=np.float64)
    kept = member_preimage(step.preimage, state.iteration)
    preimage = unfinished(step) if kind == "unfinished" else kept
    store.put(kind, preimage, arrays, state.made)
