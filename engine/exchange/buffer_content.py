"""What a replay buffer contains, and which faults its trajectories may have.

A trajectory is a list of snapshots, each a list of parameter tensors. Some code keeps a pair of
a trajectory and its accuracies instead.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError
from ddspec.engine.exchange.tensor_file import is_plain, load_tensors

Trajectory = list[list[Tensor]]
Shapes = tuple[tuple[int, ...], ...]


class BrokenTrajectory(DataError):
    """A trajectory that cannot be used, in a file whose other trajectories can be."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint)
        self.problem = problem


def contents(path: Path) -> Iterator[Any]:
    """Yield the trajectories of one file unchecked, without accuracies that come with them."""
    buffer = load_tensors(path)
    if isinstance(buffer, Tensor):
        raise DataError(
            f"{path.name}: it is one tensor of shape {tuple(buffer.shape)}, and no trajectory",
            hint="the images, labels and learning rate of a synthetic set are imported with "
            "--synthetic, --labels and --lr",
        )
    if not isinstance(buffer, list | tuple) or not buffer:
        raise not_a_replay_buffer(path, f"it contains {kind_of(buffer)}, not trajectories")
    if is_snapshots(buffer):
        raise not_a_replay_buffer(path, "it is one trajectory, not a list of them")
    for content in buffer:
        yield content[0] if is_pair(content) else content


def is_snapshots(content: Any) -> bool:
    """Return whether a value begins as a trajectory does: with a list of tensors."""
    return (
        isinstance(content, list | tuple)
        and bool(content)
        and isinstance(content[0], list | tuple)
        and bool(content[0])
        and isinstance(content[0][0], Tensor)
    )


def is_pair(content: Any) -> bool:
    """Return whether a value is a trajectory with its accuracy, or the accuracies of its epochs.

    A snapshot is a list of tensors and never of lists, so the pair is not a trajectory.
    """
    if not isinstance(content, list | tuple) or len(content) != 2 or not is_snapshots(content[0]):
        return False
    values = content[1] if isinstance(content[1], list | tuple) else [content[1]]
    return all(
        isinstance(value, int | float) or (isinstance(value, Tensor) and value.ndim < 2)
        for value in values
    )


def kind_of(content: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(content, list | tuple):
        return "an empty list"
    if isinstance(content, dict):
        return "a dictionary, such as a state dict"
    return f"a value of type {type(content).__name__}"


def checked_trajectory(path: Path, number: int, content: Any) -> Trajectory:
    """Return a trajectory as tensors in float32.

    Raises DataError if it has another form, and BrokenTrajectory if its numbers are unfit.
    """
    if not isinstance(content, list | tuple) or len(content) < 2:
        raise not_a_replay_buffer(
            path, f"trajectory {number} is not a list of two or more snapshots"
        )
    for snapshot in content:
        tensors = snapshot if isinstance(snapshot, list | tuple) else ()
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise not_a_replay_buffer(
                path, f"trajectory {number} has a snapshot that is not a list of tensors"
            )
        if not all(map(is_plain, tensors)):
            raise not_a_replay_buffer(
                path, f"trajectory {number} holds tensors that are not floating-point numbers"
            )
    shapes = shapes_of(content[0])
    if any(shapes_of(snapshot) != shapes for snapshot in content):
        raise BrokenTrajectory("has snapshots that differ in shape")
    check_copies(content)
    # A view may claim any size, but the content of a file is not larger than the file.
    size = sum(tensor.numel() * tensor.element_size() for s in content for tensor in s)
    if size > path.stat().st_size:
        raise not_a_replay_buffer(path, f"trajectory {number} claims to be larger than the file")
    claim(3 * size, f"{path.name}: reading its trajectory {number}")
    trajectory = [[tensor.detach().float() for tensor in snapshot] for snapshot in content]
    if not all(bool(t.isfinite().all()) for snapshot in trajectory for t in snapshot):
        raise BrokenTrajectory("holds numbers that are not finite")
    if all(equal(trajectory[0], snapshot) for snapshot in trajectory[1:]):
        raise BrokenTrajectory(SAME_SNAPSHOTS, CLONE_THEM)
    return trajectory


SAME_SNAPSHOTS = (
    "has the same parameters in all snapshots: on a CPU the field's code keeps one copy of them"
)
CLONE_THEM = "clone the parameters where buffer.py appends a snapshot, and train again"


def check_copies(snapshots: Sequence[Sequence[Tensor]]) -> None:
    """Raise BrokenTrajectory if snapshots are one and the same memory.

    `p.detach().cpu()` of the public code copies nothing on a CPU, so that all snapshots are the
    last one, and torch saves it once.
    """
    addresses = {tuple(tensor.data_ptr() for tensor in snapshot) for snapshot in snapshots}
    if len(addresses) == 1:
        raise BrokenTrajectory(SAME_SNAPSHOTS, CLONE_THEM)
    if len(addresses) < len(snapshots):
        shared = len(snapshots) - len(addresses) + 1
        raise BrokenTrajectory(
            f"has {shared} snapshots that are copies of others: on a CPU the field's code keeps "
            "one copy of the parameters",
            CLONE_THEM,
        )


def equal(snapshot: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether two snapshots have the same numbers."""
    return all(torch.equal(a, b) for a, b in zip(snapshot, other, strict=True))


def shapes_of(snapshot: Sequence[Tensor]) -> Shapes:
    """Return the shapes of a snapshot's tensors."""
    return tuple(tuple(tensor.shape) for tensor in snapshot)


def not_a_replay_buffer(path: Path, problem: str) -> DataError:
    """Return the error for a file that is not a replay buffer."""
    return DataError(
        f"{path.name}: {problem}",
        hint="a replay_buffer_*.pt is a list of trajectories, lists of snapshots, lists of tensors",
    )
