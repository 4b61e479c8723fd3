"""Which artifacts count as unused: those that no plan names, old enough and not imported."""

import os

import numpy as np
import pytest

from ddspec.dsl.atomic_write import PROCESS_SPACE
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.steps import Route
from ddspec.engine.maintenance.garbage import (
    damaged_artifacts,
    imported_experts,
    remove_artifacts,
    run_folders,
    stored_artifacts,
    unused_artifacts,
    used_digests,
)
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store

COMPUTED = Provenance((Route(device="cpu", threads=1),), seconds=1.5)
IMPORTED = Provenance()


@pytest.fixture
def store(tmp_path):
    """A store with an old and a new evaluation, and an old imported expert."""
    store = Store(tmp_path / "store")
    for kind, made in (("evaluation", COMPUTED), ("path", COMPUTED), ("expert", IMPORTED)):
        store.put(kind, {"kind": kind}, {"values": np.zeros(3)}, made)
    for kind in ("evaluation", "expert"):
        path = store.path(kind, digest({"kind": kind}))
        old = path.stat().st_mtime - 1000
        os.utime(path, (old, old))
    return store


def kinds(artifacts):
    return [artifact.kind for artifact in artifacts]


def test_artifacts_are_listed_by_kind_and_other_files_ignored(store):
    (store.root / "path" / "notes.h5").write_text("not an artifact")
    assert kinds(stored_artifacts(store)) == ["expert", "path", "evaluation"]


def test_old_computed_artifacts_that_no_plan_names_are_unused(store):
    assert kinds(unused_artifacts(store, set(), 500.0)) == ["evaluation"]
    assert kinds(unused_artifacts(store, set(), 0.0)) == ["path", "evaluation"]
    assert unused_artifacts(store, {digest({"kind": "evaluation"})}, 500.0) == []
    assert imported_experts(store) == {digest({"kind": "expert"})}


def test_removal_counts_bytes_and_takes_leftovers_along(store):
    abandoned = store.root / "path" / f".x.h5.{PROCESS_SPACE}-999999999-00000000"
    abandoned.write_text("half")
    unused = unused_artifacts(store, set(), 0.0)
    assert remove_artifacts(store, unused) == sum(artifact.bytes for artifact in unused)
    assert kinds(stored_artifacts(store)) == ["expert"]
    assert not abandoned.exists()


def test_damage_is_named(store):
    path = store.path("path", digest({"kind": "path"}))
    path.write_bytes(path.read_bytes()[:-100])
    faults = {artifact.kind: fault for artifact, fault in damaged_artifacts(store)}
    assert path.name in faults["path"]
    assert faults["expert"] == faults["evaluation"] == ""


def test_folder_with_a_record_but_no_readable_plan_is_refused(tmp_path):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}")
    (tmp_path / "runs" / "other").mkdir()
    assert run_folders([tmp_path / "runs", tmp_path / "missing"]) == [run]
    with pytest.raises(RecordError, match="not known"):
        used_digests([run])


def test_artifacts_of_a_finished_run_are_used(smoke_run):
    used = used_digests([smoke_run])
    store = Store(smoke_run.parent.parent / "store")
    assert {artifact.digest for artifact in stored_artifacts(store)} <= used
