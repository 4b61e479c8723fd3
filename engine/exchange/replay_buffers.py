"""Experts that were trained elsewhere: the field's replay buffers, as artifacts of this store.

A `replay_buffer_*.pt` is a pickled list of trajectories, each a list of snapshots (the
initialisation, then one after each epoch), each a list of parameter tensors. Only tensors are
read; nothing in a file is executed. The set is named by its content: nothing else is known of it.
"""

import hashlib
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.diagnostics import DataError, StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.step_maker import imported_preimage
from ddspec.dsl.plan.steps import Plan, member_preimage
from ddspec.engine.networks.flat_network import flat_network, flatten
from ddspec.engine.store.store import Provenance, Store
from ddspec.engine.store.trajectory_file import EpochLog, OptimiserMemory, expert_arrays

Trajectory = list[list[Tensor]]
Shapes = tuple[tuple[int, ...], ...]

UNKNOWN = (
    "on which images they were trained, and how those were prepared and augmented",
    "by which optimiser, at which rate, with which seeds",
    "how accurate they are",
)
"""What a buffer does not say."""


@dataclass(frozen=True)
class Imported:
    """A set of experts in the store."""

    name: str
    """Hash of all parameters, in the order of the files."""
    count: int
    epochs: int
    shapes: Shapes


def import_buffers(paths: Sequence[Path], store: Store) -> Imported:
    """Put the trajectories of some buffers into the store; a set that is there is written again.

    Raises DataError if a file is not a replay buffer, or does not fit the first one.
    """
    found = described(paths)
    preimage, number = imported_preimage(found.name), 0
    for path in paths:
        for trajectory in trajectories(path):
            theta = np.stack([flatten(snapshot).numpy() for snapshot in trajectory])
            write_expert(store, member_preimage(preimage, number), theta, found)
            number += 1
    noted = {"count": found.count, "epochs": found.epochs, "shapes": found.shapes}
    store.note(import_note(found.name), noted)
    return found


def described(paths: Sequence[Path]) -> Imported:
    """Name, number, length and shapes of all trajectories."""
    hashes: list[str] = []
    first: tuple[int, Shapes] | None = None
    for path in paths:
        for number, trajectory in enumerate(trajectories(path)):
            shape = checked_shape(path, number, trajectory)
            first = first or shape
            if shape != first:
                raise DataError(
                    f"{path.name}: trajectory {number} has {shape[0]} epochs of tensors "
                    f"{shape[1]}, the first one {first[0]} of {first[1]}",
                    hint="a set has trajectories of one network and one length",
                )
            content = hashlib.sha256()
            for snapshot in trajectory:
                content.update(flatten(snapshot).numpy().astype("<f4").tobytes())
            hashes.append(content.hexdigest())
    if first is None:
        raise DataError("these files hold no trajectory")
    epochs, shapes = first
    name = digest({"trajectories": hashes, "shapes": shapes})
    return Imported(name, len(hashes), epochs, shapes)


def trajectories(path: Path) -> Iterator[Trajectory]:
    """The trajectories of one file."""
    buffer = load_tensors(path)
    if not isinstance(buffer, list) or not buffer:
        raise not_a_replay_buffer(path, "it holds no list of trajectories")
    size = path.stat().st_size
    for number, trajectory in enumerate(buffer):
        if not isinstance(trajectory, list) or len(trajectory) < 2:
            raise not_a_replay_buffer(
                path, f"trajectory {number} is not a list of two or more snapshots"
            )
        claimed = 0
        for snapshot in trajectory:
            tensors = snapshot if isinstance(snapshot, list | tuple) else ()
            if not tensors or not all(isinstance(one, Tensor) for one in tensors):
                raise not_a_replay_buffer(
                    path, f"trajectory {number} has a snapshot that is not a list of tensors"
                )
            # A view may claim any size; what a file holds is no larger than the file.
            claimed += sum(one.numel() * one.element_size() for one in tensors)
            if claimed > size:
                raise not_a_replay_buffer(
                    path, f"trajectory {number} claims more than the file has"
                )
            if not all(one.is_floating_point() and is_dense(one) for one in tensors):
                raise not_a_replay_buffer(
                    path, f"trajectory {number} holds tensors that are not numbers"
                )
        yield [[one.detach().float() for one in snapshot] for snapshot in trajectory]


def is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor is dense."""
    return tensor.layout == torch.strided


def load_tensors(path: Path) -> Any:
    """What a file holds, if it is tensors in lists and nothing else."""
    try:
        mapped = zipfile.is_zipfile(path)
        with warnings.catch_warnings():
            # torch warns about files before it rejects them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # A stranger's bytes make the reader raise whatever there is.
        first = str(error).partition("\n")[0][:200]
        raise not_a_replay_buffer(path, f"it does not hold tensors alone ({first})") from None


def not_a_replay_buffer(path: Path, problem: str) -> DataError:
    """Return the error for a file that is not a replay buffer."""
    return DataError(
        f"{path.name}: {problem}",
        hint="a replay_buffer_*.pt is a list of trajectories, lists of snapshots, lists of tensors",
    )


def checked_shape(path: Path, number: int, trajectory: Trajectory) -> tuple[int, Shapes]:
    """Epochs and shapes of a trajectory, after seeing that it is one."""
    shapes = tuple(tuple(one.shape) for one in trajectory[0])
    if any(tuple(tuple(one.shape) for one in snapshot) != shapes for snapshot in trajectory):
        raise not_a_replay_buffer(path, f"snapshots of trajectory {number} are of unequal shapes")
    flat = [flatten(snapshot) for snapshot in trajectory]
    if not all(bool(one.isfinite().all()) for one in flat):
        raise not_a_replay_buffer(path, f"trajectory {number} holds numbers that are not finite")
    if all(torch.equal(flat[0], one) for one in flat[1:]):
        raise not_a_replay_buffer(
            path,
            f"all snapshots of trajectory {number} are the same: on a CPU the field's code keeps "
            "one copy of the parameters",
        )
    return len(trajectory) - 1, shapes


def write_expert(
    store: Store, preimage: dict[str, Any], theta: NDArray[np.float32], found: Imported
) -> None:
    """One trajectory as an expert; what is not known of it stands there as no number."""
    sizes = [int(np.prod(shape)) for shape in found.shapes]
    parts = np.split(np.diff(theta.astype(np.float64), axis=0), np.cumsum(sizes)[:-1], axis=1)
    lengths = np.stack([np.sqrt(np.square(part).sum(axis=1)) for part in parts], axis=1)
    unknown = float("nan")
    log = [EpochLog(unknown, unknown, unknown, row) for row in lengths]
    memory = OptimiserMemory(np.zeros_like(theta[0]))
    arrays = expert_arrays(list(theta.astype(np.float32)), memory, log)
    store.put("expert", preimage, arrays, Provenance())


def import_note(name: str) -> str:
    """Where the store notes what an imported set is."""
    return f"imported-{name}"


def check_imported(plan: Plan, store: Store) -> None:
    """Raise StoreError where the experts that a plan asks for were not imported, or do not fit."""
    experts = plan.trajectories.recipe.experts
    if experts.imported is None:
        return
    noted = store.noted(import_note(experts.imported))
    if not isinstance(noted, dict):
        raise StoreError(
            f"the experts {experts.imported} are not in this store",
            hint="ddspec import FILES puts them there, with the same --store",
        )
    parameters = sum(int(np.prod(shape)) for shape in noted["shapes"])
    for what, have, want in (
        ("experts", noted["count"], experts.count),
        ("epochs", noted["epochs"], experts.epochs),
    ):
        if have < want:
            raise StoreError(
                f"the imported set {experts.imported} has {have} {what}, {want} are asked for",
                hint=f"experts.{'count' if what == 'experts' else what} = {have} at most",
            )
    if parameters != plan.network_parameters:
        raise StoreError(
            f"the imported experts have {parameters:,} parameters, the network of the spec "
            f"{plan.network_parameters:,}",
            hint="[network] and [dataset] are to be those that they were trained with",
        )
    recipe = plan.trajectories.recipe
    own = [list(shape) for shape in flat_network(recipe.network, plan.dataset.facts).shapes]
    if noted["shapes"] != own:
        raise StoreError(
            f"the imported experts have tensors {noted['shapes']}, the network of the spec {own}",
            hint="as many parameters, but of another network",
        )
