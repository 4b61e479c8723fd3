"""Stored artifacts: all of them, the damaged ones, and those that no run uses any more."""

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
from ddspec.engine.maintenance.integrity import damage_in
from ddspec.engine.store.artifacts import artifact_names, unfinished_digests
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
        for step in plan.steps:
            digests |= {name for _, name, _ in artifact_names(step)}
            digests.update(unfinished_digests(step))
    return digests


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
    store: Store, garbage: Sequence[StoredArtifact], runs: Sequence[Path] = ()
) -> int:
    """Delete artifacts, and what killed writers left in the store and in run folders.

    Returns the bytes of the artifacts.
    """
    for artifact in garbage:
        store.remove(artifact.kind, artifact.digest)
    for leftover in list(store.leftovers()):
        remove_if_abandoned(leftover)
    for folder in runs:
        for name in WRITTEN_FOLDERS:
            remove_leftovers_in(folder / name)
    return sum(artifact.bytes for artifact in garbage)
