"""Import of experts that were trained elsewhere, from the field's replay buffers.

A `replay_buffer_*.pt` is a pickled list of trajectories, each a list of snapshots (the
initialisation, then one after each epoch), each a list of parameter tensors. Only tensors are
read; nothing in a file is executed. The set is named by its content, because nothing else is
known about it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import DataError, StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.step_maker import imported_preimage
from ddspec.dsl.plan.steps import Plan, member_preimage
from ddspec.engine.exchange.buffer_content import (
    BrokenTrajectory,
    Shapes,
    checked_trajectory,
    contents,
    shapes_of,
)
from ddspec.engine.networks.flat_network import flat_network, flatten
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import EpochLog, OptimiserMemory, expert_arrays

UNKNOWN_FACTS = (
    "on which images they were trained, and how those were prepared and augmented",
    "by which optimiser, at which learning rate, with which seeds",
    "how accurate they are",
)
"""Facts that a replay buffer does not contain, for the reader of the import."""


@dataclass(frozen=True)
class LeftOut:
    """A broken trajectory that is not imported."""

    file: str
    number: int
    """Its index in the file."""
    problem: str


@dataclass(frozen=True)
class Imported:
    """A set of experts in the store."""

    name: str
    """Hash of all parameters, in the order of the files."""
    count: int
    epochs: int
    shapes: Shapes
    left_out: tuple[LeftOut, ...] = ()


def import_buffers(paths: Sequence[Path], store: Store, *, skip_broken: bool = False) -> Imported:
    """Put the trajectories of some buffers into the store; an existing set is written again.

    Files whose names differ in a number are taken in its order, so that a set has one name in
    whatever order a shell lists them. Raises DataError if a file is not a replay buffer, does not
    fit the first one, or has a broken trajectory, unless `skip_broken` leaves those out.
    """
    ordered = in_order(paths)
    imported = described(ordered, skip_broken)
    preimage, number = imported_preimage(imported.name), 0
    broken = {(left.file, left.number) for left in imported.left_out}
    for path in ordered:
        for index, content in enumerate(contents(path)):
            if (path.name, index) in broken:
                continue
            trajectory = checked_trajectory(path, index, content)
            theta = np.stack([flatten(snapshot).numpy() for snapshot in trajectory])
            write_expert(store, member_preimage(preimage, number), theta, imported)
            number += 1
    noted: dict[str, Any] = {
        "count": imported.count,
        "epochs": imported.epochs,
        "shapes": imported.shapes,
    }
    if imported.left_out:
        noted["left_out"] = [asdict(left) for left in imported.left_out]
    store.note(import_note(imported.name), noted)
    return imported


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Return files folder by folder, those of names that differ in one number by that number.

    Other files of a folder keep their order.
    """
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    ordered = []
    for members in folders.values():
        parts = [LAST_NUMBER.fullmatch(path.name) for path in members]
        texts = {(part["before"], part["after"]) for part in parts if part}
        if all(parts) and len(texts) == 1:
            members = sorted(members, key=number_of)
        ordered += members
    return ordered


LAST_NUMBER = re.compile(r"(?P<before>.*?)(?P<number>[0-9]{1,18})(?P<after>[^0-9]*)", re.DOTALL)
"""The last number in a file's name, as in replay_buffer_10.pt."""


def number_of(path: Path) -> int:
    """Return the last number in a file's name; -1 if it has none."""
    match = LAST_NUMBER.fullmatch(path.name)
    return int(match["number"]) if match else -1


def described(paths: Sequence[Path], skip_broken: bool = False) -> Imported:
    """Return name, number, length and shapes of all trajectories."""
    hashes: list[str] = []
    left_out: list[LeftOut] = []
    first: tuple[int, Shapes] | None = None
    for path in paths:
        for number, content in enumerate(contents(path)):
            try:
                trajectory = checked_trajectory(path, number, content)
            except BrokenTrajectory as error:
                if not skip_broken:
                    raise broken_trajectory(path, number, error) from None
                left_out.append(LeftOut(path.name, number, error.problem))
                continue
            shape = (len(trajectory) - 1, shapes_of(trajectory[0]))
            first = first or shape
            if shape != first:
                raise DataError(
                    f"{path.name}: trajectory {number} has {shape[0]} epochs of tensors "
                    f"{shape[1]}, but the first one has {first[0]} of {first[1]}",
                    hint="all trajectories of a set must be of one network and one length",
                )
            hashed = hashlib.sha256()
            for snapshot in trajectory:
                hashed.update(flatten(snapshot).numpy().astype("<f4").tobytes())
            hashes.append(hashed.hexdigest())
    if first is None:
        if left_out:
            problem = f"all {len(left_out)} trajectories are broken; the first one"
            raise DataError(f"{problem} {left_out[0].problem}")
        raise DataError("these files contain no trajectories")
    epochs, shapes = first
    name = digest({"trajectories": hashes, "shapes": shapes})
    return Imported(name, len(hashes), epochs, shapes, tuple(left_out))


def broken_trajectory(path: Path, number: int, error: BrokenTrajectory) -> DataError:
    """Return the error for a broken trajectory that is not to be left out."""
    hint = "--skip-broken imports the other trajectories"
    return DataError(
        f"{path.name}: trajectory {number} {error.problem}",
        hint=f"{error.hint}; {hint}" if error.hint else hint,
    )


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
