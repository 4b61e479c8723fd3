"""Stored artifacts: all of them, the damaged ones, and those that no run uses any more."""

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from ddspec.dsl.atomic_write import remove_if_abandoned, remove_leftovers_in
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.digest import DIGEST
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.file_names import PLAN_JSON, RECORD_JSON, WRITTEN_FOLDERS
from ddspec.dsl.regular_file import read_regular_file
from ddspec.dsl.spec.synthetic import Imported
from ddspec.engine.maintenance.integrity import damage_in
from ddspec.engine.store.artifacts import artifact_names, unfinished_digests
from ddspec.engine.store.kept_plans import KeptPlan, kept_plans, plan_name
from ddspec.engine.store.store import ArtifactKind, Store

KINDS: tuple[ArtifactKind, ...] = get_args(ArtifactKind)
DAY_SECONDS = 86400.0


@dataclass(frozen=True)
class StoredArtifact:
    """One artifact on disk."""

    kind: ArtifactKind
    digest: str
    path: Path
    bytes: int
    age_seconds: float
    """Seconds since the file was last written."""


def stored_artifacts(store: Store) -> Iterator[StoredArtifact]:
    """Yield every artifact of a store, by kind and digest."""
    now = time.time()
    for kind in KINDS:
        folder = store.root / kind
        for path in sorted(folder.glob("*.h5")) if folder.is_dir() else ():
            if re.fullmatch(DIGEST, path.stem):
                status = path.stat()
                yield StoredArtifact(kind, path.stem, path, status.st_size, now - status.st_mtime)


def damaged_artifacts(store: Store) -> Iterator[tuple[StoredArtifact, str]]:
    """Read every artifact; yield it with its damage, an empty text if there is none."""
    for artifact in stored_artifacts(store):
        yield artifact, damage_in(store, artifact.kind, artifact.digest)


def used_digests(folders: Sequence[Path]) -> set[str]:
    """Return the digests of all artifacts that the plans of these run folders name.

    Raises RecordError if a plan cannot be read, because its artifacts would count as unused.
    """
    digests: set[str] = set()
    for folder in folders:
        try:
            plan = Plan.model_validate_json(read_regular_file(folder / PLAN_JSON))
        except (OSError, ValidationError) as error:
            # A folder that holds a record but no plan is refused too.
            problem = f"{folder}/plan.json cannot be read, so the artifacts it uses are not known"
            raise RecordError(problem, hint="repair that folder, or move it away") from error
        digests |= digests_of(plan)
    return digests


def digests_of(plan: Plan) -> set[str]:
    """Return the digests of all artifacts that a plan names."""
    digests: set[str] = set()
    for step in plan.steps:
        digests |= {name for _, name, _ in artifact_names(step)}
        digests.update(unfinished_digests(step))
    if isinstance(plan.distill.synthetic.init, Imported):
        digests.add(plan.distill.synthetic.init.set)
    return digests


PLAN_SECONDS = 7 * DAY_SECONDS
"""Age at which a kept plan may be unused: a scheduler's tasks may wait that long for a machine."""


def split_kept_plans(
    store: Store, folders: Sequence[Path], older_than: float
) -> tuple[list[KeptPlan], set[str]]:
    """Return the plans that no run folder and no task uses, and the artifacts of the others.

    A plan is used by tasks if it was written, or one of its tasks performed, within `older_than`
    seconds and within a week.
    """
    runs = set()
    for folder in folders:
        with contextlib.suppress(OSError, ValidationError):
            content = read_regular_file(folder / PLAN_JSON)
            runs.add(plan_name(Plan.model_validate_json(content)))
    unused, digests = [], set[str]()
    for kept in kept_plans(store):
        old = kept.age_seconds >= max(older_than, PLAN_SECONDS)
        if old and kept.path.stem not in runs:
            unused.append(kept)
        elif kept.plan is not None:
            digests |= digests_of(kept.plan)
    return unused, digests


def run_folders(parents: Sequence[Path]) -> list[Path]:
    """Return the run folders in these folders."""
    return [
        path
        for parent in parents
        if parent.is_dir()
        for path in sorted(parent.iterdir())
        if (path / PLAN_JSON).exists() or (path / RECORD_JSON).exists()
    ]


def unused_artifacts(store: Store, used: set[str], older_than: float) -> list[StoredArtifact]:
    """Return artifacts that are not in `used` and at least `older_than` seconds old.

    Imported experts are spared.
    """
    spared = used | imported_experts(store)
    return [
        artifact
        for artifact in stored_artifacts(store)
        if artifact.digest not in spared and artifact.age_seconds >= older_than
    ]


def imported_experts(store: Store) -> set[str]:
    """Return the digests of all imported experts, which no run here can make again."""
    return {
        artifact.digest
        for artifact in stored_artifacts(store)
        # What was computed here names at least one route.
        if artifact.kind == "expert" and store.provenance("expert", artifact.digest).routes == ()
    }


def remove_artifacts(
    store: Store,
    garbage: Sequence[StoredArtifact],
    plans: Sequence[KeptPlan] = (),
    parents: Sequence[Path] = (),
) -> int:
    """Delete artifacts and plans, and what killed writers left in the store and in run folders.

    `parents` are the folders of the run folders. Returns the bytes of artifacts and plans.
    """
    for artifact in garbage:
        store.remove(artifact.kind, artifact.digest)
    for kept in plans:
        kept.path.unlink(missing_ok=True)
    for leftover in list(store.leftovers()):
        remove_if_abandoned(leftover)
    for folder in (store.root, *parents):
        remove_leftovers_in(folder)
    for parent in parents:
        # Folders of sweeps and reproductions hold no plan.
        for folder in list(parent.iterdir()) if parent.is_dir() else ():
            for name in WRITTEN_FOLDERS:
                remove_leftovers_in(folder / name)
    return sum(artifact.bytes for artifact in garbage) + sum(kept.bytes for kept in plans)
