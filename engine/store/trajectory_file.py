"""The files that hold an expert's trajectory: their arrays, and how each is read.

| kind | `theta` holds | beside it |
|---|---|---|
| expert | a row per epoch, row 0 the initialisation | optimiser memory, log |
| trajectory, convexified | a row per waypoint | log; `projection`, `end` if the spec needs them |
| trajectory, Bezier curve | start, control point, end | log; `curve_loss` |
| unfinished | the rows of the epochs in `kept`, then the latest | optimiser memory, log |

All snapshots are flat parameter vectors (p,) in float32. The log has a row per epoch:
`train_loss`, `train_accuracy`, `test_accuracy`, and `step_length`, the distance that each
parameter tensor travelled. `curve_loss` is the mean test loss along the curve before and after
the control point was trained; it is empty if that was not trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.plan.steps import ExpertsStep, TrajectoryStep
from ddspec.engine.store.hdf5_file import SNAPSHOTS
from ddspec.engine.store.store import ArtifactKind, Store

Array = NDArray[Any]

LOG = ("train_loss", "train_accuracy", "test_accuracy", "step_length")
"""Names of the log's arrays."""


@dataclass(frozen=True)
class EpochLog:
    """The log of one epoch of training."""

    train_loss: float
    train_accuracy: float
    test_accuracy: float
    step_length: Array
    """Distance travelled by each parameter tensor, float64."""


@dataclass(frozen=True)
class OptimiserMemory:
    """The memory of an expert's optimiser, from which training goes on."""

    velocity: Array
    second: Array | None = None
    """Adam's running mean of squared gradients."""
    steps: int = 0
    """Steps that Adam has taken."""


def trajectory_kind(step: ExpertsStep | TrajectoryStep) -> ArtifactKind:
    """Return the kind of artifact in which a step keeps its trajectories."""
    return "expert" if isinstance(step, ExpertsStep) else "trajectory"


def trajectory_digest(step: ExpertsStep | TrajectoryStep, index: int) -> str:
    """Return the digest of the trajectory of expert `index`; raise KeyError if it has none."""
    return {member.number: member.digest for member in step.members}[index]


def expert_arrays(
    snapshots: Sequence[Array], memory: OptimiserMemory, log: Sequence[EpochLog]
) -> dict[str, Array]:
    """Return the arrays of an expert file; `snapshots` starts with the initialisation."""
    return {SNAPSHOTS: np.stack(snapshots), **memory_arrays(memory), **log_arrays(log)}


def unfinished_arrays(
    kept: Mapping[int, Array], last: Array, memory: OptimiserMemory, log: Sequence[EpochLog]
) -> dict[str, Array]:
    """Return the arrays of an expert in training of which only some snapshots are kept."""
    return {
        SNAPSHOTS: np.stack([*kept.values(), last]),
        "kept": np.array([*kept], dtype=np.int64),
        **memory_arrays(memory),
        **log_arrays(log),
    }


def waypoint_arrays(
    waypoints: Array,
    log: Sequence[EpochLog],
    end: Array | None = None,
    projection: Array | None = None,
) -> dict[str, Array]:
    """Return the arrays of a convexified trajectory (MCT, arXiv:2406.19827).

    `end` is the expert itself if its last waypoint is smoothed; `projection` says where each
    epoch projects onto its segment.
    """
    arrays = {SNAPSHOTS: waypoints}
    if end is not None:
        arrays["end"] = end
    if projection is not None:
        arrays["projection"] = projection
    return {**arrays, **log_arrays(log)}


def curve_arrays(
    points: Sequence[Array], losses: Sequence[float], log: Sequence[EpochLog]
) -> dict[str, Array]:
    """Return the arrays of a Bezier curve: start, control point and end (BTM, arXiv:2510.05805)."""
    curve_loss = np.array(losses, dtype=np.float64)
    return {SNAPSHOTS: np.stack(points), "curve_loss": curve_loss, **log_arrays(log)}


def memory_arrays(memory: OptimiserMemory) -> dict[str, Array]:
    """Return the arrays of an optimiser's memory; only Adam has more than a velocity."""
    arrays = {"velocity": memory.velocity}
    if memory.second is not None:
        arrays |= {"second": memory.second, "steps": np.array(memory.steps)}
    return arrays


def log_arrays(log: Sequence[EpochLog]) -> dict[str, Array]:
    """Return the arrays of a log, a row per epoch."""
    return {name: np.array([getattr(row, name) for row in log], dtype=np.float64) for name in LOG}


def read_memory(file: h5py.File) -> OptimiserMemory:
    """Return the optimiser's memory after the last epoch in the file."""
    if "second" not in file:
        return OptimiserMemory(file["velocity"][()])
    return OptimiserMemory(file["velocity"][()], file["second"][()], int(file["steps"][()]))


def read_log(file: h5py.File, until: int | None = None) -> tuple[EpochLog, ...]:
    """Return the log of the first `until` epochs; of all if None."""
    losses, accuracies, tested, lengths = (file[name][:until] for name in LOG)
    return tuple(
        EpochLog(float(losses[i]), float(accuracies[i]), float(tested[i]), lengths[i])
        for i in range(len(losses))
    )


def read_snapshots(file: h5py.File, epochs: Sequence[int]) -> dict[int, Array]:
    """Return the snapshots of an expert after those epochs."""
    return {epoch: file[SNAPSHOTS][epoch] for epoch in epochs}


def read_kept_snapshots(file: h5py.File) -> tuple[dict[int, Array], Array]:
    """Return the kept snapshots of an unfinished expert by epoch, and the latest snapshot."""
    theta = file[SNAPSHOTS]
    kept = {int(epoch): theta[row] for row, epoch in enumerate(file["kept"][()])}
    return kept, theta[-1]


def read_end(file: h5py.File, step: ExpertsStep | TrajectoryStep) -> Array:
    """Return the expert after its last epoch, from either kind of trajectory."""
    if isinstance(step, ExpertsStep):
        return np.asarray(file[SNAPSHOTS][step.recipe.experts.epochs])
    # The last row is the expert itself unless waypoints are smoothed.
    return np.asarray(file["end"][()] if "end" in file else file[SNAPSHOTS][-1])


def expert_epochs(store: Store, digest: str) -> int:
    """Return the number of epochs of a stored expert; -1 if it is not in the store."""
    if not store.has("expert", digest):
        return -1
    with store.open("expert", digest) as file:
        return int(file[SNAPSHOTS].shape[0]) - 1


def expert_is_whole(store: Store, step: ExpertsStep | TrajectoryStep, index: int) -> bool:
    """Return whether expert `index` of a plan has run to its last epoch."""
    if all(member.number != index for member in step.members):
        return False
    digest = trajectory_digest(step, index)
    if isinstance(step, TrajectoryStep):
        return store.has("trajectory", digest)
    return expert_epochs(store, digest) >= step.recipe.experts.epochs


def stored_bytes(file: h5py.File, snapshots: int | None = None) -> int:
    """Return the bytes of the first `snapshots` rows.

    If `snapshots` is None, return those of all models on a path with their constants.
    """
    if snapshots is not None:
        return int(file[SNAPSHOTS][:snapshots].nbytes)
    constants = [name for name in ("step_length", "projection") if name in file]
    return int(file[SNAPSHOTS].nbytes) + sum(int(file[name].nbytes) for name in constants)
