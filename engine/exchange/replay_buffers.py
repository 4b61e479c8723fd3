"""Import of experts that were trained elsewhere, from the field's replay buffers.

A `replay_buffer_*.pt` is a pickled list of trajectories, each a list of snapshots (the
initialisation, then one after each epoch), each a list of parameter tensors. Only tensors are
read; nothing in a file is executed. The set is named by its content, because nothing else is
known about it.
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
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import EpochLog, OptimiserMemory, expert_arrays

Trajectory = list[list[Tensor]]
Shapes = tuple[tuple[int, ...], ...]

UNKNOWN_FACTS = (
    "on which images they were trained, and how those were prepared and augmented",
    "by which optimiser, at which learning rate, with which seeds",
    "how accurate they are",
)
"""Facts that a replay buffer does not contain, for the reader of the import."""


@dataclass(frozen=True)
class Imported:
    """A set of experts in the store."""

    name: str
    """Hash of all parameters, in the order of the files."""
    count: int
    epochs: int
    shapes: Shapes


def import_buffers(paths: Sequence[Path], store: Store) -> Imported:
    """Put the trajectories of some buffers into the store; an existing set is written again.

    Raises DataError if a file is not a replay buffer, or does not fit the first one.
    """
    imported = described(paths)
    preimage, number = imported_preimage(imported.name), 0
    for path in paths:
        for trajectory in trajectories(path):
            theta = np.stack([flatten(snapshot).numpy() for snapshot in trajectory])
            write_expert(store, member_preimage(preimage, number), theta, imported)
            number += 1
    noted = {"count": imported.count, "epochs": imported.epochs, "shapes": imported.shapes}
    store.note(import_note(imported.name), noted)
    return imported


def described(paths: Sequence[Path]) -> Imported:
    """Return name, number, length and shapes of all trajectories."""
    hashes: list[str] = []
    first: tuple[int, Shapes] | None = None
    for path in paths:
        for number, trajectory in enumerate(trajectories(path)):
            shape = checked_shape(path, number, trajectory)
            first = first or shape
            if shape != first:
                raise DataError(
                    f"{path.name}: trajectory {number} has {shape[0]} epochs of tensors "
                    f"{shape[1]}, but the first one has {first[0]} of {first[1]}",
                    hint="all trajectories of a set must be of one network and one length",
                )
            content = hashlib.sha256()
            for snapshot in trajectory:
                content.update(flatten(snapshot).numpy().astype("<f4").tobytes())
            hashes.append(content.hexdigest())
    if first is None:
        raise DataError("these files contain no trajectories")
    epochs, shapes = first
    name = digest({"trajectories": hashes, "shapes": shapes})
    return Imported(name, len(hashes), epochs, shapes)


def trajectories(path: Path) -> Iterator[Trajectory]:
    """Yield the trajectories of one file."""
    buffer = load_tensors(path)
    if not isinstance(buffer, list) or not buffer:
        raise not_a_replay_buffer(path, "it does not contain a list of trajectories")
    size = path.stat().st_size
    for number, trajectory in enumerate(buffer):
        if not isinstance(trajectory, list) or len(trajectory) < 2:
            raise not_a_replay_buffer(
                path, f"trajectory {number} is not a list of two or more snapshots"
            )
        claimed = 0
        for snapshot in trajectory:
            tensors = snapshot if isinstance(snapshot, list | tuple) else ()
            if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
                raise not_a_replay_buffer(
                    path, f"trajectory {number} has a snapshot that is not a list of tensors"
                )
            # A view may claim any size, but the content of a file is not larger than the file.
            claimed += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            if claimed > size:
                raise not_a_replay_buffer(
                    path, f"trajectory {number} claims to be larger than the file"
                )
            if not all(tensor.is_floating_point() and is_dense(tensor) for tensor in tensors):
                raise not_a_replay_buffer(
                    path, f"trajectory {number} holds tensors that are not numbers"
                )
        yield [[tensor.detach().float() for tensor in snapshot] for snapshot in trajectory]


def is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor is dense."""
    return tensor.layout == torch.strided


def load_tensors(path: Path) -> Any:
    """Return the content of a file, if it is nested lists of tensors and nothing else."""
    try:
        mapped = zipfile.is_zipfile(path)
        with warnings.catch_warnings():
            # torch warns about files before it rejects them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # A stranger's bytes can make the reader raise any exception.
        first = str(error).partition("\n")[0][:200]
        raise not_a_replay_buffer(path, f"it contains more than tensors ({first})") from None


def not_a_replay_buffer(path: Path, problem: str) -> DataError:
    """Return the error for a file that is not a replay buffer."""
    return DataError(
        f"{path.name}: {problem}",
        hint="a replay_buffer_*.pt is a list of trajectories, lists of snapshots, lists of tensors",
    )


def checked_shape(path: Path, number: int, trajectory: Trajectory) -> tuple[int, Shapes]:
    """Return epochs and shapes of a trajectory, after checking it."""
    shapes = tuple(tuple(tensor.shape) for tensor in trajectory[0])
    if any(tuple(tuple(tensor.shape) for tensor in snapshot) != shapes for snapshot in trajectory):
        raise not_a_replay_buffer(path, f"the snapshots of trajectory {number} differ in shape")
    flat = [flatten(snapshot) for snapshot in trajectory]
    if not all(bool(tensor.isfinite().all()) for tensor in flat):
        raise not_a_replay_buffer(path, f"trajectory {number} holds numbers that are not finite")
    if all(torch.equal(flat[0], tensor) for tensor in flat[1:]):
        raise not_a_replay_buffer(
            path,
            f"all snapshots of trajectory {number} are the same: on a CPU the field's code keeps "
            "one copy of the parameters",
        )
    return len(trajectory) - 1, shapes


def write_expert(
    store: Store, preimage: dict[str, Any], theta: NDArray[np.float32], imported: Imported
) -> None:
    """Store one trajectory as an expert; unknown values of its log are NaN."""
    sizes = [int(np.prod(shape)) for shape in imported.shapes]
    parts = np.split(np.diff(theta.astype(np.float64), axis=0), np.cumsum(sizes)[:-1], axis=1)
    lengths = np.stack([np.sqrt(np.square(part).sum(axis=1)) for part in parts], axis=1)
    unknown = float("nan")
    log = [EpochLog(unknown, unknown, unknown, row) for row in lengths]
    memory = OptimiserMemory(np.zeros_like(theta[0]))
    arrays = expert_arrays(list(theta.astype(np.float32)), memory, log)
    store.put("expert", preimage, arrays, Provenance())


def import_note(name: str) -> str:
    """Return the name of the store's note on an imported set."""
    return f"imported-{name}"


def check_imported(plan: Plan, store: Store) -> None:
    """Raise StoreError if the experts of a plan were not imported, or do not fit it."""
    if plan.trajectories is None:
        return
    recipe = plan.trajectories.recipe
    experts = recipe.experts
    if experts.imported is None:
        return
    noted = store.noted(import_note(experts.imported))
    if not isinstance(noted, dict):
        raise StoreError(
            f"the experts {experts.imported} are not in this store",
            hint="ddspec import FILES puts them into the store given by --store",
        )
    parameters = sum(int(np.prod(shape)) for shape in noted["shapes"])
    for what, have, want in (
        ("experts", noted["count"], experts.count),
        ("epochs", noted["epochs"], experts.epochs),
    ):
        if have < want:
            raise StoreError(
                f"the imported set {experts.imported} has {have} {what}, "
                f"but the spec asks for {want}",
                hint=f"set experts.{'count' if what == 'experts' else what} to at most {have}",
            )
    if parameters != plan.network_parameters:
        raise StoreError(
            f"the imported experts have {parameters:,} parameters, "
            f"but the network of the spec has {plan.network_parameters:,}",
            hint="[network] and [dataset] must be those that the experts were trained with",
        )
    expected = [list(shape) for shape in flat_network(recipe.network, plan.dataset.facts).shapes]
    if noted["shapes"] != expected:
        raise StoreError(
            f"the imported experts have tensors of shapes {noted['shapes']}, "
            f"but the network of the spec has {expected}",
            hint="the networks differ, although they have equally many parameters",
        )
