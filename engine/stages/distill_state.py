"""The state of a distillation: the synthetic set, the optimisers' memory, and the series.

Each kept iteration is an artifact that holds all of this, so that the loop can go on from it:
`images` and `labels` as networks are to be trained on them, `student_lr`, the optimisers' memory,
and series with one number per iteration. If a moving average is kept, `images` holds the average
and `images_learned` the images themselves. What is learned of labels, logits or the labels
themselves, is in `label_logits`. The networks that kernel regression trains beside the set are in
the checkpoint alone, as `pool_parameters` and further arrays.
"""

import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import DistillStep, InitialiseStep, member_preimage
from ddspec.dsl.record.series import SERIES
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.engine.machine.environment import environment
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.artifacts import unfinished_preimage
from ddspec.engine.store.hdf5_file import read_series, read_text_attribute
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import ArtifactKind, Store
from ddspec.engine.training.optimisers import OptimiserState


@dataclass(frozen=True)
class PoolNetwork:
    """A network that is trained on the synthetic set while the set is learned."""

    parameters: OptimiserState
    age: int
    """Training steps since it was fresh, plus that with which it began."""


@dataclass(frozen=True)
class DistillState:
    """The synthetic set after some iterations, with everything that the next one needs."""

    images: OptimiserState
    average: Tensor | None
    """Moving average of the images, if one is kept."""
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""
    learned_labels: OptimiserState | None
    """What is learned of the labels, such as their logits; None unless labels are learned."""
    student_lr: OptimiserState
    iteration: int
    """Number of iterations so far."""
    series: dict[str, tuple[float, ...]]
    """One number per iteration, by name."""
    carried: dict[str, float]
    """What the objective carries from one iteration to the next, by name."""
    made: Provenance
    class_losses: Tensor | None = None
    """The part of each class (classes,) in the loss of the last iteration, if classes are
    compared."""
    pool: tuple[PoolNetwork, ...] = ()
    """Networks in training, if the objective keeps any; none before the first iteration."""


def initial_state(
    step: DistillStep, initial: InitialiseStep, context: StageContext
) -> DistillState:
    """Return the state before the first iteration."""
    with context.store.open("synthetic", initial.digest) as file:
        images = read_tensor(file, "images", context.device)
        labels = read_tensor(file, "labels", context.device)
        logits = (
            read_tensor(file, "label_logits", context.device) if "label_logits" in file else None
        )
        own_rate = float(file["student_lr"][()]) if "student_lr" in file else None
    first_rate = step.synthetic.student_lr.init if own_rate is None else own_rate
    rate = torch.tensor(first_rate, device=context.device)
    return DistillState(
        images=OptimiserState.without_memory(images),
        # The average starts from the initial images, so it needs no correction for a start at zero.
        average=images if step.synthetic.images.moving_average is not None else None,
        labels=labels,
        learned_labels=None if logits is None else OptimiserState.without_memory(logits),
        student_lr=OptimiserState.without_memory(rate),
        iteration=0,
        series={name: () for name in SERIES},
        carried={},
        # Copying the initial set costs nothing, but it is done by this machine.
        made=Provenance(environments=(environment(step.route.device),)),
    )


def latest_state(
    step: DistillStep, initial: InitialiseStep, context: StageContext, at_most: int
) -> DistillState:
    """Return the latest saved state up to iteration `at_most`; the initial one if none is saved."""
    store, device = context.store, context.device
    if isinstance(step.matching, Kernel):
        return latest_with_pool(step, initial, context, at_most)
    candidates: list[tuple[ArtifactKind, str]] = [
        ("synthetic", member.digest) for member in reversed(step.members) if member.number < at_most
    ]
    saved = next((artifact for artifact in candidates if store.has(*artifact)), None)
    state = load_state(store, *saved, device) if saved else initial_state(step, initial, context)
    # A checkpoint past `at_most` was left by a run that kept other iterations.
    if state.iteration < checkpoint_iteration(step, store) <= at_most:
        return load_state(store, "unfinished", digest(unfinished_preimage(step.preimage)), device)
    return state


def latest_with_pool(
    step: DistillStep, initial: InitialiseStep, context: StageContext, at_most: int
) -> DistillState:
    """Return the latest state that has its networks: the checkpoint, or else the initial one."""
    if 0 < checkpoint_iteration(step, context.store) <= at_most:
        name = digest(unfinished_preimage(step.preimage))
        return load_state(context.store, "unfinished", name, context.device)
    return initial_state(step, initial, context)


def checkpoint_iteration(step: DistillStep, store: Store) -> int:
    """Return the iteration of the checkpoint between kept iterations; -1 without one."""
    name = digest(unfinished_preimage(step.preimage))
    if not store.has("unfinished", name):
        return -1
    with store.open("unfinished", name) as file:
        return stored_iteration(file)


def stored_iteration(file: h5py.File) -> int:
    """Return the iteration of a saved state, which ddspec 0.1.0 told by its series alone."""
    return int(file.attrs.get("iteration", len(file["series_expert"])))


def stored_carried(file: h5py.File) -> dict[str, float]:
    """Return what a saved state carries; that of ddspec 0.1.0 is the last start epoch."""
    if "carried" in file.attrs:
        carried: dict[str, float] = json.loads(read_text_attribute(file, "carried"))
        return carried
    starts = file["series_start_epoch"][()]
    return {"start_epoch": float(starts[-1])} if len(starts) else {}


def read_tensor(file: h5py.File, key: str, device: torch.device) -> Tensor:
    """Return an array of an artifact as a tensor on the device."""
    return torch.from_numpy(np.asarray(file[key][()])).to(device)


def read_optimiser_state(
    file: h5py.File, key: str, device: torch.device, value: str = ""
) -> OptimiserState:
    """Return a learned tensor with its velocity."""
    return OptimiserState(
        read_tensor(file, value or key, device),
        read_tensor(file, f"{key}_velocity", device),
        read_optional(file, f"{key}_second", device),
        int(file.attrs.get(f"{key}_steps", 0)),
    )


def read_optional(file: h5py.File, key: str, device: torch.device) -> Tensor | None:
    """Return an array that only some states have."""
    return read_tensor(file, key, device) if key in file else None


def load_state(store: Store, kind: ArtifactKind, name: str, device: torch.device) -> DistillState:
    """Return a saved state."""
    with store.open(kind, name) as file:
        averaged, soft = "images_learned" in file, "label_logits" in file
        learned = "images_learned" if averaged else "images"
        return DistillState(
            images=read_optimiser_state(file, "images", device, learned),
            average=read_tensor(file, "images", device) if averaged else None,
            labels=read_tensor(file, "labels", device),
            learned_labels=read_optimiser_state(file, "label_logits", device) if soft else None,
            student_lr=read_optimiser_state(file, "student_lr", device),
            iteration=stored_iteration(file),
            series={name: read_series(file, name) for name in SERIES},
            carried=stored_carried(file),
            made=Provenance.of(file),
            class_losses=read_optional(file, "class_losses", device),
            pool=read_pool(file, device),
        )


def read_pool(file: h5py.File, device: torch.device) -> tuple[PoolNetwork, ...]:
    """Return the networks in training of a checkpoint; none if it has none."""
    if "pool_ages" not in file:
        return ()
    parts = (read_tensor(file, f"pool_{name}", device) for name in POOL_VECTORS)
    return tuple(
        PoolNetwork(OptimiserState(value, velocity, second, int(steps)), int(age))
        for value, velocity, second, steps, age in zip(
            *parts, file["pool_steps"][()], file["pool_ages"][()], strict=True
        )
    )


POOL_VECTORS = ("parameters", "velocity", "second")
"""Vectors of every network in training, in rows."""


def pool_arrays(pool: tuple[PoolNetwork, ...]) -> dict[str, NDArray[Any]]:
    """Return the networks in training as arrays with a row each."""
    states = [network.parameters for network in pool]
    vectors = {
        "parameters": [state.value for state in states],
        "velocity": [state.velocity for state in states],
        # Zero before the first step, as Adam takes it then.
        "second": [
            torch.zeros_like(state.value) if state.second is None else state.second
            for state in states
        ],
    }
    return {
        **{f"pool_{name}": torch.stack(rows).cpu().numpy() for name, rows in vectors.items()},
        "pool_steps": np.array([state.steps for state in states], dtype=np.int64),
        "pool_ages": np.array([network.age for network in pool], dtype=np.int64),
    }


def save_state(state: DistillState, step: DistillStep, store: Store, kind: ArtifactKind) -> None:
    """Save a state: as the synthetic set of its iteration, or as the unfinished checkpoint."""
    tensors = {
        "images": state.images.value if state.average is None else state.average,
        "images_velocity": state.images.velocity,
        "labels": state.labels,
        "student_lr": state.student_lr.value,
        "student_lr_velocity": state.student_lr.velocity,
    }
    if state.average is not None:
        tensors["images_learned"] = state.images.value
    if state.learned_labels is not None:
        tensors["label_logits"] = state.learned_labels.value
        tensors["label_logits_velocity"] = state.learned_labels.velocity
    learned = {"images": state.images, "label_logits": state.learned_labels}
    for name, optimiser in learned.items():
        if optimiser is not None and optimiser.second is not None:
            tensors[f"{name}_second"] = optimiser.second
    if state.class_losses is not None:
        tensors["class_losses"] = state.class_losses
    arrays: dict[str, NDArray[Any]] = {k: t.cpu().numpy() for k, t in tensors.items()}
    if state.pool and kind == "unfinished":
        # Many times as large as the set: a kept set goes without, and is resumed before.
        arrays |= pool_arrays(state.pool)
    for name, values in state.series.items():
        arrays[f"series_{name}"] = np.array(values, dtype=np.float64)
    kept = member_preimage(step.preimage, state.iteration)
    preimage = unfinished_preimage(step.preimage) if kind == "unfinished" else kept
    attributes = {"iteration": state.iteration, "carried": json.dumps(state.carried)}
    for name, optimiser in learned.items():
        if optimiser is not None and optimiser.steps:
            attributes[f"{name}_steps"] = optimiser.steps
    store.put(kind, preimage, arrays, state.made, attributes)
