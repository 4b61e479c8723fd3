"""Artifacts of a plan are inspected: sound, damaged, of another network, or missing."""

import shutil

import numpy as np
import pytest

from ddspec.dsl.plan.route import Route
from ddspec.dsl.plan.steps import Plan
from ddspec.engine.maintenance.integrity import damage_in, inspect_artifacts
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store

MADE = Provenance((Route(device="cpu", threads=1),), seconds=1.5)


@pytest.fixture
def plan(smoke_run):
    return Plan.model_validate_json((smoke_run / "plan.json").read_bytes())


@pytest.fixture
def store(smoke_run, tmp_path):
    """A copy of the store of a finished run."""
    shutil.copytree(smoke_run.parent.parent / "store", tmp_path / "store")
    return Store(tmp_path / "store")


def test_artifacts_of_a_finished_run_are_present_and_sound(plan, store):
    inspected = list(inspect_artifacts(plan, store))
    assert inspected
    assert all(artifact.present and not artifact.fault for artifact in inspected)


def test_missing_and_damaged_artifacts_are_told_apart(plan, store):
    first, second = [a for a in inspect_artifacts(plan, store) if a.kind == "expert"][:2]
    store.remove("expert", first.digest)
    path = store.path("expert", second.digest)
    path.write_bytes(path.read_bytes()[:-500])
    after = {artifact.digest: artifact for artifact in inspect_artifacts(plan, store)}
    assert (after[first.digest].present, after[first.digest].fault) == (False, "")
    assert after[second.digest].present
    assert path.name in after[second.digest].fault
    assert after[second.digest].label == f"{second.step}: expert/{path.name}"


def test_expert_of_another_network_is_a_fault(plan, store):
    other = plan.model_copy(update={"network_parameters": plan.network_parameters + 1})
    faults = {a.kind: a.fault for a in inspect_artifacts(other, store)}
    assert f"where the plan needs 3x{plan.network_parameters + 1}" in faults["expert"]


def test_large_arrays_are_compared_with_their_checksums_too(tmp_path):
    store, array = Store(tmp_path), np.zeros(50_000)
    store.put("path", {"n": 1}, {"values": array}, MADE)
    path = next((tmp_path / "path").glob("*.h5"))
    assert damage_in(store, "path", path.stem) == ""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert damage_in(store, "path", path.stem)
