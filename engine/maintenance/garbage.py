"""The store as its owner sees it: what lies there, what is whole, what no run uses any more."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from ddspec.dsl.atomic_write import remove_if_abandoned
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.digest import DIGEST, digest
from ddspec.dsl.plan.steps import DistillStep, Plan
from ddspec.engine.maintenance.integrity import damage_of
from ddspec.engine.store.artifacts import names_of, unfinished
from ddspec.engine.store.store import ArtifactKind, Store

KINDS: tuple[ArtifactKind, ...] = get_args(ArtifactKind)
DAY = 86400.0


@dataclass(frozen=True)
class StoredArtifact:
    """One artifact on disk."""

    kind: ArtifactKind
    digest: str
    path: Path
    bytes: int
    age_seconds: float


def stored_artifacts(store: Store) -> Iterator[StoredArtifact]:
    """Every artifact of a store, by kind and digest."""
    now = time.time()
    for kind in KINDS:
        folder = store.root / kind
        for path in sorted(folder.glob("*.h5")) if folder.is_dir() else ():
            if re.fullmatch(DIGEST, path.stem):
                state = path.stat()
                yield StoredArtifact(kind, path.stem, path, state.st_size, now - state.st_mtime)


def damaged_artifacts(store: Store) -> Iterator[tuple[StoredArtifact, str]]:
    """Every artifact, read whole, with what is wrong with it; empty where nothing is."""
    for one in stored_artifacts(store):
        yield one, damage_of(store, one.kind, one.digest)


def digests_used_by(folders: Sequence[Path]) -> set[str]:
    """Digests of all artifacts that the plans of these run folders name.

    Raises RecordError where a plan cannot be read: what it uses would be taken for unused.
    """
    found: set[str] = set()
    for folder in folders:
        try:
            plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
        except (OSError, ValidationError) as error:
            # Also where a record lies there without its plan.
            problem = f"{folder}/plan.json cannot be read, so what it uses is not known"
            raise RecordError(problem, hint="repair that folder, or move it away") from error
        for step in plan.steps:
            found |= {name for _, name, _ in names_of(step)}
            if isinstance(step, DistillStep):
                found.add(digest(unfinished(step)))
    return found


def run_folders(runs: Sequence[Path]) -> list[Path]:
    """Folders of runs that lie in these folders."""
    return [
        path
        for folder in runs
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if (path / "plan.json").exists() or (path / "record.json").exists()
    ]


def unused_artifacts(store: Store, used: set[str], older_than: float) -> list[StoredArtifact]:
    """Artifacts that no plan names and that nobody touched for so many seconds.

    Experts that were imported are spared.
    """
    imported = imported_experts(store)
    return [
        one
        for one in stored_artifacts(store)
        if one.digest not in used | imported and one.age_seconds >= older_than
    ]


def imported_experts(store: Store) -> set[str]:
    """Digests of all experts that came from elsewhere; nobody here can make them again."""
    return {
        one.digest
        for one in stored_artifacts(store)
        if one.kind == "expert" and store.provenance("expert", one.digest).routes == ()
    }


def remove_artifacts(store: Store, gone: Sequence[StoredArtifact]) -> int:
    """Delete artifacts and what killed writers left; the bytes that this frees."""
    for one in gone:
        store.remove(one.kind, one.digest)
    for left in list(store.leftovers()):
        remove_if_abandoned(left)
    return sum(one.bytes for one in gone)
