"""Which artifacts count as unused: those that no plan names, old enough and not imported."""

import os

import numpy as np
import pytest

from ddspec.dsl.atomic_write import PROCESS_SPACE
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.route import Route
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.maintenance.garbage import (
    DAY_SECONDS,
    damaged_artifacts,
    imported_experts,
    remove_artifacts,
    run_folders,
    split_kept_plans,
    stored_artifacts,
    unused_artifacts,
    used_digests,
)
from ddspec.engine.store.kept_plans import keep_plan, plan_name, plan_path, use_plan
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


@pytest.fixture
def smoke_plan(smoke_run):
    return Plan.model_validate_json((smoke_run / "plan.json").read_text())


def test_plans_of_tasks_are_unused_a_week_after_their_last_task(store, smoke_plan, smoke_run):
    keep_plan(smoke_plan, store)
    path, week = plan_path(plan_name(smoke_plan), store), 7 * DAY_SECONDS
    unused, used = split_kept_plans(store, [], 0.0)
    assert unused == []
    assert used == used_digests([smoke_run])
    os.utime(path, (path.stat().st_mtime - week - 100,) * 2)
    unused, used = split_kept_plans(store, [], 0.0)
    assert [kept.path for kept in unused] == [path]
    assert used == set()
    assert split_kept_plans(store, [], 2 * week)[0] == []
    # The run folder has the same plan.
    assert split_kept_plans(store, [smoke_run], 0.0)[0] == []
    assert use_plan(path.stem, store) == smoke_plan
    assert split_kept_plans(store, [], 0.0)[0] == []


def test_unused_plans_are_removed_and_damaged_ones_when_they_are_old(store, smoke_plan):
    keep_plan(smoke_plan, store)
    damaged = plan_path("0" * 32, store)
    damaged.write_text("{")
    assert split_kept_plans(store, [], 0.0)[0] == []
    for path in damaged.parent.iterdir():
        os.utime(path, (0, 0))
    unused, _ = split_kept_plans(store, [], 0.0)
    assert remove_artifacts(store, [], unused) == sum(kept.bytes for kept in unused) > 0
    assert list(damaged.parent.iterdir()) == []


def test_removal_takes_leftovers_of_runs_and_sweeps_along(store, tmp_path):
    runs = tmp_path / "runs"
    left = [
        runs / f".index.html.{PROCESS_SPACE}-999999999-{'0' * 16}",
        runs / "sweep" / f".sweep.json.{PROCESS_SPACE}-999999999-{'0' * 16}",
        runs / "run" / "images" / f".clock.{PROCESS_SPACE}-999999999-{'0' * 16}",
        store.root / f".ddspec-doctor.{PROCESS_SPACE}-999999999-{'0' * 16}",
    ]
    kept = [
        runs / f".index.html.{PROCESS_SPACE}-{os.getpid()}-{'0' * 16}",
        runs / "run" / ".hidden",
        runs / f".index.html.{'0' * 8}-999999999-{'0' * 16}",
    ]
    for path in (*left[:3], *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    left[3].mkdir()
    (left[3] / "file").write_text("half")
    remove_artifacts(store, [], (), [runs])
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
